#include <errno.h>
#include <string.h>

#include "base/capture.h"
#include "base/clock.h"
#include "devices/chipset/tulip_internal.h"

/* Frames that wait for a descriptor, or at the host, are lost, as frames may be. */

#define TIMER_MAX 0x1ffffu

static void save_ring(struct state_writer *writer, const char *const names[3],
		      const struct tulip_ring *ring)
{
	state_put_u32(writer, names[0], ring->process);
	state_put_u32(writer, names[1], ring->base);
	state_put_u32(writer, names[2], ring->at);
}

static const char *const receive_names[] = {"receive-process", "receive-list", "receive-at"};
static const char *const transmit_names[] = {"transmit-process", "transmit-list", "transmit-at"};

static void save_filter(struct state_writer *writer, const struct tulip_filter *filter)
{
	uint8_t hash[2 * TULIP_HASH_WORDS];

	for (unsigned int i = 0; i < TULIP_HASH_WORDS; i++) {
		hash[2 * i] = (uint8_t)filter->hash[i];
		hash[2 * i + 1] = (uint8_t)(filter->hash[i] >> 8);
	}
	state_put_u32(writer, "filter", filter->kind);
	state_put_bytes(writer, "addresses", filter->perfect,
			(size_t)filter->perfect_count * NET_MAC_BYTES);
	state_put_bytes(writer, "hash", hash, sizeof(hash));
}

void tulip_save(void *device, struct state_writer *writer)
{
	struct tulip *tulip = device;

	pthread_mutex_lock(&tulip->lock);
	state_put_u32(writer, "bus-mode", tulip->bus_mode);
	state_put_u32(writer, "status", tulip->status);
	state_put_u32(writer, "mode", tulip->mode);
	state_put_u32(writer, "mask", tulip->mask);
	state_put_u32(writer, "missed", tulip->missed);
	state_put_u32(writer, "serial", tulip->serial);
	state_put_u32(writer, "pins", tulip->pins);
	state_put_u32(writer, "pins-out", tulip->pins_out);
	state_put_u32(writer, "watchdog", tulip->watchdog);
	state_put_u32(writer, "bus-error", tulip->bus_error);
	state_put_u32(writer, "timer", tulip->timer_ticks);
	state_put_u32(writer, "timer-left", tulip_timer_left(tulip, clock_now_ns()));
	state_put_u32(writer, "timer-on", tulip->timer_due != 0);
	state_put_u32(writer, "plugged", tulip->plugged);
	save_ring(writer, receive_names, &tulip->receive);
	save_ring(writer, transmit_names, &tulip->transmit);
	save_filter(writer, &tulip->filter);
	tulip_serial_save(&tulip->rom, &tulip->phy, writer);
	pci_function_save(tulip->function, writer);
	pthread_mutex_unlock(&tulip->lock);
}

static int restore_ring(const struct state_node *node, const char *const names[3],
			struct tulip_ring *ring)
{
	uint32_t process, base, at;
	int r = state_get_u32(node, names[0], &process);

	if (r == 0)
		r = state_get_u32(node, names[1], &base);
	if (r == 0)
		r = state_get_u32(node, names[2], &at);
	if (r < 0)
		return r;
	if (process >= TULIP_PROCESSES || (base | at) & 3)
		return -EINVAL;
	*ring = (struct tulip_ring){process, base, at};
	return 0;
}

static int restore_filter(const struct state_node *node, struct tulip_filter *filter)
{
	struct tulip_filter new = {0};
	size_t bytes, hash_bytes;
	const void *addresses = state_find_bytes(node, "addresses", &bytes);
	const uint8_t *hash = state_find_bytes(node, "hash", &hash_bytes);
	int r = state_get_u32(node, "filter", &new.kind);

	if (r < 0)
		return r;
	if (!addresses || bytes > sizeof(new.perfect) || bytes % NET_MAC_BYTES != 0 || !hash ||
	    hash_bytes != 2 * TULIP_HASH_WORDS || new.kind & ~TULIP_MODE_FILTERS)
		return -EINVAL;
	memcpy(new.perfect, addresses, bytes);
	new.perfect_count = (uint32_t)(bytes / NET_MAC_BYTES);
	for (unsigned int i = 0; i < TULIP_HASH_WORDS; i++)
		new.hash[i] = (uint16_t)(hash[2 * i] | hash[2 * i + 1] << 8);
	*filter = new;
	return 0;
}

