#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io_thread.h"
#include "base/uring.h"
#include "suite.h"
#include "worker/sandbox.h"

/* Each body runs in a child of its own, which it ends by _exit(0) when all went as it should. */

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			_exit(1);                                                                  \
	} while (0)

static int status_of(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sandbox sandbox;
		struct error err;

		memset(&sandbox, 0, sizeof(sandbox));
		if (sandbox_enter(&sandbox, &err))
			_exit(2);
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_killed(void (*body)(void))
{
	int status = status_of(body);

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSYS);
}

static void assert_lives(void (*body)(void))
{
	int status = status_of(body);

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static void call_open(void)
{
	syscall(SYS_open, "/etc/passwd", O_RDONLY);
}

static void call_openat2(void)
{
	syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0);
}

static void call_execve(void)
{
	execve("/bin/true", (char *[]){"true", NULL}, NULL);
}

static void call_socket(void)
{
	socket(AF_INET, SOCK_STREAM, 0);
}

static void call_fork(void)
{
	syscall(SYS_fork);
}

static void call_clone_process(void)
{
	syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
}

static void call_ptrace(void)
{
	syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void call_kill(void)
{
	syscall(SYS_kill, 1, 0);
}

static void call_tgkill_other(void)
{
	syscall(SYS_tgkill, 1, 1, 0);
}

static void call_foreign_ioctl(void)
{
	ioctl(0, TIOCSTI, "x");
}

static void call_map_executable(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void call_protect_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void call_ring_setup(void)
{
	syscall(SYS_io_uring_setup, 8, NULL);
}

static void (*const forbidden[])(void) = {
	call_open,	   call_openat2,       call_execve,	    call_socket,
	call_fork,	   call_clone_process, call_ptrace,	    call_kill,
	call_tgkill_other, call_foreign_ioctl, call_map_executable, call_protect_executable,
	call_ring_setup,
};

START_TEST(a_forbidden_call_kills)
{
	assert_killed(forbidden[_i]);
}
END_TEST

static void *add_one(void *context)
{
	eventfd_write(*(int *)context, 1);
	return NULL;
}

/* What the worker goes on doing: threads, locks, memory, eventfds, signals to itself. */
static void work(void)
{
	pthread_t thread;
	eventfd_t count;
	int fd = eventfd(0, EFD_CLOEXEC);
	char *memory = malloc(1 << 20);

	REQUIRE(memory);
	memset(memory, 1, 1 << 20);
	free(memory);
	REQUIRE(!pthread_create(&thread, NULL, add_one, &fd));
	REQUIRE(!eventfd_read(fd, &count) && count == 1);
	pthread_join(thread, NULL);
	signal(SIGUSR1, SIG_IGN);
	pthread_kill(pthread_self(), SIGUSR1);
	close(fd);
}

START_TEST(the_worker_still_works)
{
	assert_lives(work);
}
END_TEST

static void seal_and_thread(void)
{
	struct sandbox sandbox;
	struct error err;
	pthread_t thread;
	int fd = 0;

	REQUIRE(!sandbox_seal(&sandbox, &err));
	pthread_create(&thread, NULL, add_one, &fd);
}

START_TEST(a_sealed_worker_starts_no_thread)
{
	assert_killed(seal_and_thread);
}
END_TEST

static void vp_makes_ring_call(void)
{
	REQUIRE(!sandbox_enter_vp(NULL));
	syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0);
}

static void vp_polls(void)
{
	REQUIRE(!sandbox_enter_vp(NULL));
	syscall(SYS_epoll_create1, 0);
}

static void io_receives(void)
{
	REQUIRE(!sandbox_enter_io(NULL));
	recvmsg(0, NULL, 0);
}

START_TEST(each_kind_of_thread_has_less)
{
	assert_killed(vp_makes_ring_call);
	assert_killed(vp_polls);
	assert_killed(io_receives);
}
END_TEST

static void vp_holds_interrupt(void)
{
	REQUIRE(!sandbox_enter_vp(NULL));
	ioctl(-1, KVM_IRQ_LINE, NULL);
}

static void vp_replaces_memory(void)
{
	REQUIRE(!sandbox_enter_vp(NULL));
	ioctl(-1, KVM_SET_USER_MEMORY_REGION, NULL);
}

static void io_holds_interrupt(void)
{
	REQUIRE(!sandbox_enter_io(NULL));
	ioctl(-1, KVM_IRQ_LINE, NULL);
}

static void io_of_generation1_replaces_memory(void)
{
	REQUIRE(!sandbox_enter_io_generation1(NULL));
	ioctl(-1, KVM_SET_USER_MEMORY_REGION, NULL);
}

static void vp_of_generation1_does_both(void)
{
	REQUIRE(!sandbox_enter_vp_generation1(NULL));
	REQUIRE(ioctl(-1, KVM_IRQ_LINE, NULL) < 0 && errno == EBADF);
	REQUIRE(ioctl(-1, KVM_SET_USER_MEMORY_REGION, NULL) < 0 && errno == EBADF);
}

static void io_of_generation1_holds_interrupt(void)
{
	REQUIRE(!sandbox_enter_io_generation1(NULL));
	REQUIRE(ioctl(-1, KVM_IRQ_LINE, NULL) < 0 && errno == EBADF);
}

START_TEST(a_pcs_threads_have_more)
{
	assert_killed(vp_holds_interrupt);
	assert_killed(vp_replaces_memory);
	assert_killed(io_holds_interrupt);
	assert_killed(io_of_generation1_replaces_memory);
	assert_lives(vp_of_generation1_does_both);
	assert_lives(io_of_generation1_holds_interrupt);
}
END_TEST

struct reading {
	struct io_thread *thread;
	struct uring_request request;
	struct iovec iov;
	char byte;
	int slot;
	int done_fd;
};

static void on_read(struct uring_request *request, int32_t result)
{
	struct reading *reading =
		(struct reading *)((char *)request - offsetof(struct reading, request));

	eventfd_write(reading->done_fd, result == 1 ? 1 : 2);
}

static void start_read(void *context)
{
	struct reading *reading = context;

	reading->request.done = on_read;
	reading->iov = (struct iovec){&reading->byte, 1};
	uring_readv(io_thread_uring(reading->thread), &reading->request, reading->slot,
		    &reading->iov, 1, 0);
}

static struct reading reading;

static void read_by_ring(void)
{
	eventfd_t result;

	REQUIRE(!io_thread_start(reading.thread, sandbox_enter_io, NULL));
	io_thread_call(reading.thread, start_read, &reading);
	REQUIRE(!eventfd_read(reading.done_fd, &result) && result == 1);
	io_thread_free(reading.thread);
}

START_TEST(an_io_thread_reads_inside)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(io_thread_new("io", 8, &reading.thread), 0);
	reading.slot = uring_add_file(io_thread_uring(reading.thread), fd);
	ck_assert_int_ge(reading.slot, 0);
	reading.done_fd = eventfd(0, EFD_CLOEXEC);
	assert_lives(read_by_ring);
}
END_TEST

