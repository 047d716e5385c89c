#include "store_place.h"
#include "suite.h"

/* What is kept of VMs, and what becomes of files that somebody else had a hand in. */

static struct place place;
static struct found found;

static void setup(void)
{
	place_make(&place);
}

static void teardown(void)
{
	place_remove(&place);
}

static mode_t mode_of(const char *path)
{
	struct stat status;

	ck_assert_int_eq(lstat(path, &status), 0);
	return status.st_mode & 07777;
}

START_TEST(what_was_written_is_read)
{
	struct store *store = place_store(&place, &store_host_calls);
	char path[256], name[64];

	place_load(store, &found);
	ck_assert_int_eq(found.values[0], -1);
	ck_assert(!place_write(store, 0, 1));
	ck_assert(!place_write(store, 1, 5));
	ck_assert(!place_write(store, 0, 2));
	store_close(store);
	place_reload(&place, &found);
	ck_assert_int_eq(found.values[0], 2);
	ck_assert_int_eq(found.values[1], 5);
	ck_assert_uint_eq(found.aside, 0);
	place_name(0, name);
	snprintf(path, sizeof(path), "%s/%s", place.vms, name);
	ck_assert_uint_eq(mode_of(path), 0600);
	ck_assert_uint_eq(mode_of(place.vms), 0700);
}
END_TEST

START_TEST(what_is_removed_is_gone)
{
	struct store *store = place_store(&place, &store_host_calls);
	struct error err;
	char uuid[37];

	ck_assert(!place_write(store, 0, 1));
	ck_assert(!place_write(store, 1, 2));
	place_uuid(0, uuid);
	ck_assert(!store_remove(store, uuid, &err));
	ck_assert(!store_remove(store, uuid, &err));
	store_close(store);
	place_reload(&place, &found);
	ck_assert_int_eq(found.values[0], -1);
	ck_assert_int_eq(found.values[1], 2);
}
END_TEST

START_TEST(missing_directories_are_made)
{
	struct place deep;
	char middle[40];
	struct store *store;

	snprintf(middle, sizeof(middle), "%.30s/a", place.path);
	snprintf(deep.path, sizeof(deep.path), "%s/b", middle);
	snprintf(deep.vms, sizeof(deep.vms), "%s/b/vms", middle);
	store = place_store(&deep, &store_host_calls);
	ck_assert(!place_write(store, 0, 1));
	store_close(store);
	ck_assert_uint_eq(mode_of(middle), 0700);
	place_remove(&deep);
	rmdir(middle);
}
END_TEST

START_TEST(one_daemon_has_the_store)
{
	struct store *store = place_store(&place, &store_host_calls);
	struct store *second = NULL;
	struct error err;

	ck_assert_int_eq(store_open(place.path, &second, &err), -EWOULDBLOCK);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(strstr(err.text, "--state"));
	store_close(store);
	ck_assert(!store_open(place.path, &second, &err));
	store_close(second);
}
END_TEST

#define HEAD "{\"version\":1,\"processors\":{\"count\":1},\"memory\":{\"startup\":67108864},"
#define BOOT "\"boot\":{\"kernel\":\"/k\"}"
#define ID   "\"uuid\":\"00000001-0000-4000-8000-000000000000\","

static const struct {
	const char *text, *why;
} broken[] = {
	{"", "JSON"},
	{"{\"version\":1,\"na", "JSON"},
	{HEAD BOOT "}}", "JSON"},
	{"\xff\xfe", "JSON"},
	{"[]", "uuid"},
	{HEAD BOOT ",\"name\":\"v0\"}", "uuid"},
	{HEAD ID BOOT "}", "name"},
	{HEAD ID BOOT ",\"name\":\"v0\",\"name\":\"v0\"}", "name"},
	{HEAD ID BOOT ",\"name\":\"v0\",\"colour\":1}", "colour"},
	{HEAD ID BOOT ",\"name\":\"v1\"}", "v1"},
	{HEAD "\"uuid\":\"00000003-0000-4000-8000-000000000000\"," BOOT ",\"name\":\"v0\"}",
	 "00000003"},
	{"{" ID "\"version\":0,\"name\":\"v0\"}", "version"},
	{"{" ID "\"version\":\"2\",\"name\":\"v0\"}", "version"},
};

/* VM 1 is whole and stays so; VM 0 is not. */
static void expect_set_aside(const char *why)
{
	char name[64], aside[80];

	place_name(0, name);
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 1);
	ck_assert_msg(strstr(found.sentence, why), "%s", found.sentence);
	ck_assert_ptr_nonnull(strstr(found.sentence, name));
	ck_assert_int_eq(found.values[0], -1);
	ck_assert_int_eq(found.values[1], 5);
	snprintf(aside, sizeof(aside), "%s.broken-1", name);
	ck_assert(place_has(&place, aside));
	ck_assert(!place_has(&place, name));
	/* Who looks later hears of it, too. */
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 1);
	ck_assert_msg(strstr(found.sentence, "was set aside"), "%s", found.sentence);
	ck_assert_ptr_nonnull(strstr(found.sentence, aside));
}

