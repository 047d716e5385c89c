#include "devices/chipset/ged.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

#define EVENTS_SIZE 4
#define EVENTS_ALL  (MACHINE_GED_POWER_BUTTON | MACHINE_GED_VM_GENERATION)

struct ged {
	struct io_bus *ports;
	struct irq_line *line;
	atomic_uint events; /* not yet read by the guest */
};

static void raise_event(struct ged *ged, unsigned int event)
{
	atomic_fetch_or(&ged->events, event);
	irq_line_raise(ged->line);
}

void ged_press_power_button(void *device)
{
	raise_event(device, MACHINE_GED_POWER_BUTTON);
}

void ged_vm_generation_changed(void *device)
{
	raise_event(device, MACHINE_GED_VM_GENERATION);
}

/* The guest reads the register whole, which clears it; other accesses do nothing. */
static void ged_access(void *context, struct io_access *access)
{
	struct ged *ged = context;

	if (access->write)
		return;
	access->value = access->size == EVENTS_SIZE ? atomic_exchange(&ged->events, 0) : 0;
}

static int ged_create(const struct device_env *env, const json_t *config, void **device,
		      struct error *err)
{
	struct ged *ged = calloc(1, sizeof(*ged));
	int rc;

	if (!ged)
		return error_memory(err, "the event device");
	ged->ports = env->ports;
	rc = irq_line_new(env->irq, MACHINE_GSI_GED, &ged->line);
	if (rc < 0)
		goto fail;
	rc = io_bus_add(env->ports, MACHINE_PORT_GED_EVENTS, EVENTS_SIZE, ged_access, ged);
	if (rc < 0)
		goto fail;
	*device = ged;
	return 0;

fail:
	irq_line_free(ged->line);
	free(ged);
	return error_host(err, -rc, "cannot place the event device");
}

static void ged_destroy(void *device)
{
	struct ged *ged = device;

	io_bus_remove(ged->ports, MACHINE_PORT_GED_EVENTS);
	irq_line_free(ged->line);
	free(ged);
}

static void ged_reset(void *device)
{
	struct ged *ged = device;

	atomic_store(&ged->events, 0);
}

static void ged_save(void *device, struct state_writer *writer)
{
	struct ged *ged = device;

	state_put_u32(writer, "events", atomic_load(&ged->events));
}

static int ged_restore(void *device, const struct state_node *node)
{
	struct ged *ged = device;
	uint32_t events;
	int rc = state_get_u32(node, "events", &events);

	if (rc < 0)
		return rc;
	if (events & ~EVENTS_ALL)
		return -EINVAL;
	atomic_store(&ged->events, events);
	/* The edge may have been on its way; one too many finds nothing to do. */
	if (events)
		irq_line_raise(ged->line);
	return 0;
}

static void verb_press(void *device, const json_t *parameters, struct device_call *call)
{
	ged_press_power_button(device);
	call->reply(call, NULL);
}

static const struct device_verb verbs[] = {
	{"press-power-button", verb_press},
	{NULL, NULL},
};

const struct device_ops ged_device = {
	.name = "ged",
	.state_version = 1,
	.create = ged_create,
	.destroy = ged_destroy,
	.reset = ged_reset,
	.save = ged_save,
	.restore = ged_restore,
	.verbs = verbs,
};
