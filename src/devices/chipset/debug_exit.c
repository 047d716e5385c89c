#include <errno.h>
#include <stdlib.h>

#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/* A port at which a test payload ends its machine with an exit code.  It has no state. */

struct debug_exit {
	struct device_env env;
};

static void debug_exit_access(void *context, struct io_access *access)
{
	const struct debug_exit *debug_exit = context;

	if (access->write)
		debug_exit->env.events->debug_exit(debug_exit->env.context, (uint8_t)access->value);
	else
		access->value = 0;
}

static int debug_exit_create(const struct device_env *env, const json_t *config, void **device,
			     struct error *err)
{
	struct debug_exit *debug_exit = calloc(1, sizeof(*debug_exit));
	int rc;

	if (!debug_exit)
		return error_memory(err, "the debug-exit port");
	debug_exit->env = *env;
	rc = io_bus_add(env->ports, MACHINE_PORT_DEBUG_EXIT, 1, debug_exit_access, debug_exit);
	if (rc < 0) {
		free(debug_exit);
		return error_host(err, -rc, "cannot place the debug-exit port");
	}
	*device = debug_exit;
	return 0;
}

static void debug_exit_destroy(void *device)
{
	struct debug_exit *debug_exit = device;

	io_bus_remove(debug_exit->env.ports, MACHINE_PORT_DEBUG_EXIT);
	free(debug_exit);
}

static void debug_exit_reset(void *device)
{
}

static void debug_exit_save(void *device, struct state_writer *writer)
{
}

static int debug_exit_restore(void *device, const struct state_node *node)
{
	return 0;
}

const struct device_ops debug_exit_device = {
	.name = "debug_exit",
	.state_version = 1,
	.create = debug_exit_create,
	.destroy = debug_exit_destroy,
	.reset = debug_exit_reset,
	.save = debug_exit_save,
	.restore = debug_exit_restore,
};
