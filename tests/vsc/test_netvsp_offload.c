/* What a guest leaves to its NIC: checksums, large sends, coalescing, and spreading by hash. */
#include <string.h>

#include "base/wire.h"
#include "netvsp_rig.h"

static void expect_silence(void)
{
	/* A query's answer comes after what was received before it. */
	rig_set_filter(PROMISCUOUS);
	ck_assert_ptr_null(vsc_net_receive(&net, 0, false));
}

START_TEST(checksums_are_made_in_software)
{
	const struct vsc_net_send how = {.direct = _i,
					 .has_vlan = _i,
					 .vlan = 7 << 4,
					 .checksum = NDIS_CHECKSUM_SEND_IPV4 |
						     NDIS_CHECKSUM_SEND_TCP |
						     NDIS_CHECKSUM_SEND_HEADER | 34u << 16};

	rig_start_echo(false);
	for (uint32_t bytes = HEADERS; bytes < 1514; bytes += 101) {
		rig_make_tcp(bytes, 1000, false);
		ck_assert_int_eq(vsc_net_send(&net, 0, frame, bytes, &how), 0);
		rig_expect_good_tcp(vsc_net_receive(&net, 0, true));
	}
	vsc_net_stop(&net);
}
END_TEST

START_TEST(large_sends_are_cut_in_software)
{
	const struct vsc_net_send how = rig_large_send();
	uint32_t done = 0;

	rig_start_echo(false);
	rig_make_tcp(LSO_BYTES, 2000, true);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, LSO_BYTES, &how), 0);
	while (done < LSO_BYTES - HEADERS) {
		const struct vsc_net_frame *got = vsc_net_receive(&net, 0, true);

		rig_expect_good_tcp(got);
		ck_assert_uint_eq(get_be32(got->data + 38), done);
		ck_assert(memcmp(got->data + HEADERS, frame + HEADERS + done,
				 got->bytes - HEADERS) == 0);
		done += got->bytes - HEADERS;
	}
	ck_assert_uint_eq(done, LSO_BYTES - HEADERS);
	vsc_net_stop(&net);
}
END_TEST

/* Until RSC is agreed on, the backend is told that large frames are not wanted. */
START_TEST(coalesced_frames_come_in_fragments)
{
	const struct vsc_net_send how = rig_large_send();
	const struct vsc_net_frame *got;

	rig_start_echo(true);
	rig_make_tcp(LSO_BYTES, 2000, true);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, LSO_BYTES, &how), 0);
	expect_silence();
	ck_assert_uint_eq(rig_set_rsc(NDIS_RSC_ENABLED), 0);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, LSO_BYTES, &how), 0);
	got = vsc_net_receive(&net, 0, true);
	ck_assert_uint_eq(got->bytes, LSO_BYTES);
	ck_assert_uint_eq(got->parts, (LSO_BYTES + 1919) / 1920);
	ck_assert(got->has_checksum);
	ck_assert_uint_eq(got->checksum, NDIS_CHECKSUM_TCP_GOOD);
	/* What the guest need not look at is right all the same. */
	rig_expect_good_tcp(got);
	ck_assert(memcmp(got->data + HEADERS, frame + HEADERS, LSO_BYTES - HEADERS) == 0);
	ck_assert_uint_eq(rig_set_rsc(NDIS_RSC_DISABLED), 0);
	rig_make_tcp(LSO_BYTES, 2000, true);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, LSO_BYTES, &how), 0);
	expect_silence();
	vsc_net_stop(&net);
}
END_TEST

/* Frames are sent on any channel, and come back where the table says. */
START_TEST(frames_are_spread_by_the_guests_hash)
{
	static struct toeplitz toeplitz;
	uint32_t table[128];
	uint8_t key[40];

	rig_start(json_pack("{s:b, s:i}", "echo", 1, "queues", _i), (unsigned int)_i,
		  NVSP_VERSION_61, 1500);
	rig_set_filter(PROMISCUOUS);
	rig_open_subchannels();
	rig_make_key(key);
	toeplitz_init(&toeplitz, key);
	for (unsigned int i = 0; i < 128; i++)
		table[i] = i * 7 % VPS;
	ck_assert_uint_eq(vsc_net_rss(&net, key, table, 128, NDIS_RSS_DISABLE), 0);
	ck_assert_uint_eq(vsc_net_rss(&net, key, table, 128, 0), 0);
	for (uint16_t port = 1; port < 400; port++) {
		const struct vsc_net_frame *got;
		uint32_t hash;

		rig_make_tcp(100, port, false);
		hash = rig_expected_hash(&toeplitz);
		ck_assert_int_eq(vsc_net_send(&net, port % VPS, frame, 100, NULL), 0);
		got = vsc_net_receive(&net, table[hash % 128], true);
		ck_assert_uint_eq(got->bytes, 100);
		ck_assert(got->has_hash);
		ck_assert_uint_eq(got->hash, hash);
	}
	rig_make_plain(60, 1);
	ck_assert_int_eq(vsc_net_send(&net, 3, frame, 60, NULL), 0);
	rig_expect_echo(60);
	table[5] = VPS;
	ck_assert_uint_eq(vsc_net_rss(&net, key, table, 128, 0), RNDIS_STATUS_INVALID_DATA);
	ck_assert_uint_eq(vsc_net_rss(&net, key, table, 0, 0), RNDIS_STATUS_INVALID_DATA);
	vsc_net_stop(&net);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp_offload", &tests);

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, checksums_are_made_in_software, 0, 2);
	tcase_add_test(tests, large_sends_are_cut_in_software);
	tcase_add_test(tests, coalesced_frames_come_in_fragments);
	tcase_add_loop_test(tests, frames_are_spread_by_the_guests_hash, 1, 4);
	return suite_run(suite);
}
