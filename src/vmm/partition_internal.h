#pragma once

#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "vmm/partition.h"
#include "vmm/vp.h"

/* What partition.c, partition_memory.c and partition_state.c share. */

#define PARTITION_IRQCHIPS 3 /* the two PICs and the IOAPIC */

/* The chips as KVM_GET_IRQCHIP gives them, by chip id. */
struct irqchip_state {
	struct kvm_irqchip chips[PARTITION_IRQCHIPS];
	struct kvm_pit_state2 pit; /* of a Generation 1 VM */
};

/* What a Generation 1 VM sees up to 1 MiB. */
#define PARTITION_SHADOW_UNITS ((MACHINE_SHADOW_END - MACHINE_SHADOW_BASE) / MACHINE_SHADOW_UNIT)

struct partition_firmware {
	uint8_t *rom; /* NULL: none yet */
	size_t size;
	pthread_mutex_t lock; /* the rest; before what KVM has, else a leaf */
	enum partition_shadow shadows[PARTITION_SHADOW_UNITS];
	bool shown[PARTITION_SHADOW_UNITS]; /* KVM has a slot for the unit */
};

struct partition {
	struct kvm *kvm;
	struct gpa_space *gpa;
	struct irq_controller *irq;
	struct io_bus *ports;
	struct io_bus *mmio;
	struct hv_partition *hv;
	struct vp_group group;
	const struct partition_events *events;
	void *context;
	unsigned int vp_count;
	bool generation1;
	struct partition_firmware firmware;
	struct vp **vps;
	struct irqchip_state power_on;
	unsigned int plug_count; /* KVM's slots of the room follow those of the space */
	bool memory_shown[PARTITION_SHOWN_KINDS]; /* in KVM's slots of PARTITION_SHOWN_SLOT */
	bool started;
	bool tscs_noted; /* each VP's tsc is what it had when it came to rest */
	bool tscs_due;	 /* and is to be had again when it goes on */
};

/* Behind all that RAM can take. */
#define PARTITION_SHOWN_SLOT	(PARTITION_PLUGS_MAX + 8) /* PARTITION_SHOWN_KINDS of them */
/* Of a Generation 1 VM: RAM from 1 MiB up to the hole, the firmware below 4 GiB, and the units
 * below 1 MiB. */
#define PARTITION_LOW_SLOT	(PARTITION_SHOWN_SLOT + PARTITION_SHOWN_KINDS)
#define PARTITION_FIRMWARE_SLOT (PARTITION_LOW_SLOT + 1)
#define PARTITION_SHADOW_SLOT	(PARTITION_LOW_SLOT + 2)

/* Gives KVM a Generation 1 VM's RAM, all but what is shadowed. */
int partition_set_memory(struct partition *partition);
/* The bus answers where KVM has no memory for a read or a write. */
int partition_place_shadow(struct partition *partition);
/* As at power-on: the firmware is seen.  VPs paused. */
int partition_reset_shadow(struct partition *partition);
void partition_free_firmware(struct partition *partition);

/* partition_clock.c; the VPs are out of the guest. */
uint64_t partition_guest_tsc(struct partition *partition, unsigned int vp_index);
void partition_note_tscs(struct partition *partition);
void partition_set_tscs(struct partition *partition);

/* Keeps the state that partition_reset goes back to.  Before the first run. */
int partition_keep_power_on(struct partition *partition);
/* Makes all that was plugged in room again.  Paused. */
int partition_unplug_all(struct partition *partition);
