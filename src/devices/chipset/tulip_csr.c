#include "base/clock.h"
#include "devices/chipset/tulip_internal.h"

/* The registers: 32 bits each, 8 bytes apart.  VP threads, unless it says otherwise. */

enum {
	CSR_BUS_MODE,
	CSR_TRANSMIT_POLL,
	CSR_RECEIVE_POLL,
	CSR_RECEIVE_LIST,
	CSR_TRANSMIT_LIST,
	CSR_STATUS,
	CSR_MODE,
	CSR_MASK,
	CSR_MISSED,
	CSR_SERIAL,
	CSR_BOOT_ROM,
	CSR_TIMER,
	CSR_PINS,
	CSR_RESERVED_13,
	CSR_RESERVED_14,
	CSR_WATCHDOG,
};

/* What reads as ones, for it is reserved. */
#define BUS_MODE_ONES 0xfe000000u
#define STATUS_ONES   0xfc000000u
#define MASK_ONES     0xf3fe0000u
#define MISSED_ONES   0xe0000000u
#define SERIAL_ONES   0xfff00300u
#define TIMER_ONES    0xfffe0000u
#define PINS_ONES     0xfffffe00u
#define WATCHDOG_ONES 0xfffffe00u

#define BUS_MODE_RESET	  1u
#define MODE_POWER_ON	  0x32000040u
#define MODE_KEPT	  (TULIP_MODE_MII) /* by a software reset */
#define SERIAL_POWER_ON	  (TULIP_MDIO_READ | 0x80ffu)
#define SERIAL_KEPT	  0x0007fcffu
#define WATCHDOG_POWER_ON 0xc8u
#define PINS_DIRECTION	  0x100u

#define EVENTS                                                                                     \
	(TULIP_INT_TRANSMIT | TULIP_INT_TRANSMIT_STOPPED | TULIP_INT_TRANSMIT_NO_BUF |             \
	 TULIP_INT_TRANSMIT_JABBER | TULIP_INT_UNDERFLOW | TULIP_INT_RECEIVE |                     \
	 TULIP_INT_RECEIVE_NO_BUF | TULIP_INT_RECEIVE_STOPPED | TULIP_INT_RECEIVE_WATCHDOG |       \
	 TULIP_INT_EARLY_TRANSMIT | TULIP_INT_TIMER | TULIP_INT_BUS_ERROR |                        \
	 TULIP_INT_EARLY_RECEIVE)
#define NORMAL_EVENTS                                                                              \
	(TULIP_INT_TRANSMIT | TULIP_INT_TRANSMIT_NO_BUF | TULIP_INT_RECEIVE | TULIP_INT_TIMER |    \
	 TULIP_INT_EARLY_RECEIVE)
/* The timer counts as both: Linux waits for it with the normal interrupts masked. */
#define ABNORMAL_EVENTS ((EVENTS & ~NORMAL_EVENTS) | TULIP_INT_TIMER)

/* CSR5: what the processes do, and what the bus error was. */
#define RECEIVE_SHIFT	   17
#define TRANSMIT_SHIFT	   20
#define RECEIVE_WAITING	   3u
#define RECEIVE_SUSPENDED  4u
#define TRANSMIT_FETCHING  1u
#define TRANSMIT_SUSPENDED 6u
#define ERROR_MASTER_ABORT (1u << 23)

#define TIMER_REPEATS  0x10000u
#define TICK_100_NS    81920u
#define TICK_10_NS     819200u
#define TICK_SERIAL_NS 204800u

static uint32_t summary(const struct tulip *tulip)
{
	uint32_t events = tulip->status & tulip->mask;

	return (events & NORMAL_EVENTS ? TULIP_INT_NORMAL : 0) |
	       (events & ABNORMAL_EVENTS ? TULIP_INT_ABNORMAL : 0);
}

void tulip_update_interrupt(struct tulip *tulip)
{
	pci_interrupt(tulip->function, summary(tulip) & tulip->mask);
}

void tulip_event(struct tulip *tulip, uint32_t events)
{
	tulip->status |= events;
	tulip_update_interrupt(tulip);
}

void tulip_wake(struct tulip *tulip)
{
	if (tulip->wake_posted)
		return;
	tulip->wake_posted = true;
	io_thread_post(tulip->thread, &tulip->wake);
}

void tulip_update_link(struct tulip *tulip)
{
	tulip_phy_set_link(&tulip->phy, tulip->carrier && tulip->plugged);
}

