/*
 * A guest that means no good: garbage to every hypercall and port, addresses that are not RAM or
 * wrap, floods. That the payload comes to its end, with everything still working, is the test.
 */
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define VMBUS_SINT	    2
#define VMBUS_CONNECTION    1
#define VMBUS_CONNECTION_V5 4
#define UNKNOWN_CONNECTION  0x123456
#define MESSAGES_LAST	    26
#define FLOOD		    600
#define SLEEP_PORTS_FIRST   0x600
#define SLEEP_PORTS_LAST    0x602

static struct hv_synic synic;

static uint64_t random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Take what the host answers, so that its queue does not stay full. */
static void drain(void)
{
	for (unsigned i = 0; i < 2000; i++)
		if (!synic_take(&synic, VMBUS_SINT, NULL) && i > 50)
			return;
}

static void random_bytes(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t r = random();

		memcpy(p + i, &r, n - i < 8 ? n - i : 8);
	}
}

/* Channel messages of every type and every length, with random bodies. */
static void garbage_messages(uint32_t connection)
{
	uint8_t body[HV_MESSAGE_PAYLOAD];

	for (uint32_t type = 0; type <= MESSAGES_LAST; type++) {
		for (uint32_t size = 0; size <= HV_MESSAGE_PAYLOAD; size += 1 + type % 13) {
			random_bytes(body, sizeof(body));
			memcpy(body, &type, sizeof(type));
			memset(body + 4, 0, 4);
			hv_post(connection, 1, body, size);
			if (size % 16 == 0)
				drain();
		}
	}
	for (uint32_t type = 0; type < 8; type++)
		hv_post(connection, type, body, 16);
	drain();
}

/* Version requests without taking an answer: the host must refuse, not grow. */
static void flood_contact(void)
{
	uint32_t contact[10] = {14, 0, 5 << 16 | 2, 0, VMBUS_SINT};
	unsigned refused = 0;

	for (unsigned i = 0; i < FLOOD; i++)
		refused += hv_post(VMBUS_CONNECTION_V5, 1, contact, sizeof(contact)) != 0;
	tap_diag("%u of %u messages refused", refused, FLOOD);
	tap_ok(true, "a flood of messages that nobody answers");
	drain();
}

static void random_hypercalls(void)
{
	for (unsigned i = 0; i < 500; i++) {
		uint64_t control = random(), input = random(), output = random();

		if (i & 1)
			control &= 0x1ffff;
		if (i & 2)
			input &= ~7UL & 0xffffffffff;
		if (i & 4)
			control = (control & ~0xffffUL) | HV_CALL_POST_MESSAGE;
		hv_call(control, input, output);
	}
	tap_ok(true, "random hypercalls");
}

static void wild_pages(void)
{
	static const uint64_t wild[] = {0xe0000000,	   0xf8000000,	       0xfec00000,
					0xfee00000,	   0xfffff000,	       0x1000000000,
					0xffffffffff000,   0x7ffffffffffff000, 0xfffffffffffff000,
					0x8000000000000000};

	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		wrmsr_safe(HV_MSR_SIMP, wild[i] | HV_PAGE_ENABLE);
		wrmsr_safe(HV_MSR_SIEFP, wild[i] | HV_PAGE_ENABLE);
		wrmsr_safe(HV_MSR_STIMER0_CONFIG, HV_STIMER_SINT(VMBUS_SINT) | HV_STIMER_ENABLE);
		wrmsr_safe(HV_MSR_STIMER0_COUNT, 1);
		wrmsr_safe(HV_MSR_REFERENCE_TSC, wild[i] | HV_PAGE_ENABLE);
		wrmsr_safe(HV_MSR_VP_ASSIST_PAGE, wild[i] | HV_PAGE_ENABLE);
		wrmsr_safe(HV_MSR_HYPERCALL, wild[i] | HV_PAGE_ENABLE);
		wrmsr_safe(HV_MSR_EOM, 0);
	}
	wrmsr(HV_MSR_HYPERCALL, hv_hypercall_page() | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SIMP, (uint64_t)synic.messages | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SIEFP, (uint64_t)synic.events | HV_PAGE_ENABLE);
	drain();
	tap_is(hv_signal(UNKNOWN_CONNECTION, 0), HV_STATUS_INVALID_CONNECTION_ID,
	       "overlay pages outside of RAM");
}

