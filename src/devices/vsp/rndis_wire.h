#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * RNDIS and the NDIS structures it carries, as the network VSP speaks them (Linux
 * include/linux/rndis.h and drivers/net/hyperv/hyperv_net.h; [MS-RNDIS]).  All numbers are
 * little-endian.
 */

#define RNDIS_COMPLETION 0x80000000u

enum rndis_type {
	RNDIS_PACKET = 1,
	RNDIS_INITIALIZE = 2,
	RNDIS_HALT = 3,
	RNDIS_QUERY = 4,
	RNDIS_SET = 5,
	RNDIS_RESET = 6,
	RNDIS_INDICATE = 7,
	RNDIS_KEEPALIVE = 8,
};

#define RNDIS_STATUS_SUCCESS	       0x00000000u
#define RNDIS_STATUS_MEDIA_CONNECT     0x4001000bu
#define RNDIS_STATUS_MEDIA_DISCONNECT  0x4001000cu
#define RNDIS_STATUS_LINK_SPEED_CHANGE 0x40010013u
#define RNDIS_STATUS_FAILURE	       0xc0000001u
#define RNDIS_STATUS_RESOURCES	       0xc000009au
#define RNDIS_STATUS_NOT_SUPPORTED     0xc00000bbu
#define RNDIS_STATUS_MULTICAST_FULL    0xc0010009u
#define RNDIS_STATUS_ADAPTER_NOT_READY 0xc0010011u
#define RNDIS_STATUS_INVALID_LENGTH    0xc0010014u
#define RNDIS_STATUS_INVALID_DATA      0xc0010015u

#define RNDIS_DEVICE_CONNECTIONLESS 1u
#define RNDIS_MEDIUM_802_3	    0u

/* Every message starts with this; offsets in messages count from behind it. */
struct rndis_header {
	uint32_t type;
	uint32_t length; /* of the whole message */
} __attribute__((packed));
static_assert(sizeof(struct rndis_header) == 8, "wire layout");

struct rndis_packet {
	uint32_t data_offset;
	uint32_t data_length;
	uint32_t oob_offset;
	uint32_t oob_length;
	uint32_t oob_count;
	uint32_t info_offset; /* struct rndis_info follow one another there */
	uint32_t info_length;
	uint32_t vc_handle;
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct rndis_packet) == 36, "wire layout");

/* Per-packet information: its kind of data lies at offset in it. */
struct rndis_info {
	uint32_t size;
	uint32_t type; /* RNDIS_INFO_INTERNAL or not */
	uint32_t offset;
} __attribute__((packed));
static_assert(sizeof(struct rndis_info) == 12, "wire layout");

#define RNDIS_INFO_CHECKSUM   0u
#define RNDIS_INFO_LARGE_SEND 2u
#define RNDIS_INFO_VLAN	      6u
#define RNDIS_INFO_HASH	      8u
#define RNDIS_INFO_INTERNAL   0x80000000u
#define RNDIS_INFO_FRAGMENT   (RNDIS_INFO_INTERNAL | 1u)

/* RNDIS_INFO_CHECKSUM of a packet to be sent; bits 16-25: offset of the TCP or UDP header. */
#define NDIS_CHECKSUM_SEND_IPV4	  0x01u
#define NDIS_CHECKSUM_SEND_IPV6	  0x02u
#define NDIS_CHECKSUM_SEND_TCP	  0x04u
#define NDIS_CHECKSUM_SEND_UDP	  0x08u
#define NDIS_CHECKSUM_SEND_HEADER 0x10u /* that of IPv4 */
/* Of a received one. */
#define NDIS_CHECKSUM_TCP_GOOD	  0x08u
#define NDIS_CHECKSUM_UDP_GOOD	  0x10u
#define NDIS_CHECKSUM_HEADER_GOOD 0x20u

/* RNDIS_INFO_LARGE_SEND: bits 0-19 segment size, 20-29 offset of the TCP header. */
#define NDIS_LARGE_SEND_V2   0x40000000u
#define NDIS_LARGE_SEND_IPV6 0x80000000u

