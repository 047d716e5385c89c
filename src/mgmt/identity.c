#include "mgmt/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_BIT (1u << CAP_KILL)

/* Of all capabilities those, none to be passed on; -errno. */
static int set_capabilities(uint32_t permitted, uint32_t effective)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.permitted = permitted, .effective = effective}};

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static int change(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
	int r = prctl(PR_SET_KEEPCAPS, 1) || setgroups(count, groups) || setresgid(gid, gid, gid) ||
				setresuid(uid, uid, uid)
			? -errno
			: 0;

	if (!r)
		r = set_capabilities(KILL_BIT, 0);
	if (!r && prctl(PR_SET_KEEPCAPS, 0))
		r = -errno;
	return r;
}

int identity_become(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count,
		    struct error *err)
{
	int r;

	if (uid == 0 || (geteuid() == uid && getuid() == uid))
		return geteuid() == uid ? 0
					: error_set(err, EPERM,
						    "only root can start a VM of root's; run it as "
						    "root, or change its owner");
	r = change(uid, gid, groups, group_count);
	if (r == -EPERM)
		return error_set(err, EPERM,
				 "only root can start a VM of another user (uid %u); start it as "
				 "that user",
				 (unsigned int)uid);
	return r ? error_host(err, -r, "cannot become its owner, uid %u", (unsigned int)uid) : 0;
}

int identity_kill(pid_t pid)
{
	bool raised;
	int r;

	if (!kill(pid, SIGKILL))
		return 0;
	if (errno != EPERM)
		return -errno;
	raised = !set_capabilities(KILL_BIT, KILL_BIT);
	r = kill(pid, SIGKILL) ? -errno : 0;
	if (raised)
		set_capabilities(KILL_BIT, 0);
	return r;
}
