#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/wire.h"
#include "vmm/gpa.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "worker/probe.h"

/*
 * Each check runs a few instructions (probe_guest.S) in a VM of its own, in a child process that
 * is killed when they do not end.
 */

#define PATIENCE_MS 3000
#define RAM_BYTES   (1u << 20)
#define CPUID_ROOM  256

/* Guest addresses. */
#define PML4	     0x1000
#define PDPT	     0x2000
#define PD_LOW	     0x3000 /* 0 to 1 GiB */
#define PD_HIGH	     0x4000 /* 3 to 4 GiB, where the local APIC is */
#define GDT	     0x5000
#define TSS	     0x5800
#define IDT	     0x6000
#define KERNEL_STACK 0x9000
#define CODE	     0x10000

#define PAGE_USER_TABLE 0x7 /* present, writable, user */
#define PAGE_LARGE	0x80
#define SELECTOR_CODE	0x08
#define SELECTOR_DATA	0x10
#define SELECTOR_TSS	0x30

#define CR0_BITS    0x80000033ull /* PG, NE, ET, MP, PE */
#define CR4_BITS    0x620ull	  /* PAE, OSFXSR, OSXMMEXCPT */
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMAP    (1ull << 21)
#define EFER_BITS   0x501ull /* LMA, LME, SCE */
#define PORT_RESULT 0x10
#define PORT_VECTOR 0x11
#define PORT_READY  0x12
#define MSR_ANSWER  0x5a
#define IRQ_VECTOR  0x40
#define IRQ_GSI	    24
#define DOORBELL    0x1234
#define INT_VECTOR  0x80
#define MSI_LOW	    0xfee00000u

extern const uint8_t probe_guest_start[], probe_guest_end[], probe_guest_vectors[];
extern const uint8_t probe_guest_plain[], probe_guest_int3[], probe_guest_fwait[];
extern const uint8_t probe_guest_popcnt[], probe_guest_cmpxchg16b[], probe_guest_sse[];
extern const uint8_t probe_guest_xsave[], probe_guest_smap[], probe_guest_msr[];
extern const uint8_t probe_guest_doorbell[], probe_guest_interrupt[];
extern const uint8_t probe_guest_ring3[], probe_guest_syscall[];

/* How a guest's run ended. */
enum outcome_kind {
	OUTCOME_RESULT,
	OUTCOME_VECTOR,
	OUTCOME_EXIT,  /* KVM gave up: value is the exit reason */
	OUTCOME_NO_VM, /* value is an errno */
	OUTCOME_TIMEOUT,
	OUTCOME_ABSENT, /* the processor lacks it */
};

struct outcome {
	uint32_t kind;
	uint32_t value;
};

/* What a check wants, besides its code. */
struct trial {
	const uint8_t *entry;
	uint64_t cr4;  /* bits besides the usual */
	uint32_t leaf; /* CPUID leaf (subleaf 0) that must have bit, in register; 0 for none */
	char reg;
	unsigned int bit;
	struct outcome expected;
};

struct probe_vm {
	struct gpa_space *gpa;
	struct kvm *kvm;
	struct kvm_vcpu *vcpu;
	struct kvm_run *run;
	int doorbell;
	int irq;
};

static void put_u64(struct probe_vm *vm, uint64_t gpa, uint64_t value)
{
	uint8_t bytes[8];

	put_le64(bytes, value);
	gpa_write(vm->gpa, gpa, bytes, sizeof(bytes));
}

static void write_page_tables(struct probe_vm *vm)
{
	put_u64(vm, PML4, PDPT | PAGE_USER_TABLE);
	put_u64(vm, PDPT, PD_LOW | PAGE_USER_TABLE);
	put_u64(vm, PDPT + 3 * 8, PD_HIGH | PAGE_USER_TABLE);
	for (uint64_t i = 0; i < 512; i++) {
		put_u64(vm, PD_LOW + i * 8, i << 21 | PAGE_LARGE | PAGE_USER_TABLE);
		put_u64(vm, PD_HIGH + i * 8,
			((3ull << 30) + (i << 21)) | PAGE_LARGE | PAGE_USER_TABLE);
	}
}

/* Kernel code and data, user data and 64-bit code, and a TSS that has the kernel's stack. */
static void write_segments(struct probe_vm *vm)
{
	put_u64(vm, GDT + SELECTOR_CODE, 0x00af9b000000ffffull);
	put_u64(vm, GDT + SELECTOR_DATA, 0x00cf93000000ffffull);
	put_u64(vm, GDT + 0x20, 0x00cff3000000ffffull);
	put_u64(vm, GDT + 0x28, 0x00affb000000ffffull);
	put_u64(vm, GDT + SELECTOR_TSS, 0x00008b0000000067ull | (uint64_t)TSS << 16);
	put_u64(vm, TSS + 4, KERNEL_STACK);
}

