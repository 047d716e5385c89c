#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/clock.h"
#include "devices/vsp/netvsp_internal.h"

#define RNDIS_ANSWER_BYTES (offsetof(struct nvsp_message, rndis_status) + sizeof(uint32_t))

struct netvsp_packet *netvsp_packet_take(struct netvsp_channel *channel)
{
	struct netvsp_packet *packet = channel->free_packet;

	if (packet)
		channel->free_packet = packet->next;
	else if (channel->packets_touched < NETVSP_TRANSMITS)
		packet = &channel->packets[channel->packets_touched++];
	else
		return NULL;
	packet->outstanding = 1;
	packet->answer_bytes = RNDIS_ANSWER_BYTES;
	packet->answer.type = NVSP_RNDIS_COMPLETE;
	packet->answer.rndis_status = NVSP_STATUS_SUCCESS;
	return packet;
}

static void give_packet(struct netvsp_channel *channel, struct netvsp_packet *packet)
{
	packet->next = channel->free_packet;
	channel->free_packet = packet;
}

/* -EAGAIN when the ring is full; any other end of it ends the packet, too. */
static int send_answer(struct netvsp_channel *channel, struct netvsp_packet *packet)
{
	int r = channel_send(channel->channel, PACKET_COMPLETION, 0, packet->transaction_id,
			     &packet->answer, packet->answer_bytes);

	if (r != -EAGAIN)
		give_packet(channel, packet);
	return r;
}

void netvsp_packet_wait(struct netvsp_channel *channel, struct netvsp_packet *packet)
{
	packet->next = NULL;
	*channel->answers_end = packet;
	channel->answers_end = &packet->next;
}

static void send_waiting(struct netvsp_channel *channel)
{
	while (channel->answers) {
		struct netvsp_packet *packet = channel->answers, *next = packet->next;

		if (send_answer(channel, packet) == -EAGAIN)
			return;
		channel->answers = next;
		if (!next)
			channel->answers_end = &channel->answers;
	}
}

void netvsp_packet_put(struct netvsp_channel *channel, struct netvsp_packet *packet)
{
	if (--packet->outstanding > 0)
		return;
	if (!packet->answer_wanted || !channel->open)
		give_packet(channel, packet);
	else if (channel->answers || send_answer(channel, packet) == -EAGAIN)
		netvsp_packet_wait(channel, packet);
	io_thread_batch_end(channel->lane->thread, &channel->batch);
}

struct netvsp_transmit *netvsp_transmit_take(struct netvsp_channel *channel)
{
	struct netvsp_transmit *transmit = channel->free_transmit;

	if (channel->transmits_free == 0)
		return NULL;
	channel->transmits_free--;
	if (transmit) {
		channel->free_transmit = transmit->next;
		return transmit;
	}
	transmit = &channel->transmits[channel->transmits_touched++];
	transmit->channel = channel;
	return transmit;
}

void netvsp_transmit_give(struct netvsp_transmit *transmit)
{
	struct netvsp_channel *channel = transmit->channel;

	transmit->next = channel->free_transmit;
	channel->free_transmit = transmit;
	channel->transmits_free++;
}

/* As much as the largest packet may need must be there before one is taken. */
static bool can_take(const struct netvsp_channel *channel)
{
	return channel->lane->running && channel->transmits_free >= NETVSP_RESERVE &&
	       (channel->free_packet || channel->packets_touched < NETVSP_TRANSMITS);
}

static void handle_message(struct netvsp_channel *channel, const struct packet *from)
{
	struct netvsp_packet *packet = netvsp_packet_take(channel);
	struct nvsp_message message = {0};
	uint32_t bytes = MIN(from->payload_size, (uint32_t)sizeof(message));

	packet->transaction_id = from->transaction_id;
	packet->answer_wanted = from->flags & PACKET_FLAG_COMPLETION_REQUESTED;
	memcpy(&message, from->payload, bytes);
	if (message.type == NVSP_RNDIS)
		netvsp_transmit_messages(channel, from, &message.rndis, packet);
	else if (channel->index == 0)
		netvsp_handle_nvsp(channel->netvsp, &message, bytes, packet);
	else
		packet->answer_bytes = 0;
	netvsp_packet_put(channel, packet);
}

static void receive(struct netvsp_channel *channel)
{
	struct packet packet;

	while (can_take(channel)) {
		if (!netvsp_may_transmit(channel))
			return;
		if (channel_receive(channel->channel, &packet) <= 0)
			return;
		if (packet.type == PACKET_COMPLETION)
			netvsp_frames_done(channel, packet.transaction_id);
		else if (packet.type == PACKET_DATA_INBAND || packet.type == PACKET_GPA_DIRECT)
			handle_message(channel, &packet);
	}
	channel->more = true;
}

static void send_due(struct netvsp_channel *channel)
{
	send_waiting(channel);
	netvsp_frames_flush(channel);
	if (channel->index == 0) {
		netvsp_send_table(channel->netvsp);
		netvsp_send_responses(channel->netvsp);
	}
}

