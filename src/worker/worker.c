#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "vmbus/vsp.h"
#include "worker/descriptors.h"
#include "worker/protocol.h"
#include "worker/saved_vm.h"
#include "worker/worker_internal.h"

#define NS_A_SECOND 1000000000ull

static void on_power_off(void *context)
{
	guest_events_raise(&((struct worker *)context)->events, GUEST_POWER_OFF);
}

static void on_reset(void *context)
{
	guest_events_raise(&((struct worker *)context)->events, GUEST_RESET);
}

static void on_debug_exit(void *context, uint8_t code)
{
	guest_events_raise_debug_exit(&((struct worker *)context)->events, code);
}

static void on_crash(void *context, const struct hv_crash *crash)
{
	guest_events_raise_crash(&((struct worker *)context)->events, crash);
}

static void on_failed(void *context, const char *sentence)
{
	guest_events_raise_failed(&((struct worker *)context)->events, sentence);
}

static int on_say(void *context, const char *id, json_t *event)
{
	return control_say_device(&((struct worker *)context)->control, id, event);
}

static void on_output_lost(void *context, uint64_t bytes, int errnum)
{
	struct worker *worker = context;

	worker->output_lost += bytes;
	worker->output_error = errnum;
}

static const struct vm_events vm_events = {
	.power_off = on_power_off,
	.reset = on_reset,
	.debug_exit = on_debug_exit,
	.crash = on_crash,
	.failed = on_failed,
	.say = on_say,
	.output_lost = on_output_lost,
};

void worker_end(struct worker *worker, const char *reason, int code, const char *message)
{
	if (!lifecycle_set(&worker->lifecycle, LIFECYCLE_STOPPING))
		return;
	if (worker->vm)
		vm_pause(worker->vm);
	worker->code = code;
	control_say_end(&worker->control, reason, code, message);
	event_loop_stop(worker->loop, 0);
}

/* What a guest that reported a crash does in the end, whichever way, is to have crashed. */
static void end_crashed(struct worker *worker)
{
	worker_end(worker, PROTOCOL_END_CRASH, EXIT_GUEST_CRASH, "the guest crashed");
}

static void restart(struct worker *worker)
{
	struct error err;

	vm_pause(worker->vm);
	guest_events_clear(&worker->events);
	if (vm_reset(worker->vm, &err))
		worker_end(worker, PROTOCOL_END_FAILED, EXIT_VMM_ERROR, err.text);
	else if (worker->lifecycle.state == LIFECYCLE_RUNNING)
		vm_resume(worker->vm);
}

static void handle_reset(struct worker *worker)
{
	if (worker->crash.reported)
		end_crashed(worker);
	else if (worker->config->restart_on_reset)
		restart(worker);
	else
		worker_end(worker, PROTOCOL_END_RESET, EXIT_GUEST_RESET, "the guest reset");
}

static void handle_crash(struct worker *worker)
{
	struct crash_signs signs;
	struct hv_crash crash;

	vm_signs_of_life(worker->vm, &signs);
	if (crash_watch_report(&worker->crash, &signs))
		event_timer_arm(worker->crash_timer, NS_A_SECOND, NS_A_SECOND);
	guest_events_read_crash(&worker->events, &crash);
	if (crash_reports_tell(&worker->reports, clock_now_ns()))
		control_say_crash(&worker->control, crash.parameters, crash.message);
}

static void handle_event(struct worker *worker, enum guest_event event)
{
	switch (event) {
	case GUEST_FAILED:
		worker_end(worker, PROTOCOL_END_FAILED, EXIT_VMM_ERROR, worker->events.sentence);
		break;
	case GUEST_DEBUG_EXIT:
		if (worker->crash.reported)
			end_crashed(worker);
		else
			worker_end(worker, PROTOCOL_END_DEBUG_EXIT, worker->events.debug_code, "");
		break;
	case GUEST_CRASH:
		handle_crash(worker);
		break;
	case GUEST_POWER_OFF:
		if (worker->crash.reported)
			end_crashed(worker);
		else
			worker_end(worker, PROTOCOL_END_POWER_OFF, EXIT_POWERED_OFF, "");
		break;
	case GUEST_RESET:
		handle_reset(worker);
		break;
	case GUEST_EVENTS:
		break;
	}
}

static void on_guest_events(void *context, uint32_t events)
{
	struct worker *worker = context;
	enum guest_event event;
	eventfd_t count;

	eventfd_read(worker->events.eventfd, &count);
	for (unsigned int i = 0; i < GUEST_EVENTS; i++) {
		if (worker->lifecycle.state == LIFECYCLE_STOPPING ||
		    !guest_events_take(&worker->events, &event))
			return;
		handle_event(worker, event);
	}
	/* A guest that raises them without end must not keep the loop from all else. */
	eventfd_write(worker->events.eventfd, 1);
}

