#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "suite.h"

#define NOBODY 65534u

static char directory[256];
static char path[512];

static void set_up(void)
{
	const char *top = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/bulkhead-test-XXXXXX", top ? top : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s.sock", directory);
}

static void tear_down(void)
{
	unlink(path);
	rmdir(directory);
}

START_TEST(one_listener_a_path)
{
	struct unix_listener first;
	struct unix_listener second;
	struct stat status;
	int fd;

	ck_assert_int_eq(unix_connect(path), -ENOENT);
	ck_assert_int_eq(unix_listen(path, 0600, &first), 0);
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_uint_eq(status.st_mode & 0777, 0600);
	ck_assert_int_eq(unix_listen(path, 0600, &second), -EADDRINUSE);
	fd = unix_connect(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	unix_listener_close(&first, path);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
	struct unix_listener first;
	struct unix_listener second;

	ck_assert_int_eq(unix_listen(path, 0600, &first), 0);
	close(first.fd);
	ck_assert_int_eq(unix_connect(path), -ECONNREFUSED);
	ck_assert_int_eq(unix_listen(path, 0600, &second), 0);
	first.fd = dup(0);
	first.inode = second.inode + 1;
	unix_listener_close(&first, path); /* not its own file any more */
	ck_assert_int_eq(access(path, F_OK), 0);
	unix_listener_close(&second, path);
}
END_TEST

START_TEST(another_file_is_not_touched)
{
	struct unix_listener listener;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	close(fd);
	ck_assert_int_eq(unix_listen(path, 0600, &listener), -EEXIST);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(dead_sockets_are_swept)
{
	char other[sizeof(path) + 8];
	struct unix_listener live, dead;
	int file;

	snprintf(other, sizeof(other), "%s.file.s", path);
	file = open(other, O_CREAT | O_WRONLY, 0600);
	close(file);
	snprintf(path + strlen(path), 3, ".s");
	ck_assert_int_eq(unix_listen(path, 0600, &live), 0);
	unix_sweep(path, ".s");
	ck_assert_int_eq(access(path, F_OK), 0);
	dead = live;
	close(dead.fd);
	unix_sweep(path, ".t");
	ck_assert_int_eq(access(path, F_OK), 0);
	unix_sweep(path, ".s");
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(access(other, F_OK), 0);
	unlink(other);
	unix_sweep("/nonexistent/x", ".s");
}
END_TEST

static void *let_go_late(void *context)
{
	const int *fd = context;

	usleep(30000);
	close(*fd);
	return NULL;
}

/* Whoever may read a directory may lock it, and keep it so. */
START_TEST(a_locked_directory_is_not_waited_for_long)
{
	struct unix_listener listener;
	int holder = open(directory, O_RDONLY);
	pthread_t thread;

	ck_assert_int_eq(flock(holder, LOCK_SH), 0);
	ck_assert_int_eq(unix_listen(path, 0600, &listener), -EBUSY);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(pthread_create(&thread, NULL, let_go_late, &holder), 0);
	ck_assert_int_eq(unix_listen(path, 0600, &listener), 0);
	pthread_join(thread, NULL);
	unix_listener_close(&listener, path);
}
END_TEST

START_TEST(a_long_directory_works)
{
	struct unix_listener listener;
	char deep[512];
	char name[220];
	int fd;

	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	ck_assert_int_lt(snprintf(deep, sizeof(deep), "%s/%s", directory, name), sizeof(deep));
	ck_assert_int_eq(mkdir(deep, 0700), 0);
	ck_assert_int_lt(snprintf(path, sizeof(path), "%s/s", deep), sizeof(path));
	ck_assert_int_eq(unix_listen(path, 0600, &listener), 0);
	fd = unix_connect(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	unix_listener_close(&listener, path);
	rmdir(deep);
}
END_TEST

/* What connecting gives a user who may not list the directory, as in /run/bulkhead. */
static int connect_as_another(void)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		int fd = geteuid() || !setresuid(NOBODY, NOBODY, NOBODY) ? unix_connect(path)
									 : -EPERM;

		_exit(fd < 0 ? -fd : 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(a_directory_need_not_be_listed)
{
	struct unix_listener listener;

	ck_assert_int_eq(unix_listen(path, 0666, &listener), 0);
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(chmod(directory, 0311), 0);
	ck_assert_int_eq(connect_as_another(), 0);
	ck_assert_int_eq(chmod(directory, 0700), 0);
	unix_listener_close(&listener, path);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("unix_socket", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, one_listener_a_path);
	tcase_add_test(tests, a_stale_socket_is_replaced);
	tcase_add_test(tests, another_file_is_not_touched);
	tcase_add_test(tests, dead_sockets_are_swept);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_locked_directory_is_not_waited_for_long);
	tcase_add_test(tests, a_long_directory_works);
	tcase_add_test(tests, a_directory_need_not_be_listed);
	return suite_run(suite);
}
