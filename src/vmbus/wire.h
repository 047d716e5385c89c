#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/guid.h"

/*
 * The layouts of VMBus on the wire (Linux include/linux/hyperv.h and drivers/hv/).  All
 * numbers are little-endian.
 */

/* Connection ids that every guest knows. */
#define VMBUS_CONNECTION_MESSAGE   1u /* before version 5.0 */
#define VMBUS_CONNECTION_MESSAGE_4 4u /* from version 5.0 on */
/* A channel's doorbell: the id says which interrupt source it stands for (TLFS SINT 2). */
#define VMBUS_CONNECTION_CHANNEL   0x2000u

#define VMBUS_SINT	   2u
#define VMBUS_MESSAGE_TYPE 1u /* of every VMBus message, as PostMessage carries it */
#define VMBUS_MESSAGE_MAX  240u
#define VMBUS_USER_DEFINED 120u
#define VMBUS_PAGE_SIZE	   4096u
#define VMBUS_VP_NONE	   0xffffffffu /* as target VP: the channel interrupts nobody */
#define VMBUS_MONITOR_NONE 0xffu

/* NTSTATUS values of the answers; a guest looks only whether it is 0. */
#define VMBUS_STATUS_SUCCESS	  0u
#define VMBUS_STATUS_UNSUCCESSFUL 0xc0000001u
#define VMBUS_STATUS_INVALID	  0xc000000du
#define VMBUS_STATUS_NO_RESOURCES 0xc000009au
#define VMBUS_STATUS_REFUSED	  0xc0000236u

enum vmbus_message_type {
	VMBUS_MESSAGE_OFFER_CHANNEL = 1,
	VMBUS_MESSAGE_RESCIND_OFFER = 2,
	VMBUS_MESSAGE_REQUEST_OFFERS = 3,
	VMBUS_MESSAGE_ALL_OFFERS_DELIVERED = 4,
	VMBUS_MESSAGE_OPEN_CHANNEL = 5,
	VMBUS_MESSAGE_OPEN_RESULT = 6,
	VMBUS_MESSAGE_CLOSE_CHANNEL = 7,
	VMBUS_MESSAGE_GPADL_HEADER = 8,
	VMBUS_MESSAGE_GPADL_BODY = 9,
	VMBUS_MESSAGE_GPADL_CREATED = 10,
	VMBUS_MESSAGE_GPADL_TEARDOWN = 11,
	VMBUS_MESSAGE_GPADL_TORNDOWN = 12,
	VMBUS_MESSAGE_RELID_RELEASED = 13,
	VMBUS_MESSAGE_INITIATE_CONTACT = 14,
	VMBUS_MESSAGE_VERSION_RESPONSE = 15,
	VMBUS_MESSAGE_UNLOAD = 16,
	VMBUS_MESSAGE_UNLOAD_RESPONSE = 17,
	VMBUS_MESSAGE_TL_CONNECT_REQUEST = 21,
	VMBUS_MESSAGE_MODIFY_CHANNEL = 22,
	VMBUS_MESSAGE_TL_CONNECT_RESULT = 23,
	VMBUS_MESSAGE_MODIFY_RESPONSE = 24,
	VMBUS_MESSAGE_TYPES,
};

/* Every control message starts with this. */
struct vmbus_message_header {
	uint32_t type;
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_message_header) == 8, "wire layout");

struct vmbus_initiate_contact {
	struct vmbus_message_header header;
	uint32_t version;
	uint32_t target_vp; /* all messages go to this VP */
	union {
		uint64_t interrupt_page; /* before 5.0; channels with dedicated interrupts need none
					  */
		struct {
			uint8_t message_sint;
			uint8_t message_vtl;
			uint8_t reserved[2];
			uint32_t feature_flags; /* from 6.0 on */
		};
	};
	uint64_t monitor_pages[2];
} __attribute__((packed));
static_assert(sizeof(struct vmbus_initiate_contact) == 40, "wire layout");

struct vmbus_version_response {
	struct vmbus_message_header header;
	uint8_t version_supported;
	uint8_t connection_state;
	uint16_t reserved;
	uint32_t message_connection_id; /* from 5.0 on */
} __attribute__((packed));
static_assert(sizeof(struct vmbus_version_response) == 16, "wire layout");

/* connection_state */
#define VMBUS_CONNECTION_OK	0
#define VMBUS_CONNECTION_FAILED 2

/* Flags of an offer. */
#define VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE 0x1
#define VMBUS_CHANNEL_NAMED_PIPE_MODE		 0x10
#define VMBUS_CHANNEL_LOOPBACK_OFFER		 0x100
#define VMBUS_CHANNEL_PARENT_OFFER		 0x200
#define VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER	 0x2000

