#include "devices/chipset/piix4_acpi.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "vmm/machine.h"

/* Offsets in the block; 16-bit registers are seen as two of a byte. */
enum {
	EVENT_STATUS = MACHINE_PM_EVENT,
	EVENT_ENABLE = MACHINE_PM_EVENT + 2,
	CONTROL = MACHINE_PM_CONTROL,
	TIMER = MACHINE_PM_TIMER,
	GPE_STATUS = MACHINE_PM_GPE,
	GPE_ENABLE = MACHINE_PM_GPE + 2,
	GENERAL_OUTPUT = 0x34,
};

#define EVENT_TIMER	   0x0001u
#define EVENT_GLOBAL	   0x0020u
#define EVENT_POWER_BUTTON 0x0100u
#define CONTROL_SCI	   0x01u
#define SLEEP_ENABLE	   0x20u /* of the control's second byte; reads as zero */
#define SLEEP_TYPE_SHIFT   2
#define SLEEP_TYPE_MASK	   0x1cu

#define TIMER_HZ     3579545u
#define TIMER_MASK   0xffffffu
#define TIMER_TOGGLE 0x800000u /* bit 23 changes after as many ticks: an overflow */
#define SECOND_NS    1000000000u
/* A saved VM has not run for longer. */
#define TIME_MAX_NS  (1ull << 62)

#define GENERAL_OUTPUT_DEFAULT 0x7fffbfffu

/* What a guest may do to each byte: set and clear bits, or clear them by ones. */
static const struct {
	uint8_t writable, cleared;
} access_kinds[PM_BLOCK_PORTS] = {
	[EVENT_STATUS] = {0, 0x31},
	[EVENT_STATUS + 1] = {0, 0x85},
	[EVENT_ENABLE] = {0x21, 0},
	[EVENT_ENABLE + 1] = {0x05, 0},
	[CONTROL] = {0x03, 0},
	[CONTROL + 1] = {SLEEP_TYPE_MASK, 0},
	[GPE_STATUS] = {0, 0x81},
	[GPE_STATUS + 1] = {0, 0x0f},
	[GPE_ENABLE] = {0x01, 0},
	[GPE_ENABLE + 1] = {0x0f, 0},
	[0x10] = {0xff, 0}, /* processor control */
	[0x11] = {0x3e, 0},
	[0x12] = {0x1f, 0},
	[0x18] = {0, 0xff}, /* global status */
	[0x19] = {0, 0xff},
	[0x1c] = {0, 0xff}, /* device status */
	[0x1d] = {0, 0xff},
	[0x1e] = {0, 0xff},
	[0x1f] = {0, 0xff},
	[0x20] = {0xff, 0}, /* global enable */
	[0x21] = {0xff, 0},
	[0x28] = {0xff, 0}, /* global control */
	[0x29] = {0xff, 0},
	[0x2a] = {0xff, 0},
	[0x2b] = {0x07, 0},
	[0x2c] = {0xff, 0}, /* device control */
	[0x2d] = {0xff, 0},
	[0x2e] = {0xff, 0},
	[0x2f] = {0xff, 0},
	[GENERAL_OUTPUT] = {0xff, 0},
	[GENERAL_OUTPUT + 1] = {0xff, 0},
	[GENERAL_OUTPUT + 2] = {0xff, 0},
	[GENERAL_OUTPUT + 3] = {0xff, 0},
};

/* Ticks since power-on. */
static uint64_t ticks(const struct pm_block *pm)
{
	return (uint64_t)((unsigned __int128)chip_clock_now(&pm->clock) * TIMER_HZ / SECOND_NS);
}

/* The least time at which the timer shows as many ticks. */
static uint64_t ns_of_ticks(uint64_t count)
{
	return (uint64_t)(((unsigned __int128)count * SECOND_NS + TIMER_HZ - 1) / TIMER_HZ);
}

static uint16_t word(const struct pm_block *pm, unsigned int offset)
{
	return get_le16(pm->registers + offset);
}

/* Overflows go into the status when somebody looks. */
static void catch_up(struct pm_block *pm)
{
	uint64_t toggles = ticks(pm) / TIMER_TOGGLE;

	if (toggles != pm->toggles)
		pm->registers[EVENT_STATUS] |= EVENT_TIMER;
	pm->toggles = toggles;
}

/* The timer has to run out only where its overflow is to interrupt. */
static void arm(struct pm_block *pm)
{
	uint64_t next = ns_of_ticks((pm->toggles + 1) * TIMER_TOGGLE);
	uint64_t now = chip_clock_now(&pm->clock);
	bool wanted = word(pm, EVENT_ENABLE) & EVENT_TIMER && !pm->clock.held;

	chip_timer_set(&pm->timer, !wanted ? 0 : next > now ? next - now : 1);
}

/* After anything changed: what the SCI is to be. */
static void update_sci(struct pm_block *pm)
{
	bool event = word(pm, EVENT_STATUS) & word(pm, EVENT_ENABLE) &
		     (EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON);
	bool general = word(pm, GPE_STATUS) & word(pm, GPE_ENABLE);

	irq_level_set(pm->sci, pm->registers[CONTROL] & CONTROL_SCI && (event || general));
}

static void on_timer(void *context)
{
	struct pm_block *pm = context;

	pthread_mutex_lock(&pm->lock);
	if (!pm->clock.held) {
		catch_up(pm);
		update_sci(pm);
		arm(pm);
	}
	pthread_mutex_unlock(&pm->lock);
}

