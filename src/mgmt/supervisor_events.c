#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "mgmt/supervisor_internal.h"

/* Before others have their turn: a worker may never be silent. */
#define MESSAGES_A_TURN 64

/* Each different report once: a kernel may report its oops and then its panic. */
static void keep_crash(struct supervisor_outcome *outcome, const char *text)
{
	size_t length = strlen(outcome->crash);

	if (!strstr(outcome->crash, text))
		snprintf(outcome->crash + length, sizeof(outcome->crash) - length, "%s%s",
			 length ? "\n" : "", text);
}

void supervisor_lose_output(struct supervisor_outcome *outcome, uint64_t bytes, int errnum)
{
	outcome->console_lost += bytes;
	if (errnum)
		outcome->console_error = errnum;
}

/* A guest whose console is a file waits for us: the worker writes there by itself. */
static void on_ready(struct supervisor *supervisor)
{
	if (supervisor->ready) /* it says so once */
		return;
	supervisor->ready = true;
	supervisor->outcome->started = true;
	console_ready(supervisor->config->console);
	if (supervisor->config->restored)
		supervisor_restored(supervisor);
	else if (console_write_only(supervisor->config->console))
		supervisor_ask(supervisor, PROTOCOL_RESUME, NULL, NULL);
	supervisor_enter(supervisor, VM_RUNNING, "ready");
	/* At a terminal somebody sees it, and may be looking into it with a debugger. */
	if (supervisor->config->pulse_ms && supervisor_begin_pulse(supervisor))
		supervisor_tell(supervisor, "nobody will notice if its worker hangs: no timer");
}

/* Whoever was asked to pause a VM that did not run any more finds it paused, or ending. */
static void on_paused_when_full(void *context, const json_t *reply, const char *error)
{
	if (reply)
		supervisor_enter(context, VM_PAUSED, "paused");
}

/* A disk's write waits for room on the host: {"full": the disk's name, "lun"}. */
static void on_full(struct supervisor *supervisor, const json_t *message, const char *disk)
{
	char sentence[640];

	if (!supervisor_may_tell(supervisor))
		return;
	snprintf(sentence, sizeof(sentence),
		 "the host has no room for what the guest writes to the disk %.400s, so the VM is "
		 "paused; make room there, then resume it",
		 disk);
	supervisor_ask(supervisor, PROTOCOL_PAUSE, on_paused_when_full, supervisor);
	console_message(supervisor->config->console, "%s: %s", supervisor->config->name, sentence);
	vm_watch_tell(supervisor->watch, "disk-full", sentence,
		      json_pack("{s:s, s:O, s:O}", "disk", disk, "device",
				json_object_get(message, "device"), "lun",
				json_object_get(message, "lun")));
}

static bool is_served(const struct supervisor_part *part, const char *device)
{
	return part->family ? !strncmp(part->device, device, strlen(part->device))
			    : !strcmp(part->device, device);
}

static void on_device_event(struct supervisor *supervisor, const json_t *message)
{
	const char *device = json_string_value(json_object_get(message, "device"));
	const char *full = json_string_value(json_object_get(message, "full"));

	if (full)
		on_full(supervisor, message, full);
	for (unsigned int i = 0; device && i < supervisor->config->part_count; i++) {
		const struct supervisor_part *part = &supervisor->config->parts[i];

		if (part->event && is_served(part, device))
			part->event(part->context, message);
	}
}

static void on_crash(struct supervisor *supervisor, const char *text)
{
	keep_crash(supervisor->outcome, text);
	if (!supervisor_may_tell(supervisor))
		return;
	console_message(supervisor->config->console, "%s: the guest reported a crash: %s",
			supervisor->config->name, text);
	vm_watch_tell(supervisor->watch, "crash", text, NULL);
}

static void on_event(struct supervisor *supervisor, const char *event, json_t *message)
{
	struct supervisor_outcome *outcome = supervisor->outcome;
	const char *text = json_string_value(json_object_get(message, "message"));
	const char *reason = json_string_value(json_object_get(message, "reason"));

	if (!strcmp(event, "ready")) {
		on_ready(supervisor);
	} else if (!strcmp(event, "crash")) {
		on_crash(supervisor, text ? text : "");
	} else if (!strcmp(event, "device")) {
		on_device_event(supervisor, message);
	} else if (!strcmp(event, "end")) {
		outcome->code = (int)json_integer_value(json_object_get(message, "code"));
		snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason ? reason : "");
		snprintf(outcome->message, sizeof(outcome->message), "%s", text ? text : "");
	} else if (!strcmp(event, "output-lost")) {
		supervisor_lose_output(
			outcome, (uint64_t)json_integer_value(json_object_get(message, "bytes")),
			(int)json_integer_value(json_object_get(message, "errno")));
	}
}

/* The worker said something unfit, or closed: it is ended if it has not ended by itself. */
static void drop_worker(struct supervisor *supervisor, int result)
{
	event_source_remove(supervisor->worker_source);
	supervisor->worker_source = NULL;
	if (result == -ENODATA || result == -EPIPE || result == -ECONNRESET)
		supervisor_expect_end(supervisor);
	else
		supervisor_kill_worker(supervisor, "sent what nobody can read and was killed");
}

/* 1 once it has handled so many, of more that may be there. */
static int read_messages(struct supervisor *supervisor, unsigned int count)
{
	while (count--) {
		const char *event;
		json_t *message;
		int r = json_link_receive(supervisor_link(supervisor), &message);

		if (r <= 0)
			return r;
		event = json_string_value(json_object_get(message, "event"));
		if (event)
			on_event(supervisor, event, message);
		else
			supervisor_take_reply(supervisor, message);
		json_decref(message);
	}
	return 1;
}

/* What was read of the socket already, nobody is told of by the socket. */
static void on_more(void *context)
{
	struct supervisor *supervisor = context;

	supervisor->more = false;
	if (supervisor->worker_source)
		supervisor_on_worker(supervisor, 0);
}

int supervisor_read_worker(struct supervisor *supervisor)
{
	int r = read_messages(supervisor, MESSAGES_A_TURN);

	if (r != 1)
		return r;
	if (supervisor->more)
		return 0;
	r = event_loop_post(supervisor->loop, on_more, supervisor);
	supervisor->more = !r;
	return r;
}

void supervisor_on_worker(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;
	int r = json_link_flush(supervisor_link(supervisor));

	if (!r || r == -EPIPE)
		r = supervisor_read_worker(supervisor);
	if (r)
		drop_worker(supervisor, r);
	else
		supervisor_rewatch(supervisor);
}

void supervisor_read_rest(struct supervisor *supervisor)
{
	read_messages(supervisor, UINT_MAX);
}
