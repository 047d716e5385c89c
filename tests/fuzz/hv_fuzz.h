#pragma once

#include <stdlib.h>
#include <x86intrin.h>

#include "fuzz.h"
#include "vmm/gpa.h"
#include "vmm/hv.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/* A Hyper-V partition for fuzz targets: no KVM, little RAM, an owner that does not care. */

#define FUZZ_RAM 0x40000u
#define FUZZ_VPS 2u

struct hv_fuzz {
	struct gpa_space *gpa;
	struct irq_controller *irq;
	struct io_bus *ports;
	struct hv_partition *hv;
};

static inline void fuzz_ignore_reset(void *context)
{
}

/* The message is a string, whatever the guest left there. */
static inline void fuzz_read_crash(void *context, const struct hv_crash *crash)
{
	if (strlen(crash->message) >= sizeof(crash->message))
		abort();
}

static inline uint64_t fuzz_runtime(void *context, unsigned int vp_index)
{
	return 100;
}

static inline bool fuzz_long_mode(void *context, unsigned int vp_index)
{
	return vp_index == 0;
}

static inline uint64_t fuzz_tsc(void *context, unsigned int vp_index)
{
	return __rdtsc();
}

static const struct hv_events fuzz_events = {
	.reset = fuzz_ignore_reset,
	.crash = fuzz_read_crash,
	.vp_runtime_ns = fuzz_runtime,
	.long_mode = fuzz_long_mode,
	.guest_tsc = fuzz_tsc,
};

static inline void hv_fuzz_new(struct hv_fuzz *f)
{
	struct hv_config config = {
		.vp_count = FUZZ_VPS,
		.stimer = true,
		.cold_discard = true,
		.tsc_hz = 2000000000,
		.apic_hz = 1000000000,
		.tsc_stable = true,
		.events = &fuzz_events,
	};

	if (gpa_space_new(FUZZ_RAM, &f->gpa, NULL) < 0 || irq_controller_new(NULL, &f->irq) < 0 ||
	    io_bus_new(IO_PORT, NULL, &f->ports) < 0)
		abort();
	config.gpa = f->gpa;
	config.irq = f->irq;
	config.ports = f->ports;
	if (hv_partition_new(&config, &f->hv, NULL) < 0 || hv_partition_start(f->hv, NULL) < 0)
		abort();
}

/* Between inputs: as new, and running. */
static inline void hv_fuzz_restart(struct hv_fuzz *f)
{
	hv_partition_reset(f->hv);
	gpa_fill(f->gpa, 0, 0, FUZZ_RAM);
	hv_partition_resume(f->hv);
}

static inline struct hv_vp *hv_fuzz_vp(struct hv_fuzz *f, uint8_t choice)
{
	return hv_partition_vp(f->hv, choice % FUZZ_VPS);
}
