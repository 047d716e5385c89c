#include "mgmt/vm_watch.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/list.h"
#include "base/text.h"
#include "base/varlink.h"

#define QUEUED_MAX (256u << 10) /* that a watcher may have waiting */

struct vm_watch {
	struct list watchers;
	pid_t worker;
	enum vm_phase phase;
	int64_t since_us; /* since the epoch */
	bool ended;	  /* nobody can begin to watch any more */
	char *condition;  /* a sentence on what is the matter with it now, or NULL */
};

struct watcher {
	struct list link;
	struct varlink_call *call;
};

static const char *const names[VM_PHASES] = {
	[VM_STARTING] = "starting", [VM_RUNNING] = "running", [VM_PAUSED] = "paused",
	[VM_STOPPING] = "stopping", [VM_OFF] = "off",
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int vm_watch_new(pid_t worker, struct vm_watch **out)
{
	struct vm_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	list_init(&watch->watchers);
	watch->worker = worker;
	watch->phase = VM_STARTING;
	watch->since_us = now_us();
	*out = watch;
	return 0;
}

/* What every event has. */
static json_t *pack(const struct vm_watch *watch, const char *event)
{
	return json_pack("{s:s, s:I, s:s, s:i, s:I}", "event", event, "time", (json_int_t)now_us(),
			 "state", names[watch->phase], "worker_pid", (int)watch->worker, "since",
			 (json_int_t)watch->since_us);
}

/* For who comes now. */
static json_t *pack_state(const struct vm_watch *watch)
{
	json_t *event = pack(watch, "state");

	if (event && watch->condition)
		json_object_set_new(event, "message", text_json(watch->condition));
	return event;
}

/* The call that is left over is the caller's to answer. */
static struct varlink_call *watcher_free(struct watcher *watcher)
{
	struct varlink_call *call = watcher->call;

	list_remove(&watcher->link);
	free(watcher);
	return call;
}

static void on_gone(void *context)
{
	varlink_reply(watcher_free(context), NULL);
}

void vm_watch_end(struct vm_watch *watch)
{
	struct watcher *watcher;

	watch->ended = true; /* the answer may bring the client's next call */
	list_for_each(watcher, &watch->watchers, link)
		varlink_reply(watcher_free(watcher), pack(watch, "state"));
}

void vm_watch_free(struct vm_watch *watch)
{
	if (watch)
		free(watch->condition);
	free(watch);
}

void vm_watch_add(struct vm_watch *watch, struct varlink_call *call)
{
	struct watcher *watcher = NULL;

	if (varlink_call_wants_more(call) && !watch->ended)
		watcher = calloc(1, sizeof(*watcher));
	if (!watcher) {
		varlink_reply(call, pack_state(watch));
		return;
	}
	watcher->call = call;
	list_append(&watch->watchers, &watcher->link);
	varlink_call_watch(call, on_gone, watcher);
	varlink_reply_continues(call, pack_state(watch));
}

enum vm_phase vm_watch_phase(const struct vm_watch *watch)
{
	return watch->phase;
}

void vm_watch_enter(struct vm_watch *watch, enum vm_phase phase)
{
	if (watch->phase == phase)
		return;
	watch->phase = phase;
	watch->since_us = now_us();
}

static void tell_one(struct watcher *watcher, json_t *event)
{
	if (varlink_call_queued(watcher->call) < QUEUED_MAX)
		varlink_reply_continues(watcher->call, json_incref(event));
	else
		varlink_fail(watcher_free(watcher), "io.bulkhead.VM.Refused",
			     json_pack("{s:s}", "message",
				       "too many events wait to be read; watch again"));
}

/* What is told stays so until something else is: who comes later hears it, too. */
static void keep_condition(struct vm_watch *watch, const char *event, const char *message)
{
	static const struct {
		const char *event;
		bool ends;
	} events[] = {{"hung", false},	 {"disk-full", false}, {"answering", true},
		      {"resumed", true}, {"stopping", true},   {"end", true}};

	for (size_t i = 0; i < ARRAY_LENGTH(events); i++) {
		if (strcmp(events[i].event, event) != 0)
			continue;
		free(watch->condition);
		watch->condition = events[i].ends || !message ? NULL : strdup(message);
	}
}

void vm_watch_tell(struct vm_watch *watch, const char *name, const char *message, json_t *details)
{
	json_t *event = pack(watch, name);
	struct watcher *watcher;

	keep_condition(watch, name, message);
	if (message)
		json_object_set_new(event, "message", text_json(message));
	if (details)
		json_object_update(event, details);
	json_decref(details);
	list_for_each(watcher, &watch->watchers, link) tell_one(watcher, event);
	json_decref(event);
}
