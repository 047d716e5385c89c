/* The network VSP as a guest sees it: versions, frames, filters, and what it can be asked. */
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "netvsp_rig.h"

START_TEST(every_version_works)
{
	static const uint32_t versions[] = {NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
					    NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_61};

	rig_start(json_pack("{s:b}", "echo", 1), 1, 0, 0);
	ck_assert_uint_ne(vsc_net_version(&net, 0x70000 + 1), 1);
	ck_assert_uint_ne(vsc_net_version(&net, 1), 1);
	vsc_net_initialize(&net, versions[_i], 1500);
	ck_assert_uint_eq(net.section_bytes, 2048);
	rig_set_filter(PROMISCUOUS);
	rig_make_plain(60, 1);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
	rig_expect_echo(60);
	ck_assert_uint_ne(vsc_net_version(&net, versions[_i]), 1);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(frames_of_every_size_and_way_come_through)
{
	static const struct vsc_net_send ways[] = {
		{0}, {.direct = true}, {.half_direct = true}, {.copies = 3}};
	unsigned int sent = 1;

	rig_start_echo(true);
	sent = net.channels[0].completed;
	for (unsigned int way = 0; way < ARRAY_LENGTH(ways); way++) {
		for (uint32_t bytes = 14; bytes <= 1514; bytes += 75) {
			rig_make_plain(bytes, bytes);
			ck_assert_int_eq(vsc_net_send(&net, 0, frame, bytes, &ways[way]), 0);
			for (unsigned int i = 0; i < MAX(ways[way].copies, 1u); i++)
				rig_expect_echo(bytes);
			vsc_net_wait_sent(&net, 0, ++sent);
		}
	}
	ck_assert_uint_eq(net.channels[0].refused, 0);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(large_frames_with_a_large_mtu)
{
	rig_start(json_pack("{s:b, s:i}", "echo", 1, "mtu", 9000), 1, NVSP_VERSION_61, 9000);
	ck_assert_uint_ge(net.section_bytes, 9014);
	rig_set_filter(PROMISCUOUS);
	for (uint32_t bytes = 60; bytes <= 9014; bytes += 1279) {
		struct vsc_net_send direct = {.direct = true};

		rig_make_plain(bytes, bytes);
		ck_assert_int_eq(vsc_net_send(&net, 0, frame, bytes, &direct), 0);
		rig_expect_echo(bytes);
	}
	vsc_net_stop(&net);
}
END_TEST

static void send_to(const uint8_t *address)
{
	memcpy(frame, address, 6);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, 60, NULL), 0);
	vsc_net_wait_sent(&net, 0, net.channels[0].completed + 1);
}

