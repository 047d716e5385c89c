#include "worker/sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "worker/sandbox_filter.h"
#include "worker/sandbox_filters.h"

/* Puts our process id where the filter has its stand-in. */
static void place_pid(struct sock_filter *filter, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (filter[i].code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    filter[i].k == SANDBOX_FILTER_PID)
			filter[i].k = (uint32_t)getpid();
	}
}

static int install(const struct sock_filter *filter, size_t count, unsigned int flags)
{
	CLEANUP_FREE struct sock_filter *copy = malloc(count * sizeof(*copy));
	struct sock_fprog program = {.len = (unsigned short)count, .filter = copy};
	long r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, filter, count * sizeof(*copy));
	place_pid(copy, count);
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r > 0) /* the id of a thread that cannot be filtered along */
		return -ESRCH;
	return r < 0 ? -errno : 0;
}

int sandbox_enter(struct sandbox *sandbox, struct error *err)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;

	if (!r)
		r = install(sandbox_filter_process, ARRAY_LENGTH(sandbox_filter_process),
			    SECCOMP_FILTER_FLAG_TSYNC);
	if (r)
		return error_set(err, -r,
				 "cannot filter system calls (%s); the kernel needs "
				 "CONFIG_SECCOMP_FILTER",
				 strerror(-r));
	sandbox->in_force[SANDBOX_SECCOMP] = true;
	sandbox->in_force[SANDBOX_SANITIZERS] = SANDBOX_SANITIZED;
	return 0;
}

int sandbox_seal(struct sandbox *sandbox, struct error *err)
{
	int r = install(sandbox_filter_main, ARRAY_LENGTH(sandbox_filter_main), 0);

	return r ? error_host(err, -r, "cannot seal the sandbox") : 0;
}

int sandbox_enter_disk(struct error *err)
{
	int r = install(sandbox_filter_disk, ARRAY_LENGTH(sandbox_filter_disk), 0);

	return r ? error_host(err, -r, "cannot filter system calls") : 0;
}

int sandbox_enter_reader(struct error *err)
{
	int r = install(sandbox_filter_reader, ARRAY_LENGTH(sandbox_filter_reader), 0);

	return r ? error_host(err, -r, "cannot filter system calls") : 0;
}

int sandbox_enter_vnc(struct error *err)
{
	int r = install(sandbox_filter_vnc, ARRAY_LENGTH(sandbox_filter_vnc), 0);

	return r ? error_host(err, -r, "cannot filter system calls") : 0;
}

int sandbox_enter_nbd(struct error *err)
{
	int r = install(sandbox_filter_nbd, ARRAY_LENGTH(sandbox_filter_nbd), 0);

	return r ? error_host(err, -r, "cannot filter system calls") : 0;
}

int sandbox_enter_vp(void *context)
{
	return install(sandbox_filter_vp, ARRAY_LENGTH(sandbox_filter_vp), 0);
}

int sandbox_enter_io(void *context)
{
	return install(sandbox_filter_io, ARRAY_LENGTH(sandbox_filter_io), 0);
}

int sandbox_enter_vp_generation1(void *context)
{
	return install(sandbox_filter_vp_generation1, ARRAY_LENGTH(sandbox_filter_vp_generation1),
		       0);
}

int sandbox_enter_io_generation1(void *context)
{
	return install(sandbox_filter_io_generation1, ARRAY_LENGTH(sandbox_filter_io_generation1),
		       0);
}

void sandbox_inspect(const struct sandbox *sandbox, struct state_writer *writer)
{
	static const char *const names[SANDBOX_MEASURES] = {
		[SANDBOX_USER] = "user",
		[SANDBOX_CAPABILITIES] = "capabilities",
		[SANDBOX_USERS] = "user-namespace",
		[SANDBOX_PIDS] = "pid-namespace",
		[SANDBOX_NAMESPACES] = "namespaces",
		[SANDBOX_ROOT] = "root",
		[SANDBOX_LANDLOCK] = "landlock",
		[SANDBOX_SECCOMP] = "seccomp",
		[SANDBOX_SANITIZERS] = "sanitizer-holes",
	};

	state_begin(writer, "sandbox", 1);
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		state_put_string(writer, names[i], sandbox->in_force[i] ? "yes" : "no");
	state_end(writer);
}
