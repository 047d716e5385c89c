#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/gpa.h"

/*
 * The only issuer of KVM ioctls.  Every call returns 0 (or what it says) or a negative errno;
 * the structures are those of <linux/kvm.h> (Documentation/virt/kvm/api.rst).  VM calls come
 * from any thread; vCPU calls from the vCPU's thread, or from any while it is out of the guest.
 */

struct kvm;
struct kvm_vcpu;

/* Whether kvm_fd answers as KVM does, in the version that we speak; -errno with err. */
int kvm_check_version(int kvm_fd, struct error *err);

/*
 * Makes a VM, still without an irqchip.  kvm_fd stays the caller's.  The process that calls this
 * is the one that must run the vCPUs.  -ENOTSUP, with the capability's name in
 * err, where this kernel lacks something we cannot do without.
 */
int kvm_new(int kvm_fd, struct kvm **out, struct error *err);
void kvm_free(struct kvm *kvm);

/* What KVM_CHECK_EXTENSION says: 0 for no, and a limit for some capabilities. */
int kvm_capability(const struct kvm *kvm, unsigned int capability);

/* Gives the VM all of a space's slots. */
int kvm_set_memory(struct kvm *kvm, const struct gpa_space *space);
/* Memory that is no RAM, in a slot that RAM does not take; size 0 takes it away. */
int kvm_show_memory(struct kvm *kvm, unsigned int number, uint64_t gpa, uint64_t size, void *host);
/* Memory that the guest reads as it reads RAM, while its writes come as MMIO exits. */
int kvm_show_rom(struct kvm *kvm, unsigned int number, uint64_t gpa, uint64_t size, void *host);
/* Gives it one more under a number of its own, or, with size 0, takes that one away; VPs may run.
 */
int kvm_set_memory_slot(struct kvm *kvm, unsigned int number, const struct gpa_slot *slot);

/*
 * The full irqchip (PICs, IOAPIC, local APICs) without a PIT.  After kvm_set_memory and
 * kvm_filter_hv_msrs: the chips register on KVM's buses, for which newer kernels start a lazy grace
 * period, and those two would wait for its end.  Before the first vCPU.
 */
int kvm_create_irqchip(struct kvm *kvm);

/* The 8254 at GSI 0, with a port 0x61 that makes no sound.  After the irqchip. */
int kvm_create_pit(struct kvm *kvm);

/*
 * Sends the Hyper-V MSRs (0x40000000-0x400001ff) and those KVM does not know out to us, and KVM's
 * own too, for which we have no answer but #GP: our CPUID does not announce them.
 * kernel_tsc_invariant leaves HV_X64_MSR_TSC_INVARIANT_CONTROL (0x40000118) to the kernel.
 */
int kvm_filter_hv_msrs(struct kvm *kvm, bool kernel_tsc_invariant);
/* True where the kernel itself has HV_X64_MSR_TSC_INVARIANT_CONTROL. */
bool kvm_has_tsc_invariant_control(const struct kvm *kvm);

/* Has writes of size bytes (of datamatch) at a port or MMIO address add 1 to eventfd, or no more.
 */
int kvm_ioeventfd(struct kvm *kvm, bool port, uint64_t address, uint32_t size, uint64_t datamatch,
		  int eventfd, bool assign);
/* Has each write to eventfd pulse gsi, or no more. */
int kvm_irqfd(struct kvm *kvm, uint32_t gsi, int eventfd, bool assign);
/* Sets the level of gsi.  Any thread. */
int kvm_irq_line(struct kvm *kvm, uint32_t gsi, bool asserted);
/* Replaces the whole GSI table. */
int kvm_set_routes(struct kvm *kvm, const struct kvm_irq_routing *table);

int kvm_get_irqchip(struct kvm *kvm, struct kvm_irqchip *chip);
int kvm_set_irqchip(struct kvm *kvm, const struct kvm_irqchip *chip);
int kvm_get_pit(struct kvm *kvm, struct kvm_pit_state2 *pit);
int kvm_set_pit(struct kvm *kvm, const struct kvm_pit_state2 *pit);
int kvm_get_clock(struct kvm *kvm, struct kvm_clock_data *clock);
int kvm_set_clock(struct kvm *kvm, const struct kvm_clock_data *clock);

