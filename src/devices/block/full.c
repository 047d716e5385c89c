#include "devices/block/full.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event_loop.h"

/* On its way to the main loop, where the controller may be gone by then. */
struct full_event {
	const struct device_events *events;
	void *context;
	unsigned int place;
	char *name; /* the disk's */
	char id[32];
};

static void event_free(struct full_event *event)
{
	if (event)
		free(event->name);
	free(event);
}

static void say_full(void *context)
{
	struct full_event *event = context;

	event->events->say(event->context, event->id,
			   json_pack("{s:s, s:i}", "full", event->name, "lun", (int)event->place));
	event_free(event);
}

static int post_full(const struct device_env *env, const struct block_full_disk *disk)
{
	struct full_event *event = calloc(1, sizeof(*event));
	int r = -ENOMEM;

	if (event)
		event->name = strdup(disk->name);
	if (event && event->name) {
		event->events = env->events;
		event->context = env->context;
		event->place = disk->place;
		snprintf(event->id, sizeof(event->id), "%s", disk->id);
		r = event_loop_post(env->loop, say_full, event);
	}
	if (r < 0)
		event_free(event);
	return r;
}

bool block_full_keeps(const struct block_full *full, enum block_operation operation, int result)
{
	return full->pause && (result == -ENOSPC || result == -EDQUOT) &&
	       (operation == BLOCK_WRITE || operation == BLOCK_WRITE_ZEROES);
}

int block_full_tell(struct block_full *full, const struct device_env *env,
		    const struct block_full_disk *disk)
{
	int r = 0;

	if (!atomic_exchange(&full->told, true))
		r = post_full(env, disk);
	if (r < 0)
		atomic_store(&full->told, false);
	return r;
}

void block_full_go_on(struct block_full *full)
{
	atomic_store(&full->told, false);
}