/* RNDIS_INFO_FRAGMENT: version, flags, 16 bits of packet id */
#define RNDIS_FRAGMENT_VERSION 1u
#define RNDIS_FRAGMENT_PART    0x01u
#define RNDIS_FRAGMENT_FIRST   0x02u
#define RNDIS_FRAGMENT_LAST    0x04u

struct rndis_initialize {
	uint32_t request_id;
	uint32_t major;
	uint32_t minor;
	uint32_t max_transfer;
} __attribute__((packed));

struct rndis_initialize_complete {
	uint32_t request_id;
	uint32_t status;
	uint32_t major;
	uint32_t minor;
	uint32_t device_flags;
	uint32_t medium;
	uint32_t max_packets; /* in one message of the channel */
	uint32_t max_transfer;
	uint32_t alignment_shift;
	uint32_t address_family_offset;
	uint32_t address_family_size;
} __attribute__((packed));

/* QUERY and SET */
struct rndis_request {
	uint32_t request_id;
	uint32_t oid;
	uint32_t info_length;
	uint32_t info_offset;
	uint32_t vc_handle;
} __attribute__((packed));

struct rndis_query_complete {
	uint32_t request_id;
	uint32_t status;
	uint32_t info_length;
	uint32_t info_offset;
} __attribute__((packed));

/* SET and KEEPALIVE */
struct rndis_status_complete {
	uint32_t request_id;
	uint32_t status;
} __attribute__((packed));

struct rndis_reset_complete {
	uint32_t status;
	uint32_t addressing_reset;
} __attribute__((packed));

struct rndis_indicate {
	uint32_t status;
	uint32_t buffer_length;
	uint32_t buffer_offset;
} __attribute__((packed));

/* Object identifiers. */
#define OID_GEN_SUPPORTED_LIST		      0x00010101u
#define OID_GEN_HARDWARE_STATUS		      0x00010102u
#define OID_GEN_MEDIA_SUPPORTED		      0x00010103u
#define OID_GEN_MEDIA_IN_USE		      0x00010104u
#define OID_GEN_MAXIMUM_LOOKAHEAD	      0x00010105u
#define OID_GEN_MAXIMUM_FRAME_SIZE	      0x00010106u
#define OID_GEN_LINK_SPEED		      0x00010107u
#define OID_GEN_TRANSMIT_BLOCK_SIZE	      0x0001010au
#define OID_GEN_RECEIVE_BLOCK_SIZE	      0x0001010bu
#define OID_GEN_VENDOR_ID		      0x0001010cu
#define OID_GEN_VENDOR_DESCRIPTION	      0x0001010du
#define OID_GEN_CURRENT_PACKET_FILTER	      0x0001010eu
#define OID_GEN_CURRENT_LOOKAHEAD	      0x0001010fu
#define OID_GEN_MAXIMUM_TOTAL_SIZE	      0x00010111u
#define OID_GEN_MAC_OPTIONS		      0x00010113u
#define OID_GEN_MEDIA_CONNECT_STATUS	      0x00010114u
#define OID_GEN_MAXIMUM_SEND_PACKETS	      0x00010115u
#define OID_GEN_NETWORK_LAYER_ADDRESSES	      0x00010118u
#define OID_GEN_RECEIVE_SCALE_CAPABILITIES    0x00010203u
#define OID_GEN_RECEIVE_SCALE_PARAMETERS      0x00010204u
#define OID_GEN_RNDIS_CONFIG_PARAMETER	      0x0001021bu
#define OID_GEN_XMIT_OK			      0x00020101u
#define OID_GEN_RCV_OK			      0x00020102u
#define OID_GEN_XMIT_ERROR		      0x00020103u
#define OID_GEN_RCV_ERROR		      0x00020104u
#define OID_GEN_RCV_NO_BUFFER		      0x00020105u
#define OID_GEN_BYTES_RCV		      0x00020219u
#define OID_GEN_BYTES_XMIT		      0x0002021au
#define OID_GEN_FRIENDLY_NAME		      0x00020216u
#define OID_802_3_PERMANENT_ADDRESS	      0x01010101u
#define OID_802_3_CURRENT_ADDRESS	      0x01010102u
#define OID_802_3_MULTICAST_LIST	      0x01010103u
#define OID_802_3_MAXIMUM_LIST_SIZE	      0x01010104u
#define OID_802_3_RCV_ERROR_ALIGNMENT	      0x01020101u
#define OID_802_3_XMIT_ONE_COLLISION	      0x01020102u
#define OID_802_3_XMIT_MORE_COLLISIONS	      0x01020103u
#define OID_OFFLOAD_ENCAPSULATION	      0x0101010au
#define OID_TCP_OFFLOAD_CURRENT_CONFIG	      0xfc01020bu
#define OID_TCP_OFFLOAD_PARAMETERS	      0xfc01020cu
#define OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES 0xfc01020du

