#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker/sandbox_filter.h"

/*
 * Writes the worker's system call filters as C arrays, at build time: the worker then needs no
 * libseccomp and no time to compile them.  One list a class of thread; what is not listed kills the
 * process.  See worker/sandbox.h for when each is installed.
 */

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* What every thread does: memory (never executable), locks, time, eventfds, its own end. */
static const int common_calls[] = {
	__NR_read,
	__NR_write,
	__NR_writev,
	__NR_close,
	__NR_futex,
	__NR_munmap,
	__NR_mremap,
	__NR_madvise,
	__NR_brk,
	__NR_rt_sigreturn,
	__NR_rt_sigprocmask,
	__NR_rt_sigaction,
	__NR_sigaltstack,
	__NR_exit,
	__NR_exit_group,
	__NR_clock_gettime,
	__NR_clock_nanosleep,
	__NR_nanosleep,
	__NR_gettimeofday,
	__NR_restart_syscall,
	__NR_gettid,
	__NR_getpid,
	__NR_sched_yield,
	__NR_getrandom,
	__NR_rseq,
	__NR_set_robust_list,
};

/* The I/O threads' rings, which are restricted in their turn (base/uring.h). */
static const int ring_calls[] = {__NR_io_uring_enter, __NR_io_uring_register};

/* And how long a NIC's peer may take, or what is over its limit has to wait. */
static const int io_calls[] = {__NR_timerfd_create, __NR_timerfd_settime};

/* All the offloads that a tap knows (TUN_F_CSUM to TUN_F_USO6). */
#define TAP_OFFLOADS 0x7ful

/* The main loop: its descriptors, the control socket, files it holds, guest RAM given back. */
static const int main_calls[] = {
	__NR_epoll_create1, __NR_epoll_ctl,	 __NR_epoll_wait,      __NR_epoll_pwait,
	__NR_eventfd2,	    __NR_timerfd_create, __NR_timerfd_settime, __NR_timerfd_gettime,
	__NR_poll,	    __NR_ppoll,		 __NR_sendmsg,	       __NR_recvmsg,
	__NR_pread64,	    __NR_preadv,	 __NR_readv,	       __NR_lseek,
	__NR_fstat,	    __NR_fallocate,	 __NR_shutdown,	       __NR_pwrite64,
	__NR_fdatasync,	    __NR_ftruncate,
};

/* What a VP's exits cause: a SINT's interrupt made, a synthetic timer set. */
static const int vp_calls[] = {__NR_eventfd2, __NR_timerfd_settime};

/* What a VP does to KVM, and what its guest's MSRs and hypercalls change in the wiring. */
static const unsigned long vp_requests[] = {
	KVM_RUN,       KVM_GET_REGS,	    KVM_SET_REGS,    KVM_GET_SREGS,    KVM_SET_SREGS,
	KVM_GET_MSRS,  KVM_SET_MSRS,	    KVM_GET_FPU,     KVM_SET_FPU,      KVM_NMI,
	KVM_IOEVENTFD, KVM_IRQFD,	    KVM_GET_TSC_KHZ, KVM_GET_MP_STATE, KVM_SET_GSI_ROUTING,
	KVM_GET_LAPIC, KVM_GET_VCPU_EVENTS,
};

static const unsigned long io_requests[] = {KVM_IOEVENTFD, KVM_IRQFD, KVM_SET_GSI_ROUTING};

/* And in a Generation 1 VM: its chips hold interrupts, and its host bridge replaces memory. */
static const unsigned long vp_generation1_requests[] = {KVM_IRQ_LINE, KVM_SET_USER_MEMORY_REGION};
static const unsigned long io_generation1_requests[] = {KVM_IRQ_LINE};

/* Besides those: reset, save, restore and the end of a partition. */
static const unsigned long main_requests[] = {
	KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR,
	KVM_SET_LAPIC,	     KVM_SET_VCPU_EVENTS,
	KVM_SET_MP_STATE,    KVM_GET_XSAVE,
	KVM_GET_XSAVE2,	     KVM_SET_XSAVE,
	KVM_GET_XCRS,	     KVM_SET_XCRS,
	KVM_GET_DEBUGREGS,   KVM_SET_DEBUGREGS,
	KVM_GET_CLOCK,	     KVM_SET_CLOCK,
	KVM_GET_IRQCHIP,     KVM_SET_IRQCHIP,
	KVM_CHECK_EXTENSION, KVM_GET_MSR_INDEX_LIST,
	KVM_GET_PIT2,	     KVM_SET_PIT2,
	KVM_IRQ_LINE,	     KVM_SET_USER_MEMORY_REGION,
};

/* What a disk that is attached later is asked. */
static const unsigned long disk_requests[] = {BLKGETSIZE64, BLKSSZGET, BLKPBSZGET};

