#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/netvsp_internal.h"

/* The objects that a guest asks for and sets. */

#define VENDOR_ID	 0x00ffffffu /* none of IEEE's */
#define LINK_SPEED_UNIT	 100u	     /* bits a second */
#define MAC_OPTIONS	 0x1au	     /* receive serialized, no loopback, full duplex */
#define LSO_MIN_SEGMENTS 2u
#define LSO_MAX_BYTES	 (64000u)
/* Where we cut frames ourselves, each segment takes a place of its own. */
#define LSO_MAX_SOFTWARE 32768u

#define TX_CHECKSUM                                                                                \
	(NDIS_CHECKSUM_IP4_OPTIONS | NDIS_CHECKSUM_TCP_OPTIONS | NDIS_CHECKSUM_TCP |               \
	 NDIS_CHECKSUM_UDP)
#define RX_CHECKSUM (NDIS_CHECKSUM_TCP_OPTIONS | NDIS_CHECKSUM_TCP | NDIS_CHECKSUM_UDP)

static void put_u32(struct netvsp_query *query, uint32_t value)
{
	put_le32(query->data, value);
	query->bytes = sizeof(value);
}

static void put_bytes(struct netvsp_query *query, const void *data, size_t bytes)
{
	query->bytes = (uint32_t)MIN(bytes, sizeof(query->data));
	memcpy(query->data, data, query->bytes);
}

/* Names are ASCII, UTF-16 on the wire. */
static void query_name(struct netvsp *netvsp, struct netvsp_query *query)
{
	for (const char *c = netvsp->name; *c; c++, query->bytes += 2)
		put_le16(query->data + query->bytes, (uint8_t)*c);
}

static void query_description(struct netvsp *netvsp, struct netvsp_query *query)
{
	static const char description[] = "Bulkhead network adapter";

	put_bytes(query, description, sizeof(description));
}

static void query_multicast(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_bytes(query, netvsp->settings.multicast,
		  (size_t)netvsp->settings.multicast_count * NET_MAC_BYTES);
}

static void query_permanent_mac(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_bytes(query, netvsp->permanent_mac, NET_MAC_BYTES);
}

static void query_current_mac(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_bytes(query, netvsp->settings.mac, NET_MAC_BYTES);
}

static uint64_t total(const struct netvsp *netvsp, size_t counter)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < netvsp->channel_count; i++)
		sum += __atomic_load_n(
			(const uint64_t *)((const uint8_t *)&netvsp->channels[i] + counter),
			__ATOMIC_RELAXED);
	return sum;
}

/* 64 bits, or 32 for who has no room for more. */
static void put_counter(struct netvsp_query *query, uint64_t value)
{
	put_le64(query->data, value);
	query->bytes = query->info_bytes == 4 ? 4 : 8;
}

static void query_sent(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_counter(query, total(netvsp, offsetof(struct netvsp_channel, sent.frames)));
}

static void query_received(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_counter(query, total(netvsp, offsetof(struct netvsp_channel, received.frames)));
}

static void query_send_errors(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_counter(query, total(netvsp, offsetof(struct netvsp_channel, sent.dropped)) +
				   total(netvsp, offsetof(struct netvsp_channel, sent.invalid)));
}

static void query_sent_bytes(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_counter(query, total(netvsp, offsetof(struct netvsp_channel, sent.bytes)));
}

static void query_received_bytes(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_counter(query, total(netvsp, offsetof(struct netvsp_channel, received.bytes)));
}

static void query_receive_errors(struct netvsp *netvsp, struct netvsp_query *query)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		sum += __atomic_load_n(&netvsp->lanes[i].malformed, __ATOMIC_RELAXED);
	put_counter(query, sum);
}

static void query_no_buffer(struct netvsp *netvsp, struct netvsp_query *query)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		sum += __atomic_load_n(&netvsp->lanes[i].no_buffer, __ATOMIC_RELAXED);
	put_counter(query, sum);
}

static void query_zero(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, 0);
}