/* OID_GEN_CURRENT_PACKET_FILTER */
#define NDIS_FILTER_DIRECTED	  0x01u
#define NDIS_FILTER_MULTICAST	  0x02u
#define NDIS_FILTER_ALL_MULTICAST 0x04u
#define NDIS_FILTER_BROADCAST	  0x08u
#define NDIS_FILTER_PROMISCUOUS	  0x20u

struct ndis_header {
	uint8_t type;
	uint8_t revision;
	uint16_t size;
} __attribute__((packed));

#define NDIS_TYPE_DEFAULT	   0x80u
#define NDIS_TYPE_RSS_CAPABILITIES 0x88u
#define NDIS_TYPE_RSS_PARAMETERS   0x89u
#define NDIS_TYPE_OFFLOAD	   0xa7u

/* OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES; smaller for revisions 1 and 2 */
struct ndis_offload {
	struct ndis_header header;
	struct {
		uint32_t ip4_send_encapsulation;
		uint32_t ip4_send;
		uint32_t ip4_receive_encapsulation;
		uint32_t ip4_receive;
		uint32_t ip6_send_encapsulation;
		uint32_t ip6_send;
		uint32_t ip6_receive_encapsulation;
		uint32_t ip6_receive;
	} checksum;
	struct {
		uint32_t encapsulation;
		uint32_t max_bytes;
		uint32_t min_segments;
		uint32_t options;
	} lso_v1;
	uint32_t ipsec_v1[7];
	struct {
		uint32_t ip4_encapsulation;
		uint32_t ip4_max_bytes;
		uint32_t ip4_min_segments;
		uint32_t ip6_encapsulation;
		uint32_t ip6_max_bytes;
		uint32_t ip6_min_segments;
		uint32_t ip6_options;
	} lso_v2;
	uint32_t flags;
	/* From revision 2 on. */
	uint8_t ipsec_v2[32];
	/* From revision 3 on. */
	uint8_t rsc_ip4;
	uint8_t rsc_ip6;
	uint8_t padding[2];
	uint32_t encapsulation_flags;
	uint32_t encapsulation_max_header;
} __attribute__((packed));
static_assert(sizeof(struct ndis_offload) == 156, "wire layout");
#define NDIS_OFFLOAD_SIZE_1 offsetof(struct ndis_offload, ipsec_v2)
#define NDIS_OFFLOAD_SIZE_2 offsetof(struct ndis_offload, rsc_ip4)

#define NDIS_ENCAPSULATION_802_3  0x2u
/* checksum.ip4_* and ip6_* */
#define NDIS_CHECKSUM_IP4_OPTIONS 0x001u /* IPv6: extension headers */
#define NDIS_CHECKSUM_TCP_OPTIONS 0x004u
#define NDIS_CHECKSUM_TCP	  0x010u
#define NDIS_CHECKSUM_UDP	  0x040u
#define NDIS_CHECKSUM_IP4_HEADER  0x100u
/* lso_v2.ip6_options */
#define NDIS_LSO_IP6_EXTENSIONS	  0x001u
#define NDIS_LSO_TCP_OPTIONS	  0x004u