void worker_handle_events(struct worker *worker)
{
	enum guest_event event;

	while (worker->lifecycle.state != LIFECYCLE_STOPPING &&
	       guest_events_take(&worker->events, &event))
		handle_event(worker, event);
}

static void on_crash_timer(void *context, uint32_t events)
{
	struct worker *worker = context;
	struct crash_signs signs;

	if (worker->lifecycle.state != LIFECYCLE_RUNNING)
		return;
	vm_signs_of_life(worker->vm, &signs);
	if (crash_watch_tick(&worker->crash, &signs))
		end_crashed(worker);
}

static int request_pause(void *context, json_t **reply, struct error *err)
{
	struct worker *worker = context;

	if (worker->lifecycle.state == LIFECYCLE_SAVING ||
	    !lifecycle_set(&worker->lifecycle, LIFECYCLE_PAUSED))
		return error_set(err, EBUSY, "it is %s: only a running VM can be paused",
				 lifecycle_name(worker->lifecycle.state));
	vm_pause(worker->vm);
	return 0;
}

static int request_resume(void *context, json_t **reply, struct error *err)
{
	struct worker *worker = context;

	/* It goes on by itself, unless it ends. */
	if (worker->lifecycle.state == LIFECYCLE_SAVING ||
	    !lifecycle_set(&worker->lifecycle, LIFECYCLE_RUNNING))
		return error_set(err, EBUSY, "it is %s: only a paused VM can be resumed",
				 lifecycle_name(worker->lifecycle.state));
	vm_resume(worker->vm);
	return 0;
}

static void request_nmi(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;
	json_int_t vp = json_integer_value(json_object_get(message, "vp"));
	struct error err;
	int r = vp < 0 || vp > PROTOCOL_CPUS_MAX ? -EINVAL : vm_nmi(worker->vm, (unsigned int)vp);

	if (!r) {
		call->reply(call, NULL);
		return;
	}
	if (r == -EINVAL)
		error_set(&err, EINVAL, "it has no virtual processor %lld; its last is %u",
			  (long long)vp, worker->config->cpus - 1);
	else
		error_host(&err, -r, "KVM refuses the NMI");
	call->refuse(call, err.text);
}

static void request_device(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;
	const char *device = json_string_value(json_object_get(message, "device"));
	const char *verb = json_string_value(json_object_get(message, "verb"));
	json_t *parameters = json_object_get(message, "parameters");

	if (device && verb && json_is_object(parameters))
		vm_call_device(worker->vm, device, verb, parameters, call);
	else
		call->refuse(call, "a call on a device names it, its verb and the parameters");
}

static void request_attach(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;
	json_t *config = json_object_get(message, "config");
	struct error err;

	if (worker_refuse_while_saving(worker, call))
		descriptors_close(config);
	else if (!json_is_object(config))
		call->refuse(call, "it brings no device");
	else if (vm_attach(worker->vm, worker->loop, config, &err))
		call->refuse(call, err.text);
	else
		call->reply(call, NULL);
}

static void request_detach(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;
	const char *id = json_string_value(json_object_get(message, "device"));

	if (!worker_refuse_while_saving(worker, call))
		departures_begin(worker->departures, id ? id : "", call);
}

static int request_stop(void *context, json_t **reply, struct error *err)
{
	worker_end(context, PROTOCOL_END_STOPPED, EXIT_POWERED_OFF, "");
	return 0;
}

static int request_ping(void *context, json_t **reply, struct error *err)
{
	return 0;
}

static int request_inspect(void *context, json_t **reply, struct error *err)
{
	struct worker *worker = context;
	struct state_writer *writer = state_writer_new();
	int r;

	if (!writer)
		return error_memory(err, "the state");
	state_put_string(writer, "name", worker->config->name);
	state_put_string(writer, "state", lifecycle_name(worker->lifecycle.state));
	state_put_u32(writer, "virtual-processors", worker->config->cpus);
	state_put_u64(writer, "memory", worker->config->memory);
	state_put_u32(writer, "crash-reported", worker->crash.reported);
	state_put_u64(writer, "crash-reports", guest_events_crashes(&worker->events));
	lifecycle_inspect(&worker->lifecycle, writer);
	sandbox_inspect(worker->sandbox, writer);
	vm_inspect(worker->vm, writer);
	r = control_tree(writer, reply);
	state_writer_free(writer);
	return r ? error_host(err, -r, "cannot take the state") : 0;
}

static int request_counters(void *context, json_t **reply, struct error *err)
{
	struct worker *worker = context;
	struct state_writer *writer = state_writer_new();
	int r;

	if (!writer)
		return error_memory(err, "the counters");
	vm_counters(worker->vm, writer);
	r = control_tree(writer, reply);
	state_writer_free(writer);
	return r ? error_host(err, -r, "cannot read the counters") : 0;
}

