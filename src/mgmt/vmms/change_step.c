#include "mgmt/vmms/change_step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/event_loop.h"
#include "mgmt/controller.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/settings_arguments.h"
#include "mgmt/vmms/settings_live.h"
#include "mgmt/vmms/switch.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

struct step {
	change_step_done done;
	void *context;
};

static void answered(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct step step = *(struct step *)context;

	free(context);
	step.done(step.context, error ? vm_call_message(error, parameters) : NULL);
}

static void done_at_once(void *context)
{
	struct step step = *(struct step *)context;

	free(context);
	step.done(step.context, NULL);
}

/* The VM's share of the host, which the daemon itself sets. */
static int set_resources(struct vm *vm, const struct settings_step *settings_step,
			 struct step *step, struct error *err)
{
	struct resource_limits limits;
	int r = resource_limits_parse(settings_step->value, settings_memory_maximum(vm->launched),
				      settings_processors(vm->launched), &limits, err);

	if (!r)
		r = resources_change(vm->vmms->resources, vm_uuid(vm), &limits, err);
	if (!r && event_loop_post(vm->vmms->loop, done_at_once, step))
		r = error_memory(err, "the change");
	return r;
}

static int not_asked(int r, struct error *err)
{
	return r ? error_set(err, -r, "its supervisor cannot be asked; try again") : 0;
}

/* A NIC whose port of the switch goes along: its spec numbers the descriptors from 0. */
static int plug_in(struct vm *vm, const struct settings_step *settings_step, const int *fds,
		   unsigned int count, struct step *step, struct error *err)
{
	int numbers[SWITCH_QUEUES_MAX];
	json_t *parameters;
	char *spec;

	for (unsigned int i = 0; i < count; i++)
		numbers[i] = (int)i;
	spec = settings_nic_spec(settings_step->value, numbers, count);
	parameters = spec ? json_pack("{s:s}", "spec", spec) : NULL;
	free(spec);
	if (!parameters)
		return error_memory(err, "the change");
	return not_asked(vm_link_call_fds(vm->run->link, settings_step->method, parameters, fds,
					  count, answered, step),
			 err);
}

static int join_switch(struct vm *vm, const struct settings_step *settings_step, struct step *step,
		       struct error *err)
{
	const json_t *nic = settings_step->value;
	const json_int_t queues = json_integer_value(json_object_get(nic, "queues"));
	const struct switch_port port = {
		.vm = vm_uuid(vm),
		.nic = settings_step->name,
		.queues = queues > 0 ? (unsigned int)queues : 1,
	};
	int fds[SWITCH_QUEUES_MAX];
	int r = switch_open_tap(vm->vmms->switches,
				json_string_value(json_object_get(nic, "switch")), &port, fds, NULL,
				err);

	if (r)
		return r;
	r = plug_in(vm, settings_step, fds, port.queues, step, err);
	for (unsigned int i = 0; i < port.queues; i++)
		close(fds[i]);
	return r;
}

static int call(struct vm *vm, const struct settings_step *settings_step, struct step *step,
		struct error *err)
{
	if (!settings_step->parameters)
		return join_switch(vm, settings_step, step, err);
	return not_asked(vm_link_call(vm->run->link, settings_step->method,
				      json_incref(settings_step->parameters), false, answered, step,
				      NULL),
			 err);
}

int change_step_begin(struct vm *vm, const struct settings_step *settings_step,
		      change_step_done done, void *context, struct error *err)
{
	struct step *step = calloc(1, sizeof(*step));
	int r;

	if (!step)
		return error_memory(err, "the change");
	*step = (struct step){done, context};
	r = settings_step->method ? call(vm, settings_step, step, err)
				  : set_resources(vm, settings_step, step, err);
	if (r)
		free(step);
	return r;
}

json_t *change_step_note(const struct settings_step *step)
{
	return json_pack("{s:s*, s:O*, s:s, s:O*}", "method", step->method, "parameters",
			 step->parameters, "member", step->member, "value", step->value);
}

/* A device that came or went. */
static const struct presence {
	const char *attach, *detach;
	const char *identity; /* member of the item; NULL: a controller, which is none */
} presences[] = {
	{"AttachDisk", "DetachDisk", "lun"},
	{"AttachNic", "DetachNic", "mac"},
	{"AttachController", "DetachController", NULL},
};

static const struct presence *presence_of(const char *method)
{
	for (size_t i = 0; method && i < ARRAY_LENGTH(presences); i++) {
		if (!strcmp(presences[i].attach, method) || !strcmp(presences[i].detach, method))
			return &presences[i];
	}
	return NULL;
}

/* Its list, and where it is one of that, its name. */
static int set_member(struct settings_step *step, const char *member)
{
	static const char *const lists[] = {"disks", "nics", "controllers", "memory", "resources"};
	const char *dot = strchr(member, '.');
	size_t length = dot ? (size_t)(dot - member) : strlen(member);

	if (strlen(member) >= sizeof(step->member))
		return -EINVAL;
	strcpy(step->member, member);
	step->name = dot ? step->member + length + 1 : NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
		if (strlen(lists[i]) == length && !strncmp(lists[i], member, length))
			step->list = lists[i];
	}
	return step->list ? 0 : -EINVAL;
}

/* count: how many there were to be after the step. */
static int settle_controller(bool attached, const json_t *count, struct settings_step *step)
{
	json_int_t rest = json_integer_value(count) - attached;
	char id[CONTROLLER_ID_SIZE];

	if (rest < 1 || rest >= CONTROLLERS_MAX)
		return -EINVAL;
	controller_id((unsigned int)rest, id);
	step->parameters = json_pack("{s:s}", "controller", id);
	step->value = json_integer(rest);
	return step->parameters && step->value ? 0 : -ENOMEM;
}

int change_step_settle(const json_t *note, struct settings_step *step)
{
	const char *method = json_string_value(json_object_get(note, "method"));
	const char *member = json_string_value(json_object_get(note, "member"));
	const struct presence *presence = presence_of(method);
	json_t *parameters = json_object_get(note, "parameters");
	json_t *value = json_object_get(note, "value");

	*step = (struct settings_step){.method = method};
	if (!member || set_member(step, member))
		return -EINVAL;
	if (!presence) {
		step->parameters = json_incref(parameters);
		step->value = json_incref(value);
		return step->value && (!method || parameters) ? 0 : -EINVAL;
	}
	step->method = presence->detach;
	if (!presence->identity)
		return settle_controller(strcmp(method, presence->attach) == 0, value, step);
	if (!value)
		step->parameters = json_incref(parameters);
	else if (!strcmp(presence->identity, "mac"))
		step->parameters = json_pack("{s:O}", "nic", json_object_get(value, "mac"));
	else
		step->parameters = json_pack("{s:O, s:O*}", "lun", json_object_get(value, "lun"),
					     "controller", json_object_get(value, "controller"));
	return step->parameters ? 0 : -EINVAL;
}

void change_step_clear(struct settings_step *step)
{
	json_decref(step->parameters);
	json_decref(step->value);
	*step = (struct settings_step){.method = NULL};
}
