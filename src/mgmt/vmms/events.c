#include "mgmt/vmms/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/guid.h"
#include "base/list.h"
#include "base/text.h"
#include "base/varlink.h"

struct watcher {
	struct list link;
	struct varlink_call *call;
	char vm[GUID_TEXT_SIZE]; /* "" for all */
};

struct events {
	events_filter filter;
	void *context;
	json_t *kept[EVENTS_KEPT]; /* by sequence number modulo EVENTS_KEPT */
	uint64_t next;		   /* sequence number */
	struct list watchers;
};

int events_new(events_filter filter, void *context, struct events **out)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->filter = filter;
	events->context = context;
	events->next = 1;
	list_init(&events->watchers);
	*out = events;
	return 0;
}

static void watcher_free(struct watcher *watcher)
{
	list_remove(&watcher->link);
	free(watcher);
}

void events_free(struct events *events)
{
	struct watcher *watcher;

	if (!events)
		return;
	list_for_each(watcher, &events->watchers, link)
	{
		struct varlink_call *call = watcher->call;

		watcher_free(watcher);
		varlink_call_watch(call, NULL, NULL);
		varlink_fail(call, "io.bulkhead.VMMS.Failed",
			     json_pack("{s:s}", "message", "the daemon ends; watch again"));
	}
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		json_decref(events->kept[i]);
	free(events);
}

static json_int_t now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (json_int_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void tell(const struct events *events, const struct watcher *watcher, json_t *event)
{
	const char *vm = json_string_value(json_object_get(event, "vm"));

	if (watcher->vm[0] && (!vm || strcmp(vm, watcher->vm) != 0))
		return;
	if (events->filter && !events->filter(events->context, watcher->call, vm))
		return;
	varlink_reply_continues(watcher->call, json_incref(event));
}

void events_emit(struct events *events, const char *vm_uuid, const char *vm_name, const char *event,
		 json_t *details)
{
	json_t *object = json_pack("{s:I, s:I, s:s}", "sequence", (json_int_t)events->next, "time",
				   now_us(), "event", event);
	json_t **place = &events->kept[events->next % EVENTS_KEPT];
	struct watcher *watcher;

	if (vm_uuid)
		json_object_set_new(object, "vm", json_string(vm_uuid));
	if (vm_name)
		json_object_set_new(object, "name", text_json(vm_name));
	if (details)
		json_object_set_new(object, "details", details);
	if (!object)
		return;
	json_decref(*place);
	*place = object;
	events->next++;
	list_for_each(watcher, &events->watchers, link) tell(events, watcher, object);
}

static void on_gone(void *context)
{
	struct watcher *watcher = context;
	struct varlink_call *call = watcher->call;

	watcher_free(watcher);
	varlink_reply(call, NULL);
}

static void tell_past(struct events *events, struct watcher *watcher, unsigned int history)
{
	uint64_t kept = events->next - 1 < EVENTS_KEPT ? events->next - 1 : EVENTS_KEPT;
	uint64_t first = events->next - (history < kept ? history : kept);

	for (uint64_t i = first; i < events->next; i++)
		tell(events, watcher, events->kept[i % EVENTS_KEPT]);
}

json_t *events_past(struct events *events, struct varlink_call *call, const char *vm_uuid,
		    unsigned int history)
{
	struct watcher watcher = {.call = call};

	if (vm_uuid)
		snprintf(watcher.vm, sizeof(watcher.vm), "%s", vm_uuid);
	tell_past(events, &watcher, history);
	return json_pack("{s:I, s:I, s:s}", "sequence", (json_int_t)events->next - 1, "time",
			 now_us(), "event", "history-end");
}

int events_watch(struct events *events, struct varlink_call *call, const char *vm_uuid,
		 unsigned int history)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));

	if (!watcher)
		return -ENOMEM;
	watcher->call = call;
	if (vm_uuid)
		snprintf(watcher->vm, sizeof(watcher->vm), "%s", vm_uuid);
	list_append(&events->watchers, &watcher->link);
	varlink_call_watch(call, on_gone, watcher);
	tell_past(events, watcher, history);
	return 0;
}
