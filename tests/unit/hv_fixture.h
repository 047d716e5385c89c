#pragma once

#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vmm/gpa.h"
#include "vmm/hv.h"
#include "vmm/hv_internal.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/* A Hyper-V partition without KVM, and what it told its owner. */

#define HV_RAM	    (1u << 20)
#define HV_VPS	    2u
#define BEYOND_RAM  0x7ffffff000ull
#define GUEST_ID    0x8100000000000000ull
#define CALL_PAGE   0x1000ull
#define SIMP_PAGE   0x2000ull
#define SIEFP_PAGE  0x3000ull
#define TSC_PAGE    0x4000ull
#define ASSIST_PAGE 0x5000ull
#define INPUT_PAGE  0x6000ull
#define TEST_SINT   2u
#define TEST_VECTOR 0xf3u

struct hv_fixture {
	struct gpa_space *gpa;
	struct irq_controller *irq;
	struct io_bus *ports;
	struct hv_partition *hv;
	struct hv_vp *vp;
	bool long_mode;
	unsigned int resets;
	unsigned int crashes;
	struct hv_crash crash;
	struct hv_config config;
};

static inline void fixture_reset(void *context)
{
	struct hv_fixture *f = context;

	f->resets++;
}

static inline void fixture_crash(void *context, const struct hv_crash *crash)
{
	struct hv_fixture *f = context;

	f->crashes++;
	f->crash = *crash;
}

static inline uint64_t fixture_runtime(void *context, unsigned int vp_index)
{
	return 1000u * (vp_index + 1);
}

static inline bool fixture_long_mode(void *context, unsigned int vp_index)
{
	const struct hv_fixture *f = context;

	return f->long_mode;
}

/* The guest's TSC is a constant ahead of the host's. */
#define TSC_AHEAD 123456789ull

static inline uint64_t fixture_tsc(void *context, unsigned int vp_index)
{
	return __rdtsc() + TSC_AHEAD;
}

static const struct hv_events fixture_events = {
	.reset = fixture_reset,
	.crash = fixture_crash,
	.vp_runtime_ns = fixture_runtime,
	.long_mode = fixture_long_mode,
	.guest_tsc = fixture_tsc,
};

/* Paused, as hv_partition_new leaves it. */
static inline void fixture_new_paused(struct hv_fixture *f, bool stimer, bool tsc_stable)
{
	memset(f, 0, sizeof(*f));
	f->long_mode = true;
	ck_assert_int_eq(gpa_space_new(HV_RAM, &f->gpa, NULL), 0);
	ck_assert_int_eq(irq_controller_new(NULL, &f->irq), 0);
	ck_assert_int_eq(io_bus_new(IO_PORT, NULL, &f->ports), 0);
	f->config = (struct hv_config){
		.gpa = f->gpa,
		.irq = f->irq,
		.ports = f->ports,
		.vp_count = HV_VPS,
		.stimer = stimer,
		.tsc_hz = 2000000000,
		.apic_hz = 1000000000,
		.tsc_stable = tsc_stable,
		.events = &fixture_events,
		.context = f,
	};
	ck_assert_int_eq(hv_partition_new(&f->config, &f->hv, NULL), 0);
	ck_assert_int_eq(hv_partition_start(f->hv, NULL), 0);
	f->vp = hv_partition_vp(f->hv, 0);
}

static inline void fixture_new(struct hv_fixture *f)
{
	fixture_new_paused(f, true, true);
	hv_partition_resume(f->hv);
}

static inline void fixture_free(struct hv_fixture *f)
{
	hv_partition_free(f->hv);
	io_bus_free(f->ports);
	irq_controller_free(f->irq);
	gpa_space_free(f->gpa);
}

static inline uint64_t msr_get(struct hv_vp *vp, uint32_t msr)
{
	uint64_t value = 0xdead;

	ck_assert_msg(hv_msr_read(vp, msr, &value), "MSR %#x: read faults", msr);
	return value;
}

static inline void msr_set(struct hv_vp *vp, uint32_t msr, uint64_t value)
{
	ck_assert_msg(hv_msr_write(vp, msr, value), "MSR %#x: write of %#lx faults", msr, value);
}

static inline void fixture_enable_calls(struct hv_fixture *f)
{
	msr_set(f->vp, HV_MSR_GUEST_OS_ID, GUEST_ID);
	msr_set(f->vp, HV_MSR_HYPERCALL, CALL_PAGE | HV_OVERLAY_ENABLE);
}

/* SynIC on, both pages in place, one SINT open. */
static inline void fixture_enable_synic(struct hv_fixture *f)
{
	msr_set(f->vp, HV_MSR_SIMP, SIMP_PAGE | HV_OVERLAY_ENABLE);
	msr_set(f->vp, HV_MSR_SIEFP, SIEFP_PAGE | HV_OVERLAY_ENABLE);
	msr_set(f->vp, HV_MSR_SINT0 + TEST_SINT, TEST_VECTOR);
	msr_set(f->vp, HV_MSR_SCONTROL, HV_SCONTROL_ENABLE);
}

static inline struct hv_message *fixture_slot(struct hv_fixture *f, unsigned int sint)
{
	struct hv_message *page = gpa_pointer(f->gpa, SIMP_PAGE, HV_PAGE_SIZE, GPA_WRITE);

	return &page[sint];
}

/* What a guest does with a message: take it, free the slot, EOM if more is to come.  False when
 * the slot is empty. */
static inline bool fixture_take(struct hv_fixture *f, unsigned int sint, struct hv_message *out)
{
	struct hv_message *slot = fixture_slot(f, sint);

	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE)
		return false;
	memset(out, 0, sizeof(*out));
	out->type = slot->type;
	out->payload_size = slot->payload_size;
	out->flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);
	out->sender = slot->sender;
	memcpy(out->payload, slot->payload, sizeof(out->payload));
	__atomic_store_n(&slot->type, HV_MESSAGE_NONE, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&slot->flags, __ATOMIC_SEQ_CST) & HV_MESSAGE_FLAG_PENDING)
		msr_set(f->vp, HV_MSR_EOM, 0);
	return true;
}

/* How often an MSI was raised since the last look. */
static inline uint64_t msi_count(struct irq_msi *msi)
{
	eventfd_t count = 0;

	ck_assert_ptr_nonnull(msi);
	return eventfd_read(irq_msi_fd(msi), &count) < 0 ? 0 : count;
}

static inline uint64_t sint_interrupts(struct hv_fixture *f, unsigned int sint)
{
	return msi_count(atomic_load(&f->vp->synic.sints[sint].msi));
}

/* Waits up to 10 s for the condition, which ends the wait the first time it is true. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		bool done_ = (condition);                                                          \
		for (unsigned int wait_ = 0; wait_ < 10000 && !done_; wait_++) {                   \
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                   \
			done_ = (condition);                                                       \
		}                                                                                  \
		ck_assert_msg(done_, "waited in vain for " #condition);                            \
	} while (0)
