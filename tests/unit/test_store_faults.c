#include <signal.h>
#include <sys/resource.h>

#include "store_place.h"
#include "suite.h"

/* What the store does where its files are another's, or the host lets it down. */

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

/* VM 1, with 5. */
static void write_whole(void)
{
	struct store *store = place_store(&place, &store_host_calls);

	ck_assert(!place_write(store, 1, 5));
	store_close(store);
}

/* A file that was not understood: it is where it was, as it was, and nobody gets it away. */
static void expect_left(const struct store_calls *calls, const char *text, const char *why)
{
	struct store *store = place_store(&place, calls);
	char name[64], uuid[37];
	struct error err;

	place_name(0, name);
	place_uuid(0, uuid);
	place_load(store, &found);
	ck_assert_uint_eq(found.aside, 1);
	ck_assert_msg(strstr(found.sentence, why), "%s", found.sentence);
	ck_assert_ptr_nonnull(strstr(found.sentence, "left as it is"));
	ck_assert_int_eq(found.values[0], -1);
	ck_assert_int_eq(found.values[1], 5);
	ck_assert_int_eq(place_write(store, 0, 2), -EEXIST);
	ck_assert_int_eq(store_remove(store, uuid, &err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.text, name));
	ck_assert(!place_write(store, 1, 6));
	store_close(store);
	place_expect(&place, name, text);
}

START_TEST(what_a_newer_daemon_wrote_is_left)
{
	static const char *const newer[] = {
		"{\"version\":2,\"name\":\"v0\",\"anything\":{}}",
		"{\"version\":99}",
	};
	char name[64];

	write_whole();
	place_name(0, name);
	place_put(&place, name, newer[_i], strlen(newer[_i]));
	expect_left(&store_host_calls, newer[_i], "this daemon knows 1");
}
END_TEST

static int open_errno;

static int refuse_open(int directory, const char *name)
{
	if (name[7] != '1')
		return store_host_calls.open(directory, name);
	errno = open_errno;
	return -1;
}

START_TEST(what_the_host_does_not_let_us_read_is_left)
{
	static const int errors[] = {EACCES, EIO, EMFILE};
	struct store_calls calls = store_host_calls;
	char name[64];

	write_whole();
	place_name(0, name);
	place_put(&place, name, "{}", 2);
	calls.open = refuse_open;
	open_errno = errors[_i];
	expect_left(&calls, "{}", strerror(open_errno));
}
END_TEST

START_TEST(what_came_later_is_left)
{
	struct store *store = place_store(&place, &store_host_calls);
	char name[64];

	place_load(store, &found);
	place_name(0, name);
	place_put(&place, name, "{}", 2);
	ck_assert_int_eq(place_write(store, 0, 1), -EEXIST);
	place_expect(&place, name, "{}");
	store_close(store);
}
END_TEST

/* As an administrator does who moves it elsewhere, or mounts something there. */
START_TEST(another_directory_is_not_written)
{
	struct store *store = place_store(&place, &store_host_calls);
	struct settings *settings = place_settings(0, 2);
	char away[96], uuid[37];
	struct error err;

	ck_assert(!place_write(store, 0, 1));
	place_uuid(0, uuid);
	snprintf(away, sizeof(away), "%s.away", place.vms);
	ck_assert(!rename(place.vms, away));
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(store_write(store, settings, &err), -ESTALE);
		ck_assert_ptr_nonnull(strstr(err.text, place.vms));
		ck_assert_int_eq(store_remove(store, uuid, &err), -ESTALE);
		if (!i)
			ck_assert(!mkdir(place.vms, 0700));
	}
	ck_assert(!rmdir(place.vms) && !rename(away, place.vms));
	ck_assert(!store_write(store, settings, &err));
	settings_free(settings);
	store_close(store);
	place_reload(&place, &found);
	ck_assert_int_eq(found.values[0], 2);
}
END_TEST

