#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "devices/net/frame.h"
#include "devices/net/net.h"

/*
 * What a NIC does to frames, done by the processor: for backends whose other side has no such
 * offloads.  Payload may change while it is looked at (it is the guest's): the checksum is then
 * that of some mixture, and the guest's own loss.
 */

/* The one's complement sum of data, continued from sum; at_odd: the data begins at an odd offset
 * of what is summed.  Folded to 16 bits by net_checksum_fold.  Any thread. */
uint64_t net_checksum_add(uint64_t sum, const void *data, size_t bytes, bool at_odd);
/* The sum in the wire's byte order, not inverted. */
uint16_t net_checksum_fold(uint64_t sum);

/* The pseudo header's sum for the frame's TCP or UDP, with a length of length bytes. */
uint64_t net_checksum_pseudo(const uint8_t *header, const struct frame *frame, uint32_t length);
/* Puts the right header checksum into the IPv4 header there. */
void net_checksum_ipv4(uint8_t *ip);

/*
 * Does what offload->needs_csum asks for.  The frame: header_bytes at header, which are changed,
 * then the payload.  -EINVAL if the checksum's place does not lie in the header.  Any thread.
 */
int net_offload_checksum(uint8_t *header, uint32_t header_bytes, const struct iovec *payload,
			 unsigned int payload_count, const struct net_offload *offload);

/* Cuts a large TCP frame. */
struct net_segmenter {
	const uint8_t *header; /* all headers, of the whole frame */
	struct frame frame;
	uint32_t header_bytes;
	uint32_t segment_bytes; /* payload of each but the last */
	const struct iovec *iov;
	unsigned int iov_count;
	size_t iov_offset; /* in the first of them */
	uint32_t left;
	uint32_t sequence;
	uint16_t identification;
	bool first;
};

/*
 * header: the frame's headers up to frame->payload, kept by the caller; then payload_bytes in iov.
 * -EINVAL unless the frame is TCP over IP and segment_bytes is above 0.  Any thread.
 */
int net_segmenter_init(struct net_segmenter *segmenter, const uint8_t *header,
		       const struct frame *frame, const struct iovec *iov, unsigned int iov_count,
		       uint32_t payload_bytes, uint32_t segment_bytes);

/*
 * The next segment: complete headers of segmenter->header_bytes bytes are put at header, entries
 * of its payload into iov.  Returns how many of these, -ENODATA after the last segment, -E2BIG
 * where max are too few; *bytes is the payload's length.  Any thread.
 */
int net_segmenter_next(struct net_segmenter *segmenter, uint8_t *header, struct iovec *iov,
		       unsigned int max, uint32_t *bytes);
