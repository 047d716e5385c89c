/* A NIC that pauses, is saved and restored, goes, or loses its peer. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/wire.h"
#include "netvsp_rig.h"
#include "vsc_state.h"

static void quiesce(void *device)
{
	net.ops->quiesce(device);
}

static void unquiesce(void *device)
{
	net.ops->unquiesce(device);
}

START_TEST(pauses_and_goes_on)
{
	rig_start(json_pack("{s:i}", "generate", 500), 1, NVSP_VERSION_61, 1500);
	rig_set_filter(NDIS_FILTER_BROADCAST);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 100; i++)
			ck_assert_uint_eq(vsc_net_receive(&net, 0, true)->bytes, 500);
		vsc_net_call(&net, quiesce);
		while (vsc_net_receive(&net, 0, false))
			;
		usleep(1000);
		ck_assert_ptr_null(vsc_net_receive(&net, 0, false));
		vsc_net_call(&net, unquiesce);
	}
	vsc_net_stop(&net);
}
END_TEST

static struct vsc_state save(void)
{
	struct vsc_state saved = {.ops = net.ops, .device = net.device, .bus = vsc_vmbus(net.vsc)};

	vsc_main(net.vsc, vsc_state_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	return saved;
}

/* On the main loop, which must not tell the guest meanwhile that the NIC is gone. */
static void renew(void *context)
{
	vsc_net_destroy(context);
	vsc_renew_bus(net.vsc);
}

/* Into a new NIC on a new bus; what came of it. */
static int restore(struct vsc_state *saved, json_t *config)
{
	vsc_main(net.vsc, renew, &net);
	vsc_net_create(&net, config);
	saved->device = net.device;
	saved->bus = vsc_vmbus(net.vsc);
	vsc_main(net.vsc, vsc_state_restore, saved);
	return saved->result;
}

/* A saved tree restores into the same tree; traffic goes on with all of the settings. */
START_TEST(a_restored_nic_goes_on)
{
	json_t *config = json_pack("{s:s, s:s, s:b}", "mac", MAC, "backend", "null", "echo", 1);
	const struct vsc_net_send how = rig_large_send();
	const uint32_t table[] = {1, 2, 3, 1};
	static struct toeplitz toeplitz;
	struct vsc_state first, second;
	uint8_t key[40];

	rig_start_echo(true);
	rig_open_subchannels();
	rig_make_key(key);
	toeplitz_init(&toeplitz, key);
	ck_assert_uint_eq(vsc_net_rss(&net, key, table, 4, 0), 0);
	ck_assert_uint_eq(rig_set_rsc(NDIS_RSC_ENABLED), 0);
	/* Frames that the guest has not given back. */
	net.channels[0].hold = true;
	for (unsigned int i = 0; i < 10; i++) {
		rig_make_plain(60, i);
		ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
		rig_expect_echo(60);
	}
	first = save();
	ck_assert_int_eq(restore(&first, config), 0);
	second = save();
	ck_assert_uint_eq(first.size, second.size);
	ck_assert(memcmp(first.tree, second.tree, first.size) == 0);
	vsc_net_call(&net, unquiesce);
	vsc_net_release(&net, 0);
	net.channels[0].hold = false;
	rig_make_tcp(LSO_BYTES, 77, true);
	ck_assert_int_eq(vsc_net_send(&net, 2, frame, LSO_BYTES, &how), 0);
	ck_assert_uint_eq(
		vsc_net_receive(&net, table[rig_expected_hash(&toeplitz) % 4], true)->bytes,
		LSO_BYTES);
	/* All sections are there again. */
	for (unsigned int i = 0; i < 3 * net.section_count; i++) {
		rig_make_plain(60, i);
		ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
		rig_expect_echo(60);
	}
	free(first.tree);
	free(second.tree);
	vsc_net_stop(&net);
}
END_TEST

/* A guest that took its buffers back without a word to the NIC hears nothing more of it. */
START_TEST(restores_without_its_buffers)
{
	json_t *config = json_pack("{s:s, s:s, s:b}", "mac", MAC, "backend", "null", "echo", 1);
	uint32_t relid;
	struct vsc_state saved;

	rig_start_echo(true);
	relid = net.channels[0].channel.relid;
	vsc_gpadl_teardown(net.vsc, relid, net.receive_gpadl);
	vsc_gpadl_teardown(net.vsc, relid, net.send_gpadl);
	saved = save();
	ck_assert_int_eq(restore(&saved, config), 0);
	free(saved.tree);
	vsc_net_call(&net, unquiesce);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(refuses_what_does_not_fit)
{
	struct vsc_state saved;
	json_t *config = json_pack("{s:s, s:s, s:i}", "mac", MAC, "backend", "null", "channels", 1);

	rig_start_echo(true);
	rig_open_subchannels();
	saved = save();
	ck_assert_int_lt(restore(&saved, config), 0);
	free(saved.tree);
	vsc_net_call(&net, unquiesce);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(unplugged_under_load)
{
	uint32_t relid;

	rig_start(json_pack("{s:i, s:i}", "generate", 500, "queues", 2), 2, NVSP_VERSION_61, 1500);
	rig_set_filter(NDIS_FILTER_BROADCAST);
	for (unsigned int i = 0; i < 100; i++)
		vsc_net_receive(&net, 0, true);
	relid = net.channels[0].channel.relid;
	vsc_net_destroy(&net);
	vsc_wait_rescind(net.vsc, relid);
	vsc_release(net.vsc, relid);
	vsc_channel_forget(&net.channels[0].channel);
	vsc_net_create(&net,
		       json_pack("{s:s, s:s, s:b}", "mac", MAC, "backend", "null", "echo", 1));
	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(tells_of_a_lost_peer)
{
	const struct vsc_net_frame *got;
	uint8_t wire[64] = {0, 0, 0, 60};
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vsc_net_start(
		&net, VPS, 1,
		json_pack("{s:s, s:s, s:[i]}", "mac", MAC, "backend", "stream", "fds", pair[0]));
	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	rig_set_filter(PROMISCUOUS);
	rig_make_plain(60, 4);
	memcpy(wire + 4, frame, 60);
	ck_assert_int_eq(write(pair[1], wire, sizeof(wire)), sizeof(wire));
	got = vsc_net_receive(&net, 0, true);
	ck_assert_uint_eq(got->bytes, 60);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
	memset(wire, 0, sizeof(wire));
	ck_assert_int_eq(recv(pair[1], wire, sizeof(wire), MSG_WAITALL), sizeof(wire));
	ck_assert_mem_eq(wire + 4, frame, 60);
	net.control_bytes = 0;
	close(pair[1]);
	vsc_net_wait_control(&net);
	ck_assert_uint_eq(get_le32(net.control), RNDIS_INDICATE);
	ck_assert_uint_eq(get_le32(net.control + 8), RNDIS_STATUS_MEDIA_DISCONNECT);
	ck_assert_uint_eq(rig_query_u32(OID_GEN_MEDIA_CONNECT_STATUS), 1);
	vsc_net_stop(&net);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp_state", &tests);

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, pauses_and_goes_on);
	tcase_add_test(tests, a_restored_nic_goes_on);
	tcase_add_test(tests, restores_without_its_buffers);
	tcase_add_test(tests, refuses_what_does_not_fit);
	tcase_add_test(tests, unplugged_under_load);
	tcase_add_test(tests, tells_of_a_lost_peer);
	return suite_run(suite);
}
