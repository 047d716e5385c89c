#include "mgmt/vm_interface.h"

#include "base/checked.h"
#include "base/text.h"
#include "mgmt/attach.h"
#include "mgmt/console_ring.h"
#include "mgmt/copy_file.h"
#include "mgmt/display.h"
#include "mgmt/freeze.h"
#include "mgmt/hotplug.h"
#include "mgmt/supervisor.h"
#include "mgmt/trace_files.h"
#include "mgmt/vm_interface_text.h"

/* What a method asks of the worker: a request, or a verb of a device. */
struct forward {
	const char *request; /* NULL for a verb */
	const char *device;
	const char *verb;
};

static void forward(void *context, struct varlink_call *call, const json_t *parameters)
{
	const struct forward *to = varlink_call_data(call);

	if (to->request)
		supervisor_forward(context, call, to->request);
	else
		supervisor_forward_verb(context, call, to->device, to->verb, parameters);
}

static void send_nmi(void *context, struct varlink_call *call, const json_t *parameters)
{
	const json_t *vp = json_object_get(parameters, "vp");

	if (vp && !json_is_integer(vp) && !json_is_null(vp))
		varlink_fail_parameter(call, "vp");
	else
		supervisor_forward_message(context, call,
					   json_pack("{s:s, s:I}", "request", PROTOCOL_NMI, "vp",
						     json_integer_value(vp)));
}

static void watch_vm(void *context, struct varlink_call *call, const json_t *parameters)
{
	supervisor_watch(context, call);
}

static void pause_vm(void *context, struct varlink_call *call, const json_t *parameters)
{
	supervisor_pause(context, call);
}

static void resume_vm(void *context, struct varlink_call *call, const json_t *parameters)
{
	supervisor_resume(context, call);
}

static struct console_ring *console_of(struct supervisor *supervisor, struct varlink_call *call)
{
	struct console_ring *ring = supervisor_console(supervisor);

	if (!ring)
		vm_interface_answer(call, NULL,
				    "its console is none for clients of this socket; start it with "
				    "one of that kind");
	return ring;
}

static void open_console(void *context, struct varlink_call *call, const json_t *parameters)
{
	const json_t *read_only = json_object_get(parameters, "read_only");
	struct console_ring *ring;

	if (read_only && !json_is_boolean(read_only) && !json_is_null(read_only))
		varlink_fail_parameter(call, "read_only");
	else if ((ring = console_of(context, call)))
		console_ring_open(ring, call, json_is_true(read_only));
}

static void write_console(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *session = json_string_value(json_object_get(parameters, "session"));
	const char *data = json_string_value(json_object_get(parameters, "data"));
	struct console_ring *ring;

	if (!session || !data)
		varlink_fail_parameter(call, session ? "data" : "session");
	else if ((ring = console_of(context, call)))
		console_ring_write(ring, call, session, data);
}

static void kill_vm(void *context, struct varlink_call *call, const json_t *parameters)
{
	supervisor_kill(context, call);
}

/* clang-format off */
#define REQUEST(name)      forward, &(const struct forward){.request = (name)}
#define VERB(device, verb) forward, &(const struct forward){NULL, (device), (verb)}

static const struct varlink_method methods[] = {
	{"Inspect", REQUEST(PROTOCOL_INSPECT)},
	{"Watch", watch_vm},
	{"Pause", pause_vm},
	{"Resume", resume_vm},
	{"Save", save_vm},
	{"Counters", REQUEST(PROTOCOL_COUNTERS)},
	{"Nmi", send_nmi},
	{"PowerButton", VERB(PROTOCOL_MACHINE, "press-power-button")},
	{"Kill", kill_vm},
	{"OpenConsole", open_console},
	{"WriteConsole", write_console},
	{"AttachDisk", attach_disk},
	{"ChangeMedium", change_medium},
	{"AttachNic", hotplug_attach_nic},
	{"DetachNic", hotplug_detach_nic},
	{"AttachController", hotplug_attach_controller},
	{"DetachController", hotplug_detach_controller},
	{"SetNic", set_nic},
	{"SetDisk", set_disk},
	{"DetachDisk", detach_disk},
	{"Memory", VERB("memory", "show")},
	{"SetMemory", VERB("memory", "set")},
	{"ResetMeter", VERB("memory", "reset-meter")},
	{"Services", VERB("integration", "service")},
	{"Shutdown", VERB("integration", "shutdown")},
	{"GetKvp", VERB("integration", "kvp-get")},
	{"SetKvp", VERB("integration", "kvp-set")},
	{"RemoveKvp", VERB("integration", "kvp-remove")},
	{"ListKvp", VERB("integration", "kvp-list")},
	{"GetIp", VERB("integration", "kvp-get-ip")},
	{"SetIp", VERB("integration", "kvp-set-ip")},
	{"Freeze", freeze_guest},
	{"Thaw", VERB("integration", "vss-thaw")},
	{"CopyFile", copy_file},
	{"Screenshot", display_screenshot},
	{"ReadText", display_read_text},
	{"TypeKeys", display_type_keys},
	{"StartTrace", start_trace},
	{"StopTrace", VERB("vmbus", "trace-stop")},
};
/* clang-format on */

static const struct varlink_interface interfaces[] = {
	{"io.bulkhead.VM", vm_interface_text, methods, ARRAY_LENGTH(methods)},
};

static const struct varlink_service service = {
	.vendor = "Bulkhead",
	.product = "a virtual machine",
	.version = BULKHEAD_VERSION,
	.url = "",
	.interfaces = interfaces,
	.interface_count = ARRAY_LENGTH(interfaces),
};

const struct varlink_service *vm_interface_service(void)
{
	return &service;
}

void vm_interface_answer(struct varlink_call *call, const json_t *reply, const char *error)
{
	if (reply)
		varlink_reply(call, json_incref((json_t *)reply));
	else
		varlink_fail(call, "io.bulkhead.VM.Refused",
			     json_pack("{s:o}", "message", text_json(error ? error : "no answer")));
}
