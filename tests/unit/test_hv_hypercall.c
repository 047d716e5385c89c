#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "hv_fixture.h"
#include "suite.h"
#include "vmm/machine.h"

#define MESSAGE_ID 4u
#define EVENT_ID   0x2001u

static struct hv_fixture f;
static int eventfd_of_port;

/* What the message port was last given, and what it answers. */
static struct {
	unsigned int calls;
	uint32_t type;
	size_t size;
	uint8_t payload[HV_MESSAGE_PAYLOAD_MAX];
	int answer;
} port;

static int on_message(void *context, uint32_t message_type, const void *payload, size_t size)
{
	port.calls++;
	port.type = message_type;
	port.size = size;
	memcpy(port.payload, payload, size);
	return port.answer;
}

static void set_up(void)
{
	fixture_new(&f);
	fixture_enable_calls(&f);
	memset(&port, 0, sizeof(port));
	eventfd_of_port = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(
		hv_ports_add_message(hv_partition_ports(f.hv), MESSAGE_ID, on_message, NULL), 0);
	ck_assert_int_eq(hv_ports_add_event(hv_partition_ports(f.hv), EVENT_ID, eventfd_of_port),
			 0);
}

static void tear_down(void)
{
	hv_ports_remove_event(hv_partition_ports(f.hv), EVENT_ID);
	close(eventfd_of_port);
	fixture_free(&f);
}

static uint64_t call(uint64_t control, uint64_t input, uint64_t output)
{
	struct hv_hypercall_regs regs = {
		.long_mode = true,
		.rcx = control,
		.rdx = input,
		.r8 = output,
	};

	hv_hypercall(f.vp, &regs);
	return regs.rax;
}

static uint64_t call_32(uint64_t control, uint64_t input, uint64_t output)
{
	struct hv_hypercall_regs regs = {
		.rdx = control >> 32,
		.rax = (uint32_t)control,
		.rbx = input >> 32,
		.rcx = (uint32_t)input,
		.rdi = output >> 32,
		.rsi = (uint32_t)output,
	};

	hv_hypercall(f.vp, &regs);
	ck_assert_uint_eq(regs.rdx, 0);
	return regs.rax;
}

static void write_message(uint32_t connection_id, uint32_t type, uint32_t size)
{
	struct hv_input_post_message message = {
		.connection_id = connection_id,
		.message_type = type,
		.payload_size = size,
	};

	memset(message.payload, 0x5a, sizeof(message.payload));
	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE, &message, sizeof(message)), 0);
}

static uint64_t post(uint32_t connection_id, uint32_t type, uint32_t size)
{
	write_message(connection_id, type, size);
	return call(HV_CALL_POST_MESSAGE, INPUT_PAGE, 0);
}

static uint64_t events(void)
{
	eventfd_t count = 0;

	return eventfd_read(eventfd_of_port, &count) < 0 ? 0 : count;
}