static int refuse_rename(int directory, const char *from, const char *to, unsigned int flags)
{
	errno = EROFS;
	return -1;
}

START_TEST(what_cannot_be_renamed_stays)
{
	struct store_calls calls = store_host_calls;
	struct store *store;
	char name[64];

	write_whole();
	place_name(0, name);
	place_put(&place, name, "{", 1);
	calls.rename = refuse_rename;
	store = place_store(&place, &calls);
	place_load(store, &found);
	store_close(store);
	ck_assert_uint_eq(found.aside, 1);
	ck_assert_ptr_nonnull(strstr(found.sentence, "left as it is"));
	ck_assert_int_eq(found.values[1], 5);
	ck_assert(place_has(&place, name));
}
END_TEST

static int refuse_create(int directory, const char *name)
{
	errno = EROFS;
	return -1;
}

static int refuse_remove(int directory, const char *name)
{
	errno = EROFS;
	return -1;
}

START_TEST(a_file_system_that_is_read_only_is_read)
{
	struct store_calls calls = store_host_calls;
	struct settings *settings = place_settings(1, 6);
	struct error err;
	struct store *store;
	char uuid[37];

	write_whole();
	place_put(&place, ".x.json.tmp", "{", 1);
	calls.create = refuse_create;
	calls.rename = refuse_rename;
	calls.remove = refuse_remove;
	store = place_store(&place, &calls);
	place_load(store, &found);
	ck_assert_int_eq(found.values[1], 5);
	ck_assert_int_eq(store_write(store, settings, &err), -EROFS);
	ck_assert_ptr_nonnull(strstr(err.text, strerror(EROFS)));
	place_uuid(1, uuid);
	ck_assert_int_eq(store_remove(store, uuid, &err), -EROFS);
	ck_assert_ptr_nonnull(strstr(err.text, "still there"));
	settings_free(settings);
	store_close(store);
	place_reload(&place, &found);
	ck_assert_int_eq(found.values[1], 5);
}
END_TEST

static int refuse_flags(int directory, const char *from, const char *to, unsigned int flags)
{
	errno = EINVAL;
	return flags ? -1 : store_host_calls.rename(directory, from, to, flags);
}

/* Not every file system has those of renameat2. */
START_TEST(a_plain_rename_will_do)
{
	struct store_calls calls = store_host_calls;
	struct store *store;
	char name[64], aside[80];

	write_whole();
	place_name(0, name);
	calls.rename = refuse_flags;
	for (unsigned int i = 1; i < 3; i++) {
		place_put(&place, name, "{", 1);
		store = place_store(&place, &calls);
		place_load(store, &found);
		ck_assert(!place_write(store, 1, 5));
		store_close(store);
		snprintf(aside, sizeof(aside), "%s.broken-%u", name, i);
		ck_assert(place_has(&place, aside));
		ck_assert_int_eq(found.values[1], 5);
	}
}
END_TEST

