#include "vmbus/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "vmbus/bus_internal.h"
#include "vmm/hv_synic.h"

/*
 * The guest's control messages: queued on VP threads, handled on the main loop.  A message is
 * handled only when there is room for what it may be answered with, so no answer is ever lost; a
 * guest that does not read its answers finds the queue full.
 */

/* So many messages may wait for the guest before we hold off. */
#define ANSWERS_MAX    (HV_SYNIC_QUEUE_MAX / 2)
/* Messages handled in a row before other sources of the loop get their turn. */
#define MESSAGES_BATCH 64
/* How soon to look again whether the guest has read its messages. */
#define RETRY_NS       2000000u
/* How soon to look again at a full ring, where the guest does not say that it made room. */
#define POLL_NS	       5000000u

struct message_handler {
	size_t size; /* at least */
	bool connected;
	int (*handle)(struct vmbus *bus, const void *message, size_t size);
};

static const struct message_handler handlers[VMBUS_MESSAGE_TYPES] = {
	[VMBUS_MESSAGE_INITIATE_CONTACT] = {sizeof(struct vmbus_initiate_contact), false,
					    connection_contact},
	[VMBUS_MESSAGE_UNLOAD] = {sizeof(struct vmbus_message_header), false, connection_unload},
	[VMBUS_MESSAGE_REQUEST_OFFERS] = {sizeof(struct vmbus_message_header), true,
					  connection_request_offers},
	[VMBUS_MESSAGE_TL_CONNECT_REQUEST] = {sizeof(struct vmbus_tl_connect_request), true,
					      connection_tl_connect},
	[VMBUS_MESSAGE_OPEN_CHANNEL] = {sizeof(struct vmbus_open_channel), true, channel_on_open},
	[VMBUS_MESSAGE_CLOSE_CHANNEL] = {sizeof(struct vmbus_relid_message), true,
					 channel_on_close},
	[VMBUS_MESSAGE_MODIFY_CHANNEL] = {sizeof(struct vmbus_modify_channel), true,
					  channel_on_modify},
	[VMBUS_MESSAGE_RELID_RELEASED] = {sizeof(struct vmbus_relid_message), true,
					  channel_on_released},
	[VMBUS_MESSAGE_GPADL_HEADER] = {sizeof(struct vmbus_gpadl_header), true,
					channel_on_gpadl_header},
	[VMBUS_MESSAGE_GPADL_BODY] = {sizeof(struct vmbus_gpadl_body), true, channel_on_gpadl_body},
	[VMBUS_MESSAGE_GPADL_TEARDOWN] = {sizeof(struct vmbus_gpadl_teardown), true,
					  channel_on_gpadl_teardown},
};

void bus_kick(struct vmbus *bus)
{
	eventfd_write(bus->wakeup, 1);
}

bool bus_has_room(struct vmbus *bus, unsigned int vp, unsigned int sint)
{
	return hv_synic_waiting(hv_partition_vp(bus->config.hv, vp), sint) < ANSWERS_MAX;
}

void bus_send(struct vmbus *bus, const void *message, size_t size)
{
	if (bus->trace)
		trace_message(bus, bus->trace, TRACE_TO_GUEST, message, size);
	hv_synic_post(hv_partition_vp(bus->config.hv, bus->message_vp), bus->sint,
		      VMBUS_MESSAGE_TYPE, 0, message, size);
}

/* On the posting VP's thread. */
static int on_post(void *context, uint32_t message_type, const void *payload, size_t size)
{
	struct vmbus *bus = context;
	struct bus_message *message;

	if (message_type != VMBUS_MESSAGE_TYPE || size < sizeof(struct vmbus_message_header) ||
	    size > VMBUS_MESSAGE_MAX)
		return -EINVAL;
	pthread_mutex_lock(&bus->lock);
	if (bus->queue_count == VMBUS_PENDING_MAX) {
		pthread_mutex_unlock(&bus->lock);
		return -EAGAIN;
	}
	message = &bus->queue[(bus->queue_head + bus->queue_count) % VMBUS_PENDING_MAX];
	message->size = size;
	memcpy(message->data, payload, size);
	bus->queue_count++;
	pthread_mutex_unlock(&bus->lock);
	bus_kick(bus);
	return 0;
}

/* Copies the oldest message; it stays in the queue. */
static bool queue_peek(struct vmbus *bus, struct bus_message *message)
{
	bool found;

	pthread_mutex_lock(&bus->lock);
	found = bus->queue_count > 0;
	if (found)
		*message = bus->queue[bus->queue_head];
	pthread_mutex_unlock(&bus->lock);
	return found;
}

static void queue_pop(struct vmbus *bus)
{
	pthread_mutex_lock(&bus->lock);
	bus->queue_head = (bus->queue_head + 1) % VMBUS_PENDING_MAX;
	bus->queue_count--;
	pthread_mutex_unlock(&bus->lock);
}

int bus_dispatch(struct vmbus *bus, const struct bus_message *message)
{
	const struct vmbus_message_header *header = (const void *)message->data;
	const struct message_handler *handler;

	if (header->type >= ARRAY_LENGTH(handlers))
		return 0;
	handler = &handlers[header->type];
	if (!handler->handle || message->size < handler->size ||
	    (handler->connected && !bus_connected(bus)))
		return 0;
	return handler->handle(bus, message->data, message->size);
}

