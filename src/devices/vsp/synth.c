#include "devices/vsp/synth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/wire.h"
#include "devices/vsp/input_wire.h"
#include "vmbus/wire.h"

#define PIPE_MODE_MESSAGE  4u /* in an offer's user-defined part */
#define TRANSACTION_NONE   0u
#define SYNTH_NODE_VERSION 1

static struct synth_packet *queue_at(struct synth_queue *queue, unsigned int index)
{
	return &queue->packets[(queue->first + index) % SYNTH_QUEUE];
}

static bool queue_put(struct synth_queue *queue, const struct synth_packet *packet)
{
	if (queue->count == SYNTH_QUEUE)
		return false;
	*queue_at(queue, queue->count++) = *packet;
	return true;
}

/* The packet is the caller's then. */
static bool queue_take(struct synth_queue *queue, struct synth_packet *packet)
{
	if (queue->count == 0)
		return false;
	*packet = *queue_at(queue, 0);
	queue->first = (queue->first + 1) % SYNTH_QUEUE;
	queue->count--;
	return true;
}

static void queue_clear(struct synth_queue *queue)
{
	struct synth_packet packet = {0};

	while (queue_take(queue, &packet))
		free(packet.data);
}

/* I/O thread; locked. */
static bool send_queued(struct synth *synth, struct channel *channel)
{
	struct synth_packet packet = {0};
	bool sent = false;

	while (synth->outbox.count > 0) {
		const struct synth_packet *next = queue_at(&synth->outbox, 0);
		enum packet_type type = next->data ? PACKET_DATA_INBAND : PACKET_COMPLETION;

		if (channel_send(channel, type, 0, next->transaction_id,
				 next->data ? next->data : (const uint8_t *)"",
				 next->size) == -EAGAIN)
			break;
		queue_take(&synth->outbox, &packet);
		free(packet.data);
		sent = true;
	}
	if (sent)
		channel_flush(channel);
	return sent;
}

/* I/O thread; locked. */
static bool receive_queued(struct synth *synth, struct channel *channel)
{
	bool received = false;
	struct packet packet;

	while (synth->inbox.count < SYNTH_QUEUE && channel_receive(channel, &packet) > 0) {
		struct synth_packet copy = {
			.size = packet.payload_size,
			.completion = packet.flags & PACKET_FLAG_COMPLETION_REQUESTED,
			.transaction_id = packet.transaction_id,
		};

		if (packet.type != PACKET_DATA_INBAND || copy.size == 0 ||
		    copy.size > SYNTH_PACKET_MAX) {
			synth->malformed++;
			continue;
		}
		copy.data = malloc(copy.size);
		if (!copy.data)
			continue;
		memcpy(copy.data, packet.payload, copy.size);
		queue_put(&synth->inbox, &copy);
		received = true;
	}
	return received;
}

static void vsp_service(void *context, struct channel *channel)
{
	struct synth *synth = context;
	bool changed;

	if (*synth->paused)
		return;
	pthread_mutex_lock(&synth->lock);
	changed = send_queued(synth, channel);
	changed |= receive_queued(synth, channel);
	pthread_mutex_unlock(&synth->lock);
	if (changed)
		eventfd_write(synth->wakeup, 1);
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct synth *synth = context;

	synth->channel = channel;
	synth->ops->opened(synth);
	return synth->env->io_threads[0];
}

static void vsp_close(void *context, struct channel *channel)
{
	struct synth *synth = context;

	synth->channel = NULL;
	queue_clear(&synth->inbox);
	queue_clear(&synth->outbox);
	synth->ops->closed(synth);
}

static const struct vsp_ops synth_vsp = {
	.name = "synth",
	.open = vsp_open,
	.close = vsp_close,
	.service = vsp_service,
};

/* Takes over data. */
static int post(struct synth *synth, const struct synth_packet *packet, unsigned int limit)
{
	bool fits;

	pthread_mutex_lock(&synth->lock);
	fits = synth->outbox.count < limit && queue_put(&synth->outbox, packet);
	pthread_mutex_unlock(&synth->lock);
	if (!fits) {
		free(packet->data);
		return -ENOBUFS;
	}
	channel_kick(synth->channel);
	return 0;
}

