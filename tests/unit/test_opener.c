#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mgmt/vmms/opener.h"
#include "suite.h"

#define STRANGER 65533
#define GROUP	 65532
#define KNOWN	 65531 /* a user with an entry */
#define SLOW	 65530 /* a user whose entry never comes */

static char directory[64];
static struct event_loop *loop;
static struct opener *opener;
static struct opening *opening;
static int result;
static struct opener_id found[OPENER_FILES_MAX];
static struct error sentence;

/* In place of the host's: users made up here. */
struct passwd *getpwuid(uid_t uid)
{
	static struct passwd known = {.pw_name = "kim", .pw_uid = KNOWN, .pw_gid = GROUP};

	while (uid == SLOW)
		pause();
	return uid == KNOWN ? &known : NULL;
}

int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
	groups[0] = group;
	groups[1] = GROUP;
	*count = 2;
	return 2;
}

static void set_up(void)
{
	snprintf(directory, sizeof(directory), "/tmp/bulkhead-opener-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chmod(directory, 0755), 0);
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(opener_new(loop, &opener_default_limits, &opener), 0);
}

static void tear_down(void)
{
	char command[128];

	opener_free(opener);
	event_loop_free(loop);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static const char *make_file(const char *name, mode_t mode)
{
	const char *path = path_of(name);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void on_done(void *context, int error, const struct opener_id *ids, const struct error *err)
{
	result = error;
	sentence = *err;
	if (!error)
		memcpy(found, ids, sizeof(found[0]) * *(size_t *)context);
	else
		ck_assert_ptr_null(ids);
	event_loop_stop(loop, 0);
}

static int ask_files(const struct caller *caller, const struct opener_file *files, size_t count)
{
	struct error err;

	result = 1;
	ck_assert_int_eq(opener_ask(opener, caller, files, count, on_done, &count, &opening, &err),
			 0);
	ck_assert_int_eq(event_loop_run(loop), 0);
	return result;
}

static int ask(const struct caller *caller, const char *path, enum opener_access access)
{
	return ask_files(caller, &(struct opener_file){path, access}, 1);
}

static struct caller self(void)
{
	return (struct caller){.uid = getuid(), .gid = getgid()};
}

/* Somebody else, where the test may become somebody else. */
static struct caller stranger(void)
{
	return (struct caller){.uid = geteuid() ? geteuid() : STRANGER, .gid = STRANGER};
}

START_TEST(own_files_can_be_opened)
{
	struct caller caller = self();
	const char *path = make_file("disk", 0600);
	struct stat status;

	ck_assert_int_eq(ask(&caller, path, OPENER_DISK), 0);
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_uint_eq(found[0].device, status.st_dev);
	ck_assert_uint_eq(found[0].inode, status.st_ino);
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), 0);
	ck_assert_int_eq(ask(&caller, path, OPENER_FILE), 0);
	ck_assert_int_eq(ask(&caller, directory, OPENER_DIRECTORY), 0);
}
END_TEST

/* As root these are root's files and the caller is not; else they are ours, with a mode that keeps
 * us out all the same. */
START_TEST(files_of_others_are_refused)
{
	struct caller caller = stranger();
	const char *path = make_file("secret", geteuid() ? 0 : 0600);

	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), -EACCES);
	ck_assert_ptr_nonnull(strstr(sentence.text, path));
	ck_assert_ptr_nonnull(
		strstr(sentence.text, geteuid() ? " may not read" : "user 65533 may"));
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK), -EACCES);
	ck_assert_int_eq(ask(&caller, path, OPENER_FILE), -EACCES);
}
END_TEST

START_TEST(to_read_is_not_to_write)
{
	struct caller caller = stranger();
	const char *path = make_file("public", 0444);

	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), 0);
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK), -EACCES);
	ck_assert_ptr_nonnull(strstr(sentence.text, "read and write"));
}
END_TEST

START_TEST(links_are_followed_to_what_they_mean)
{
	struct caller caller = stranger();
	const char *link = path_of("link");

	ck_assert_int_eq(symlink(make_file("secret", geteuid() ? 0 : 0600), link), 0);
	ck_assert_int_eq(ask(&caller, link, OPENER_DISK_READ), -EACCES);
	ck_assert_int_eq(unlink(link), 0);
	ck_assert_int_eq(symlink(make_file("public", 0444), link), 0);
	ck_assert_int_eq(ask(&caller, link, OPENER_DISK_READ), 0);
}
END_TEST

