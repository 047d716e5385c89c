#include <string.h>

#include "devices/chipset/tulip_internal.h"

/*
 * The receive process.  A frame that finds no descriptor waits a while, as in the chip's FIFO: for
 * a poll demand, for the guest to look at its interrupts, or for the next frame.
 */

#define STATUS_FILTER_FAILED (1u << 30)
#define STATUS_LENGTH_SHIFT  16
#define STATUS_TRUNCATED     (1u << 14)
#define STATUS_MULTICAST     (1u << 10)
#define STATUS_FIRST	     (1u << 9)
#define STATUS_LAST	     (1u << 8)
#define STATUS_TOO_LONG	     (1u << 7)
#define STATUS_ETHERNET	     (1u << 5) /* the type field is no length */
#define FRAME_LONG	     1514u
#define TYPE_OFFSET	     12u
#define TYPE_MIN	     1501u

#define MISSED_MASK	0xffffu
#define MISSED_OVERFLOW 0x10000u

enum outcome { DELIVERED, NO_DESCRIPTOR, STOPPED };

/* The descriptors that a frame goes to. */
struct place {
	struct tulip_descriptor pieces[TULIP_PIECES_MAX];
	unsigned int count;
	uint32_t room;
};

static uint32_t second_size(const struct tulip_descriptor *piece)
{
	return piece->control & TULIP_CHAINED ? 0 : TULIP_BUFFER2(piece->control);
}

/* False after a bus error. */
static bool find_place(struct tulip *tulip, uint32_t bytes, struct place *place)
{
	uint32_t at = tulip->receive.at;

	place->count = place->room = 0;
	while (place->room < bytes && place->count < TULIP_PIECES_MAX) {
		struct tulip_descriptor *piece = &place->pieces[place->count];

		if (!tulip_fetch(tulip, at, piece))
			return false;
		if (!(piece->status & TULIP_OWN))
			break;
		place->count++;
		place->room += TULIP_BUFFER1(piece->control) + second_size(piece);
		at = tulip_next(tulip, &tulip->receive, piece);
	}
	return true;
}

/* Copies what fits into one buffer. */
static bool put(struct tulip *tulip, uint32_t address, uint32_t size, const uint8_t **data,
		uint32_t *bytes)
{
	uint32_t part = MIN(size, *bytes);

	if (part && gpa_write(tulip->env.gpa, address, *data, part) < 0) {
		tulip_fail(tulip);
		return false;
	}
	*data += part;
	*bytes -= part;
	return true;
}

static bool fill(struct tulip *tulip, const struct place *place, const uint8_t *data,
		 uint32_t bytes)
{
	for (unsigned int i = 0; i < place->count; i++) {
		const struct tulip_descriptor *piece = &place->pieces[i];

		if (!put(tulip, piece->buffer1, TULIP_BUFFER1(piece->control), &data, &bytes) ||
		    !put(tulip, piece->buffer2, second_size(piece), &data, &bytes))
			return false;
	}
	return true;
}

static uint32_t last_status(const struct tulip_buffer *buffer, uint32_t total, bool truncated)
{
	uint32_t type = (uint32_t)buffer->data[TYPE_OFFSET] << 8 | buffer->data[TYPE_OFFSET + 1];

	return STATUS_LAST | total << STATUS_LENGTH_SHIFT |
	       (truncated ? TULIP_ERROR_SUMMARY | STATUS_TRUNCATED : 0) |
	       (buffer->filter_failed ? STATUS_FILTER_FAILED : 0) |
	       (buffer->data[0] & 1 ? STATUS_MULTICAST : 0) |
	       (total - TULIP_FCS_BYTES > FRAME_LONG ? STATUS_TOO_LONG : 0) |
	       (type >= TYPE_MIN ? STATUS_ETHERNET : 0);
}

static bool close_all(struct tulip *tulip, const struct place *place, uint32_t status)
{
	for (unsigned int i = 0; i < place->count; i++) {
		uint32_t own = (i == 0 ? STATUS_FIRST : 0) | (i + 1 == place->count ? status : 0);

		if (!tulip_close(tulip, &place->pieces[i], own))
			return false;
	}
	tulip->receive.at = tulip_next(tulip, &tulip->receive, &place->pieces[place->count - 1]);
	return true;
}

/* With the lock held.  Nobody looks at the FCS, which counts, but is not computed: it is zero. */
static enum outcome deliver(struct tulip *tulip, const struct tulip_buffer *buffer)
{
	uint32_t total = buffer->bytes + TULIP_FCS_BYTES;
	bool suspended = tulip->receive.process == TULIP_SUSPENDED;
	struct place place;

	if (suspended)
		tulip->receive.process = TULIP_RUNNING;
	if (!tulip_may_run(tulip, &tulip->receive))
		return STOPPED;
	if (!find_place(tulip, total, &place))
		return STOPPED;
	if (place.count == 0) {
		tulip->receive.process = TULIP_SUSPENDED;
		tulip_event(tulip, suspended ? 0 : TULIP_INT_RECEIVE_NO_BUF);
		return NO_DESCRIPTOR;
	}
	if (!fill(tulip, &place, buffer->data, total) ||
	    !close_all(tulip, &place, last_status(buffer, total, place.room < total)))
		return STOPPED;
	tulip_event(tulip, TULIP_INT_RECEIVE);
	return DELIVERED;
}

