#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/io_timer.h"
#include "devices/vsp/netvsp_internal.h"

/* A queue of the port, and the share of the receive buffer's sections that it reads into. */

static struct netvsp_lane *owner(struct netvsp *netvsp, uint32_t section)
{
	return &netvsp->lanes[section % netvsp->lane_count];
}

/* With the lane's lock held, and released by the wake-up. */
static bool post_wake(struct netvsp_lane *lane)
{
	bool post = !lane->wake_posted;

	lane->wake_posted = true;
	return post;
}

static void push_returned(struct netvsp_lane *lane, uint32_t section)
{
	struct netvsp_section *entry = &lane->netvsp->receive_area->sections[section];
	bool post;

	pthread_mutex_lock(&lane->lock);
	entry->held = false;
	entry->sent_on = 0;
	entry->next = lane->returned_first;
	lane->returned_first = section;
	lane->returned_count++;
	post = lane->hungry && post_wake(lane);
	lane->hungry = lane->hungry && !post;
	pthread_mutex_unlock(&lane->lock);
	if (post)
		io_thread_post(lane->thread, &lane->wake);
}

void netvsp_sections_return(struct netvsp *netvsp, uint32_t first)
{
	while (first != NETVSP_SECTION_NONE) {
		uint32_t next = netvsp->receive_area->sections[first].next;

		push_returned(owner(netvsp, first), first);
		first = next;
	}
}

void netvsp_sections_deal(struct netvsp *netvsp)
{
	const struct netvsp_receive *receive = netvsp->receive_area;

	/* Backwards, so that they are used from the start. */
	for (uint32_t i = receive->section_count; i-- > 0;)
		if (!receive->sections[i].held)
			push_returned(owner(netvsp, i), i);
}

/* What others gave back is ours again, behind those that there are. */
static void collect(struct netvsp_lane *lane, uint32_t wanted)
{
	struct netvsp_section *sections = lane->netvsp->receive_area->sections;

	pthread_mutex_lock(&lane->lock);
	while (lane->returned_first != NETVSP_SECTION_NONE) {
		uint32_t section = lane->returned_first;

		lane->returned_first = sections[section].next;
		sections[section].next = lane->free_first;
		lane->free_first = section;
	}
	lane->free_count += lane->returned_count;
	lane->returned_count = 0;
	lane->hungry = lane->free_count < wanted;
	pthread_mutex_unlock(&lane->lock);
}

uint32_t netvsp_sections_take(struct netvsp_lane *lane, uint32_t count, uint32_t leave)
{
	struct netvsp_section *sections = lane->netvsp->receive_area->sections;
	uint32_t first, last;

	if (lane->free_count < count + leave)
		collect(lane, count + leave);
	if (lane->free_count < count + leave)
		return NETVSP_SECTION_NONE;
	first = last = lane->free_first;
	for (uint32_t i = 1;; i++) {
		sections[last].held = true;
		if (i == count)
			break;
		last = sections[last].next;
	}
	lane->free_first = sections[last].next;
	lane->free_count -= count;
	sections[last].next = NETVSP_SECTION_NONE;
	return first;
}

void netvsp_lane_settings(struct netvsp_lane *lane)
{
	struct netvsp *netvsp = lane->netvsp;
	uint32_t generation = atomic_load_explicit(&netvsp->generation, memory_order_acquire);

	if (lane->generation == generation)
		return;
	pthread_mutex_lock(&netvsp->lock);
	lane->settings = netvsp->published;
	lane->generation = netvsp->generation;
	pthread_mutex_unlock(&netvsp->lock);
	toeplitz_init(&lane->toeplitz, lane->settings.key);
}

/* Room for a frame without a receive buffer: read, and dropped. */
static void fill_scratch(struct netvsp_lane *lane, struct netvsp_buffer *buffer)
{
	buffer->first = NETVSP_SECTION_NONE;
	buffer->iov[1] = (struct iovec){lane->scratch, NET_FRAME_MAX};
	buffer->buffer.iov_count = 2;
	buffer->buffer.bytes = NET_FRAME_MAX;
}