static void query_frame_size(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, netvsp->port->mtu);
}

static void query_total_size(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, netvsp->port->mtu + FRAME_ETHERNET_BYTES);
}

static void query_speed(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, (uint32_t)MIN(netvsp->link_speed / LINK_SPEED_UNIT, (uint64_t)UINT32_MAX));
}

static void query_vendor(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, VENDOR_ID);
}

static void query_filter(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, netvsp->settings.filter);
}

static void query_mac_options(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, MAC_OPTIONS);
}

/* 0: connected. */
static void query_link(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, !netvsp->link_up);
	netvsp->link_told = netvsp->link_up;
}

static void query_one(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, 1);
}

static void query_multicast_max(struct netvsp *netvsp, struct netvsp_query *query)
{
	put_u32(query, NETVSP_MULTICAST_MAX);
}

static bool can_rsc(const struct netvsp *netvsp)
{
	const unsigned int needed = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;

	return netvsp->version >= NVSP_VERSION_61 && netvsp->capabilities & NVSP_CAPABILITY_RSC &&
	       (netvsp->port->receive_offloads & needed) == needed;
}

static void fill_offload(const struct netvsp *netvsp, struct ndis_offload *offload)
{
	const unsigned int tso = NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;
	uint32_t lso_max =
		(netvsp->port->transmit_offloads & tso) == tso ? LSO_MAX_BYTES : LSO_MAX_SOFTWARE;

	offload->checksum.ip4_send_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->checksum.ip4_send = TX_CHECKSUM | NDIS_CHECKSUM_IP4_HEADER;
	offload->checksum.ip4_receive_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->checksum.ip4_receive = RX_CHECKSUM;
	offload->checksum.ip6_send_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->checksum.ip6_send = TX_CHECKSUM;
	offload->checksum.ip6_receive_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->checksum.ip6_receive = RX_CHECKSUM;
	offload->lso_v1.encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->lso_v1.max_bytes = lso_max;
	offload->lso_v1.min_segments = LSO_MIN_SEGMENTS;
	offload->lso_v2.ip4_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->lso_v2.ip4_max_bytes = lso_max;
	offload->lso_v2.ip4_min_segments = LSO_MIN_SEGMENTS;
	offload->lso_v2.ip6_encapsulation = NDIS_ENCAPSULATION_802_3;
	offload->lso_v2.ip6_max_bytes = lso_max;
	offload->lso_v2.ip6_min_segments = LSO_MIN_SEGMENTS;
	offload->lso_v2.ip6_options = NDIS_LSO_IP6_EXTENSIONS | NDIS_LSO_TCP_OPTIONS;
	offload->rsc_ip4 = offload->rsc_ip6 = can_rsc(netvsp);
}

/* As much of it as the asker's revision has, or all for who does not say. */
static void query_offload(struct netvsp *netvsp, struct netvsp_query *query)
{
	static const uint32_t sizes[] = {NDIS_OFFLOAD_SIZE_1, NDIS_OFFLOAD_SIZE_2,
					 sizeof(struct ndis_offload)};
	struct ndis_offload offload = {.header = {.type = NDIS_TYPE_OFFLOAD}};
	uint8_t revision = ARRAY_LENGTH(sizes);

	while (revision > 1 && query->info_bytes > 0 && query->info_bytes < sizes[revision - 1])
		revision--;
	offload.header.revision = revision;
	offload.header.size = (uint16_t)sizes[revision - 1];
	fill_offload(netvsp, &offload);
	put_bytes(query, &offload, sizes[revision - 1]);
}

