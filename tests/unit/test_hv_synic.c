#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "hv_fixture.h"
#include "suite.h"

static struct hv_fixture f;

static void set_up(void)
{
	fixture_new(&f);
}

static void tear_down(void)
{
	fixture_free(&f);
}

static int post(uint32_t number)
{
	return hv_synic_post(f.vp, TEST_SINT, 1, 0x1234, &number, sizeof(number));
}

static uint32_t number_in(const struct hv_message *message)
{
	uint32_t number;

	memcpy(&number, message->payload, sizeof(number));
	return number;
}

START_TEST(delivers_a_message)
{
	struct hv_message message;

	fixture_enable_synic(&f);
	ck_assert_int_eq(post(42), 0);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 0);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
	ck_assert(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(message.type, 1);
	ck_assert_uint_eq(message.payload_size, 4);
	ck_assert_uint_eq(message.flags, 0);
	ck_assert_uint_eq(message.sender, 0x1234);
	ck_assert_uint_eq(number_in(&message), 42);
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 0);
}
END_TEST

START_TEST(keeps_the_order_of_a_full_queue)
{
	struct hv_message message;

	fixture_enable_synic(&f);
	for (uint32_t i = 0; i <= HV_SYNIC_QUEUE_MAX; i++)
		ck_assert_int_eq(post(i), 0);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), HV_SYNIC_QUEUE_MAX);
	ck_assert_int_eq(post(0), -ENOBUFS);
	for (uint32_t i = 0; i <= HV_SYNIC_QUEUE_MAX; i++) {
		ck_assert(fixture_take(&f, TEST_SINT, &message));
		ck_assert_uint_eq(number_in(&message), i);
	}
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), HV_SYNIC_QUEUE_MAX + 1);
}
END_TEST

START_TEST(waits_for_eom)
{
	struct hv_message *slot = fixture_slot(&f, TEST_SINT);

	fixture_enable_synic(&f);
	post(1);
	ck_assert_uint_eq(slot->flags, 0);
	post(2);
	ck_assert_uint_eq(slot->flags, HV_MESSAGE_FLAG_PENDING);
	msr_set(f.vp, HV_MSR_EOM, 0);
	ck_assert_uint_eq(number_in(slot), 1);
	slot->type = HV_MESSAGE_NONE;
	msr_set(f.vp, HV_MSR_EOM, 0);
	ck_assert_uint_eq(number_in(slot), 2);
	ck_assert_uint_eq(slot->flags, 0);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 0);
}
END_TEST

/* A guest that freed its slot before the pending flag was set gets the rest by the next post. */
START_TEST(a_free_slot_is_found_without_eom)
{
	struct hv_message *slot = fixture_slot(&f, TEST_SINT);

	fixture_enable_synic(&f);
	post(1);
	slot->type = HV_MESSAGE_NONE;
	post(2);
	ck_assert_uint_eq(number_in(slot), 2);
}
END_TEST

static bool delivered(void)
{
	return fixture_slot(&f, TEST_SINT)->type != HV_MESSAGE_NONE;
}

START_TEST(waits_until_everything_is_enabled)
{
	ck_assert_int_eq(post(7), 0);
	msr_set(f.vp, HV_MSR_SCONTROL, HV_SCONTROL_ENABLE);
	ck_assert(!delivered());
	msr_set(f.vp, HV_MSR_SIMP, SIMP_PAGE | HV_OVERLAY_ENABLE);
	ck_assert(!delivered());
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 1);
	msr_set(f.vp, HV_MSR_SINT0 + TEST_SINT, TEST_VECTOR);
	ck_assert(delivered());
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
}
END_TEST

