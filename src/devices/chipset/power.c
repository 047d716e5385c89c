#include <errno.h>
#include <stdlib.h>

#include "devices/chipset/chip.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * The sleep control, sleep status and reset registers of hardware-reduced ACPI (ACPI
 * specification, 4.8.3.7 and 4.8.3.6): power-off and reset.
 */

enum {
	SLEEP_CONTROL,
	SLEEP_STATUS,
	RESET,
	POWER_PORTS,
};

#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_MASK	 0x1c
#define SLEEP_ENABLE	 0x20 /* always reads as zero */

struct power {
	struct device_env env;
	uint8_t sleep_type; /* as last written, in its place */
};

static uint8_t power_read(void *chip, unsigned int offset)
{
	const struct power *power = chip;

	/* No sleep ever ends, so the wake bit of the status stays clear. */
	return offset == SLEEP_CONTROL ? power->sleep_type : 0;
}

static void write_sleep_control(struct power *power, uint8_t value)
{
	power->sleep_type = value & SLEEP_TYPE_MASK;
	if (value & SLEEP_ENABLE && power->sleep_type >> SLEEP_TYPE_SHIFT == MACHINE_SLEEP_TYPE_S5)
		power->env.events->power_off(power->env.context);
}

static void power_write(void *chip, unsigned int offset, uint8_t value)
{
	struct power *power = chip;

	if (offset == SLEEP_CONTROL)
		write_sleep_control(power, value);
	else if (offset == RESET && value == MACHINE_RESET_VALUE)
		power->env.events->reset(power->env.context);
}

static void power_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, power_read, power_write);
}

static int power_create(const struct device_env *env, const json_t *config, void **device,
			struct error *err)
{
	struct power *power = calloc(1, sizeof(*power));
	int rc;

	if (!power)
		return error_memory(err, "the power registers");
	power->env = *env;
	rc = io_bus_add(env->ports, MACHINE_PORT_SLEEP_CONTROL, POWER_PORTS, power_access, power);
	if (rc < 0) {
		free(power);
		return error_host(err, -rc, "cannot place the power registers");
	}
	*device = power;
	return 0;
}

static void power_destroy(void *device)
{
	struct power *power = device;

	io_bus_remove(power->env.ports, MACHINE_PORT_SLEEP_CONTROL);
	free(power);
}

static void power_reset(void *device)
{
	struct power *power = device;

	power->sleep_type = 0;
}

static void power_save(void *device, struct state_writer *writer)
{
	const struct power *power = device;

	state_put_u32(writer, "sleep-type", power->sleep_type);
}

static int power_restore(void *device, const struct state_node *node)
{
	struct power *power = device;
	uint32_t sleep_type;
	int rc = state_get_u32(node, "sleep-type", &sleep_type);

	if (rc < 0)
		return rc;
	if (sleep_type & ~(uint32_t)SLEEP_TYPE_MASK)
		return -EINVAL;
	power->sleep_type = (uint8_t)sleep_type;
	return 0;
}

const struct device_ops power_device = {
	.name = "power",
	.state_version = 1,
	.create = power_create,
	.destroy = power_destroy,
	.reset = power_reset,
	.save = power_save,
	.restore = power_restore,
};
