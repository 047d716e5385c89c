#include <errno.h>
#include <string.h>

#include "mgmt/vmms/file_rules.h"
#include "suite.h"

static json_t *given, *old;
static struct file_list list;

static void list_of(const char *settings, const char *before)
{
	given = json_loads(settings, 0, NULL);
	old = before ? json_loads(before, 0, NULL) : NULL;
	ck_assert_ptr_nonnull(given);
	ck_assert(!before || old);
	list = (struct file_list){.count = 0};
	file_rules_settings(&list, given, old);
}

static void done(void)
{
	json_decref(given);
	json_decref(old);
}

static void expect(size_t index, const char *path, enum opener_access access)
{
	ck_assert_uint_lt(index, list.count);
	ck_assert_str_eq(list.files[index].path, path);
	ck_assert_int_eq(list.files[index].access, access);
}

START_TEST(a_definition_gives_all_it_names)
{
	list_of("{\"boot\": {\"kernel\": \"/k\", \"initrd\": \"/i\"},"
		" \"display\": {\"vnc\": \"unix:/v\"}, \"hvsock\": {\"path\": \"/h\"},"
		" \"disks\": [{\"kind\": \"disk\", \"path\": \"/d\"},"
		" {\"kind\": \"disk\", \"path\": \"/r\", \"read_only\": true},"
		" {\"kind\": \"cdrom\", \"path\": \"/c\"}, {\"kind\": \"cdrom\"},"
		" {\"kind\": \"seed\", \"path\": \"/s\"},"
		" {\"kind\": \"disk\", \"path\": \"nbd://host/export\"}],"
		" \"nics\": [{\"kind\": \"tap\", \"interface\": \"t0\"},"
		" {\"kind\": \"stream\", \"path\": \"/n\"}, {\"kind\": \"switch\"}]}",
		NULL);
	ck_assert_uint_eq(list.count, 10);
	expect(0, "/k", OPENER_FILE);
	expect(1, "/i", OPENER_FILE);
	expect(2, "/v", OPENER_CREATE);
	expect(3, "/h", OPENER_CREATE);
	expect(4, "/d", OPENER_DISK);
	expect(5, "/r", OPENER_DISK_READ);
	expect(6, "/c", OPENER_DISK_READ);
	expect(7, "/s", OPENER_DIRECTORY);
	expect(8, "t0", OPENER_TAP);
	expect(9, "/n", OPENER_CONNECT);
	ck_assert(!list.remote);
	done();
}
END_TEST

START_TEST(a_pc_has_firmware_and_what_it_says)
{
	list_of("{\"boot\": {\"firmware\": \"/f\", \"firmware_log\": \"/l\"}}", NULL);
	ck_assert_uint_eq(list.count, 2);
	expect(0, "/f", OPENER_FILE);
	expect(1, "/l", OPENER_WRITE);
	done();
}
END_TEST

START_TEST(what_a_vm_has_is_not_given_anew)
{
	list_of("{\"boot\": {\"kernel\": \"/k\", \"initrd\": \"/other\"},"
		" \"disks\": [{\"kind\": \"disk\", \"path\": \"/d\", \"iops\": 5},"
		" {\"kind\": \"disk\", \"path\": \"/new\"}]}",
		"{\"boot\": {\"kernel\": \"/k\", \"initrd\": \"/i\"},"
		" \"disks\": [{\"kind\": \"disk\", \"path\": \"/d\"}]}");
	ck_assert_uint_eq(list.count, 2);
	expect(0, "/other", OPENER_FILE);
	expect(1, "/new", OPENER_DISK);
	done();
}
END_TEST