START_TEST(a_place_that_is_none_is_refused)
{
	struct store *store = NULL;
	struct error err;
	int fd = open(place.vms, O_WRONLY | O_CREAT | O_EXCL, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(store_open(place.path, &store, &err), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(err.text, "--state"));
	unlink(place.vms);
}
END_TEST

/* Which call fails: the countdown is over all of a kind. */
enum { CREATE, WRITE, SYNC, RENAME, REMOVE, KINDS };
static int countdown[KINDS];
static bool for_ever;

static bool fails(int kind)
{
	if (countdown[kind] < 0 || (countdown[kind] && countdown[kind]--))
		return false;
	if (!for_ever)
		countdown[kind] = -1;
	errno = ENOSPC;
	return true;
}

static int failing_open(int directory, const char *name)
{
	return store_host_calls.open(directory, name);
}

static int failing_create(int directory, const char *name)
{
	return fails(CREATE) ? -1 : store_host_calls.create(directory, name);
}

/* Few bytes at a time. */
static ssize_t failing_write(int fd, const void *data, size_t bytes)
{
	return fails(WRITE) ? -1 : write(fd, data, bytes < 100 ? bytes : 100);
}

static int failing_sync(int fd)
{
	return fails(SYNC) ? -1 : 0;
}

static int failing_rename(int directory, const char *from, const char *to, unsigned int flags)
{
	return fails(RENAME) ? -1 : store_host_calls.rename(directory, from, to, flags);
}

static int failing_remove(int directory, const char *name)
{
	return fails(REMOVE) ? -1 : store_host_calls.remove(directory, name);
}

static const struct store_calls failing = {
	.open = failing_open,
	.create = failing_create,
	.write = failing_write,
	.sync = failing_sync,
	.rename = failing_rename,
	.remove = failing_remove,
};

static void fail_nothing(void)
{
	for (int i = 0; i < KINDS; i++)
		countdown[i] = -1;
}

/* Whatever fails: the old state, or the new one if that was promised; afterwards all works. */
static void try_failure(int kind, int at, bool ever)
{
	struct store *store = place_store(&place, &failing);
	char uuid[37];
	int r;

	fail_nothing();
	for_ever = ever;
	ck_assert(!place_write(store, 0, 1));
	countdown[kind] = at;
	r = place_write(store, 0, 2);
	store_close(store);
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 0);
	ck_assert_int_eq(found.values[0], r ? 1 : 2);

	store = place_store(&place, &failing);
	fail_nothing();
	countdown[kind] = at;
	r = place_write(store, 1, 1);
	store_close(store);
	place_reload(&place, &found);
	ck_assert_int_eq(found.values[1], r ? -1 : 1);

	store = place_store(&place, &failing);
	fail_nothing();
	countdown[kind] = at;
	place_uuid(0, uuid);
	r = store_remove(store, uuid, NULL);
	place_write(store, 2, 0);
	fail_nothing();
	ck_assert(!place_write(store, 2, 3));
	store_close(store);
	place_reload(&place, &found);
	ck_assert_uint_eq(found.aside, 0);
	ck_assert_int_eq(found.values[0] < 0, !r);
	ck_assert_int_eq(found.values[2], 3);
	place_empty(&place);
}

START_TEST(a_full_disk_leaves_the_old)
{
	for (int kind = 0; kind < KINDS; kind++) {
		for (int at = 0; at < 12; at++) {
			/* A disk that does not flush says nothing about what it will do later. */
			try_failure(kind, at, false);
			if (kind != RENAME)
				try_failure(kind, at, true);
		}
	}
}
END_TEST

START_TEST(a_file_that_may_not_grow_leaves_the_old)
{
	const struct rlimit small = {100, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
	struct store *store = place_store(&place, &store_host_calls);
	struct settings *settings = place_settings(0, 2);
	struct error err;

	signal(SIGXFSZ, SIG_IGN);
	ck_assert(!place_write(store, 0, 1));
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(store_write(store, settings, &err), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &all);
	ck_assert_ptr_nonnull(strstr(err.text, "as it was"));
	settings_free(settings);
	place_load(store, &found);
	ck_assert_int_eq(found.values[0], 1);
	store_close(store);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("store_faults", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_add_loop_test(test_case, what_a_newer_daemon_wrote_is_left, 0, 2);
	tcase_add_loop_test(test_case, what_the_host_does_not_let_us_read_is_left, 0, 3);
	tcase_add_test(test_case, what_came_later_is_left);
	tcase_add_test(test_case, another_directory_is_not_written);
	tcase_add_test(test_case, a_file_system_that_is_read_only_is_read);
	tcase_add_test(test_case, a_plain_rename_will_do);
	tcase_add_test(test_case, a_place_that_is_none_is_refused);
	tcase_add_test(test_case, what_cannot_be_renamed_stays);
	tcase_add_test(test_case, a_full_disk_leaves_the_old);
	tcase_add_test(test_case, a_file_that_may_not_grow_leaves_the_old);
	return suite_run(suite);
}