struct vmbus_offer_channel {
	struct vmbus_message_header header;
	struct guid class_id;
	struct guid instance_id;
	uint64_t reserved[2];
	uint16_t flags;
	uint16_t mmio_megabytes;
	uint8_t user_defined[VMBUS_USER_DEFINED];
	uint16_t subchannel_index; /* 0: the primary */
	uint16_t reserved2;
	uint32_t relid;
	uint8_t monitor_id;
	uint8_t monitor_allocated;
	uint16_t is_dedicated_interrupt;
	uint32_t connection_id;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_offer_channel) == 196, "wire layout");

/* RESCIND_OFFER, CLOSE_CHANNEL, RELID_RELEASED */
struct vmbus_relid_message {
	struct vmbus_message_header header;
	uint32_t relid;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_relid_message) == 12, "wire layout");

struct vmbus_open_channel {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t open_id; /* returned in the result */
	uint32_t ring_gpadl;
	uint32_t target_vp;
	uint32_t downstream_page_offset; /* where in the GPADL the host-to-guest ring starts */
	uint8_t user_data[VMBUS_USER_DEFINED];
} __attribute__((packed));
static_assert(sizeof(struct vmbus_open_channel) == 148, "wire layout");

struct vmbus_open_result {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t open_id;
	uint32_t status;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_open_result) == 20, "wire layout");

/* Guest pages that look contiguous: frame numbers follow, as many as offset and count span. */
struct vmbus_gpa_range {
	uint32_t byte_count;
	uint32_t byte_offset; /* in the first page */
	uint64_t frames[];
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpa_range) == 8, "wire layout");

/* As much of the ranges as fits follows; the rest comes in bodies. */
struct vmbus_gpadl_header {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl;
	uint16_t range_bytes; /* of all ranges, in all messages */
	uint16_t range_count;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpadl_header) == 20, "wire layout");

struct vmbus_gpadl_body {
	struct vmbus_message_header header;
	uint32_t message_number; /* Linux leaves it 0 */
	uint32_t gpadl;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpadl_body) == 16, "wire layout");

struct vmbus_gpadl_created {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl;
	uint32_t status;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpadl_created) == 20, "wire layout");

struct vmbus_gpadl_teardown {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t gpadl;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpadl_teardown) == 16, "wire layout");

struct vmbus_gpadl_torndown {
	struct vmbus_message_header header;
	uint32_t gpadl;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpadl_torndown) == 12, "wire layout");

struct vmbus_modify_channel {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t target_vp;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_modify_channel) == 16, "wire layout");

struct vmbus_modify_response {
	struct vmbus_message_header header;
	uint32_t relid;
	uint32_t status;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_modify_response) == 16, "wire layout");

struct vmbus_tl_connect_request {
	struct vmbus_message_header header;
	struct guid endpoint_id;
	struct guid service_id;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_tl_connect_request) == 40, "wire layout");

struct vmbus_tl_connect_result {
	struct vmbus_message_header header;
	struct guid endpoint_id;
	struct guid service_id;
	uint32_t status;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_tl_connect_result) == 44, "wire layout");

/* The first page of each ring; its data pages follow. */
struct vmbus_ring_header {
	uint32_t write_index; /* bytes from the start of the data; the producer's */
	uint32_t read_index;  /* the consumer's */
	uint32_t interrupt_mask;
	uint32_t pending_send_size; /* the producer waits for more free bytes than that */
	uint32_t reserved[12];
	uint32_t feature_bits;
	uint8_t padding[VMBUS_PAGE_SIZE - 68];
};
static_assert(sizeof(struct vmbus_ring_header) == VMBUS_PAGE_SIZE, "wire layout");

#define VMBUS_RING_FEATURE_PENDING_SEND_SIZE 1u

/* Each packet starts with this and is followed by VMBUS_PACKET_TRAILER bytes. */
struct vmbus_packet_header {
	uint16_t type;
	uint16_t offset8; /* of the payload, in 8 bytes */
	uint16_t length8; /* without the trailer, in 8 bytes */
	uint16_t flags;
	uint64_t transaction_id;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_packet_header) == 16, "wire layout");

/* The producer's write index when it began the packet, in the upper half. */
#define VMBUS_PACKET_TRAILER 8u

/* Follows the packet header of GPA-direct packets; range_count struct vmbus_gpa_range follow. */
struct vmbus_gpa_direct_header {
	uint32_t reserved;
	uint32_t range_count;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_gpa_direct_header) == 8, "wire layout");

/* Follows the packet header of transfer-page packets; range_count ranges follow. */
struct vmbus_transfer_header {
	uint16_t page_set; /* under which both sides know the pages */
	uint8_t sender_owns_set;
	uint8_t reserved;
	uint32_t range_count;
} __attribute__((packed));
static_assert(sizeof(struct vmbus_transfer_header) == 8, "wire layout");

struct vmbus_transfer_range {
	uint32_t byte_count;
	uint32_t byte_offset; /* in the page set */
} __attribute__((packed));
static_assert(sizeof(struct vmbus_transfer_range) == 8, "wire layout");
