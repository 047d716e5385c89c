#include "worker/sandbox_user.h"

#include <grp.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

static bool get_capabilities(struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return !syscall(SYS_capget, &header, have);
}

/* Those that are permitted, in effect again. */
static bool restore_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];

	if (!get_capabilities(have))
		return false;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		have[i].effective = have[i].permitted;
	return !syscall(SYS_capset, &header, have);
}

bool sandbox_may_make_namespaces(void)
{
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3];

	return get_capabilities(have) &&
	       have[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

/* In our own PID namespace we are process 1, as is every other worker in its own. */
static uid_t own_uid(void)
{
	char text[16];
	ssize_t length = readlink("/proc/self", text, sizeof(text) - 1);

	if (length <= 0)
		return NOBODY;
	text[length] = '\0';
	return SANDBOX_UID_FIRST + (uid_t)strtoul(text, NULL, 10);
}

bool sandbox_become_user(uid_t uid)
{
	if (geteuid() != 0)
		return false;
	if (!uid)
		uid = own_uid();
	return !setgroups(0, NULL) && !setresgid(uid, uid, uid) && !prctl(PR_SET_KEEPCAPS, 1) &&
	       !setresuid(uid, uid, uid) && restore_capabilities();
}

bool sandbox_become_nobody(void)
{
	return !setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
	       !setresuid(NOBODY, NOBODY, NOBODY);
}
