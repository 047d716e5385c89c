#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/wire.h"
#include "devices/net/offload_software.h"
#include "devices/vsp/netvsp_internal.h"

/*
 * Frames from the guest.  RNDIS headers and per-packet information are copied once, and so are the
 * headers of the frame, which offloads change; its payload goes from guest memory to the backend.
 */

/* Per-packet information that is looked at; Linux has four of 16 bytes. */
#define INFOS_MAX      256u
#define TCP_FLAG_CWR   0x80
#define ETHERTYPE_VLAN 0x8100
#define IPV6_HEADER    40u
#define IP_LENGTH_MAX  65535u
/* Less payload than that in a segment is nobody's wish. */
#define SEGMENT_MIN    64u

/* A packet's messages, in pieces of guest memory. */
struct stream {
	struct iovec iov[NETVSP_PIECES_MAX];
	unsigned int count;
	uint32_t bytes;
};

/* What the guest says about a frame; 0: nothing. */
struct wishes {
	uint32_t checksum;
	uint32_t large_send;
	uint32_t vlan;
	bool has_vlan;
};

/* The pieces of [offset, offset + bytes), which lies in the stream. */
static int slice(const struct stream *stream, uint32_t offset, uint32_t bytes, struct iovec *iov,
		 unsigned int max)
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < stream->count && bytes > 0; i++) {
		size_t length = stream->iov[i].iov_len;
		size_t part;

		if (offset >= length) {
			offset -= (uint32_t)length;
			continue;
		}
		part = MIN(length - offset, (size_t)bytes);
		if (used == max)
			return -E2BIG;
		iov[used++] = (struct iovec){(uint8_t *)stream->iov[i].iov_base + offset, part};
		bytes -= (uint32_t)part;
		offset = 0;
	}
	return (int)used;
}

static void copy(const struct stream *stream, uint32_t offset, void *data, uint32_t bytes)
{
	struct iovec iov[NETVSP_PIECES_MAX];
	int count = slice(stream, offset, bytes, iov, NETVSP_PIECES_MAX);
	uint8_t *next = data;

	for (int i = 0; i < count; i++) {
		memcpy(next, iov[i].iov_base, iov[i].iov_len);
		next += iov[i].iov_len;
	}
}

static int map_section(const struct netvsp *netvsp, const struct nvsp_rndis *rndis,
		       struct stream *stream)
{
	const struct netvsp_area *area = netvsp->send;
	int count;

	if (!area || rndis->section >= area->bytes / NETVSP_SEND_SECTION ||
	    rndis->section_bytes > NETVSP_SEND_SECTION)
		return -EINVAL;
	count = netvsp_area_pieces(area, rndis->section * NETVSP_SEND_SECTION, rndis->section_bytes,
				   stream->iov, 0, NETVSP_PIECES_MAX);
	if (count < 0)
		return count;
	stream->count = (unsigned int)count;
	stream->bytes = rndis->section_bytes;
	return 0;
}

/* A section of the send buffer, then the packet's own ranges: either may be missing. */
static int map_stream(const struct netvsp_channel *channel, const struct packet *from,
		      const struct nvsp_rndis *rndis, struct stream *stream)
{
	uint32_t bytes;
	int r = 0;

	stream->count = stream->bytes = 0;
	if (rndis->section != NVSP_NO_SECTION)
		r = map_section(channel->netvsp, rndis, stream);
	if (r < 0 || from->type != PACKET_GPA_DIRECT)
		return r;
	r = packet_all_buffers(channel->channel, from, GPA_READ, stream->iov, stream->count,
			       NETVSP_PIECES_MAX, &bytes);
	if (r < 0)
		return r;
	stream->count = (unsigned int)r;
	return __builtin_add_overflow(stream->bytes, bytes, &stream->bytes) ? -EINVAL : 0;
}

static void on_sent(struct net_transmit *transmit, int result)
{
	struct netvsp_transmit *ours = container_of(transmit, struct netvsp_transmit, transmit);
	struct netvsp_channel *channel = ours->channel;

	if (result < 0) {
		netvsp_count(&channel->sent.dropped, 1);
	} else {
		netvsp_count(&channel->sent.frames, 1);
		netvsp_count(&channel->sent.bytes, transmit->bytes);
		netvsp_transmit_timed(ours);
	}
	if (ours->packet)
		netvsp_packet_put(channel, ours->packet);
	netvsp_transmit_give(ours);
}

