#include "devices/vsp/storvsp_internal.h"

/*
 * Writes for which the host has no room (devices/block/full.h), and how they are given back where
 * nobody may wait for them.
 */

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
	const struct block_full_disk disk = {storvsp->id, storvsp->place + request->lun,
					     storvsp->luns[request->lun].unit.name};

	if (channel->closing || !block_full_keeps(&storvsp->full, request->task.operation, result))
		return false;
	if (channel->resets.first) { /* the guest has given it up */
		refuse_busy(request);
		return true;
	}
	if (block_full_tell(&storvsp->full, &storvsp->env, &disk) < 0)
		return false;
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