START_TEST(enabling_delivers)
{
	msr_set(f.vp, HV_MSR_SINT0 + TEST_SINT, TEST_VECTOR);
	msr_set(f.vp, HV_MSR_SIMP, SIMP_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_int_eq(post(7), 0);
	ck_assert(!delivered());
	msr_set(f.vp, HV_MSR_SCONTROL, HV_SCONTROL_ENABLE);
	ck_assert(delivered());
}
END_TEST

START_TEST(page_outside_ram_is_inert)
{
	const uint64_t beyond = BEYOND_RAM | HV_OVERLAY_ENABLE;

	fixture_enable_synic(&f);
	msr_set(f.vp, HV_MSR_SIMP, beyond);
	msr_set(f.vp, HV_MSR_SIEFP, beyond);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_SIMP), beyond);
	ck_assert_int_eq(post(1), 0);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 1);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 3), -ENXIO);
	msr_set(f.vp, HV_MSR_SIMP, SIMP_PAGE | HV_OVERLAY_ENABLE);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 0);
}
END_TEST

START_TEST(pages_are_zero_when_enabled)
{
	ck_assert_int_eq(gpa_fill(f.gpa, SIMP_PAGE, 0xff, 2 * HV_PAGE_SIZE), 0);
	fixture_enable_synic(&f);
	ck_assert_int_eq(post(1), 0);
	ck_assert_uint_eq(number_in(fixture_slot(&f, TEST_SINT)), 1);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 9), 0);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 2);
	/* The same value again is no new page. */
	msr_set(f.vp, HV_MSR_SIMP, SIMP_PAGE | HV_OVERLAY_ENABLE);
	ck_assert(delivered());
}
END_TEST

START_TEST(sint_rules)
{
	const uint32_t sint = HV_MSR_SINT0 + TEST_SINT;

	for (uint32_t i = 0; i < HV_SINT_COUNT; i++)
		ck_assert_uint_eq(msr_get(f.vp, HV_MSR_SINT0 + i), HV_SINT_MASKED);
	for (uint64_t vector = 0; vector < 16; vector++)
		ck_assert(!hv_msr_write(f.vp, sint, vector));
	ck_assert_uint_eq(msr_get(f.vp, sint), HV_SINT_MASKED);
	msr_set(f.vp, sint, HV_SINT_MASKED | 5);
	msr_set(f.vp, sint, 16);
	msr_set(f.vp, sint, HV_SINT_AUTO_EOI | 255);
	ck_assert_uint_eq(msr_get(f.vp, sint), HV_SINT_AUTO_EOI | 255);
}
END_TEST

START_TEST(polling_sint_does_not_interrupt)
{
	fixture_enable_synic(&f);
	msr_set(f.vp, HV_MSR_SINT0 + TEST_SINT, HV_SINT_POLLING | TEST_VECTOR);
	ck_assert_int_eq(post(1), 0);
	ck_assert(delivered());
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 1), 0);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 0);
}
END_TEST

START_TEST(signals_interrupt_once)
{
	uint32_t *flags = gpa_pointer(f.gpa, SIEFP_PAGE, HV_PAGE_SIZE, GPA_READ);
	uint32_t *word = &flags[TEST_SINT * 64 + 2047 / 32];

	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 2047), -ENXIO);
	fixture_enable_synic(&f);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 2047), 0);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 2047), 0);
	ck_assert_uint_eq(*word, 1u << 31);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
	*word = 0;
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 2047), 0);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT + 1, 0), -ENXIO);
	msr_set(f.vp, HV_MSR_SCONTROL, 0);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 1), -ENXIO);
}
END_TEST

START_TEST(bad_arguments)
{
	uint8_t payload[HV_MESSAGE_PAYLOAD_MAX + 1] = {0};

	ck_assert_int_eq(hv_synic_post(f.vp, 16, 1, 0, payload, 1), -EINVAL);
	ck_assert_int_eq(hv_synic_post(f.vp, 1, 0, 0, payload, 1), -EINVAL);
	ck_assert_int_eq(hv_synic_post(f.vp, 1, 1, 0, payload, sizeof(payload)), -EINVAL);
	ck_assert_int_eq(hv_synic_signal(f.vp, 16, 0), -EINVAL);
	ck_assert_int_eq(hv_synic_signal(f.vp, 0, HV_EVENT_FLAGS_COUNT), -EINVAL);
}
END_TEST

