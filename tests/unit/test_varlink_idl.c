#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/varlink_idl.h"
#include "suite.h"

static const char text[] =
	"# What it is.\n"
	"interface org.example.test-2.a\n"
	"# A type before what it names.\n"
	"type Tree (name: string, left: ?Tree, right: ?Tree)\n"
	"type Colour (red, green_2) # trailing\n"
	"method Do(flag: ?bool, whole: ?int, number: ?float, text: ?string, any: ?object,\n"
	"  colour: ?Colour, list: ?[]Colour, map: ?[string]int, set: ?[string](), tree: ?Tree,\n"
	"  inner: ?(a: int, b: ?(x, y)), table: ?[][](a: int), nulls: ?[]?int) -> ()\n"
	"method Need(a: int)->(b: string,c: ?[]int)\n"
	"error Bad(why: Colour)\n"
	"error Plain()\n";

static struct varlink_idl *idl;

static void set_up(void)
{
	struct error err;

	ck_assert_msg(varlink_idl_parse(text, &idl, &err) == 0, "%s", err.text);
}

static void tear_down(void)
{
	varlink_idl_free(idl);
}

static json_t *json(const char *source)
{
	json_t *value = json_loads(source, 0, NULL);

	ck_assert_ptr_nonnull(value);
	return value;
}

START_TEST(names_are_known)
{
	ck_assert(varlink_idl_is(idl, "org.example.test-2.a"));
	ck_assert(!varlink_idl_is(idl, "org.example.test-2"));
	ck_assert(varlink_idl_has_method(idl, "Do"));
	ck_assert(varlink_idl_has_method(idl, "Need"));
	ck_assert(!varlink_idl_has_method(idl, "Tree"));
	ck_assert(!varlink_idl_has_method(idl, "Bad"));
	ck_assert(!varlink_idl_has_method(idl, "Nee"));
}
END_TEST

START_TEST(right_parameters_pass)
{
	static const char *const right[] = {
		"{}",
		"{\"flag\":true,\"whole\":-9223372036854775808,\"number\":1,\"text\":\"\"}",
		"{\"number\":1.5,\"any\":{\"anything\":[null]},\"colour\":\"green_2\"}",
		"{\"list\":[],\"map\":{},\"set\":{\"a\":{},\"b\":{}}}",
		"{\"list\":[\"red\",\"red\"],\"map\":{\"\":1,\"x y\":2}}",
		"{\"tree\":{\"name\":\"a\",\"left\":{\"name\":\"b\",\"right\":null}}}",
		"{\"inner\":{\"a\":1,\"b\":\"y\"},\"table\":[[],[{\"a\":1}]]}",
		"{\"nulls\":[1,null,2]}",
		"{\"flag\":null,\"list\":null}",
	};
	char path[VARLINK_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LENGTH(right); i++) {
		json_t *value = json(right[i]);

		ck_assert_msg(varlink_idl_check_call(idl, "Do", value, path) == 0, "%s: %s",
			      right[i], path);
		json_decref(value);
	}
}
END_TEST

