#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/checked.h"
#include "base/list.h"
#include "vmm/hv.h"
#include "vmm/hv_ports.h"
#include "vmm/hv_stimer.h"
#include "vmm/hv_synic.h"
#include "vmm/hv_tlfs.h"

/*
 * What the files of the Hyper-V layer share.  Lock order: hv_vp.lock, then the timer thread's.
 * hv_partition.lock and the port table's are taken with neither held.
 */

/* Reference time: clock units less origin, or the frozen value while the partition is paused. */
struct hv_clock {
	bool by_tsc;	/* else by CLOCK_MONOTONIC */
	uint64_t scale; /* TSC to clock units: (tsc * scale) >> 64 */
	_Atomic uint64_t origin;
	_Atomic uint64_t frozen; /* HV_CLOCK_RUNS while it runs */
};
#define HV_CLOCK_RUNS UINT64_MAX

/* A message on its way to a SINT: from the heap, or part of a synthetic timer. */
struct synic_message {
	struct list node;
	struct stimer *timer; /* NULL: from the heap */
	uint32_t type;
	uint32_t size;
	uint64_t sender;
	uint8_t payload[HV_MESSAGE_PAYLOAD_MAX];
};

struct synic_sint {
	_Atomic uint64_t value;
	_Atomic(struct irq_msi *) msi; /* made at first need, kept until the partition goes */
	uint8_t routed_vector;	       /* what msi is set to; 0: nothing */
	struct list queue;	       /* of synic_message, the oldest first */
	unsigned int waiting;
};

/* All under the VP's lock, but for the atomics that hv_synic_signal reads without it. */
struct synic {
	_Atomic uint64_t control;
	uint64_t simp;
	uint64_t siefp;
	struct hv_message *message_page; /* NULL: none, or not RAM */
	_Atomic(uint32_t *) event_page;	 /* the same */
	_Atomic unsigned int signallers; /* threads that may hold event_page */
	struct synic_sint sints[HV_SINT_COUNT];
};

struct stimer {
	struct hv_vp *vp;
	unsigned int index;
	uint64_t config;
	uint64_t count;
	uint64_t expires;      /* reference time of the next expiration, or of the one in message */
	bool armed;	       /* expires lies ahead; the timer thread knows it */
	struct irq_msi *msi;   /* direct mode; made at first need */
	uint8_t routed_vector; /* what msi is set to; 0: nothing */
	struct synic_message message; /* queued: expired, not yet delivered */
};

struct hv_vp {
	struct hv_partition *hv;
	unsigned int index; /* also its APIC id */
	uint64_t assist_page;
	pthread_mutex_t lock; /* synic and stimers */
	struct synic synic;
	struct stimer stimers[HV_STIMER_COUNT];
};

struct hv_partition {
	struct hv_config config;
	struct hv_clock clock;
	struct hv_ports *ports;
	struct timer_thread *timers; /* NULL without config.stimer */
	pthread_mutex_t lock;	     /* what follows */
	uint64_t guest_os_id;
	uint64_t farewells;	     /* how often the guest took it back; not part of the state */
	_Atomic uint64_t cold_bytes; /* that the guest had discarded; the same */
	_Atomic uint64_t hypercall;  /* read without the lock */
	uint64_t reference_tsc;
	uint32_t tsc_sequence;
	uint64_t tsc_invariant;
	uint64_t crash[HV_CRASH_PARAMETERS];
	struct hv_vp vps[];
};

/* The host's view of an enabled overlay page; NULL if it is disabled or not RAM. */
void *hv_overlay(const struct hv_partition *hv, uint64_t msr);

/* hv_heat_hint.c: the call with that control word and the GPA of its input; VP thread. */
uint64_t hv_memory_heat_hint(struct hv_vp *vp, uint64_t control, uint64_t input);

/* hv_synic_state.c */
void synic_save(struct hv_vp *vp, struct state_writer *writer);
int synic_restore(struct hv_vp *vp, const struct state_node *node);

/* hv_time.c.  Now, in reference time; any thread, no lock. */
uint64_t hv_time_now(const struct hv_partition *hv);
void hv_time_init(struct hv_partition *hv);
void hv_time_set(struct hv_partition *hv, uint64_t now); /* paused */
void hv_time_freeze(struct hv_partition *hv);
void hv_time_thaw(struct hv_partition *hv);
/* Writes the reference TSC page anew, as VP vp_index sees the TSC; hv_partition.lock held. */
void hv_time_update_page(struct hv_partition *hv, unsigned int vp_index);

/* MSR handlers: index counts from the first MSR of the entry; false means #GP. */
bool hv_time_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value);
bool hv_time_page_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value);
bool hv_page_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value);
bool hv_crash_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value);
bool hv_crash_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value);

/* hv_ports.c */
int hv_ports_new(struct io_bus *bus, struct hv_ports **out);
void hv_ports_free(struct hv_ports *ports);

/* hv_synic.c: what the stimers and the partition need beyond hv_synic.h. */
void synic_init(struct hv_vp *vp);
void synic_fini(struct hv_vp *vp);
void synic_reset(struct hv_vp *vp);
/* Puts message at the end of its SINT's queue and delivers what can be; VP's lock held. */
void synic_enqueue(struct hv_vp *vp, unsigned int sint, struct synic_message *message);
/* Takes a waiting message back; harmless if it does not wait.  VP's lock held. */
void synic_withdraw(struct hv_vp *vp, unsigned int sint, struct synic_message *message);
/* Routes *msi (made if NULL) to vector of the VP; -errno.  VP's lock held. */
int synic_route(struct hv_vp *vp, struct irq_msi **msi, uint8_t vector);
/* Restore registers, and leave the pages as they are; false for a SINT no guest could set. */
void synic_set(struct hv_vp *vp, uint64_t control, uint64_t siefp, uint64_t simp);
bool synic_set_sint(struct hv_vp *vp, unsigned int sint, uint64_t value);
bool synic_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value);
bool synic_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value);
bool synic_sint_read(struct hv_vp *vp, uint32_t index, uint64_t *value);
bool synic_sint_write(struct hv_vp *vp, uint32_t index, uint64_t value);
