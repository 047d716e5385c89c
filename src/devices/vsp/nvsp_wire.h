#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/guid.h"

/*
 * The protocol of the network VSP below RNDIS: versions, buffers, channels (Linux
 * drivers/net/hyperv/hyperv_net.h).  All numbers are little-endian.
 */

/* Class f8615163-df3e-46c5-913f-f2d2f965ed0e. */
#define NETVSP_CLASS                                                                               \
	GUID_INIT(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e)

#define NVSP_VERSION_1	0x00002u
#define NVSP_VERSION_2	0x30002u
#define NVSP_VERSION_4	0x40000u
#define NVSP_VERSION_5	0x50000u
#define NVSP_VERSION_6	0x60000u
#define NVSP_VERSION_61 0x60001u

enum nvsp_type {
	NVSP_INIT = 1,
	NVSP_INIT_COMPLETE = 2,
	NVSP_NDIS_VERSION = 100,
	NVSP_RECEIVE_BUFFER = 101,
	NVSP_RECEIVE_BUFFER_COMPLETE = 102,
	NVSP_REVOKE_RECEIVE_BUFFER = 103,
	NVSP_SEND_BUFFER = 104,
	NVSP_SEND_BUFFER_COMPLETE = 105,
	NVSP_REVOKE_SEND_BUFFER = 106,
	NVSP_RNDIS = 107,
	NVSP_RNDIS_COMPLETE = 108,
	/* From version 2 on. */
	NVSP_NDIS_CONFIG = 125,
	/* From version 4 on. */
	NVSP_VF_ASSOCIATION = 128,
	NVSP_SWITCH_DATA_PATH = 129,
	/* From version 5 on. */
	NVSP_OID_QUERY_EX = 131,
	NVSP_SUBCHANNEL = 133,
	NVSP_INDIRECTION_TABLE = 134,
};

enum nvsp_status {
	NVSP_STATUS_SUCCESS = 1,
	NVSP_STATUS_FAIL = 2,
	NVSP_STATUS_TOO_NEW = 3,
	NVSP_STATUS_TOO_OLD = 4,
	NVSP_STATUS_INVALID_PACKET = 5,
	NVSP_STATUS_BUSY = 6,
	NVSP_STATUS_UNSUPPORTED = 7,
};

/* Capabilities of NDIS_CONFIG. */
#define NVSP_CAPABILITY_SRIOV	0x04ull
#define NVSP_CAPABILITY_VLAN	0x08ull
#define NVSP_CAPABILITY_TEAMING 0x20ull
#define NVSP_CAPABILITY_RSC	0x80ull

#define NVSP_SUBCHANNEL_ALLOCATE 1u
/* Entries of the send indirection table. */
#define NVSP_TABLE_ENTRIES	 16u
/* RNDIS: none of the send buffer's sections. */
#define NVSP_NO_SECTION		 0xffffffffu
#define NVSP_CHANNEL_DATA	 0u
#define NVSP_CHANNEL_CONTROL	 1u

struct nvsp_init {
	uint32_t min_version;
	uint32_t max_version;
} __attribute__((packed));

struct nvsp_init_complete {
	uint32_t version;
	uint32_t max_mdl_chain;
	uint32_t status;
} __attribute__((packed));

struct nvsp_ndis_version {
	uint32_t major;
	uint32_t minor;
} __attribute__((packed));

struct nvsp_ndis_config {
	uint32_t mtu; /* with the Ethernet header */
	uint32_t reserved;
	uint64_t capabilities;
} __attribute__((packed));

/* RECEIVE_BUFFER and SEND_BUFFER */
struct nvsp_buffer {
	uint32_t gpadl;
	uint16_t id;
} __attribute__((packed));

struct nvsp_receive_buffer_complete {
	uint32_t status;
	uint32_t part_count; /* Linux takes 1 only */
	struct {
		uint32_t offset;
		uint32_t section_size;
		uint32_t section_count;
		uint32_t end_offset;
	} part;
} __attribute__((packed));

struct nvsp_send_buffer_complete {
	uint32_t status;
	uint32_t section_size;
} __attribute__((packed));

/* REVOKE_RECEIVE_BUFFER and REVOKE_SEND_BUFFER */
struct nvsp_revoke {
	uint16_t id;
} __attribute__((packed));

struct nvsp_rndis {
	uint32_t channel_type;
	uint32_t section; /* of the send buffer, or NVSP_NO_SECTION */
	uint32_t section_bytes;
} __attribute__((packed));

struct nvsp_subchannel {
	uint32_t operation; /* in the answer: the status */
	uint32_t count;
} __attribute__((packed));

struct nvsp_indirection_table {
	uint32_t count;
	uint32_t offset; /* from the start of the message */
} __attribute__((packed));

struct nvsp_message {
	uint32_t type;
	union {
		struct nvsp_init init;
		struct nvsp_init_complete init_complete;
		struct nvsp_ndis_version ndis_version;
		struct nvsp_ndis_config ndis_config;
		struct nvsp_buffer buffer;
		struct nvsp_receive_buffer_complete receive_buffer_complete;
		struct nvsp_send_buffer_complete send_buffer_complete;
		struct nvsp_revoke revoke;
		struct nvsp_rndis rndis;
		uint32_t rndis_status;
		uint32_t data_path;
		struct nvsp_subchannel subchannel;
		struct nvsp_indirection_table indirection_table;
		uint8_t largest[36]; /* that any version has */
	};
} __attribute__((packed));
static_assert(sizeof(struct nvsp_message) == 40, "wire layout");