START_TEST(posts_a_message)
{
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 240), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(port.calls, 1);
	ck_assert_uint_eq(port.type, 1);
	ck_assert_uint_eq(port.size, 240);
	ck_assert_uint_eq(port.payload[239], 0x5a);
	ck_assert_uint_eq(post(MESSAGE_ID, 7, 0), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(port.size, 0);
	write_message(MESSAGE_ID, 3, 8);
	ck_assert_uint_eq(call_32(HV_CALL_POST_MESSAGE, INPUT_PAGE, 0), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(port.type, 3);
}
END_TEST

START_TEST(refuses_bad_messages)
{
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 241), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(post(MESSAGE_ID, 1, UINT32_MAX), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(post(MESSAGE_ID, 0, 8), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(post(MESSAGE_ID, 0x80000001, 8), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(post(5, 1, 8), HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(post(EVENT_ID, 1, 8), HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(port.calls, 0);
}
END_TEST

START_TEST(handlers_answer_as_statuses)
{
	port.answer = -EAGAIN;
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 8), HV_STATUS_INSUFFICIENT_BUFFERS);
	port.answer = -EINVAL;
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 8), HV_STATUS_INVALID_PARAMETER);
}
END_TEST

START_TEST(checks_addresses)
{
	static const uint64_t bad[] = {INPUT_PAGE + 1, INPUT_PAGE + 4, INPUT_PAGE + 4096 - 8,
				       BEYOND_RAM,     HV_RAM,	       0xfffffffffffffff8};

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		ck_assert_uint_eq(call(HV_CALL_POST_MESSAGE, bad[i], 0),
				  HV_STATUS_INVALID_ALIGNMENT);
	ck_assert_uint_eq(call(HV_CALL_SIGNAL_EVENT, INPUT_PAGE + 1, 0),
			  HV_STATUS_INVALID_ALIGNMENT);
	ck_assert_uint_eq(call(HV_EXT_CALL_QUERY_CAPABILITIES, 0, INPUT_PAGE + 4),
			  HV_STATUS_INVALID_ALIGNMENT);
	ck_assert_uint_eq(call(HV_EXT_CALL_QUERY_CAPABILITIES, 0, BEYOND_RAM),
			  HV_STATUS_INVALID_ALIGNMENT);
}
END_TEST

START_TEST(checks_the_control_word)
{
	const uint64_t fast = HV_CALL_NOTIFY_LONG_SPIN_WAIT | HV_CONTROL_FAST;

	ck_assert_uint_eq(call(fast, 0, 0), HV_STATUS_SUCCESS);
	for (unsigned int bit = 17; bit < 64; bit++)
		ck_assert_uint_eq(call(fast | 1ull << bit, 0, 0),
				  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(call(HV_CALL_POST_MESSAGE | HV_CONTROL_FAST, INPUT_PAGE, 0),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(call(HV_EXT_CALL_QUERY_CAPABILITIES | HV_CONTROL_FAST, 0, INPUT_PAGE),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
}
END_TEST

START_TEST(unknown_codes_come_first)
{
	for (uint32_t code = 0; code <= 0xffff; code++) {
		if (code == HV_CALL_NOTIFY_LONG_SPIN_WAIT || code == HV_CALL_POST_MESSAGE ||
		    code == HV_CALL_SIGNAL_EVENT || code == HV_EXT_CALL_QUERY_CAPABILITIES)
			continue;
		ck_assert_uint_eq(call(1ull << 60 | code, 1, 1), HV_STATUS_INVALID_HYPERCALL_CODE);
	}
}
END_TEST

START_TEST(signals_an_event)
{
	const uint64_t id = EVENT_ID;

	ck_assert_uint_eq(call(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST, id, 0), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(events(), 1);
	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE, &id, sizeof(id)), 0);
	ck_assert_uint_eq(call(HV_CALL_SIGNAL_EVENT, INPUT_PAGE, 0), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(call_32(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST, id, 0),
			  HV_STATUS_SUCCESS);
	ck_assert_uint_eq(events(), 2);
}
END_TEST

START_TEST(refuses_bad_events)
{
	const uint64_t fast = HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST;

	ck_assert_uint_eq(call(fast, EVENT_ID + 1, 0), HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(call(fast, MESSAGE_ID, 0), HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(call(fast, EVENT_ID | 1ull << 32, 0), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(call(fast, EVENT_ID | 1ull << 48, 0), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(events(), 0);
}
END_TEST

/* Without KVM the bus itself matches the doorbell; what it does not match is a miss. */
START_TEST(doorbell_port_signals)
{
	struct io_access access = {
		.address = MACHINE_PORT_HV_DOORBELL,
		.size = 4,
		.write = true,
		.value = EVENT_ID,
	};

	io_bus_dispatch(f.ports, &access);
	ck_assert_uint_eq(events(), 1);
	ck_assert_uint_eq(hv_doorbell_miss(f.vp, EVENT_ID), HV_STATUS_SUCCESS);
	ck_assert_uint_eq(events(), 1);
	ck_assert_uint_eq(hv_doorbell_miss(f.vp, 0), HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(hv_doorbell_miss(f.vp, MESSAGE_ID), HV_STATUS_INVALID_CONNECTION_ID);
	hv_ports_remove_event(hv_partition_ports(f.hv), EVENT_ID);
	io_bus_dispatch(f.ports, &access);
	ck_assert_uint_eq(events(), 0);
	ck_assert_uint_eq(hv_doorbell_miss(f.vp, EVENT_ID), HV_STATUS_INVALID_CONNECTION_ID);
}
END_TEST

START_TEST(query_answers_in_memory)
{
	uint64_t answer = UINT64_MAX;

	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE + 8, &answer, sizeof(answer)), 0);
	ck_assert_uint_eq(call(HV_EXT_CALL_QUERY_CAPABILITIES, 0, INPUT_PAGE + 8),
			  HV_STATUS_SUCCESS);
	ck_assert_int_eq(gpa_read(f.gpa, INPUT_PAGE + 8, &answer, sizeof(answer)), 0);
	ck_assert_uint_eq(answer, 0);
}
END_TEST

START_TEST(nothing_without_the_page)
{
	msr_set(f.vp, HV_MSR_HYPERCALL, 0);
	ck_assert_uint_eq(call(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST, EVENT_ID, 0),
			  HV_STATUS_ACCESS_DENIED);
	ck_assert_uint_eq(hv_doorbell_miss(f.vp, EVENT_ID), HV_STATUS_ACCESS_DENIED);
	ck_assert_uint_eq(events(), 0);
}
END_TEST

START_TEST(ids_are_unique_and_limited)
{
	struct hv_ports *ports = hv_partition_ports(f.hv);
	unsigned int made = 2;

	ck_assert_int_eq(hv_ports_add_message(ports, MESSAGE_ID, on_message, NULL), -EEXIST);
	ck_assert_int_eq(hv_ports_add_event(ports, MESSAGE_ID, eventfd_of_port), -EEXIST);
	ck_assert_int_eq(hv_ports_add_message(ports, EVENT_ID, on_message, NULL), -EEXIST);
	/* Downwards, so that each goes in front. */
	for (uint32_t id = 0x20000; made < HV_PORTS_MAX; id--, made++)
		ck_assert_int_eq(hv_ports_add_event(ports, id, eventfd_of_port), 0);
	ck_assert_int_eq(hv_ports_add_event(ports, 0x30000, eventfd_of_port), -ENOSPC);
	ck_assert_int_eq(hv_ports_signal(ports, 0x20000), 0);
	ck_assert_int_eq(hv_ports_signal(ports, 0x1f800), 0);
	ck_assert_uint_eq(events(), 2);
	hv_ports_remove_event(ports, 0x1f800);
	hv_ports_remove_event(ports, 0x1f800);
	ck_assert_int_eq(hv_ports_signal(ports, 0x1f800), -ENOENT);
	hv_ports_remove_event(ports, MESSAGE_ID);
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 8), HV_STATUS_SUCCESS);
	hv_ports_remove_message(ports, MESSAGE_ID);
	ck_assert_uint_eq(post(MESSAGE_ID, 1, 8), HV_STATUS_INVALID_CONNECTION_ID);
}
END_TEST

#define BUSY_ID	     9u
#define PATIENCE     2000u /* yields */
#define BUSY_THREADS 3u

static atomic_uint posts_begun;
static atomic_bool posting_ends;

/* Stays until another post has begun: there is always one under way, as far as they may. */
static int on_busy_message(void *context, uint32_t message_type, const void *payload, size_t size)
{
	unsigned int mine = atomic_fetch_add(&posts_begun, 1) + 1;

	for (unsigned int i = 0; i < PATIENCE && atomic_load(&posts_begun) == mine; i++)
		sched_yield();
	return 0;
}

static void *post_without_end(void *context)
{
	while (!atomic_load(&posting_ends))
		hv_ports_post(hv_partition_ports(f.hv), BUSY_ID, 1, "", 0);
	return NULL;
}

START_TEST(posts_without_end_keep_nobody_out)
{
	struct hv_ports *ports = hv_partition_ports(f.hv);
	pthread_t threads[BUSY_THREADS];

	atomic_store(&posts_begun, 0);
	atomic_store(&posting_ends, false);
	ck_assert_int_eq(hv_ports_add_message(ports, BUSY_ID, on_busy_message, NULL), 0);
	for (unsigned int i = 0; i < BUSY_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_without_end, NULL), 0);
	while (atomic_load(&posts_begun) < BUSY_THREADS)
		sched_yield();
	/* These never return if VPs come first. */
	ck_assert_int_eq(hv_ports_add_event(ports, 0x2100, eventfd_of_port), 0);
	hv_ports_remove_event(ports, 0x2100);
	atomic_store(&posting_ends, true);
	for (unsigned int i = 0; i < BUSY_THREADS; i++)
		pthread_join(threads[i], NULL);
	hv_ports_remove_message(ports, BUSY_ID);
}
END_TEST

#define HINT		 HV_EXT_CALL_MEMORY_HEAT_HINT
#define HINTS(count)	 (HINT | (uint64_t)(count) << 32)
#define HINTS_FROM(f, n) (HINTS(n) | (uint64_t)(f) << 48)
#define HINTS_MAX	 511u

/* Has the guest hint at these ranges; what RAM says before and after is 0x5a and 0. */
static uint64_t hint(uint64_t control, uint64_t kind, const uint64_t *ranges, size_t count)
{
	ck_assert_int_eq(gpa_fill(f.gpa, INPUT_PAGE + HV_PAGE_SIZE, 0x5a, 8 * HV_PAGE_SIZE), 0);
	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE, &kind, sizeof(kind)), 0);
	ck_assert_int_eq(gpa_write(f.gpa, INPUT_PAGE + 8, ranges, count * sizeof(*ranges)), 0);
	return call(control, INPUT_PAGE, 0);
}

static bool page_is(unsigned int page, uint8_t value)
{
	uint8_t byte;

	ck_assert_int_eq(gpa_read(f.gpa, INPUT_PAGE + (page + 1) * HV_PAGE_SIZE + 99, &byte, 1), 0);
	return byte == value;
}

#define PAGES(page, more) (INPUT_PAGE + ((page) + 1) * HV_PAGE_SIZE + (more))

static uint64_t capabilities(void)
{
	uint64_t value = ~0ull;

	ck_assert_uint_eq(call(HV_EXT_CALL_QUERY_CAPABILITIES, 0, INPUT_PAGE), HV_STATUS_SUCCESS);
	ck_assert_int_eq(gpa_read(f.gpa, INPUT_PAGE, &value, sizeof(value)), 0);
	return value;
}

START_TEST(heat_hints_give_pages_back)
{
	const uint64_t ranges[] = {PAGES(0, 0), PAGES(2, 1), PAGES(6, 0)};

	f.hv->config.cold_discard = true;
	ck_assert_uint_eq(capabilities(), HV_EXT_CAPABILITY_COLD_DISCARD);
	ck_assert_uint_eq(hint(HINTS(3), HV_HEAT_HINT_COLD_DISCARD, ranges, 3), 3ull << 32);
	for (unsigned int page = 0; page < 8; page++)
		ck_assert(
			page_is(page, page == 0 || page == 2 || page == 3 || page == 6 ? 0 : 0x5a));
	ck_assert_uint_eq(hv_partition_cold_bytes(f.hv), 4 * HV_PAGE_SIZE);
	/* A call that goes on where another has stopped. */
	ck_assert_uint_eq(hint(HINTS_FROM(2, 3), HV_HEAT_HINT_COLD_DISCARD, ranges, 3), 3ull << 32);
	ck_assert(page_is(0, 0x5a));
	ck_assert(page_is(6, 0));
}
END_TEST

START_TEST(heat_hints_of_a_32_bit_guest_tell_the_count_above)
{
	const uint64_t control = HINTS(1), range = PAGES(1, 0);
	struct hv_hypercall_regs regs = {
		.rdx = control >> 32, .rax = (uint32_t)control, .rcx = INPUT_PAGE};

	f.hv->config.cold_discard = true;
	hint(HINT, HV_HEAT_HINT_COLD_DISCARD, &range, 1);
	hv_hypercall(f.vp, &regs);
	ck_assert_uint_eq(regs.rax, HV_STATUS_SUCCESS);
	ck_assert_uint_eq(regs.rdx, 1);
	ck_assert(page_is(1, 0));
}
END_TEST

START_TEST(heat_hints_are_checked)
{
	const uint64_t cold = HV_HEAT_HINT_COLD_DISCARD, large = HV_PAGE_RANGE_LARGE;
	const uint64_t bad[] = {BEYOND_RAM,  HV_RAM - HV_PAGE_SIZE + 1, ~0xfffull,
				large, /* more than there is RAM */
				large | 511, large | HV_PAGE_RANGE_1G,	large | 1 << 13};
	uint64_t ranges[HINTS_MAX] = {PAGES(0, 0)};

	ck_assert_uint_eq(hint(HINTS(1), cold, ranges, 1), HV_STATUS_INVALID_HYPERCALL_CODE);
	ck_assert_uint_eq(capabilities(), 0);
	f.hv->config.cold_discard = true;
	ck_assert_uint_eq(hint(HINTS(0), cold, ranges, 1), HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(hint(HINTS_FROM(1, 1), cold, ranges, 1),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(hint(HINTS(1) | HV_CONTROL_FAST, cold, ranges, 1),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(hint(HINTS(HINTS_MAX + 1), cold, ranges, 1),
			  HV_STATUS_INVALID_HYPERCALL_INPUT);
	ck_assert_uint_eq(hint(HINTS(1), cold + 1, ranges, 1), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(hint(HINTS(1), cold | 4, ranges, 1), HV_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(call(HINTS(1), INPUT_PAGE + 4, 0), HV_STATUS_INVALID_ALIGNMENT);
	ck_assert_uint_eq(call(HINTS(1), INPUT_PAGE + HV_PAGE_SIZE - 8, 0),
			  HV_STATUS_INVALID_ALIGNMENT);
	ck_assert_uint_eq(call(HINTS(1), BEYOND_RAM, 0), HV_STATUS_INVALID_ALIGNMENT);
	ck_assert(page_is(0, 0x5a));
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		ranges[1] = bad[i];
		ck_assert_uint_eq(hint(HINTS(2), cold, ranges, 2),
				  HV_STATUS_INVALID_PARAMETER | 1ull << 32);
	}
}
END_TEST

/* A guest with so much memory that large pages lie in it. */
START_TEST(large_pages_are_given_back_up_to_a_cap)
{
	const uint64_t cold = HV_HEAT_HINT_COLD_DISCARD, large = HV_PAGE_RANGE_LARGE;
	const uint64_t bad[] = {2 << 21 | large | HV_PAGE_RANGE_1G, 2 << 21 | large | 1 << 13,
				2 << 21 | large | 1 << 20};
	const uint64_t gibibyte[] = {1 << 21 | large | 511, 2 << 21};
	struct gpa_space *own = f.gpa;
	uint64_t range = 2 << 21 | large | 1;
	uint8_t byte;

	ck_assert_int_eq(gpa_space_new(2ull << 30, &f.gpa, NULL), 0);
	f.hv->config.gpa = f.gpa;
	f.hv->config.cold_discard = true;
	ck_assert_int_eq(gpa_fill(f.gpa, 2 << 21, 0x5a, 3 << 21), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		ck_assert_uint_eq(hint(HINTS(1), cold, &bad[i], 1), HV_STATUS_INVALID_PARAMETER);
	ck_assert_int_eq(gpa_read(f.gpa, 2 << 21, &byte, 1), 0);
	ck_assert_uint_eq(byte, 0x5a);
	ck_assert_uint_eq(hint(HINTS(1), cold, &range, 1), HV_RESULT_REPS(1));
	ck_assert_int_eq(gpa_read(f.gpa, (4 << 21) - 1, &byte, 1), 0);
	ck_assert_uint_eq(byte, 0);
	ck_assert_int_eq(gpa_read(f.gpa, 4 << 21, &byte, 1), 0);
	ck_assert_uint_eq(byte, 0x5a);
	ck_assert_uint_eq(hint(HINTS(2), cold, gibibyte, 2),
			  HV_STATUS_INVALID_PARAMETER | HV_RESULT_REPS(1));
	gpa_space_free(f.gpa);
	f.gpa = own;
	f.hv->config.gpa = own;
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_hypercall", &t);

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, posts_a_message);
	tcase_add_test(t, refuses_bad_messages);
	tcase_add_test(t, handlers_answer_as_statuses);
	tcase_add_test(t, checks_addresses);
	tcase_add_test(t, checks_the_control_word);
	tcase_add_test(t, unknown_codes_come_first);
	tcase_add_test(t, signals_an_event);
	tcase_add_test(t, refuses_bad_events);
	tcase_add_test(t, doorbell_port_signals);
	tcase_add_test(t, query_answers_in_memory);
	tcase_add_test(t, nothing_without_the_page);
	tcase_add_test(t, ids_are_unique_and_limited);
	tcase_add_test(t, posts_without_end_keep_nobody_out);
	tcase_add_test(t, heat_hints_give_pages_back);
	tcase_add_test(t, heat_hints_of_a_32_bit_guest_tell_the_count_above);
	tcase_add_test(t, heat_hints_are_checked);
	tcase_add_test(t, large_pages_are_given_back_up_to_a_cap);
	return suite_run(suite);
}
