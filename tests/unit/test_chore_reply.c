#include "base/checked.h"
#include "mgmt/vmms/chore_reply.h"
#include "suite.h"

static const struct chore_member members[] = {
	{"bytes", JSON_INTEGER},
	{"format", JSON_STRING},
	{"whole", JSON_TRUE},
	{"notes", JSON_ARRAY},
	{"disk", JSON_INTEGER, .may_miss = true},
};

#define GOOD "{\"bytes\": 1, \"format\": \"raw\", \"whole\": false, \"notes\": [\"a\"]"

static void expect_reply(const char *said, const char *rest, const char *wanted)
{
	json_t *message = json_loads(said, 0, NULL);
	json_t *expected = wanted ? json_loads(wanted, 0, NULL) : NULL;
	json_t *reply = chore_reply(message, members, ARRAY_LENGTH(members), rest);

	ck_assert_msg(wanted ? json_equal(reply, expected) : !reply, "%s", said);
	json_decref(reply);
	json_decref(expected);
	json_decref(message);
}

START_TEST(what_fits_is_passed_on)
{
	expect_reply(GOOD "}", NULL, GOOD "}");
	expect_reply(GOOD ", \"other\": 1}", NULL, GOOD "}");
	expect_reply(GOOD ", \"disk\": 1}", "more", GOOD ", \"disk\": 1, \"more\": {}}");
	expect_reply(GOOD ", \"n\": 1, \"s\": \"x\", \"b\": true}", "more",
		     GOOD ", \"more\": {\"n\": 1, \"s\": \"x\", \"b\": true}}");
	expect_reply(GOOD ", \"o\": {}, \"a\": [1], \"z\": null}", "more", GOOD ", \"more\": {}}");
}
END_TEST

START_TEST(what_does_not_fit_is_no_reply)
{
	expect_reply("{}", NULL, NULL);
	expect_reply("[1]", NULL, NULL);
	expect_reply("{\"bytes\": 1, \"format\": \"raw\", \"whole\": false}", NULL, NULL);
	expect_reply("{\"bytes\": 1.5, \"format\": \"raw\", \"whole\": false, \"notes\": []}", NULL,
		     NULL);
	expect_reply("{\"bytes\": 1, \"format\": null, \"whole\": false, \"notes\": []}", NULL,
		     NULL);
	expect_reply("{\"bytes\": 1, \"format\": \"raw\", \"whole\": 0, \"notes\": []}", NULL,
		     NULL);
	expect_reply("{\"bytes\": 1, \"format\": \"raw\", \"whole\": true, \"notes\": [{}]}", NULL,
		     NULL);
	expect_reply(GOOD ", \"disk\": \"1\"}", NULL, NULL);
	expect_reply(GOOD ", \"disk\": null}", NULL, NULL);
	ck_assert_ptr_null(chore_reply(NULL, members, ARRAY_LENGTH(members), NULL));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("chore_reply", &tests);

	tcase_add_test(tests, what_fits_is_passed_on);
	tcase_add_test(tests, what_does_not_fit_is_no_reply);
	return suite_run(suite);
}
