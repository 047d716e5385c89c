#include "netvsp_rig.h"

#include <string.h>

#include "base/wire.h"

const uint8_t rig_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
struct vsc_net net;
uint8_t frame[VSC_NET_FRAME_MAX];

void rig_start(json_t *more, unsigned int io_threads, uint32_t version, uint32_t mtu)
{
	json_t *config = json_pack("{s:s, s:s}", "mac", MAC, "backend", "null");

	json_object_update_missing(config, more);
	json_decref(more);
	vsc_net_start(&net, VPS, io_threads, config);
	vsc_net_open(&net, 0);
	if (version)
		vsc_net_initialize(&net, version, mtu);
}

void rig_set_filter(uint32_t filter)
{
	uint8_t data[4];

	put_le32(data, filter);
	ck_assert_uint_eq(vsc_net_set(&net, OID_GEN_CURRENT_PACKET_FILTER, data, 4), 0);
}

void rig_start_echo(bool offloads)
{
	rig_start(json_pack("{s:b, s:b}", "echo", 1, "offloads", offloads), 1, NVSP_VERSION_61,
		  1500);
	rig_set_filter(PROMISCUOUS);
}

static void fill(uint8_t *data, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

void rig_make_plain(uint32_t bytes, unsigned int seed)
{
	fill(frame, bytes, seed);
	memcpy(frame, rig_mac, 6);
	put_be16(frame + 12, 0x88b5);
}

void rig_make_tcp(uint32_t bytes, uint16_t port, bool lso)
{
	uint8_t *ip = frame + 14, *tcp = ip + 20;
	uint32_t sum = 6 + (lso ? 0 : bytes - 34);

	fill(frame, bytes, port);
	memset(frame, 0, HEADERS);
	memcpy(frame, rig_mac, 6);
	put_be16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put_be16(ip + 2, lso ? 0 : (uint16_t)(bytes - 14));
	ip[8] = 64;
	ip[9] = 6;
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a000002);
	put_be16(tcp, port);
	put_be16(tcp + 2, 80);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	sum += 0x0a00 + 1 + 0x0a00 + 2;
	put_be16(tcp + 16, (uint16_t)((sum & 0xffff) + (sum >> 16)));
}

static uint16_t plain_sum(const uint8_t *data, size_t bytes, uint32_t sum)
{
	for (size_t i = 0; i < bytes; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void rig_expect_good_tcp(const struct vsc_net_frame *got)
{
	const uint8_t *ip = got->data + 14;

	ck_assert_uint_eq(get_be16(ip + 2), got->bytes - 14);
	ck_assert_uint_eq(plain_sum(ip, 20, 0), 0xffff);
	ck_assert_uint_eq(
		plain_sum(ip + 20, got->bytes - 34, plain_sum(ip + 12, 8, 6 + got->bytes - 34)),
		0xffff);
}

void rig_expect_echo(uint32_t bytes)
{
	const struct vsc_net_frame *got = vsc_net_receive(&net, 0, true);

	ck_assert_uint_eq(got->bytes, bytes);
	ck_assert(memcmp(got->data, frame, bytes) == 0);
}

uint32_t rig_query_u32(uint32_t oid)
{
	uint8_t data[256];
	uint32_t bytes = sizeof(data);

	ck_assert_uint_eq(vsc_net_query(&net, oid, NULL, 0, data, &bytes), 0);
	ck_assert_uint_eq(bytes, 4);
	return get_le32(data);
}

struct vsc_net_send rig_large_send(void)
{
	return (struct vsc_net_send){.direct = true,
				     .large_send = NDIS_LARGE_SEND_V2 | 34u << 20 | LSO_MSS};
}

uint32_t rig_set_rsc(uint8_t value)
{
	const struct ndis_offload_parameters parameters = {
		.header = {NDIS_TYPE_DEFAULT, 3, sizeof(parameters)},
		.rsc_ip4 = value,
		.rsc_ip6 = value,
	};

	return vsc_net_set(&net, OID_TCP_OFFLOAD_PARAMETERS, &parameters, sizeof(parameters));
}

void rig_open_subchannels(void)
{
	struct nvsp_message message = {.type = NVSP_SUBCHANNEL,
				       .subchannel = {NVSP_SUBCHANNEL_ALLOCATE, VPS + 5}};

	message = vsc_net_nvsp(&net, &message, sizeof(message));
	ck_assert_uint_eq(message.type, NVSP_SUBCHANNEL);
	ck_assert_uint_eq(message.subchannel.operation, NVSP_STATUS_SUCCESS);
	ck_assert_uint_eq(message.subchannel.count, VPS - 1);
	for (unsigned int i = 1; i < VPS; i++)
		vsc_net_open(&net, i);
	while (net.tables == 0)
		vsc_net_poll(&net, 0, true);
	for (unsigned int i = 0; i < NVSP_TABLE_ENTRIES; i++)
		ck_assert_uint_eq(net.table[i], i % VPS);
}

void rig_make_key(uint8_t *key)
{
	for (unsigned int i = 0; i < 40; i++)
		key[i] = (uint8_t)(i * 37 + 11);
}

uint32_t rig_expected_hash(const struct toeplitz *toeplitz)
{
	return toeplitz_hash(toeplitz, frame + 26, 12);
}
