#pragma once

#include <pthread.h>

#include "devices/chipset/pci.h"

/* What pci.c (bus and functions), pci_config.c (configuration) and pci_interrupt.c share. */

#define PCI_FUNCTIONS_MAX 32u
#define PCI_PIRQS	  4u
#define PCI_ISA_IRQS	  16u

struct pci_function {
	struct pci_bus *bus;
	unsigned int slot, number;
	struct pci_description description;
	uint8_t power_on[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];

	uint8_t config[PCI_CONFIG_BYTES]; /* under config_lock */
	uint64_t decoded[PCI_BARS];	  /* the same: addresses, 0 for nowhere */
	bool interrupt;			  /* under interrupt_lock */
};

struct pci_bus {
	struct io_bus *ports;
	struct io_bus *mmio;
	io_handler reset_handler; /* of port 0xcf9 */
	void *reset_context;

	/* By slot and number; changes only while VPs do not run. */
	struct pci_function *functions[PCI_FUNCTIONS_MAX];
	unsigned int function_count;

	pthread_mutex_t write_lock;  /* held over a write to configuration and its callbacks */
	pthread_mutex_t config_lock; /* a leaf: address, config and decoded of all functions */
	uint32_t address;

	pthread_mutex_t interrupt_lock; /* before irq's and config_lock */
	int (*route)(void *context, unsigned int pirq);
	void *route_context;
	unsigned int pirq_holders[PCI_PIRQS];
	struct irq_level *levels[PCI_ISA_IRQS];
};

/* What the header says by description, and which of its bits are writable.  Before it is used. */
void pci_config_describe(struct pci_function *function);
/* Replaces the configuration and tells what moved.  VPs paused. */
void pci_config_set(struct pci_function *function, const uint8_t config[PCI_CONFIG_BYTES]);
/* Ports 0xcf8 to 0xcfb, and 0xcfc to 0xcff. */
void pci_address_access(void *bus, struct io_access *access);
void pci_data_access(void *bus, struct io_access *access);
