#include "mgmt/vmms/vm_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/unix_socket.h"
#include "base/varlink_peer.h"

#define INTERFACE   "io.bulkhead.VM."
#define NS_A_SECOND 1000000000ull
#define REWATCH_NS  (NS_A_SECOND / 10)
#define PING_NS	    (VM_LINK_SILENCE_S * NS_A_SECOND)

struct vm_call {
	struct list link; /* in its owner */
	struct vm_link *owner;
	struct varlink_peer *peer;
	vm_call_done done; /* NULL once it is forgotten */
	void *context;
};

struct vm_link {
	struct event_loop *loop;
	char *path;
	const struct vm_link_handlers *handlers;
	void *context;
	struct list calls;
	unsigned int call_count;
	struct vm_call *watch;
	struct vm_call *ping;
	struct event_source *rewatch;
	struct event_source *heartbeat;
	bool hung;
	bool ends;
};

/* Once it is answered, or forgotten. */
static void call_free(struct vm_call *call)
{
	list_remove(&call->link);
	call->owner->call_count--;
	varlink_peer_free(call->peer);
	free(call);
}

static void on_reply(void *context, const json_t *reply, const json_t *error, bool continues)
{
	struct vm_call *call = context;
	vm_call_done done = call->done;

	if (!done)
		return;
	if (continues) {
		done(call->context, reply, NULL, NULL, true);
		return;
	}
	done(call->context, reply, json_string_value(json_object_get(error, "error")),
	     json_object_get(error, "parameters"), false);
	call->done = NULL;
	call_free(call);
}

void vm_call_forget(struct vm_call *call)
{
	call->done = NULL;
	call_free(call);
}

void vm_call_hold(struct vm_call *call, bool hold)
{
	/* Where it cannot be read any more, the client sees an end. */
	if (varlink_peer_hold(call->peer, hold))
		varlink_peer_free(call->peer);
}

int vm_call_take_fd(struct vm_call *call)
{
	return varlink_peer_take_fd(call->peer);
}

const char *vm_call_message(const char *error, const json_t *parameters)
{
	const char *message = json_string_value(json_object_get(parameters, "message"));

	if (message)
		return message;
	return strcmp(error, VARLINK_PEER_GONE) ? error : "the VM ended, or its supervisor did";
}

/* Whether a daemon of ours has made the socket. */
static int check_maker(int fd)
{
	struct ucred maker;
	socklen_t length = sizeof(maker);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &length))
		return -errno;
	return maker.uid == geteuid() ? 0 : -EPERM;
}

/* A connection to the supervisor; -errno. */
static int open_peer(struct vm_link *link, struct varlink_peer **out)
{
	int fd = unix_connect_now(link->path);
	int r = fd < 0 ? fd : check_maker(fd);

	if (!r)
		r = varlink_peer_new(link->loop, fd, NULL, NULL, out);

	if (r && fd >= 0)
		close(fd);
	return r;
}

/* What goes along with a call. */
struct given {
	const int *fds;
	unsigned int count;
	bool more;
};

static int start_call(struct vm_link *link, const char *method, json_t *parameters,
		      struct given given, vm_call_done done, void *context, struct vm_call **out)
{
	struct vm_call *call = calloc(1, sizeof(*call));
	int r = call ? open_peer(link, &call->peer) : -ENOMEM;

	if (r) {
		free(call);
		return r;
	}
	r = varlink_peer_call_fds(call->peer, method, parameters, given.more, given.fds,
				  given.count, on_reply, call);
	if (r) {
		varlink_peer_free(call->peer);
		free(call);
		return r;
	}
	call->owner = link;
	call->done = done;
	call->context = context;
	list_append(&link->calls, &call->link);
	link->call_count++;
	if (out)
		*out = call;
	return 0;
}

/* Takes over parameters. */
static int call_method(struct vm_link *link, const char *method, json_t *parameters,
		       struct given given, vm_call_done done, void *context, struct vm_call **out)
{
	char name[128];
	int r = -EPIPE;

	snprintf(name, sizeof(name), INTERFACE "%s", method);
	if (!link->ends)
		r = link->call_count < VM_LINK_CALLS_MAX
			    ? start_call(link, name, parameters, given, done, context, out)
			    : -EBUSY;
	json_decref(parameters);
	return r;
}

int vm_link_call(struct vm_link *link, const char *method, json_t *parameters, bool more,
		 vm_call_done done, void *context, struct vm_call **out)
{
	return call_method(link, method, parameters, (struct given){.more = more}, done, context,
			   out);
}

int vm_link_call_fds(struct vm_link *link, const char *method, json_t *parameters, const int *fds,
		     unsigned int count, vm_call_done done, void *context)
{
	return call_method(link, method, parameters, (struct given){fds, count, false}, done,
			   context, NULL);
}

static void set_hung(struct vm_link *link, bool hung)
{
	if (link->hung == hung)
		return;
	link->hung = hung;
	link->handlers->hung(link->context, hung);
}

static void watch_again(struct vm_link *link)
{
	if (!link->ends)
		event_timer_arm(link->rewatch, REWATCH_NS, 0);
}

static void on_watch(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct vm_link *link = context;

	if (!continues) {
		link->watch = NULL;
		watch_again(link);
	}
	if (reply && json_is_string(json_object_get(reply, "event")))
		link->handlers->event(link->context, reply);
}

static void on_rewatch(void *context, uint32_t events)
{
	struct vm_link *link = context;

	if (!link->watch && start_call(link, INTERFACE "Watch", NULL, (struct given){.more = true},
				       on_watch, link, &link->watch))
		watch_again(link);
}

/* Any answer is a sign of life, though not where the supervisor itself ends. */
static void on_ping(void *context, const json_t *reply, const char *error, const json_t *parameters,
		    bool continues)
{
	struct vm_link *link = context;

	link->ping = NULL;
	if (reply || strcmp(error, VARLINK_PEER_GONE) != 0)
		set_hung(link, false);
}

static void on_heartbeat(void *context, uint32_t events)
{
	struct vm_link *link = context;

	if (link->ping)
		set_hung(link, true);
	else if (start_call(link, "org.varlink.service.GetInfo", NULL, (struct given){.count = 0},
			    on_ping, link, &link->ping))
		set_hung(link, true);
}

int vm_link_new(struct event_loop *loop, const char *path, const struct vm_link_handlers *handlers,
		void *context, struct vm_link **out)
{
	struct vm_link *link = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	list_init(&link->calls);
	link->loop = loop;
	link->handlers = handlers;
	link->context = context;
	link->path = strdup(path);
	r = link->path ? event_loop_timer(loop, on_rewatch, link, &link->rewatch) : -ENOMEM;
	if (!r)
		r = event_loop_timer(loop, on_heartbeat, link, &link->heartbeat);
	if (!r)
		r = event_timer_arm(link->heartbeat, PING_NS, PING_NS);
	if (r) {
		vm_link_free(link);
		return r;
	}
	on_rewatch(link, 0);
	*out = link;
	return 0;
}

void vm_link_free(struct vm_link *link)
{
	if (!link)
		return;
	link->ends = true;
	while (!list_empty(&link->calls)) /* answers it, which frees it */
		varlink_peer_free(list_entry(link->calls.next, struct vm_call, link)->peer);
	event_source_remove(link->rewatch);
	event_source_remove(link->heartbeat);
	free(link->path);
	free(link);
}
