#include "devices/net/offload_software.h"

#include <byteswap.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_CWR 0x80

/* Sums are of native words, which differs from the wire's order by a swap of the result's bytes
 * (RFC 1071). */
uint64_t net_checksum_add(uint64_t sum, const void *data, size_t bytes, bool at_odd)
{
	const uint8_t *next = data;
	uint64_t part = 0;

	for (; bytes >= 4; bytes -= 4, next += 4) {
		uint32_t word;

		memcpy(&word, next, 4);
		part += word;
	}
	if (bytes >= 2) {
		uint16_t word;

		memcpy(&word, next, 2);
		part += word;
		next += 2;
		bytes -= 2;
	}
	if (bytes)
		part += htole16(*next);
	if (at_odd) {
		part = (part & 0xffffffff) + (part >> 32);
		part = (part & 0xffff) + (part >> 16);
		part = (part & 0xffff) + (part >> 16);
		part = (part & 0xffff) + (part >> 16);
		part = bswap_16((uint16_t)part);
	}
	part += sum;
	return part < sum ? part + 1 : part;
}

uint16_t net_checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return be16toh((uint16_t)sum);
}

uint64_t net_checksum_pseudo(const uint8_t *header, const struct frame *frame, uint32_t length)
{
	const uint8_t *ip = header + frame->ip_offset;
	uint8_t tail[8] = {0};
	uint64_t sum;

	sum = frame->ip == FRAME_IPV4 ? net_checksum_add(0, ip + 12, 8, false)
				      : net_checksum_add(0, ip + 8, 32, false);
	put_be32(tail, length);
	tail[7] = frame->protocol;
	return net_checksum_add(sum, tail, sizeof(tail), false);
}

void net_checksum_ipv4(uint8_t *ip)
{
	put_be16(ip + 10, 0);
	put_be16(ip + 10,
		 (uint16_t)~net_checksum_fold(net_checksum_add(0, ip, (ip[0] & 15) * 4u, false)));
}

/* Inverted; and a UDP checksum of 0 would say that there is none. */
static uint16_t final_checksum(uint64_t sum, uint16_t offset)
{
	uint16_t value = (uint16_t)~net_checksum_fold(sum);

	return value == 0 && offset == FRAME_UDP_CHECKSUM ? 0xffff : value;
}

static uint64_t sum_payload(uint64_t sum, const struct iovec *iov, unsigned int count, bool odd)
{
	for (unsigned int i = 0; i < count; i++) {
		sum = net_checksum_add(sum, iov[i].iov_base, iov[i].iov_len, odd);
		odd ^= iov[i].iov_len & 1;
	}
	return sum;
}

int net_offload_checksum(uint8_t *header, uint32_t header_bytes, const struct iovec *payload,
			 unsigned int payload_count, const struct net_offload *offload)
{
	uint32_t place = (uint32_t)offload->csum_start + offload->csum_offset;
	uint32_t start = offload->csum_start;
	uint64_t sum;

	if (!range_within(place, 2, header_bytes))
		return -EINVAL;
	sum = net_checksum_add(0, header + start, header_bytes - start, false);
	sum = sum_payload(sum, payload, payload_count, (header_bytes - start) & 1);
	put_be16(header + place, final_checksum(sum, offload->csum_offset));
	return 0;
}

int net_segmenter_init(struct net_segmenter *segmenter, const uint8_t *header,
		       const struct frame *frame, const struct iovec *iov, unsigned int iov_count,
		       uint32_t payload_bytes, uint32_t segment_bytes)
{
	if (frame->protocol != FRAME_PROTOCOL_TCP || !frame->transport || segment_bytes == 0)
		return -EINVAL;
	*segmenter = (struct net_segmenter){
		.header = header,
		.frame = *frame,
		.header_bytes = frame->payload,
		.segment_bytes = segment_bytes,
		.iov = iov,
		.iov_count = iov_count,
		.left = payload_bytes,
		.sequence = get_be32(header + frame->transport + 4),
		.identification =
			frame->ip == FRAME_IPV4 ? get_be16(header + frame->ip_offset + 4) : 0,
		.first = true,
	};
	return 0;
}

/* Takes bytes of the payload off; entries used, or -E2BIG. */
static int take_payload(struct net_segmenter *segmenter, uint32_t bytes, struct iovec *iov,
			unsigned int max)
{
	unsigned int used = 0;

	while (bytes > 0) {
		const struct iovec *from = segmenter->iov;
		size_t part = MIN((size_t)bytes, from->iov_len - segmenter->iov_offset);

		if (part > 0) {
			if (used == max)
				return -E2BIG;
			iov[used++] = (struct iovec){
				(uint8_t *)from->iov_base + segmenter->iov_offset, part};
		}
		bytes -= (uint32_t)part;
		segmenter->iov_offset += part;
		if (segmenter->iov_offset == from->iov_len && segmenter->iov_count > 1) {
			segmenter->iov++;
			segmenter->iov_count--;
			segmenter->iov_offset = 0;
		}
	}
	return (int)used;
}

static void fix_ip(const struct net_segmenter *segmenter, uint8_t *ip, uint32_t payload)
{
	uint32_t length = segmenter->header_bytes - segmenter->frame.ip_offset + payload;

	if (segmenter->frame.ip == FRAME_IPV4) {
		put_be16(ip + 2, (uint16_t)length);
		put_be16(ip + 4, segmenter->identification);
		net_checksum_ipv4(ip);
	} else {
		put_be16(ip + 4, (uint16_t)(length - 40));
	}
}

/* FIN and PSH belong to the last segment, CWR to the first. */
static void fix_tcp(const struct net_segmenter *segmenter, uint8_t *tcp)
{
	put_be32(tcp + 4, segmenter->sequence);
	if (segmenter->left > 0)
		tcp[13] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
	if (!segmenter->first)
		tcp[13] &= (uint8_t)~TCP_FLAG_CWR;
}

static void sum_tcp(const struct net_segmenter *segmenter, uint8_t *header, const struct iovec *iov,
		    unsigned int count, uint32_t payload)
{
	uint32_t size = segmenter->header_bytes - segmenter->frame.transport;
	uint8_t *tcp = header + segmenter->frame.transport;
	uint64_t sum = net_checksum_pseudo(header, &segmenter->frame, size + payload);

	put_be16(tcp + FRAME_TCP_CHECKSUM, 0);
	sum = net_checksum_add(sum, tcp, size, false);
	sum = sum_payload(sum, iov, count, false);
	put_be16(tcp + FRAME_TCP_CHECKSUM, final_checksum(sum, FRAME_TCP_CHECKSUM));
}

int net_segmenter_next(struct net_segmenter *segmenter, uint8_t *header, struct iovec *iov,
		       unsigned int max, uint32_t *bytes)
{
	uint32_t payload = MIN(segmenter->left, segmenter->segment_bytes);
	int count;

	if (payload == 0 && !segmenter->first)
		return -ENODATA;
	count = take_payload(segmenter, payload, iov, max);
	if (count < 0)
		return count;
	segmenter->left -= payload;
	memcpy(header, segmenter->header, segmenter->header_bytes);
	fix_ip(segmenter, header + segmenter->frame.ip_offset, payload);
	fix_tcp(segmenter, header + segmenter->frame.transport);
	sum_tcp(segmenter, header, iov, (unsigned int)count, payload);
	segmenter->sequence += payload;
	segmenter->identification++;
	segmenter->first = false;
	*bytes = payload;
	return count;
}
