#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/machine.h"

#define HV_MSR_FIRST		     0x40000000u
#define HV_MSR_COUNT		     0x200u
#define HV_MSR_TSC_INVARIANT_CONTROL 0x40000118u
/* KVM's own: its clock's first numbers, then all else (Linux Documentation/virt/kvm/x86/msr.rst).
 */
#define KVM_OLD_MSR_FIRST	     0x11u
#define KVM_OLD_MSR_COUNT	     2u
#define KVM_MSR_FIRST		     0x4b564d00u
#define KVM_MSR_COUNT		     0x100u
/* CPUID 0x40000003 EAX bit 15: the kernel supports the MSR (TLFS, feature discovery). */
#define HV_CPUID_FEATURES	     0x40000003u
#define HV_ACCESS_TSC_INVARIANT	     (1u << 15)

#define CPUID_ENTRIES_MAX 256u

struct kvm {
	int kvm_fd;
	int vm_fd;
	size_t run_size;
	size_t xsave_size; /* 0: only the FPU can be saved */
};

struct kvm_vcpu {
	struct kvm *kvm;
	int fd;
	struct kvm_run *run;
};

/* ioctl with the error as a negative number. */
static int request(int fd, unsigned long code, const void *argument)
{
	int rc = ioctl(fd, code, argument);

	return rc < 0 ? -errno : rc;
}

static int request_number(int fd, unsigned long code, unsigned long argument)
{
	int rc = ioctl(fd, code, argument);

	return rc < 0 ? -errno : rc;
}

int kvm_capability(const struct kvm *kvm, unsigned int capability)
{
	int rc = request_number(kvm->vm_fd, KVM_CHECK_EXTENSION, capability);

	return rc < 0 ? 0 : rc;
}