/* 1 if something was done, 0 if there is nothing to do, -EAGAIN if the guest must read first. */
static int work_step(struct vmbus *bus)
{
	struct bus_message message;
	int r;

	if (!bus_has_room(bus, bus->message_vp, bus->sint))
		return -EAGAIN;
	if (offer_announce(bus))
		return 1;
	if (!queue_peek(bus, &message))
		return 0;
	if (bus->trace && !bus->first_traced)
		trace_message(bus, bus->trace, TRACE_FROM_GUEST, message.data, message.size);
	/* One that must wait comes again. */
	bus->first_traced = true;
	r = bus_dispatch(bus, &message);
	if (r == -EAGAIN)
		return r;
	bus->first_traced = false;
	queue_pop(bus);
	return 1;
}

static void on_poll(void *context, uint32_t events)
{
	struct vmbus *bus = context;

	bus->poll_armed = false;
	channel_poll_full(bus);
}

static void poll_later(struct vmbus *bus)
{
	if (!__atomic_exchange_n(&bus->poll_due, false, __ATOMIC_ACQ_REL) || bus->poll_armed)
		return;
	bus->poll_armed = true;
	event_timer_arm(bus->poll, POLL_NS, 0);
}

static void bus_work(struct vmbus *bus)
{
	int r = 1;

	if (bus->held)
		return;
	channel_close_broken(bus);
	poll_later(bus);
	fault_release_later(bus);
	offer_make_subchannels(bus);
	for (unsigned int i = 0; r == 1 && i < MESSAGES_BATCH; i++)
		r = work_step(bus);
	if (r == 1)
		bus_kick(bus);
	else if (r == -EAGAIN)
		event_timer_arm(bus->retry, RETRY_NS, 0);
}

static void on_wakeup(void *context, uint32_t events)
{
	struct vmbus *bus = context;
	eventfd_t count;

	eventfd_read(bus->wakeup, &count);
	bus_work(bus);
}

static void on_retry(void *context, uint32_t events)
{
	bus_work(context);
}

void vmbus_hold(struct vmbus *bus, bool held)
{
	bus->held = held;
	if (!held)
		bus_kick(bus);
}

static int bus_connect(struct vmbus *bus)
{
	int r;

	bus->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bus->wakeup < 0)
		return -errno;
	r = event_loop_watch(bus->config.loop, bus->wakeup, EPOLLIN, on_wakeup, bus,
			     &bus->wakeup_source);
	if (!r)
		r = event_loop_timer(bus->config.loop, on_retry, bus, &bus->retry);
	if (!r)
		r = event_loop_timer(bus->config.loop, on_poll, bus, &bus->poll);
	if (!r)
		r = hv_ports_add_message(bus->ports, VMBUS_CONNECTION_MESSAGE, on_post, bus);
	if (r)
		return r;
	r = hv_ports_add_message(bus->ports, VMBUS_CONNECTION_MESSAGE_4, on_post, bus);
	if (r)
		hv_ports_remove_message(bus->ports, VMBUS_CONNECTION_MESSAGE);
	return r;
}

static void bus_release(struct vmbus *bus)
{
	event_source_remove(bus->poll);
	event_source_remove(bus->retry);
	event_source_remove(bus->wakeup_source);
	if (bus->wakeup >= 0)
		close(bus->wakeup);
	gpadl_table_cleanup(&bus->gpadls);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

int vmbus_new(const struct vmbus_config *config, struct vmbus **out)
{
	struct vmbus *bus;
	int r;

	if (!connection_version_known(config->max_version))
		return -EINVAL;
	bus = calloc(1, sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	bus->config = *config;
	bus->ports = hv_partition_ports(config->hv);
	bus->sint = VMBUS_SINT;
	list_init(&bus->offers);
	gpadl_table_init(&bus->gpadls, config->gpa);
	pthread_mutex_init(&bus->lock, NULL);
	r = bus_connect(bus);
	if (r) {
		bus_release(bus);
		return r;
	}
	*out = bus;
	return 0;
}

void vmbus_free(struct vmbus *bus)
{
	if (!bus)
		return;
	hv_ports_remove_message(bus->ports, VMBUS_CONNECTION_MESSAGE);
	hv_ports_remove_message(bus->ports, VMBUS_CONNECTION_MESSAGE_4);
	connection_drop(bus);
	fault_end(bus);
	offer_free_all(bus);
	bus_release(bus);
}

void vmbus_reset(struct vmbus *bus)
{
	connection_drop(bus);
	bus->message_vp = 0;
	bus->sint = VMBUS_SINT;
	pthread_mutex_lock(&bus->lock);
	bus->queue_head = 0;
	bus->queue_count = 0;
	bus->first_traced = false;
	pthread_mutex_unlock(&bus->lock);
}

uint64_t vmbus_services(const struct vmbus *bus)
{
	uint64_t total = 0;

	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		const struct channel *channel = bus->channels[relid];

		if (channel && channel->state == CHANNEL_OPEN)
			total += __atomic_load_n(&channel->services, __ATOMIC_RELAXED);
	}
	return total;
}

uint32_t vmbus_negotiated_version(const struct vmbus *bus)
{
	return __atomic_load_n(&bus->version, __ATOMIC_RELAXED);
}