static void write_whole(void)
{
	struct store *store = place_store(&place, &store_host_calls);

	/* The name v1 is taken by an earlier file than the broken one's only where it is v1. */
	ck_assert(!place_write(store, 1, 5));
	store_close(store);
}

START_TEST(broken_files_are_set_aside)
{
	char name[64];

	write_whole();
	place_name(0, name);
	if (strstr(broken[_i].text, "\"v1\"")) {
		/* The first by UUID has the name: here VM 7 takes that of VM 1. */
		char other[64], text[512];

		place_name(6, other);
		snprintf(text, sizeof(text), "%s", broken[_i].text);
		memcpy(strstr(text, "00000001"), "00000007", 8);
		place_put(&place, other, text, strlen(text));
		place_reload(&place, &found);
		ck_assert_uint_eq(found.aside, 1);
		ck_assert_ptr_nonnull(strstr(found.sentence, "v1"));
		ck_assert_int_eq(found.values[1], 5);
		return;
	}
	place_put(&place, name, broken[_i].text, strlen(broken[_i].text));
	expect_set_aside(broken[_i].why);
}
END_TEST

START_TEST(what_nests_or_never_ends_is_set_aside)
{
	size_t length = STORE_FILE_MAX + 1;
	char *text = malloc(length);
	char name[64];

	write_whole();
	place_name(0, name);
	memset(text, '[', length);
	place_put(&place, name, text, length);
	expect_set_aside("larger");
	place_empty(&place);
	write_whole();
	place_put(&place, name, text, length - 1);
	expect_set_aside("JSON");
	free(text);
}
END_TEST

START_TEST(only_files_are_read)
{
	char name[64];
	int directory;

	write_whole();
	place_name(0, name);
	directory = place_open(&place);
	ck_assert_int_eq(mkdirat(directory, name, 0700), 0);
	expect_set_aside("ordinary");
	place_empty(&place);
	write_whole();
	ck_assert_int_eq(symlinkat("/dev/zero", directory, name), 0);
	expect_set_aside("ordinary");
	place_empty(&place);
	write_whole();
	ck_assert_int_eq(mkfifoat(directory, name, 0600), 0);
	expect_set_aside("ordinary");
	close(directory);
}
END_TEST

START_TEST(each_broken_file_is_kept)
{
	char name[64], aside[80];

	write_whole();
	place_name(0, name);
	for (unsigned int i = 1; i < 4; i++) {
		place_put(&place, name, "{", 1);
		place_reload(&place, &found);
		snprintf(aside, sizeof(aside), "%s.broken-%u", name, i);
		ck_assert(place_has(&place, aside));
		ck_assert_uint_eq(found.aside, 1);
	}
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 1);
}
END_TEST

START_TEST(what_was_mended_is_not_told_of)
{
	struct store *store;
	char name[64];

	write_whole();
	place_name(0, name);
	place_put(&place, name, "{", 1);
	store = place_store(&place, &store_host_calls);
	place_load(store, &found);
	ck_assert_uint_eq(found.aside, 1);
	ck_assert(!place_write(store, 0, 2));
	store_close(store);
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 0);
	ck_assert_int_eq(found.values[0], 2);
}
END_TEST

START_TEST(leftovers_go_and_the_rest_stays)
{
	static const char temporary[] = ".00000001-0000-4000-8000-000000000000.json.tmp";

	write_whole();
	place_put(&place, temporary, "{", 1);
	place_put(&place, "notes.json", "{", 1);
	place_put(&place, "6E0C6D8E-8D0B-4A61-9D35-0D6F3F0AD5F1.json", "{", 1);
	place_put(&place, "README", "{", 1);
	place_put(&place, ".hidden.json", "{", 1);
	place_reload(&place, &found);
	/* Two that somebody may take for definitions. */
	ck_assert_uint_eq(found.aside, 2);
	ck_assert_msg(strstr(found.sentence, "notes.json defines no VM"), "%s", found.sentence);
	ck_assert_int_eq(found.values[1], 5);
	ck_assert(!place_has(&place, temporary));
	ck_assert(place_has(&place, "notes.json"));
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("store", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_add_test(test_case, what_was_written_is_read);
	tcase_add_test(test_case, what_is_removed_is_gone);
	tcase_add_test(test_case, missing_directories_are_made);
	tcase_add_test(test_case, one_daemon_has_the_store);
	tcase_add_loop_test(test_case, broken_files_are_set_aside, 0,
			    sizeof(broken) / sizeof(broken[0]));
	tcase_add_test(test_case, what_nests_or_never_ends_is_set_aside);
	tcase_add_test(test_case, only_files_are_read);
	tcase_add_test(test_case, each_broken_file_is_kept);
	tcase_add_test(test_case, what_was_mended_is_not_told_of);
	tcase_add_test(test_case, leftovers_go_and_the_rest_stays);
	return suite_run(suite);
}