static uint32_t header_size(const struct synth *synth)
{
	return synth->ops->pipe ? (uint32_t)sizeof(struct pipe_header) : 0;
}

int synth_send(struct synth *synth, const void *message, uint32_t size, bool answer)
{
	const struct pipe_header header = {PIPE_MESSAGE_DATA, size};
	struct synth_packet packet = {.size = header_size(synth) + size,
				      .transaction_id = TRANSACTION_NONE};
	int r;

	if (!synth->channel)
		return -ENOTCONN;
	packet.data = malloc(packet.size);
	if (!packet.data)
		return -ENOMEM;
	memcpy(packet.data, &header, header_size(synth));
	memcpy(packet.data + header_size(synth), message, size);
	r = post(synth, &packet, answer ? SYNTH_QUEUE : SYNTH_QUEUE - SYNTH_RESERVE);
	if (r == 0)
		synth->sent++;
	return r;
}

bool synth_replace(struct synth *synth, const void *message, uint32_t size,
		   bool (*match)(const void *waiting, const void *message))
{
	uint32_t skip = header_size(synth);
	struct synth_packet *last;
	bool replaced = false;

	pthread_mutex_lock(&synth->lock);
	if (synth->outbox.count > 0) {
		last = queue_at(&synth->outbox, synth->outbox.count - 1);
		replaced = last->data && last->size == skip + size &&
			   match(last->data + skip, message);
		if (replaced)
			memcpy(last->data + skip, message, size);
	}
	pthread_mutex_unlock(&synth->lock);
	return replaced;
}

/* Takes the pipe header off; false if it does not fit. */
static bool strip(const struct synth *synth, const struct synth_packet *packet, uint32_t *size)
{
	struct pipe_header header;

	*size = packet->size;
	if (!synth->ops->pipe)
		return true;
	if (packet->size < sizeof(header))
		return false;
	memcpy(&header, packet->data, sizeof(header));
	if (header.type != PIPE_MESSAGE_DATA || header.size > packet->size - sizeof(header))
		return false;
	*size = header.size;
	return true;
}

static void handle(struct synth *synth, struct synth_packet *packet)
{
	const struct synth_packet completion = {.completion = true,
						.transaction_id = packet->transaction_id};
	uint32_t size;

	synth->received++;
	if (packet->completion)
		post(synth, &completion, SYNTH_QUEUE);
	if (strip(synth, packet, &size))
		synth->ops->received(synth, packet->data + header_size(synth), size);
	else
		synth->malformed++;
}

/* A message, while its answers have room. */
static bool take_message(struct synth *synth, struct synth_packet *packet, bool *was_full)
{
	bool taken;

	pthread_mutex_lock(&synth->lock);
	*was_full = synth->inbox.count == SYNTH_QUEUE;
	taken = synth->outbox.count <= SYNTH_QUEUE - SYNTH_RESERVE / 2 &&
		queue_take(&synth->inbox, packet);
	pthread_mutex_unlock(&synth->lock);
	return taken;
}

void synth_receive(struct synth *synth)
{
	struct synth_packet packet;
	unsigned int taken = 0;
	bool was_full;

	while (taken < SYNTH_QUEUE && synth->channel && take_message(synth, &packet, &was_full)) {
		handle(synth, &packet);
		free(packet.data);
		if (was_full)
			channel_kick(synth->channel);
		taken++;
	}
	/* The guest may send without end: others on the loop have their turn in between. */
	if (taken == SYNTH_QUEUE)
		eventfd_write(synth->wakeup, 1);
	if (synth->channel && synth->ops->room)
		synth->ops->room(synth);
}

int synth_init(struct synth *synth, struct error *err)
{
	struct vmbus_offer_config offer = {
		.class_id = synth->ops->class_id,
		.instance_id = synth->ops->instance_id,
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE,
		.mmio_megabytes = synth->ops->mmio_megabytes,
		.ops = &synth_vsp,
		.context = synth,
	};
	int r;

	if (synth->ops->pipe) {
		offer.flags |= VMBUS_CHANNEL_NAMED_PIPE_MODE;
		put_le32(offer.user_defined, PIPE_MODE_MESSAGE);
	}
	pthread_mutex_init(&synth->lock, NULL);
	r = vmbus_offer_new(synth->env->bus, &offer, &synth->offer);
	if (r == 0)
		return 0;
	pthread_mutex_destroy(&synth->lock);
	return error_host(err, -r, "the %s cannot be offered", synth->ops->name);
}

