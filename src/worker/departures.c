#include "worker/departures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "vmbus/vsp.h"

struct departure {
	struct list node;
	struct device_call *call;
	unsigned int looks;
	char id[];
};

struct departures {
	struct vm *vm;
	uint64_t look_ns;
	struct event_source *timer;
	struct list list;
};

static void end(struct departure *departure, const char *refusal)
{
	list_remove(&departure->node);
	if (refusal)
		departure->call->refuse(departure->call, refusal);
	else
		departure->call->reply(departure->call, NULL);
	free(departure);
}

/* The guest is through with the device, or took too long. */
static void take_away(struct departures *departures, struct departure *departure)
{
	struct error err;
	int r = vm_detach(departures->vm, departure->id, &err);

	end(departure, r < 0 ? err.text : NULL);
}

static void look(struct departures *departures, struct departure *departure)
{
	struct error err;
	int r = vm_retire(departures->vm, departure->id, &err);

	if (r == -EBUSY)
		return;
	departure->looks++;
	if (r < 0)
		end(departure, err.text);
	else if (r > 0 || departure->looks == VMBUS_LOOKS_MAX)
		take_away(departures, departure);
}

static void on_tick(void *context, uint32_t events)
{
	struct departures *departures = context;
	struct departure *departure;

	list_for_each(departure, &departures->list, node) look(departures, departure);
	if (list_empty(&departures->list))
		event_timer_arm(departures->timer, 0, 0);
}

int departures_new(struct event_loop *loop, struct vm *vm, uint64_t look_ns,
		   struct departures **out)
{
	struct departures *departures = calloc(1, sizeof(*departures));
	int r;

	if (!departures)
		return -ENOMEM;
	departures->vm = vm;
	departures->look_ns = look_ns;
	list_init(&departures->list);
	r = event_loop_timer(loop, on_tick, departures, &departures->timer);
	if (r < 0)
		free(departures);
	else
		*out = departures;
	return r;
}

void departures_free(struct departures *departures)
{
	struct departure *departure;

	if (!departures)
		return;
	list_for_each(departure, &departures->list, node) end(departure, "the VM is ending");
	event_source_remove(departures->timer);
	free(departures);
}

bool departures_any(const struct departures *departures)
{
	return !list_empty(&departures->list);
}

static bool is_leaving(const struct departures *departures, const char *id)
{
	const struct departure *departure;

	list_for_each(departure, &departures->list, node)
	{
		if (!strcmp(departure->id, id))
			return true;
	}
	return false;
}

void departures_begin(struct departures *departures, const char *id, struct device_call *call)
{
	struct departure *departure;
	struct error err;
	int r;

	if (is_leaving(departures, id)) {
		call->refuse(call, "it is leaving already; wait until it is gone");
		return;
	}
	departure = calloc(1, sizeof(*departure) + strlen(id) + 1);
	if (!departure) {
		call->refuse(call, "out of memory; free some on the host");
		return;
	}
	strcpy(departure->id, id);
	departure->call = call;
	list_append(&departures->list, &departure->node);
	r = vm_retire(departures->vm, id, &err);
	if (r < 0)
		end(departure, err.text);
	else if (r > 0)
		take_away(departures, departure);
	else
		event_timer_arm(departures->timer, departures->look_ns, departures->look_ns);
}