/* An abstract name is known in one network namespace. */
static int bind_or_connect(int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(&address.sun_path[1], sizeof(address.sun_path) - 1, "bulkhead-test-%d", getpgrp());
	return call(fd, (struct sockaddr *)&address, sizeof(address));
}

/* Runs in a child: it gives up everything for good. */
static int drop_and_look(int inherited)
{
	struct sandbox sandbox;
	struct error err;

	if (sandbox_begin(&sandbox, 2, 0, &err) || sandbox_drop(&sandbox, &err))
		return 10;
	if (!sandbox.in_force[SANDBOX_CAPABILITIES])
		return 11;
	if (fcntl(inherited, F_GETFD) >= 0)
		return 12;
	if (prctl(PR_GET_DUMPABLE) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 13;
	if (sandbox.in_force[SANDBOX_USER] && (getuid() == 0 || setuid(0) == 0))
		return 14;
	if ((sandbox.in_force[SANDBOX_ROOT] || sandbox.in_force[SANDBOX_LANDLOCK]) &&
	    open("/etc/passwd", O_RDONLY) >= 0)
		return 15;
	if (sandbox.in_force[SANDBOX_NAMESPACES] && !bind_or_connect(connect))
		return 16;
	return 0;
}

START_TEST(privileges_are_dropped)
{
	int inherited = open("/dev/null", O_RDONLY);
	pid_t pid;
	int status;

	ck_assert_int_eq(bind_or_connect(bind), 0);
	pid = fork();
	if (pid == 0)
		_exit(drop_and_look(inherited));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("sandbox", &tests);

	tcase_add_loop_test(tests, a_forbidden_call_kills, 0,
			    sizeof(forbidden) / sizeof(forbidden[0]));
	tcase_add_test(tests, the_worker_still_works);
	tcase_add_test(tests, a_sealed_worker_starts_no_thread);
	tcase_add_test(tests, each_kind_of_thread_has_less);
	tcase_add_test(tests, a_pcs_threads_have_more);
	tcase_add_test(tests, an_io_thread_reads_inside);
	tcase_add_test(tests, privileges_are_dropped);
	return suite_run(suite);
}
