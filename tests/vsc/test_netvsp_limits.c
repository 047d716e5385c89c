/* A NIC with a limit, as a guest's driver sees it.  What is over it waits for an hour, so that a
 * test ends only where something else made it go. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "suite.h"
#include "vsc_net.h"

#define MAC   "52:54:00:12:34:56"
#define BYTES 1000u
/* A frame's worth then takes an hour. */
#define SLOW  2

static struct vsc_net net;
static uint8_t frame[BYTES] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 1, 2, 3, 4, 5, 6, 0x88, 0xb5};

/* The backend sends back what it gets, where echo says so. */
static void start(bool echo, int bandwidth)
{
	uint8_t filter[4];

	vsc_net_start(&net, 2, 1,
		      json_pack("{s:s, s:s, s:b, s:i}", "mac", MAC, "backend", "null", "echo", echo,
				"bandwidth", bandwidth));
	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	put_le32(filter, NDIS_FILTER_PROMISCUOUS);
	ck_assert_uint_eq(vsc_net_set(&net, OID_GEN_CURRENT_PACKET_FILTER, filter, 4), 0);
}

static void teardown(void)
{
	vsc_net_stop(&net);
}

static void send_frame(void)
{
	const struct vsc_net_send plain = {0};

	ck_assert_int_eq(vsc_net_send(&net, 0, frame, BYTES, &plain), 0);
}

static bool limit(json_t *parameters)
{
	return vsc_net_verb(&net, "set-limits", parameters);
}

struct reading {
	struct state_writer *writer;
};

static void inspect(void *context)
{
	struct reading *reading = context;

	state_begin(reading->writer, "nic", net.ops->state_version);
	net.ops->inspect(net.device, reading->writer);
	state_end(reading->writer);
}

static uint64_t limit_waits(void)
{
	struct reading reading = {state_writer_new()};
	struct state_node root, nic, queue;
	uint64_t waits;
	void *tree;
	size_t size;

	vsc_main(net.vsc, inspect, &reading);
	ck_assert_int_eq(state_finish(reading.writer, &tree, &size), 0);
	state_writer_free(reading.writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "nic", net.ops->state_version, &nic), 0);
	ck_assert_int_eq(state_child(&nic, "queue@0", net.ops->state_version, &queue), 0);
	ck_assert_int_eq(state_get_u64(&queue, "limit-waits", &waits), 0);
	free(tree);
	return waits;
}

static void wait_for_limit(void)
{
	while (limit_waits() == 0)
		sched_yield();
}

/* One frame may go, what follows stays on the guest's ring. */
START_TEST(what_is_sent_too_soon_waits_on_the_ring)
{
	unsigned int before;

	start(false, SLOW);
	before = net.channels[0].completed;
	for (int i = 0; i < 5; i++)
		send_frame();
	vsc_net_wait_sent(&net, 0, before + 1);
	wait_for_limit();
	vsc_net_poll(&net, 0, false);
	ck_assert_uint_eq(net.channels[0].completed, before + 1);
	ck_assert(limit(json_pack("{s:i}", "bandwidth", 0)));
	vsc_net_wait_sent(&net, 0, before + 5);
}
END_TEST

/* The backend is not read while what came is not paid for. */
START_TEST(what_comes_too_soon_is_not_read)
{
	start(true, 0);
	send_frame();
	ck_assert_ptr_nonnull(vsc_net_receive(&net, 0, true));
	ck_assert(limit(json_pack("{s:i}", "bandwidth", SLOW)));
	send_frame();
	ck_assert_ptr_nonnull(vsc_net_receive(&net, 0, true));
	wait_for_limit();
	ck_assert(limit(json_pack("{s:n}", "bandwidth")));
	for (int i = 0; i < 200; i++) {
		send_frame();
		ck_assert_ptr_nonnull(vsc_net_receive(&net, 0, true));
	}
}
END_TEST

static void pause_device(void *device)
{
	net.ops->quiesce(device);
}

static void resume_device(void *device)
{
	net.ops->unquiesce(device);
}

START_TEST(a_pause_does_not_wait_for_it)
{
	unsigned int before;

	start(false, SLOW);
	before = net.channels[0].completed;
	for (int i = 0; i < 3; i++)
		send_frame();
	wait_for_limit();
	vsc_net_call(&net, pause_device);
	vsc_net_call(&net, resume_device);
	vsc_net_wait_sent(&net, 0, before + 1);
	vsc_channel_close(&net.channels[0].channel);
	vsc_net_open(&net, 0);
	ck_assert(limit(json_pack("{s:i}", "bandwidth", 0)));
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
}
END_TEST

START_TEST(a_limit_that_can_be_met_lets_all_go)
{
	unsigned int before;

	start(false, 4000000);
	before = net.channels[0].completed;
	for (int i = 0; i < 150; i++)
		send_frame();
	vsc_net_wait_sent(&net, 0, before + 150);
}
END_TEST

START_TEST(what_cannot_be_a_limit_is_refused)
{
	start(false, 0);
	ck_assert(!limit(json_pack("{s:i}", "bandwidth", -1)));
	ck_assert(!limit(json_pack("{s:s}", "bandwidth", "fast")));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp_limits", &tests);

	tcase_add_checked_fixture(tests, NULL, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, what_is_sent_too_soon_waits_on_the_ring);
	tcase_add_test(tests, what_comes_too_soon_is_not_read);
	tcase_add_test(tests, a_pause_does_not_wait_for_it);
	tcase_add_test(tests, a_limit_that_can_be_met_lets_all_go);
	tcase_add_test(tests, what_cannot_be_a_limit_is_refused);
	return suite_run(suite);
}