/* Nobody watches over the VM any more: it is turned off, with its writes done. */
static void on_parent_gone(void *context)
{
	worker_end(context, PROTOCOL_END_STOPPED, EXIT_VMM_ERROR, "");
}

static const struct control_request requests[] = {
	{PROTOCOL_PAUSE, .handle = request_pause},
	{PROTOCOL_RESUME, .handle = request_resume},
	{PROTOCOL_NMI, .handle_call = request_nmi},
	{PROTOCOL_STOP, .handle = request_stop},
	{PROTOCOL_INSPECT, .handle = request_inspect},
	{PROTOCOL_COUNTERS, .handle = request_counters},
	{PROTOCOL_PING, .handle = request_ping},
	{PROTOCOL_DEVICE, .handle_call = request_device},
	{PROTOCOL_ATTACH, .handle_call = request_attach},
	{PROTOCOL_DETACH, .handle_call = request_detach},
	{PROTOCOL_SAVE, .handle_call = worker_request_save},
	{PROTOCOL_END_SAVE, .handle_call = worker_request_end_save},
	{NULL},
};

static int watch(struct worker *worker, struct json_link *link, struct error *err)
{
	int r = guest_events_init(&worker->events);

	if (!r)
		r = event_loop_watch(worker->loop, worker->events.eventfd, EPOLLIN, on_guest_events,
				     worker, &worker->events_source);
	if (!r)
		r = event_loop_timer(worker->loop, on_crash_timer, worker, &worker->crash_timer);
	if (!r)
		r = control_init(&worker->control, link, worker->loop, requests, on_parent_gone,
				 worker);
	return r ? error_host(err, -r, "cannot set up the main loop") : 0;
}

static int make_vm(struct worker *worker, struct error *err)
{
	int r = vm_new(worker->config, worker->loop, &vm_events, worker, &worker->vm, err);

	if (r)
		return r;
	r = departures_new(worker->loop, worker->vm, VMBUS_LOOK_NS, &worker->departures);
	return r ? error_host(err, -r, "cannot set up the main loop") : 0;
}

/* From its beginning, or from where it was saved. */
static int load(struct worker *worker, struct error *err)
{
	const struct worker_config *config = worker->config;
	bool saved = config->saved.state_fd >= 0;
	int r = 0;

	/* Firmware is no RAM; a kernel is. */
	if (!saved || config->generation == 1)
		r = vm_load(worker->vm, err);
	if (!r)
		r = vm_await(worker->vm, err);
	if (!r && saved)
		r = saved_vm_load(worker->vm, &config->saved, err);
	return r;
}

/* From a configuration to a guest that runs.  Files are parsed only inside the sandbox. */
static int start(struct worker *worker, struct error *err)
{
	static const struct vm_hooks hooks[] = {
		{sandbox_enter_vp_generation1, sandbox_enter_io_generation1},
		{sandbox_enter_vp, sandbox_enter_io},
	};
	bool paused = worker->config->paused || worker->config->saved.state_fd >= 0;
	int r = make_vm(worker, err);

	if (!r)
		r = sandbox_drop(worker->sandbox, err);
	if (!r)
		r = vm_add_io_threads(worker->vm, err);
	if (!r)
		r = sandbox_enter(worker->sandbox, err);
	if (!r)
		r = vm_add_devices(worker->vm, worker->loop, err);
	if (!r)
		r = vm_start(worker->vm, &hooks[worker->config->generation - 1], err);
	if (!r)
		r = load(worker, err);
	if (!r)
		r = sandbox_seal(worker->sandbox, err);
	if (r)
		return r;
	lifecycle_set(&worker->lifecycle, paused ? LIFECYCLE_PAUSED : LIFECYCLE_RUNNING);
	if (!paused)
		vm_resume(worker->vm);
	control_say_ready(&worker->control);
	return 0;
}

int worker_run(struct json_link *link, const struct worker_config *config, struct sandbox *sandbox)
{
	struct worker worker = {.config = config, .sandbox = sandbox, .control.link = link};
	struct error err = {""};
	int r = event_loop_new(&worker.loop);

	lifecycle_init(&worker.lifecycle);
	if (r)
		error_host(&err, -r, "cannot make the main loop");
	if (!r)
		r = watch(&worker, link, &err);
	if (!r)
		r = start(&worker, &err);
	if (r)
		worker_end(&worker, PROTOCOL_END_FAILED, EXIT_VMM_ERROR, err.text);
	else
		event_loop_run(worker.loop);
	worker_abandon_save(&worker);
	departures_free(worker.departures);
	vm_free(worker.vm);
	if (worker.output_lost)
		control_say_output_lost(&worker.control, worker.output_lost, worker.output_error);
	control_finish(&worker.control);
	lifecycle_set(&worker.lifecycle, LIFECYCLE_OFF);
	return worker.code;
}