/* AddressSanitizer's threads and reports: used in builds with it alone. */
static const int sanitizer_calls[] = {
	__NR_openat,
	__NR_readlink,
	__NR_prlimit64,
	__NR_sched_getaffinity,
	__NR_newfstatat,
	__NR_getrlimit,
	__NR_get_robust_list,
	__NR_getppid,
	__NR_getcwd,
	__NR_access,
	__NR_stat,
	__NR_lstat,
};

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "filter_gen: %s: %s\n", what, strerror(-result));
	exit(1);
}

static void allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0), "rule");
}

static void allow_requests(scmp_filter_ctx filter, const unsigned long *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, __NR_ioctl, 1,
				       SCMP_A1(SCMP_CMP_EQ, requests[i])),
		      "request");
}

/* A call whose argument number index must have value in the bits of mask. */
static void allow_if(scmp_filter_ctx filter, int call, unsigned int index, unsigned long mask,
		     unsigned long value)
{
	struct scmp_arg_cmp condition = {
		.arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};

	check(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition), "condition");
}

/* What a guest's wish for offloads changes at its tap. */
static void allow_tap_offloads(scmp_filter_ctx filter)
{
	check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, __NR_ioctl, 2,
			       SCMP_A1(SCMP_CMP_EQ, TUNSETOFFLOAD),
			       SCMP_A2(SCMP_CMP_MASKED_EQ, ~TAP_OFFLOADS, 0)),
	      "tap offloads");
}

/* Whether a descriptor blocks, and what else open(2) set of it. */
static void allow_status_flags(scmp_filter_ctx filter)
{
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_GETFL);
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_SETFL);
}

/* fstat(2) as newer C libraries spell it; what sanitizers call has all of that call. */
static void allow_newer_fstat(scmp_filter_ctx filter)
{
	if (!SANDBOX_SANITIZED)
		allow_if(filter, __NR_newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH);
}

static scmp_filter_ctx new_filter(void)
{
	scmp_filter_ctx filter;

	seccomp_api_set(3); /* KILL_PROCESS, whatever the building machine's kernel has */
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		check(-ENOMEM, "filter");
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	allow(filter, common_calls, LENGTH(common_calls));
	allow_if(filter, __NR_mmap, 2, PROT_EXEC, 0);
	allow_if(filter, __NR_mprotect, 2, PROT_EXEC, 0);
	allow_if(filter, __NR_prctl, 0, ~0ul, PR_SET_NAME);
	/* Signals to ourselves only; the real process id is put in when it is known. */
	allow_if(filter, __NR_tgkill, 0, ~0ul, SANDBOX_FILTER_PID);
	if (SANDBOX_SANITIZED)
		allow(filter, sanitizer_calls, LENGTH(sanitizer_calls));
	return filter;
}

static void allow_main(scmp_filter_ctx filter)
{
	allow(filter, main_calls, LENGTH(main_calls));
	allow_requests(filter, vp_requests, LENGTH(vp_requests));
	allow_requests(filter, main_requests, LENGTH(main_requests));
	allow_requests(filter, disk_requests, LENGTH(disk_requests));
	allow_if(filter, __NR_statx, 2, AT_EMPTY_PATH, AT_EMPTY_PATH);
	allow_tap_offloads(filter);
	allow_status_flags(filter);
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_DUPFD_CLOEXEC);
	allow_newer_fstat(filter);
}

/* Every thread's: the union, with the start of threads and the filters that narrow it. */
static scmp_filter_ctx process_filter(void)
{
	scmp_filter_ctx filter = new_filter();

	allow_main(filter);
	allow(filter, ring_calls, LENGTH(ring_calls));
	allow_if(filter, __NR_clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM);
	/* Its flags are out of a filter's sight; the C library then takes clone. */
	check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), __NR_clone3, 0), "clone3");
	check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, __NR_seccomp, 0), "seccomp");
	return filter;
}

static scmp_filter_ctx main_filter(void)
{
	scmp_filter_ctx filter = new_filter();

	allow_main(filter);
	return filter;
}

static scmp_filter_ctx vp_filter(void)
{
	scmp_filter_ctx filter = new_filter();

	allow(filter, vp_calls, LENGTH(vp_calls));
	allow_requests(filter, vp_requests, LENGTH(vp_requests));
	return filter;
}

static scmp_filter_ctx io_filter(void)
{
	scmp_filter_ctx filter = new_filter();

	allow(filter, ring_calls, LENGTH(ring_calls));
	allow(filter, io_calls, LENGTH(io_calls));
	allow_requests(filter, io_requests, LENGTH(io_requests));
	allow_tap_offloads(filter);
	allow_status_flags(filter);
	return filter;
}

