/* Dynamic memory that pauses, is saved and restored, and begins anew. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "balloon_rig.h"
#include "vsc_machine.h"
#include "vsc_state.h"

static void begin_kernel(void)
{
	vsc_channel_close(&channel);
	vsc_unload(vsc);
	vsc_connect(vsc, VMBUS_VERSION(5, 3));
}

START_TEST(a_new_kernel_begins_anew)
{
	const uint64_t range = DYNMEM_RANGE(4096, 1024);
	uint64_t added;

	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_send_ranges(&range, 1, false);
	rig_wait_number("ballooned", 4 * MIB);
	rig_set_target(RAM + 128 * MIB);
	rig_expect_unballoon((uint64_t[DYNMEM_RANGES_MAX]){0});
	rig_answer_unballoon();
	added = rig_expect_hot_add().range;
	rig_answer_hot_add(128 * MIB / PAGE, 1);
	rig_wait_number("assigned", RAM + 128 * MIB);
	begin_kernel();
	ck_assert_int_eq(rig_number("assigned"), RAM);
	/* It is told of the same memory once more, which is plugged in already. */
	rig_connect_driver(CAPABLE);
	rig_set_target(RAM + 128 * MIB);
	ck_assert_uint_eq(rig_expect_hot_add().range, added);
	ck_assert_uint_eq(plugs, 1);
}
END_TEST

/* What Linux's unbind and bind do: its kernel has neither its pages back nor loses what was added.
 */
START_TEST(a_driver_that_comes_back_finds_its_books)
{
	const uint64_t range = DYNMEM_RANGE(4096, 1024);
	uint64_t ranges[DYNMEM_RANGES_MAX], added;

	rig_set_target(RAM + 128 * MIB);
	added = rig_expect_hot_add().range;
	rig_answer_hot_add(128 * MIB / PAGE, 1);
	rig_wait_number("assigned", RAM + 128 * MIB);
	rig_set_target(RAM + 124 * MIB);
	rig_expect_balloon();
	rig_send_ranges(&range, 1, false);
	rig_wait_number("ballooned", 4 * MIB);
	vsc_channel_close(&channel);
	ck_assert_int_eq(rig_number("assigned"), RAM + 124 * MIB);
	rig_connect_driver(CAPABLE);
	ck_assert_int_eq(rig_number("assigned"), RAM + 124 * MIB);
	rig_set_target(RAM + 256 * MIB);
	ck_assert_uint_eq(rig_expect_unballoon(ranges), 1);
	ck_assert_uint_eq(ranges[0], range);
	rig_answer_unballoon();
	ck_assert_uint_eq(DYNMEM_RANGE_FIRST(rig_expect_hot_add().range),
			  DYNMEM_RANGE_FIRST(added) + 128 * MIB / PAGE);
}
END_TEST

/* A driver that goes before it was sent its pages does not have them. */
START_TEST(pages_that_were_not_sent_back_are_still_away)
{
	const uint64_t range = DYNMEM_RANGE(4096, 1024);
	uint64_t ranges[DYNMEM_RANGES_MAX];

	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_send_ranges(&range, 1, false);
	rig_wait_number("ballooned", 4 * MIB);
	rig_on_main(memory_device.quiesce);
	balloon->held = false;
	rig_set_target(RAM);
	ck_assert_int_eq(rig_number("ballooned"), 0);
	vsc_channel_close(&channel);
	rig_on_main(memory_device.unquiesce);
	ck_assert_int_eq(rig_number("ballooned"), 4 * MIB);
	rig_connect_driver(CAPABLE);
	rig_set_target(RAM);
	ck_assert_uint_eq(rig_expect_unballoon(ranges), 1);
	ck_assert_uint_eq(ranges[0], range);
}
END_TEST

static struct vsc_state state_of(void)
{
	return (struct vsc_state){.ops = &memory_device, .device = balloon};
}

/* The state of a VM in the midst of an operation, into the device that a bus's restore leaves. */
START_TEST(state_comes_back)
{
	const uint64_t given[] = {DYNMEM_RANGE(4096, 512), DYNMEM_RANGE(9000, 3)};
	const uint64_t last = DYNMEM_RANGE(7000, 509);
	uint64_t ranges[DYNMEM_RANGES_MAX];
	struct vsc_state first = state_of(), second = first;

	rig_report(MIB, RAM);
	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_send_ranges(given, 2, true);
	rig_wait_number("ballooned", 515 * PAGE);
	rig_on_main(memory_device.quiesce);
	vsc_main(vsc, vsc_state_save, &first);
	ck_assert_int_eq(first.result, 0);
	rig_on_main(memory_device.unquiesce);
	/* Another guest's life, so that nothing is there by chance. */
	begin_kernel();
	rig_connect_driver(DYNMEM_CAN_BALLOON);
	rig_set_target(RAM);
	rig_on_main(memory_device.quiesce);
	vsc_main(vsc, vsc_state_restore, &first);
	ck_assert_int_eq(first.result, 0);
	vsc_main(vsc, vsc_state_save, &second);
	ck_assert_uint_eq(second.size, first.size);
	ck_assert_mem_eq(second.tree, first.tree, first.size);
	rig_on_main(memory_device.unquiesce);
	ck_assert_int_eq(rig_number("ballooned"), 515 * PAGE);
	rig_send_ranges(&last, 1, false);
	rig_wait_number("assigned", RAM - 4 * MIB);
	rig_set_target(RAM);
	ck_assert_uint_eq(rig_expect_unballoon(ranges), 3);
	ck_assert_uint_eq(ranges[0], given[0]);
	ck_assert_uint_eq(ranges[1], last);
	ck_assert_uint_eq(ranges[2], given[1]);
	/* Where the guest has the channel closed, it does not fit. */
	vsc_channel_close(&channel);
	vsc_main(vsc, vsc_state_restore, &second);
	ck_assert_int_lt(second.result, 0);
	free(first.tree);
	free(second.tree);
}
END_TEST

