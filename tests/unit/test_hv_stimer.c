#include "hv_fixture.h"
#include "suite.h"
#include "vmm/hv_timer_thread.h"

/* Nothing here asserts how late a timer is, only that it comes, how often, and never early. */

#define MS	  10000ull
#define LONG	  (3600 * 1000 * MS)
#define CONFIG(n) (HV_MSR_STIMER0_CONFIG + 2 * (n))
#define COUNT(n)  (HV_MSR_STIMER0_CONFIG + 2 * (n) + 1)
#define TO_SINT	  ((uint64_t)TEST_SINT << 16)
#define DIRECT	  (HV_STIMER_DIRECT | (uint64_t)TEST_VECTOR << 4)

static struct hv_fixture f;
static struct hv_message message;

static void set_up(void)
{
	fixture_new(&f);
	fixture_enable_synic(&f);
}

static void tear_down(void)
{
	fixture_free(&f);
}

static uint64_t now(void)
{
	return msr_get(f.vp, HV_MSR_TIME_REF_COUNT);
}

static struct hv_timer_payload payload(void)
{
	struct hv_timer_payload p;

	memcpy(&p, message.payload, sizeof(p));
	return p;
}

static bool is_enabled(unsigned int n)
{
	return msr_get(f.vp, CONFIG(n)) & HV_STIMER_ENABLE;
}

START_TEST(one_shot_expires_once)
{
	uint64_t due = now() + 2 * MS;

	msr_set(f.vp, COUNT(1), due);
	msr_set(f.vp, CONFIG(1), TO_SINT | HV_STIMER_ENABLE);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_ge(now(), due);
	ck_assert_uint_eq(message.type, HV_MESSAGE_TIMER_EXPIRED);
	ck_assert_uint_eq(message.payload_size, 24);
	ck_assert_uint_eq(payload().timer_index, 1);
	ck_assert_uint_eq(payload().expiration_time, due);
	ck_assert_uint_ge(payload().delivery_time, due);
	ck_assert(!is_enabled(1));
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), 1);
	ck_assert_uint_eq(msr_get(f.vp, COUNT(1)), due);
}
END_TEST

START_TEST(past_time_expires_at_once)
{
	msr_set(f.vp, COUNT(0), 1);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_ENABLE);
	ck_assert(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(payload().expiration_time, 1);
}
END_TEST

START_TEST(auto_enable_follows_the_count)
{
	msr_set(f.vp, CONFIG(2), TO_SINT | HV_STIMER_AUTO_ENABLE);
	ck_assert(!is_enabled(2));
	msr_set(f.vp, COUNT(2), now() + LONG);
	ck_assert(is_enabled(2));
	msr_set(f.vp, COUNT(2), 0);
	ck_assert(!is_enabled(2));
	msr_set(f.vp, COUNT(2), now() + MS);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	ck_assert(!is_enabled(2));
}
END_TEST

START_TEST(periodic_comes_again_and_again)
{
	uint64_t start = now();
	uint64_t last = start;

	msr_set(f.vp, COUNT(0), MS);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE);
	for (unsigned int i = 0; i < 5; i++) {
		WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
		ck_assert_uint_ge(payload().expiration_time, last + MS);
		last = payload().expiration_time;
	}
	ck_assert_uint_ge(now() - start, 5 * MS);
	ck_assert(is_enabled(0));
	msr_set(f.vp, CONFIG(0), 0);
	/* One may lie in the slot already; none comes after it. */
	fixture_take(&f, TEST_SINT, &message);
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
}
END_TEST

/* With the slot full a timer that is not lazy loses no expiration: they come one by one. */
START_TEST(periodic_catches_up)
{
	uint64_t first;

	msr_set(f.vp, COUNT(0), MS);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE);
	WAIT_UNTIL(hv_synic_waiting(f.vp, TEST_SINT) == 1);
	first = now();
	WAIT_UNTIL(now() >= first + 20 * MS);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	first = payload().expiration_time;
	for (unsigned int i = 1; i <= 15; i++) {
		WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
		ck_assert_uint_eq(payload().expiration_time, first + i * MS);
	}
}
END_TEST