struct saved {
	uint32_t bus_mode, status, mode, mask, missed, serial, pins, pins_out, watchdog, bus_error;
	uint32_t timer, timer_left, timer_on, plugged;
};

static int read_registers(const struct state_node *node, struct saved *saved)
{
	const struct {
		const char *name;
		uint32_t *value;
		uint32_t valid; /* the bits that may be set */
	} fields[] = {
		{"bus-mode", &saved->bus_mode, 0x01fffffe},
		{"status", &saved->status, 0x6fff},
		{"mode", &saved->mode, ~TULIP_MODE_FILTERS},
		{"mask", &saved->mask, 0x0c01ffff},
		{"missed", &saved->missed, 0x1fffffff},
		{"serial", &saved->serial, 0x0007fcff},
		{"pins", &saved->pins, 0xff},
		{"pins-out", &saved->pins_out, 0xff},
		{"watchdog", &saved->watchdog, 0x1ff},
		{"bus-error", &saved->bus_error, 1},
		{"timer", &saved->timer, TIMER_MAX},
		{"timer-left", &saved->timer_left, UINT16_MAX},
		{"timer-on", &saved->timer_on, 1},
		{"plugged", &saved->plugged, 1},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		int r = state_get_u32(node, fields[i].name, fields[i].value);

		if (r < 0)
			return r;
		if (*fields[i].value & ~fields[i].valid)
			return -EINVAL;
	}
	return saved->timer_on && !(saved->timer & UINT16_MAX) ? -EINVAL : 0;
}

/* With the lock held. */
static void take_registers(struct tulip *tulip, const struct saved *saved)
{
	tulip->bus_mode = saved->bus_mode;
	tulip->status = saved->status;
	tulip->mode = saved->mode;
	tulip->mask = saved->mask;
	tulip->missed = saved->missed;
	tulip->serial = saved->serial;
	tulip->pins = saved->pins;
	tulip->pins_out = saved->pins_out;
	tulip->watchdog = saved->watchdog;
	tulip->bus_error = saved->bus_error;
	tulip->timer_ticks = saved->timer;
	tulip->timer_due =
		saved->timer_on ? clock_now_ns() + saved->timer_left * tulip_tick_ns(tulip) : 0;
	tulip->plugged = saved->plugged;
	tulip_update_link(tulip);
}

int tulip_restore(void *device, const struct state_node *node)
{
	struct tulip *tulip = device;
	struct tulip_ring receive, transmit;
	struct tulip_filter filter;
	struct saved saved;
	int r = read_registers(node, &saved);

	if (r == 0)
		r = restore_ring(node, receive_names, &receive);
	if (r == 0)
		r = restore_ring(node, transmit_names, &transmit);
	if (r == 0)
		r = restore_filter(node, &filter);
	if (r == 0)
		r = pci_function_restore(tulip->function, node);
	if (r < 0)
		return r;
	pthread_mutex_lock(&tulip->lock);
	take_registers(tulip, &saved);
	tulip->receive = receive;
	tulip->transmit = transmit;
	tulip->filter = filter;
	r = tulip_serial_restore(&tulip->rom, &tulip->phy, node);
	tulip_update_interrupt(tulip);
	pthread_mutex_unlock(&tulip->lock);
	return r;
}

static void put_counters(struct state_writer *writer, const char *const names[3],
			 const struct tulip_counters *counters)
{
	state_put_u64(writer, names[0], __atomic_load_n(&counters->frames, __ATOMIC_RELAXED));
	state_put_u64(writer, names[1], __atomic_load_n(&counters->bytes, __ATOMIC_RELAXED));
	state_put_u64(writer, names[2], __atomic_load_n(&counters->dropped, __ATOMIC_RELAXED));
}

void tulip_inspect(void *device, struct state_writer *writer)
{
	static const char *const sent[] = {"sent-frames", "sent-bytes", "sent-dropped"};
	static const char *const received[] = {"received-frames", "received-bytes",
					       "received-dropped"};
	struct tulip *tulip = device;

	put_counters(writer, sent, &tulip->sent);
	put_counters(writer, received, &tulip->received);
	if (tulip->capture) {
		state_begin(writer, "capture", TULIP_STATE_VERSION);
		capture_inspect(tulip->capture, writer);
		state_end(writer);
	}
	if (!tulip->port->backend->inspect)
		return;
	state_begin(writer, "port", TULIP_STATE_VERSION);
	tulip->port->backend->inspect(tulip->port, writer);
	state_end(writer);
}
