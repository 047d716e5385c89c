#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/state.h"
#include "vmm/gpa.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/*
 * The Hyper-V interface of a partition (TLFS), all of it in userspace.  It knows nothing of
 * /dev/kvm: VP threads bring it MSR and hypercall exits, it answers.  An in-kernel backend may
 * one day stand behind this header.
 */

struct hv_partition;
struct hv_vp;
struct cpuid_entry;

/* The crash message that a guest left in CRASH_P0-P4 and, with CTL bit 62, in memory. */
struct hv_crash {
	uint64_t parameters[5];
	char message[4096]; /* printable, NUL-terminated; empty if none was given */
};

/* What the guest asks of the VMM.  Called on VP threads; must not block. */
struct hv_events {
	void (*reset)(void *context);			       /* HV_X64_MSR_RESET */
	void (*crash)(void *context, const struct hv_crash *); /* HV_X64_MSR_CRASH_CTL */
	/* The VP's clock: nanoseconds in guest mode (VP_RUNTIME). */
	uint64_t (*vp_runtime_ns)(void *context, unsigned int vp_index);
	/* Whether EFER.LMA is set: which hypercall page the guest gets.  The VP's own thread, in
	 * hv_msr_write. */
	bool (*long_mode)(void *context, unsigned int vp_index);
	/* The VP's TSC as the guest would read it now (the reference TSC page is tied to it).  The
	 * VP's own thread in hv_msr_write, or the main loop in hv_partition_resume, VPs paused.
	 * Not called unless tsc_stable. */
	uint64_t (*guest_tsc)(void *context, unsigned int vp_index);
};

struct hv_config {
	struct gpa_space *gpa;
	struct irq_controller *irq;
	struct io_bus *ports; /* for the hypercall page's ports and doorbells */
	unsigned int vp_count;
	bool stimer;	   /* advertise synthetic timers */
	bool cold_discard; /* and HvExtCallMemoryHeatHint, by which pages are given back */
	uint64_t tsc_hz;   /* the guest's TSC, as TSC_FREQUENCY tells it; 0 if not known */
	uint64_t apic_hz;
	/* The guest's TSC is the host's own plus a constant, invariant and in step on all VPs.
	 * Then reference time is counted by it, the reference TSC page is valid, and TSC invariant
	 * control is there; otherwise reference time is CLOCK_MONOTONIC. */
	bool tsc_stable;
	bool kernel_tsc_invariant; /* KVM handles MSR 0x40000118 and CPUID itself */
	const struct hv_events *events;
	void *context;
};

/*
 * Makes the interface of a partition, paused, at reference time 0; config is copied, what it points
 * to must outlive the partition.  With config->stimer it starts the timer thread.  -EINVAL for
 * a vp_count outside 1 to MACHINE_MAX_VPS, or -errno; err then says why.
 */
int hv_partition_new(const struct hv_config *config, struct hv_partition **out, struct error *err);
/* VPs are gone and nobody posts or signals any more.  NULL is allowed. */
void hv_partition_free(struct hv_partition *hv);

/* Starts its thread, if synthetic timers need one: once, before the first resume. */
int hv_partition_start(struct hv_partition *hv, struct error *err);
/* Back to power-on, paused, at reference time 0.  VPs paused, timers quiet when it returns. */
void hv_partition_reset(struct hv_partition *hv);
/*
 * Time stands still in a paused partition: stimers stop and TIME_REF_COUNT does not advance.  Main
 * loop, with VPs out of the guest: pause after they stopped, resume before they run again
 * (it also brings the reference TSC page up to date).  The first run needs a resume too.
 */
void hv_partition_pause(struct hv_partition *hv);
void hv_partition_resume(struct hv_partition *hv);
/* Writes or reads the node "hyperv".  Paused, I/O threads quiet; restore wants a partition of the
 * same shape whose VPs have their TSC back by the next resume.  A restore that fails
 * (-EINVAL, -ENOENT, -ENOTSUP, -ENOMEM) leaves the state of a reset. */
void hv_partition_save(struct hv_partition *hv, struct state_writer *writer);
int hv_partition_restore(struct hv_partition *hv, const struct state_node *parent);

/* Reference time in units of 100 ns, as the guest would read it now (TLFS 12.1).  Any thread. */
uint64_t hv_partition_time(const struct hv_partition *hv);

struct hv_vp *hv_partition_vp(struct hv_partition *hv, unsigned int vp_index);
struct hv_ports *hv_partition_ports(struct hv_partition *hv);
/* How often a kernel took back its GUEST_OS_ID, to make way for another.  Any thread. */
uint64_t hv_partition_farewells(struct hv_partition *hv);
/* The bytes of the pages that guests have given back by HvExtCallMemoryHeatHint; a page counts each
 * time.  Any thread. */
uint64_t hv_partition_cold_bytes(const struct hv_partition *hv);

/* Fills leaf 0x40000000 + index, index 0 to 0xA (TLFS, feature discovery). */
#define HV_CPUID_LEAVES 11
struct hv_cpuid_leaf {
	uint32_t function, eax, ebx, ecx, edx;
};
void hv_cpuid(const struct hv_partition *hv, struct hv_cpuid_leaf leaves[HV_CPUID_LEAVES]);

/* MSR exits on the VP's thread; a false return means #GP. */
bool hv_msr_read(struct hv_vp *vp, uint32_t msr, uint64_t *value);
bool hv_msr_write(struct hv_vp *vp, uint32_t msr, uint64_t value);

/*
 * A hypercall exit: the registers as the guest set them.  hv_hypercall runs the call and
 * leaves the result in rax (edx:eax for a 32-bit caller).  VP thread.
 */
struct hv_hypercall_regs {
	bool long_mode; /* the caller is in 64-bit mode */
	bool xmm_valid;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, r8;
};
void hv_hypercall(struct hv_vp *vp, struct hv_hypercall_regs *regs);
/* The doorbell port caught an id that no ioeventfd matched: the TLFS status of SignalEvent. */
uint64_t hv_doorbell_miss(struct hv_vp *vp, uint32_t connection_id);

/* The offset in the hypercall page of the return that follows the doorbell's clearing of
 * rax: the exit handler resumes there with the status in rax. */
uint16_t hv_page_doorbell_return(void);