static scmp_filter_ctx vp_generation1_filter(void)
{
	scmp_filter_ctx filter = vp_filter();

	allow_requests(filter, vp_generation1_requests, LENGTH(vp_generation1_requests));
	return filter;
}

static scmp_filter_ctx io_generation1_filter(void)
{
	scmp_filter_ctx filter = io_filter();

	allow_requests(filter, io_generation1_requests, LENGTH(io_generation1_requests));
	return filter;
}

/* bulkhead-disk: files that it was given, and its control socket. */
static scmp_filter_ctx disk_filter(void)
{
	static const int calls[] = {
		__NR_pread64,	__NR_pwrite64, __NR_fdatasync, __NR_fallocate,
		__NR_ftruncate, __NR_fstat,    __NR_lseek,     __NR_sendmsg,
		__NR_recvmsg,	__NR_poll,     __NR_ppoll,     __NR_shutdown,
	};
	scmp_filter_ctx filter = new_filter();

	allow(filter, calls, LENGTH(calls));
	allow_requests(filter, disk_requests, LENGTH(disk_requests));
	allow_status_flags(filter);
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_DUPFD_CLOEXEC);
	allow_newer_fstat(filter);
	return filter;
}

/* bulkhead-trace: reads one descriptor and writes to two. */
static scmp_filter_ctx reader_filter(void)
{
	static const int calls[] = {__NR_fstat};
	scmp_filter_ctx filter = new_filter();

	allow(filter, calls, LENGTH(calls));
	allow_newer_fstat(filter);
	return filter;
}

/* bulkhead-vnc: clients that it accepts, and the file in memory that libvncserver has for their
 * sockets. */
static scmp_filter_ctx vnc_filter(void)
{
	static const int calls[] = {
		__NR_accept4,	 __NR_select,	   __NR_pselect6, __NR_sendmsg,	 __NR_recvmsg,
		__NR_sendto,	 __NR_recvfrom,	   __NR_shutdown, __NR_pipe,	 __NR_pipe2,
		__NR_uname,	 __NR_getpeername, __NR_poll,	  __NR_ppoll,	 __NR_socketpair,
		__NR_ftruncate,	 __NR_lseek,	   __NR_pread64,  __NR_pwrite64, __NR_dup3,
		__NR_getsockopt,
	};
	static const int limits[] = {__NR_prlimit64, __NR_getrlimit}; /* of descriptors */
	scmp_filter_ctx filter = new_filter();

	allow(filter, calls, LENGTH(calls));
	if (!SANDBOX_SANITIZED) /* whose own calls have them */
		allow(filter, limits, LENGTH(limits));
	allow_if(filter, __NR_setsockopt, 1, ~0ul, IPPROTO_TCP);
	allow_status_flags(filter);
	return filter;
}

/* bulkhead-nbd: its sockets, and the memory that it shares with the worker. */
static scmp_filter_ctx nbd_filter(void)
{
	static const int calls[] = {
		__NR_poll,     __NR_ppoll,    __NR_sendmsg, __NR_sendto,     __NR_recvmsg,
		__NR_recvfrom, __NR_shutdown, __NR_fstat,   __NR_getsockopt,
	};
	scmp_filter_ctx filter = new_filter();

	allow(filter, calls, LENGTH(calls));
	allow_status_flags(filter);
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_GETFD);
	allow_if(filter, __NR_fcntl, 1, ~0ul, F_SETFD);
	allow_newer_fstat(filter);
	return filter;
}

static void print_filter(const char *name, scmp_filter_ctx filter)
{
	struct sock_filter instruction;
	FILE *file = tmpfile();

	check(file ? seccomp_export_bpf(filter, fileno(file)) : -errno, "export");
	rewind(file);
	printf("\nstatic const struct sock_filter sandbox_filter_%s[] = {\n", name);
	while (fread(&instruction, sizeof(instruction), 1, file) == 1)
		printf("\t{0x%02x, %u, %u, 0x%08x},\n", instruction.code, instruction.jt,
		       instruction.jf, instruction.k);
	printf("};\n");
	fclose(file);
	seccomp_release(filter);
}

int main(void)
{
	printf("#pragma once\n\n#include <linux/filter.h>\n");
	print_filter("process", process_filter());
	print_filter("main", main_filter());
	print_filter("disk", disk_filter());
	print_filter("vnc", vnc_filter());
	print_filter("nbd", nbd_filter());
	print_filter("reader", reader_filter());
	print_filter("vp", vp_filter());
	print_filter("io", io_filter());
	print_filter("vp_generation1", vp_generation1_filter());
	print_filter("io_generation1", io_generation1_filter());
	return 0;
}