static void submit(struct netvsp_transmit *transmit, struct netvsp_packet *packet,
		   uint32_t header_bytes, unsigned int payload_count, uint32_t bytes,
		   const struct net_offload *offload)
{
	struct netvsp_channel *channel = transmit->channel;
	struct net_queue *queue = channel->lane->queue;

	if (!channel->clock)
		channel->clock = clock_now_ns();
	transmit->taken = channel->clock;
	transmit->packet = packet;
	transmit->iov[1] = (struct iovec){transmit->header, header_bytes};
	transmit->transmit.iov = transmit->iov;
	transmit->transmit.iov_count = 2 + payload_count;
	transmit->transmit.bytes = bytes;
	transmit->transmit.offload = *offload;
	transmit->transmit.done = on_sent;
	packet->outstanding++;
	netvsp_book(channel->lane, &channel->netvsp->transmit_limit, bytes);
	if (channel->netvsp->capture)
		netvsp_capture_sent(channel->netvsp, transmit);
	queue->port->backend->transmit(queue, &transmit->transmit);
}

/* A frame being prepared: its first bytes are in transmit->header, the rest is in the stream. */
struct outgoing {
	struct netvsp_channel *channel;
	struct netvsp_packet *packet;
	struct netvsp_transmit *transmit;
	const struct stream *stream;
	struct frame frame;
	struct net_offload offload;
	uint32_t header_bytes;
	uint32_t rest_offset; /* in the stream */
	uint32_t rest_bytes;
	uint32_t bytes;		    /* of the frame */
	unsigned int payload_count; /* of the transmit's pieces */
};

static void insert_vlan(struct outgoing *out, uint32_t info)
{
	uint8_t *tag = out->transmit->header + 2 * NET_MAC_BYTES;

	memmove(tag + FRAME_VLAN_BYTES, tag, out->header_bytes - 2 * NET_MAC_BYTES);
	put_be16(tag, ETHERTYPE_VLAN);
	put_be16(tag + 2,
		 (uint16_t)((info & 7) << 13 | (info >> 3 & 1) << 12 | (info >> 4 & 0xfff)));
	out->header_bytes += FRAME_VLAN_BYTES;
	out->bytes += FRAME_VLAN_BYTES;
}

/* Leaves only headers in the private copy, so that all payload is in the stream. */
static void split_at_payload(struct outgoing *out)
{
	uint32_t back = out->header_bytes - out->frame.payload;

	out->header_bytes -= back;
	out->rest_offset -= back;
	out->rest_bytes += back;
}

/* The guest leaves lengths and the length in the pseudo header's sum out (LSO v2). */
static void fix_lengths(struct outgoing *out)
{
	uint8_t *header = out->transmit->header, *ip = header + out->frame.ip_offset;
	uint32_t ip_bytes = out->bytes - out->frame.ip_offset;
	uint64_t sum;

	if (out->frame.ip == FRAME_IPV4) {
		put_be16(ip + 2, (uint16_t)ip_bytes);
		net_checksum_ipv4(ip);
	} else {
		put_be16(ip + 4, (uint16_t)(ip_bytes - IPV6_HEADER));
	}
	sum = net_checksum_pseudo(header, &out->frame, out->bytes - out->frame.transport);
	put_be16(header + out->frame.transport + FRAME_TCP_CHECKSUM, net_checksum_fold(sum));
}

static int prepare_large_send(struct outgoing *out, uint32_t wish, uint32_t shift)
{
	uint32_t mss = wish & 0xfffff, tcp = wish >> 20 & 0x3ff;
	struct net_offload *offload = &out->offload;
	const struct frame *frame = &out->frame;

	if (frame->protocol != FRAME_PROTOCOL_TCP || !frame->transport ||
	    (tcp && tcp + shift != frame->transport) || mss < SEGMENT_MIN || mss > UINT16_MAX ||
	    out->bytes - frame->ip_offset > IP_LENGTH_MAX)
		return -EINVAL;
	split_at_payload(out);
	fix_lengths(out);
	offload->needs_csum = true;
	offload->csum_start = frame->transport;
	offload->csum_offset = FRAME_TCP_CHECKSUM;
	if (out->bytes - frame->payload <= mss)
		return 0;
	offload->gso = frame->ip == FRAME_IPV4 ? NET_GSO_TCP4 : NET_GSO_TCP6;
	offload->gso_size = (uint16_t)mss;
	offload->header_size = frame->payload;
	offload->ecn = out->transmit->header[frame->transport + 13] & TCP_FLAG_CWR;
	return 0;
}

