/*
 * The least a program can do to run a payload under KVM: RAM, one VP, the payload copied to
 * where its multiboot header wants it, and two ports. It is the reference for start-up times,
 * and runs the payloads that need no Hyper-V interface. With --echo it also answers the ping
 * payload's doorbells: an ioeventfd, a thread, an irqfd, and nothing else.
 *
 * It asks of KVM what Bulkhead asks for the same machine, request by request and in the same order
 * (compare with `strace -f -e ioctl`), for that part is KVM's time; all around it is bare: one
 * process, one thread, no sandbox, no configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_SIZE	       (128UL << 20)
#define MULTIBOOT_SEARCH       8192
#define MULTIBOOT_MAGIC	       0x1badb002
#define MULTIBOOT_BOOTED       0x2badb002
#define MULTIBOOT_ADDRESSES    0x10000
#define INFO_ADDR	       0x9000
#define COM1		       0x3f8
#define COM1_LSR	       (COM1 + 5)
#define DEBUG_EXIT	       0xf4
#define COMMAND_LINE_ADDR      0x9100
#define MULTIBOOT_COMMAND_LINE 4
#define CPUID_ENTRIES	       256
#define MSRS_MAX	       1024
#define MSR_TSC		       0x10
#define HV_MSR_FIRST	       0x40000000
#define HV_MSRS		       0x200
#define TSS_BASE	       0xfffbd000
#define ECHO_PORT	       0x510
#define ECHO_VECTOR	       0x62
#define ECHO_GSI	       24

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct echo {
	int doorbell, interrupt;
};

struct cpuid_table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
};

struct machine {
	int kvm, vm, vcpu;
	int tsc_khz;
	struct echo echo;
	uint8_t *ram;
	struct kvm_run *run;
};

static int fail(const char *what)
{
	fprintf(stderr, "bare_kvm: %s: %s\n", what, strerror(errno));
	return 1;
}

static const struct mb_header *find_header(const uint8_t *file, size_t size)
{
	size_t end = size < MULTIBOOT_SEARCH ? size : MULTIBOOT_SEARCH;

	for (size_t at = 0; at + sizeof(struct mb_header) <= end; at += 4) {
		const struct mb_header *h = (const void *)(file + at);

		if (h->magic == MULTIBOOT_MAGIC && h->flags & MULTIBOOT_ADDRESSES &&
		    h->magic + h->flags + h->checksum == 0)
			return h;
	}
	return NULL;
}

/* Returns the entry address, or 0 if the file is no payload. */
static uint32_t load_payload(struct machine *m, const char *path)
{
	const struct mb_header *h;
	struct stat st;
	uint8_t *file;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t from, len;

	if (fd < 0 || fstat(fd, &st))
		return 0;
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return 0;
	h = find_header(file, (size_t)st.st_size);
	if (!h) {
		errno = ENOEXEC;
		return 0;
	}
	from = (size_t)((const uint8_t *)h - file) - (h->header_addr - h->load_addr);
	len = h->load_end_addr - h->load_addr;
	if (from + len > (size_t)st.st_size || h->bss_end_addr > RAM_SIZE) {
		errno = ENOEXEC;
		return 0;
	}
	memcpy(m->ram + h->load_addr, file + from, len);
	return h->entry_addr;
}

static int ask_capabilities(struct machine *m)
{
	static const int capabilities[] = {
		KVM_CAP_IRQCHIP,
		KVM_CAP_IRQ_ROUTING,
		KVM_CAP_IRQFD,
		KVM_CAP_IOEVENTFD,
		KVM_CAP_USER_MEMORY,
		KVM_CAP_IMMEDIATE_EXIT,
		KVM_CAP_X86_USER_SPACE_MSR,
		KVM_CAP_X86_MSR_FILTER,
		KVM_CAP_EXT_CPUID,
		KVM_CAP_XSAVE2,
		KVM_CAP_MAX_VCPUS,
		KVM_CAP_IRQ_ROUTING,
		KVM_CAP_SYNC_REGS,
		KVM_CAP_XCRS,
		KVM_CAP_VCPU_EVENTS,
		KVM_CAP_MP_STATE,
		KVM_CAP_DEBUGREGS,
		KVM_CAP_TSC_DEADLINE_TIMER,
	};

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		if (ioctl(m->vm, KVM_CHECK_EXTENSION, capabilities[i]) < 0)
			return fail("KVM_CHECK_EXTENSION");
	}
	return 0;
}

/* The kernel may not know what it could do for Hyper-V. */
static void ask_hyperv(struct machine *m)
{
	struct cpuid_table table = {.head.nent = CPUID_ENTRIES};

	ioctl(m->kvm, KVM_GET_SUPPORTED_HV_CPUID, &table);
}