/*
 * Fills cpuid, which has room for *count entries, with what KVM supports; *count is then how many
 * there are.  -E2BIG when there is too little room.
 */
int kvm_supported_cpuid(struct kvm *kvm, struct kvm_cpuid2 *cpuid, unsigned int *count);

/* The MSRs that KVM saves; a malloc'ed list for the caller to free. */
int kvm_msr_list(struct kvm *kvm, struct kvm_msr_list **out);

/* index is both the vCPU's id and its APIC id. */
int kvm_vcpu_new(struct kvm *kvm, unsigned int index, struct kvm_vcpu **out);
void kvm_vcpu_free(struct kvm_vcpu *vcpu);

/* The page shared with the kernel. */
struct kvm_run *kvm_vcpu_page(struct kvm_vcpu *vcpu);
/* One KVM_RUN: 0, or -EINTR, -EAGAIN, -errno. */
int kvm_vcpu_run(struct kvm_vcpu *vcpu);

int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid2 *cpuid);
/* The guest's TSC rate in kHz, or -errno. */
int kvm_vcpu_tsc_khz(struct kvm_vcpu *vcpu);
/*
 * Writes the guest's TSC offset again, as KVM has it: on SVM the processor's own copy is lost
 * with a triple fault (KVM clears the VMCB), and TSC and timers of that VP would part.  0, also
 * where this KVM does not tell the offset (before Linux 5.16), or -errno.
 */
int kvm_vcpu_renew_tsc_offset(struct kvm_vcpu *vcpu);
/*
 * Moves a vCPU's TSC on by so much, which may wrap, and has one count in step with another's: for
 * a TSC that is written by its MSR KVM takes what it had, if that is not a second apart.  -errno;
 * -ENOTSUP before Linux 5.16.
 */
int kvm_vcpu_move_tsc(struct kvm_vcpu *vcpu, uint64_t more);
int kvm_vcpu_share_tsc(struct kvm_vcpu *from, struct kvm_vcpu *to);
int kvm_vcpu_nmi(struct kvm_vcpu *vcpu);
/* A descriptor with the vCPU's statistics (vmm/kvm_stats.h), the caller's; -ENOTTY or -EINVAL where
 * this KVM keeps none (before Linux 5.14), or -errno. */
int kvm_vcpu_stats_fd(struct kvm_vcpu *vcpu);

/* get and set one part of a vCPU's state, each a structure of the kernel. */
enum kvm_vcpu_part {
	KVM_PART_REGS,	     /* struct kvm_regs */
	KVM_PART_SREGS,	     /* struct kvm_sregs */
	KVM_PART_FPU,	     /* struct kvm_fpu */
	KVM_PART_XSAVE,	     /* as KVM says */
	KVM_PART_XCRS,	     /* struct kvm_xcrs */
	KVM_PART_LAPIC,	     /* struct kvm_lapic_state */
	KVM_PART_EVENTS,     /* struct kvm_vcpu_events */
	KVM_PART_MP_STATE,   /* struct kvm_mp_state */
	KVM_PART_DEBUG_REGS, /* struct kvm_debugregs */
};
/* 0 where this kernel does not have the part. */
size_t kvm_vcpu_part_size(const struct kvm *kvm, enum kvm_vcpu_part part);
int kvm_vcpu_get(struct kvm_vcpu *vcpu, enum kvm_vcpu_part part, void *data);
int kvm_vcpu_set(struct kvm_vcpu *vcpu, enum kvm_vcpu_part part, const void *data);

/* As the ioctls: how many were read or written, which stops at the first bad one. */
int kvm_vcpu_get_msrs(struct kvm_vcpu *vcpu, struct kvm_msrs *msrs);
int kvm_vcpu_set_msrs(struct kvm_vcpu *vcpu, const struct kvm_msrs *msrs);