START_TEST(wrong_parameters_are_named)
{
	static const struct {
		const char *method;
		const char *parameters;
		const char *path;
	} wrong[] = {
		{"Do", "{\"flag\":1}", "flag"},
		{"Do", "{\"whole\":1.0}", "whole"},
		{"Do", "{\"whole\":true}", "whole"},
		{"Do", "{\"whole\":\"1\"}", "whole"},
		{"Do", "{\"number\":\"1\"}", "number"},
		{"Do", "{\"text\":1}", "text"},
		{"Do", "{\"any\":[]}", "any"},
		{"Do", "{\"colour\":\"blue\"}", "colour"},
		{"Do", "{\"colour\":\"gree\"}", "colour"},
		{"Do", "{\"colour\":1}", "colour"},
		{"Do", "{\"list\":\"red\"}", "list"},
		{"Do", "{\"list\":[\"red\",\"blue\"]}", "list[1]"},
		{"Do", "{\"list\":[null]}", "list[0]"},
		{"Do", "{\"map\":{\"a\":1,\"b\":\"c\"}}", "map.b"},
		{"Do", "{\"map\":[]}", "map"},
		{"Do", "{\"set\":{\"a\":{\"b\":1}}}", "set.a.b"},
		{"Do", "{\"tree\":{\"name\":\"a\",\"left\":{\"name\":7}}}", "tree.left.name"},
		{"Do", "{\"tree\":{}}", "tree.name"},
		{"Do", "{\"inner\":{\"a\":1,\"b\":\"z\"}}", "inner.b"},
		{"Do", "{\"table\":[[],[{\"a\":1},{}]]}", "table[1][1].a"},
		{"Do", "{\"unknown\":null}", "unknown"},
		{"Do", "{\"inner\":{\"a\":1,\"\":2}}", "inner."},
		{"Need", "{}", "a"},
		{"Need", "{\"a\":null}", "a"},
		{"Need", "{\"A\":1}", "A"},
		{"Need", "{\"a\":1,\"b\":2}", "b"},
	};
	char path[VARLINK_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		json_t *value = json(wrong[i].parameters);

		ck_assert_int_eq(varlink_idl_check_call(idl, wrong[i].method, value, path),
				 -EINVAL);
		ck_assert_str_eq(path, wrong[i].path);
		json_decref(value);
	}
}
END_TEST

START_TEST(null_is_taken_out)
{
	json_t *value = json("{\"flag\":null,\"any\":{\"n\":null},\"nulls\":[null],"
			     "\"inner\":{\"a\":1,\"b\":null}}");
	json_t *left = json("{\"any\":{\"n\":null},\"nulls\":[null],\"inner\":{\"a\":1}}");
	char path[VARLINK_PATH_MAX];

	ck_assert_int_eq(varlink_idl_check_call(idl, "Do", value, path), 0);
	ck_assert(json_equal(value, left));
	json_decref(value);
	json_decref(left);
}
END_TEST

START_TEST(long_paths_are_cut_between_characters)
{
	char key[401];
	char path[VARLINK_PATH_MAX];
	json_t *value;

	for (size_t i = 0; i < 400; i += 2)
		memcpy(key + i, "\xc3\xa9", 2);
	key[400] = 0;
	value = json_pack("{s:{s:s}}", "map", key, "x");
	ck_assert_int_eq(varlink_idl_check_call(idl, "Do", value, path), -EINVAL);
	ck_assert_uint_eq(strlen(path), 4 + 250);
	json_decref(value);
}
END_TEST

START_TEST(deep_values_are_refused)
{
	json_t *value = json_pack("{s:s}", "name", "leaf");
	char path[VARLINK_PATH_MAX];

	for (int i = 0; i < 5000; i++)
		value = json_pack("{s:s, s:o}", "name", "a", "left", value);
	value = json_pack("{s:o}", "tree", value);
	ck_assert_int_eq(varlink_idl_check_call(idl, "Do", value, path), -EINVAL);
	ck_assert_int_eq(strncmp(path, "tree.left.left.", 15), 0);
	json_decref(value);
}
END_TEST

START_TEST(answers_are_checked)
{
	json_t *reply = json("{\"b\":\"x\",\"c\":null}");
	json_t *error = json("{\"why\":\"red\"}");
	char path[VARLINK_PATH_MAX];

	ck_assert_int_eq(varlink_idl_check_reply(idl, "Need", reply, path), 0);
	ck_assert_uint_eq(json_object_size(reply), 2);
	ck_assert_int_eq(varlink_idl_check_reply(idl, "Do", reply, path), -EINVAL);
	ck_assert_int_eq(varlink_idl_check_reply(idl, "Bad", reply, path), -ENOENT);
	ck_assert_int_eq(varlink_idl_check_error(idl, "Bad", error, path), 0);
	ck_assert_int_eq(varlink_idl_check_error(idl, "Bad", reply, path), -EINVAL);
	ck_assert_int_eq(varlink_idl_check_error(idl, "Plain", error, path), -EINVAL);
	ck_assert_str_eq(path, "why");
	ck_assert_int_eq(varlink_idl_check_error(idl, "Need", error, path), -ENOENT);
	json_decref(reply);
	json_decref(error);
}
END_TEST

