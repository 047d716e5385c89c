#include "base/checked.h"
#include "base/clock.h"
#include "devices/vsp/storvsp_internal.h"

void storvsp_time_begin(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;

	if (request->timed != BLOCK_TIMED)
		return;
	request->timed = (uint8_t)block_timed_as(request->task.operation);
	if (!channel->clock)
		channel->clock = clock_now_ns();
	request->taken = channel->clock;
}

void storvsp_time_end(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;

	if (request->timed == BLOCK_TIMED)
		return;
	if (channel->finished_count == ARRAY_LENGTH(channel->finished))
		storvsp_time_batch(channel);
	channel->finished[channel->finished_count++] =
		(struct storvsp_finished){request->taken, request->lun, request->timed};
}

void storvsp_time_batch(struct storvsp_channel *channel)
{
	uint64_t now = channel->finished_count ? clock_now_ns() : 0;

	for (unsigned int i = 0; i < channel->finished_count; i++) {
		const struct storvsp_finished *one = &channel->finished[i];

		latency_add(&channel->latencies[one->lun].of[one->timed], now - one->taken);
	}
	channel->finished_count = 0;
}
