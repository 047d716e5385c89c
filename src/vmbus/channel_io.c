#include <errno.h>
#include <sys/eventfd.h>

#include "vmbus/bus_internal.h"
#include "vmbus/gpa_range.h"
#include "vmm/hv_synic.h"

/* A channel's traffic, on the I/O thread that its VSP chose; channel.c has its life. */

/* Packets a channel may take before others on its I/O thread get their turn. */
#define SERVICE_BATCH 256u

static void channel_signal(struct channel *channel)
{
	uint32_t vp = __atomic_load_n(&channel->target_vp, __ATOMIC_RELAXED);
	struct vmbus *bus = channel->bus;

	if (vp == VMBUS_VP_NONE)
		return;
	channel->counters.interrupts++;
	hv_synic_signal(hv_partition_vp(bus->config.hv, vp), bus->sint, channel->relid);
}

/* Nothing the ring says can be believed any more: the main loop closes the channel. */
static int channel_break(struct channel *channel)
{
	__atomic_store_n(&channel->broken, true, __ATOMIC_RELEASE);
	__atomic_store_n(&channel->bus->ring_broken, true, __ATOMIC_RELEASE);
	bus_kick(channel->bus);
	return -EPROTO;
}

void channel_kick(struct channel *channel)
{
	eventfd_write(channel->doorbell, 1);
}

void channel_interrupt(struct channel *channel)
{
	channel_signal(channel);
}

void channel_give_back(struct channel *channel)
{
	if (ring_incoming_publish(&channel->incoming))
		channel_signal(channel);
}

void channel_flush(struct channel *channel)
{
	if (ring_outgoing_publish(&channel->outgoing))
		channel_signal(channel);
}

static void channel_serve(struct channel *channel)
{
	if (channel_broken(channel))
		return;
	__atomic_store_n(&channel->services, channel->services + 1, __ATOMIC_RELAXED);
	channel->budget = SERVICE_BATCH;
	channel->kicked = false;
	ring_incoming_mask(&channel->incoming);
	ring_outgoing_look(&channel->outgoing);
	if (__builtin_expect(channel->fault != NULL, false))
		fault_release(channel, false);
	channel->offer->config.ops->service(channel->offer->config.context, channel);
	channel_give_back(channel);
	channel_flush(channel);
}

void channel_on_doorbell(void *context)
{
	struct channel *channel = context;

	channel->counters.doorbells++;
	channel_serve(channel);
}

static bool poll_ready(const struct io_poll *poll)
{
	const struct channel *channel = container_of(poll, struct channel, poll);

	return ring_incoming_ready(&channel->incoming);
}

static void poll_serve(struct io_poll *poll)
{
	channel_serve(container_of(poll, struct channel, poll));
}

/* Lets the guest signal again, and serves what it sent before it could know. */
static void poll_rest(struct io_poll *poll)
{
	struct channel *channel = container_of(poll, struct channel, poll);
	int r;

	if (channel_broken(channel))
		return;
	r = ring_incoming_unmask(&channel->incoming);
	if (r < 0)
		channel_break(channel);
	else if (r > 0)
		channel_serve(channel);
}

static bool room_ready(const struct io_poll *poll)
{
	const struct channel *channel = container_of(poll, struct channel, room);

	return ring_outgoing_ready(&channel->outgoing);
}

static void room_serve(struct io_poll *poll)
{
	channel_serve(container_of(poll, struct channel, room));
}

/* The guest signals when there is room, or service is called a little later. */
static void room_rest(struct io_poll *poll)
{
}

/* Others first: service is called again. */
static int channel_yield(struct channel *channel)
{
	channel_give_back(channel);
	if (!channel->kicked)
		channel_kick(channel);
	channel->kicked = true;
	return 0;
}

int channel_receive(struct channel *channel, struct packet *packet)
{
	struct capture *trace;
	int r;

	if (channel_broken(channel))
		return -EPROTO;
	if (channel->budget == 0)
		return channel_yield(channel);
	r = ring_incoming_receive(&channel->incoming, packet);
	if (r == 1) {
		channel->budget--;
		channel->counters.packets_in++;
		trace = bus_trace(channel->bus);
		if (trace)
			trace_packet(channel, trace, TRACE_FROM_GUEST, packet);
		return 1;
	}
	channel_give_back(channel);
	if (r < 0)
		return channel_break(channel);
	/* The mask stays until the thread is about to sleep. */
	io_thread_poll(channel->thread, &channel->poll);
	return 0;
}

bool channel_ready(const struct channel *channel)
{
	return !channel_broken(channel) && ring_incoming_ready(&channel->incoming);
}

/* Nobody will say when there is room: service is called again a little later. */
static void channel_poll_later(struct channel *channel)
{
	if (__atomic_exchange_n(&channel->poll_due, true, __ATOMIC_ACQ_REL))
		return;
	__atomic_store_n(&channel->bus->poll_due, true, __ATOMIC_RELEASE);
	bus_kick(channel->bus);
}

