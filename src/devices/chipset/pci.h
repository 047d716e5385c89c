#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "vmm/io_bus.h"
#include "vmm/irq.h"

/*
 * The PCI bus of a Generation 1 VM: configuration by ports 0xcf8 and 0xcfc (PCI Local Bus
 * Specification 3.0, 3.2.2.3.2 and 6.1), base address registers, and INTx# through the ISA bridge's
 * routes.  One bus, no bridges to others.
 *
 * The bus answers the whole of its windows (MACHINE_PCI_* of vmm/machine.h) and looks base
 * addresses up at each access, so that they may move while VPs run.  Where two overlap, the
 * function of the lower slot and number answers.
 *
 * Locks, in this order: that of configuration writes, which moved and config_written are called
 * with; a device's own; then the bus's leaves.  So a device may hold its lock in any call but those
 * that its callbacks exclude below.
 */

#define PCI_CONFIG_BYTES 256u
#define PCI_BARS	 6u

/* Offsets in the configuration header (PCI 3.0, 6.1). */
#define PCI_VENDOR_ID	   0x00
#define PCI_DEVICE_ID	   0x02
#define PCI_COMMAND	   0x04
#define PCI_STATUS	   0x06
#define PCI_REVISION	   0x08
#define PCI_CLASS_CODE	   0x09
#define PCI_CACHE_LINE	   0x0c
#define PCI_LATENCY	   0x0d
#define PCI_HEADER_TYPE	   0x0e
#define PCI_BAR0	   0x10
#define PCI_SUBSYSTEM	   0x2c
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN  0x3d

#define PCI_COMMAND_IO	   (1u << 0)
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)

struct pci_bus;
struct pci_function;

struct pci_bar {
	uint32_t size; /* bytes, a power of two; 0: there is none */
	enum io_space space;
	bool prefetchable;
	/* VP thread, no lock of the bus's held; access->offset counts from the BAR's start. */
	io_handler handler;
	/*
	 * Where it is decoded from now on, 0: nowhere (switched off, or outside of the windows). VP
	 * thread, or the main loop at reset and restore; one call at a time.  Must not reset,
	 * restore or free a function.  May be NULL.
	 */
	void (*moved)(void *context, uint64_t address);
};

struct pci_description {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class << 16 | subclass << 8 | interface */
	uint8_t revision;
	uint8_t interrupt_pin; /* 0: none, 1: INTA# */
	bool multifunction;
	struct pci_bar bars[PCI_BARS];
	/*
	 * The guest wrote size bytes at offset, which are stored already as far as writable, and
	 * base addresses have moved.  VP thread, one call at a time; as moved.  May be NULL.
	 */
	void (*config_written)(void *context, unsigned int offset, unsigned int size);
	void *context; /* of the handlers */
};

/* Takes the ports and windows; irq gets the interrupts.  All outlive the bus.  -errno of io_bus_add
 * and irq_level_new. */
int pci_bus_new(struct io_bus *ports, struct io_bus *mmio, struct irq_controller *irq,
		struct pci_bus **out);
void pci_bus_free(struct pci_bus *bus);
/* The address register; for the host bridge, which stands for the bus.  VPs paused. */
void pci_bus_reset(struct pci_bus *bus);
void pci_bus_save(const struct pci_bus *bus, struct state_writer *writer);
int pci_bus_restore(struct pci_bus *bus, const struct state_node *node);
/* Port 0xcf9 lies within the address register and belongs to the reset control: accesses of one
 * byte to it go to handler.  NULL: all ones.  Before the VPs run. */
void pci_reset_control_set(struct pci_bus *bus, io_handler handler, void *context);

/* A function in a slot (0 to 31).  -EEXIST, -EINVAL, -ENOSPC, -ENOMEM.  Before the VPs run. */
int pci_function_new(struct pci_bus *bus, unsigned int slot, unsigned int function,
		     const struct pci_description *description, struct pci_function **out);
/* VPs paused. */
void pci_function_free(struct pci_function *function);
/* Configuration as at power-on: base addresses and command 0, the rest as pci_config_default set
 * it; the interrupt is taken back.  VPs paused. */
void pci_function_reset(struct pci_function *function);
/*
 * A register's value at power-on and the bits of it that the guest may write: those from 0x40 on,
 * and such of the header as differ from what the description makes (not the base addresses).
 * Bits of PCI_STATUS that may be set are cleared by writing ones whatever writable says.  Before
 * the VPs run.
 */
void pci_config_default(struct pci_function *function, unsigned int offset, uint8_t value,
			uint8_t writable);
uint8_t pci_config_byte(const struct pci_function *function, unsigned int offset); /* any thread */
/* By the device itself; not for base addresses and PCI_COMMAND.  Any thread. */
void pci_config_put(struct pci_function *function, unsigned int offset, uint8_t value);
/* Whether the guest lets it do DMA.  Any thread. */
bool pci_bus_master(const struct pci_function *function);
/* Where a BAR is decoded, 0: nowhere.  Any thread. */
uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar);
/* The level of its INTx#.  Any thread. */
void pci_interrupt(struct pci_function *function, bool asserted);
/* Puts configuration and interrupt into, and takes them from, the device's open node; moved is
 * called as for a guest's write.  -EINVAL for another device's.  VPs paused. */
void pci_function_save(struct pci_function *function, struct state_writer *writer);
int pci_function_restore(struct pci_function *function, const struct state_node *node);

/*
 * The ISA bridge says to which ISA interrupt PIRQ 0 to 3 (PIRQA# to PIRQD#) leads, a negative
 * number for none; INTx# of a slot leads to PIRQ (slot + pin - 2) & 3, where INTA# is pin 1.
 * route is called on any thread, with a leaf lock held: it may read configuration, no more.  NULL
 * takes it away.
 */
void pci_route_set(struct pci_bus *bus, int (*route)(void *context, unsigned int pirq),
		   void *context);
/* Other answers from route are to be had.  Any thread. */
void pci_routes_changed(struct pci_bus *bus);
