#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/pci.h"
#include "devices/chipset/piix4_acpi.h"
#include "devices/chipset/piix4_smbus.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * The PIIX4's power management function (Intel 82371AB data sheet, 4.4): the PM block
 * (piix4_acpi.h), the SMBus, and the port by which a guest asks for ACPI.
 *
 * The two blocks of ports are decoded at the one place that firmware gives them, MACHINE_PORT_PM
 * and MACHINE_PORT_SMBUS; moved elsewhere by a guest they are nowhere.
 */

#define SLOT	 7u
#define FUNCTION 3u

/* Its configuration. */
#define CONFIG_PM_BASE	    0x40u
#define CONFIG_PM_ENABLE    0x80u
#define CONFIG_SMBUS_BASE   0x90u
#define CONFIG_SMBUS_ENABLE 0xd2u
#define CONFIG_ENABLED	    0x01u
#define CONFIG_IO	    0x01u /* of a base: it is one of ports */

#define APM_PORTS 2u

/* Configuration as at power-on, and what of it a guest may write. */
static const struct {
	uint8_t offset, value, writable;
} config_registers[] = {
	{PCI_COMMAND, 0x00, 0x01},
	{PCI_STATUS, 0x80, 0x00},
	{PCI_STATUS + 1, 0x02, 0x00},
	{CONFIG_PM_BASE, CONFIG_IO, 0xc0},
	{CONFIG_PM_BASE + 1, 0x00, 0xff},
	{0x58, 0x00, 0xff}, /* device activity */
	{0x59, 0x00, 0xff},
	{0x5a, 0x00, 0xff},
	/* The APM port's interrupt to system management is on: firmware that finds it so has
	 * nothing to set up there, and there is no such mode. */
	{0x5b, 0x02, 0xff},
	{CONFIG_PM_ENABLE, 0x00, CONFIG_ENABLED},
	{CONFIG_SMBUS_BASE, CONFIG_IO, 0xf0},
	{CONFIG_SMBUS_BASE + 1, 0x00, 0xff},
	{CONFIG_SMBUS_ENABLE, 0x00, 0x0f},
	{0xd3, 0x00, 0xff},
	{0xd4, 0x00, 0xff},
	{0xd5, 0x00, 0xff},
};

struct pm {
	struct device_env env;
	struct pci_function *function;
	struct pm_block block;
	atomic_bool pm_decoded; /* at their places, as the configuration says */
	atomic_bool smbus_decoded;

	pthread_mutex_t lock; /* everything below, among VPs; a leaf */
	uint8_t apm[APM_PORTS];
	struct smbus smbus;
};

static void pm_access(void *context, struct io_access *access)
{
	struct pm *pm = context;

	if (atomic_load(&pm->pm_decoded)) {
		if (pm_block_access(&pm->block, access))
			pm->env.events->power_off(pm->env.context);
	} else if (!access->write) {
		access->value = UINT64_MAX;
	}
}

static uint8_t smbus_port_read(void *chip, unsigned int offset)
{
	struct pm *pm = chip;
	uint8_t value = 0xff;

	if (offset >= SMBUS_REGISTERS || !atomic_load(&pm->smbus_decoded))
		return value;
	pthread_mutex_lock(&pm->lock);
	value = smbus_read(&pm->smbus, offset);
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void smbus_port_write(void *chip, unsigned int offset, uint8_t value)
{
	struct pm *pm = chip;

	if (offset >= SMBUS_REGISTERS || !atomic_load(&pm->smbus_decoded))
		return;
	pthread_mutex_lock(&pm->lock);
	smbus_write(&pm->smbus, offset, value);
	pthread_mutex_unlock(&pm->lock);
}

static void smbus_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, smbus_port_read, smbus_port_write);
}

static uint8_t apm_read(void *chip, unsigned int offset)
{
	struct pm *pm = chip;
	uint8_t value;

	pthread_mutex_lock(&pm->lock);
	value = offset < APM_PORTS ? pm->apm[offset] : 0xff;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

/* Where a PC's firmware would run in system management mode, the bit is set at once. */
static void apm_write(void *chip, unsigned int offset, uint8_t value)
{
	struct pm *pm = chip;

	if (offset >= APM_PORTS)
		return;
	pthread_mutex_lock(&pm->lock);
	pm->apm[offset] = value;
	pthread_mutex_unlock(&pm->lock);
	if (offset != 0)
		return;
	if (value == MACHINE_APM_ACPI_ENABLE)
		pm_block_set_acpi(&pm->block, true);
	else if (value == MACHINE_APM_ACPI_DISABLE)
		pm_block_set_acpi(&pm->block, false);
}

static void apm_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, apm_read, apm_write);
}

static bool is_placed(const struct pci_function *function, unsigned int base, unsigned int enable,
		      uint32_t place)
{
	uint32_t address = pci_config_byte(function, base) & ~CONFIG_IO;

	address |= (uint32_t)pci_config_byte(function, base + 1) << 8;
	return address == place && pci_config_byte(function, enable) & CONFIG_ENABLED;
}

/* After the configuration changed. */
static void decode(struct pm *pm)
{
	atomic_store(&pm->pm_decoded,
		     is_placed(pm->function, CONFIG_PM_BASE, CONFIG_PM_ENABLE, MACHINE_PORT_PM));
	atomic_store(&pm->smbus_decoded, is_placed(pm->function, CONFIG_SMBUS_BASE,
						   CONFIG_SMBUS_ENABLE, MACHINE_PORT_SMBUS));
}

