/*
 * SynIC messages: delivered once each, in order for a SINT, held while the slot is full, and the
 * interrupt as the SINT says. Timers are the senders, as they need nobody on the other side;
 * the VMBus's version response is one from the host proper.
 */
#include "lib/hv.h"
#include "lib/rt.h"

#define VECTOR			    0x50
#define SINT			    4
#define OTHER_SINT		    7
#define VMBUS_SINT		    2
#define VMBUS_CONNECTION_V5	    4
#define CHANNELMSG_INITIATE_CONTACT 14
#define CHANNELMSG_VERSION_RESPONSE 15
#define MS			    10000UL /* of reference time */

static struct hv_synic synic;
static volatile unsigned interrupts;

static void count_interrupt(struct trap_frame *f)
{
	interrupts++;
	apic_eoi();
}

/* One message from stimer n to the SINT, about 1 ms from now. */
static void send(unsigned n, unsigned sint, uint64_t in)
{
	wrmsr(HV_MSR_STIMER0_CONFIG + 2 * n, HV_STIMER_SINT(sint) | HV_STIMER_AUTO_ENABLE);
	wrmsr(HV_MSR_STIMER0_COUNT + 2 * n, hv_time() + in);
}

static uint32_t slot_type(unsigned sint)
{
	return __atomic_load_n(&synic.messages->sint[sint].type, __ATOMIC_ACQUIRE);
}

static bool wait_slot(unsigned sint)
{
	return WAIT_FOR(slot_type(sint) != HV_MESSAGE_NONE, 2000);
}

/* Take every message that is there or pending; returns how many. */
static unsigned drain(unsigned sint)
{
	unsigned n = 0;

	while (n < 100 && synic_take(&synic, sint, NULL)) {
		n++;
		WAIT_FOR(slot_type(sint) != HV_MESSAGE_NONE, 5);
	}
	return n;
}

static void check_one(void)
{
	struct hv_message m = {0};
	uint64_t before = hv_time();

	interrupts = 0;
	synic_sint(SINT, VECTOR);
	send(0, SINT, MS);
	tap_ok(WAIT_FOR(interrupts, 2000), "a message interrupts");
	tap_ok(synic_take(&synic, SINT, &m), "and is in its SINT's slot");
	tap_is(m.type, HV_MESSAGE_TIMER_EXPIRED, "message type");
	tap_is(m.payload_size, 24, "payload size");
	tap_is(m.timer.index, 0, "timer index");
	tap_ok(m.timer.expiration > before && m.timer.delivery >= m.timer.expiration &&
		       m.timer.delivery <= hv_time(),
	       "expiration and delivery times are in order");
	delay_us(3000);
	tap_is(interrupts, 1, "one interrupt for one message");
	tap_is(slot_type(SINT), HV_MESSAGE_NONE, "the slot stays empty");
}

/*
 * Four messages while the slot is full: all must come, in the order they were sent.  KVM sends by
 * their numbers those of timers that it finds expired together, so they are further apart than a
 * busy host lets a VP wait.
 */
static void check_order(void)
{
	struct hv_message m = {0};
	unsigned in_order = 0;

	interrupts = 0;
	for (unsigned i = 0; i < HV_STIMERS; i++)
		send(HV_STIMERS - 1 - i, SINT, (i + 1) * 20 * MS);
	tap_ok(wait_slot(SINT), "the first of four messages came");
	tap_ok(WAIT_FOR(synic.messages->sint[SINT].flags & HV_MESSAGE_PENDING, 2000),
	       "the pending flag says that more wait");
	delay_us(80000);
	for (unsigned i = 0; i < HV_STIMERS; i++) {
		if (!wait_slot(SINT) || !synic_take(&synic, SINT, &m))
			break;
		in_order += m.timer.index == HV_STIMERS - 1 - i;
	}
	tap_is(in_order, HV_STIMERS, "all four messages, in order");
	tap_is(interrupts, HV_STIMERS, "and an interrupt for each");
	delay_us(2000);
	tap_is(slot_type(SINT), HV_MESSAGE_NONE, "and no fifth");
}

/* Without the EOM the next message must not be lost: it comes with the EOM at the latest. */
static void check_late_eom(void)
{
	send(0, SINT, MS);
	send(1, SINT, MS);
	wait_slot(SINT);
	WAIT_FOR(synic.messages->sint[SINT].flags & HV_MESSAGE_PENDING, 2000);
	__atomic_store_n(&synic.messages->sint[SINT].type, HV_MESSAGE_NONE, __ATOMIC_RELEASE);
	delay_us(5000);
	wrmsr(HV_MSR_EOM, 0);
	tap_ok(wait_slot(SINT), "EOM brings the waiting message");
	tap_is(drain(SINT), 1, "once");
}

static void check_masked(void)
{
	wrmsr(HV_MSR_SINT0 + SINT, HV_SINT_MASKED | VECTOR);
	interrupts = 0;
	send(0, SINT, MS);
	delay_us(10000);
	tap_is(interrupts, 0, "a masked SINT does not interrupt");
	synic_sint(SINT, VECTOR);
	wrmsr(HV_MSR_EOM, 0);
	tap_ok(wait_slot(SINT), "its message is there after the unmasking");
	drain(SINT);
}

static void check_disabled(void)
{
	interrupts = 0;
	send(0, SINT, 5 * MS);
	wrmsr(HV_MSR_SCONTROL, 0);
	delay_us(15000);
	tap_is(slot_type(SINT), HV_MESSAGE_NONE, "a disabled SynIC gets no message");
	wrmsr(HV_MSR_SCONTROL, 1);
	tap_ok(wait_slot(SINT), "the message comes when it is enabled");
	tap_ok(WAIT_FOR(interrupts, 1000), "with its interrupt");
	drain(SINT);
}

static void check_sints_apart(void)
{
	synic_sint(OTHER_SINT, VECTOR);
	send(0, SINT, MS);
	wait_slot(SINT);
	send(1, OTHER_SINT, MS);
	tap_ok(wait_slot(OTHER_SINT), "a full slot does not hold up another SINT");
	drain(SINT);
	drain(OTHER_SINT);
}

static void check_contact(void)
{
	uint32_t contact[10] = {CHANNELMSG_INITIATE_CONTACT, 0, 5 << 16 | 2, 0, VMBUS_SINT};
	struct hv_message m = {0};
	uint32_t answer;

	synic_sint(VMBUS_SINT, VECTOR);
	tap_is(hv_post(VMBUS_CONNECTION_V5, 1, contact, sizeof(contact)), HV_STATUS_SUCCESS,
	       "INITIATE_CONTACT is accepted");
	if (!wait_slot(VMBUS_SINT) || !synic_take(&synic, VMBUS_SINT, &m)) {
		tap_ok(false, "the host answers");
		return;
	}
	memcpy(&answer, m.bytes, sizeof(answer));
	tap_is(m.type, 1, "the answer is a VMBus message");
	tap_is(answer, CHANNELMSG_VERSION_RESPONSE, "a version response");
}

void payload_main(void)
{
	uint64_t v = 0;

	hv_enable();
	irq_install(VECTOR, count_interrupt);
	synic_enable(&synic);
	irq_enable();
	/* Without stimers the VMBus alone sends messages. */
	if (!rdmsr_safe(HV_MSR_STIMER0_CONFIG, &v)) {
		check_one();
		check_order();
		check_late_eom();
		check_masked();
		check_disabled();
		check_sints_apart();
	}
	check_contact();
}