/* Which of five destinations come through; waits for those that should. */
static unsigned int passing(unsigned int expected)
{
	static const uint8_t to[5][6] = {{0x52, 0x54, 0, 0x12, 0x34, 0x56},
					 {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
					 {0x01, 0, 0x5e, 0, 0, 1},
					 {0x01, 0, 0x5e, 0, 0, 2},
					 {0x52, 0x54, 0, 0x12, 0x34, 0x57}};
	const struct vsc_net_frame *got;
	unsigned int mask = 0;

	rig_make_plain(60, 3);
	for (unsigned int i = 0; i < 5; i++)
		send_to(to[i]);
	/* An answer to what was asked after them does not overtake frames of an earlier batch. */
	rig_query_u32(OID_GEN_MEDIA_CONNECT_STATUS);
	while ((got = vsc_net_receive(&net, 0, (mask & expected) != expected)))
		for (unsigned int i = 0; i < 5; i++)
			if (memcmp(got->data, to[i], 6) == 0)
				mask |= 1u << i;
	return mask;
}

START_TEST(filters_by_destination)
{
	static const uint8_t list[6] = {0x01, 0, 0x5e, 0, 0, 2};
	static const uint32_t cases[][2] = {
		{0, 0},
		{NDIS_FILTER_DIRECTED, 0x1},
		{NDIS_FILTER_BROADCAST, 0x2},
		{NDIS_FILTER_DIRECTED | NDIS_FILTER_MULTICAST, 0x9},
		{NDIS_FILTER_ALL_MULTICAST, 0xc},
		{NDIS_FILTER_PROMISCUOUS, 0x1f},
	};

	rig_start_echo(true);
	ck_assert_uint_eq(vsc_net_set(&net, OID_802_3_MULTICAST_LIST, list, 6), 0);
	for (unsigned int i = 0; i < ARRAY_LENGTH(cases); i++) {
		rig_set_filter(cases[i][0]);
		ck_assert_uint_eq(passing(cases[i][1]), cases[i][1]);
	}
	ck_assert_uint_eq(vsc_net_set(&net, OID_802_3_MULTICAST_LIST, list, 5),
			  RNDIS_STATUS_INVALID_LENGTH);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(answers_what_linux_asks)
{
	static const uint32_t sizes[] = {NDIS_OFFLOAD_SIZE_1, NDIS_OFFLOAD_SIZE_2,
					 sizeof(struct ndis_offload)};
	struct ndis_rss_capabilities rss = {.header = {NDIS_TYPE_RSS_CAPABILITIES, 2, sizeof(rss)}};
	struct ndis_offload offload;
	uint8_t data[512];
	uint32_t bytes = sizeof(data);

	rig_start_echo(true);
	ck_assert_uint_eq(rig_query_u32(OID_GEN_MAXIMUM_FRAME_SIZE), 1500);
	ck_assert_uint_eq(rig_query_u32(OID_GEN_MEDIA_CONNECT_STATUS), 0);
	ck_assert_uint_eq(rig_query_u32(OID_GEN_LINK_SPEED), 100000000);
	ck_assert_uint_eq(vsc_net_query(&net, OID_802_3_PERMANENT_ADDRESS, NULL, 0, data, &bytes),
			  0);
	ck_assert_uint_eq(bytes, 6);
	ck_assert_mem_eq(data, rig_mac, 6);
	bytes = sizeof(data);
	ck_assert_uint_eq(vsc_net_query(&net, OID_GEN_FRIENDLY_NAME, NULL, 0, data, &bytes), 0);
	ck_assert_uint_eq(bytes, 30);
	ck_assert_mem_eq(data, "N\0e\0t\0", 6);
	for (unsigned int i = 0; i < 3; i++) {
		memset(data, 0, sizeof(data));
		bytes = sizeof(offload);
		ck_assert_uint_eq(vsc_net_query(&net, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, data,
						sizes[i], &offload, &bytes),
				  0);
		ck_assert_uint_eq(bytes, sizes[i]);
		ck_assert_uint_eq(offload.header.type, NDIS_TYPE_OFFLOAD);
		ck_assert_uint_eq(offload.header.revision, i + 1);
		ck_assert_uint_eq(offload.header.size, sizes[i]);
		ck_assert_uint_ge(offload.lso_v2.ip4_max_bytes, 32768);
	}
	ck_assert_uint_eq(offload.rsc_ip4 & offload.rsc_ip6, 1);
	bytes = sizeof(rss);
	ck_assert_uint_eq(vsc_net_query(&net, OID_GEN_RECEIVE_SCALE_CAPABILITIES, &rss, sizeof(rss),
					&rss, &bytes),
			  0);
	ck_assert_uint_eq(rss.receive_queues, VPS);
	ck_assert_uint_eq(rss.table_entries, 128);
	bytes = sizeof(data);
	ck_assert_uint_eq(vsc_net_query(&net, 0x12345678, NULL, 0, data, &bytes),
			  RNDIS_STATUS_NOT_SUPPORTED);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(every_object_of_the_list_is_there)
{
	uint8_t list[512], data[512];
	uint32_t bytes = sizeof(list);

	rig_start_echo(true);
	ck_assert_uint_eq(vsc_net_query(&net, OID_GEN_SUPPORTED_LIST, NULL, 0, list, &bytes), 0);
	ck_assert_uint_gt(bytes, 100);
	for (uint32_t i = 0; i < bytes; i += 4) {
		uint32_t size = sizeof(data);
		uint32_t query = vsc_net_query(&net, get_le32(list + i), NULL, 0, data, &size);
		uint32_t set = vsc_net_set(&net, get_le32(list + i), data, 0);

		ck_assert(query == 0 || set != RNDIS_STATUS_NOT_SUPPORTED);
	}
	vsc_net_stop(&net);
}
END_TEST

static void put_utf16(uint8_t *to, const char *text)
{
	for (; *text; text++, to += 2)
		put_le16(to, (uint8_t)*text);
}

START_TEST(takes_another_mac)
{
	static const char name[] = "NetworkAddress";
	uint8_t data[sizeof(struct rndis_config_parameter) + 28 + 24];
	const struct rndis_config_parameter parameter = {sizeof(parameter), 28, 2,
							 sizeof(parameter) + 28, 24};
	uint32_t bytes = sizeof(data);

	rig_start_echo(true);
	memcpy(data, &parameter, sizeof(parameter));
	put_utf16(data + sizeof(parameter), name);
	put_utf16(data + sizeof(parameter) + 28, "0200aBcDeF01");
	ck_assert_uint_eq(vsc_net_set(&net, OID_GEN_RNDIS_CONFIG_PARAMETER, data, sizeof(data)), 0);
	ck_assert_uint_eq(vsc_net_query(&net, OID_802_3_CURRENT_ADDRESS, NULL, 0, data, &bytes), 0);
	ck_assert_mem_eq(data, "\x02\x00\xab\xcd\xef\x01", 6);
	rig_set_filter(NDIS_FILTER_DIRECTED);
	ck_assert_uint_eq(passing(0), 0);
	vsc_net_stop(&net);
}
END_TEST

START_TEST(vlan_tags_travel_beside_the_frame)
{
	const struct vsc_net_send how = {.has_vlan = true, .vlan = 5 | 1 << 3 | 0x123 << 4};
	const struct vsc_net_frame *got;

	rig_start_echo(true);
	rig_make_plain(200, 9);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, 200, &how), 0);
	got = vsc_net_receive(&net, 0, true);
	ck_assert_uint_eq(got->bytes, 200);
	ck_assert(memcmp(got->data, frame, 200) == 0);
	ck_assert(got->has_vlan);
	ck_assert_uint_eq(got->vlan, how.vlan);
	vsc_net_stop(&net);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp", &tests);

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, every_version_works, 0, 6);
	tcase_add_test(tests, frames_of_every_size_and_way_come_through);
	tcase_add_test(tests, large_frames_with_a_large_mtu);
	tcase_add_test(tests, filters_by_destination);
	tcase_add_test(tests, answers_what_linux_asks);
	tcase_add_test(tests, every_object_of_the_list_is_there);
	tcase_add_test(tests, takes_another_mac);
	tcase_add_test(tests, vlan_tags_travel_beside_the_frame);
	return suite_run(suite);
}
