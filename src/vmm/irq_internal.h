#pragma once

#include <pthread.h>

#include "vmm/irq.h"
#include "vmm/machine.h"

/* What irq.c and irq_level.c share. */

#define IRQ_IOAPIC_PINS 24u
#define IRQ_PIC_PINS	16u
#define IRQ_MSI_MAX	2048u

struct kvm_irq_routing;

/*
 * GSIs below MACHINE_GSI_COUNT are pins, those from there up are handed to MSIs.  A route is
 * kept until its GSI is used anew: taking one away is only a detached irqfd, not a new table.
 */
struct irq_controller {
	struct kvm *kvm;
	pthread_mutex_t lock; /* everything below; a leaf */
	unsigned int gsi_limit;
	bool pit;
	struct irq_msi *msis[IRQ_MSI_MAX]; /* by GSI - MACHINE_GSI_COUNT */
	struct kvm_irq_routing *table;	   /* scratch for the largest, made for the first MSI */

	/* Apart, as a change of the table may wait for the kernel; a leaf. */
	pthread_mutex_t levels_lock;
	unsigned int levels_asserted[MACHINE_GSI_COUNT]; /* how many hold the GSI */
};