START_TEST(the_callers_groups_count)
{
	struct caller caller = stranger();
	gid_t groups[] = {7, GROUP};
	const char *path = make_file("shared", 0040);

	if (geteuid())
		return; /* who is not root has no groups to give */
	ck_assert_int_eq(chown(path, 0, GROUP), 0);
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), -EACCES);
	caller.groups = groups;
	caller.group_count = 2;
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), 0);
	caller.group_count = 1;
	caller.gid = GROUP;
	ck_assert_int_eq(ask(&caller, path, OPENER_DISK_READ), 0);
}
END_TEST

static int ask_user(uid_t uid, const char *path)
{
	struct opener_file file = {path, OPENER_DISK_READ};
	struct error err;
	size_t count = 1;

	result = 1;
	ck_assert_int_eq(
		opener_ask_user(opener, uid, STRANGER, &file, 1, on_done, &count, &opening, &err),
		0);
	ck_assert_int_eq(event_loop_run(loop), 0);
	return result;
}

START_TEST(a_user_who_does_not_call_has_his_groups)
{
	const char *path = make_file("shared", 0040);

	if (!geteuid()) {
		ck_assert_int_eq(chown(path, 0, GROUP), 0);
		ck_assert_int_eq(ask_user(KNOWN, path), 0);
	}
	ck_assert_int_eq(ask_user(STRANGER, path), -EACCES);
}
END_TEST

START_TEST(all_files_of_a_question_must_open)
{
	struct caller caller = stranger();
	struct opener_file files[] = {{make_file("one", 0444), OPENER_FILE},
				      {make_file("two", 0), OPENER_FILE},
				      {make_file("three", 0444), OPENER_FILE}};

	ck_assert_int_eq(ask_files(&caller, files, 3), -EACCES);
	ck_assert_ptr_nonnull(strstr(sentence.text, "two"));
	files[1].only_rights = true;
	ck_assert_int_eq(ask_files(&caller, files, 3), -EACCES);
	files[1].path = path_of("none");
	ck_assert_int_eq(ask_files(&caller, files, 3), 0);
	files[1].path = files[2].path;
	ck_assert_int_eq(ask_files(&caller, files, 3), 0);
	ck_assert_uint_eq(found[1].inode, found[2].inode);
	ck_assert_uint_ne(found[0].inode, found[1].inode);
}
END_TEST

START_TEST(what_it_is_must_be_what_is_wanted)
{
	struct caller caller = self();
	const char *file = make_file("file", 0600);

	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	ck_assert_int_eq(ask(&caller, path_of("fifo"), OPENER_DISK), -ENOTBLK);
	ck_assert_int_eq(ask(&caller, path_of("fifo"), OPENER_FILE), -ENOEXEC);
	ck_assert_int_eq(ask(&caller, "/dev/null", OPENER_DISK), -ENOTBLK);
	ck_assert_int_eq(ask(&caller, directory, OPENER_DISK), -EISDIR);
	ck_assert_int_eq(ask(&caller, directory, OPENER_FILE), -EISDIR);
	ck_assert_int_eq(ask(&caller, file, OPENER_DIRECTORY), -ENOTDIR);
	ck_assert_int_eq(ask(&caller, file, OPENER_CONNECT), -ENOTSOCK);
	ck_assert_int_eq(ask(&caller, path_of("none"), OPENER_DISK), -ENOENT);
	ck_assert_int_eq(ask(&caller, "no such tap!", OPENER_TAP), -ENODEV);
	ck_assert_int_eq(ask(&caller, "../lo", OPENER_TAP), -ENODEV);
	ck_assert_int_eq(ask(&caller, "lo", OPENER_TAP), -ENODEV);
}
END_TEST

static void make_socket(const char *path, mode_t mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
	close(fd);
}

