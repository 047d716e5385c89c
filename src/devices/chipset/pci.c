#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/pci_internal.h"
#include "vmm/machine.h"

/* A window's access: goes to the BAR that it lies in, or to nobody. */
static void window_access(struct pci_bus *bus, enum io_space space, struct io_access *access)
{
	const struct pci_bar *bar = NULL;
	void *context = NULL;

	pthread_mutex_lock(&bus->config_lock);
	for (unsigned int i = 0; !bar && i < bus->function_count * PCI_BARS; i++) {
		const struct pci_function *f = bus->functions[i / PCI_BARS];
		const struct pci_bar *b = &f->description.bars[i % PCI_BARS];
		uint64_t start = f->decoded[i % PCI_BARS];

		if (start == 0 || b->space != space || access->address < start ||
		    !range_within(access->address - start, access->size, b->size))
			continue;
		bar = b;
		context = f->description.context;
		access->offset = access->address - start;
	}
	pthread_mutex_unlock(&bus->config_lock);
	if (bar)
		bar->handler(context, access);
}

static void port_window_access(void *context, struct io_access *access)
{
	window_access(context, IO_PORT, access);
}

static void memory_window_access(void *context, struct io_access *access)
{
	window_access(context, IO_MMIO, access);
}

/* The bus's own places. */
static const struct place {
	enum io_space space;
	uint64_t start, length;
	io_handler handler;
} places[] = {
	{IO_PORT, MACHINE_PORT_PCI_ADDRESS, 4, pci_address_access},
	{IO_PORT, MACHINE_PORT_PCI_DATA, 4, pci_data_access},
	{IO_PORT, MACHINE_PCI_PORTS_BASE, MACHINE_PCI_PORTS_SIZE, port_window_access},
	{IO_MMIO, MACHINE_PCI_LOW_BASE, MACHINE_PCI_LOW_SIZE, memory_window_access},
	{IO_MMIO, MACHINE_PCI_HIGH_BASE, MACHINE_PCI_HIGH_SIZE, memory_window_access},
};

static struct io_bus *bus_of(struct pci_bus *bus, const struct place *place)
{
	return place->space == IO_PORT ? bus->ports : bus->mmio;
}

static void leave_places(struct pci_bus *bus, size_t count)
{
	while (count-- > 0)
		io_bus_remove(bus_of(bus, &places[count]), places[count].start);
}

static int take_places(struct pci_bus *bus)
{
	for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
		int rc = io_bus_add(bus_of(bus, &places[i]), places[i].start, places[i].length,
				    places[i].handler, bus);

		if (rc < 0) {
			leave_places(bus, i);
			return rc;
		}
	}
	return 0;
}

static void free_bus(struct pci_bus *bus)
{
	for (unsigned int i = 0; i < PCI_ISA_IRQS; i++)
		irq_level_free(bus->levels[i]);
	pthread_mutex_destroy(&bus->interrupt_lock);
	pthread_mutex_destroy(&bus->config_lock);
	pthread_mutex_destroy(&bus->write_lock);
	free(bus);
}

int pci_bus_new(struct io_bus *ports, struct io_bus *mmio, struct irq_controller *irq,
		struct pci_bus **out)
{
	struct pci_bus *bus = calloc(1, sizeof(*bus));
	int rc = 0;

	if (!bus)
		return -ENOMEM;
	bus->ports = ports;
	bus->mmio = mmio;
	pthread_mutex_init(&bus->write_lock, NULL);
	pthread_mutex_init(&bus->config_lock, NULL);
	pthread_mutex_init(&bus->interrupt_lock, NULL);
	for (unsigned int i = 0; rc == 0 && i < PCI_ISA_IRQS; i++)
		rc = irq_level_new(irq, i, &bus->levels[i]);
	if (rc == 0)
		rc = take_places(bus);
	if (rc < 0) {
		free_bus(bus);
		return rc;
	}
	*out = bus;
	return 0;
}

void pci_bus_free(struct pci_bus *bus)
{
	if (!bus)
		return;
	assert(bus->function_count == 0);
	leave_places(bus, ARRAY_LENGTH(places));
	free_bus(bus);
}

void pci_bus_reset(struct pci_bus *bus)
{
	bus->address = 0;
}

void pci_bus_save(const struct pci_bus *bus, struct state_writer *writer)
{
	state_put_u32(writer, "pci-address", bus->address);
}

int pci_bus_restore(struct pci_bus *bus, const struct state_node *node)
{
	return state_get_u32(node, "pci-address", &bus->address);
}

void pci_reset_control_set(struct pci_bus *bus, io_handler handler, void *context)
{
	bus->reset_handler = handler;
	bus->reset_context = context;
}

/* Where among the functions one of that slot and number is, or would be. */
static unsigned int place_of(const struct pci_bus *bus, unsigned int slot, unsigned int number)
{
	unsigned int at = 0;

	while (at < bus->function_count &&
	       bus->functions[at]->slot * 8 + bus->functions[at]->number < slot * 8 + number)
		at++;
	return at;
}

int pci_function_new(struct pci_bus *bus, unsigned int slot, unsigned int function,
		     const struct pci_description *description, struct pci_function **out)
{
	unsigned int at = place_of(bus, slot, function);
	struct pci_function *f;

	if (slot > 31 || function > 7)
		return -EINVAL;
	if (at < bus->function_count && bus->functions[at]->slot == slot &&
	    bus->functions[at]->number == function)
		return -EEXIST;
	if (bus->function_count == PCI_FUNCTIONS_MAX)
		return -ENOSPC;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->bus = bus;
	f->slot = slot;
	f->number = function;
	f->description = *description;
	pci_config_describe(f);
	memmove(&bus->functions[at + 1], &bus->functions[at],
		(bus->function_count - at) * sizeof(bus->functions[0]));
	bus->functions[at] = f;
	bus->function_count++;
	*out = f;
	return 0;
}

void pci_function_free(struct pci_function *function)
{
	struct pci_bus *bus;
	unsigned int at;

	if (!function)
		return;
	bus = function->bus;
	at = place_of(bus, function->slot, function->number);
	pci_interrupt(function, false);
	bus->function_count--;
	memmove(&bus->functions[at], &bus->functions[at + 1],
		(bus->function_count - at) * sizeof(bus->functions[0]));
	free(function);
}

void pci_function_reset(struct pci_function *function)
{
	pci_config_set(function, function->power_on);
	pci_interrupt(function, false);
}

void pci_function_save(struct pci_function *function, struct state_writer *writer)
{
	state_put_bytes(writer, "pci-config", function->config, sizeof(function->config));
	state_put_u32(writer, "pci-interrupt", function->interrupt);
}

int pci_function_restore(struct pci_function *function, const struct state_node *node)
{
	uint8_t config[PCI_CONFIG_BYTES];
	uint32_t interrupt = 0;
	int rc = state_get_bytes(node, "pci-config", config, sizeof(config));

	if (rc == 0)
		rc = state_get_u32(node, "pci-interrupt", &interrupt);
	if (rc < 0)
		return rc;
	/* Vendor and device. */
	if (memcmp(config, function->power_on, PCI_COMMAND) != 0 || interrupt > 1)
		return -EINVAL;
	pci_config_set(function, config);
	pci_interrupt(function, interrupt != 0);
	return 0;
}
