#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/vsp/balloon.h"

static void drop_first(struct balloon *balloon)
{
	free(balloon->outbox[0].data);
	balloon->outbox_count--;
	memmove(balloon->outbox, balloon->outbox + 1,
		balloon->outbox_count * sizeof(balloon->outbox[0]));
}

/* Sends what the ring has room for.  I/O thread; locked. */
static void send_boxes(struct balloon *balloon, struct channel *channel)
{
	bool sent = false;

	while (balloon->outbox_count) {
		const struct balloon_box *box = &balloon->outbox[0];

		if (channel_send(channel, PACKET_DATA_INBAND, 0, 0, box->data, box->size) ==
		    -EAGAIN)
			break;
		drop_first(balloon);
		sent = true;
	}
	if (sent)
		channel_flush(channel);
}

/* Fills the inbox; false if there is nothing to fill it with.  I/O thread; locked. */
static bool receive_box(struct balloon *balloon, struct channel *channel)
{
	struct packet packet;

	if (channel_receive(channel, &packet) <= 0)
		return false;
	if (packet.type != PACKET_DATA_INBAND ||
	    packet.payload_size < sizeof(struct dynmem_header) ||
	    packet.payload_size > BALLOON_PACKET_MAX) {
		balloon->counters.unexpected++;
		return true;
	}
	balloon->inbox.data = malloc(packet.payload_size);
	if (!balloon->inbox.data)
		return true;
	memcpy(balloon->inbox.data, packet.payload, packet.payload_size);
	balloon->inbox.size = packet.payload_size;
	eventfd_write(balloon->wakeup, 1);
	return true;
}

static void vsp_service(void *context, struct channel *channel)
{
	struct balloon *balloon = context;

	if (balloon->paused)
		return;
	pthread_mutex_lock(&balloon->lock);
	send_boxes(balloon, channel);
	/* What the main loop has no eyes for yet stays on the ring. */
	while (!balloon->outbox_count && !balloon->inbox.data && receive_box(balloon, channel))
		;
	pthread_mutex_unlock(&balloon->lock);
}

int balloon_send(struct balloon *balloon, const void *message, uint32_t size)
{
	uint8_t *data = malloc(size);
	int r = -ENOBUFS;

	if (!data)
		return -ENOMEM;
	memcpy(data, message, size);
	pthread_mutex_lock(&balloon->lock);
	if (balloon->outbox_count < BALLOON_OUTBOX_MAX) {
		balloon->outbox[balloon->outbox_count++] = (struct balloon_box){data, size};
		r = 0;
	}
	pthread_mutex_unlock(&balloon->lock);
	if (r < 0)
		free(data);
	else
		channel_kick(balloon->channel);
	return r;
}

struct balloon_box balloon_take(struct balloon *balloon)
{
	struct balloon_box box;

	pthread_mutex_lock(&balloon->lock);
	box = balloon->inbox;
	balloon->inbox = (struct balloon_box){0};
	pthread_mutex_unlock(&balloon->lock);
	return box;
}

void balloon_boxes_clear(struct balloon *balloon)
{
	pthread_mutex_lock(&balloon->lock);
	free(balloon->inbox.data);
	balloon->inbox = (struct balloon_box){0};
	while (balloon->outbox_count)
		drop_first(balloon);
	pthread_mutex_unlock(&balloon->lock);
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct balloon *balloon = context;

	balloon_opened(balloon, channel);
	return balloon->env.io_threads[0];
}

static void vsp_close(void *context, struct channel *channel)
{
	balloon_closed(context);
}

static void vsp_disconnected(void *context)
{
	balloon_disconnected(context);
}

const struct vsp_ops balloon_vsp = {
	.name = "memory",
	.open = vsp_open,
	.close = vsp_close,
	.disconnected = vsp_disconnected,
	.service = vsp_service,
};
