#include "mgmt/saved_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "suite.h"

/* What the functions do to the directory, in order; one of the calls may be made to fail. */
static char done[256];
static int calls, failing;
static char place[] = "/tmp/saved-state-XXXXXX", path[64];
static struct error err;

static int step(const char *what)
{
	strcat(strcat(done, *done ? " " : ""), what);
	if (++calls != failing)
		return 0;
	errno = EIO;
	return -1;
}

int fsync(int fd)
{
	return step("sync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	char what[64];

	snprintf(what, sizeof(what), "%s>%s", from, to);
	return step(what) ? -1 : (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

static void begin(int fail_at)
{
	calls = 0;
	failing = fail_at;
	done[0] = 0;
}

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(place));
	snprintf(path, sizeof(path), "%s/saved", place);
	begin(0);
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", place);
	ck_assert_int_eq(system(command), 0);
}

static int make(void)
{
	bool made;
	int fd = saved_state_make_directory(path, &made, &err);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static unsigned int count_files(int directory)
{
	static const char *const names[] = {"state", "state.new", "memory"};
	unsigned int count = 0;

	for (unsigned int i = 0; i < 3; i++)
		count += faccessat(directory, names[i], F_OK, 0) == 0;
	return count;
}

static void create(int directory)
{
	struct saved_state_files files;

	ck_assert_int_eq(saved_state_create(directory, &files, &err), 0);
	ck_assert_int_eq(write(files.state, "tree", 4), 4);
	ck_assert_int_eq(write(files.memory, "pages", 5), 5);
	saved_state_close(&files);
}

static void check_reads(int directory)
{
	struct saved_state_files files;
	char text[8] = "";

	ck_assert_int_eq(saved_state_open(directory, &files, &err), 0);
	ck_assert_int_eq(read(files.state, text, 8), 4);
	ck_assert_str_eq(text, "tree");
	ck_assert_int_eq(read(files.memory, text, 8), 5);
	ck_assert_str_eq(text, "pages");
	saved_state_close(&files);
}

START_TEST(is_kept_and_removed)
{
	struct saved_state_files files;
	int fd = make();

	ck_assert_str_eq(done, "sync"); /* the parent */
	ck_assert(!saved_state_exists(fd));
	ck_assert_int_eq(saved_state_open(fd, &files, &err), -ENOENT);
	create(fd);
	ck_assert(!saved_state_exists(fd));
	ck_assert_int_eq(saved_state_open(fd, &files, &err), -ENOENT);
	begin(0);
	ck_assert_int_eq(saved_state_keep(fd, &err), 0);
	ck_assert_str_eq(done, "sync state.new>state sync");
	ck_assert(saved_state_exists(fd));
	check_reads(fd);
	ck_assert_int_eq(saved_state_create(fd, &files, &err), -EEXIST);
	check_reads(fd);
	begin(0);
	ck_assert_int_eq(saved_state_remove(fd, &err), 0);
	ck_assert_str_eq(done, "state>state.new sync");
	ck_assert(!saved_state_exists(fd));
	ck_assert_uint_eq(count_files(fd), 0);
	/* Of two starts one has removed it. */
	ck_assert_int_eq(saved_state_remove(fd, &err), -ENOENT);
	close(fd);
}
END_TEST

/* One that was not finished is in nobody's way. */
START_TEST(takes_the_place_of_an_unfinished_one)
{
	int fd = make();

	create(fd);
	create(fd);
	ck_assert_int_eq(saved_state_keep(fd, &err), 0);
	check_reads(fd);
	close(fd);
}
END_TEST

/* Whoever is told that it is not kept lets the guest go on: there must be nothing to start from. */
START_TEST(leaves_nothing_that_is_not_kept)
{
	int fd = make();

	for (int at = 1; at <= 3; at++) {
		create(fd);
		begin(at);
		ck_assert_int_eq(saved_state_keep(fd, &err), -EIO);
		ck_assert(!saved_state_exists(fd));
		ck_assert_uint_eq(count_files(fd), 0);
	}
	begin(0);
	create(fd);
	ck_assert_int_eq(saved_state_keep(fd, &err), 0);
	close(fd);
}
END_TEST

/* Whoever is told that it is not removed lets no guest go on from it: it is still there. */
START_TEST(is_whole_where_it_is_not_removed)
{
	int fd = make();

	create(fd);
	ck_assert_int_eq(saved_state_keep(fd, &err), 0);
	for (int at = 1; at <= 2; at++) {
		begin(at);
		ck_assert_int_eq(saved_state_remove(fd, &err), -EIO);
		check_reads(fd);
	}
	begin(0);
	ck_assert_int_eq(saved_state_remove(fd, &err), 0);
	ck_assert_uint_eq(count_files(fd), 0);
	close(fd);
}
END_TEST

START_TEST(wants_an_empty_directory)
{
	bool made;
	int fd = make(), file;

	close(fd);
	fd = saved_state_make_directory(path, &made, &err);
	ck_assert(fd >= 0 && !made);
	file = openat(fd, "x", O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(file, 0);
	close(file);
	ck_assert_int_eq(saved_state_make_directory(path, &made, &err), -ENOTEMPTY);
	unlinkat(fd, "x", 0);
	close(fd);
	ck_assert_int_eq(rmdir(path), 0);
	begin(1);
	ck_assert_int_eq(saved_state_make_directory(path, &made, &err), -EIO);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* Somebody else's file, or none at all. */
START_TEST(follows_no_links)
{
	struct saved_state_files files;
	int fd = make();

	ck_assert_int_eq(symlinkat("/etc/hostname", fd, "state"), 0);
	ck_assert_int_eq(saved_state_open(fd, &files, &err), -ELOOP);
	ck_assert_int_eq(unlinkat(fd, "state", 0), 0);
	ck_assert_int_eq(symlinkat("/etc/hostname", fd, "memory"), 0);
	create(fd);
	ck_assert_int_eq(saved_state_keep(fd, &err), 0);
	check_reads(fd);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("saved_state", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, is_kept_and_removed);
	tcase_add_test(tests, takes_the_place_of_an_unfinished_one);
	tcase_add_test(tests, leaves_nothing_that_is_not_kept);
	tcase_add_test(tests, is_whole_where_it_is_not_removed);
	tcase_add_test(tests, wants_an_empty_directory);
	tcase_add_test(tests, follows_no_links);
	return suite_run(suite);
}