/* Interrupt gates; user code may call them too. */
static void write_vectors(struct probe_vm *vm)
{
	uint64_t vectors = CODE + (uint64_t)(probe_guest_vectors - probe_guest_start);

	for (uint64_t i = 0; i < 256; i++) {
		uint64_t handler = vectors + 16 * i;

		put_u64(vm, IDT + 16 * i,
			(handler & 0xffff) | SELECTOR_CODE << 16 | 0xee00ull << 32 |
				(handler >> 16) << 48);
		put_u64(vm, IDT + 16 * i + 8, 0);
	}
}

static int make_memory(struct probe_vm *vm)
{
	int r = gpa_space_new(RAM_BYTES, &vm->gpa, NULL);

	if (r)
		return r;
	write_page_tables(vm);
	write_segments(vm);
	write_vectors(vm);
	gpa_write(vm->gpa, CODE, probe_guest_start, (size_t)(probe_guest_end - probe_guest_start));
	return kvm_set_memory(vm->kvm, vm->gpa);
}

static uint32_t cpuid_register(const struct kvm_cpuid_entry2 *entry, char reg)
{
	switch (reg) {
	case 'b':
		return entry->ebx;
	case 'c':
		return entry->ecx;
	default:
		return entry->edx;
	}
}

/* Gives the VP all that KVM supports; false where that lacks what the trial is about. */
static bool set_cpuid(struct probe_vm *vm, const struct trial *trial)
{
	unsigned int count = CPUID_ROOM;
	CLEANUP_FREE struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_ROOM * sizeof(cpuid->entries[0]));
	bool has = !trial->leaf;

	if (!cpuid || kvm_supported_cpuid(vm->kvm, cpuid, &count))
		return false;
	cpuid->nent = count;
	for (unsigned int i = 0; i < count; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == trial->leaf && entry->index == 0 &&
		    cpuid_register(entry, trial->reg) & 1u << trial->bit)
			has = true;
	}
	return !kvm_vcpu_set_cpuid(vm->vcpu, cpuid) && has;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .type = type,
				    .present = 1,
				    .s = 1,
				    .g = 1,
				    .l = code,
				    .db = !code};
}

static int set_registers(struct probe_vm *vm, const struct trial *trial)
{
	struct kvm_regs regs = {.rip = CODE + (uint64_t)(trial->entry - probe_guest_start),
				.rsp = KERNEL_STACK,
				.rflags = 2};
	struct kvm_sregs sregs;
	int r = kvm_vcpu_get(vm->vcpu, KVM_PART_SREGS, &sregs);

	if (r)
		return r;
	sregs.cs = segment(SELECTOR_CODE, 0xb, true);
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment(SELECTOR_DATA, 0x3, false);
	sregs.tr = (struct kvm_segment){
		.base = TSS, .limit = 0x67, .selector = SELECTOR_TSS, .type = 0xb, .present = 1};
	sregs.gdt = (struct kvm_dtable){.base = GDT, .limit = 0x3f};
	sregs.idt = (struct kvm_dtable){.base = IDT, .limit = 0xfff};
	sregs.cr0 = CR0_BITS;
	sregs.cr3 = PML4;
	sregs.cr4 = CR4_BITS | trial->cr4;
	sregs.efer = EFER_BITS;
	r = kvm_vcpu_set(vm->vcpu, KVM_PART_SREGS, &sregs);
	return r ? r : kvm_vcpu_set(vm->vcpu, KVM_PART_REGS, &regs);
}

/* A filtered MSR, a doorbell and an interrupt, for the checks that are about them. */
static int set_wiring(struct probe_vm *vm)
{
	struct {
		struct kvm_irq_routing table;
		struct kvm_irq_routing_entry entry;
	} routes = {
		.table.nr = 1,
		.entry = {.gsi = IRQ_GSI,
			  .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = {.address_lo = MSI_LOW, .data = IRQ_VECTOR}},
	};
	int r = kvm_filter_hv_msrs(vm->kvm, false);

	if (!r)
		r = kvm_create_irqchip(vm->kvm);
	vm->doorbell = eventfd(0, EFD_NONBLOCK);
	vm->irq = eventfd(0, EFD_NONBLOCK);
	if (!r)
		r = kvm_ioeventfd(vm->kvm, true, MACHINE_PORT_HV_DOORBELL, 4, DOORBELL,
				  vm->doorbell, true);
	if (!r)
		r = kvm_set_routes(vm->kvm, &routes.table);
	return r ? r : kvm_irqfd(vm->kvm, IRQ_GSI, vm->irq, true);
}

