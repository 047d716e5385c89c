/*
 * A VM that the host pauses and resumes, while it counts and two timers tick. It says when ("#
 * pause now") and how much of its own time went by until the host typed a new line after the
 * resume; the host knows how long the pause was, and that the rest of the time is an upper bound.
 */
#include "lib/console.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define MESSAGE_VECTOR 0x51
#define TIMER_VECTOR   0x53
#define SINT	       5
#define PERIOD	       100000UL	 /* 10 ms of reference time, */
#define APIC_PERIOD    10000000U /* and of the APIC timer's 1 GHz */
#define APIC_DIVIDE_1  0xb
#define APIC_PERIODIC  (1U << 17)
#define ROUNDS	       3
#define HOST_MS	       60000
#define TICKS_MS       20000

static struct hv_synic synic;
static struct hv_tsc_page *page;
static volatile uint64_t messages, ticks;
static uint64_t counted;

static void on_message(struct trap_frame *f)
{
	struct hv_message message;

	while (synic_take(&synic, SINT, &message))
		messages++;
	apic_eoi();
}

static void on_timer(struct trap_frame *f)
{
	ticks++;
	apic_eoi();
}

static bool host_typed(void)
{
	return (inb(COM1 + UART_LSR) & UART_LSR_DR) && inb(COM1 + UART_DATA) == '\n';
}

/* Counts until the host has typed; whether time only ever went forward. */
static bool count_on(void)
{
	uint64_t last = hv_time(), end = clock_us() + HOST_MS * 1000UL;
	bool forward = true;

	while (!host_typed() && clock_us() < end) {
		uint64_t now = hv_time();

		forward = forward && now >= last;
		last = now;
		counted++;
	}
	return forward && clock_us() < end;
}

static bool page_agrees(void)
{
	uint64_t before, counter, after;

	if (!page->sequence)
		return true;
	before = hv_tsc_page_time(page, rdtsc());
	counter = hv_time();
	after = hv_tsc_page_time(page, rdtsc());
	/* One unit of rounding on either side. */
	return counter + 1 >= before && counter <= after + 1;
}

static bool timers_go_on(void)
{
	uint64_t m = messages, t = ticks;

	return WAIT_FOR(messages > m + 2 && ticks > t + 2, TICKS_MS);
}

static void check_round(unsigned round)
{
	uint64_t start, spent, before;
	bool forward;

	print("# pause ready\n");
	tap_ok(WAIT_FOR(host_typed(), HOST_MS), "round %u: the host is there", round);
	before = counted;
	start = hv_time();
	print("# pause now\n");
	forward = count_on();
	spent = hv_time() - start;
	tap_ok(forward, "time goes forward alone");
	tap_ok(counted > before, "the count goes on");
	tap_ok(page_agrees(), "the reference TSC page tells the counter's time");
	tap_ok(timers_go_on(), "both timers tick on");
	print("# pause took %lu\n", spent);
}

static void start_timers(void)
{
	irq_install(MESSAGE_VECTOR, on_message);
	irq_install(TIMER_VECTOR, on_timer);
	synic_enable(&synic);
	synic_sint(SINT, MESSAGE_VECTOR);
	wrmsr(HV_MSR_STIMER0_COUNT, PERIOD);
	wrmsr(HV_MSR_STIMER0_CONFIG,
	      HV_STIMER_SINT(SINT) | HV_STIMER_PERIODIC | HV_STIMER_LAZY | HV_STIMER_ENABLE);
	apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_1);
	apic_write(APIC_LVT_TIMER, TIMER_VECTOR | APIC_PERIODIC);
	apic_write(APIC_TIMER_INIT, APIC_PERIOD);
	irq_enable();
}

void payload_main(void)
{
	hv_enable();
	page = page_alloc(1);
	/* Where there is none its sequence stays 0. */
	wrmsr_safe(HV_MSR_REFERENCE_TSC, (uint64_t)page | HV_PAGE_ENABLE);
	start_timers();
	tap_ok(timers_go_on(), "both timers tick");
	for (unsigned round = 1; round <= ROUNDS; round++)
		check_round(round);
}