static void query_rss(struct netvsp *netvsp, struct netvsp_query *query)
{
	const struct ndis_rss_capabilities capabilities = {
		.header = {NDIS_TYPE_RSS_CAPABILITIES, 2, sizeof(capabilities)},
		.flags = NDIS_RSS_CAPABILITY_AT_ISR | NDIS_RSS_CAPABILITY_AT_DPC |
			 NDIS_RSS_CAPABILITY_TCP_IPV4 | NDIS_RSS_CAPABILITY_TCP_IPV6 |
			 NDIS_HASH_TOEPLITZ,
		.interrupt_messages = netvsp->channel_count,
		.receive_queues = netvsp->channel_count,
		.table_entries = NETVSP_TABLE_ENTRIES,
	};

	put_bytes(query, &capabilities, sizeof(capabilities));
}

static uint32_t set_filter(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	netvsp->settings.filter = get_le32(data);
	netvsp_settings_changed(netvsp);
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_multicast(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	if (bytes % NET_MAC_BYTES != 0)
		return RNDIS_STATUS_INVALID_LENGTH;
	if (bytes / NET_MAC_BYTES > NETVSP_MULTICAST_MAX)
		return RNDIS_STATUS_MULTICAST_FULL;
	memcpy(netvsp->settings.multicast, data, bytes);
	netvsp->settings.multicast_count = bytes / NET_MAC_BYTES;
	netvsp_settings_changed(netvsp);
	return RNDIS_STATUS_SUCCESS;
}

/* A number that is taken and means nothing here. */
static uint32_t set_ignored(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	return RNDIS_STATUS_SUCCESS;
}

static unsigned int wanted_offloads(const struct netvsp_settings *settings)
{
	if (!settings->rsc)
		return 0;
	return NET_OFFLOAD_CSUM | (settings->rsc_ip4 ? NET_OFFLOAD_TSO4 : 0) |
	       (settings->rsc_ip6 ? NET_OFFLOAD_TSO6 : 0);
}

/* Large frames need large buffers first, and no large frames come before large buffers go; the
 * few that come in between are dropped. */
void netvsp_offloads_changed(struct netvsp *netvsp)
{
	netvsp_settings_changed(netvsp);
	netvsp->port->backend->set_offloads(netvsp->port, wanted_offloads(&netvsp->settings) &
								  netvsp->port->receive_offloads);
}

static bool switched(uint8_t value, bool now)
{
	return value == 0 ? now : value == NDIS_RSC_ENABLED;
}

/* What we can, we do whenever a packet asks for it; only RSC changes what the guest gets. */
static uint32_t set_offload(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	struct ndis_offload_parameters parameters = {0};
	struct netvsp_settings *settings = &netvsp->settings;

	memcpy(&parameters, data, MIN(bytes, (uint32_t)sizeof(parameters)));
	if (parameters.header.type != NDIS_TYPE_DEFAULT)
		return RNDIS_STATUS_INVALID_DATA;
	if (!can_rsc(netvsp))
		return RNDIS_STATUS_SUCCESS;
	settings->rsc_ip4 = switched(parameters.rsc_ip4, settings->rsc_ip4);
	settings->rsc_ip6 = switched(parameters.rsc_ip6, settings->rsc_ip6);
	settings->rsc = settings->rsc_ip4 || settings->rsc_ip6;
	netvsp_offloads_changed(netvsp);
	return RNDIS_STATUS_SUCCESS;
}

static bool take_table(struct netvsp *netvsp, const struct ndis_rss_parameters *rss,
		       const uint8_t *data, uint32_t bytes, struct netvsp_settings *settings)
{
	uint32_t count = rss->table_bytes / 4u;

	if (!range_within(rss->table_offset, rss->table_bytes, bytes) || count == 0 ||
	    count > NETVSP_TABLE_ENTRIES)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t channel = get_le32(data + rss->table_offset + 4 * i);

		if (channel >= netvsp->channel_count)
			return false;
		settings->table[i] = (uint8_t)channel;
	}
	settings->table_entries = count;
	return true;
}

static bool take_key(const struct ndis_rss_parameters *rss, const uint8_t *data, uint32_t bytes,
		     struct netvsp_settings *settings)
{
	if (!range_within(rss->key_offset, rss->key_bytes, bytes) ||
	    rss->key_bytes > sizeof(settings->key))
		return false;
	memset(settings->key, 0, sizeof(settings->key));
	memcpy(settings->key, data + rss->key_offset, rss->key_bytes);
	return true;
}