START_TEST(lazy_skips_what_it_missed)
{
	uint64_t first;

	msr_set(f.vp, COUNT(0), MS);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_PERIODIC | HV_STIMER_LAZY | HV_STIMER_ENABLE);
	WAIT_UNTIL(hv_synic_waiting(f.vp, TEST_SINT) == 1);
	first = now();
	WAIT_UNTIL(now() >= first + 20 * MS);
	/* The first, the one that waited, and the next after all that were missed. */
	ck_assert(fixture_take(&f, TEST_SINT, &message));
	ck_assert(fixture_take(&f, TEST_SINT, &message));
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_ge(payload().expiration_time, first + 19 * MS);
}
END_TEST

START_TEST(direct_mode_interrupts)
{
	struct stimer *timer = &f.vp->stimers[3];
	uint64_t interrupts = 0;

	msr_set(f.vp, COUNT(3), now() + MS);
	msr_set(f.vp, CONFIG(3), DIRECT | HV_STIMER_ENABLE);
	WAIT_UNTIL((interrupts += msi_count(timer->msi)) == 1);
	ck_assert(!is_enabled(3));
	msr_set(f.vp, COUNT(3), MS);
	msr_set(f.vp, CONFIG(3), DIRECT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE);
	WAIT_UNTIL((interrupts += msi_count(timer->msi)) >= 5);
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
}
END_TEST

START_TEST(illegal_configurations)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!(HV_STIMER_CONFIG_BITS >> bit & 1))
			ck_assert(!hv_msr_write(f.vp, CONFIG(0), 1ull << bit));
	}
	ck_assert(!hv_msr_write(f.vp, CONFIG(0), HV_STIMER_DIRECT | HV_STIMER_ENABLE | 15 << 4));
	msr_set(f.vp, COUNT(0), now() + LONG);
	msr_set(f.vp, CONFIG(0), HV_STIMER_ENABLE);
	ck_assert(!is_enabled(0));
}
END_TEST

START_TEST(disabling_takes_the_message_back)
{
	for (unsigned int n = 0; n < 2; n++) {
		msr_set(f.vp, COUNT(n), 1);
		msr_set(f.vp, CONFIG(n), TO_SINT | HV_STIMER_ENABLE);
	}
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 1);
	msr_set(f.vp, CONFIG(1), 0);
	ck_assert_uint_eq(hv_synic_waiting(f.vp, TEST_SINT), 0);
	ck_assert(fixture_take(&f, TEST_SINT, &message));
	ck_assert(!fixture_take(&f, TEST_SINT, &message));
}
END_TEST

START_TEST(timers_share_a_sint_in_order)
{
	for (unsigned int n = 0; n < HV_STIMER_COUNT; n++) {
		msr_set(f.vp, COUNT(3 - n), 1 + n);
		msr_set(f.vp, CONFIG(3 - n), TO_SINT | HV_STIMER_ENABLE);
	}
	for (unsigned int n = 0; n < HV_STIMER_COUNT; n++) {
		ck_assert(fixture_take(&f, TEST_SINT, &message));
		ck_assert_uint_eq(payload().timer_index, 3 - n);
	}
	ck_assert_uint_eq(sint_interrupts(&f, TEST_SINT), HV_STIMER_COUNT);
}
END_TEST

/* Periods of one unit are stretched: between two expirations lies the least period. */
START_TEST(tiny_periods_are_stretched)
{
	uint64_t first;

	msr_set(f.vp, COUNT(0), 1);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_PERIODIC | HV_STIMER_ENABLE);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	first = payload().expiration_time;
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(payload().expiration_time, first + STIMER_PERIOD_MIN);
}
END_TEST

START_TEST(huge_counts_never_come)
{
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_AUTO_ENABLE);
	msr_set(f.vp, COUNT(0), UINT64_MAX);
	msr_set(f.vp, CONFIG(1), TO_SINT | HV_STIMER_AUTO_ENABLE | HV_STIMER_PERIODIC);
	msr_set(f.vp, COUNT(1), UINT64_MAX);
	/* A third timer comes and goes past them. */
	msr_set(f.vp, CONFIG(2), TO_SINT | HV_STIMER_AUTO_ENABLE);
	msr_set(f.vp, COUNT(2), now() + MS);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	ck_assert_uint_eq(payload().timer_index, 2);
	ck_assert(is_enabled(0) && is_enabled(1));
}
END_TEST