/* A request that the ring had no room for is sent after the restore. */
START_TEST(what_was_not_sent_is_saved)
{
	struct vsc_state saved = state_of();

	rig_on_main(memory_device.quiesce);
	balloon->held = false;
	rig_set_target(RAM - 4 * MIB);
	vsc_main(vsc, vsc_state_save, &saved);
	ck_assert_uint_eq(balloon->outbox_count, 1);
	vsc_main(vsc, vsc_state_restore, &saved);
	ck_assert_int_eq(saved.result, 0);
	ck_assert_uint_eq(balloon->outbox_count, 1);
	rig_on_main(memory_device.unquiesce);
	ck_assert_uint_eq(rig_expect_balloon(), 1024);
	free(saved.tree);
}
END_TEST

/* Memory that the guest was told of, but which is not plugged in. */
START_TEST(books_that_do_not_agree_are_refused)
{
	struct vsc_state saved = state_of();

	rig_set_target(RAM + 128 * MIB);
	rig_expect_hot_add();
	rig_answer_hot_add(128 * MIB / PAGE, 1);
	rig_wait_number("assigned", RAM + 128 * MIB);
	rig_on_main(memory_device.quiesce);
	vsc_main(vsc, vsc_state_save, &saved);
	vsc_main(vsc, vsc_state_restore, &saved);
	ck_assert_int_eq(saved.result, 0);
	gpa_unplug_all(vsc_gpa(vsc));
	vsc_main(vsc, vsc_state_restore, &saved);
	ck_assert_int_eq(saved.result, -EINVAL);
	rig_on_main(memory_device.unquiesce);
	free(saved.tree);
}
END_TEST

START_TEST(nothing_moves_while_paused)
{
	const uint64_t range = DYNMEM_RANGE(4096, 1024);

	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_on_main(memory_device.quiesce);
	rig_send_ranges(&range, 1, false);
	rig_set_target(RAM - 8 * MIB);
	ck_assert_int_eq(rig_number("ballooned"), 0);
	rig_on_main(memory_device.unquiesce);
	rig_wait_number("ballooned", 4 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 1024);
}
END_TEST

/* The main loop itself plays the guest, so that it cannot take the packet by itself. */
static void quiesce_with_a_packet(void *device)
{
	const uint64_t range = DYNMEM_RANGE(4096, 1024);
	struct vsc_wait wait = {0};
	bool there = false;

	rig_send_ranges(&range, 1, false);
	while (!there) {
		pthread_mutex_lock(&balloon->lock);
		there = balloon->inbox.data;
		pthread_mutex_unlock(&balloon->lock);
		vsc_pause(&wait, "the packet is not taken off the ring");
	}
	memory_device.quiesce(device);
}

START_TEST(what_is_off_the_ring_counts_before_a_pause)
{
	rig_set_target(RAM - 4 * MIB);
	rig_expect_balloon();
	rig_on_main(quiesce_with_a_packet);
	ck_assert_int_eq(rig_number("ballooned"), 4 * MIB);
	rig_on_main(memory_device.unquiesce);
	rig_expect_silence();
}
END_TEST

START_TEST(reset_goes_back_to_startup)
{
	rig_report(320 * MIB, 0);
	ck_assert_int_eq(rig_number("target"), 384 * MIB);
	rig_expect_hot_add();
	vsc_channel_close(&channel);
	rig_on_main(memory_device.reset);
	ck_assert_int_eq(rig_number("target"), RAM);
	ck_assert_int_eq(rig_number("assigned"), RAM);
	ck_assert_int_eq(rig_number("committed"), 0);
}
END_TEST

int main(void)
{
	TCase *ready;
	Suite *suite = suite_of("balloon_state", &ready);

	tcase_add_checked_fixture(ready, rig_set_up, rig_tear_down);
	tcase_add_test(ready, a_new_kernel_begins_anew);
	tcase_add_test(ready, a_driver_that_comes_back_finds_its_books);
	tcase_add_test(ready, pages_that_were_not_sent_back_are_still_away);
	tcase_add_test(ready, state_comes_back);
	tcase_add_test(ready, what_was_not_sent_is_saved);
	tcase_add_test(ready, books_that_do_not_agree_are_refused);
	tcase_add_test(ready, nothing_moves_while_paused);
	tcase_add_test(ready, what_is_off_the_ring_counts_before_a_pause);
	tcase_add_test(ready, reset_goes_back_to_startup);
	return suite_run(suite);
}
