#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "devices/chipset/chip_clock.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/*
 * The PIIX4's block of power management ports (Intel 82371AB data sheet, 7.2; ACPI specification,
 * 4.8): the fixed hardware of ACPI with its interrupt, the SCI, power button, S5 and PM timer.
 * Registers that are about parts we do not have keep what is written.
 */

#define PM_BLOCK_PORTS 64u

struct pm_block {
	struct irq_level *sci;
	struct chip_timer timer;
	pthread_mutex_t lock; /* everything below; before irq's leaf */
	struct chip_clock clock;
	uint64_t toggles; /* of the timer's highest bit, as far as they are in the status */
	uint8_t registers[PM_BLOCK_PORTS];
};

/* -errno of irq_level_new or of a timer.  Main loop. */
int pm_block_init(struct pm_block *pm, struct irq_controller *irq, struct event_loop *loop);
void pm_block_cleanup(struct pm_block *pm);
/* As at power-on.  VPs paused. */
void pm_block_reset(struct pm_block *pm);

/* An access, whose offset is from the block's start; whether it switched the machine off.  VP
 * thread. */
bool pm_block_access(struct pm_block *pm, struct io_access *access);
/* Whether events raise the SCI; any thread. */
void pm_block_set_acpi(struct pm_block *pm, bool on);
void pm_block_press_power_button(struct pm_block *pm);

/* The timer stands still around a pause, or goes on.  Main loop. */
void pm_block_hold(struct pm_block *pm, bool held);
/* Into and from the device's open node; -EINVAL, -ENOENT.  VPs paused. */
void pm_block_save(struct pm_block *pm, struct state_writer *writer);
int pm_block_restore(struct pm_block *pm, const struct state_node *node);
