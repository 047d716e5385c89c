#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/pci_internal.h"
#include "vmm/machine.h"

#define ADDRESS_ENABLE	      0x80000000u
#define ADDRESS_BUS	      0x00ff0000u
#define ADDRESS_RESERVED      0x7f000003u
#define ADDRESS_RESET_CONTROL 1u /* the byte of it that is port 0xcf9 */

#define COMMAND_PARITY (1u << 6)
#define COMMAND_SERR   1u    /* of the upper byte */
#define STATUS_CLEARED 0xf9u /* bits of the upper byte that ones clear (PCI 3.0, 6.2.3) */

#define BAR_IO		     1u
#define BAR_PREFETCHABLE     8u
#define BAR_IO_FLAGS	     3u
#define BAR_MEMORY_FLAGS     15u
#define HEADER_MULTIFUNCTION 0x80u

static void set_power_on(struct pci_function *f, unsigned int offset, unsigned int size,
			 uint32_t value)
{
	for (unsigned int i = 0; i < size; i++)
		f->power_on[offset + i] = (uint8_t)(value >> (8 * i));
}

static void describe_bar(struct pci_function *f, unsigned int index)
{
	const struct pci_bar *bar = &f->description.bars[index];
	unsigned int offset = PCI_BAR0 + 4 * index;
	uint32_t mask = ~(bar->size - 1);

	if (bar->size == 0)
		return;
	assert((bar->size & (bar->size - 1)) == 0);
	assert(bar->size > (bar->space == IO_PORT ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS));
	if (bar->space == IO_PORT)
		set_power_on(f, offset, 4, BAR_IO);
	else
		set_power_on(f, offset, 4, bar->prefetchable ? BAR_PREFETCHABLE : 0);
	for (unsigned int i = 0; i < 4; i++)
		f->writable[offset + i] = (uint8_t)(mask >> (8 * i));
}

void pci_config_describe(struct pci_function *function)
{
	struct pci_function *f = function;
	const struct pci_description *d = &f->description;
	unsigned int spaces = 0;

	set_power_on(f, PCI_VENDOR_ID, 2, d->vendor);
	set_power_on(f, PCI_DEVICE_ID, 2, d->device);
	set_power_on(f, PCI_REVISION, 1, d->revision);
	set_power_on(f, PCI_CLASS_CODE, 3, d->class_code);
	set_power_on(f, PCI_HEADER_TYPE, 1, d->multifunction ? HEADER_MULTIFUNCTION : 0);
	set_power_on(f, PCI_SUBSYSTEM, 2, d->subsystem_vendor);
	set_power_on(f, PCI_SUBSYSTEM + 2, 2, d->subsystem);
	set_power_on(f, PCI_INTERRUPT_PIN, 1, d->interrupt_pin);
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		describe_bar(f, i);
		if (d->bars[i].size != 0)
			spaces |= d->bars[i].space == IO_PORT ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	f->writable[PCI_COMMAND] = (uint8_t)(spaces | PCI_COMMAND_MASTER | COMMAND_PARITY);
	f->writable[PCI_COMMAND + 1] = COMMAND_SERR;
	f->writable[PCI_CACHE_LINE] = 0xff;
	f->writable[PCI_LATENCY] = 0xff;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
	memcpy(f->config, f->power_on, sizeof(f->config));
}

void pci_config_default(struct pci_function *function, unsigned int offset, uint8_t value,
			uint8_t writable)
{
	assert(offset < PCI_CONFIG_BYTES);
	function->power_on[offset] = value;
	function->writable[offset] = writable;
	function->config[offset] = value;
}

static bool in_windows(enum io_space space, uint64_t address, uint64_t size)
{
	if (space == IO_PORT)
		return address >= MACHINE_PCI_PORTS_BASE &&
		       range_within(address - MACHINE_PCI_PORTS_BASE, size, MACHINE_PCI_PORTS_SIZE);
	return (address >= MACHINE_PCI_LOW_BASE &&
		range_within(address - MACHINE_PCI_LOW_BASE, size, MACHINE_PCI_LOW_SIZE)) ||
	       (address >= MACHINE_PCI_HIGH_BASE &&
		range_within(address - MACHINE_PCI_HIGH_BASE, size, MACHINE_PCI_HIGH_SIZE));
}

/* Where the configuration now places a BAR. */
static uint64_t placed(const struct pci_function *f, unsigned int index)
{
	const struct pci_bar *bar = &f->description.bars[index];
	unsigned int enable = bar->space == IO_PORT ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint32_t address;

	if (bar->size == 0 || !(f->config[PCI_COMMAND] & enable))
		return 0;
	address = get_le32(f->config + PCI_BAR0 + 4 * index) & ~(bar->size - 1);
	return in_windows(bar->space, address, bar->size) ? address : 0;
}

/* Which BARs are decoded elsewhere than before, as bits.  With config_lock held. */
static unsigned int decode(struct pci_function *f)
{
	unsigned int changed = 0;

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		uint64_t address = placed(f, i);

		if (address != f->decoded[i])
			changed |= 1u << i;
		f->decoded[i] = address;
	}
	return changed;
}

