#pragma once

#include <stdint.h>

#include "base/capture.h"
#include "base/guid.h"

/*
 * A trace of the bus: control messages and the packets of channels, both ways, as packets of a
 * capture with the link type USER0.  Each begins with a struct trace_header; all numbers are
 * little-endian.  docs/trace.md describes the layout for users; src/tools reads it.
 */

struct vmbus;

#define TRACE_VERSION	  1
#define TRACE_LABEL_SIZE  16
/* Of a packet's payload, of its ranges, and of the memory it names: what is recorded at most. */
#define TRACE_PAYLOAD_MAX 512u
#define TRACE_RANGES_MAX  64u
#define TRACE_MEMORY_MAX  256u
#define TRACE_FAULT_MAX	  128u

enum trace_kind {
	TRACE_MESSAGE = 1, /* a control message follows, as it was posted */
	TRACE_PACKET = 2,  /* a struct trace_packet follows, the payload, and the ranges */
	TRACE_MEMORY = 3,  /* a transaction id, and bytes of the memory that its packet names */
	TRACE_FAULT = 4,   /* text: what the fault mode did */
};

enum trace_direction {
	TRACE_FROM_GUEST = 0,
	TRACE_TO_GUEST = 1,
};

struct trace_header {
	uint8_t version; /* TRACE_VERSION */
	uint8_t kind;
	uint8_t direction;
	uint8_t reserved;
	uint32_t relid;		 /* 0 for messages and faults of the bus */
	uint16_t index;		 /* 0: the primary channel */
	uint16_t vp;		 /* that is told, 0xffff for none */
	uint32_t version_agreed; /* of the bus, major << 16 | minor; 0: none */
	struct guid class_id;
	struct guid instance_id;
	char label[TRACE_LABEL_SIZE]; /* "nic0"; padded with NUL, not always ended */
} __attribute__((packed));
_Static_assert(sizeof(struct trace_header) == 64, "file layout");

struct trace_packet {
	uint16_t type; /* enum packet_type */
	uint16_t flags;
	uint32_t payload_size; /* on the ring */
	uint64_t transaction_id;
	uint32_t payload_recorded;
	uint32_t range_count;
	uint32_t ranges_size;	  /* on the ring */
	uint32_t ranges_recorded; /* struct vmbus_gpa_range or vmbus_transfer_range */
} __attribute__((packed));
_Static_assert(sizeof(struct trace_packet) == 32, "file layout");

/*
 * What the bus does is recorded there from now on; NULL: no more, and nobody records any more when
 * it returns.  The capture stays the caller's.  Main loop, the I/O threads running.
 */
void vmbus_set_trace(struct vmbus *bus, struct capture *capture);
