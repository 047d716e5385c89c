#include "mgmt/hotplug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mgmt/controller.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_interface.h"

/* A call that the worker has not answered yet. */
struct change {
	struct hotplug *hotplug;
	struct varlink_call *call;
	struct nic *nic;	 /* NULL for a controller */
	unsigned int controller; /* its number */
};

static void refuse(struct varlink_call *call, int error, const char *sentence)
{
	const char *why = "the VM is ending";

	if (error == -EBUSY)
		why = "the VM is busy with another such call; try again";
	else if (error == -ENOMEM)
		why = "out of memory; free some on the host";
	vm_interface_answer(call, NULL, sentence ? sentence : why);
}

/* Sends the request; done gets a copy of change, which it frees.  Takes over message. */
static int send_change(struct supervisor *supervisor, json_t *message, const int *fds,
		       unsigned int count, supervisor_reply done, const struct change *change)
{
	struct change *copy = malloc(sizeof(*copy));
	int r = -ENOMEM;

	if (!copy || !message) {
		json_decref(message);
	} else {
		*copy = *change;
		r = supervisor_request(supervisor, message, fds, count, done, copy);
	}
	if (r)
		free(copy);
	return r;
}

static json_t *attach_message(json_t *config, unsigned int count)
{
	return json_pack("{s:s, s:o, s:i}", "request", PROTOCOL_ATTACH, "config", config,
			 "descriptors", (int)count);
}

static json_t *detach_message(const char *device)
{
	return json_pack("{s:s, s:s}", "request", PROTOCOL_DETACH, "device", device);
}

static void nic_attached(void *context, const json_t *reply, const char *error)
{
	struct change *change = context;
	json_t *answer;

	if (!reply) {
		nics_remove(change->nic);
		vm_interface_answer(change->call, NULL, error);
	} else {
		nics_added(change->nic);
		answer = json_pack("{s:s}", "nic", change->nic->id);
		vm_interface_answer(change->call, answer, NULL);
		json_decref(answer);
	}
	free(change);
}

/*
 * A spec for descriptors that came with the call, "fd=0:1,mac=..", in our own numbers for them.
 * false where that is not what came.
 */
static bool take_fds(struct varlink_call *call, const char *spec, int *fds, unsigned int *count,
		     char *text, size_t size)
{
	size_t list = strcspn(spec, ",");
	size_t length = (size_t)snprintf(text, size, "fd=");
	unsigned int wanted = 1;

	for (size_t i = 0; i < list; i++)
		wanted += spec[i] == ':';
	for (*count = 0; *count < wanted && *count < NIC_QUEUES_MAX; ++*count) {
		int fd = varlink_call_take_fd(call);

		if (fd < 0)
			return false;
		fds[*count] = fd;
		if (length < size)
			length += (size_t)snprintf(text + length, size - length, "%s%d",
						   *count ? ":" : "", fd);
	}
	if (length < size)
		length += (size_t)snprintf(text + length, size - length, "%s", spec + list);
	return *count == wanted && length < size;
}

/* As nics_add, where descriptors may have come along. */
static int add_nic(struct hotplug *hotplug, struct varlink_call *call, const char *spec,
		   struct nic **out, struct error *err)
{
	unsigned int count = 0;
	int fds[NIC_QUEUES_MAX];
	char text[512];
	int r;

	if (strncmp(spec, "fd=", 3) != 0)
		return nics_add(hotplug->nics, spec, false, out, err);
	if (take_fds(call, spec, fds, &count, text, sizeof(text)))
		r = nics_add(hotplug->nics, text, true, out, err);
	else
		r = error_set(err, EINVAL,
			      "--nic %.200s: that many descriptors of a tap did not come along; "
			      "send one for each queue",
			      spec);
	while (r && count)
		close(fds[--count]);
	return r;
}

void hotplug_attach_nic(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *spec = json_string_value(json_object_get(parameters, "spec"));
	struct hotplug *hotplug = supervisor_hotplug(context);
	struct change change = {.hotplug = hotplug, .call = call};
	json_t *config, *fds;
	struct error err;
	int r;

	if (!spec || !hotplug) {
		varlink_fail_parameter(call, "spec");
		return;
	}
	if (add_nic(hotplug, call, spec, &change.nic, &err)) {
		vm_interface_answer(call, NULL, err.text);
		return;
	}
	config = nic_config(change.nic);
	fds = json_array();
	for (unsigned int i = 0; i < change.nic->fd_count; i++)
		json_array_append_new(fds, json_integer(i));
	json_object_set_new(config, "fds", fds);
	r = send_change(context, attach_message(config, change.nic->fd_count), change.nic->fds,
			change.nic->fd_count, nic_attached, &change);
	if (r) {
		nics_remove(change.nic);
		refuse(call, r, NULL);
	}
}

