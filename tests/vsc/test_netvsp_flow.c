/* What a guest sends that it should not, and what it does not give back. */
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "netvsp_rig.h"

/* A guest that gives no section of a frame back still hears what it asks. */
START_TEST(frames_leave_room_for_answers)
{
	uint8_t data[64];
	uint32_t bytes = sizeof(data);

	rig_start(json_pack("{s:i}", "generate", 200), 1, NVSP_VERSION_61, 1500);
	rig_set_filter(NDIS_FILTER_BROADCAST);
	net.channels[0].hold = true;
	for (unsigned int i = 0; i < net.section_count - 4; i++)
		vsc_net_receive(&net, 0, true);
	for (unsigned int i = 0; i < 10; i++)
		ck_assert_uint_eq(
			vsc_net_query(&net, OID_GEN_MEDIA_CONNECT_STATUS, NULL, 0, data, &bytes),
			0);
	vsc_net_stop(&net);
}
END_TEST

/* A guest that gives no section back gets no more frames than there are sections; then all goes
 * on. */
START_TEST(sections_come_back_by_completions)
{
	unsigned int frames = 0;

	rig_start(json_pack("{s:i, s:i}", "generate", 200, "queues", 2), 2, NVSP_VERSION_61, 1500);
	rig_set_filter(NDIS_FILTER_BROADCAST);
	net.channels[0].hold = true;
	for (unsigned int round = 0; round < 3; round++) {
		/* The last section may serve an answer. */
		while (frames < (round + 1) * (net.section_count - 100)) {
			const struct vsc_net_frame *got = vsc_net_receive(&net, 0, true);

			ck_assert_uint_eq(got->bytes, 200);
			frames++;
		}
		ck_assert_uint_le(net.channels[0].held_count, net.section_count);
		vsc_net_release(&net, 0);
	}
	net.channels[0].hold = false;
	while (frames++ < 20000)
		vsc_net_receive(&net, 0, true);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(malformed_packets_are_refused)
{
	uint8_t *section;
	struct nvsp_message message = {.type = NVSP_RNDIS,
				       .rndis = {.section = 0, .section_bytes = 100}};
	static const uint32_t places[] = {0, 4, 8, 12, 28, 32};
	struct vsc_net_channel *primary = &net.channels[0];
	unsigned int sent;

	rig_start_echo(true);
	section = vsc_pointer(net.vsc, net.send_buffer, 6144);
	sent = primary->completed;
	for (unsigned int i = 0; i < ARRAY_LENGTH(places); i++) {
		memset(section, 0, 200);
		put_le32(section, RNDIS_PACKET);
		put_le32(section + 4, 100);
		put_le32(section + 8, 36);
		put_le32(section + 12, 56);
		put_le32(section + places[i], 0xfffffff0);
		vsc_channel_send(&primary->channel, primary->packet,
				 vsc_packet_inband(primary->packet, PACKET_DATA_INBAND, 1, true,
						   &message, sizeof(message)));
		vsc_net_wait_sent(&net, 0, ++sent);
		ck_assert_uint_eq(primary->status, NVSP_STATUS_INVALID_PACKET);
	}
	message.rndis.section = 1000;
	vsc_channel_send(&primary->channel, primary->packet,
			 vsc_packet_inband(primary->packet, PACKET_DATA_INBAND, 1, true, &message,
					   sizeof(message)));
	vsc_net_wait_sent(&net, 0, ++sent);
	ck_assert_uint_eq(primary->status, NVSP_STATUS_INVALID_PACKET);
	rig_make_plain(60, 1);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
	rig_expect_echo(60);
	vsc_net_stop(&net);
}
END_TEST

/* Completions of what never was sent, and of another channel's packets. */
START_TEST(false_completions_change_nothing)
{
	struct vsc_net_channel *primary = &net.channels[0];
	const uint32_t body[2] = {NVSP_RNDIS_COMPLETE, 1};
	uint8_t packet[64];

	rig_start_echo(true);
	for (uint64_t id = 0; id < 6000; id++) {
		uint32_t bytes =
			vsc_packet_inband(packet, PACKET_COMPLETION, id * (id < 3000 ? 1 : 0xfffff),
					  false, body, sizeof(body));

		while (vsc_channel_send(&primary->channel, packet, bytes) < 0)
			;
	}
	for (unsigned int i = 0; i < 5000; i++) {
		rig_make_plain(60, i);
		ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
		rig_expect_echo(60);
	}
	vsc_net_stop(&net);
}
END_TEST

START_TEST(closes_and_opens_again_under_load)
{
	rig_start(json_pack("{s:i, s:i}", "generate", 500, "queues", 2), 2, 0, 0);
	for (unsigned int round = 0; round < 5; round++) {
		vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
		rig_set_filter(NDIS_FILTER_BROADCAST);
		for (unsigned int i = 0; i < 500; i++)
			ck_assert_uint_eq(vsc_net_receive(&net, 0, true)->bytes, 500);
		vsc_gpadl_teardown(net.vsc, net.channels[0].channel.relid, net.receive_gpadl);
		vsc_gpadl_teardown(net.vsc, net.channels[0].channel.relid, net.send_gpadl);
		vsc_channel_close(&net.channels[0].channel);
		vsc_net_open(&net, 0);
	}
	vsc_net_stop(&net);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp_flow", &tests);

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, frames_leave_room_for_answers);
	tcase_add_test(tests, sections_come_back_by_completions);
	tcase_add_test(tests, malformed_packets_are_refused);
	tcase_add_test(tests, false_completions_change_nothing);
	tcase_add_test(tests, closes_and_opens_again_under_load);
	return suite_run(suite);
}