START_TEST(pause_stops_timers)
{
	uint64_t frozen;

	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_AUTO_ENABLE);
	msr_set(f.vp, COUNT(0), now() + 20 * MS);
	hv_partition_pause(f.hv);
	frozen = now();
	nanosleep(&(struct timespec){.tv_nsec = 40000000}, NULL);
	ck_assert_uint_eq(now(), frozen);
	/* Whether it expired before the pause or not, it does not during it. */
	if (is_enabled(0)) {
		ck_assert(!fixture_take(&f, TEST_SINT, &message));
		hv_partition_resume(f.hv);
		WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
	}
}
END_TEST

/* Timers that are due together, as the thread sees them when it wakes, go by their times. */
START_TEST(fires_in_order_of_time)
{
	uint64_t due;

	hv_partition_pause(f.hv);
	due = now() + 2 * MS;
	for (unsigned int n = 0; n < HV_STIMER_COUNT; n++) {
		msr_set(f.vp, COUNT(3 - n), due + n);
		msr_set(f.vp, CONFIG(3 - n), TO_SINT | HV_STIMER_ENABLE);
	}
	hv_partition_resume(f.hv);
	for (unsigned int n = 0; n < HV_STIMER_COUNT; n++) {
		WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
		ck_assert_uint_eq(payload().timer_index, 3 - n);
	}
}
END_TEST

/* The thread's look at the clock, on another processor, may be ahead of the timer's own. */
START_TEST(fired_too_early_it_comes_all_the_same)
{
	struct stimer *timer = &f.vp->stimers[0];

	msr_set(f.vp, COUNT(0), now() + 500 * MS);
	msr_set(f.vp, CONFIG(0), TO_SINT | HV_STIMER_ENABLE);
	/* As the thread does it. */
	timer_thread_disarm(f.hv->timers, timer);
	stimer_fire(timer);
	WAIT_UNTIL(fixture_take(&f, TEST_SINT, &message));
}
END_TEST

/* Many timers of both VPs re-armed without end: the thread loses none of the last ones. */
START_TEST(rearming_races_lose_nothing)
{
	struct hv_vp *second = hv_partition_vp(f.hv, 1);
	uint64_t interrupts = 0;

	msr_set(second, CONFIG(1), DIRECT | HV_STIMER_AUTO_ENABLE);
	msr_set(f.vp, CONFIG(0), DIRECT | HV_STIMER_AUTO_ENABLE);
	for (unsigned int i = 0; i < 2000; i++) {
		msr_set(f.vp, COUNT(0), now() + i % 40 * 10);
		msr_set(second, COUNT(1), now() + 100);
	}
	WAIT_UNTIL(!is_enabled(0));
	WAIT_UNTIL(!(msr_get(second, CONFIG(1)) & HV_STIMER_ENABLE));
	WAIT_UNTIL((interrupts += msi_count(f.vp->stimers[0].msi)) > 0);
}
END_TEST

int main(void)
{
	TCase *t;
	Suite *suite = suite_of("hv_stimer", &t);

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, one_shot_expires_once);
	tcase_add_test(t, past_time_expires_at_once);
	tcase_add_test(t, auto_enable_follows_the_count);
	tcase_add_test(t, periodic_comes_again_and_again);
	tcase_add_test(t, periodic_catches_up);
	tcase_add_test(t, lazy_skips_what_it_missed);
	tcase_add_test(t, direct_mode_interrupts);
	tcase_add_test(t, illegal_configurations);
	tcase_add_test(t, disabling_takes_the_message_back);
	tcase_add_test(t, timers_share_a_sint_in_order);
	tcase_add_test(t, fires_in_order_of_time);
	tcase_add_test(t, tiny_periods_are_stretched);
	tcase_add_test(t, huge_counts_never_come);
	tcase_add_test(t, pause_stops_timers);
	tcase_add_test(t, fired_too_early_it_comes_all_the_same);
	tcase_add_test(t, rearming_races_lose_nothing);
	return suite_run(suite);
}
