#include <string.h>

#include "devices/chipset/tulip_internal.h"

/* The transmit process: whole frames are taken off the ring, and descriptors closed, before the
 * backend has them; while it holds all our buffers the ring waits. */

#define CONTROL_INTERRUPT     (1u << 31)
#define CONTROL_LAST	      (1u << 30)
#define CONTROL_FIRST	      (1u << 29)
#define CONTROL_FILTER_HIGH   (1u << 28)
#define CONTROL_SETUP	      (1u << 27)
#define CONTROL_CRC_THERE     (1u << 26)
#define CONTROL_NO_PADDING    (1u << 23)
#define CONTROL_FILTER_LOW    (1u << 22)
#define BUS_MODE_POLLS	      (7u << 17) /* in CSR0: how often */
#define STATUS_JABBER	      (1u << 14)
#define STATUS_SETUP	      0x7fffffffu
#define ETHERNET_HEADER_BYTES 14u

/* What is sent before others on the thread get their turn. */
#define TURN 64u

enum outcome {
	NOTHING, /* the ring is at rest */
	TAKEN,	 /* a descriptor that held no frame to be sent */
	FRAME,
};

static void suspend_process(struct tulip *tulip)
{
	tulip->transmit.process = TULIP_SUSPENDED;
	tulip_event(tulip, TULIP_INT_TRANSMIT_NO_BUF);
}

/* Closes it and goes on to the next. */
static enum outcome finish(struct tulip *tulip, const struct tulip_descriptor *descriptor,
			   uint32_t status)
{
	if (!tulip_close(tulip, descriptor, status))
		return NOTHING;
	tulip->transmit.at = tulip_next(tulip, &tulip->transmit, descriptor);
	if (descriptor->control & CONTROL_INTERRUPT)
		tulip_event(tulip, TULIP_INT_TRANSMIT);
	return TAKEN;
}

static enum outcome take_setup(struct tulip *tulip, const struct tulip_descriptor *descriptor)
{
	uint8_t setup[TULIP_SETUP_BYTES];
	bool high = descriptor->control & CONTROL_FILTER_HIGH;
	bool low = descriptor->control & CONTROL_FILTER_LOW;
	uint32_t kind = low    ? TULIP_MODE_HASH_PERFECT | (high ? TULIP_MODE_HASH_ONLY : 0)
			: high ? TULIP_MODE_INVERSE
			       : 0;

	if (gpa_read(tulip->env.gpa, descriptor->buffer1, setup, sizeof(setup)) < 0) {
		tulip_fail(tulip);
		return NOTHING;
	}
	tulip_filter_set(&tulip->filter, setup, kind);
	return finish(tulip, descriptor, STATUS_SETUP);
}

/* One of a descriptor's two pieces.  What is too long for a frame is not looked at. */
static bool append(struct tulip *tulip, struct tulip_transmit *transmit, uint32_t address,
		   uint32_t bytes)
{
	uint32_t room = TULIP_FRAME_MAX - MIN(transmit->bytes, TULIP_FRAME_MAX);

	if (bytes <= room && bytes > 0 &&
	    gpa_read(tulip->env.gpa, address, transmit->data + transmit->bytes, bytes) < 0) {
		tulip_fail(tulip);
		return false;
	}
	transmit->bytes += bytes;
	return true;
}

static bool append_both(struct tulip *tulip, struct tulip_transmit *transmit,
			const struct tulip_descriptor *descriptor)
{
	uint32_t second =
		descriptor->control & TULIP_CHAINED ? 0 : TULIP_BUFFER2(descriptor->control);

	return append(tulip, transmit, descriptor->buffer1, TULIP_BUFFER1(descriptor->control)) &&
	       append(tulip, transmit, descriptor->buffer2, second);
}

/* The transmitter has to be switched off and on again. */
static enum outcome jabber(struct tulip *tulip)
{
	tulip->transmit.process = TULIP_STOPPED;
	tulip_event(tulip, TULIP_INT_TRANSMIT_JABBER | TULIP_INT_TRANSMIT_STOPPED);
	return NOTHING;
}

static void complete(struct tulip_transmit *transmit, uint32_t control)
{
	if (control & CONTROL_CRC_THERE)
		transmit->bytes -= MIN(transmit->bytes, TULIP_FCS_BYTES);
	if (control & CONTROL_NO_PADDING || transmit->bytes >= TULIP_FRAME_MIN)
		return;
	memset(transmit->data + transmit->bytes, 0, TULIP_FRAME_MIN - transmit->bytes);
	transmit->bytes = TULIP_FRAME_MIN;
}

/* The descriptors of a frame, up to its last.  The ring waits where the guest has not given all of
 * them yet. */
static enum outcome gather(struct tulip *tulip, struct tulip_transmit *transmit,
			   struct tulip_descriptor *pieces, unsigned int *count)
{
	for (;;) {
		struct tulip_descriptor *piece = &pieces[*count];
		uint32_t address = *count ? tulip_next(tulip, &tulip->transmit, piece - 1)
					  : tulip->transmit.at;

		if (!tulip_fetch(tulip, address, piece))
			return NOTHING;
		if (!(piece->status & TULIP_OWN)) {
			suspend_process(tulip);
			return NOTHING;
		}
		if (*count == 0 && piece->control & CONTROL_SETUP)
			return take_setup(tulip, piece);
		if (*count == 0 && !(piece->control & CONTROL_FIRST))
			return finish(tulip, piece, 0);
		if (!append_both(tulip, transmit, piece))
			return NOTHING;
		++*count;
		if (piece->control & CONTROL_LAST)
			return FRAME;
		if (*count == TULIP_PIECES_MAX) {
			transmit->bytes = TULIP_FRAME_MAX + 1;
			return FRAME;
		}
	}
}

