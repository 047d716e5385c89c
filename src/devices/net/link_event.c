#include "devices/net/link_event.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/event_loop.h"

/* What the main loop is to say of an adapter, which may be gone by then. */
struct link_event {
	const struct device_events *events;
	void *context; /* of events */
	const char *why;
	char id[];
};

static void say_link_down(void *context)
{
	struct link_event *event = context;

	/* A parent that does not read is told by inspect. */
	event->events->say(event->context, event->id,
			   json_pack("{s:b, s:s}", "link", 0, "why", event->why));
	free(event);
}

void link_event_down(const struct device_env *env, const char *id, const struct net_port *port)
{
	const char *why = atomic_load(&port->down);
	struct link_event *event;

	if (!why || !id[0])
		return;
	event = malloc(sizeof(*event) + strlen(id) + 1);
	if (!event)
		return;
	event->events = env->events;
	event->context = env->context;
	event->why = why;
	strcpy(event->id, id);
	if (event_loop_post(env->loop, say_link_down, event))
		free(event);
}