static void vsp_service(void *context, struct channel *channel)
{
	struct netvsp_channel *ours = channel_context(channel);

	if (!ours->open || !ours->lane->running)
		return;
	ours->ring_full = false;
	ours->clock = 0;
	send_due(ours);
	receive(ours);
}

/* The clock is read once for all frames that the host has taken meanwhile. */
static void count_times(struct netvsp_channel *channel)
{
	uint64_t now = channel->taken_count ? clock_now_ns() : 0;

	for (unsigned int i = 0; i < channel->taken_count; i++)
		latency_add(&channel->send_latency, now - channel->taken[i]);
	channel->taken_count = 0;
}

void netvsp_transmit_timed(struct netvsp_transmit *transmit)
{
	struct netvsp_channel *channel = transmit->channel;

	if (channel->taken_count == NETVSP_TIMED_MAX)
		count_times(channel);
	channel->taken[channel->taken_count++] = transmit->taken;
}

static void batch_end(struct io_batch_work *work)
{
	struct netvsp_channel *channel = container_of(work, struct netvsp_channel, batch);

	count_times(channel);
	if (!channel->open || !channel->lane->running)
		return;
	send_due(channel);
	channel_flush(channel->channel);
	if (channel->more && can_take(channel)) {
		channel->more = false;
		channel_kick(channel->channel);
	}
}

#define TRANSMITS_SIZE (NETVSP_TRANSMITS * sizeof(struct netvsp_transmit))
#define PACKETS_SIZE   (NETVSP_TRANSMITS * sizeof(struct netvsp_packet))

static void free_pools(struct netvsp_channel *channel)
{
	munmap(channel->transmits, TRANSMITS_SIZE + PACKETS_SIZE);
}

static int make_pools(struct netvsp_channel *channel)
{
	uint8_t *memory = mmap(NULL, TRANSMITS_SIZE + PACKETS_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	channel->transmits = (void *)memory;
	channel->packets = (void *)(memory + TRANSMITS_SIZE);
	channel->free_transmit = NULL;
	channel->free_packet = NULL;
	channel->transmits_touched = channel->packets_touched = 0;
	channel->transmits_free = NETVSP_TRANSMITS;
	channel->answers = NULL;
	channel->answers_end = &channel->answers;
	return 0;
}

static bool attach_lanes(struct netvsp *netvsp)
{
	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		if (netvsp_lane_attach(&netvsp->lanes[i]) < 0)
			return false;
	return true;
}

static void open_here(void *context)
{
	struct netvsp_channel *channel = context;

	channel->more = channel->ring_full = channel->held = false;
	channel->open = true;
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct netvsp *netvsp = context;
	unsigned int index = channel_index(channel);
	struct netvsp_channel *ours;

	if (index >= netvsp->channel_count)
		return NULL;
	ours = &netvsp->channels[index];
	if (!attach_lanes(netvsp) || make_pools(ours) < 0)
		return NULL;
	ours->channel = channel;
	channel_set_context(channel, ours);
	if (index == 0) {
		netvsp_protocol_reset(netvsp);
		netvsp->primary_open = true;
		netvsp->silence = (struct vmbus_silence){0};
	}
	io_thread_call(ours->lane->thread, open_here, ours);
	netvsp_update_lanes(netvsp);
	return ours->lane->thread;
}

static void close_here(void *context)
{
	struct netvsp_channel *channel = context;

	channel->open = false;
	netvsp_frames_drop(channel);
	io_batch_work_cancel(&channel->batch);
}

/* Also what sub-channels still have goes with the buffers; the bus closes them next. */
static void close_primary(struct netvsp *netvsp)
{
	netvsp->primary_open = false;
	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		netvsp_lane_stop(&netvsp->lanes[i]);
	for (unsigned int i = 1; i < netvsp->channel_count; i++)
		io_thread_call(netvsp->channels[i].lane->thread, close_here, &netvsp->channels[i]);
}

static void vsp_close(void *context, struct channel *channel)
{
	struct netvsp *netvsp = context;
	struct netvsp_channel *ours = channel_context(channel);

	if (ours->index == 0)
		close_primary(netvsp);
	netvsp_lane_stop(ours->lane);
	io_thread_call(ours->lane->thread, close_here, ours);
	ours->channel = NULL;
	free_pools(ours);
	if (ours->index == 0)
		netvsp_protocol_reset(netvsp);
	netvsp_update_lanes(netvsp);
}

void netvsp_channel_init(struct netvsp *netvsp, unsigned int index)
{
	struct netvsp_channel *channel = &netvsp->channels[index];

	channel->netvsp = netvsp;
	channel->index = index;
	channel->lane = &netvsp->lanes[index % netvsp->lane_count];
	io_batch_work_init(&channel->batch, batch_end);
	netvsp_frames_init(channel);
	netvsp_inbox_init(channel);
}

const struct vsp_ops netvsp_vsp = {
	.name = "netvsp",
	.open = vsp_open,
	.close = vsp_close,
	.service = vsp_service,
	.retire = netvsp_retire,
};