#define HEAD "interface a.b\n"

START_TEST(wrong_texts_are_refused)
{
	static const char *const wrong[] = {
		"",
		"interface",
		"interface a\nmethod A()->()",
		"interface 1.b\nmethod A()->()",
		"interface a..b\nmethod A()->()",
		"interface a.b-\nmethod A()->()",
		"interface a.-b\nmethod A()->()",
		"interface a.b.\nmethod A()->()",
		"interfaces a.b\nmethod A()->()",
		HEAD,
		HEAD "method a()->()",
		HEAD "method A_b()->()",
		HEAD "method A()",
		HEAD "method A()->",
		HEAD "method A(->()",
		HEAD "method A(a)->()",
		HEAD "method A(a: int)->(b)",
		HEAD "method A(a: int,)->()",
		HEAD "method A(a int)->()",
		HEAD "method A(a: int b: int)->()",
		HEAD "method A(a: int, a: int)->()",
		HEAD "method A(_a: int)->()",
		HEAD "method A(a_: int)->()",
		HEAD "method A(a__b: int)->()",
		HEAD "method A(1a: int)->()",
		HEAD "method A(a: ??int)->()",
		HEAD "method A(a: [int]int)->()",
		HEAD "method A(a: [])->()",
		HEAD "method A(a: integer)->()",
		HEAD "method A(a: Missing)->()",
		HEAD "method A(a: B)->()\nerror B()",
		HEAD "type A (a, b: int)",
		HEAD "type A (a: int, b)",
		HEAD "type A int",
		HEAD "type A (a, b)\nmethod A()->()",
		HEAD "error A",
		HEAD "error A (a, b)",
		HEAD "function A()->()",
		HEAD "method A()->() }",
	};

	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		struct varlink_idl *other = NULL;
		struct error err = {""};

		ck_assert_msg(varlink_idl_parse(wrong[i], &other, &err) == -EINVAL, "%s", wrong[i]);
		ck_assert_ptr_null(other);
		ck_assert_str_ne(err.text, "");
	}
}
END_TEST

START_TEST(nesting_in_a_text_is_limited)
{
	char deep[20000] = HEAD "method A(a: ";
	struct varlink_idl *other;
	struct error err;

	for (size_t at = strlen(deep); at < sizeof(deep) - 3; at += 2)
		memcpy(deep + at, "[]", 3);
	ck_assert_int_eq(varlink_idl_parse(deep, &other, &err), -EINVAL);
}
END_TEST

START_TEST(the_line_of_a_mistake_is_told)
{
	struct varlink_idl *other;
	struct error err;

	ck_assert_int_eq(varlink_idl_parse(HEAD "\n# method\nmethod A()\n  -> x", &other, &err),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "line 5"));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("varlink_idl", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, names_are_known);
	tcase_add_test(tests, right_parameters_pass);
	tcase_add_test(tests, wrong_parameters_are_named);
	tcase_add_test(tests, null_is_taken_out);
	tcase_add_test(tests, long_paths_are_cut_between_characters);
	tcase_add_test(tests, deep_values_are_refused);
	tcase_add_test(tests, answers_are_checked);
	tcase_add_test(tests, wrong_texts_are_refused);
	tcase_add_test(tests, nesting_in_a_text_is_limited);
	tcase_add_test(tests, the_line_of_a_mistake_is_told);
	return suite_run(suite);
}