START_TEST(reset_drops_everything)
{
	fixture_enable_synic(&f);
	post(1);
	post(2);
	hv_partition_reset(f.hv);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 0);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_SIMP), 0);
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_SINT0 + TEST_SINT), HV_SINT_MASKED);
	hv_partition_resume(f.hv);
	fixture_enable_synic(&f);
	ck_assert(!delivered());
	post(3);
	ck_assert_uint_eq(number_in(fixture_slot(&f, TEST_SINT)), 3);
}
END_TEST

#define RACE_MESSAGES 10000u
#define RACE_PAGES    1000u
#define RACE_FLAG     77u

/* Races want two threads that run at once; where there is one processor, they take turns. */
static void spin(unsigned int turn)
{
	if (turn % 256 == 0)
		sched_yield();
}

/* Two at a time: the second meets the guest freeing the slot, and no later post comes to its
 * rescue. */
static void *post_many(void *context)
{
	for (uint32_t i = 0; i < RACE_MESSAGES; i++) {
		for (unsigned int n = 1; i % 2 == 0 && hv_synic_waiting(f.vp, TEST_SINT); n++)
			spin(n);
		post(i);
	}
	return NULL;
}

/* A consumer that only ever does what a guest does, against a posting thread: all arrive, in
 * order, without a time-out or a second look. */
START_TEST(message_races_lose_nothing)
{
	struct hv_message message;
	pthread_t poster;

	fixture_enable_synic(&f);
	ck_assert_int_eq(pthread_create(&poster, NULL, post_many, NULL), 0);
	for (uint32_t next = 0; next < RACE_MESSAGES; next++) {
		for (unsigned int n = 1; !fixture_take(&f, TEST_SINT, &message); n++)
			spin(n);
		ck_assert_uint_eq(number_in(&message), next);
	}
	pthread_join(poster, NULL);
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
}
END_TEST

static void *signal_many(void *context)
{
	const _Atomic bool *stop = context;

	while (!atomic_load(stop))
		hv_synic_signal(f.vp, TEST_SINT, RACE_FLAG);
	return NULL;
}

/* A guest that takes its event page back finds that nobody writes to it any more. */
static void take_event_page_back(uint32_t *word)
{
	msr_set(f.vp, HV_MSR_SIEFP, SIEFP_PAGE);
	__atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < 50; i++)
		ck_assert_uint_eq(__atomic_load_n(word, __ATOMIC_SEQ_CST), 0);
	msr_set(f.vp, HV_MSR_SIEFP, SIEFP_PAGE | HV_OVERLAY_ENABLE);
}

START_TEST(event_page_is_the_guests_again)
{
	uint32_t *flags = gpa_pointer(f.gpa, SIEFP_PAGE, HV_PAGE_SIZE, GPA_WRITE);
	_Atomic bool stop = false;
	pthread_t signaller;

	fixture_enable_synic(&f);
	ck_assert_int_eq(pthread_create(&signaller, NULL, signal_many, &stop), 0);
	for (unsigned int i = 0; i < RACE_PAGES; i++)
		take_event_page_back(&flags[TEST_SINT * 64 + RACE_FLAG / 32]);
	atomic_store(&stop, true);
	pthread_join(signaller, NULL);
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_synic", &t);

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, delivers_a_message);
	tcase_add_test(t, keeps_the_order_of_a_full_queue);
	tcase_add_test(t, waits_for_eom);
	tcase_add_test(t, a_free_slot_is_found_without_eom);
	tcase_add_test(t, waits_until_everything_is_enabled);
	tcase_add_test(t, enabling_delivers);
	tcase_add_test(t, page_outside_ram_is_inert);
	tcase_add_test(t, pages_are_zero_when_enabled);
	tcase_add_test(t, sint_rules);
	tcase_add_test(t, polling_sint_does_not_interrupt);
	tcase_add_test(t, signals_interrupt_once);
	tcase_add_test(t, bad_arguments);
	tcase_add_test(t, reset_drops_everything);
	tcase_add_test(t, message_races_lose_nothing);
	tcase_add_test(t, event_page_is_the_guests_again);
	return suite_run(suite);
}
