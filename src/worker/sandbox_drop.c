#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "worker/sandbox_user.h"

#define FILES_MAX 16384 /* eventfds of the SINTs and channels of the largest partition */

/* No core (guest RAM), room for registered buffers and eventfds. */
static void set_limits(void)
{
	struct rlimit none = {0, 0};
	struct rlimit files;
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_MEMLOCK, &all);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		if (files.rlim_max > FILES_MAX)
			files.rlim_max = FILES_MAX;
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* An empty file system becomes the root, and the host's is let go of. */
static bool enter_empty_root(void)
{
	static const char place[] = "/proc"; /* any directory that is always there */

	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("bulkhead", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		      "mode=0555") &&
	       !chdir(place) && !syscall(SYS_pivot_root, ".", ".") && !umount2(".", MNT_DETACH) &&
	       !chdir("/");
}

/* As /proc/PID/ns calls them.  The mount namespace is the last: it changes what paths mean. */
static const struct {
	const char *name;
	int flag;
} namespaces[] = {
	{"net", CLONE_NEWNET},	     {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
	{"cgroup", CLONE_NEWCGROUP}, {"mnt", CLONE_NEWNS},
};

#define MOUNT_NAMESPACE (ARRAY_LENGTH(namespaces) - 1)

static int all_namespaces(void)
{
	int flags = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(namespaces); i++)
		flags |= namespaces[i].flag;
	return flags;
}

/*
 * Who may make namespaces leaves it to two threads, which take the new ones for themselves; their
 * descriptors of them let the main thread in later.  One makes the mount namespace, where letting
 * go of a root mostly waits, the other the rest, of which the network is a lot of work.
 */
struct sandbox_namespaces {
	pthread_t thread;
	int proc; /* of the root that goes */
	int fds[ARRAY_LENGTH(namespaces)];
	bool root;
};

static int open_namespace(const struct sandbox_namespaces *made, const char *name)
{
	char path[32];

	/* Not by gettid(), which is our number in our own PID namespace. */
	snprintf(path, sizeof(path), "thread-self/ns/%s", name);
	return openat(made->proc, path, O_RDONLY | O_CLOEXEC);
}

static void *make_other_namespaces(void *context)
{
	struct sandbox_namespaces *made = context;

	/* Whoever shares its root with another thread, even one that is ending, cannot enter a
	 * mount namespace: the main thread is to be alone with its own. */
	if (unshare((all_namespaces() & ~namespaces[MOUNT_NAMESPACE].flag) | CLONE_FS))
		return NULL;
	for (size_t i = 0; i < MOUNT_NAMESPACE; i++)
		made->fds[i] = open_namespace(made, namespaces[i].name);
	return NULL;
}

static void make_mount_namespace(struct sandbox_namespaces *made)
{
	if (unshare(namespaces[MOUNT_NAMESPACE].flag))
		return;
	made->fds[MOUNT_NAMESPACE] = open_namespace(made, namespaces[MOUNT_NAMESPACE].name);
	made->root = enter_empty_root();
}

static void *make_namespaces(void *context)
{
	struct sandbox_namespaces *made = context;
	pthread_t others;

	if (pthread_create(&others, NULL, make_other_namespaces, made))
		return NULL;
	make_mount_namespace(made);
	pthread_join(others, NULL);
	return NULL;
}

static void free_namespaces(struct sandbox_namespaces *made)
{
	if (made->proc >= 0)
		close(made->proc);
	for (size_t i = 0; i < ARRAY_LENGTH(namespaces); i++) {
		if (made->fds[i] >= 0)
			close(made->fds[i]);
	}
	free(made);
}

static void begin_namespaces(struct sandbox *sandbox)
{
	struct sandbox_namespaces *made = malloc(sizeof(*made));

	if (!made)
		return;
	made->root = false;
	for (size_t i = 0; i < ARRAY_LENGTH(namespaces); i++)
		made->fds[i] = -1;
	made->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (made->proc < 0 || pthread_create(&made->thread, NULL, make_namespaces, made))
		free_namespaces(made);
	else
		sandbox->namespaces = made;
}

/* Into what the thread made, all of it or none counts. */
static bool enter_made_namespaces(struct sandbox *sandbox)
{
	struct sandbox_namespaces *made = sandbox->namespaces;
	bool entered = true;

	sandbox->namespaces = NULL;
	pthread_join(made->thread, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(namespaces) && entered; i++)
		entered = made->fds[i] >= 0 && !setns(made->fds[i], namespaces[i].flag);
	sandbox->in_force[SANDBOX_ROOT] = entered && made->root;
	free_namespaces(made);
	return entered;
}

/* Others than root get namespaces inside a user namespace, where hosts allow that. */
static bool enter_new_namespaces(struct sandbox *sandbox)
{
	if (unshare(all_namespaces())) {
		if (unshare(all_namespaces() | CLONE_NEWUSER))
			return false;
		sandbox->in_force[SANDBOX_USERS] = true;
	}
	sandbox->in_force[SANDBOX_ROOT] = enter_empty_root();
	return true;
}

static void enter_namespaces(struct sandbox *sandbox)
{
	sandbox->in_force[SANDBOX_NAMESPACES] =
		(sandbox->namespaces && enter_made_namespaces(sandbox)) ||
		enter_new_namespaces(sandbox);
}

/* A ruleset that handles every right and grants none: no file can be opened by path any more. */
static bool enter_landlock(void)
{
	struct landlock_ruleset_attr attributes = {
		.handled_access_fs =
			(LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, /* version 1 has them */
	};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	bool done;

	if (ruleset < 0)
		return false;
	done = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	return done;
}

static void drop_bounding_set(void)
{
	for (int capability = 0; !prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); capability++)
		;
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return !syscall(SYS_capset, &header, none);
}

/*
 * Whoever starts with privileges lets go of those that reach beyond itself at once: it becomes a
 * user of its own, and what it makes its namespaces by counts in its user namespace alone.  Started
 * by program_start_apart without privileges, it is in one already.
 */
static void begin_apart(struct sandbox *sandbox, uid_t uid)
{
	bool root = geteuid() == 0;

	sandbox->in_force[SANDBOX_PIDS] = getpid() == 1;
	sandbox->in_force[SANDBOX_USER] = sandbox_become_user(uid);
	if (!sandbox_may_make_namespaces())
		return;
	sandbox->in_force[SANDBOX_USERS] = !root || !unshare(CLONE_NEWUSER);
	begin_namespaces(sandbox);
}

int sandbox_begin(struct sandbox *sandbox, int keep_fd, uid_t uid, struct error *err)
{
	*sandbox = (struct sandbox){{false}};
	set_limits();
	if (syscall(SYS_close_range, (unsigned int)keep_fd + 1, ~0u, 0))
		return error_host(err, errno, "cannot close foreign descriptors");
	begin_apart(sandbox, uid);
	return 0;
}

int sandbox_drop(struct sandbox *sandbox, struct error *err)
{
	enter_namespaces(sandbox);
	drop_bounding_set();
	if (!sandbox->in_force[SANDBOX_USER])
		sandbox->in_force[SANDBOX_USER] = sandbox_become_nobody();
	sandbox->in_force[SANDBOX_CAPABILITIES] = drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return error_host(err, errno, "cannot give up privileges");
	sandbox->in_force[SANDBOX_LANDLOCK] = enter_landlock();
	if (!sandbox->in_force[SANDBOX_CAPABILITIES])
		return error_set(err, EPERM, "cannot give up capabilities");
	return 0;
}