static int prepare_checksum(struct outgoing *out, uint32_t wish, uint32_t shift)
{
	uint32_t start = wish >> 16 & 0x3ff;
	struct net_offload *offload = &out->offload;

	if (wish & NDIS_CHECKSUM_SEND_HEADER && out->frame.ip == FRAME_IPV4)
		net_checksum_ipv4(out->transmit->header + out->frame.ip_offset);
	if (!(wish & (NDIS_CHECKSUM_SEND_TCP | NDIS_CHECKSUM_SEND_UDP)))
		return 0;
	start = start ? start + shift : out->frame.transport;
	offload->csum_offset =
		wish & NDIS_CHECKSUM_SEND_TCP ? FRAME_TCP_CHECKSUM : FRAME_UDP_CHECKSUM;
	if (start < FRAME_ETHERNET_BYTES ||
	    !range_within(start + offload->csum_offset, 2, out->header_bytes))
		return -EINVAL;
	offload->csum_start = (uint16_t)start;
	offload->needs_csum = true;
	return 0;
}

static unsigned int needed_offloads(const struct net_offload *offload)
{
	static const unsigned int gso[] = {
		[NET_GSO_TCP4] = NET_OFFLOAD_TSO4, [NET_GSO_TCP6] = NET_OFFLOAD_TSO6};

	return gso[offload->gso] | (offload->needs_csum ? NET_OFFLOAD_CSUM : 0) |
	       (offload->ecn ? NET_OFFLOAD_ECN : 0);
}

/* Each segment has headers of its own; the first transmit keeps those of the whole frame. */
static int send_segments(struct outgoing *out)
{
	static const struct net_offload none;
	struct netvsp_transmit *whole = out->transmit;
	struct net_segmenter segmenter;
	uint32_t bytes;
	int r;

	if (out->rest_bytes / out->offload.gso_size >= NETVSP_SEGMENTS_MAX)
		return -EMSGSIZE;
	r = net_segmenter_init(&segmenter, whole->header, &out->frame, whole->iov + 2,
			       out->payload_count, out->rest_bytes, out->offload.gso_size);
	while (r >= 0) {
		struct netvsp_transmit *transmit = netvsp_transmit_take(out->channel);

		r = transmit ? net_segmenter_next(&segmenter, transmit->header, transmit->iov + 2,
						  NETVSP_PIECES_MAX, &bytes)
			     : -ENOBUFS;
		if (r >= 0)
			submit(transmit, out->packet, segmenter.header_bytes, (unsigned int)r,
			       segmenter.header_bytes + bytes, &none);
		else if (transmit)
			netvsp_transmit_give(transmit);
	}
	netvsp_transmit_give(whole);
	return 0;
}

static int send_prepared(struct outgoing *out)
{
	struct netvsp_transmit *transmit = out->transmit;
	unsigned int there = out->channel->netvsp->port->transmit_offloads;
	int count = slice(out->stream, out->rest_offset, out->rest_bytes, transmit->iov + 2,
			  NETVSP_PIECES_MAX);
	int r = 0;

	if (count < 0)
		return count;
	if (needed_offloads(&out->offload) & ~there) {
		out->payload_count = (unsigned int)count;
		if (out->offload.gso != NET_GSO_NONE)
			return send_segments(out);
		r = net_offload_checksum(transmit->header, out->header_bytes, transmit->iov + 2,
					 (unsigned int)count, &out->offload);
		out->offload = (struct net_offload){0};
	}
	if (r < 0)
		return r;
	submit(transmit, out->packet, out->header_bytes, (unsigned int)count, out->bytes,
	       &out->offload);
	return 0;
}

static int send_frame(struct netvsp_channel *channel, struct netvsp_packet *packet,
		      const struct stream *stream, uint32_t offset, uint32_t bytes,
		      const struct wishes *wishes)
{
	struct outgoing out = {
		.channel = channel,
		.packet = packet,
		.stream = stream,
		.header_bytes = MIN(bytes, FRAME_HEADER_MAX),
		.bytes = bytes,
	};
	uint32_t shift = wishes->has_vlan ? FRAME_VLAN_BYTES : 0;
	int r = 0;

	if (bytes < FRAME_ETHERNET_BYTES || bytes + shift > NET_FRAME_MAX)
		return -EINVAL;
	out.transmit = netvsp_transmit_take(channel);
	if (!out.transmit)
		return -ENOBUFS;
	copy(stream, offset, out.transmit->header, out.header_bytes);
	out.rest_offset = offset + out.header_bytes;
	out.rest_bytes = bytes - out.header_bytes;
	if (wishes->has_vlan)
		insert_vlan(&out, wishes->vlan);
	frame_parse(out.transmit->header, out.header_bytes, &out.frame);
	if (wishes->large_send)
		r = prepare_large_send(&out, wishes->large_send, shift);
	else if (wishes->checksum)
		r = prepare_checksum(&out, wishes->checksum, shift);
	if (r == 0)
		r = send_prepared(&out);
	if (r < 0)
		netvsp_transmit_give(out.transmit);
	return r;
}

