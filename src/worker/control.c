#include "worker/control.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/state_json.h"
#include "base/text.h"
#include "worker/descriptors.h"
#include "worker/protocol.h"

#define FINISH_MS	   5000
#define CRASH_MESSAGE_SIZE 6144

static void send_message(struct control *control, json_t *message)
{
	if (message && !json_link_send(control->link, message, NULL, 0) && control->source)
		event_source_change(control->source,
				    EPOLLIN | (json_link_queued(control->link) ? EPOLLOUT : 0));
	json_decref(message);
}

/* A request that is being answered. */
struct control_call {
	struct device_call call;
	struct control *control;
	json_t *id;
};

/* Takes over reply. */
static void send_reply(struct control *control, const json_t *id, json_t *reply)
{
	send_message(control, json_pack("{s:O?, s:o}", "id", (json_t *)id, "reply",
					reply ? reply : json_object()));
}

static void send_error(struct control *control, const json_t *id, const char *sentence)
{
	send_message(control,
		     json_pack("{s:O?, s:o}", "id", (json_t *)id, "error", text_json(sentence)));
}

static void call_free(struct control_call *call)
{
	json_decref(call->id);
	free(call);
}

static void call_reply(struct device_call *device_call, json_t *reply)
{
	struct control_call *call = container_of(device_call, struct control_call, call);

	send_reply(call->control, call->id, reply);
	call_free(call);
}

static void call_refuse(struct device_call *device_call, const char *sentence)
{
	struct control_call *call = container_of(device_call, struct control_call, call);

	send_error(call->control, call->id, sentence);
	call_free(call);
}

static void start_call(struct control *control, const struct control_request *request,
		       json_t *message, json_t *id)
{
	json_int_t descriptors = json_integer_value(json_object_get(message, "descriptors"));
	struct control_call *call;

	if (descriptors < 0 || descriptors > PROTOCOL_FDS_MAX ||
	    descriptors_bind(message, control->link, (unsigned int)descriptors)) {
		send_error(control, id, "its descriptors are not those that it names");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		descriptors_close(message);
		send_error(control, id, "out of memory; free some on the host");
		return;
	}
	call->call.reply = call_reply;
	call->call.refuse = call_refuse;
	call->control = control;
	call->id = json_incref(id);
	request->handle_call(control->context, message, &call->call);
}

static void answer(struct control *control, json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "request"));
	const struct control_request *request = control->requests;
	json_t *id = json_object_get(message, "id");
	struct error err = {""};
	json_t *reply = NULL;

	while (request->name && (!name || strcmp(request->name, name)))
		request++;
	if (!request->name)
		send_error(control, id, "no such request");
	else if (request->handle_call)
		start_call(control, request, message, id);
	else if (request->handle(control->context, &reply, &err))
		send_error(control, id, err.text);
	else
		send_reply(control, id, reply);
}

static void on_control(void *context, uint32_t events)
{
	struct control *control = context;
	int r = json_link_flush(control->link);

	while (r >= 0) {
		json_t *message;

		r = json_link_receive(control->link, &message);
		if (r <= 0)
			break;
		answer(control, message);
		json_decref(message);
	}
	if (r < 0) {
		event_source_remove(control->source);
		control->source = NULL;
		control->gone(control->context);
		return;
	}
	event_source_change(control->source,
			    EPOLLIN | (json_link_queued(control->link) ? EPOLLOUT : 0));
}

int control_init(struct control *control, struct json_link *link, struct event_loop *loop,
		 const struct control_request *requests, void (*gone)(void *context), void *context)
{
	control->link = link;
	control->loop = loop;
	control->requests = requests;
	control->gone = gone;
	control->context = context;
	return event_loop_watch(loop, json_link_fd(link), EPOLLIN, on_control, control,
				&control->source);
}

void control_say_ready(struct control *control)
{
	send_message(control, json_pack("{s:s}", "event", "ready"));
}

/* The guest's own words: kept to ASCII, so that they are JSON and harmless on a terminal. */
static void clean_text(char *out, size_t size, const char *text)
{
	size_t length = 0;

	for (; *text && length + 1 < size; text++)
		out[length++] = isprint((unsigned char)*text) || *text == '\n' ? *text : '?';
	while (length && out[length - 1] == '\n')
		length--;
	out[length] = '\0';
}

void control_say_crash(struct control *control, const uint64_t parameters[5], const char *message)
{
	char text[CRASH_MESSAGE_SIZE];
	char clean[CRASH_MESSAGE_SIZE - 256];

	if (json_link_queued(control->link) > CONTROL_QUEUE_MAX)
		return;
	clean_text(clean, sizeof(clean), message);
	snprintf(text, sizeof(text),
		 "P0 0x%" PRIx64 " P1 0x%" PRIx64 " P2 0x%" PRIx64 " P3 0x%" PRIx64 " P4 0x%" PRIx64
		 "%s%s",
		 parameters[0], parameters[1], parameters[2], parameters[3], parameters[4],
		 clean[0] ? "\n" : "", clean);
	send_message(control, json_pack("{s:s, s:s}", "event", "crash", "message", text));
}

void control_say_end(struct control *control, const char *reason, int code, const char *message)
{
	send_message(control, json_pack("{s:s, s:s, s:i, s:o}", "event", "end", "reason", reason,
					"code", code, "message", text_json(message)));
}

int control_say_device(struct control *control, const char *device, json_t *event)
{
	if (json_link_queued(control->link) > CONTROL_QUEUE_MAX) {
		json_decref(event);
		return -ENOBUFS;
	}
	if (json_object_set_new(event, "event", json_string("device")) ||
	    json_object_set_new(event, "device", json_string(device))) {
		json_decref(event);
		return -ENOMEM;
	}
	send_message(control, event);
	return 0;
}

void control_say_output_lost(struct control *control, uint64_t bytes, int errnum)
{
	send_message(control, json_pack("{s:s, s:I, s:i}", "event", "output-lost", "bytes",
					(json_int_t)bytes, "errno", errnum));
}

void control_finish(struct control *control)
{
	json_link_drain(control->link, FINISH_MS);
}

int control_tree(struct state_writer *writer, json_t **reply)
{
	CLEANUP_FREE void *tree = NULL;
	size_t size;
	json_t *json;
	int r = state_finish(writer, &tree, &size);

	if (r)
		return r;
	json = state_to_json(tree, size);
	if (!json)
		return -ENOMEM;
	*reply = json_pack("{s:o}", "tree", json);
	return *reply ? 0 : -ENOMEM;
}
