#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "base/event_loop.h"
#include "base/io_thread.h"
#include "base/state.h"

/*
 * A pcapng file in the making (draft-ietf-opsawg-pcapng): one section, one interface, packets with
 * times in nanoseconds.  Any thread records, and none ever waits: packets go to a ring in memory
 * without a lock, and an I/O thread's uring takes them to the file.  What finds the ring full is
 * dropped and counted; the next packet that is kept tells how many were lost before it
 * (epb_dropcount), and so do the interface's statistics at the end of the file (isb_ifdrop).
 */

struct capture;

#define CAPTURE_LINK_ETHERNET 1u
#define CAPTURE_LINK_USER0    147u

#define CAPTURE_RING_BYTES   (4u << 20)
/* Of one packet; what is longer is cut. */
#define CAPTURE_PACKET_MAX   (256u << 10)
#define CAPTURE_SECTION_TYPE 0x0a0d0d0au
#define CAPTURE_BYTE_ORDER   0x1a2b3c4du

/* The kinds of block, and the options that we write. */
enum capture_block {
	CAPTURE_INTERFACE = 1,
	CAPTURE_STATISTICS = 5,
	CAPTURE_PACKET = 6, /* an enhanced one */
};

enum capture_option {
	CAPTURE_OPTION_END = 0,
	CAPTURE_SECTION_APPLICATION = 4,
	CAPTURE_INTERFACE_NAME = 2,
	CAPTURE_INTERFACE_DESCRIPTION = 3,
	CAPTURE_INTERFACE_TIME_UNIT = 9,
	CAPTURE_PACKET_FLAGS = 2,
	CAPTURE_PACKET_DROPPED = 4,
	CAPTURE_STATISTICS_END = 3,
	CAPTURE_STATISTICS_RECEIVED = 4,
	CAPTURE_STATISTICS_DROPPED = 5,
};

/* As epb_flags has it, seen from the guest. */
enum capture_direction {
	CAPTURE_UNKNOWN,
	CAPTURE_TO_GUEST,
	CAPTURE_FROM_GUEST,
};

struct capture_config {
	int fd;		    /* a regular file, empty; taken over on success */
	uint16_t link_type; /* CAPTURE_LINK_ */
	const char *name;   /* of the interface, up to 63 bytes; and what it is */
	const char *description;
	struct io_thread *thread; /* outlives the capture */
	struct event_loop *loop;
};

/* Begins the file.  -errno where it cannot be written.  Main loop. */
int capture_new(const struct capture_config *config, struct capture **out);

/* Writes what is left and the statistics, and closes the file.  Nobody records any more, and the
 * I/O thread still runs if anybody did.  NULL is allowed.  Main loop. */
void capture_free(struct capture *capture);

/* Records what iov has; original_bytes: how long the packet was before the caller cut it.  Any
 * thread. */
void capture_record(struct capture *capture, enum capture_direction direction,
		    const struct iovec *iov, unsigned int count, uint32_t original_bytes);

/* Packets recorded and dropped, bytes written, and the error that ended the writing, into the node
 * that is open.  Main loop. */
void capture_inspect(const struct capture *capture, struct state_writer *writer);