static void take_wish(struct wishes *wishes, uint32_t type, uint32_t value)
{
	switch (type) {
	case RNDIS_INFO_CHECKSUM:
		wishes->checksum = value;
		break;
	case RNDIS_INFO_LARGE_SEND:
		wishes->large_send = value;
		break;
	case RNDIS_INFO_VLAN:
		wishes->vlan = value;
		wishes->has_vlan = true;
		break;
	}
}

/* data: a private copy of the per-packet information. */
static int read_wishes(const uint8_t *data, uint32_t bytes, struct wishes *wishes)
{
	while (bytes > 0) {
		struct rndis_info info;

		if (bytes < sizeof(info))
			return -EINVAL;
		memcpy(&info, data, sizeof(info));
		if (info.size < sizeof(info) || info.size > bytes)
			return -EINVAL;
		if (range_within(info.offset, sizeof(uint32_t), info.size))
			take_wish(wishes, info.type, get_le32(data + info.offset));
		data += info.size;
		bytes -= info.size;
	}
	return 0;
}

/* One message at offset; its length, or -errno. */
static int64_t send_message(struct netvsp_channel *channel, struct netvsp_packet *packet,
			    const struct stream *stream, uint32_t offset)
{
	struct {
		struct rndis_header header;
		struct rndis_packet packet;
	} __attribute__((packed)) message;
	struct wishes wishes = {0};
	uint8_t infos[INFOS_MAX];
	uint32_t body;
	int r;

	if (!range_within(offset, sizeof(message), stream->bytes))
		return -EINVAL;
	copy(stream, offset, &message, sizeof(message));
	if (message.header.type != RNDIS_PACKET || message.header.length < sizeof(message) ||
	    !range_within(offset, message.header.length, stream->bytes))
		return -EINVAL;
	body = message.header.length - (uint32_t)sizeof(message.header);
	if (!range_within(message.packet.data_offset, message.packet.data_length, body) ||
	    !range_within(message.packet.info_offset, message.packet.info_length, body) ||
	    message.packet.info_length > sizeof(infos))
		return -EINVAL;
	offset += sizeof(message.header);
	copy(stream, offset + message.packet.info_offset, infos, message.packet.info_length);
	r = read_wishes(infos, message.packet.info_length, &wishes);
	if (r == 0)
		r = send_frame(channel, packet, stream, offset + message.packet.data_offset,
			       message.packet.data_length, &wishes);
	return r < 0 ? r : (int64_t)message.header.length;
}

static uint32_t send_messages(struct netvsp_channel *channel, struct netvsp_packet *packet,
			      const struct stream *stream)
{
	uint32_t offset = 0;

	for (unsigned int i = 0; i < NETVSP_MESSAGES_MAX; i++) {
		int64_t length = send_message(channel, packet, stream, offset);

		if (length < 0)
			break;
		offset += (uint32_t)length;
		if (offset == stream->bytes)
			return NVSP_STATUS_SUCCESS;
	}
	netvsp_count(&channel->sent.invalid, 1);
	return NVSP_STATUS_INVALID_PACKET;
}

static uint32_t control_message(struct netvsp *netvsp, const struct stream *stream)
{
	_Alignas(8) uint8_t data[NETVSP_CONTROL_MAX];

	if (stream->bytes > sizeof(data))
		return NVSP_STATUS_INVALID_PACKET;
	copy(stream, 0, data, stream->bytes);
	return netvsp_handle_control(netvsp, data, stream->bytes);
}

void netvsp_transmit_messages(struct netvsp_channel *channel, const struct packet *from,
			      const struct nvsp_rndis *rndis, struct netvsp_packet *packet)
{
	struct netvsp *netvsp = channel->netvsp;
	struct stream stream;
	int r = map_stream(channel, from, rndis, &stream);

	if (r == 0 && channel_traced(channel->channel))
		channel_trace_memory(channel->channel, false, from->transaction_id, stream.iov,
				     stream.count);
	if (r < 0) {
		netvsp_count(&channel->sent.invalid, 1);
		packet->answer.rndis_status = NVSP_STATUS_INVALID_PACKET;
	} else if (rndis->channel_type == NVSP_CHANNEL_CONTROL) {
		packet->answer.rndis_status = channel->index == 0 ? control_message(netvsp, &stream)
								  : NVSP_STATUS_INVALID_PACKET;
	} else {
		packet->answer.rndis_status = send_messages(channel, packet, &stream);
	}
}
