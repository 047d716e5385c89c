#pragma once
/*
 * A small VMBus driver, by the facts of Linux's include/linux/hyperv.h: contact, offers, GPADLs,
 * channels and their rings. One VP drives it; messages are polled, channel interrupts counted.
 */

#include "lib/hv.h"

#define VMBUS_SINT		    2
#define VMBUS_VECTOR		    0x61
#define VMBUS_CONNECTION_OLD	    1
#define VMBUS_CONNECTION_V5	    4
#define VMBUS_MESSAGE_TYPE	    1
#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define VMBUS_VERSION_5_0	    VMBUS_VERSION(5, 0)
#define VMBUS_OFFERS_MAX	    128
#define VMBUS_WAIT_MS		    5000

enum vmbus_message_type {
	MSG_OFFER = 1,
	MSG_RESCIND = 2,
	MSG_REQUEST_OFFERS = 3,
	MSG_ALL_OFFERS = 4,
	MSG_OPEN = 5,
	MSG_OPEN_RESULT = 6,
	MSG_CLOSE = 7,
	MSG_GPADL_HEADER = 8,
	MSG_GPADL_BODY = 9,
	MSG_GPADL_CREATED = 10,
	MSG_GPADL_TEARDOWN = 11,
	MSG_GPADL_TORNDOWN = 12,
	MSG_RELID_RELEASED = 13,
	MSG_CONTACT = 14,
	MSG_VERSION_RESPONSE = 15,
	MSG_UNLOAD = 16,
	MSG_UNLOAD_RESPONSE = 17,
	MSG_MODIFY = 22,
	MSG_MODIFY_RESPONSE = 24,
};

enum vmbus_packet_type {
	PACKET_INBAND = 6,
	PACKET_GPA_DIRECT = 9,
	PACKET_COMPLETION = 11,
};

struct vmbus_offer {
	uint8_t class_id[16], instance_id[16];
	uint32_t relid, connection;
	uint16_t flags, sub_index;
};

struct vmbus_packet {
	uint16_t type, offset8, length8, flags;
	uint64_t transaction;
};

struct vmbus_ring {
	volatile uint32_t write_index, read_index, interrupt_mask, pending_send;
	uint32_t reserved[12];
	volatile uint32_t features;
	uint8_t padding[4096 - 68];
	uint8_t data[];
};

struct vmbus_channel {
	uint32_t relid, connection, gpadl;
	struct vmbus_ring *out, *in;
	uint32_t size; /* bytes of data in each ring */
};

struct vmbus {
	struct hv_synic synic;
	uint32_t version, connection, next_gpadl;
	unsigned offer_count;
	struct vmbus_offer offers[VMBUS_OFFERS_MAX];
	volatile unsigned interrupts;
	volatile uint64_t interrupt_tsc; /* when the last one came */
};

/* Hypercalls, SynIC and the interrupt; once, before anything else. */
struct vmbus *vmbus_init(void);
/* INITIATE_CONTACT; true if the host agrees to the version, false if it refuses or is silent. */
bool vmbus_contact(struct vmbus *bus, uint32_t version);
bool vmbus_unload(struct vmbus *bus);
/* Ask for the offers and collect them; false if "all offers delivered" does not come. */
bool vmbus_request_offers(struct vmbus *bus);
const struct vmbus_offer *vmbus_find(const struct vmbus *bus, const uint8_t class_id[16]);

/* Post a channel message, again and again while the host is out of buffers. */
uint16_t vmbus_post(struct vmbus *bus, const void *message, uint32_t size);
/*
 * The next message of this type within ms, copied to reply (at most size bytes); offers that
 * come meanwhile are kept, anything else is dropped.
 */
bool vmbus_wait(struct vmbus *bus, uint32_t type, void *reply, size_t size, unsigned ms);

/* Share pages; returns the creation status, ~0 if there is no answer. 0 is success. */
uint32_t vmbus_gpadl(struct vmbus *bus, uint32_t relid, uint32_t gpadl, uint64_t addr,
		     uint32_t pages);
bool vmbus_gpadl_teardown(struct vmbus *bus, uint32_t relid, uint32_t gpadl);

/* Open with rings of that many pages each, headers included; returns the status as above. */
uint32_t vmbus_open(struct vmbus *bus, const struct vmbus_offer *offer, uint32_t ring_pages,
		    struct vmbus_channel *ch);
/* Close, and tear the rings' GPADL down. */
void vmbus_close(struct vmbus *bus, struct vmbus_channel *ch);

struct vmbus_range {
	uint32_t length, offset;
	uint64_t pfns[32];
	uint32_t pfn_count;
};

/*
 * Put a packet on the ring; range is NULL or the memory of a GPA-direct packet. False if there is
 * no room. The host is not signalled: that is vmbus_signal, which is needed only if
 * *signal comes back true.
 */
bool vmbus_send(struct vmbus_channel *ch, uint16_t flags, uint64_t transaction, const void *payload,
		uint32_t size, const struct vmbus_range *range, bool *signal);
void vmbus_signal(const struct vmbus_channel *ch);
/* Take a packet; returns its payload's size, -1 if there is none. */
int vmbus_receive(struct vmbus_channel *ch, struct vmbus_packet *packet, void *payload,
		  uint32_t max);
