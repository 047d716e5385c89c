#include "devices/vsp/ic_device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/table.h"

#define FIGURES_VERSION 1

static const struct ic_ops *const components[] = {
	&ic_shutdown, &ic_timesync, &ic_heartbeat, &ic_kvp, &ic_vss, &ic_fcopy,
};
static_assert(ARRAY_LENGTH(components) == IC_COMPONENTS, "one place for each");

struct ic *integration_component(const struct integration *integration, const struct ic_ops *ops)
{
	for (size_t i = 0; i < IC_COMPONENTS; i++)
		if (components[i] == ops)
			return integration->components[i];
	return NULL;
}

struct ic *integration_find(const struct integration *integration, const struct ic_ops *ops,
			    struct error *err)
{
	struct ic *ic = integration_component(integration, ops);

	if (ic && !integration->held)
		return ic;
	if (ic)
		error_set(err, EBUSY, "it is paused: resume it first");
	else
		error_set(err, ENOTSUP, "the integration service %s is turned off for this VM",
			  ops->name);
	return NULL;
}

void integration_refuse(struct device_call *call, const struct error *err)
{
	call->refuse(call, err->text);
}

static void on_wakeup(void *context, uint32_t events)
{
	struct integration *integration = context;
	eventfd_t count;

	eventfd_read(integration->wakeup, &count);
	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		struct ic *ic = integration->components[i];

		if (ic)
			ic_receive(ic);
		if (ic && ic->ops->woken)
			ic->ops->woken(ic);
	}
}

static int read_version(struct ic *ic, const json_t *config, struct error *err)
{
	const char *text = json_string_value(json_object_get(config, "max_version"));
	char version[16];

	if (!text)
		return 0;
	for (unsigned int i = 0; i < ic->ops->version_count; i++) {
		snprintf(version, sizeof(version), "%u.%u", ic->ops->versions[i].major,
			 ic->ops->versions[i].minor);
		if (strcmp(version, text) == 0) {
			ic->version_first = i;
			return 0;
		}
	}
	return error_set(err, EINVAL, "the integration service %s has no version \"%.20s\"",
			 ic->ops->name, text);
}

static int add_component(struct integration *integration, size_t index, const json_t *config,
			 struct error *err)
{
	struct ic *ic;
	int r;

	if (integration->components[index])
		return error_set(err, EEXIST, "the integration service %s is named twice",
				 components[index]->name);
	ic = calloc(1, components[index]->size);
	if (!ic)
		return error_memory(err, "the integration services");
	ic->ops = components[index];
	ic->env = &integration->env;
	ic->wakeup = integration->wakeup;
	ic->paused = &integration->paused;
	r = read_version(ic, config, err);
	if (r == 0)
		r = ic_init(ic, err);
	if (r < 0) {
		free(ic);
		return r;
	}
	integration->components[index] = ic;
	return 0;
}

static int add_named(struct integration *integration, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "name"));

	for (size_t i = 0; name && i < IC_COMPONENTS; i++) {
		if (strcmp(components[i]->name, name) == 0)
			return add_component(integration, i, config, err);
	}
	return error_set(err, ENOENT, "there is no integration service \"%.40s\"",
			 name ? name : "");
}

static int add_components(struct integration *integration, const json_t *config, struct error *err)
{
	const json_t *list = json_object_get(config, "components"), *component;
	size_t index;
	int r = 0;

	for (size_t i = 0; !list && r == 0 && i < IC_COMPONENTS; i++)
		r = add_component(integration, i, NULL, err);
	json_array_foreach((json_t *)list, index, component)
	{
		r = add_named(integration, component, err);
		if (r < 0)
			break;
	}
	return r;
}

static void integration_destroy(void *device)
{
	struct integration *integration = device;

	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (integration->components[i])
			ic_cleanup(integration->components[i]);
		free(integration->components[i]);
	}
	event_source_remove(integration->wakeup_source);
	if (integration->wakeup >= 0)
		close(integration->wakeup);
	free(integration);
}

static int make_wakeup(struct integration *integration, struct error *err)
{
	int r;

	integration->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = integration->wakeup < 0
		    ? -errno
		    : event_loop_watch(integration->env.loop, integration->wakeup, EPOLLIN,
				       on_wakeup, integration, &integration->wakeup_source);
	return r ? error_host(err, -r, "cannot make the integration services") : 0;
}

