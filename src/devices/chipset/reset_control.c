#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * Two registers by which a PC is reset: system control port A (0x92, PS/2), which has the A20 gate
 * as well, and the PIIX4's reset control (0xcf9; data sheet 290562, 4.2.7), which lies within PCI's
 * address register.
 */

#define CONTROL_A_RESET (1u << 0) /* when it changes from 0 */
#define CONTROL_A_A20	(1u << 1)
#define CONTROL_A_BITS	(CONTROL_A_RESET | CONTROL_A_A20)

#define RESET_CONTROL_HARD (1u << 1)
#define RESET_CONTROL_NOW  (1u << 2) /* when it changes from 0 */
#define RESET_CONTROL_BITS (RESET_CONTROL_HARD | RESET_CONTROL_NOW)

struct reset_control {
	struct device_env env;
	pthread_mutex_t lock; /* the rest; a leaf */
	/* The gate is read as it was written; A20 itself is never masked, as KVM cannot do that. */
	uint8_t control_a;
	uint8_t reset_control;
};

/* Stores the bits of value that there are; whether trigger came with it. */
static bool rises(struct reset_control *control, uint8_t *stored, uint8_t bits, uint8_t trigger,
		  uint8_t value)
{
	bool risen;

	pthread_mutex_lock(&control->lock);
	risen = value & trigger && !(*stored & trigger);
	*stored = value & bits;
	pthread_mutex_unlock(&control->lock);
	return risen;
}

static uint8_t read_register(struct reset_control *control, const uint8_t *stored)
{
	uint8_t value;

	pthread_mutex_lock(&control->lock);
	value = *stored;
	pthread_mutex_unlock(&control->lock);
	return value;
}

static void access_register(struct reset_control *control, struct io_access *access,
			    uint8_t *stored, uint8_t bits, uint8_t trigger)
{
	if (!access->write)
		access->value = read_register(control, stored);
	else if (rises(control, stored, bits, trigger, (uint8_t)access->value))
		control->env.events->reset(control->env.context);
}

static void control_a_access(void *context, struct io_access *access)
{
	struct reset_control *control = context;

	access_register(control, access, &control->control_a, CONTROL_A_BITS, CONTROL_A_RESET);
}

static void reset_control_access(void *context, struct io_access *access)
{
	struct reset_control *control = context;

	access_register(control, access, &control->reset_control, RESET_CONTROL_BITS,
			RESET_CONTROL_NOW);
}

static int control_create(const struct device_env *env, const json_t *config, void **device,
			  struct error *err)
{
	struct reset_control *control = calloc(1, sizeof(*control));
	int rc;

	if (!control)
		return error_memory(err, "the reset registers");
	control->env = *env;
	pthread_mutex_init(&control->lock, NULL);
	rc = env->pci ? io_bus_add(env->ports, MACHINE_PORT_SYSTEM_CONTROL, 1, control_a_access,
				   control)
		      : -ENODEV;
	if (rc < 0) {
		pthread_mutex_destroy(&control->lock);
		free(control);
		return error_host(err, -rc, "cannot place the reset registers");
	}
	pci_reset_control_set(env->pci, reset_control_access, control);
	*device = control;
	return 0;
}

static void control_destroy(void *device)
{
	struct reset_control *control = device;

	pci_reset_control_set(control->env.pci, NULL, NULL);
	io_bus_remove(control->env.ports, MACHINE_PORT_SYSTEM_CONTROL);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

static void control_reset(void *device)
{
	struct reset_control *control = device;

	control->control_a = 0;
	control->reset_control = 0;
}

static void control_save(void *device, struct state_writer *writer)
{
	const struct reset_control *control = device;

	state_put_u32(writer, "control-a", control->control_a);
	state_put_u32(writer, "reset-control", control->reset_control);
}

static int control_restore(void *device, const struct state_node *node)
{
	struct reset_control *control = device;
	uint32_t control_a, reset_control;
	int rc = state_get_u32(node, "control-a", &control_a);

	if (rc == 0)
		rc = state_get_u32(node, "reset-control", &reset_control);
	if (rc < 0)
		return rc;
	if (control_a & ~CONTROL_A_BITS || reset_control & ~RESET_CONTROL_BITS)
		return -EINVAL;
	control->control_a = (uint8_t)control_a;
	control->reset_control = (uint8_t)reset_control;
	return 0;
}

const struct device_ops reset_control_device = {
	.name = "reset_control",
	.state_version = 1,
	.create = control_create,
	.destroy = control_destroy,
	.reset = control_reset,
	.save = control_save,
	.restore = control_restore,
};