/* With write_lock held, under which alone decoded changes. */
static void tell_moved(struct pci_function *f, unsigned int changed)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &f->description.bars[i];

		if (changed & 1u << i && bar->moved)
			bar->moved(f->description.context, f->decoded[i]);
	}
}

void pci_config_set(struct pci_function *function, const uint8_t config[PCI_CONFIG_BYTES])
{
	struct pci_bus *bus = function->bus;
	unsigned int changed;

	pthread_mutex_lock(&bus->write_lock);
	pthread_mutex_lock(&bus->config_lock);
	memcpy(function->config, config, sizeof(function->config));
	/* Base addresses keep their kind and size, whatever a saved state says. */
	for (unsigned int i = PCI_BAR0; i < PCI_BAR0 + 4 * PCI_BARS; i++)
		function->config[i] = (config[i] & function->writable[i]) |
				      (function->power_on[i] & ~function->writable[i]);
	changed = decode(function);
	pthread_mutex_unlock(&bus->config_lock);
	tell_moved(function, changed);
	pthread_mutex_unlock(&bus->write_lock);
}

static void write_byte(struct pci_function *f, unsigned int offset, uint8_t value)
{
	uint8_t mask = f->writable[offset];

	if (offset == PCI_STATUS + 1)
		f->config[offset] &= (uint8_t) ~(value & STATUS_CLEARED);
	else
		f->config[offset] = (uint8_t)((f->config[offset] & ~mask) | (value & mask));
}

static void write_config(struct pci_function *f, unsigned int offset, unsigned int size,
			 uint64_t value)
{
	struct pci_bus *bus = f->bus;
	unsigned int changed;

	pthread_mutex_lock(&bus->write_lock);
	pthread_mutex_lock(&bus->config_lock);
	for (unsigned int i = 0; i < size; i++)
		write_byte(f, offset + i, (uint8_t)(value >> (8 * i)));
	changed = decode(f);
	pthread_mutex_unlock(&bus->config_lock);
	tell_moved(f, changed);
	if (f->description.config_written)
		f->description.config_written(f->description.context, offset, size);
	pthread_mutex_unlock(&bus->write_lock);
}

static uint64_t read_config(const struct pci_function *f, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	pthread_mutex_lock(&f->bus->config_lock);
	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)f->config[offset + i] << (8 * i);
	pthread_mutex_unlock(&f->bus->config_lock);
	return value;
}

void pci_address_access(void *context, struct io_access *access)
{
	struct pci_bus *bus = context;

	if (access->size == 1 && access->offset == ADDRESS_RESET_CONTROL && bus->reset_handler) {
		bus->reset_handler(bus->reset_context, access);
		return;
	}
	/* Other than whole, it is no access to this register (PCI 3.0, 3.2.2.3.2). */
	if (access->size != 4)
		return;
	pthread_mutex_lock(&bus->config_lock);
	if (access->write)
		bus->address = (uint32_t)access->value & ~ADDRESS_RESERVED;
	else
		access->value = bus->address;
	pthread_mutex_unlock(&bus->config_lock);
}

/* The function that the address register selects, or NULL. */
static struct pci_function *selected(struct pci_bus *bus, uint32_t *address)
{
	pthread_mutex_lock(&bus->config_lock);
	*address = bus->address;
	pthread_mutex_unlock(&bus->config_lock);
	if ((*address & (ADDRESS_ENABLE | ADDRESS_BUS)) != ADDRESS_ENABLE)
		return NULL;
	for (unsigned int i = 0; i < bus->function_count; i++) {
		struct pci_function *f = bus->functions[i];

		if (f->slot == (*address >> 11 & 31) && f->number == (*address >> 8 & 7))
			return f;
	}
	return NULL;
}

void pci_data_access(void *context, struct io_access *access)
{
	uint32_t address;
	struct pci_function *f = selected(context, &address);
	unsigned int offset = (address & 0xfc) + (unsigned int)access->offset;

	if (f && access->write)
		write_config(f, offset, access->size, access->value);
	else if (f)
		access->value = read_config(f, offset, access->size);
}

uint8_t pci_config_byte(const struct pci_function *function, unsigned int offset)
{
	assert(offset < PCI_CONFIG_BYTES);
	return (uint8_t)read_config(function, offset, 1);
}

void pci_config_put(struct pci_function *function, unsigned int offset, uint8_t value)
{
	assert(offset < PCI_CONFIG_BYTES);
	pthread_mutex_lock(&function->bus->config_lock);
	function->config[offset] = value;
	pthread_mutex_unlock(&function->bus->config_lock);
}

bool pci_bus_master(const struct pci_function *function)
{
	return pci_config_byte(function, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

uint64_t pci_bar_address(const struct pci_function *function, unsigned int bar)
{
	uint64_t address;

	pthread_mutex_lock(&function->bus->config_lock);
	address = function->decoded[bar];
	pthread_mutex_unlock(&function->bus->config_lock);
	return address;
}