static int filter_msrs(struct machine *m)
{
	const struct kvm_enable_cap exits = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			 KVM_MSR_EXIT_REASON_FILTER},
	};
	uint8_t allowed[HV_MSRS / 8] = {0};
	const struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = {{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			    .base = HV_MSR_FIRST,
			    .nmsrs = HV_MSRS,
			    .bitmap = allowed}},
	};

	return ioctl(m->vm, KVM_ENABLE_CAP, &exits) ||
	       ioctl(m->vm, KVM_X86_SET_MSR_FILTER, &filter);
}

static int set_memory(struct machine *m)
{
	struct kvm_userspace_memory_region region = {.memory_size = RAM_SIZE};

	m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->ram == MAP_FAILED)
		return fail("guest RAM");
	region.userspace_addr = (uint64_t)m->ram;
	return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int create_vm(struct machine *m)
{
	uint64_t identity = TSS_BASE - 4096;
	int run_size;

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0 || ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return fail("/dev/kvm");
	run_size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return fail("KVM_CREATE_VM");
	if (ask_capabilities(m))
		return 1;
	ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(m->vm, KVM_SET_TSS_ADDR, TSS_BASE);
	ask_hyperv(m);
	/* In the order that keeps KVM's waits for its readers short, as Bulkhead has it. */
	if (filter_msrs(m) || set_memory(m) || ioctl(m->vm, KVM_CREATE_IRQCHIP, 0))
		return fail("the machine");
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0 || run_size < 0)
		return fail("KVM_CREATE_VCPU");
	m->run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	return m->run == MAP_FAILED ? fail("the VP's run page") : 0;
}

static int set_cpuid(struct machine *m)
{
	struct cpuid_table table = {.head.nent = CPUID_ENTRIES};

	if (ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, &table))
		return fail("CPUID");
	m->tsc_khz = ioctl(m->vcpu, KVM_GET_TSC_KHZ, 0);
	ask_hyperv(m);
	return ioctl(m->vcpu, KVM_SET_CPUID2, &table) ? fail("CPUID") : 0;
}

static int take_msrs(struct machine *m)
{
	struct {
		struct kvm_msr_list head;
		uint32_t indices[MSRS_MAX];
	} list = {.head.nmsrs = 0};
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[MSRS_MAX];
	} msrs = {.head.nmsrs = 0};

	ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, &list); /* how many */
	if (list.head.nmsrs > MSRS_MAX || ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, &list))
		return -1;
	for (uint32_t i = 0; i < list.head.nmsrs; i++) {
		if (list.indices[i] - HV_MSR_FIRST >= HV_MSRS)
			msrs.entries[msrs.head.nmsrs++].index = list.indices[i];
	}
	return ioctl(m->vcpu, KVM_GET_MSRS, &msrs) < 0 ? -1 : 0;
}

static int take_vcpu(struct machine *m)
{
	union {
		struct kvm_sregs sregs;
		struct kvm_regs regs;
		struct kvm_xcrs xcrs;
		struct kvm_xsave xsave;
		struct kvm_lapic_state lapic;
		struct kvm_debugregs debug;
		struct kvm_mp_state mp_state;
		struct kvm_vcpu_events events;
	} part;
	static const unsigned long requests[] = {
		KVM_GET_SREGS, KVM_GET_REGS,	  KVM_GET_XCRS,	    KVM_GET_XSAVE,
		KVM_GET_LAPIC, KVM_GET_DEBUGREGS, KVM_GET_MP_STATE, KVM_GET_VCPU_EVENTS,
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (ioctl(m->vcpu, requests[i], &part))
			return -1;
	}
	return 0;
}

/* The PICs masked, as firmware leaves them. */
static int keep_chips(struct machine *m)
{
	struct kvm_irqchip chips[KVM_NR_IRQCHIPS] = {0};

	for (uint32_t i = 0; i < KVM_NR_IRQCHIPS; i++) {
		chips[i].chip_id = i;
		if (ioctl(m->vm, KVM_GET_IRQCHIP, &chips[i]))
			return -1;
	}
	chips[KVM_IRQCHIP_PIC_MASTER].chip.pic.imr = chips[KVM_IRQCHIP_PIC_SLAVE].chip.pic.imr =
		0xff;
	for (uint32_t i = 0; i < KVM_NR_IRQCHIPS; i++) {
		if (ioctl(m->vm, KVM_SET_IRQCHIP, &chips[i]))
			return -1;
	}
	return 0;
}

/* What a reset goes back to: Bulkhead takes it before the first run. */
static int keep_state(struct machine *m)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} tsc = {.head.nmsrs = 1, .entry.index = MSR_TSC};

	if (keep_chips(m))
		return fail("interrupt controllers");
	if (ioctl(m->vcpu, KVM_SET_MSRS, &tsc) != 1 || take_vcpu(m) || take_msrs(m))
		return fail("the VP's state");
	return 0;
}

