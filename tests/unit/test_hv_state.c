#include <errno.h>

#include "hv_fixture.h"
#include "suite.h"

#define CONFIG(n) (HV_MSR_STIMER0_CONFIG + 2 * (n))
#define COUNT(n)  (CONFIG(n) + 1)
#define TO_SINT	  ((uint64_t)TEST_SINT << 16)
#define LONG	  (3600ull * HV_TIME_UNITS_A_SECOND)

static struct hv_fixture f;

static void *save(struct hv_partition *hv, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	ck_assert_ptr_nonnull(writer);
	hv_partition_save(hv, writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

static int restore(struct hv_partition *hv, const void *tree, size_t size)
{
	struct state_node root;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	return hv_partition_restore(hv, &root);
}

static void post(uint32_t number)
{
	ck_assert_int_eq(hv_synic_post(f.vp, TEST_SINT, 1, 5, &number, sizeof(number)), 0);
}

/* Something in every part: registers, a full slot with messages and a timer's behind it, timers
 * of each kind. */
static void make_busy(void)
{
	fixture_enable_calls(&f);
	fixture_enable_synic(&f);
	msr_set(f.vp, HV_MSR_REFERENCE_TSC, TSC_PAGE | HV_OVERLAY_ENABLE);
	msr_set(f.vp, HV_MSR_VP_ASSIST_PAGE, ASSIST_PAGE | HV_OVERLAY_ENABLE);
	msr_set(f.vp, HV_MSR_TSC_INVARIANT, 1);
	msr_set(f.vp, HV_MSR_CRASH_P0 + 2, 0x22);
	msr_set(hv_partition_vp(f.hv, 1), HV_MSR_SINT0 + 5, HV_SINT_POLLING | 0x44);
	post(1);
	post(2);
	msr_set(f.vp, COUNT(0), 1);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_ENABLE);
	post(3);
	msr_set(f.vp, CONFIG(1), HV_STIMER_DIRECT | 0xecull << 4 | HV_STIMER_AUTO_ENABLE);
	msr_set(f.vp, COUNT(1), LONG);
	msr_set(f.vp, COUNT(2), LONG);
	msr_set(f.vp, CONFIG(2), TO_SINT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE);
	hv_partition_pause(f.hv);
}

/* A second partition over the same memory, as if RAM had been restored too. */
static struct hv_partition *fresh(void)
{
	struct hv_partition *hv;

	ck_assert_int_eq(hv_partition_new(&f.config, &hv, NULL), 0);
	ck_assert_int_eq(hv_partition_start(hv, NULL), 0);
	return hv;
}

static void set_up(void)
{
	fixture_new(&f);
	make_busy();
}

static void tear_down(void)
{
	fixture_free(&f);
}

START_TEST(restored_state_saves_the_same)
{
	struct hv_partition *copy = fresh();
	size_t size;
	size_t copy_size;
	void *tree = save(f.hv, &size);
	void *copy_tree;

	ck_assert_int_eq(restore(copy, tree, size), 0);
	copy_tree = save(copy, &copy_size);
	ck_assert_uint_eq(copy_size, size);
	ck_assert_mem_eq(copy_tree, tree, size);
	hv_partition_free(copy);
	free(copy_tree);
	free(tree);
}
END_TEST

/* Puts the restored partition in the place of the first. */
static void migrate(void)
{
	struct hv_partition *copy = fresh();
	size_t size;
	void *tree = save(f.hv, &size);

	ck_assert_int_eq(restore(copy, tree, size), 0);
	free(tree);
	hv_partition_free(f.hv);
	f.hv = copy;
	f.vp = hv_partition_vp(copy, 0);
}

/* It is the timer's own message still: the time of delivery is filled in. */
static void check_timer_message(const struct hv_message *message)
{
	struct hv_timer_payload payload;

	memcpy(&payload, message->payload, sizeof(payload));
	ck_assert_uint_eq(message->type, HV_MESSAGE_TIMER_EXPIRED);
	ck_assert_uint_eq(payload.expiration_time, 1);
	ck_assert_uint_gt(payload.delivery_time, 0);
}

START_TEST(messages_go_on_in_order)
{
	struct hv_message message;
	static const uint32_t expected[] = {1, 2, 0, 3};

	migrate();
	hv_partition_resume(f.hv);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 3);
	for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) {
		ck_assert(fixture_take(&f, TEST_SINT, &message));
		if (expected[i])
			ck_assert_mem_eq(message.payload, &expected[i], 4);
		else
			check_timer_message(&message);
	}
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 3);
}
END_TEST

START_TEST(time_goes_on)
{
	uint64_t before = msr_get(f.vp, HV_MSR_TIME_REF_COUNT);

	migrate();
	ck_assert_uint_eq(msr_get(f.vp, HV_MSR_TIME_REF_COUNT), before);
	hv_partition_resume(f.hv);
	WAIT_UNTIL(msr_get(f.vp, HV_MSR_TIME_REF_COUNT) > before);
	ck_assert(msr_get(f.vp, HV_MSR_TIME_REF_COUNT) < before + LONG);
}
END_TEST

START_TEST(armed_timers_stay_armed)
{
	uint64_t soon = msr_get(f.vp, HV_MSR_TIME_REF_COUNT) + 10000;
	uint64_t interrupts = 0;

	/* Paused still, so it cannot expire before the save. */
	msr_set(f.vp, COUNT(1), soon);
	migrate();
	hv_partition_resume(f.hv);
	WAIT_UNTIL((interrupts += msi_count(f.vp->stimers[1].msi)) == 1);
	ck_assert(msr_get(f.vp, CONFIG(2)) & HV_STIMER_ENABLE);
	ck_assert(f.vp->stimers[2].armed);
}
END_TEST

START_TEST(running_partition_takes_over_events)
{
	migrate();
	hv_partition_resume(f.hv);
	ck_assert_int_eq(hv_synic_signal(f.vp, TEST_SINT, 6), 0);
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
}
END_TEST

/* Whatever a byte of the tree becomes, restore answers, and a refusal leaves a reset partition. */
START_TEST(damaged_state_is_refused_or_harmless)
{
	struct hv_partition *copy = fresh();
	size_t size;
	uint8_t *tree = save(f.hv, &size);

	for (size_t i = 0; i < size; i += 7) {
		const uint8_t byte = tree[i];
		struct state_node root;

		tree[i] ^= 0xff;
		if (state_open(tree, size, &root) == 0 && hv_partition_restore(copy, &root) < 0)
			ck_assert_uint_eq(msr_get(hv_partition_vp(copy, 0), HV_MSR_SIMP), 0);
		tree[i] = byte;
	}
	ck_assert_int_eq(restore(copy, tree, size), 0);
	hv_partition_free(copy);
	free(tree);
}
END_TEST

START_TEST(another_shape_is_refused)
{
	struct state_writer *writer = state_writer_new();
	struct hv_partition *copy;
	size_t size;
	void *tree = save(f.hv, &size);

	f.config.vp_count = HV_VPS + 1;
	copy = fresh();
	ck_assert_int_eq(restore(copy, tree, size), -ENOENT);
	free(tree);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(restore(copy, tree, size), -ENOENT);
	free(tree);
	hv_partition_free(copy);
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_state", &t);

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, restored_state_saves_the_same);
	tcase_add_test(t, messages_go_on_in_order);
	tcase_add_test(t, time_goes_on);
	tcase_add_test(t, armed_timers_stay_armed);
	tcase_add_test(t, running_partition_takes_over_events);
	tcase_add_test(t, damaged_state_is_refused_or_harmless);
	tcase_add_test(t, another_shape_is_refused);
	return suite_run(suite);
}
