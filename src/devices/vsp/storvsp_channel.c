#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "devices/vsp/storvsp_internal.h"

struct storvsp_request *storvsp_request_take(struct storvsp_channel *channel)
{
	struct storvsp_request *request = channel->free;

	if (request) {
		channel->free = request->next;
		return request;
	}
	if (channel->requests_touched == STORVSP_REQUESTS_MAX)
		return NULL;
	request = &channel->requests[channel->requests_touched++];
	request->channel = channel;
	return request;
}

static void give_back(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;

	request->next = channel->free;
	channel->free = request;
}

void storvsp_answer_later(struct storvsp_request *request)
{
	storvsp_list_add(&request->channel->answers, request);
}

/* -EAGAIN when the ring is full; any other end of it ends the request, too. */
static int send_answer(struct storvsp_request *request)
{
	int r = channel_send(request->channel->channel, PACKET_COMPLETION, 0,
			     request->transaction_id, &request->packet, request->answer_size);

	if (r != -EAGAIN)
		give_back(request);
	return r;
}

void storvsp_answer(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;

	if (!request->answer_wanted || channel->closing)
		give_back(request);
	else if (channel->answers.first || send_answer(request) == -EAGAIN)
		storvsp_answer_later(request);
	io_thread_batch_end(channel->thread->thread, &channel->batch);
}

static void send_waiting(struct storvsp_channel *channel)
{
	while (channel->answers.first) {
		struct storvsp_request *request = storvsp_list_take(&channel->answers);

		if (send_answer(request) != -EAGAIN)
			continue;
		/* Back to the front. */
		request->next = channel->answers.first;
		if (!request->next)
			channel->answers.end = &request->next;
		channel->answers.first = request;
		return;
	}
}

/*
 * Has the guest look for what has come or gone.  One that has yet to send a command is about to
 * look anyway, and must not be told: Linux makes the queue on which it puts the wish (drivers/scsi/
 * storvsc_drv.c, storvsc_probe) only after the initialization, and would put it on none.
 */
static void send_enumeration(struct storvsp_channel *channel)
{
	const struct vstor_packet packet = {.operation = VSTOR_ENUMERATE_BUS};
	struct storvsp *storvsp = channel->storvsp;

	storvsp->enumeration_due =
		storvsp->in_use && channel_send(channel->channel, PACKET_DATA_INBAND, 0, 0, &packet,
						sizeof(packet)) == -EAGAIN;
}

static void begin_enumeration(void *context)
{
	struct storvsp_channel *channel = context;

	channel->storvsp->enumeration_due = true;
	channel_kick(channel->channel);
}

void storvsp_enumerate(struct storvsp *storvsp)
{
	struct storvsp_channel *primary = &storvsp->channels[0];

	if (primary->channel)
		io_thread_call(primary->thread->thread, begin_enumeration, primary);
}

/* Prepares the answer, which is as long as the request was, within the sizes that there are. */
static void begin_request(struct storvsp_request *request, const struct packet *packet)
{
	uint32_t size = MIN(packet->payload_size, (uint32_t)sizeof(request->packet));

	memset((uint8_t *)&request->packet + size, 0, sizeof(request->packet) - size);
	memcpy(&request->packet, packet->payload, size);
	size = MAX((uint32_t)align_down(size, 8), (uint32_t)VSTOR_PACKET_MIN);
	request->answer_size = (uint16_t)size;
	request->transaction_id = packet->transaction_id;
	request->answer_wanted = packet->flags & PACKET_FLAG_COMPLETION_REQUESTED;
}

static bool is_reset(uint32_t operation)
{
	return operation == VSTOR_RESET_BUS || operation == VSTOR_RESET_ADAPTER ||
	       operation == VSTOR_RESET_LUN;
}

static void handle_packet(struct storvsp_request *request, const struct packet *packet)
{
	struct storvsp_channel *channel = request->channel;
	uint32_t operation;

	if (packet->type != PACKET_DATA_INBAND && packet->type != PACKET_GPA_DIRECT) {
		give_back(request);
		return;
	}
	begin_request(request, packet);
	operation = request->packet.operation;
	if (is_reset(operation)) {
		storvsp_release_limits(channel->thread);
		storvsp_give_up_held(channel, -1);
	}
	if (operation == VSTOR_EXECUTE_SRB)
		storvsp_execute(request, packet);
	else if (is_reset(operation) && channel->in_flight > 0)
		storvsp_list_add(&channel->resets, request);
	else
		storvsp_control(request, packet->payload_size);
}

/* Takes packets while there are some and requests to hold them. */
static void receive(struct storvsp_channel *channel)
{
	struct storvsp_request *request;
	struct packet packet;

	while ((request = storvsp_request_take(channel))) {
		if (channel_receive(channel->channel, &packet) <= 0) {
			give_back(request);
			return;
		}
		handle_packet(request, &packet);
	}
	channel->more = true;
}