/* COM1's interrupt and the event device's, from eventfds. */
static int connect_lines(struct machine *m)
{
	static const uint32_t lines[] = {4, 9};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct kvm_irqfd line = {.fd = (uint32_t)eventfd(0, EFD_CLOEXEC), .gsi = lines[i]};

		if (ioctl(m->vm, KVM_IRQFD, &line))
			return fail("KVM_IRQFD");
	}
	return 0;
}

static int set_registers(struct machine *m, uint32_t entry)
{
	struct kvm_segment code = {.limit = 0xffffffff,
				   .selector = 8,
				   .type = 11,
				   .present = 1,
				   .db = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_segment data = code;
	struct kvm_regs regs = {
		.rip = entry, .rflags = 2, .rax = MULTIBOOT_BOOTED, .rbx = INFO_ADDR};
	struct kvm_sregs sregs;

	data.selector = 16;
	data.type = 3;
	if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs))
		return fail("KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.cr0 = 1;
	if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs) || ioctl(m->vcpu, KVM_SET_REGS, &regs))
		return fail("registers");
	return 0;
}

/* Serve ports until the payload leaves; returns its exit code. */
static int run(struct machine *m)
{
	struct kvm_run *r = m->run;

	for (;;) {
		uint8_t *data;

		if (ioctl(m->vcpu, KVM_RUN, 0))
			return fail("KVM_RUN");
		if (r->exit_reason == KVM_EXIT_MMIO)
			continue;
		if (r->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "bare_kvm: exit reason %u\n", r->exit_reason);
			return 1;
		}
		data = (uint8_t *)r + r->io.data_offset;
		if (r->io.direction == KVM_EXIT_IO_IN)
			memset(data, r->io.port == COM1_LSR ? 0x60 : 0xff, r->io.size);
		else if (r->io.port == DEBUG_EXIT)
			return *data;
		else if (r->io.port == COM1 && write(STDOUT_FILENO, data, 1) != 1)
			return fail("standard output");
	}
}

static void *echo_thread(void *arg)
{
	const struct echo *e = arg;
	uint64_t count, one = 1;

	while (read(e->doorbell, &count, sizeof(count)) == sizeof(count))
		if (write(e->interrupt, &one, sizeof(one)) != sizeof(one))
			break;
	return NULL;
}

static int route_msi(int vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routes = {
		.head.nr = 1,
		.entry = {.gsi = ECHO_GSI,
			  .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = {.address_lo = 0xfee00000, .data = ECHO_VECTOR}},
	};

	return ioctl(vm, KVM_SET_GSI_ROUTING, &routes);
}

static int start_echo(struct machine *m)
{
	struct kvm_ioeventfd doorbell = {.addr = ECHO_PORT,
					 .len = 4,
					 .datamatch = 1,
					 .flags = KVM_IOEVENTFD_FLAG_PIO |
						  KVM_IOEVENTFD_FLAG_DATAMATCH};
	struct kvm_irqfd interrupt = {.gsi = ECHO_GSI};
	pthread_t thread;

	m->echo.doorbell = eventfd(0, EFD_CLOEXEC);
	m->echo.interrupt = eventfd(0, EFD_CLOEXEC);
	doorbell.fd = m->echo.doorbell;
	interrupt.fd = (uint32_t)m->echo.interrupt;
	if (route_msi(m->vm) || ioctl(m->vm, KVM_IOEVENTFD, &doorbell) ||
	    ioctl(m->vm, KVM_IRQFD, &interrupt))
		return fail("the echo's eventfds");
	errno = pthread_create(&thread, NULL, echo_thread, &m->echo);
	return errno ? fail("the echo's thread") : 0;
}

static void write_boot_info(struct machine *m, const char *mode)
{
	uint32_t info[5] = {MULTIBOOT_COMMAND_LINE, 0, 0, 0, COMMAND_LINE_ADDR};
	uint64_t khz = (uint64_t)m->tsc_khz;

	memcpy(m->ram + INFO_ADDR, info, sizeof(info));
	sprintf((char *)m->ram + COMMAND_LINE_ADDR, "%s tsc-hz=%lu", mode, khz * 1000);
}

int main(int argc, char **argv)
{
	bool echo = argc == 3 && !strcmp(argv[1], "--echo");
	struct machine m = {0};
	uint32_t entry;

	if (argc != 2 + echo) {
		fprintf(stderr, "usage: %s [--echo] PAYLOAD\n", argv[0]);
		return 2;
	}
	if (create_vm(&m) || set_cpuid(&m) || keep_state(&m) || connect_lines(&m))
		return 1;
	entry = load_payload(&m, argv[argc - 1]);
	if (!entry)
		return fail(argv[argc - 1]);
	write_boot_info(&m, echo ? "echo" : "bare");
	if (set_registers(&m, entry) || (echo && start_echo(&m)))
		return 1;
	return run(&m);
}