/* A backend that fills every section there is would keep the guest from hearing what it asked. */
static uint32_t reserve(const struct netvsp_lane *lane, const struct netvsp_receive *receive)
{
	uint32_t share = receive->section_count / lane->netvsp->lane_count / 2;

	return lane->index == 0 ? MIN(share, NETVSP_KEPT_SECTIONS) : 0;
}

static bool fill(struct netvsp_lane *lane, struct netvsp_buffer *buffer,
		 const struct netvsp_receive *receive)
{
	uint32_t data = receive->section_bytes - NETVSP_ROOM;
	uint32_t count = lane->settings.rsc ? (NET_FRAME_MAX + data - 1) / data : 1;
	unsigned int used = 1;

	buffer->first = netvsp_sections_take(lane, count, reserve(lane, receive));
	if (buffer->first == NETVSP_SECTION_NONE)
		return false;
	for (uint32_t i = buffer->first; i != NETVSP_SECTION_NONE; i = receive->sections[i].next)
		used = (unsigned int)netvsp_area_pieces(
			&receive->area, i * receive->section_bytes + NETVSP_ROOM, data, buffer->iov,
			used, NETVSP_BUFFER_PIECES);
	buffer->buffer.iov_count = used;
	buffer->buffer.bytes = count * data;
	return true;
}

static struct net_buffer *lane_buffer(void *context)
{
	struct netvsp_lane *lane = context;
	struct netvsp_receive *receive = lane->netvsp->receive;
	struct netvsp_buffer *buffer = lane->unused;

	if (!buffer)
		return NULL;
	netvsp_lane_settings(lane);
	if (!receive) {
		fill_scratch(lane, buffer);
	} else if (!netvsp_may_receive(lane)) {
		return NULL;
	} else if (!fill(lane, buffer, receive)) {
		netvsp_count(&lane->no_buffer, 1);
		return NULL;
	}
	lane->unused = buffer->next;
	buffer->buffer.iov = buffer->iov;
	return &buffer->buffer;
}

static void lane_received(void *context, struct net_buffer *given, uint32_t bytes,
			  const struct net_offload *offload)
{
	struct netvsp_lane *lane = context;
	struct netvsp_buffer *buffer = container_of(given, struct netvsp_buffer, buffer);
	uint32_t first = buffer->first;

	buffer->next = lane->unused;
	lane->unused = buffer;
	if (first == NETVSP_SECTION_NONE)
		return;
	netvsp_book(lane, &lane->netvsp->receive_limit, bytes);
	if (bytes < FRAME_ETHERNET_BYTES || bytes > given->bytes || !lane->netvsp->receive)
		netvsp_sections_return(lane->netvsp, first);
	else
		netvsp_receive_frame(lane, first, bytes, given->bytes, offload);
}

static void go(struct netvsp_lane *lane)
{
	struct netvsp *netvsp = lane->netvsp;

	lane->running = true;
	lane->seen = netvsp->receive;
	lane->queue->port->backend->resume(lane->queue);
	for (unsigned int i = 0; i < netvsp->channel_count; i++) {
		struct netvsp_channel *channel = &netvsp->channels[i];

		if (channel->lane == lane && channel->open)
			channel_kick(channel->channel);
	}
}

static void lane_suspended(void *context)
{
	struct netvsp_lane *lane = context;

	lane->suspending = false;
	if (lane->waited) {
		lane->waited = false;
		sem_post(&lane->suspended);
	} else {
		go(lane);
	}
}

static void lane_link(void *context, bool up)
{
	struct netvsp_lane *lane = context;

	/* The port's link is told of by its first queue. */
	if (lane->index == 0)
		netvsp_link_changed(lane->netvsp, up);
}

const struct net_queue_events netvsp_queue_events = {
	.buffer = lane_buffer,
	.received = lane_received,
	.suspended = lane_suspended,
	.link = lane_link,
};

static void begin_suspend(struct netvsp_lane *lane)
{
	lane->running = false;
	lane->suspending = true;
	lane->queue->port->backend->suspend(lane->queue);
}