static int after_send(struct channel *channel, int result)
{
	if (result == 0)
		channel->counters.packets_out++;
	if (result == -EAGAIN) {
		channel->counters.ring_full++;
		channel_flush(channel);
		/* The guest may make room before the thread sleeps.  A VSP may send until its close
		 * is done, which comes after the channel was detached from the thread. */
		if (channel->watch)
			io_thread_poll(channel->thread, &channel->room);
		if (!ring_incoming_guest_signals_room(&channel->incoming))
			channel_poll_later(channel);
	}
	return result == -EPROTO ? channel_break(channel) : result;
}

static __attribute__((cold, noinline)) int
trace_sent(struct channel *channel, struct capture *capture, const struct packet *packet)
{
	trace_packet(channel, capture, TRACE_TO_GUEST, packet);
	return 0;
}

int channel_put(struct channel *channel, enum packet_type type, uint16_t flags,
		uint64_t transaction_id, const void *payload, uint32_t size)
{
	struct capture *trace = bus_trace(channel->bus);
	int r;

	if (channel_broken(channel))
		return -EPROTO;
	r = after_send(channel, ring_outgoing_send(&channel->outgoing, type, flags, transaction_id,
						   payload, size));
	if (trace && r == 0)
		return trace_sent(channel, trace,
				  &(struct packet){.type = type,
						   .flags = flags,
						   .transaction_id = transaction_id,
						   .payload = payload,
						   .payload_size = size});
	return r;
}

int channel_send(struct channel *channel, enum packet_type type, uint16_t flags,
		 uint64_t transaction_id, const void *payload, uint32_t size)
{
	if (__builtin_expect(channel->fault != NULL, false))
		return fault_send(channel, type, flags, transaction_id, payload, size);
	return channel_put(channel, type, flags, transaction_id, payload, size);
}

int channel_send_transfer_pages(struct channel *channel, uint16_t flags, uint64_t transaction_id,
				uint16_t page_set, const struct vmbus_transfer_range *ranges,
				uint32_t range_count, const void *payload, uint32_t size)
{
	struct capture *trace = bus_trace(channel->bus);
	int r;

	if (channel_broken(channel))
		return -EPROTO;
	r = after_send(channel,
		       ring_outgoing_send_transfer(&channel->outgoing, flags, transaction_id,
						   page_set, ranges, range_count, payload, size));
	if (trace && r == 0)
		return trace_sent(
			channel, trace,
			&(struct packet){.type = PACKET_TRANSFER_PAGES,
					 .flags = flags,
					 .transaction_id = transaction_id,
					 .payload = payload,
					 .payload_size = size,
					 .range_count = range_count,
					 .ranges = (const uint8_t *)ranges,
					 .ranges_size = range_count * (uint32_t)sizeof(*ranges)});
	return r;
}

int packet_buffers(const struct channel *channel, const struct packet *packet, uint32_t index,
		   enum gpa_access access, struct iovec *iov, unsigned int max, uint32_t *bytes)
{
	struct gpa_range range;
	uint32_t offset = 0;
	int r = 0;

	if (index >= packet->range_count)
		return -EINVAL;
	for (uint32_t i = 0; !r && i <= index; i++)
		r = gpa_range_parse(packet->ranges, packet->ranges_size, &offset, &range);
	if (!r)
		r = gpa_range_resolve(channel->bus->config.gpa, &range, access, iov, 0, max);
	if (r >= 0)
		*bytes = range.byte_count;
	return r;
}

int packet_all_buffers(const struct channel *channel, const struct packet *packet,
		       enum gpa_access access, struct iovec *iov, unsigned int used,
		       unsigned int max, uint32_t *bytes)
{
	return gpa_ranges_resolve(channel->bus->config.gpa, packet->ranges, packet->ranges_size,
				  packet->range_count, access, iov, used, max, bytes);
}

int channel_gpadl_buffers(const struct channel *channel, uint32_t gpadl_id, enum gpa_access access,
			  struct iovec *iov, unsigned int max, uint64_t *bytes)
{
	return gpadl_buffers(&channel->bus->gpadls, channel->relid, gpadl_id, access, iov, max,
			     bytes);
}

uint32_t channel_send_capacity(const struct channel *channel)
{
	return channel->outgoing.memory.size;
}

unsigned int channel_index(const struct channel *channel)
{
	return channel->index;
}

unsigned int channel_target_vp(const struct channel *channel)
{
	uint32_t vp = __atomic_load_n(&channel->target_vp, __ATOMIC_RELAXED);

	return vp == VMBUS_VP_NONE ? 0 : vp;
}

const uint8_t *channel_open_data(const struct channel *channel)
{
	return channel->request.user_data;
}

void channel_set_context(struct channel *channel, void *context)
{
	channel->context = context;
}

void *channel_context(const struct channel *channel)
{
	return channel->context;
}

uint32_t channel_bus_version(const struct channel *channel)
{
	return vmbus_negotiated_version(channel->bus);
}

void channel_prepare(struct channel *channel)
{
	io_poll_init(&channel->poll, poll_ready, poll_serve, poll_rest);
	io_poll_init(&channel->room, room_ready, room_serve, room_rest);
	channel->budget = SERVICE_BATCH;
}
