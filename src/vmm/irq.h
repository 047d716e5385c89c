#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Interrupts into the in-kernel irqchip, raised by writing an eventfd (irqfd), so any thread
 * may raise one at any time without a lock.
 */

struct irq_controller;
struct irq_level;
struct irq_line;
struct irq_msi;
struct kvm;

/* kvm may be NULL (tests): raising then only counts in the eventfd. */
int irq_controller_new(struct kvm *kvm, struct irq_controller **out);
/* The PIT's GSI 0 goes to pin 2 of the IOAPIC, as on PCs, and GSI 2 to no pin of it.  KVM's -errno.
 * Before any MSI has a route. */
int irq_controller_add_pit(struct irq_controller *controller);
void irq_controller_free(struct irq_controller *controller);

/* An edge-triggered line (GSI below MACHINE_GSI_COUNT). */
int irq_line_new(struct irq_controller *controller, uint32_t gsi, struct irq_line **out);
void irq_line_free(struct irq_line *line);
void irq_line_raise(struct irq_line *line);

/* The eventfd behind it, for tests. */
int irq_line_fd(const struct irq_line *line);

/*
 * A level that is held until it is taken back: the output of a chip of a Generation 1 VM.  Levels
 * at one GSI (below MACHINE_GSI_COUNT) are ORed, as by a wire.  Whether the interrupt controllers
 * look at the level or at its edge is theirs to know.  Set and asked on any thread; both take a
 * leaf lock.  irq_level_free takes the level back.
 */
int irq_level_new(struct irq_controller *controller, uint32_t gsi, struct irq_level **out);
void irq_level_free(struct irq_level *level);
void irq_level_set(struct irq_level *level, bool asserted);
bool irq_level_asserted(const struct irq_level *level);
/* Whether any level at gsi is asserted, for tests. */
bool irq_gsi_asserted(struct irq_controller *controller, uint32_t gsi);

/*
 * A fixed interrupt to one VP: vector on the local APIC of apic_id.  irq_msi_set makes or changes
 * the route (-ENOSPC when KVM's table is full); before it, raising does nothing.  Set is for
 * VP threads and the main loop (the controller's lock is a leaf).
 */
int irq_msi_new(struct irq_controller *controller, struct irq_msi **out);
void irq_msi_free(struct irq_msi *msi);
int irq_msi_set(struct irq_msi *msi, uint32_t apic_id, uint8_t vector);
/* Takes the route away: raising does nothing until the next set. */
void irq_msi_clear(struct irq_msi *msi);
void irq_msi_raise(struct irq_msi *msi);

/* The eventfd behind it, for tests and for rings that raise it themselves; -1 until the first
 * set, which makes it. */
int irq_msi_fd(const struct irq_msi *msi);