/* Whether the run has ended, with how. */
static bool handle_port(struct probe_vm *vm, struct outcome *outcome)
{
	uint8_t value = *((uint8_t *)vm->run + vm->run->io.data_offset);

	switch (vm->run->io.port) {
	case PORT_READY:
		eventfd_write(vm->irq, 1);
		return false;
	case PORT_VECTOR:
		*outcome = (struct outcome){OUTCOME_VECTOR, value};
		return true;
	case PORT_RESULT:
		*outcome = (struct outcome){OUTCOME_RESULT, value};
		return true;
	default: /* the doorbell's port, which should not get here */
		*outcome = (struct outcome){OUTCOME_EXIT, KVM_EXIT_IO};
		return true;
	}
}

static struct outcome run_guest(struct probe_vm *vm)
{
	struct outcome outcome;

	for (;;) {
		int r = kvm_vcpu_run(vm->vcpu);

		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r)
			return (struct outcome){OUTCOME_NO_VM, (uint32_t)-r};
		if (vm->run->exit_reason == KVM_EXIT_X86_RDMSR)
			vm->run->msr.data = MSR_ANSWER;
		else if (vm->run->exit_reason != KVM_EXIT_IO)
			return (struct outcome){OUTCOME_EXIT, vm->run->exit_reason};
		else if (handle_port(vm, &outcome))
			return outcome;
	}
}

/* In the child: the VM lives and dies with it. */
static struct outcome try(int kvm_fd, const struct trial *trial)
{
	struct probe_vm vm = {0};
	eventfd_t count;
	struct outcome outcome;
	int r = kvm_new(kvm_fd, &vm.kvm, NULL);

	if (!r)
		r = make_memory(&vm);
	if (!r)
		r = set_wiring(&vm);
	if (!r)
		r = kvm_vcpu_new(vm.kvm, 0, &vm.vcpu);
	if (r)
		return (struct outcome){OUTCOME_NO_VM, (uint32_t)-r};
	if (!set_cpuid(&vm, trial))
		return (struct outcome){OUTCOME_ABSENT, 0};
	r = set_registers(&vm, trial);
	if (r)
		return (struct outcome){OUTCOME_NO_VM, (uint32_t)-r};
	vm.run = kvm_vcpu_page(vm.vcpu);
	outcome = run_guest(&vm);
	if (trial->entry == probe_guest_doorbell && eventfd_read(vm.doorbell, &count))
		outcome = (struct outcome){OUTCOME_EXIT, KVM_EXIT_IO};
	return outcome;
}

/* Waits for the child's word; kills a child that has none to say. */
static struct outcome wait_outcome(pid_t pid, int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	struct outcome outcome = {OUTCOME_TIMEOUT, 0};

	if (poll(&pollfd, 1, PATIENCE_MS) == 1 &&
	    read(fd, &outcome, sizeof(outcome)) != sizeof(outcome))
		outcome = (struct outcome){OUTCOME_NO_VM, EIO};
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return outcome;
}

static struct outcome run_trial(int kvm_fd, const struct trial *trial)
{
	struct outcome outcome = {OUTCOME_NO_VM, EAGAIN};
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		return outcome;
	pid = fork();
	if (pid == 0) {
		outcome = try(kvm_fd, trial);
		_exit(write(ends[1], &outcome, sizeof(outcome)) != sizeof(outcome));
	}
	close(ends[1]);
	if (pid > 0)
		outcome = wait_outcome(pid, ends[0]);
	close(ends[0]);
	return outcome;
}

static void check(int kvm_fd, const struct trial *trial, struct probe_finding *finding)
{
	struct outcome outcome = run_trial(kvm_fd, trial);

	if (outcome.kind == trial->expected.kind && outcome.value == trial->expected.value) {
		probe_say(finding, PROBE_OK, "works");
		return;
	}
	switch (outcome.kind) {
	case OUTCOME_RESULT:
		probe_say(finding, PROBE_FAILED, "ran, but with the wrong result (%u)",
			  outcome.value);
		break;
	case OUTCOME_VECTOR:
		probe_say(finding, PROBE_FAILED, "the guest got exception %u", outcome.value);
		break;
	case OUTCOME_EXIT:
		probe_say(finding, PROBE_FAILED, "KVM cannot run it (exit reason %u)",
			  outcome.value);
		break;
	case OUTCOME_NO_VM:
		probe_say(finding, PROBE_FAILED, "no VM to try it in: %s",
			  strerror((int)outcome.value));
		break;
	case OUTCOME_TIMEOUT:
		probe_say(finding, PROBE_FAILED, "it never ended");
		break;
	default:
		probe_say(finding, PROBE_NOT_HERE, "not offered to guests here");
		break;
	}
}

