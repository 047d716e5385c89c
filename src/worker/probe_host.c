#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/uring.h"
#include "worker/probe.h"

/* What the host's kernel has besides KVM. */

static void check_uring(int kvm_fd, struct probe_finding *finding)
{
	struct uring *ring;
	int r = uring_new(8, 1, &ring);

	if (!r) {
		r = uring_enable(ring);
		uring_free(ring);
	}
	if (r)
		probe_say(finding, PROBE_FAILED, "no restricted ring: %s", strerror(-r));
	else
		probe_say(finding, PROBE_OK, "a restricted ring works");
}

static void check_seccomp(int kvm_fd, struct probe_finding *finding)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	bool there = !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);

	probe_say(finding, there ? PROBE_OK : PROBE_FAILED,
		  there ? "filters can kill a process" : "no filter that kills a process");
}

/* In a child, since the calls cannot be undone. */
static void check_namespaces(int kvm_fd, struct probe_finding *finding)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	pid_t pid = fork();
	int status = 1;

	if (pid == 0)
		_exit(unshare(flags) && unshare(flags | CLONE_NEWUSER));
	if (pid > 0)
		waitpid(pid, &status, 0);
	probe_say(finding, status == 0 ? PROBE_OK : PROBE_FAILED,
		  status == 0 ? "a worker gets its own" : "not permitted to this user");
}

static void check_landlock(int kvm_fd, struct probe_finding *finding)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version > 0)
		probe_say(finding, PROBE_OK, "ABI version %ld", version);
	else
		probe_say(finding, PROBE_FAILED, "not in this kernel, or switched off");
}

static void check_cgroup(int kvm_fd, struct probe_finding *finding)
{
	struct statfs status;
	bool unified = !statfs("/sys/fs/cgroup", &status) && status.f_type == CGROUP2_SUPER_MAGIC;

	probe_say(finding, unified ? PROBE_OK : PROBE_FAILED,
		  unified ? "mounted at /sys/fs/cgroup" : "not the only hierarchy");
}

static void check_nested(int kvm_fd, struct probe_finding *finding)
{
	static const char *const modules[] = {"kvm_intel", "kvm_amd"};

	for (size_t i = 0; i < ARRAY_LENGTH(modules); i++) {
		char path[64];
		char value = 'N';
		int fd;

		snprintf(path, sizeof(path), "/sys/module/%s/parameters/nested", modules[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, &value, 1) != 1)
			value = 'N';
		close(fd);
		probe_say(finding, value == 'Y' || value == '1' ? PROBE_OK : PROBE_FAILED,
			  "%s has it %s", modules[i], value == 'Y' || value == '1' ? "on" : "off");
		return;
	}
	probe_say(finding, PROBE_NOT_HERE, "neither kvm_intel nor kvm_amd is loaded");
}

const struct probe_check probe_host_checks[] = {
	{"uring", "asynchronous I/O rings", PROBE_FOR_DISKS,
	 "use Linux 5.10 or newer, and let its sysctl allow I/O rings to all users", check_uring},
	{"seccomp", "system call filters", PROBE_FOR_PAYLOADS,
	 "use a kernel with CONFIG_SECCOMP_FILTER", check_seccomp},
	{"namespaces", "namespaces for workers", PROBE_OPTIONAL,
	 "for one more layer around workers, let users make user namespaces", check_namespaces},
	{"landlock", "Landlock for workers", PROBE_OPTIONAL,
	 "for one more layer around workers, boot with lsm=landlock,...", check_landlock},
	{"cgroup2", "cgroup v2", PROBE_OPTIONAL, "", check_cgroup},
	{"nested", "nested virtualization", PROBE_OPTIONAL, "", check_nested},
	{NULL, NULL, PROBE_OPTIONAL, NULL, NULL},
};