void tulip_registers_reset(struct tulip *tulip)
{
	tulip->bus_mode = 0;
	tulip->status = 0;
	tulip->mode = MODE_POWER_ON | (tulip->mode & MODE_KEPT);
	tulip->mask = 0;
	tulip->missed = 0;
	tulip->serial = SERIAL_POWER_ON;
	tulip->pins = tulip->pins_out = 0;
	tulip->watchdog = WATCHDOG_POWER_ON;
	tulip->bus_error = false;
	tulip->timer_ticks = 0;
	tulip->timer_due = 0;
	tulip->receive = tulip->transmit = (struct tulip_ring){0};
	tulip->filter = (struct tulip_filter){0};
	tulip_rom_reset(&tulip->rom);
	tulip_update_interrupt(tulip);
}

/* As the port's clock is: one of 2048 cycles of it. */
uint64_t tulip_tick_ns(const struct tulip *tulip)
{
	if (!(tulip->mode & TULIP_MODE_MII))
		return TICK_SERIAL_NS;
	return tulip->mode & TULIP_MODE_SLOW ? TICK_10_NS : TICK_100_NS;
}

uint32_t tulip_timer_left(const struct tulip *tulip, uint64_t now)
{
	uint64_t tick = tulip_tick_ns(tulip);

	if (tulip->timer_due <= now)
		return 0;
	/* The port's clock may have been made faster since. */
	return (uint32_t)MIN((tulip->timer_due - now + tick - 1) / tick, (uint64_t)UINT16_MAX);
}

static void write_timer(struct tulip *tulip, uint32_t value)
{
	uint32_t ticks = value & UINT16_MAX;

	tulip->timer_ticks = ticks ? value & (TIMER_REPEATS | UINT16_MAX) : 0;
	tulip->timer_due = ticks ? clock_now_ns() + ticks * tulip_tick_ns(tulip) : 0;
	tulip_wake(tulip);
}

static uint32_t read_timer(const struct tulip *tulip)
{
	return TIMER_ONES | (tulip->timer_ticks & TIMER_REPEATS) |
	       tulip_timer_left(tulip, clock_now_ns());
}

static uint32_t read_status(const struct tulip *tulip)
{
	static const uint32_t receive[] = {
		[TULIP_RUNNING] = RECEIVE_WAITING, [TULIP_SUSPENDED] = RECEIVE_SUSPENDED};
	static const uint32_t transmit[] = {
		[TULIP_RUNNING] = TRANSMIT_FETCHING, [TULIP_SUSPENDED] = TRANSMIT_SUSPENDED};

	return STATUS_ONES | tulip->status | summary(tulip) |
	       receive[tulip->receive.process] << RECEIVE_SHIFT |
	       transmit[tulip->transmit.process] << TRANSMIT_SHIFT |
	       (tulip->bus_error ? ERROR_MASTER_ABORT : 0);
}

/* A guest that has looked may have made room in its ring: it does not tell otherwise. */
static void look_for_room(struct tulip *tulip)
{
	if (atomic_load_explicit(&tulip->waiting_count, memory_order_relaxed) > 0)
		tulip_wake(tulip);
}

static void poll_ring(struct tulip *tulip, struct tulip_ring *ring)
{
	if (ring->process == TULIP_SUSPENDED)
		ring->process = TULIP_RUNNING;
	if (ring->process == TULIP_RUNNING)
		tulip_wake(tulip);
}

static void switch_process(struct tulip *tulip, struct tulip_ring *ring, bool on, uint32_t stopped)
{
	if (on && ring->process == TULIP_STOPPED && !tulip->bus_error) {
		ring->process = TULIP_RUNNING;
		tulip_wake(tulip);
	} else if (!on && ring->process != TULIP_STOPPED) {
		ring->process = TULIP_STOPPED;
		tulip_event(tulip, stopped);
	}
}

static void write_mode(struct tulip *tulip, uint32_t value)
{
	uint32_t changed = tulip->mode ^ value;

	tulip->mode = value & ~TULIP_MODE_FILTERS;
	if (changed & TULIP_MODE_RECEIVE)
		switch_process(tulip, &tulip->receive, value & TULIP_MODE_RECEIVE,
			       TULIP_INT_RECEIVE_STOPPED);
	if (changed & TULIP_MODE_TRANSMIT)
		switch_process(tulip, &tulip->transmit, value & TULIP_MODE_TRANSMIT,
			       TULIP_INT_TRANSMIT_STOPPED);
}

/* A list is set while its process is stopped. */
static void write_list(struct tulip_ring *ring, uint32_t value)
{
	if (ring->process == TULIP_STOPPED)
		ring->base = ring->at = value & ~3u;
}