static uint32_t set_rss(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	struct netvsp_settings new = netvsp->settings;
	struct ndis_rss_parameters rss = {0};

	memcpy(&rss, data, MIN(bytes, (uint32_t)sizeof(rss)));
	if (rss.header.type != NDIS_TYPE_RSS_PARAMETERS)
		return RNDIS_STATUS_INVALID_DATA;
	if (rss.flags & NDIS_RSS_DISABLE) {
		new.hash_types = 0;
	} else {
		if (!(rss.flags & NDIS_RSS_HASH_UNCHANGED))
			new.hash_types = rss.hash &NDIS_HASH_TOEPLITZ ? rss.hash : 0;
		if (!(rss.flags & NDIS_RSS_TABLE_UNCHANGED) &&
		    !take_table(netvsp, &rss, data, bytes, &new))
			return RNDIS_STATUS_INVALID_DATA;
		if (!(rss.flags & NDIS_RSS_KEY_UNCHANGED) && !take_key(&rss, data, bytes, &new))
			return RNDIS_STATUS_INVALID_DATA;
	}
	netvsp->settings = new;
	netvsp_settings_changed(netvsp);
	return RNDIS_STATUS_SUCCESS;
}

static int hex_digit(uint16_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 12 digits in UTF-16. */
static bool parse_mac(const uint8_t *text, uint32_t bytes, uint8_t *mac)
{
	uint8_t new[NET_MAC_BYTES] = {0};

	if (bytes != 4 * NET_MAC_BYTES)
		return false;
	for (unsigned int i = 0; i < 2 * NET_MAC_BYTES; i++) {
		int digit = hex_digit(get_le16(text + 2 * i));

		if (digit < 0)
			return false;
		new[i / 2] = (uint8_t)(new[i / 2] << 4 | digit);
	}
	if (new[0] & 1)
		return false;
	memcpy(mac, new, sizeof(new));
	return true;
}

/* NetworkAddress is the one parameter that there is. */
static uint32_t set_parameter(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	static const char name[] = "NetworkAddress";
	struct rndis_config_parameter parameter;

	memcpy(&parameter, data, sizeof(parameter));
	if (!range_within(parameter.name_offset, parameter.name_length, bytes) ||
	    !range_within(parameter.value_offset, parameter.value_length, bytes))
		return RNDIS_STATUS_INVALID_DATA;
	if (parameter.name_length != 2 * (sizeof(name) - 1))
		return RNDIS_STATUS_NOT_SUPPORTED;
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if (get_le16(data + parameter.name_offset + 2 * i) != name[i])
			return RNDIS_STATUS_NOT_SUPPORTED;
	if (!parse_mac(data + parameter.value_offset, parameter.value_length, netvsp->settings.mac))
		return RNDIS_STATUS_INVALID_DATA;
	netvsp_settings_changed(netvsp);
	return RNDIS_STATUS_SUCCESS;
}

struct object {
	uint32_t oid;
	void (*query)(struct netvsp *netvsp, struct netvsp_query *query);
	uint32_t (*set)(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes);
	uint32_t set_min; /* bytes */
};

static void query_list(struct netvsp *netvsp, struct netvsp_query *query);

static const struct object objects[] = {
	{OID_GEN_SUPPORTED_LIST, query_list},
	{OID_GEN_HARDWARE_STATUS, query_zero},
	{OID_GEN_MEDIA_SUPPORTED, query_zero},
	{OID_GEN_MEDIA_IN_USE, query_zero},
	{OID_GEN_MAXIMUM_LOOKAHEAD, query_frame_size},
	{OID_GEN_MAXIMUM_FRAME_SIZE, query_frame_size},
	{OID_GEN_LINK_SPEED, query_speed},
	{OID_GEN_TRANSMIT_BLOCK_SIZE, query_total_size},
	{OID_GEN_RECEIVE_BLOCK_SIZE, query_total_size},
	{OID_GEN_VENDOR_ID, query_vendor},
	{OID_GEN_VENDOR_DESCRIPTION, query_description},
	{OID_GEN_CURRENT_PACKET_FILTER, query_filter, set_filter, 4},
	{OID_GEN_CURRENT_LOOKAHEAD, query_frame_size, set_ignored, 4},
	{OID_GEN_MAXIMUM_TOTAL_SIZE, query_total_size},
	{OID_GEN_MAC_OPTIONS, query_mac_options},
	{OID_GEN_MEDIA_CONNECT_STATUS, query_link},
	{OID_GEN_MAXIMUM_SEND_PACKETS, query_one},
	{OID_GEN_NETWORK_LAYER_ADDRESSES, NULL, set_ignored, 0},
	{OID_GEN_RECEIVE_SCALE_CAPABILITIES, query_rss},
	{OID_GEN_RECEIVE_SCALE_PARAMETERS, NULL, set_rss, NDIS_RSS_PARAMETERS_MIN},
	{OID_GEN_RNDIS_CONFIG_PARAMETER, NULL, set_parameter,
	 sizeof(struct rndis_config_parameter)},
	{OID_GEN_FRIENDLY_NAME, query_name},
	{OID_GEN_XMIT_OK, query_sent},
	{OID_GEN_RCV_OK, query_received},
	{OID_GEN_XMIT_ERROR, query_send_errors},
	{OID_GEN_RCV_ERROR, query_receive_errors},
	{OID_GEN_RCV_NO_BUFFER, query_no_buffer},
	{OID_GEN_BYTES_RCV, query_received_bytes},
	{OID_GEN_BYTES_XMIT, query_sent_bytes},
	{OID_802_3_PERMANENT_ADDRESS, query_permanent_mac},
	{OID_802_3_CURRENT_ADDRESS, query_current_mac},
	{OID_802_3_MULTICAST_LIST, query_multicast, set_multicast, 0},
	{OID_802_3_MAXIMUM_LIST_SIZE, query_multicast_max},
	{OID_802_3_RCV_ERROR_ALIGNMENT, query_zero},
	{OID_802_3_XMIT_ONE_COLLISION, query_zero},
	{OID_802_3_XMIT_MORE_COLLISIONS, query_zero},
	{OID_OFFLOAD_ENCAPSULATION, NULL, set_ignored, 4},
	{OID_TCP_OFFLOAD_CURRENT_CONFIG, query_offload},
	{OID_TCP_OFFLOAD_PARAMETERS, NULL, set_offload, NDIS_OFFLOAD_PARAMETERS_MIN},
	{OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, query_offload},
};

static void query_list(struct netvsp *netvsp, struct netvsp_query *query)
{
	for (size_t i = 0; i < ARRAY_LENGTH(objects); i++, query->bytes += 4)
		put_le32(query->data + query->bytes, objects[i].oid);
}

static const struct object *find_object(uint32_t oid)
{
	for (size_t i = 0; i < ARRAY_LENGTH(objects); i++)
		if (objects[i].oid == oid)
			return &objects[i];
	return NULL;
}

void netvsp_answer_query(struct netvsp *netvsp, struct netvsp_query *query)
{
	const struct object *object = find_object(query->oid);

	query->status = RNDIS_STATUS_NOT_SUPPORTED;
	query->bytes = 0;
	if (!object || !object->query)
		return;
	object->query(netvsp, query);
	query->status = RNDIS_STATUS_SUCCESS;
}

uint32_t netvsp_set(struct netvsp *netvsp, uint32_t oid, const uint8_t *data, uint32_t bytes)
{
	const struct object *object = find_object(oid);

	if (!object || !object->set)
		return RNDIS_STATUS_NOT_SUPPORTED;
	if (bytes < object->set_min)
		return RNDIS_STATUS_INVALID_LENGTH;
	return object->set(netvsp, data, bytes);
}
