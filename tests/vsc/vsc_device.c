#include "vsc_device.h"

#include "vsc_machine.h"

struct creation {
	const struct device_ops *ops;
	struct device_env env;
	const json_t *config;
	void *device;
	struct error err;
	int result;
};

static void create(void *context)
{
	struct creation *c = context;

	c->result = c->ops->create(&c->env, c->config, &c->device, &c->err);
}

int vsc_device_create(struct vsc *vsc, const struct device_ops *ops, const struct device_env *env,
		      json_t *config, void **device, struct error *err)
{
	struct creation c = {.ops = ops, .env = *env, .config = config};

	c.env.gpa = vsc_gpa(vsc);
	c.env.loop = vsc_loop(vsc);
	c.env.bus = vsc_vmbus(vsc);
	c.env.hv = vsc_hv(vsc);
	vsc_main(vsc, create, &c);
	json_decref(config);
	if (c.result == 0)
		*device = c.device;
	else if (err)
		*err = c.err;
	return c.result;
}

struct device_run {
	void (*function)(void *device);
	void *device;
};

static void run_on_device(void *context)
{
	struct device_run *run = context;

	run->function(run->device);
}

void vsc_device_do(struct vsc *vsc, void (*function)(void *device), void *device)
{
	struct device_run run = {function, device};

	vsc_main(vsc, run_on_device, &run);
}
