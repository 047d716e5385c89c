#include "mgmt/program_apart.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"

#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

/* The child's functions never return: for a sanitizer they have their variables there for ever. */
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define FORGET_STACK(base, size) __asan_unpoison_memory_region(base, size)
#else
#define FORGET_STACK(base, size)
#endif

#define STACK_BYTES 16384 /* of the child, which only makes system calls */

/* What the child has to know; it shares our memory until it execs. */
struct start {
	const char *path;
	const char *const *arguments;
	char *const *environment;
	const struct program_file *files;
	size_t file_count;
	bool user_namespace;
	int error;
};

/* A handler of ours must not run in the program, and nothing that we ignore is to be ignored. */
static void reset_signals(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &standard, NULL);
}

static int place_files(const struct start *start)
{
	int in = open("/dev/null", O_RDONLY);
	int out = open("/dev/null", O_WRONLY);

	if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		return -errno;
	if (in > STDERR_FILENO)
		close(in);
	if (out > STDERR_FILENO)
		close(out);
	for (size_t i = 0; i < start->file_count; i++) {
		if (dup2(start->files[i].fd, start->files[i].as) < 0)
			return -errno;
	}
	return 0;
}

/*
 * What the program needs to make its other namespaces by, in that of its user alone.  Nobody there
 * is root, so an exec would take all capabilities away but those that are ambient.
 */
static void keep_capabilities(void)
{
	static const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETPCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (syscall(SYS_capget, &header, have))
		return;
	for (size_t i = 0; i < ARRAY_LENGTH(kept); i++)
		have[CAP_TO_INDEX(kept[i])].inheritable |= CAP_TO_MASK(kept[i]);
	if (syscall(SYS_capset, &header, have))
		return;
	for (size_t i = 0; i < ARRAY_LENGTH(kept); i++)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0);
}

static int run_child(void *context)
{
	struct start *start = context;
	sigset_t none;
	int r;

	reset_signals();
	setsid();
	r = place_files(start);
	if (!r) {
		if (start->user_namespace)
			keep_capabilities();
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(start->path, (char *const *)start->arguments, start->environment);
		r = -errno;
	}
	start->error = r;
	_exit(127);
}

static bool may_make_namespaces(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return !syscall(SYS_capget, &header, have) &&
	       have[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

/* As vfork(2): we go on when it has executed the program, or ended. */
static pid_t clone_child(struct start *start)
{
	char stack[STACK_BYTES] __attribute__((aligned(16)));
	int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWPID | SIGCHLD;
	pid_t pid;

	if (start->user_namespace)
		flags |= CLONE_NEWUSER;
	pid = clone(run_child, stack + sizeof(stack), flags, start);
	FORGET_STACK(stack, sizeof(stack));
	return pid < 0 ? -errno : pid;
}

int program_start_apart(const char *path, const char *const *arguments, char *const *environment,
			const struct program_file *files, size_t file_count, pid_t *pid)
{
	struct start start = {path,  arguments,	 environment,
			      files, file_count, !may_make_namespaces()};
	sigset_t all, before;
	pid_t child;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	child = clone_child(&start);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (child < 0) /* not permitted here, or there are too many */
		return program_start(path, arguments, environment, files, file_count, pid);
	if (start.error) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		return start.error;
	}
	*pid = child;
	return 0;
}
