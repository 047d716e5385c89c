#include "worker/vm_trace.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/state_json.h"
#include "vmbus/trace.h"
#include "worker/control.h"
#include "worker/descriptors.h"

#define STATE_VERSION 1

int vm_trace_start(struct vm_trace *trace, int fd, struct error *err)
{
	const struct capture_config config = {
		.fd = fd,
		.link_type = CAPTURE_LINK_USER0,
		.name = "vmbus",
		.description = "Bulkhead VMBus trace, version 1",
		.thread = trace->thread,
		.loop = trace->loop,
	};
	int r = trace->capture ? -EBUSY : trace->thread ? 0 : -ENODEV;

	if (r == -EBUSY)
		error_set(err, EBUSY, "its bus is being traced already; stop that first");
	else if (r == -ENODEV)
		error_set(err, ENODEV, "it has no device with I/O, so there is nothing to trace");
	else
		r = capture_new(&config, &trace->capture);
	if (r) {
		if (r != -EBUSY && r != -ENODEV)
			error_set(err, -r, "the trace cannot be written: %s; choose another file",
				  strerror(-r));
		close(fd);
		return r;
	}
	vmbus_set_trace(trace->bus, trace->capture);
	return 0;
}

void vm_trace_stop(struct vm_trace *trace)
{
	if (!trace->capture)
		return;
	vmbus_set_trace(trace->bus, NULL);
	capture_free(trace->capture);
	trace->capture = NULL;
}

void vm_trace_inspect(const struct vm_trace *trace, struct state_writer *writer)
{
	if (!trace->capture)
		return;
	state_begin(writer, "trace", STATE_VERSION);
	capture_inspect(trace->capture, writer);
	state_end(writer);
}

static void call_start(struct vm_trace *trace, json_t *parameters, struct device_call *call)
{
	const json_t *fd = json_object_get(parameters, "fd");
	struct error err;

	if (!json_is_integer(fd))
		call->refuse(call, "a trace needs a file");
	else if (vm_trace_start(trace, (int)json_integer_value(fd), &err))
		call->refuse(call, err.text);
	else
		call->reply(call, NULL);
}

/* What a caller is told of the tree of a recording. */
static json_t *figures_of(const json_t *tree)
{
	return json_pack("{s:O, s:O}", "packets", json_object_get(tree, "packets"), "dropped",
			 json_object_get(tree, "dropped"));
}

static void call_stop(struct vm_trace *trace, struct device_call *call)
{
	struct state_writer *writer = state_writer_new();
	json_t *reply = NULL, *figures;
	int r = -ENOMEM;

	if (!trace->capture) {
		call->refuse(call, "its bus is not being traced");
		state_writer_free(writer);
		return;
	}
	if (writer) {
		capture_inspect(trace->capture, writer);
		r = control_tree(writer, &reply);
	}
	state_writer_free(writer);
	vm_trace_stop(trace);
	figures = r ? NULL : figures_of(json_object_get(reply, "tree"));
	json_decref(reply);
	call->reply(call, figures);
}

void vm_trace_call(struct vm_trace *trace, const char *verb, json_t *parameters,
		   struct device_call *call)
{
	if (!strcmp(verb, "trace-start")) {
		call_start(trace, parameters, call);
		return;
	}
	descriptors_close(parameters);
	if (!strcmp(verb, "trace-stop"))
		call_stop(trace, call);
	else
		call->refuse(call, "the bus knows no such verb");
}
