/* Synthetic timers in each mode. Nothing is asserted of how late one is, only of how early. */
#include "lib/hv.h"
#include "lib/rt.h"

#define MESSAGE_VECTOR 0x51
#define DIRECT_VECTOR  0x52
#define SINT	       5
#define MS	       10000UL
#define CONFIG(n)      (HV_MSR_STIMER0_CONFIG + 2 * (n))
#define COUNT(n)       (HV_MSR_STIMER0_COUNT + 2 * (n))

static struct hv_synic synic;
static volatile unsigned messages, directs;
static struct hv_message last;

static void on_message(struct trap_frame *f)
{
	while (synic_take(&synic, SINT, &last))
		messages++;
	apic_eoi();
}

static void on_direct(struct trap_frame *f)
{
	directs++;
	apic_eoi();
}

static void quiet(void)
{
	for (unsigned i = 0; i < HV_STIMERS; i++)
		wrmsr(CONFIG(i), 0);
	delay_us(2000);
	messages = 0;
	directs = 0;
}

static void check_one_shot(unsigned n)
{
	uint64_t due = hv_time() + 5 * MS;

	wrmsr(COUNT(n), due);
	wrmsr(CONFIG(n), HV_STIMER_SINT(SINT) | HV_STIMER_ENABLE);
	tap_ok(WAIT_FOR(messages, 2000), "stimer %u, one-shot: expires", n);
	tap_ok(hv_time() >= due, "not early");
	tap_ok(last.timer.index == n && last.timer.expiration >= due, "says which, and when");
	tap_ok(!(rdmsr(CONFIG(n)) & HV_STIMER_ENABLE), "is disabled by that");
	delay_us(15000);
	tap_is(messages, 1, "expires once");
	quiet();
}

static void check_past(void)
{
	wrmsr(COUNT(0), 1);
	wrmsr(CONFIG(0), HV_STIMER_SINT(SINT) | HV_STIMER_ENABLE);
	tap_ok(WAIT_FOR(messages, 2000), "a time that is past expires at once");
	quiet();
}

static void check_auto_enable(void)
{
	wrmsr(CONFIG(1), HV_STIMER_SINT(SINT) | HV_STIMER_AUTO_ENABLE);
	tap_ok(!(rdmsr(CONFIG(1)) & HV_STIMER_ENABLE), "auto-enable: off until there is a count");
	wrmsr(COUNT(1), hv_time() + 2000 * MS);
	tap_ok(rdmsr(CONFIG(1)) & HV_STIMER_ENABLE, "the count enables it");
	wrmsr(COUNT(1), 0);
	tap_ok(!(rdmsr(CONFIG(1)) & HV_STIMER_ENABLE), "the count 0 stops it");
	wrmsr(COUNT(1), hv_time() + MS);
	tap_ok(WAIT_FOR(messages, 2000), "it expires");
	quiet();
}

static void check_stopped(void)
{
	wrmsr(COUNT(0), hv_time() + 5 * MS);
	wrmsr(CONFIG(0), HV_STIMER_SINT(SINT) | HV_STIMER_ENABLE);
	wrmsr(CONFIG(0), 0);
	delay_us(15000);
	tap_is(messages, 0, "a timer that was disabled does not expire");
	quiet();
}

/* Ticks must not come faster than the period; they may bunch up after a delay. */
static void check_periodic(uint64_t extra, const char *what)
{
	uint64_t start = hv_time();

	wrmsr(COUNT(2), 2 * MS);
	wrmsr(CONFIG(2), HV_STIMER_SINT(SINT) | HV_STIMER_PERIODIC | HV_STIMER_ENABLE | extra);
	tap_ok(WAIT_FOR(messages >= 5, 5000), "%s: expires again and again", what);
	tap_ok(messages <= (hv_time() - start) / (2 * MS) + 1, "no more often than its period");
	tap_ok(rdmsr(CONFIG(2)) & HV_STIMER_ENABLE, "stays enabled");
	wrmsr(COUNT(2), 0);
	tap_ok(!(rdmsr(CONFIG(2)) & HV_STIMER_ENABLE), "the count 0 stops it");
	delay_us(3000);
	messages = 0;
	delay_us(10000);
	tap_is(messages, 0, "and it is silent then");
	quiet();
}

static void check_direct(void)
{
	uint64_t due = hv_time() + 2 * MS;

	wrmsr(COUNT(3), due);
	if (wrmsr_safe(CONFIG(3),
		       HV_STIMER_DIRECT | HV_STIMER_VECTOR(DIRECT_VECTOR) | HV_STIMER_ENABLE)) {
		tap_ok(false, "direct mode is accepted");
		return;
	}
	tap_ok(WAIT_FOR(directs, 2000), "direct mode: interrupts");
	tap_ok(hv_time() >= due, "not early");
	delay_us(5000);
	tap_is(directs, 1, "once");
	tap_is(messages, 0, "with no message");
	quiet();
	wrmsr(COUNT(3), MS);
	wrmsr(CONFIG(3), HV_STIMER_DIRECT | HV_STIMER_VECTOR(DIRECT_VECTOR) | HV_STIMER_PERIODIC |
				 HV_STIMER_ENABLE);
	tap_ok(WAIT_FOR(directs >= 5, 5000), "direct and periodic");
	quiet();
}

static void check_all_at_once(void)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < HV_STIMERS; i++) {
		wrmsr(CONFIG(i), HV_STIMER_SINT(SINT) | HV_STIMER_AUTO_ENABLE);
		wrmsr(COUNT(i), hv_time() + (i + 1) * MS);
	}
	WAIT_FOR(messages >= HV_STIMERS, 5000);
	delay_us(5000);
	seen = messages;
	tap_is(seen, HV_STIMERS, "four timers, four messages");
	quiet();
}

void payload_main(void)
{
	uint64_t v = 0;

	hv_enable();
	if (rdmsr_safe(HV_MSR_STIMER0_CONFIG, &v)) {
		tap_skip("stimers are switched off", "stimers");
		return;
	}
	irq_install(MESSAGE_VECTOR, on_message);
	irq_install(DIRECT_VECTOR, on_direct);
	synic_enable(&synic);
	synic_sint(SINT, MESSAGE_VECTOR);
	irq_enable();
	for (unsigned i = 0; i < HV_STIMERS; i++)
		check_one_shot(i);
	check_past();
	check_auto_enable();
	check_stopped();
	check_periodic(0, "periodic");
	check_periodic(HV_STIMER_LAZY, "periodic and lazy");
	check_direct();
	check_all_at_once();
	wrmsr(CONFIG(0), HV_STIMER_ENABLE);
	tap_ok(!(rdmsr(CONFIG(0)) & HV_STIMER_ENABLE),
	       "without a SINT a timer cannot be enabled in message mode");
}
