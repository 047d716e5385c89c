/*
 * Doorbell to reply over a channel: the time from the hypercall to the interrupt that says the
 * reply is there, for a SCSI controller's TEST UNIT READY. With "echo" on the command line, the
 * reference: a bare port write that an eventfd takes, and a thread of the host answers by irqfd.
 */
#include "lib/bootinfo.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define ECHO_PORT   0x510
#define ECHO_VECTOR 0x62
#define TICK_VECTOR 0x63
#define TICK_COUNT  50000000u /* of KVM's APIC timer, 1 GHz, by 16: 0.8 s */
#define TICK_BY_16  3
#define PERIODIC    0x20000
#define ROUNDS_MAX  20000
#define WARM_UP	    100

static uint32_t times[ROUNDS_MAX];
static volatile unsigned echoes;
static volatile uint64_t echo_tsc;
static unsigned idle_interrupts;

static void on_echo(struct trap_frame *f)
{
	echo_tsc = rdtsc();
	echoes++;
	apic_eoi();
}

/*
 * An emulated host may forget that STI keeps interrupts back until the HLT: what comes in between
 * then would be slept through for ever.  A tick now and then ends such a sleep.
 */
static void on_tick(struct trap_frame *f)
{
	apic_eoi();
}

static void start_tick(void)
{
	irq_install(TICK_VECTOR, on_tick);
	apic_write(APIC_TIMER_DIVIDE, TICK_BY_16);
	apic_write(APIC_LVT_TIMER, TICK_VECTOR | PERIODIC);
	apic_write(APIC_TIMER_INIT, TICK_COUNT);
}

/* Interrupts are off except in the HLT, so that the last look at the counter misses none. */
static void wait_change(volatile unsigned *counter, unsigned from)
{
	while (*counter == from)
		irq_wait();
}

static uint64_t round_echo(void)
{
	unsigned before = echoes;
	uint64_t start = rdtsc();

	outl(ECHO_PORT, 1);
	wait_change(&echoes, before);
	return echo_tsc - start;
}

/* The doorbell alone, inline: where ring 0 is interpreted, each instruction counts. */
static uint64_t ring(uint32_t connection)
{
	uint64_t control = HV_CALL_SIGNAL_EVENT | HV_CALL_FAST, input = connection;
	uint64_t page = hv_hypercall_page(), start = rdtsc();

	__asm__ volatile("call *%2"
			 : "+c"(control), "+d"(input)
			 : "r"(page)
			 : "rax", "r8", "r9", "r10", "r11", "memory", "cc");
	return start;
}

static uint64_t round_ping(struct vmbus *bus, struct vmbus_channel *ch)
{
	static const uint8_t cdb[6] = {0};
	struct vmbus_packet answer;
	struct stor_packet p;
	unsigned before = bus->interrupts;
	uint64_t start;
	bool signal;

	stor_fill(&p, 0, cdb, sizeof(cdb), 2, 0);
	p.flags = 1;
	if (!vmbus_send(ch, 1, 77, &p, sizeof(p), NULL, &signal))
		tap_bail("the ring is full");
	start = ring(ch->connection);
	for (;;) {
		wait_change(&bus->interrupts, before);
		before = bus->interrupts;
		if (vmbus_receive(ch, &answer, &p, sizeof(p)) >= 0)
			break;
		idle_interrupts++;
	}
	return bus->interrupt_tsc - start;
}

static void sort(uint32_t *v, unsigned n)
{
	for (unsigned gap = n / 2; gap; gap /= 2)
		for (unsigned i = gap; i < n; i++) {
			uint32_t x = v[i];
			unsigned j = i;

			for (; j >= gap && v[j - gap] > x; j -= gap)
				v[j] = v[j - gap];
			v[j] = x;
		}
}

static uint64_t to_ns(uint64_t tsc, uint64_t hz)
{
	return tsc * 1000 / (hz / 1000000);
}

void payload_main(void)
{
	unsigned rounds = (unsigned)cmdline_number("rounds", 2000);
	bool echo = cmdline_has("echo");
	uint64_t hz = cmdline_number("tsc-hz", 0);
	struct vmbus_channel ch = {0};
	struct vmbus *bus = NULL;

	if (rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	irq_install(ECHO_VECTOR, on_echo);
	start_tick();
	if (!echo) {
		bus = vmbus_init();
		if (!vmbus_contact(bus, VMBUS_VERSION(5, 2)) || !vmbus_request_offers(bus) ||
		    !stor_open(bus, &ch, 8))
			tap_bail("the controller does not open: give this payload a disk");
	}
	irq_disable();
	if (!hz)
		hz = tsc_hz();
	for (unsigned i = 0; i < WARM_UP + rounds; i++) {
		uint64_t t = echo ? round_echo() : round_ping(bus, &ch);

		if (i >= WARM_UP)
			times[i - WARM_UP] = (uint32_t)t;
	}
	sort(times, rounds);
	print("# rounds %u p50 %lu p99 %lu ns\n", rounds, to_ns(times[rounds / 2], hz),
	      to_ns(times[rounds - 1 - rounds / 100], hz));
	tap_ok(true, "every doorbell was answered");
	tap_is(idle_interrupts, 0, "no interrupt came without a reply");
}
