/* When a device goes that the guest was told of; the VM is ours. */
#include <errno.h>
#include <string.h>

#include "suite.h"
#include "vmbus/vsp.h"
#include "worker/departures.h"

#define LOOK_NS 1000000ull

/* What vm_retire answers, and what it was asked. */
static int answer;
static unsigned int looks, detached;
static unsigned int gone_at; /* the look from which on it answers 1 */

static struct event_loop *loop;
static struct departures *departures;

int vm_retire(struct vm *vm, const char *id, struct error *err)
{
	looks++;
	if (answer < 0)
		return error_set(err, -answer, "no");
	return looks >= gone_at;
}

int vm_detach(struct vm *vm, const char *id, struct error *err)
{
	if (!strcmp(id, "stays"))
		return error_set(err, ENOENT, "it stays");
	detached++;
	return 0;
}

struct call {
	struct device_call call;
	unsigned int replies;
	char refusal[128];
};

static void done(struct call *call)
{
	call->replies++;
	event_loop_stop(loop, 0);
}

static void on_reply(struct device_call *device_call, json_t *reply)
{
	ck_assert_ptr_null(reply);
	done((struct call *)device_call);
}

static void on_refuse(struct device_call *device_call, const char *sentence)
{
	struct call *call = (struct call *)device_call;

	strncpy(call->refusal, sentence, sizeof(call->refusal) - 1);
	done(call);
}

static struct call call_of(void)
{
	return (struct call){.call = {on_reply, on_refuse}};
}

static void wait_for(const struct call *call)
{
	while (!call->replies)
		ck_assert_int_eq(event_loop_run(loop), 0);
}

static void setup(void)
{
	answer = 0;
	looks = detached = 0;
	gone_at = 1;
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(departures_new(loop, NULL, LOOK_NS, &departures), 0);
}

static void teardown(void)
{
	departures_free(departures);
	event_loop_free(loop);
}

START_TEST(what_the_guest_does_not_use_goes_at_once)
{
	struct call call = call_of();

	departures_begin(departures, "scsi1", &call.call);
	ck_assert_uint_eq(call.replies, 1);
	ck_assert_str_eq(call.refusal, "");
	ck_assert_uint_eq(detached, 1);
	ck_assert_uint_eq(looks, 1);
}
END_TEST

START_TEST(it_goes_when_the_guest_is_through_with_it)
{
	struct call call = call_of();

	gone_at = 4;
	departures_begin(departures, "scsi1", &call.call);
	ck_assert_uint_eq(call.replies, 0);
	wait_for(&call);
	ck_assert_uint_eq(call.replies, 1);
	ck_assert_uint_eq(detached, 1);
	ck_assert_uint_eq(looks, 4);
}
END_TEST

START_TEST(nobody_waits_for_ever)
{
	struct call call = call_of();

	gone_at = UINT32_MAX;
	departures_begin(departures, "scsi1", &call.call);
	wait_for(&call);
	ck_assert_str_eq(call.refusal, "");
	ck_assert_uint_eq(detached, 1);
	ck_assert_uint_eq(looks, VMBUS_LOOKS_MAX + 1);
}
END_TEST

START_TEST(what_is_leaving_does_not_leave_again)
{
	struct call first = call_of(), second = call_of(), other = call_of();

	gone_at = 3;
	departures_begin(departures, "scsi1", &first.call);
	departures_begin(departures, "scsi1", &second.call);
	ck_assert_str_eq(second.refusal, "it is leaving already; wait until it is gone");
	ck_assert_uint_eq(first.replies, 0);
	ck_assert_uint_eq(looks, 1);
	/* Another may. */
	departures_begin(departures, "nic0", &other.call);
	wait_for(&first);
	wait_for(&other);
	ck_assert_uint_eq(first.replies, 1);
	ck_assert_uint_eq(other.replies, 1);
	ck_assert_uint_eq(detached, 2);
}
END_TEST

static void unpause(void *context, uint32_t events)
{
	ck_assert_uint_eq(detached, 0);
	answer = 0;
}

/* A guest that is paused cannot let go of it; the time does not count. */
START_TEST(a_pause_refuses_it_or_holds_it_up)
{
	struct call refused = call_of(), call = call_of();
	struct event_source *timer;

	answer = -EBUSY;
	departures_begin(departures, "scsi1", &refused.call);
	ck_assert_str_eq(refused.refusal, "no");
	answer = 0;
	gone_at = 3;
	departures_begin(departures, "scsi1", &call.call);
	ck_assert_uint_eq(call.replies, 0);
	answer = -EBUSY;
	ck_assert_int_eq(event_loop_timer(loop, unpause, NULL, &timer), 0);
	ck_assert_int_eq(event_timer_arm(timer, 3 * LOOK_NS, 0), 0);
	wait_for(&call);
	ck_assert_str_eq(call.refusal, "");
	ck_assert_uint_eq(detached, 1);
	event_source_remove(timer);
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
	struct call call = call_of(), gone = call_of(), stays = call_of();

	answer = -ENOENT;
	departures_begin(departures, "scsi1", &call.call);
	ck_assert_str_eq(call.refusal, "no");
	/* It went by itself meanwhile. */
	answer = 0;
	gone_at = UINT32_MAX;
	departures_begin(departures, "scsi1", &gone.call);
	answer = -ENOENT;
	wait_for(&gone);
	ck_assert_str_eq(gone.refusal, "no");
	answer = 0;
	gone_at = 0;
	departures_begin(departures, "stays", &stays.call);
	ck_assert_str_eq(stays.refusal, "it stays");
}
END_TEST

START_TEST(the_end_of_the_vm_ends_all)
{
	struct call call = call_of();

	gone_at = UINT32_MAX;
	departures_begin(departures, "scsi1", &call.call);
	departures_free(departures);
	departures = NULL;
	ck_assert_uint_eq(call.replies, 1);
	ck_assert_str_eq(call.refusal, "the VM is ending");
	ck_assert_uint_eq(detached, 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("departures", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, what_the_guest_does_not_use_goes_at_once);
	tcase_add_test(tests, it_goes_when_the_guest_is_through_with_it);
	tcase_add_test(tests, nobody_waits_for_ever);
	tcase_add_test(tests, what_is_leaving_does_not_leave_again);
	tcase_add_test(tests, a_pause_refuses_it_or_holds_it_up);
	tcase_add_test(tests, what_is_wrong_is_said);
	tcase_add_test(tests, the_end_of_the_vm_ends_all);
	return suite_run(suite);
}