static void vsp_service(void *context, struct channel *channel)
{
	struct storvsp_channel *ours = channel_context(channel);

	if (ours->paused)
		return;
	ours->clock = 0;
	send_waiting(ours);
	if (ours->storvsp->enumeration_due && channel_index(channel) == 0)
		send_enumeration(ours);
	receive(ours);
}

/* Resets are answered when what was in flight before them has come to its end. */
static void release_resets(struct storvsp_channel *channel)
{
	struct storvsp_request *request;

	while ((request = storvsp_list_take(&channel->resets)))
		storvsp_control(request, sizeof(request->packet));
}

static void batch_end(struct io_batch_work *work)
{
	struct storvsp_channel *channel = container_of(work, struct storvsp_channel, batch);

	storvsp_time_batch(channel);
	if (channel->in_flight == 0)
		release_resets(channel);
	if (!channel->closing) {
		channel_flush(channel->channel);
		if (channel->more && channel->free)
			channel_kick(channel->channel);
		channel->more = channel->more && !channel->free;
	}
	if (channel->draining && channel->in_flight == 0) {
		channel->draining = false;
		sem_post(&channel->drained);
	}
}

struct pause {
	struct storvsp_channel *channel;
	bool closing;
	bool wait; /* for the drained semaphore */
};

static void begin_pause(void *context)
{
	struct pause *pause = context;
	struct storvsp_channel *channel = pause->channel;

	channel->paused = true;
	channel->closing = pause->closing;
	storvsp_release_limits(channel->thread);
	channel->draining = pause->wait = channel->in_flight > 0;
	/* The batch whose end would release them may end after the pause has begun. */
	if (!pause->wait)
		release_resets(channel);
}

static void stop(struct storvsp_channel *channel, bool closing)
{
	struct pause pause = {.channel = channel, .closing = closing};

	io_thread_call(channel->thread->thread, begin_pause, &pause);
	while (pause.wait && sem_wait(&channel->drained) < 0 && errno == EINTR)
		;
}

void storvsp_channel_pause(struct storvsp_channel *channel)
{
	stop(channel, false);
}

static void end_pause(void *context)
{
	struct storvsp_channel *channel = context;

	channel->paused = false;
	storvsp_retry_held(channel);
	channel_kick(channel->channel);
}

void storvsp_channel_resume(struct storvsp_channel *channel)
{
	io_thread_call(channel->thread->thread, end_pause, channel);
}

static int make_requests(struct storvsp_channel *channel)
{
	void *memory = mmap(NULL, STORVSP_REQUESTS_MAX * sizeof(struct storvsp_request),
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	channel->requests = memory;
	channel->requests_touched = 0;
	channel->free = NULL;
	storvsp_list_reset(&channel->answers);
	storvsp_list_reset(&channel->resets);
	storvsp_list_reset(&channel->held);
	return 0;
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct storvsp *storvsp = context;
	unsigned int index = channel_index(channel);
	struct storvsp_channel *ours;

	if (index > storvsp->subchannels_max)
		return NULL;
	ours = &storvsp->channels[index];
	ours->thread = &storvsp->threads[index % storvsp->env.io_thread_count];
	if (storvsp_attach_disks(storvsp, ours->thread) < 0 || make_requests(ours) < 0)
		return NULL;
	ours->channel = channel;
	ours->in_flight = 0;
	ours->paused = storvsp->quiesced;
	ours->closing = ours->more = ours->draining = false;
	io_batch_work_init(&ours->batch, batch_end);
	channel_set_context(channel, ours);
	if (index == 0) {
		storvsp_set_phase(storvsp, STORVSP_BEGIN);
		storvsp->in_use = false;
		storvsp->retirement = (struct storvsp_retirement){0};
		storvsp->enumeration_due = false;
	}
	return ours->thread->thread;
}

static void cancel_batch(void *context)
{
	struct storvsp_channel *channel = context;

	io_batch_work_cancel(&channel->batch);
}

static void vsp_close(void *context, struct channel *channel)
{
	struct storvsp_channel *ours = channel_context(channel);

	stop(ours, true);
	io_thread_call(ours->thread->thread, cancel_batch, ours);
	ours->channel = NULL;
	storvsp_list_reset(&ours->held);
	munmap(ours->requests, STORVSP_REQUESTS_MAX * sizeof(struct storvsp_request));
}

const struct vsp_ops storvsp_vsp = {
	.name = "scsi",
	.open = vsp_open,
	.close = vsp_close,
	.service = vsp_service,
	.retire = storvsp_retire,
};