START_TEST(more_than_before_is_given_anew)
{
	const char *before =
		"{\"disks\": [{\"kind\": \"disk\", \"path\": \"/d\", \"read_only\": true,"
		" \"format\": \"raw\"}]}";

	list_of("{\"disks\": [{\"kind\": \"disk\", \"path\": \"/d\", \"format\": \"raw\"}]}",
		before);
	expect(0, "/d", OPENER_DISK);
	done();
	list_of("{\"disks\": [{\"kind\": \"disk\", \"path\": \"/d\", \"read_only\": true,"
		" \"format\": \"vhdx\"}]}",
		before);
	expect(0, "/d", OPENER_DISK_READ);
	done();
	list_of("{\"disks\": [{\"kind\": \"seed\", \"path\": \"/d\", \"read_only\": true,"
		" \"format\": \"raw\"}]}",
		before);
	expect(0, "/d", OPENER_DIRECTORY);
	done();
}
END_TEST

START_TEST(a_socket_of_this_host_is_not_a_network)
{
	list_of("{\"disks\": [{\"kind\": \"disk\", \"path\": \"nbd+unix:///e?socket=/s\"}]}", NULL);
	ck_assert(list.remote);
	done();
}
END_TEST

START_TEST(any_json_will_do)
{
	list_of("{\"boot\": 7, \"disks\": {\"path\": \"/d\"}, \"nics\": [[], 7, {\"path\": {}}],"
		" \"display\": {\"vnc\": \"127.0.0.1:5901\"}, \"hvsock\": {\"path\": "
		"\"relative\"}}",
		"[]");
	ck_assert_uint_eq(list.count, 0);
	done();
}
END_TEST

START_TEST(too_many_files_are_noted)
{
	json_t *disks = json_array();

	for (int i = 0; i < OPENER_FILES_MAX + 1; i++)
		json_array_append_new(disks, json_pack("{s:s}", "path", "/d"));
	given = json_pack("{s:o}", "disks", disks);
	old = NULL;
	list = (struct file_list){.count = 0};
	file_rules_settings(&list, given, NULL);
	ck_assert(list.too_many);
	done();
}
END_TEST

static int owner(uid_t uid, const char *text)
{
	gid_t groups[] = {400};
	struct caller caller = {.uid = uid, .gid = 1001, .groups = groups, .group_count = 1};
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	struct error err;
	int r = file_rules_owner(&caller, json, &err);

	json_decref(json);
	return r;
}

START_TEST(nobody_but_root_makes_vms_for_others)
{
	ck_assert_int_eq(owner(0, "{\"uid\": 1001, \"gid\": 5}"), 0);
	ck_assert_int_eq(owner(1001, "{\"uid\": 1001, \"gid\": 1001}"), 0);
	ck_assert_int_eq(owner(1001, "{\"uid\": 1001, \"gid\": 400}"), 0);
	ck_assert_int_eq(owner(1001, "null"), 0);
	ck_assert_int_eq(owner(1001, "{\"uid\": 0, \"gid\": 1001}"), -EACCES);
	ck_assert_int_eq(owner(1001, "{\"uid\": 4294968297, \"gid\": 1001}"), -EACCES);
	ck_assert_int_eq(owner(1001, "{\"uid\": 1001, \"gid\": 0}"), -EACCES);
	ck_assert_int_eq(owner(1001, "{\"uid\": 1001, \"gid\": 4294967696}"), -EACCES);
	ck_assert_int_eq(owner(1001, "{\"uid\": 1001, \"gid\": -1}"), -EACCES);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("file_rules", &tests);

	tcase_add_test(tests, a_definition_gives_all_it_names);
	tcase_add_test(tests, a_pc_has_firmware_and_what_it_says);
	tcase_add_test(tests, what_a_vm_has_is_not_given_anew);
	tcase_add_test(tests, more_than_before_is_given_anew);
	tcase_add_test(tests, a_socket_of_this_host_is_not_a_network);
	tcase_add_test(tests, any_json_will_do);
	tcase_add_test(tests, too_many_files_are_noted);
	tcase_add_test(tests, nobody_but_root_makes_vms_for_others);
	return suite_run(suite);
}