START_TEST(sockets_are_connected_to_by_those_who_may_write)
{
	struct caller caller = stranger();

	make_socket(path_of("open"), 0666);
	make_socket(path_of("closed"), geteuid() ? 0400 : 0600);
	ck_assert_int_eq(ask(&caller, path_of("open"), OPENER_CONNECT), 0);
	ck_assert_int_eq(ask(&caller, path_of("closed"), OPENER_CONNECT), -EACCES);
}
END_TEST

START_TEST(to_create_takes_a_directory_that_can_be_written)
{
	struct caller caller = self(), other = stranger();

	ck_assert_int_eq(ask(&caller, path_of("new.sock"), OPENER_CREATE), 0);
	make_socket(path_of("old.sock"), 0600);
	ck_assert_int_eq(ask(&caller, path_of("old.sock"), OPENER_CREATE), 0);
	make_file("file", 0600);
	ck_assert_int_eq(ask(&caller, path_of("file"), OPENER_CREATE), -ENOTSOCK);
	ck_assert_int_eq(ask(&caller, path_of("none/new.sock"), OPENER_CREATE), -ENOENT);
	ck_assert_int_eq(chmod(directory, 0555), 0);
	ck_assert_int_eq(ask(&other, path_of("new.sock"), OPENER_CREATE), -EACCES);
	ck_assert_int_eq(chmod(directory, 0755), 0);
}
END_TEST

START_TEST(paths_are_absolute)
{
	struct caller caller = self();
	struct opener_file file = {"disk", OPENER_DISK};
	struct error err;

	ck_assert_int_eq(opener_ask(opener, &caller, &file, 1, on_done, NULL, &opening, &err),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "absolute"));
}
END_TEST

static void restart(const struct opener_limits *limits)
{
	opener_free(opener);
	ck_assert_int_eq(opener_new(loop, limits, &opener), 0);
}

START_TEST(a_file_that_does_not_open_ends_its_question_alone)
{
	static const struct opener_limits hasty = {4, 2, 20};
	struct caller caller = self();

	restart(&hasty);
	ck_assert_int_eq(ask_user(SLOW, "/"), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(sentence.text, "in time"));
	ck_assert_int_eq(ask(&caller, make_file("disk", 0600), OPENER_FILE), 0);
}
END_TEST

static int begin(uid_t uid, struct opening **out)
{
	struct opener_file file = {"/", OPENER_DIRECTORY};
	struct error err = {""};
	static size_t one = 1;

	return opener_ask_user(opener, uid, STRANGER, &file, 1, on_done, &one, out, &err);
}

START_TEST(one_user_does_not_take_all_places)
{
	static const struct opener_limits few = {3, 2, 60000};
	struct opening *held;

	restart(&few);
	ck_assert_int_eq(begin(SLOW, &held), 0);
	ck_assert_int_eq(begin(SLOW, &held), 0);
	ck_assert_int_eq(begin(SLOW, &held), -EAGAIN);
	ck_assert_int_eq(begin(KNOWN, &opening), 0);
	ck_assert_int_eq(begin(STRANGER, &opening), -EAGAIN);
}
END_TEST

START_TEST(who_no_longer_asks_is_not_answered)
{
	struct caller caller = self();
	struct opening *held;

	ck_assert_int_eq(begin(SLOW, &held), 0);
	opener_cancel(held);
	ck_assert_int_eq(ask(&caller, make_file("disk", 0600), OPENER_FILE), 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("opener", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, own_files_can_be_opened);
	tcase_add_test(tests, files_of_others_are_refused);
	tcase_add_test(tests, to_read_is_not_to_write);
	tcase_add_test(tests, links_are_followed_to_what_they_mean);
	tcase_add_test(tests, the_callers_groups_count);
	tcase_add_test(tests, a_user_who_does_not_call_has_his_groups);
	tcase_add_test(tests, all_files_of_a_question_must_open);
	tcase_add_test(tests, what_it_is_must_be_what_is_wanted);
	tcase_add_test(tests, sockets_are_connected_to_by_those_who_may_write);
	tcase_add_test(tests, to_create_takes_a_directory_that_can_be_written);
	tcase_add_test(tests, paths_are_absolute);
	tcase_add_test(tests, a_file_that_does_not_open_ends_its_question_alone);
	tcase_add_test(tests, one_user_does_not_take_all_places);
	tcase_add_test(tests, who_no_longer_asks_is_not_answered);
	return suite_run(suite);
}