static void give_back(struct tulip *tulip, struct tulip_buffer *buffer)
{
	buffer->next = tulip->free_buffer;
	tulip->free_buffer = buffer;
}

void tulip_receive_run(struct tulip *tulip)
{
	while (tulip->waiting) {
		struct tulip_buffer *buffer = tulip->waiting;
		uint32_t bytes = buffer->bytes;
		enum outcome outcome;

		pthread_mutex_lock(&tulip->lock);
		outcome = deliver(tulip, buffer);
		pthread_mutex_unlock(&tulip->lock);
		if (outcome == NO_DESCRIPTOR)
			break;
		tulip->waiting = buffer->next;
		if (!tulip->waiting)
			tulip->waiting_end = &tulip->waiting;
		tulip->waiting_count--;
		give_back(tulip, buffer);
		tulip_count(outcome == DELIVERED ? &tulip->received.frames
						 : &tulip->received.dropped,
			    1);
		tulip_count(&tulip->received.bytes, outcome == DELIVERED ? bytes : 0);
	}
	if (!tulip->hungry || !tulip->free_buffer || !tulip->running)
		return;
	tulip->hungry = false;
	tulip->queue->port->backend->receive(tulip->queue);
}

static void count_missed(struct tulip *tulip)
{
	uint32_t missed = (tulip->missed & MISSED_MASK) + 1;

	tulip->missed = (tulip->missed & MISSED_OVERFLOW) | (missed & MISSED_MASK) |
			(missed > MISSED_MASK ? MISSED_OVERFLOW : 0);
}

/* Whether a frame in the buffer is for this adapter, and has somewhere to wait. */
static bool wanted(struct tulip *tulip, struct tulip_buffer *buffer, bool loopback)
{
	bool looping, wanted = false;

	pthread_mutex_lock(&tulip->lock);
	looping = tulip->mode & TULIP_MODE_LOOPBACK;
	if (tulip->receive.process != TULIP_STOPPED && looping == loopback &&
	    (loopback || tulip_phy_up(&tulip->phy))) {
		buffer->filter_failed =
			!tulip_filter_passes(&tulip->filter, tulip->mode, buffer->data);
		wanted = !buffer->filter_failed || tulip->mode & TULIP_MODE_RECEIVE_ALL;
	}
	if (wanted && tulip->waiting_count == TULIP_WAITING_MAX) {
		count_missed(tulip);
		tulip_count(&tulip->received.dropped, 1);
		wanted = false;
	}
	pthread_mutex_unlock(&tulip->lock);
	return wanted;
}

static void accept(struct tulip *tulip, struct tulip_buffer *buffer, uint32_t bytes)
{
	uint32_t short_of = TULIP_FRAME_MIN - MIN(bytes, TULIP_FRAME_MIN);

	tulip_capture_frame(tulip, false, buffer->data, bytes);
	/* What passes within a host is not padded, and a runt on a wire. */
	memset(buffer->data + bytes, 0, short_of + TULIP_FCS_BYTES);
	buffer->bytes = bytes + short_of;
	buffer->next = NULL;
	*tulip->waiting_end = buffer;
	tulip->waiting_end = &buffer->next;
	tulip->waiting_count++;
}

static void hear(struct tulip *tulip, struct tulip_buffer *buffer, uint32_t bytes, bool loopback)
{
	/* The oldest goes first: there may be room by now. */
	if (tulip->waiting_count == TULIP_WAITING_MAX)
		tulip_receive_run(tulip);
	if (wanted(tulip, buffer, loopback))
		accept(tulip, buffer, bytes);
	else
		give_back(tulip, buffer);
	tulip_receive_run(tulip);
}

static struct tulip_buffer *take_buffer(struct tulip *tulip)
{
	struct tulip_buffer *buffer = tulip->free_buffer;

	if (buffer)
		tulip->free_buffer = buffer->next;
	return buffer;
}

struct net_buffer *tulip_receive_buffer(void *context)
{
	struct tulip *tulip = context;
	struct tulip_buffer *buffer = take_buffer(tulip);

	tulip->hungry = !buffer;
	if (!buffer)
		return NULL;
	buffer->iov[1] = (struct iovec){buffer->data, TULIP_ROOM};
	buffer->buffer =
		(struct net_buffer){.iov = buffer->iov, .iov_count = 2, .bytes = TULIP_ROOM};
	return &buffer->buffer;
}

void tulip_receive_frame(void *context, struct net_buffer *given, uint32_t bytes,
			 const struct net_offload *offload)
{
	struct tulip *tulip = context;
	struct tulip_buffer *buffer = container_of(given, struct tulip_buffer, buffer);

	if (bytes < 14 || bytes > TULIP_FRAME_MAX || !tulip->running)
		give_back(tulip, buffer);
	else
		hear(tulip, buffer, bytes, false);
}

void tulip_receive_loopback(struct tulip *tulip, const uint8_t *data, uint32_t bytes)
{
	struct tulip_buffer *buffer = take_buffer(tulip);

	if (!buffer)
		return;
	memcpy(buffer->data, data, bytes);
	hear(tulip, buffer, bytes, true);
}

void tulip_receive_init(struct tulip *tulip)
{
	tulip->waiting_end = &tulip->waiting;
	for (unsigned int i = 0; i < TULIP_BUFFERS; i++)
		give_back(tulip, &tulip->buffers[i]);
}