static int integration_create(const struct device_env *env, const json_t *config, void **device,
			      struct error *err)
{
	struct integration *integration = calloc(1, sizeof(*integration));
	int r;

	if (!integration)
		return error_memory(err, "the integration services");
	integration->env = *env;
	r = make_wakeup(integration, err);
	if (r == 0)
		r = add_components(integration, config, err);
	if (r < 0) {
		integration_destroy(integration);
		return r;
	}
	*device = integration;
	return 0;
}

/* The bus has closed the channels, and each component with it. */
static void integration_reset(void *device)
{
}

static void integration_save(void *device, struct state_writer *writer)
{
	struct integration *integration = device;

	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (integration->components[i])
			ic_save(integration->components[i], writer);
	}
}

static int integration_restore(void *device, const struct state_node *node)
{
	struct integration *integration = device;

	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		int r = integration->components[i] ? ic_restore(integration->components[i], node)
						   : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

struct pause_call {
	struct integration *integration;
	bool paused;
};

/* On the I/O thread. */
static void set_paused(void *context)
{
	const struct pause_call *call = context;

	call->integration->paused = call->paused;
}

static void pause_thread(struct integration *integration, bool paused)
{
	struct pause_call call = {integration, paused};

	io_thread_call(integration->env.io_threads[0], set_paused, &call);
}

static void integration_quiesce(void *device)
{
	struct integration *integration = device;

	integration->held = true;
	integration->held_since = clock_now_ns();
	pause_thread(integration, true);
	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (integration->components[i])
			ic_hold(integration->components[i], true);
	}
}

static void go_on(struct ic *ic, uint64_t paused_ns)
{
	ic_hold(ic, false);
	if (ic->channel)
		channel_kick(ic->channel);
	if (ic->ops->resumed)
		ic->ops->resumed(ic, paused_ns);
}

static void integration_unquiesce(void *device)
{
	struct integration *integration = device;
	uint64_t paused_ns = clock_now_ns() - integration->held_since;

	integration->held = false;
	pause_thread(integration, false);
	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (integration->components[i])
			go_on(integration->components[i], paused_ns);
	}
}

static void put_figure(struct state_writer *writer, const char *name, const json_t *value)
{
	if (json_is_integer(value))
		state_put_u64(writer, name, (uint64_t)json_integer_value(value));
	else if (json_is_string(value))
		state_put_string(writer, name, json_string_value(value));
}

/* A node each with what the verb "service" tells of it. */
static void integration_inspect(void *device, struct state_writer *writer)
{
	const struct integration *integration = device;
	const char *name;
	json_t *report, *value;

	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (!integration->components[i])
			continue;
		report = ic_report(integration->components[i]);
		state_begin(writer, integration->components[i]->ops->name, FIGURES_VERSION);
		json_object_foreach(report, name, value) put_figure(writer, name, value);
		state_end(writer);
		json_decref(report);
	}
}

static void service_verb(void *device, const json_t *parameters, struct device_call *call)
{
	const struct integration *integration = device;
	json_t *services = json_array();

	for (size_t i = 0; i < IC_COMPONENTS; i++) {
		if (integration->components[i])
			json_array_append_new(services, ic_report(integration->components[i]));
	}
	call->reply(call, json_pack("{s:o}", "services", services));
}

static const struct device_verb verbs[] = {
	{"service", service_verb},
	{"shutdown", ic_shutdown_verb},
	{"kvp-get", ic_kvp_get_verb},
	{"kvp-set", ic_kvp_set_verb},
	{"kvp-remove", ic_kvp_remove_verb},
	{"kvp-list", ic_kvp_list_verb},
	{"kvp-get-ip", ic_kvp_get_ip_verb},
	{"kvp-set-ip", ic_kvp_set_ip_verb},
	{"vss-freeze", ic_vss_freeze_verb},
	{"vss-thaw", ic_vss_thaw_verb},
	{"vss-release", ic_vss_release_verb},
	{"vss-await", ic_vss_await_verb},
	{"copy-file", ic_fcopy_verb},
	{NULL, NULL},
};

const struct device_ops integration_device = {
	.name = "integration",
	.state_version = 1,
	.create = integration_create,
	.destroy = integration_destroy,
	.reset = integration_reset,
	.save = integration_save,
	.restore = integration_restore,
	.inspect = integration_inspect,
	.quiesce = integration_quiesce,
	.unquiesce = integration_unquiesce,
	.verbs = verbs,
};