/* Random values everywhere but where they would end the run: RESET and CRASH_CTL. */
static void random_msrs(void)
{
	for (uint32_t msr = HV_MSR_FIRST; msr <= HV_MSR_LAST; msr++) {
		if (msr == HV_MSR_RESET || msr == HV_MSR_CRASH_CTL || msr == HV_MSR_GUEST_OS_ID ||
		    msr == HV_MSR_HYPERCALL || msr == HV_MSR_TSC_INVARIANT_CONTROL)
			continue;
		for (unsigned i = 0; i < 4; i++)
			wrmsr_safe(msr, random() >> (random() & 63));
	}
	wrmsr(HV_MSR_SCONTROL, 0);
	for (unsigned i = 0; i < HV_STIMERS; i++)
		wrmsr_safe(HV_MSR_STIMER0_CONFIG + 2 * i, 0);
	for (unsigned i = 0; i < HV_SINTS; i++)
		wrmsr(HV_MSR_SINT0 + i, HV_SINT_MASKED);
	wrmsr(HV_MSR_SIMP, (uint64_t)synic.messages | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SIEFP, (uint64_t)synic.events | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SCONTROL, 1);
	synic_sint(VMBUS_SINT, 0x60);
	drain();
	tap_ok(true, "random values in every MSR");
}

/* Every port but those that end the machine. */
static void all_ports(void)
{
	uint32_t step = cmdline_has("all-ports") ? 1 : 7;

	for (uint32_t port = 0; port < 0x10000; port += step) {
		if ((port >= 0xf4 && port <= 0xf7) ||
		    (port >= SLEEP_PORTS_FIRST && port <= SLEEP_PORTS_LAST) ||
		    (port >= 0x3f8 && port <= 0x3ff) || port == 0xcf9 || port == 0x64)
			continue;
		inb((uint16_t)port);
		outb((uint16_t)port, (uint8_t)random());
		/* Wider accesses must not straddle into a port that ends the machine. */
		if (port > 0x610) {
			inl((uint16_t)port);
			outl((uint16_t)port, (uint32_t)random());
		}
	}
	tap_ok(true, "reads and writes of port after port");
}

static void mmio_holes(void)
{
	uint32_t v;

	for (uint64_t at = 0xe0000000; at < 0xfec00000; at += 0x3ff004)
		if (!read32_safe(at, &v))
			write32_safe(at, (uint32_t)random());
	map_high(0x2000000000, 0x200000);
	read32_safe(0x2000000000, &v);
	write32_safe(0x2000000000, 1);
	tap_ok(true, "accesses where there is nothing");
}

static void signal_everything(void)
{
	for (uint32_t id = 0; id < 512; id++)
		hv_signal(id, 0);
	for (unsigned i = 0; i < 64; i++)
		hv_signal((uint32_t)random(), (uint16_t)random());
	tap_ok(true, "signals on connections that are not ours");
}

void payload_main(void)
{
	hv_enable();
	irq_install(0x60, NULL);
	synic_enable(&synic);
	wrmsr(HV_MSR_SINT0 + VMBUS_SINT, HV_SINT_MASKED | 0x60);
	random_hypercalls();
	garbage_messages(VMBUS_CONNECTION);
	garbage_messages(VMBUS_CONNECTION_V5);
	tap_ok(true, "garbage messages");
	flood_contact();
	wild_pages();
	signal_everything();
	random_msrs();
	all_ports();
	mmio_holes();
	tap_is(hv_signal(UNKNOWN_CONNECTION, 0), HV_STATUS_INVALID_CONNECTION_ID,
	       "hypercalls work as before");
}
