#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/event_loop.h"
#include "devices/vsp/storvsp_internal.h"

/*
 * A host without room for what a disk was to hold ("on_full": "pause").  The write that failed is
 * kept, the parent hears of it and pauses the VM, and once that goes on the write is tried again.
 *
 * A flush that fails for lack of room is no such case: the host may have let go of what was to be
 * flushed, and a second one that succeeds would be a lie.
 */

/* On its way to the main loop, where the controller may be gone by then. */
struct full_event {
	const struct device_events *events;
	void *context;
	unsigned int lun;
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
			   json_pack("{s:s, s:i}", "full", event->name, "lun", (int)event->lun));
	event_free(event);
}

/* -errno: nobody will hear of it. */
static int post_full(const struct storvsp *storvsp, unsigned int lun)
{
	struct full_event *event = calloc(1, sizeof(*event));
	int r = -ENOMEM;

	if (event)
		event->name = strdup(storvsp->luns[lun].unit.name);
	if (event && event->name) {
		event->events = storvsp->env.events;
		event->context = storvsp->env.context;
		event->lun = storvsp->place + lun;
		memcpy(event->id, storvsp->id, sizeof(event->id));
		r = event_loop_post(storvsp->env.loop, say_full, event);
	}
	if (r < 0)
		event_free(event);
	return r;
}

static bool is_for_lack_of_room(const struct storvsp_request *request, int result)
{
	enum block_operation operation = request->task.operation;

	return (result == -ENOSPC || result == -EDQUOT) &&
	       (operation == BLOCK_WRITE || operation == BLOCK_WRITE_ZEROES);
}

/* The ring is the guest's memory, and out of reach while the channel rests. */
static void refuse_busy(struct storvsp_request *request)
{
	storvsp_fill_busy(&request->packet);
	if (request->channel->paused && request->answer_wanted)
		storvsp_answer_later(request);
	else
		storvsp_answer(request);
}

bool storvsp_hold(struct storvsp_request *request, int result)
{
	struct storvsp_channel *channel = request->channel;
	struct storvsp *storvsp = channel->storvsp;

	if (!is_for_lack_of_room(request, result) || !storvsp->pause_when_full || channel->closing)
		return false;
	if (channel->resets.first) { /* the guest has given it up */
		refuse_busy(request);
		return true;
	}
	if (!atomic_exchange(&storvsp->full_told, true) && post_full(storvsp, request->lun) < 0) {
		atomic_store(&storvsp->full_told, false);
		return false;
	}
	storvsp_list_add(&channel->held, request);
	io_thread_batch_end(channel->thread->thread, &channel->batch);
	return true;
}

void storvsp_retry_held(struct storvsp_channel *channel)
{
	struct storvsp_request_list held = channel->held;
	struct storvsp_request *request;

	if (!held.first)
		return;
	storvsp_list_reset(&channel->held);
	/* Those that fail again are held again, behind the last of these. */
	while ((request = storvsp_list_take(&held)))
		storvsp_retry(request);
}

void storvsp_give_up_held(struct storvsp_channel *channel, int lun)
{
	struct storvsp_request_list held = channel->held;
	struct storvsp_request *request;

	if (!held.first)
		return;
	storvsp_list_reset(&channel->held);
	while ((request = storvsp_list_take(&held))) {
		if (lun < 0 || request->lun == lun)
			refuse_busy(request);
		else
			storvsp_list_add(&channel->held, request);
	}
}

struct giving_up {
	struct storvsp_channel *channel;
	int lun;
};

static void give_up_here(void *context)
{
	const struct giving_up *giving_up = context;

	storvsp_give_up_held(giving_up->channel, giving_up->lun);
}

void storvsp_give_up_disk(const struct storvsp *storvsp, int lun)
{
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++) {
		struct giving_up giving_up = {&storvsp->channels[i], lun};

		if (giving_up.channel->channel)
			io_thread_call(giving_up.channel->thread->thread, give_up_here, &giving_up);
	}
}