static void write_byte(struct pm_block *pm, unsigned int offset, uint8_t value)
{
	uint8_t writable = access_kinds[offset].writable;
	uint8_t *reg = &pm->registers[offset];

	*reg = (uint8_t)((*reg & ~writable) | (value & writable));
	*reg &= (uint8_t) ~(value & access_kinds[offset].cleared);
}

/* Whether this byte puts the machine to sleep for good. */
static bool powers_off(unsigned int offset, uint8_t value)
{
	return offset == CONTROL + 1 && value & SLEEP_ENABLE &&
	       (value & SLEEP_TYPE_MASK) >> SLEEP_TYPE_SHIFT == MACHINE_PM_SLEEP_TYPE_S5;
}

/* Whole registers, lest the timer's bytes be of different times. */
static uint64_t read_registers(struct pm_block *pm, unsigned int offset, unsigned int size)
{
	uint8_t bytes[PM_BLOCK_PORTS + 8] = {0};
	uint64_t value;

	catch_up(pm);
	memcpy(bytes, pm->registers, sizeof(pm->registers));
	put_le32(bytes + TIMER, (uint32_t)ticks(pm) & TIMER_MASK);
	value = get_le64(bytes + offset);
	return size < 8 ? value & ((1ull << (8 * size)) - 1) : value;
}

static bool write_bytes(struct pm_block *pm, const struct io_access *access)
{
	bool off = false;

	catch_up(pm);
	for (unsigned int i = 0; i < access->size && access->offset + i < PM_BLOCK_PORTS; i++) {
		unsigned int offset = (unsigned int)access->offset + i;
		uint8_t value = (uint8_t)(access->value >> (8 * i));

		write_byte(pm, offset, value);
		off |= powers_off(offset, value);
	}
	update_sci(pm);
	arm(pm);
	return off;
}

bool pm_block_access(struct pm_block *pm, struct io_access *access)
{
	bool off = false;

	pthread_mutex_lock(&pm->lock);
	if (access->write)
		off = write_bytes(pm, access);
	else
		access->value = read_registers(pm, (unsigned int)access->offset, access->size);
	pthread_mutex_unlock(&pm->lock);
	return off;
}

void pm_block_set_acpi(struct pm_block *pm, bool on)
{
	pthread_mutex_lock(&pm->lock);
	pm->registers[CONTROL] &= (uint8_t)~CONTROL_SCI;
	pm->registers[CONTROL] |= on ? CONTROL_SCI : 0;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void pm_block_press_power_button(struct pm_block *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->registers[EVENT_STATUS + 1] |= EVENT_POWER_BUTTON >> 8;
	update_sci(pm);
	pthread_mutex_unlock(&pm->lock);
}

void pm_block_hold(struct pm_block *pm, bool held)
{
	pthread_mutex_lock(&pm->lock);
	chip_clock_hold(&pm->clock, held);
	arm(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* With what the registers are now. */
static void settle(struct pm_block *pm)
{
	update_sci(pm);
	arm(pm);
}

void pm_block_reset(struct pm_block *pm)
{
	pthread_mutex_lock(&pm->lock);
	memset(pm->registers, 0, sizeof(pm->registers));
	put_le32(pm->registers + GENERAL_OUTPUT, GENERAL_OUTPUT_DEFAULT);
	chip_clock_set(&pm->clock, 0);
	pm->toggles = 0;
	settle(pm);
	pthread_mutex_unlock(&pm->lock);
}

int pm_block_init(struct pm_block *pm, struct irq_controller *irq, struct event_loop *loop)
{
	int r = irq_level_new(irq, MACHINE_GSI_SCI, &pm->sci);

	if (r < 0)
		return r;
	r = chip_timer_init(&pm->timer, loop, on_timer, pm);
	if (r < 0) {
		irq_level_free(pm->sci);
		return r;
	}
	pthread_mutex_init(&pm->lock, NULL);
	pm_block_reset(pm);
	return 0;
}

void pm_block_cleanup(struct pm_block *pm)
{
	chip_timer_cleanup(&pm->timer);
	irq_level_free(pm->sci);
	pthread_mutex_destroy(&pm->lock);
}

void pm_block_save(struct pm_block *pm, struct state_writer *writer)
{
	state_put_bytes(writer, "registers", pm->registers, sizeof(pm->registers));
	state_put_u64(writer, "time-ns", chip_clock_now(&pm->clock));
	state_put_u64(writer, "overflows", pm->toggles);
}

/* Bits that nothing could have set are dropped. */
int pm_block_restore(struct pm_block *pm, const struct state_node *node)
{
	uint8_t registers[PM_BLOCK_PORTS];
	uint64_t ns, toggles;
	int r = state_get_bytes(node, "registers", registers, sizeof(registers));

	if (r == 0)
		r = state_get_u64(node, "time-ns", &ns);
	if (r == 0)
		r = state_get_u64(node, "overflows", &toggles);
	if (r < 0)
		return r;
	if (ns > TIME_MAX_NS)
		return -EINVAL;
	pthread_mutex_lock(&pm->lock);
	for (unsigned int i = 0; i < PM_BLOCK_PORTS; i++)
		pm->registers[i] =
			registers[i] & (access_kinds[i].writable | access_kinds[i].cleared);
	chip_clock_set(&pm->clock, ns);
	pm->toggles = MIN(toggles, ticks(pm) / TIMER_TOGGLE);
	settle(pm);
	pthread_mutex_unlock(&pm->lock);
	return 0;
}