/* Sections came back, or the receive buffer came or went: then all buffers are to be renewed. */
static void lane_wake(struct io_post *post)
{
	struct netvsp_lane *lane = container_of(post, struct netvsp_lane, wake);

	pthread_mutex_lock(&lane->lock);
	lane->wake_posted = false;
	pthread_mutex_unlock(&lane->lock);
	if (!lane->running)
		return;
	if (lane->seen != lane->netvsp->receive)
		begin_suspend(lane);
	else
		lane->queue->port->backend->receive(lane->queue);
}

void netvsp_lanes_recycle(struct netvsp *netvsp)
{
	for (unsigned int i = 0; i < netvsp->lane_count; i++) {
		struct netvsp_lane *lane = &netvsp->lanes[i];
		bool post;

		pthread_mutex_lock(&lane->lock);
		post = post_wake(lane);
		pthread_mutex_unlock(&lane->lock);
		if (post)
			io_thread_post(lane->thread, &lane->wake);
	}
}

struct lane_call {
	struct netvsp_lane *lane;
	int result;
};

static void attach_here(void *context)
{
	struct lane_call *call = context;
	struct netvsp_lane *lane = call->lane;
	struct net_port *port = lane->netvsp->port;

	call->result = netvsp_lane_limit(lane);
	if (call->result == 0)
		call->result = port->backend->attach(port, lane->index, lane->thread,
						     &netvsp_queue_events, lane, &lane->queue);
}

int netvsp_lane_attach(struct netvsp_lane *lane)
{
	struct lane_call call = {.lane = lane};

	if (!lane->queue)
		io_thread_call(lane->thread, attach_here, &call);
	return call.result;
}

static void start_here(void *context)
{
	struct netvsp_lane *lane = context;

	if (!lane->running && !lane->suspending)
		go(lane);
}

void netvsp_lane_start(struct netvsp_lane *lane)
{
	io_thread_call(lane->thread, start_here, lane);
}

static void stop_here(void *context)
{
	struct lane_call *call = context;
	struct netvsp_lane *lane = call->lane;

	call->result = lane->running || lane->suspending;
	lane->waited = call->result;
	if (lane->running)
		begin_suspend(lane);
}

void netvsp_lane_stop(struct netvsp_lane *lane)
{
	struct lane_call call = {.lane = lane};

	if (!lane->queue)
		return;
	io_thread_call(lane->thread, stop_here, &call);
	while (call.result && sem_wait(&lane->suspended) < 0 && errno == EINTR)
		;
}

void netvsp_lane_forget(struct netvsp_lane *lane)
{
	lane->free_first = lane->returned_first = NETVSP_SECTION_NONE;
	lane->free_count = lane->returned_count = 0;
	lane->hungry = false;
}

int netvsp_lane_init(struct netvsp *netvsp, unsigned int index)
{
	struct netvsp_lane *lane = &netvsp->lanes[index];

	lane->netvsp = netvsp;
	lane->index = index;
	lane->thread = netvsp->env.io_threads[index % netvsp->env.io_thread_count];
	lane->wake.run = lane_wake;
	sem_init(&lane->suspended, 0, 0);
	pthread_mutex_init(&lane->lock, NULL);
	netvsp_lane_forget(lane);
	lane->scratch = malloc(NET_FRAME_MAX);
	lane->buffers = calloc(NETVSP_BUFFERS, sizeof(*lane->buffers));
	if (!lane->scratch || !lane->buffers)
		return -ENOMEM;
	for (unsigned int i = 0; i < NETVSP_BUFFERS; i++) {
		lane->buffers[i].next = lane->unused;
		lane->unused = &lane->buffers[i];
	}
	return 0;
}

static void detach_here(void *context)
{
	struct netvsp_lane *lane = context;

	if (lane->queue)
		lane->queue->port->backend->detach(lane->queue);
	lane->queue = NULL;
	io_timer_free(lane->timer);
	lane->timer = NULL;
}

void netvsp_lane_cleanup(struct netvsp_lane *lane)
{
	if (!lane->netvsp)
		return;
	/* Behind it no wake-up is posted any more. */
	io_thread_call(lane->thread, detach_here, lane);
	pthread_mutex_destroy(&lane->lock);
	sem_destroy(&lane->suspended);
	free(lane->scratch);
	free(lane->buffers);
}