/* With the lock held. */
static enum outcome take_frame(struct tulip *tulip, struct tulip_transmit *transmit)
{
	struct tulip_descriptor pieces[TULIP_PIECES_MAX];
	unsigned int count = 0;
	enum outcome outcome;
	bool too_long;

	if (!tulip_may_run(tulip, &tulip->transmit))
		return NOTHING;
	transmit->bytes = 0;
	outcome = gather(tulip, transmit, pieces, &count);
	if (outcome != FRAME)
		return outcome;
	too_long = transmit->bytes > TULIP_FRAME_MAX;
	for (unsigned int i = 0; i + 1 < count; i++)
		if (!tulip_close(tulip, &pieces[i], 0))
			return NOTHING;
	if (finish(tulip, &pieces[count - 1], too_long ? TULIP_ERROR_SUMMARY | STATUS_JABBER : 0) ==
	    NOTHING)
		return NOTHING;
	if (too_long)
		return jabber(tulip);
	complete(transmit, pieces[count - 1].control);
	return FRAME;
}

static void give_back(struct tulip_transmit *transmit)
{
	struct tulip *tulip = transmit->tulip;

	transmit->next = tulip->free_transmit;
	tulip->free_transmit = transmit;
	if (!tulip->starved || !tulip->running)
		return;
	tulip->starved = false;
	io_thread_batch_end(tulip->thread, &tulip->more);
}

static void on_sent(struct net_transmit *net, int result)
{
	struct tulip_transmit *transmit = container_of(net, struct tulip_transmit, transmit);
	struct tulip *tulip = transmit->tulip;

	if (result < 0) {
		tulip_count(&tulip->sent.dropped, 1);
	} else {
		tulip_count(&tulip->sent.frames, 1);
		tulip_count(&tulip->sent.bytes, transmit->bytes);
	}
	give_back(transmit);
}

static void send_frame(struct tulip *tulip, struct tulip_transmit *transmit)
{
	tulip_capture_frame(tulip, true, transmit->data, transmit->bytes);
	transmit->iov[1] = (struct iovec){transmit->data, transmit->bytes};
	transmit->transmit = (struct net_transmit){
		.iov = transmit->iov,
		.iov_count = 2,
		.bytes = transmit->bytes,
		.done = on_sent,
	};
	tulip->queue->port->backend->transmit(tulip->queue, &transmit->transmit);
}

/* To the wire, to ourselves, or nowhere. */
static void dispatch(struct tulip *tulip, struct tulip_transmit *transmit, bool loopback, bool up)
{
	if (loopback)
		tulip_receive_loopback(tulip, transmit->data, transmit->bytes);
	if (!loopback && up && transmit->bytes >= ETHERNET_HEADER_BYTES) {
		send_frame(tulip, transmit);
		return;
	}
	if (!loopback)
		tulip_count(&tulip->sent.dropped, 1);
	give_back(transmit);
}

static struct tulip_transmit *take_buffer(struct tulip *tulip)
{
	struct tulip_transmit *transmit = tulip->free_transmit;

	tulip->starved = !transmit;
	if (transmit)
		tulip->free_transmit = transmit->next;
	return transmit;
}

void tulip_transmit_run(struct tulip *tulip)
{
	for (unsigned int i = 0; i < TURN; i++) {
		struct tulip_transmit *transmit = take_buffer(tulip);
		enum outcome outcome;
		bool loopback, up;

		if (!transmit)
			return;
		pthread_mutex_lock(&tulip->lock);
		outcome = take_frame(tulip, transmit);
		loopback = tulip->mode & TULIP_MODE_LOOPBACK;
		up = tulip_phy_up(&tulip->phy);
		pthread_mutex_unlock(&tulip->lock);
		if (outcome == FRAME)
			dispatch(tulip, transmit, loopback, up);
		else
			give_back(transmit);
		if (outcome == NOTHING)
			return;
	}
	io_thread_batch_end(tulip->thread, &tulip->more);
}

bool tulip_transmit_polls(const struct tulip *tulip)
{
	return tulip->bus_mode & BUS_MODE_POLLS && tulip->transmit.process == TULIP_SUSPENDED &&
	       !tulip->bus_error;
}

/* Without a word to the guest as long as there is nothing. */
void tulip_transmit_poll(struct tulip *tulip)
{
	struct tulip_descriptor next;

	pthread_mutex_lock(&tulip->lock);
	if (tulip_transmit_polls(tulip) && pci_bus_master(tulip->function) &&
	    tulip_fetch(tulip, tulip->transmit.at, &next) && next.status & TULIP_OWN)
		tulip->transmit.process = TULIP_RUNNING;
	pthread_mutex_unlock(&tulip->lock);
	tulip_transmit_run(tulip);
}

void tulip_transmit_init(struct tulip *tulip)
{
	for (unsigned int i = 0; i < TULIP_TRANSMITS; i++) {
		tulip->transmits[i].tulip = tulip;
		give_back(&tulip->transmits[i]);
	}
}
