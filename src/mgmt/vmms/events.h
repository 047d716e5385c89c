#pragma once

#include <jansson.h>
#include <stdbool.h>

struct varlink_call;

/*
 * What happens on this host, for all who want to know: the last EVENTS_KEPT events, and the calls
 * of WatchEvents that each get those that come.  Loop thread.
 */

#define EVENTS_KEPT 1024

struct events;

/* Whether whoever made the call may see events of that VM (NULL: of the host). */
typedef bool (*events_filter)(void *context, const struct varlink_call *call, const char *vm);

/* -ENOMEM.  filter NULL: everybody sees all. */
int events_new(events_filter filter, void *context, struct events **out);

/* Answers all watchers for the last time.  NULL is allowed. */
void events_free(struct events *events);

/*
 * Tells everybody: event is a word such as "state", vm_uuid and vm_name are NULL where the host is
 * meant.  Takes over details (NULL: none).  What there is no memory for is not told.
 */
void events_emit(struct events *events, const char *vm_uuid, const char *vm_name, const char *event,
		 json_t *details);

/*
 * Serves a call of WatchEvents, which takes more than one reply, until its client leaves: up to
 * history of the past events first, then those that come; vm_uuid limits them to one VM (NULL:
 * all). A client that does not read misses events, which it sees by their sequence numbers.
 * -ENOMEM: the call is not answered.
 */
int events_watch(struct events *events, struct varlink_call *call, const char *vm_uuid,
		 unsigned int history);

/* The same for a client that wants no more than those of the past: the last answer to the call,
 * which is not made here.  NULL: no memory. */
json_t *events_past(struct events *events, struct varlink_call *call, const char *vm_uuid,
		    unsigned int history);