static void write_serial(struct tulip *tulip, uint32_t value)
{
	tulip->serial = value & SERIAL_KEPT;
	tulip_rom_write(&tulip->rom, value);
	tulip_phy_write(&tulip->phy, value);
}

static uint32_t read_serial(const struct tulip *tulip)
{
	uint32_t value = SERIAL_ONES | tulip->serial | tulip_phy_read(&tulip->phy);

	return tulip->serial & TULIP_ROM_ENABLE
		       ? (value & ~TULIP_ROM_OUT) | tulip_rom_read(&tulip->rom)
		       : value;
}

static void write_pins(struct tulip *tulip, uint32_t value)
{
	if (value & PINS_DIRECTION)
		tulip->pins_out = value & 0xff;
	else
		tulip->pins = value & 0xff;
}

static void write_register(struct tulip *tulip, unsigned int csr, uint32_t value)
{
	switch (csr) {
	case CSR_BUS_MODE:
		if (value & BUS_MODE_RESET)
			tulip_registers_reset(tulip);
		tulip->bus_mode = value & ~(BUS_MODE_ONES | BUS_MODE_RESET);
		tulip_wake(tulip);
		break;
	case CSR_TRANSMIT_POLL:
		poll_ring(tulip, &tulip->transmit);
		break;
	case CSR_RECEIVE_POLL:
		poll_ring(tulip, &tulip->receive);
		break;
	case CSR_RECEIVE_LIST:
		write_list(&tulip->receive, value);
		break;
	case CSR_TRANSMIT_LIST:
		write_list(&tulip->transmit, value);
		break;
	case CSR_STATUS:
		tulip->status &= ~value;
		tulip_update_interrupt(tulip);
		look_for_room(tulip);
		break;
	case CSR_MODE:
		write_mode(tulip, value);
		break;
	case CSR_MASK:
		tulip->mask = value & ~MASK_ONES;
		tulip_update_interrupt(tulip);
		look_for_room(tulip);
		break;
	case CSR_SERIAL:
		write_serial(tulip, value);
		break;
	case CSR_TIMER:
		write_timer(tulip, value);
		break;
	case CSR_PINS:
		write_pins(tulip, value);
		break;
	case CSR_WATCHDOG:
		tulip->watchdog = value & ~WATCHDOG_ONES;
		break;
	}
}

static uint32_t read_register(struct tulip *tulip, unsigned int csr)
{
	uint32_t value;

	switch (csr) {
	case CSR_BUS_MODE:
		return BUS_MODE_ONES | tulip->bus_mode;
	case CSR_RECEIVE_LIST:
		return tulip->receive.base;
	case CSR_TRANSMIT_LIST:
		return tulip->transmit.base;
	case CSR_STATUS:
		return read_status(tulip);
	case CSR_MODE:
		return tulip->mode | tulip->filter.kind;
	case CSR_MASK:
		return MASK_ONES | tulip->mask;
	case CSR_MISSED:
		value = MISSED_ONES | tulip->missed;
		tulip->missed = 0;
		return value;
	case CSR_SERIAL:
		return read_serial(tulip);
	case CSR_TIMER:
		return read_timer(tulip);
	case CSR_PINS:
		/* Inputs are pulled up. */
		return PINS_ONES | tulip->pins | (~tulip->pins_out & 0xff);
	case CSR_WATCHDOG:
		return WATCHDOG_ONES | tulip->watchdog;
	default:
		return UINT32_MAX;
	}
}

/* Registers are written whole.  A narrower read gives a part, a wider one what lies between two
 * registers, too: ones. */
static void tulip_access(void *context, struct io_access *access)
{
	struct tulip *tulip = context;
	unsigned int csr = (unsigned int)access->offset / 8, within = access->offset % 8;
	bool whole = within == 0 && access->size >= 4;

	pthread_mutex_lock(&tulip->lock);
	if (access->write && whole)
		write_register(tulip, csr, (uint32_t)access->value);
	else if (!access->write && within < 4)
		access->value = (0xffffffff00000000u | read_register(tulip, csr)) >> (8 * within);
	else if (!access->write)
		access->value = UINT64_MAX;
	pthread_mutex_unlock(&tulip->lock);
	if (!access->write && access->size < 8)
		access->value &= (1ull << (8 * access->size)) - 1;
}

const struct pci_bar tulip_io_bar = {
	.size = TULIP_REGISTER_BYTES, .space = IO_PORT, .handler = tulip_access};
const struct pci_bar tulip_memory_bar = {
	.size = TULIP_REGISTER_BYTES, .space = IO_MMIO, .handler = tulip_access};
