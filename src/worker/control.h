#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/json_link.h"
#include "base/state.h"
#include "devices/device.h"

/* The worker's end of the control socket (worker/protocol.h).  Main loop only. */

struct control_request {
	const char *name;
	/* Does it; may set *reply (NULL: an empty one).  -errno with err refuses. */
	int (*handle)(void *context, json_t **reply, struct error *err);
	/* Instead, for what may be answered later: message is borrowed, its descriptors are in
	 * place and the handler's. */
	void (*handle_call)(void *context, const json_t *message, struct device_call *call);
};

struct control {
	struct json_link *link; /* the caller's */
	struct event_loop *loop;
	struct event_source *source;
	const struct control_request *requests; /* ended by a NULL name */
	void (*gone)(void *context);
	void *context;
};

/* Serves the requests on the loop; gone is called when the parent has closed. */
int control_init(struct control *control, struct json_link *link, struct event_loop *loop,
		 const struct control_request *requests, void (*gone)(void *context),
		 void *context);

void control_say_ready(struct control *control);
/*
 * A message is cut where it is not clean text, and left out while a parent that does not read has
 * more than CONTROL_QUEUE_MAX bytes waiting: the guest decides how many there are.
 */
#define CONTROL_QUEUE_MAX (64u << 10)
void control_say_crash(struct control *control, const uint64_t parameters[5], const char *message);
void control_say_end(struct control *control, const char *reason, int code, const char *message);
/* A device's event (devices/device.h); takes over event.  -ENOBUFS as said there. */
int control_say_device(struct control *control, const char *device, json_t *event);
void control_say_output_lost(struct control *control, uint64_t bytes, int errnum);

/* Sends what waits, for a limited time. */
void control_finish(struct control *control);

/* Ends the writer's tree and makes the reply {"tree": {...}} of it. */
int control_tree(struct state_writer *writer, json_t **reply);