/* A check by its trial. */
#define DEFINE_CHECK(name, ...)                                                                    \
	static void check_##name(int kvm_fd, struct probe_finding *finding)                        \
	{                                                                                          \
		static const struct trial trial = {.entry = probe_guest_##name, __VA_ARGS__};      \
                                                                                                   \
		check(kvm_fd, &trial, finding);                                                    \
	}

DEFINE_CHECK(plain, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(msr, .expected = {OUTCOME_RESULT, MSR_ANSWER})
DEFINE_CHECK(doorbell, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(interrupt, .expected = {OUTCOME_VECTOR, IRQ_VECTOR})
DEFINE_CHECK(ring3, .expected = {OUTCOME_VECTOR, INT_VECTOR})
DEFINE_CHECK(syscall, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(int3, .expected = {OUTCOME_VECTOR, 3})
DEFINE_CHECK(fwait, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(popcnt, .leaf = 1, .reg = 'c', .bit = 23, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(cmpxchg16b, .leaf = 1, .reg = 'c', .bit = 13, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(sse, .leaf = 1, .reg = 'd', .bit = 26, .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(xsave, .cr4 = CR4_OSXSAVE, .leaf = 1, .reg = 'c', .bit = 26,
	     .expected = {OUTCOME_RESULT, 0})
DEFINE_CHECK(smap, .cr4 = CR4_SMAP, .leaf = 7, .reg = 'b', .bit = 20,
	     .expected = {OUTCOME_RESULT, 0})

static void check_capability(int kvm_fd, unsigned int capability, const char *without,
			     struct probe_finding *finding)
{
	struct kvm *kvm;
	int r = kvm_new(kvm_fd, &kvm, NULL);

	if (r) {
		probe_say(finding, PROBE_FAILED, "no VM to ask: %s", strerror(-r));
		return;
	}
	r = kvm_capability(kvm, capability);
	probe_say(finding, r ? PROBE_OK : PROBE_FAILED, "%s", r ? "there" : without);
	kvm_free(kvm);
}

static void check_sync_regs(int kvm_fd, struct probe_finding *finding)
{
	check_capability(kvm_fd, KVM_CAP_SYNC_REGS,
			 "not there; exits that need registers are slower", finding);
}

static void check_kernel_hyperv(int kvm_fd, struct probe_finding *finding)
{
	check_capability(kvm_fd, KVM_CAP_HYPERV_SYNIC2, "not there; ours is used", finding);
}

#define USE_HARDWARE                                                                               \
	"use a host with VMX or SVM (KVM on hardware, or nested), where ring 0 runs natively"

const struct probe_check probe_kvm_checks[] = {
	{"vm", "a VM runs 64-bit code", PROBE_FOR_PAYLOADS,
	 "update the kernel (5.10 or newer), and see its log for what KVM says", check_plain},
	{"msr_filter", "MSRs can be answered by us", PROBE_FOR_PAYLOADS,
	 "use Linux 5.10 or newer (KVM_CAP_X86_MSR_FILTER)", check_msr},
	{"ioeventfd", "a port write signals an eventfd", PROBE_FOR_PAYLOADS,
	 "use a kernel with CONFIG_EVENTFD and KVM_CAP_IOEVENTFD", check_doorbell},
	{"irqfd", "an eventfd interrupts the guest (MSI)", PROBE_FOR_PAYLOADS,
	 "use a kernel with KVM_CAP_IRQFD and KVM_CAP_IRQ_ROUTING", check_interrupt},
	{"ring3", "user mode, and INT back", PROBE_FOR_LINUX, USE_HARDWARE, check_ring3},
	{"syscall", "SYSCALL arrives in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_syscall},
	{"int3", "INT3 in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_int3},
	{"fwait", "FWAIT in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_fwait},
	{"popcnt", "POPCNT in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_popcnt},
	{"cmpxchg16b", "CMPXCHG16B in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_cmpxchg16b},
	{"sse", "SSE in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_sse},
	{"xsave", "XSAVE in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_xsave},
	{"smap", "STAC and CLAC in ring 0", PROBE_FOR_LINUX, USE_HARDWARE, check_smap},
	{"sync_regs", "registers come along with exits", PROBE_OPTIONAL, "", check_sync_regs},
	{"kernel_hyperv", "the kernel's own SynIC (KVM_HYPERV)", PROBE_OPTIONAL, "",
	 check_kernel_hyperv},
	{NULL, NULL, PROBE_OPTIONAL, NULL, NULL},
};