/* OID_TCP_OFFLOAD_PARAMETERS; 0 in each leaves it as it is */
struct ndis_offload_parameters {
	struct ndis_header header;
	uint8_t ip4_checksum;
	uint8_t tcp4_checksum;
	uint8_t udp4_checksum;
	uint8_t tcp6_checksum;
	uint8_t udp6_checksum;
	uint8_t lso_v1;
	uint8_t ipsec_v1;
	uint8_t lso_v2_ip4;
	uint8_t lso_v2_ip6;
	uint8_t connection_ip4;
	uint8_t connection_ip6;
	uint8_t padding;
	uint32_t flags;
	/* Behind the first revision's. */
	uint8_t ipsec_v2;
	uint8_t ipsec_v2_ip4;
	uint8_t rsc_ip4;
	uint8_t rsc_ip6;
	uint8_t encapsulation;
	uint8_t encapsulation_types;
} __attribute__((packed));
static_assert(sizeof(struct ndis_offload_parameters) == 26, "wire layout");
#define NDIS_OFFLOAD_PARAMETERS_MIN offsetof(struct ndis_offload_parameters, ipsec_v2)
#define NDIS_RSC_DISABLED	    1u
#define NDIS_RSC_ENABLED	    2u

/* OID_GEN_RECEIVE_SCALE_CAPABILITIES */
struct ndis_rss_capabilities {
	struct ndis_header header;
	uint32_t flags;
	uint32_t interrupt_messages;
	uint32_t receive_queues;
	uint16_t table_entries;
} __attribute__((packed));
static_assert(sizeof(struct ndis_rss_capabilities) == 18, "wire layout");
#define NDIS_RSS_CAPABILITY_TCP_IPV4 0x00000100u
#define NDIS_RSS_CAPABILITY_TCP_IPV6 0x00000200u
#define NDIS_RSS_CAPABILITY_AT_ISR   0x02000000u
#define NDIS_RSS_CAPABILITY_AT_DPC   0x04000000u

/* OID_GEN_RECEIVE_SCALE_PARAMETERS; the offsets count from its start */
struct ndis_rss_parameters {
	struct ndis_header header;
	uint16_t flags;
	uint16_t base_cpu;
	uint32_t hash;
	uint16_t table_bytes;
	uint16_t padding;
	uint32_t table_offset;
	uint16_t key_bytes;
	uint16_t padding2;
	uint32_t key_offset;
	uint32_t masks_offset;
	uint32_t mask_count;
	uint32_t mask_bytes;
} __attribute__((packed));
static_assert(sizeof(struct ndis_rss_parameters) == 40, "wire layout");
/* As much of it as is looked at. */
#define NDIS_RSS_PARAMETERS_MIN	 offsetof(struct ndis_rss_parameters, masks_offset)
#define NDIS_RSS_HASH_UNCHANGED	 0x02u
#define NDIS_RSS_TABLE_UNCHANGED 0x04u
#define NDIS_RSS_KEY_UNCHANGED	 0x08u
#define NDIS_RSS_DISABLE	 0x10u
/* hash */
#define NDIS_HASH_TOEPLITZ	 0x0001u
#define NDIS_HASH_IPV4		 0x0100u
#define NDIS_HASH_TCP_IPV4	 0x0200u
#define NDIS_HASH_IPV6		 0x0400u
#define NDIS_HASH_TCP_IPV6	 0x1000u

/* OID_GEN_RNDIS_CONFIG_PARAMETER: UTF-16 strings at offsets from its start */
struct rndis_config_parameter {
	uint32_t name_offset;
	uint32_t name_length;
	uint32_t type;
	uint32_t value_offset;
	uint32_t value_length;
} __attribute__((packed));