static void nic_detached(void *context, const json_t *reply, const char *error)
{
	struct change *change = context;

	if (reply)
		nics_remove(change->nic);
	vm_interface_answer(change->call, reply, error);
	free(change);
}

void hotplug_detach_nic(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *id = json_string_value(json_object_get(parameters, "nic"));
	struct hotplug *hotplug = supervisor_hotplug(context);
	struct change change = {.hotplug = hotplug, .call = call};
	char sentence[128];
	int r;

	if (!id || !hotplug) {
		varlink_fail_parameter(call, "nic");
		return;
	}
	change.nic = nics_find(hotplug->nics, id);
	if (!change.nic) {
		snprintf(sentence, sizeof(sentence), "it has no NIC %.40s; inspect shows them", id);
		vm_interface_answer(call, NULL, sentence);
		return;
	}
	r = send_change(context, detach_message(change.nic->id), NULL, 0, nic_detached, &change);
	if (r)
		refuse(call, r, NULL);
}

static void controller_attached(void *context, const json_t *reply, const char *error)
{
	struct change *change = context;
	char id[CONTROLLER_ID_SIZE];
	json_t *answer;

	controller_id(change->controller, id);
	if (!reply) {
		change->hotplug->controllers[change->controller] = false;
		vm_interface_answer(change->call, NULL, error);
	} else {
		answer = json_pack("{s:s}", "controller", id);
		vm_interface_answer(change->call, answer, NULL);
		json_decref(answer);
	}
	free(change);
}

void hotplug_attach_controller(void *context, struct varlink_call *call, const json_t *parameters)
{
	struct hotplug *hotplug = supervisor_hotplug(context);
	struct change change = {.hotplug = hotplug, .call = call, .controller = 1};
	json_t *config;
	int r;

	while (hotplug && change.controller < CONTROLLERS_MAX &&
	       hotplug->controllers[change.controller])
		change.controller++;
	if (!hotplug || change.controller == CONTROLLERS_MAX) {
		vm_interface_answer(call, NULL,
				    "a VM has at most 8 storage controllers; detach one");
		return;
	}
	config = controller_config(supervisor_name(context), change.controller,
				   hotplug->pause_when_full, json_array());
	hotplug->controllers[change.controller] = true;
	r = send_change(context, attach_message(config, 0), NULL, 0, controller_attached, &change);
	if (r) {
		hotplug->controllers[change.controller] = false;
		refuse(call, r, NULL);
	}
}

/* 0 for the first and for what is none. */
static unsigned int number_of(const struct hotplug *hotplug, const char *id)
{
	int number = controller_number(id);

	return number > 0 && hotplug->controllers[number] ? (unsigned int)number : 0;
}

static void controller_detached(void *context, const json_t *reply, const char *error)
{
	struct change *change = context;

	if (reply)
		change->hotplug->controllers[change->controller] = false;
	vm_interface_answer(change->call, reply, error);
	free(change);
}

void hotplug_detach_controller(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *id = json_string_value(json_object_get(parameters, "controller"));
	struct hotplug *hotplug = supervisor_hotplug(context);
	struct change change = {.hotplug = hotplug, .call = call};
	char sentence[160];
	int r;

	if (!id || !hotplug) {
		varlink_fail_parameter(call, "controller");
		return;
	}
	change.controller = number_of(hotplug, id);
	if (!change.controller) {
		snprintf(sentence, sizeof(sentence),
			 "it has no controller %.40s that was attached; the first one stays", id);
		vm_interface_answer(call, NULL, sentence);
		return;
	}
	r = send_change(context, detach_message(id), NULL, 0, controller_detached, &change);
	if (r)
		refuse(call, r, NULL);
}

const char *hotplug_controller(const json_t *parameters)
{
	const json_t *given = json_object_get(parameters, "controller");
	const char *id = given && !json_is_null(given) ? json_string_value(given) : "scsi";

	return id && controller_number(id) >= 0 ? id : NULL;
}
