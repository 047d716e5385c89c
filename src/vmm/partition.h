#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/state.h"
#include "vmm/boot.h"
#include "vmm/gpa.h"
#include "vmm/hv.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/* A child partition: memory, virtual processors, buses, interrupts and the Hyper-V interface. */

struct partition;

/* What happened to the partition.  Called on VP threads; must not block. */
struct partition_events {
	/* The guest asks for it: RESET MSR or a triple fault. */
	void (*reset)(void *context);
	void (*crash)(void *context, const struct hv_crash *crash);
	/* KVM cannot go on with a VP: sentence says why. */
	void (*failed)(void *context, const char *sentence);
};

struct partition_config {
	int kvm_fd; /* /dev/kvm, stays the caller's */
	/*
	 * A Generation 1 VM: no RAM is seen where VGA has its memory, the host bridge shows the
	 * firmware up to 1 MiB (partition_shadow), there is a PIT at GSI 0, which is pin 2 of the
	 * IOAPIC, and VPs start as at power-on.
	 */
	bool generation1;
	unsigned int vp_count;
	uint64_t ram_bytes;
	uint64_t ram_room; /* bytes that partition_plug may add */
	bool cold_discard; /* the guest may tell of pages that it does not need */
	bool stimer;
	const struct partition_events *events;
	void *context;
};

/* The exits of one VP since it was made, by kind; written by its thread, read by any. */
enum vp_exit {
	VP_EXIT_PORT,
	VP_EXIT_MMIO,
	VP_EXIT_MSR_READ,
	VP_EXIT_MSR_WRITE,
	VP_EXIT_HYPERCALL, /* port exits of the hypercall page */
	VP_EXIT_HALT,
	VP_EXIT_INTERRUPTED,
	VP_EXIT_OTHER,
	VP_EXIT_KINDS,
};
const char *vp_exit_name(enum vp_exit kind);

/* Must run in the process that will run the VPs.  The Hyper-V interface is part of it. */
int partition_new(const struct partition_config *config, struct partition **out, struct error *err);
/* Stops the VPs first. */
void partition_free(struct partition *partition);

struct gpa_space *partition_gpa(struct partition *partition);
struct io_bus *partition_ports(struct partition *partition);
struct io_bus *partition_mmio(struct partition *partition);
struct irq_controller *partition_irq(struct partition *partition);
struct hv_partition *partition_hv(struct partition *partition);
unsigned int partition_vp_count(const struct partition *partition);
uint64_t partition_exits(const struct partition *partition, unsigned int vp, enum vp_exit kind);
/* How long a VP's thread has run, in ns.  Any thread. */
uint64_t partition_runtime_ns(const struct partition *partition, unsigned int vp);
/* Calls each with KVM's own figures of a VP, as kvm_stats_read does; -ENOTSUP where it keeps none.
 * One thread at a time. */
int partition_kvm_stats(const struct partition *partition, unsigned int vp,
			void (*each)(void *context, const char *name, uint64_t value),
			void *context);

/* Sets how the first VP starts.  Before the first resume, or paused after partition_reset. */
int partition_set_boot(struct partition *partition, const struct boot_registers *registers);

/*
 * A Generation 1 VM's firmware, copied: read-only below 4 GiB, its last 128 KiB up to 1 MiB too.
 * bytes is a multiple of 64 KiB, from MACHINE_FIRMWARE_LOW_SIZE to MACHINE_FIRMWARE_MAX.  Once,
 * before the first resume.
 */
int partition_set_firmware(struct partition *partition, const void *image, size_t bytes,
			   struct error *err);

/* What the guest sees below 1 MiB (Intel 82443BX data sheet, 3.3.15: the PAM registers). */
enum partition_shadow {
	SHADOW_FIRMWARE,   /* reads show the firmware, or nothing below it; writes are dropped */
	SHADOW_READ_ONLY,  /* reads show RAM */
	SHADOW_WRITE_ONLY, /* reads show the firmware, writes go to RAM */
	SHADOW_RAM,
};
/*
 * Shows [gpa, gpa + size), of MACHINE_SHADOW_BASE to MACHINE_SHADOW_END in multiples of
 * MACHINE_SHADOW_UNIT, in that way.  gpa_* sees RAM there in any case.  -EINVAL for another place
 * and for a Generation 2 VM, or KVM's -errno.  VP thread or main loop.
 */
int partition_shadow(struct partition *partition, uint64_t gpa, uint64_t size,
		     enum partition_shadow shadow);

/*
 * Starts the timers' thread and the VPs', paused.  hook(context) runs first on each VP's (seccomp,
 * say).  They get ready while the caller goes on; partition_await waits for them, before the first
 * resume, and fails by a hook's error.
 */
int partition_start(struct partition *partition, int (*hook)(void *context), void *context,
		    struct error *err);
int partition_await(struct partition *partition, struct error *err);
/* All VPs are out of the guest when pause returns; pauses nest no deeper than one.  Main loop only.
 */
void partition_pause(struct partition *partition);
void partition_resume(struct partition *partition);
bool partition_paused(const struct partition *partition);

/*
 * Makes the next bytes of the room RAM, of which the guest must then hear; -EINVAL and -ENOSPC as
 * gpa_next_plug, -ENOSPC also after PARTITION_PLUGS_MAX, or KVM's -errno.  Main loop, VPs may run.
 */
#define PARTITION_PLUGS_MAX 256u
int partition_plug(struct partition *partition, uint64_t bytes);

/*
 * Shows memory that is no RAM, of a device's own, at gpa in place of what of that kind was shown
 * before; size 0 takes it away.  All aligned to pages; -EINVAL outside of the VMBus windows (of a
 * Generation 1 VM those of PCI too), or KVM's -errno. Main loop, VPs may run.
 */
enum partition_shown { PARTITION_SHOWN_VIDEO, PARTITION_SHOWN_VGA, PARTITION_SHOWN_KINDS };
int partition_show_memory(struct partition *partition, enum partition_shown kind, uint64_t gpa,
			  uint64_t size, void *host);

/* VPs, irqchip and Hyper-V state as before the first run; RAM is discarded, and what was plugged in
 * is room again.  Paused. */
int partition_reset(struct partition *partition, struct error *err);

/* An NMI to one VP.  Main loop. */
int partition_nmi(struct partition *partition, unsigned int vp);

/* All VP, irqchip and Hyper-V state (not RAM, but how much of the room is RAM).  Paused. */
int partition_save(struct partition *partition, struct state_writer *writer);
int partition_restore(struct partition *partition, const struct state_node *parent);