static int check_capabilities(const struct kvm *kvm, struct error *err)
{
	static const struct {
		unsigned int capability;
		const char *name;
	} needed[] = {
		{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
		{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
		{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
		{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
		{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
		{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(needed); i++) {
		if (kvm_capability(kvm, needed[i].capability) == 0)
			return error_set(err, ENOTSUP,
					 "this host's KVM lacks %s: Linux 5.10 or newer is needed",
					 needed[i].name);
	}
	return 0;
}

int kvm_create_irqchip(struct kvm *kvm)
{
	return request_number(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0);
}

int kvm_create_pit(struct kvm *kvm)
{
	const struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};

	return request(kvm->vm_fd, KVM_CREATE_PIT2, &config);
}

/* Only hosts with VMX use the two; others may not know them. */
static void set_vmx_pages(struct kvm *kvm)
{
	uint64_t identity = MACHINE_TSS_BASE - 4096;

	request(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	request_number(kvm->vm_fd, KVM_SET_TSS_ADDR, MACHINE_TSS_BASE);
}

int kvm_check_version(int kvm_fd, struct error *err)
{
	int version = request_number(kvm_fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return error_set(err, -version,
				 "/dev/kvm is not KVM's device (%s); load the kvm_intel or kvm_amd "
				 "module, and remove what took its place",
				 strerror(-version));
	if (version != KVM_API_VERSION)
		return error_set(err, ENOTSUP,
				 "this host's KVM speaks version %d, not %d; use a kernel with "
				 "Linux's own KVM",
				 version, KVM_API_VERSION);
	return 0;
}

static int set_up(struct kvm *kvm, struct error *err)
{
	int rc = kvm_check_version(kvm->kvm_fd, err);

	if (rc < 0)
		return rc;
	rc = request_number(kvm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (rc < (int)sizeof(struct kvm_run))
		return error_set(
			err, EIO,
			"KVM gives no size for its shared page; use a kernel with Linux's own KVM");
	kvm->run_size = (size_t)rc;
	do {
		rc = request_number(kvm->kvm_fd, KVM_CREATE_VM, 0);
	} while (rc == -EINTR);
	if (rc < 0)
		return error_host(err, -rc, "KVM cannot make a virtual machine");
	kvm->vm_fd = rc;
	rc = check_capabilities(kvm, err);
	if (rc < 0)
		return rc;
	kvm->xsave_size = (size_t)kvm_capability(kvm, KVM_CAP_XSAVE2);
	if (kvm->xsave_size == 0 && kvm_capability(kvm, KVM_CAP_XSAVE))
		kvm->xsave_size = sizeof(struct kvm_xsave);
	set_vmx_pages(kvm);
	return 0;
}

int kvm_new(int kvm_fd, struct kvm **out, struct error *err)
{
	struct kvm *kvm = calloc(1, sizeof(*kvm));
	int rc;

	if (!kvm)
		return error_memory(err, "a virtual machine");
	kvm->kvm_fd = kvm_fd;
	kvm->vm_fd = -1;
	rc = set_up(kvm, err);
	if (rc < 0) {
		kvm_free(kvm);
		return rc;
	}
	*out = kvm;
	return 0;
}

void kvm_free(struct kvm *kvm)
{
	if (!kvm)
		return;
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	free(kvm);
}

static int set_region(struct kvm *kvm, unsigned int number, uint32_t flags, uint64_t gpa,
		      uint64_t size, void *host)
{
	const struct kvm_userspace_memory_region region = {
		.slot = number,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return request(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_show_memory(struct kvm *kvm, unsigned int number, uint64_t gpa, uint64_t size, void *host)
{
	return set_region(kvm, number, 0, gpa, size, host);
}

int kvm_show_rom(struct kvm *kvm, unsigned int number, uint64_t gpa, uint64_t size, void *host)
{
	return set_region(kvm, number, KVM_MEM_READONLY, gpa, size, host);
}

int kvm_set_memory_slot(struct kvm *kvm, unsigned int number, const struct gpa_slot *slot)
{
	return kvm_show_memory(kvm, number, slot->gpa, slot->size, slot->host);
}

int kvm_set_memory(struct kvm *kvm, const struct gpa_space *space)
{
	for (unsigned int i = 0; i < gpa_slot_count(space); i++) {
		int rc = kvm_set_memory_slot(kvm, i, gpa_slot(space, i));

		if (rc < 0)
			return rc;
	}
	return 0;
}

bool kvm_has_tsc_invariant_control(const struct kvm *kvm)
{
	struct kvm_cpuid2 *cpuid CLEANUP_FREE =
		calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]));

	if (!cpuid)
		return false;
	cpuid->nent = CPUID_ENTRIES_MAX;
	/* The system ioctl: a vCPU's would need the SynIC. */
	if (request(kvm->kvm_fd, KVM_GET_SUPPORTED_HV_CPUID, cpuid) < 0)
		return false;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == HV_CPUID_FEATURES)
			return cpuid->entries[i].eax & HV_ACCESS_TSC_INVARIANT;
	}
	return false;
}

int kvm_filter_hv_msrs(struct kvm *kvm, bool kernel_tsc_invariant)
{
	const struct kvm_enable_cap exits = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			 KVM_MSR_EXIT_REASON_FILTER},
	};
	/* A bit that is set allows the MSR. */
	uint8_t allowed[HV_MSR_COUNT / 8] = {0};
	uint8_t none[KVM_MSR_COUNT / 8] = {0};
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = {{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			    .base = HV_MSR_FIRST,
			    .nmsrs = HV_MSR_COUNT,
			    .bitmap = allowed},
			   {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			    .base = KVM_OLD_MSR_FIRST,
			    .nmsrs = KVM_OLD_MSR_COUNT,
			    .bitmap = none},
			   {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			    .base = KVM_MSR_FIRST,
			    .nmsrs = KVM_MSR_COUNT,
			    .bitmap = none}},
	};
	int rc = request(kvm->vm_fd, KVM_ENABLE_CAP, &exits);

	if (rc < 0)
		return rc;
	if (kernel_tsc_invariant) {
		uint32_t bit = HV_MSR_TSC_INVARIANT_CONTROL - HV_MSR_FIRST;

		allowed[bit / 8] |= (uint8_t)(1u << (bit % 8));
	}
	return request(kvm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}

int kvm_ioeventfd(struct kvm *kvm, bool port, uint64_t address, uint32_t size, uint64_t datamatch,
		  int eventfd, bool assign)
{
	const struct kvm_ioeventfd event = {
		.datamatch = datamatch,
		.addr = address,
		.len = size,
		.fd = eventfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (port ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			 (assign ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return request(kvm->vm_fd, KVM_IOEVENTFD, &event);
}

int kvm_irqfd(struct kvm *kvm, uint32_t gsi, int eventfd, bool assign)
{
	const struct kvm_irqfd irqfd = {
		.fd = (uint32_t)eventfd,
		.gsi = gsi,
		.flags = assign ? 0u : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return request(kvm->vm_fd, KVM_IRQFD, &irqfd);
}

int kvm_irq_line(struct kvm *kvm, uint32_t gsi, bool asserted)
{
	const struct kvm_irq_level line = {.irq = gsi, .level = asserted};

	return request(kvm->vm_fd, KVM_IRQ_LINE, &line);
}

int kvm_set_routes(struct kvm *kvm, const struct kvm_irq_routing *table)
{
	return request(kvm->vm_fd, KVM_SET_GSI_ROUTING, table);
}

int kvm_get_irqchip(struct kvm *kvm, struct kvm_irqchip *chip)
{
	return request(kvm->vm_fd, KVM_GET_IRQCHIP, chip);
}

int kvm_set_irqchip(struct kvm *kvm, const struct kvm_irqchip *chip)
{
	return request(kvm->vm_fd, KVM_SET_IRQCHIP, chip);
}

int kvm_get_pit(struct kvm *kvm, struct kvm_pit_state2 *pit)
{
	return request(kvm->vm_fd, KVM_GET_PIT2, pit);
}

int kvm_set_pit(struct kvm *kvm, const struct kvm_pit_state2 *pit)
{
	return request(kvm->vm_fd, KVM_SET_PIT2, pit);
}

int kvm_get_clock(struct kvm *kvm, struct kvm_clock_data *clock)
{
	return request(kvm->vm_fd, KVM_GET_CLOCK, clock);
}

int kvm_set_clock(struct kvm *kvm, const struct kvm_clock_data *clock)
{
	return request(kvm->vm_fd, KVM_SET_CLOCK, clock);
}

int kvm_supported_cpuid(struct kvm *kvm, struct kvm_cpuid2 *cpuid, unsigned int *count)
{
	int rc;

	cpuid->nent = *count;
	rc = request(kvm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (rc < 0)
		return rc;
	*count = cpuid->nent;
	return 0;
}

int kvm_msr_list(struct kvm *kvm, struct kvm_msr_list **out)
{
	struct kvm_msr_list head = {.nmsrs = 0};
	struct kvm_msr_list *list;
	int rc = request(kvm->kvm_fd, KVM_GET_MSR_INDEX_LIST, &head);

	if (rc < 0 && rc != -E2BIG)
		return rc;
	list = calloc(1, sizeof(*list) + head.nmsrs * sizeof(list->indices[0]));
	if (!list)
		return -ENOMEM;
	list->nmsrs = head.nmsrs;
	rc = request(kvm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
	if (rc < 0) {
		free(list);
		return rc;
	}
	*out = list;
	return 0;
}

int kvm_vcpu_new(struct kvm *kvm, unsigned int index, struct kvm_vcpu **out)
{
	struct kvm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int rc;

	if (!vcpu)
		return -ENOMEM;
	vcpu->kvm = kvm;
	rc = request_number(kvm->vm_fd, KVM_CREATE_VCPU, index);
	if (rc < 0)
		goto fail_free;
	vcpu->fd = rc;
	vcpu->run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		rc = -errno;
		goto fail_close;
	}
	*out = vcpu;
	return 0;

fail_close:
	close(vcpu->fd);
fail_free:
	free(vcpu);
	return rc;
}

void kvm_vcpu_free(struct kvm_vcpu *vcpu)
{
	if (!vcpu)
		return;
	munmap(vcpu->run, vcpu->kvm->run_size);
	close(vcpu->fd);
	free(vcpu);
}

struct kvm_run *kvm_vcpu_page(struct kvm_vcpu *vcpu)
{
	return vcpu->run;
}

int kvm_vcpu_run(struct kvm_vcpu *vcpu)
{
	return request_number(vcpu->fd, KVM_RUN, 0);
}

int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
	return request(vcpu->fd, KVM_SET_CPUID2, cpuid);
}

int kvm_vcpu_tsc_khz(struct kvm_vcpu *vcpu)
{
	return request_number(vcpu->fd, KVM_GET_TSC_KHZ, 0);
}

/* Has to's TSC differ from the host's as from's does, and by so much more. */
static int copy_tsc_offset(struct kvm_vcpu *from, struct kvm_vcpu *to, uint64_t more)
{
	uint64_t offset = 0;
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};
	int rc = request(from->fd, KVM_GET_DEVICE_ATTR, &attribute);

	if (rc < 0)
		return -ENOTSUP;
	offset += more;
	return request(to->fd, KVM_SET_DEVICE_ATTR, &attribute);
}

int kvm_vcpu_renew_tsc_offset(struct kvm_vcpu *vcpu)
{
	int rc = copy_tsc_offset(vcpu, vcpu, 0);

	return rc == -ENOTSUP ? 0 : rc;
}

int kvm_vcpu_move_tsc(struct kvm_vcpu *vcpu, uint64_t more)
{
	return copy_tsc_offset(vcpu, vcpu, more);
}

int kvm_vcpu_share_tsc(struct kvm_vcpu *from, struct kvm_vcpu *to)
{
	return copy_tsc_offset(from, to, 0);
}

int kvm_vcpu_nmi(struct kvm_vcpu *vcpu)
{
	return request_number(vcpu->fd, KVM_NMI, 0);
}

int kvm_vcpu_stats_fd(struct kvm_vcpu *vcpu)
{
	return request_number(vcpu->fd, KVM_GET_STATS_FD, 0);
}

/* One row a part: its ioctls, its size, and the capability it needs (0: always there). */
static const struct part {
	unsigned long get;
	unsigned long set;
	size_t size;
	unsigned int capability;
} parts[] = {
	[KVM_PART_REGS] = {KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), 0},
	[KVM_PART_SREGS] = {KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), 0},
	[KVM_PART_FPU] = {KVM_GET_FPU, KVM_SET_FPU, sizeof(struct kvm_fpu), 0},
	[KVM_PART_XSAVE] = {KVM_GET_XSAVE, KVM_SET_XSAVE, sizeof(struct kvm_xsave), KVM_CAP_XSAVE},
	[KVM_PART_XCRS] = {KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), KVM_CAP_XCRS},
	[KVM_PART_LAPIC] = {KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), 0},
	[KVM_PART_EVENTS] = {KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
			     sizeof(struct kvm_vcpu_events), KVM_CAP_VCPU_EVENTS},
	[KVM_PART_MP_STATE] = {KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state),
			       KVM_CAP_MP_STATE},
	[KVM_PART_DEBUG_REGS] = {KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs),
				 KVM_CAP_DEBUGREGS},
};

size_t kvm_vcpu_part_size(const struct kvm *kvm, enum kvm_vcpu_part part)
{
	if (part == KVM_PART_XSAVE)
		return kvm->xsave_size;
	if (parts[part].capability && kvm_capability(kvm, parts[part].capability) == 0)
		return 0;
	return parts[part].size;
}

int kvm_vcpu_get(struct kvm_vcpu *vcpu, enum kvm_vcpu_part part, void *data)
{
	unsigned long code = parts[part].get;

	if (part == KVM_PART_XSAVE && vcpu->kvm->xsave_size > sizeof(struct kvm_xsave))
		code = KVM_GET_XSAVE2;
	return request(vcpu->fd, code, data);
}

int kvm_vcpu_set(struct kvm_vcpu *vcpu, enum kvm_vcpu_part part, const void *data)
{
	return request(vcpu->fd, parts[part].set, data);
}

int kvm_vcpu_get_msrs(struct kvm_vcpu *vcpu, struct kvm_msrs *msrs)
{
	return request(vcpu->fd, KVM_GET_MSRS, msrs);
}

int kvm_vcpu_set_msrs(struct kvm_vcpu *vcpu, const struct kvm_msrs *msrs)
{
	return request(vcpu->fd, KVM_SET_MSRS, msrs);
}