static void pm_config_written(void *context, unsigned int offset, unsigned int size)
{
	(void)offset;
	(void)size;
	decode(context);
}

static int add_function(struct pm *pm)
{
	const struct pci_description description = {
		.vendor = 0x8086,
		.device = 0x7113,
		.class_code = 0x068000,
		.revision = 3,
		.interrupt_pin = 1,
		.config_written = pm_config_written,
		.context = pm,
	};
	int r = pci_function_new(pm->env.pci, SLOT, FUNCTION, &description, &pm->function);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LENGTH(config_registers); i++)
		pci_config_default(pm->function, config_registers[i].offset,
				   config_registers[i].value, config_registers[i].writable);
	return 0;
}

static const struct {
	uint16_t port, count;
	io_handler handler;
} places[] = {
	{MACHINE_PORT_PM, PM_BLOCK_PORTS, pm_access},
	{MACHINE_PORT_SMBUS, SMBUS_REGISTERS, smbus_access},
	{MACHINE_PORT_APM_CONTROL, APM_PORTS, apm_access},
};

static void leave_places(struct pm *pm, size_t count)
{
	while (count-- > 0)
		io_bus_remove(pm->env.ports, places[count].port);
}

static int take_places(struct pm *pm)
{
	for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
		int r = io_bus_add(pm->env.ports, places[i].port, places[i].count,
				   places[i].handler, pm);

		if (r < 0) {
			leave_places(pm, i);
			return r;
		}
	}
	return 0;
}

/* The parts in order, and back in reverse where one fails. */
static int place(struct pm *pm)
{
	int r = pm_block_init(&pm->block, pm->env.irq, pm->env.loop);

	if (r < 0)
		return r;
	r = add_function(pm);
	if (r < 0)
		goto no_function;
	r = take_places(pm);
	if (r < 0)
		goto no_places;
	return 0;

no_places:
	pci_function_free(pm->function);
no_function:
	pm_block_cleanup(&pm->block);
	return r;
}

static int pm_create(const struct device_env *env, const json_t *config, void **device,
		     struct error *err)
{
	struct pm *pm;
	int r;

	(void)config;
	if (!env->pci)
		return error_set(
			err, EINVAL,
			"the PIIX4's power management is for a Generation 1 VM; make it one");
	pm = calloc(1, sizeof(*pm));
	if (!pm)
		return error_memory(err, "the power management");
	pm->env = *env;
	pthread_mutex_init(&pm->lock, NULL);
	r = place(pm);
	if (r < 0) {
		pthread_mutex_destroy(&pm->lock);
		free(pm);
		return error_host(err, -r, "cannot place the power management");
	}
	*device = pm;
	return 0;
}

static void pm_destroy(void *device)
{
	struct pm *pm = device;

	leave_places(pm, ARRAY_LENGTH(places));
	pci_function_free(pm->function);
	pm_block_cleanup(&pm->block);
	pthread_mutex_destroy(&pm->lock);
	free(pm);
}

static void pm_reset(void *device)
{
	struct pm *pm = device;

	pci_function_reset(pm->function);
	decode(pm);
	pm_block_reset(&pm->block);
	smbus_reset(&pm->smbus);
	memset(pm->apm, 0, sizeof(pm->apm));
}

static void pm_save(void *device, struct state_writer *writer)
{
	struct pm *pm = device;

	pci_function_save(pm->function, writer);
	pm_block_save(&pm->block, writer);
	state_put_bytes(writer, "apm", pm->apm, sizeof(pm->apm));
	state_put_bytes(writer, "smbus", pm->smbus.registers, sizeof(pm->smbus.registers));
}

static int pm_restore(void *device, const struct state_node *node)
{
	struct pm *pm = device;
	struct smbus smbus;
	uint8_t apm[APM_PORTS];
	int r = state_get_bytes(node, "apm", apm, sizeof(apm));

	if (r == 0)
		r = state_get_bytes(node, "smbus", smbus.registers, sizeof(smbus.registers));
	if (r == 0)
		r = pm_block_restore(&pm->block, node);
	if (r == 0)
		r = pci_function_restore(pm->function, node);
	if (r < 0)
		return r;
	memcpy(pm->apm, apm, sizeof(apm));
	pm->smbus = smbus;
	decode(pm);
	return 0;
}

static void pm_quiesce(void *device)
{
	struct pm *pm = device;

	pm_block_hold(&pm->block, true);
}

static void pm_unquiesce(void *device)
{
	struct pm *pm = device;

	pm_block_hold(&pm->block, false);
}

static void verb_press(void *device, const json_t *parameters, struct device_call *call)
{
	struct pm *pm = device;

	(void)parameters;
	pm_block_press_power_button(&pm->block);
	call->reply(call, NULL);
}

static const struct device_verb verbs[] = {
	{"press-power-button", verb_press},
	{NULL, NULL},
};

const struct device_ops piix4_pm_device = {
	.name = "piix4_pm",
	.state_version = 1,
	.create = pm_create,
	.destroy = pm_destroy,
	.reset = pm_reset,
	.save = pm_save,
	.restore = pm_restore,
	.quiesce = pm_quiesce,
	.unquiesce = pm_unquiesce,
	.verbs = verbs,
};
