#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/state.h"
#include "vmm/boot.h"
#include "vmm/hv.h"
#include "vmm/io_bus.h"
#include "vmm/kvm.h"
#include "vmm/partition.h"
#include "vmm/vp_state.h"

/*
 * A virtual processor and its thread.  Only partition.c and the vp_ files see inside.
 *
 * Pausing: whoever wants a VP out of the guest sets its flag, then the VP's immediate_exit, then
 * signals its thread.  The VP clears immediate_exit before it looks at the flags, so a request
 * that comes in between makes the next KVM_RUN return at once: no wake-up is lost.
 */

/* What all VPs of a partition share; outlives them. */
struct vp_group {
	struct kvm *kvm;
	struct io_bus *ports;
	struct io_bus *mmio;
	const struct partition_events *events;
	void *context;
	bool sync_regs;	      /* registers come with each exit */
	atomic_bool hv_reset; /* the RESET MSR was written */

	pthread_mutex_t lock; /* the gate, below; a leaf */
	pthread_cond_t parked_changed;
	pthread_cond_t opened;
	atomic_bool closed; /* VPs are to park */
	bool ending;
	unsigned int parked;
};

struct vp {
	struct vp_group *group;
	unsigned int index;
	struct kvm_vcpu *vcpu;
	struct kvm_run *run;
	struct kvm_stats *stats; /* NULL: this KVM keeps none */
	struct hv_vp *hv;

	pthread_t thread;
	bool has_thread;
	int start_error;
	int (*hook)(void *context);
	void *hook_context;

	bool stopped; /* waits for a reset: triple fault, RESET MSR, or KVM cannot go on */
	bool ran;     /* since it parked last: an exit may be half done */
	atomic_bool nmi;
	_Atomic uint64_t exits[VP_EXIT_KINDS];
	uint64_t runtime_base_ns; /* to add to the thread's clock, may wrap */

	struct vp_state *power_on;
	uint64_t tsc; /* as it came to rest last: partition_clock.c */
};

/* The signal that takes a VP out of the guest; its handler does nothing. */
int vp_signal_number(void);
int vp_signal_set_up(void);

void vp_group_init(struct vp_group *group);
void vp_group_fini(struct vp_group *group);

/* Makes the VP with its registers as at power-on; CPUID is still to be set. */
int vp_new(struct vp_group *group, unsigned int index, struct vp **out);
/* Its thread has ended.  NULL is allowed. */
void vp_free(struct vp *vp);

/* Starts the thread, which runs hook, then parks.  The gate is closed. */
int vp_start(struct vp *vp, int (*hook)(void *context), void *context);
/* Waits for the thread to end; the gate is ending. */
void vp_join(struct vp *vp);
/* Takes the VP out of the guest, if it is there, to look at its flags.  Any thread. */
void vp_kick(struct vp *vp);

/* Nanoseconds the VP has run, since power-on.  Any thread. */
uint64_t vp_runtime_ns(const struct vp *vp);
void vp_set_runtime_ns(struct vp *vp, uint64_t ns);

/* vp_exits.c: answers the exit that KVM_RUN came back with.  VP thread. */
void vp_handle_exit(struct vp *vp);
/* KVM_RUN itself failed with -errno. */
void vp_handle_failure(struct vp *vp, int rc);
/* Counts an exit. */
void vp_count(struct vp *vp, enum vp_exit kind);

/* vp_boot.c: sets what firmware would have set in every VP: guests take memory for uncacheable
 * where the MTRRs are off.  Out of the guest. */
int vp_set_firmware_msrs(struct vp *vp);
/* vp_boot.c: sets the registers that the boot protocol asks for.  Out of the guest. */
int vp_set_boot(struct vp *vp, const struct boot_registers *registers);