void synth_cleanup(struct synth *synth)
{
	vmbus_offer_rescind(synth->offer);
	queue_clear(&synth->inbox);
	queue_clear(&synth->outbox);
	pthread_mutex_destroy(&synth->lock);
}

static void save_queue(struct synth_queue *queue, const char *name, struct state_writer *writer)
{
	char node[16];

	state_put_u32(writer, name, queue->count);
	for (unsigned int i = 0; i < queue->count; i++) {
		const struct synth_packet *packet = queue_at(queue, i);

		snprintf(node, sizeof(node), "%s@%x", name, i);
		state_begin(writer, node, SYNTH_NODE_VERSION);
		state_put_u32(writer, "completion", packet->completion);
		state_put_u64(writer, "transaction", packet->transaction_id);
		if (packet->data)
			state_put_bytes(writer, "data", packet->data, packet->size);
		state_end(writer);
	}
}

static int restore_packet(const struct state_node *node, struct synth_packet *packet)
{
	const void *data;
	uint32_t completion;
	size_t size = 0;
	int r = state_get_u32(node, "completion", &completion);

	if (r == 0)
		r = state_get_u64(node, "transaction", &packet->transaction_id);
	if (r < 0)
		return r;
	packet->completion = completion;
	data = state_find_bytes(node, "data", &size);
	if (size > SYNTH_PACKET_MAX || (!data && !completion))
		return -EINVAL;
	packet->size = (uint32_t)size;
	packet->data = data ? malloc(size) : NULL;
	if (data && !packet->data)
		return -ENOMEM;
	if (data)
		memcpy(packet->data, data, size);
	return 0;
}

static int restore_queue(struct synth_queue *queue, const char *name, const struct state_node *node)
{
	uint32_t count;
	int r = state_get_u32(node, name, &count);

	if (r < 0)
		return r;
	if (count > SYNTH_QUEUE)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		struct synth_packet packet = {0};
		struct state_node child;
		char child_name[16];

		snprintf(child_name, sizeof(child_name), "%s@%x", name, i);
		r = state_child(node, child_name, SYNTH_NODE_VERSION, &child);
		if (r == 0)
			r = restore_packet(&child, &packet);
		if (r < 0)
			return r;
		queue_put(queue, &packet);
	}
	return 0;
}

void synth_save(struct synth *synth, struct state_writer *writer)
{
	pthread_mutex_lock(&synth->lock);
	state_put_u32(writer, "open", synth->channel != NULL);
	state_put_u64(writer, "received", synth->received);
	state_put_u64(writer, "sent", synth->sent);
	state_put_u64(writer, "malformed", synth->malformed);
	save_queue(&synth->inbox, "in", writer);
	save_queue(&synth->outbox, "out", writer);
	pthread_mutex_unlock(&synth->lock);
}

int synth_restore(struct synth *synth, const struct state_node *node)
{
	uint64_t received, sent, malformed;
	uint32_t open;
	int r = state_get_u32(node, "open", &open);

	if (r == 0)
		r = state_get_u64(node, "received", &received);
	if (r == 0)
		r = state_get_u64(node, "sent", &sent);
	if (r == 0)
		r = state_get_u64(node, "malformed", &malformed);
	if (r == 0 && open != (synth->channel != NULL))
		r = -EINVAL;
	if (r < 0)
		return r;
	pthread_mutex_lock(&synth->lock);
	queue_clear(&synth->inbox);
	queue_clear(&synth->outbox);
	r = restore_queue(&synth->inbox, "in", node);
	if (r == 0)
		r = restore_queue(&synth->outbox, "out", node);
	pthread_mutex_unlock(&synth->lock);
	if (r < 0)
		return r;
	synth->received = received;
	synth->sent = sent;
	synth->malformed = malformed;
	return 0;
}
