#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/offload_software.h"
#include "devices/vsp/netvsp_internal.h"

/*
 * Frames to the guest.  A frame was read straight into sections of the receive buffer; its headers
 * are copied once for what is decided by them, and the RNDIS header is put before it.  What a
 * hostile guest writes there meanwhile reaches nobody but itself.
 */

/* As much of a frame as decides where it goes. */
#define HEADER_COPY 128u

/* The message at the start of a section; per-packet information fills up the room. */
struct message {
	struct rndis_header header;
	struct rndis_packet packet;
	uint8_t infos[NETVSP_ROOM - sizeof(struct rndis_header) - sizeof(struct rndis_packet)];
} __attribute__((packed));
static_assert(sizeof(struct message) == NETVSP_ROOM, "fills the room");

static bool listed(const struct netvsp_settings *settings, const uint8_t *address)
{
	for (uint32_t i = 0; i < settings->multicast_count; i++)
		if (memcmp(settings->multicast[i], address, NET_MAC_BYTES) == 0)
			return true;
	return false;
}

static bool wanted(const struct netvsp_settings *settings, const uint8_t *address)
{
	static const uint8_t broadcast[NET_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint32_t filter = settings->filter;

	if (filter & NDIS_FILTER_PROMISCUOUS)
		return true;
	if (!(address[0] & 1))
		return filter & NDIS_FILTER_DIRECTED &&
		       memcmp(address, settings->mac, NET_MAC_BYTES) == 0;
	if (memcmp(address, broadcast, NET_MAC_BYTES) == 0)
		return filter & NDIS_FILTER_BROADCAST;
	return filter & NDIS_FILTER_ALL_MULTICAST ||
	       (filter & NDIS_FILTER_MULTICAST && listed(settings, address));
}

/* The hash that the guest asked for, of what the frame has; false: it has none. */
static bool hash_frame(const struct netvsp_lane *lane, const uint8_t *header,
		       const struct frame *frame, uint32_t *hash)
{
	uint32_t types = lane->settings.hash_types;
	bool ip4 = frame->ip == FRAME_IPV4;
	size_t addresses = ip4 ? 8 : 32;
	bool ports = frame->protocol == FRAME_PROTOCOL_TCP && frame->transport &&
		     types & (ip4 ? NDIS_HASH_TCP_IPV4 : NDIS_HASH_TCP_IPV6);
	uint8_t input[TOEPLITZ_INPUT_BYTES];

	if (frame->ip == FRAME_NOT_IP ||
	    (!ports && !(types & (ip4 ? NDIS_HASH_IPV4 : NDIS_HASH_IPV6))))
		return false;
	memcpy(input, header + frame->ip_offset + (ip4 ? 12 : 8), addresses);
	if (ports)
		memcpy(input + addresses, header + frame->transport, 4);
	*hash = toeplitz_hash(&lane->toeplitz, input, addresses + (ports ? 4 : 0));
	return true;
}

static struct netvsp_channel *choose_channel(const struct netvsp_lane *lane, bool hashed,
					     uint32_t hash)
{
	const struct netvsp_settings *settings = &lane->settings;
	struct netvsp_channel *channel = &lane->netvsp->channels[0];

	if (hashed && settings->table_entries > 0)
		channel = &lane->netvsp->channels[settings->table[hash % settings->table_entries]];
	return channel->open ? channel : &lane->netvsp->channels[0];
}

static void add_info(struct message *message, uint32_t type, uint32_t value)
{
	struct rndis_info info = {sizeof(info) + sizeof(value), type, sizeof(info)};
	uint8_t *at = message->infos + message->packet.info_length;

	memcpy(at, &info, sizeof(info));
	memcpy(at + sizeof(info), &value, sizeof(value));
	message->packet.info_offset = sizeof(message->packet);
	message->packet.info_length += info.size;
}

/* A checksum that was still to be made is as good as one found right: the frame never was on a
 * wire. */
static void add_checksum(struct message *message, const struct frame *frame,
			 const struct net_offload *offload)
{
	if ((!offload->needs_csum && !offload->csum_valid) || !frame->transport)
		return;
	add_info(message, RNDIS_INFO_CHECKSUM,
		 frame->protocol == FRAME_PROTOCOL_TCP ? NDIS_CHECKSUM_TCP_GOOD
						       : NDIS_CHECKSUM_UDP_GOOD);
}

/* Priority, CFI and id, in RNDIS's order of bits. */
static uint32_t vlan_info(uint16_t tag)
{
	return (uint32_t)tag >> 13 | (tag >> 12 & 1u) << 3 | (tag & 0xfffu) << 4;
}

struct incoming {
	struct netvsp_lane *lane;
	const struct netvsp_receive *receive;
	uint8_t header[HEADER_COPY];
	struct frame frame;
	const struct net_offload *offload;
	bool hashed;
	uint32_t hash;
	uint32_t bytes;
	uint32_t data_max; /* of a section */
};

/* What lies of the frame in its sections behind the header's private copy. */
static int frame_pieces(const struct incoming *in, uint32_t first, uint32_t have, struct iovec *iov)
{
	uint32_t left = in->bytes - have, skip = have;
	int used = 0;

	for (uint32_t i = first; used >= 0 && left > 0; i = in->receive->sections[i].next) {
		uint32_t part = MIN(left, in->data_max - skip);

		used = netvsp_area_pieces(&in->receive->area,
					  i * in->receive->section_bytes + NETVSP_ROOM + skip, part,
					  iov, (unsigned int)used, NETVSP_BUFFER_PIECES);
		left -= part;
		skip = 0;
	}
	return used;
}

/*
 * Makes the checksum that a frame lacks, as one of its whole length where it was aggregated: a
 * guest that does not trust its NIC, which it does not tell, looks at it, and one that forwards the
 * frame sends it on.
 */
static void complete_checksum(struct incoming *in, uint32_t first, uint32_t have)
{
	const struct net_offload *offload = in->offload;
	uint32_t place = (uint32_t)offload->csum_start + offload->csum_offset;
	struct iovec iov[NETVSP_BUFFER_PIECES];
	int count;

	if (!offload->needs_csum || offload->csum_start > have)
		return;
	count = frame_pieces(in, first, have, iov);
	if (count < 0 ||
	    net_offload_checksum(in->header, have, iov, (unsigned int)count, offload) < 0)
		return;
	netvsp_area_write(&in->receive->area,
			  first * in->receive->section_bytes + NETVSP_ROOM + place,
			  in->header + place, 2);
}

static void describe_frame(struct incoming *in, struct message *message, uint32_t offset)
{
	add_checksum(message, &in->frame, in->offload);
	if (in->hashed)
		add_info(message, RNDIS_INFO_HASH, in->hash);
	if (!in->frame.vlan || !in->lane->settings.strip_vlan)
		return;
	add_info(message, RNDIS_INFO_VLAN, vlan_info(in->frame.vlan_tag));
	/* The addresses move over the tag. */
	netvsp_area_write(&in->receive->area, offset + NETVSP_ROOM + FRAME_VLAN_BYTES, in->header,
			  2 * NET_MAC_BYTES);
	message->packet.data_offset += FRAME_VLAN_BYTES;
	message->packet.data_length -= FRAME_VLAN_BYTES;
}

/* Puts the header before what lies in the section. */
static void write_message(struct incoming *in, uint32_t section, uint32_t done, uint32_t data)
{
	struct message message = {
		.header = {RNDIS_PACKET, NETVSP_ROOM + data},
		.packet = {.data_offset = NETVSP_ROOM - sizeof(message.header),
			   .data_length = data},
	};
	uint32_t offset = section * in->receive->section_bytes;

	if (done == 0)
		describe_frame(in, &message, offset);
	if (in->bytes > in->data_max)
		add_info(&message, RNDIS_INFO_FRAGMENT,
			 RNDIS_FRAGMENT_VERSION |
				 (RNDIS_FRAGMENT_PART | (done == 0 ? RNDIS_FRAGMENT_FIRST : 0) |
				  (done + data == in->bytes ? RNDIS_FRAGMENT_LAST : 0))
					 << 8);
	netvsp_area_write(&in->receive->area, offset, &message, sizeof(message));
	in->receive->sections[section].bytes = (uint16_t)message.header.length;
}

/* Returns the sections that the frame does not fill. */
static void write_messages(struct incoming *in, uint32_t first)
{
	uint32_t section = first, done = 0;

	for (;;) {
		uint32_t data = MIN(in->bytes - done, in->data_max);

		write_message(in, section, done, data);
		done += data;
		if (done == in->bytes)
			break;
		section = in->receive->sections[section].next;
	}
	netvsp_sections_return(in->lane->netvsp, in->receive->sections[section].next);
	in->receive->sections[section].next = NETVSP_SECTION_NONE;
}

static void append_frame(struct netvsp_section *sections, uint32_t *first, uint32_t *last,
			 uint32_t frame)
{
	sections[frame].next_frame = NETVSP_SECTION_NONE;
	if (*first == NETVSP_SECTION_NONE)
		*first = frame;
	else
		sections[*last].next_frame = frame;
	*last = frame;
}

/* The message of the first range. */
static void trace_first(struct netvsp_channel *channel, uint64_t transaction_id,
			const struct vmbus_transfer_range *range)
{
	struct iovec iov[NETVSP_PIECES_MAX];
	int count = netvsp_area_pieces(&channel->netvsp->receive_area->area, range->byte_offset,
				       range->byte_count, iov, 0, NETVSP_PIECES_MAX);

	if (count > 0)
		channel_trace_memory(channel->channel, true, transaction_id, iov,
				     (unsigned int)count);
}

static int send_ranges(struct netvsp_channel *channel, uint64_t transaction_id,
		       const struct vmbus_transfer_range *ranges, uint32_t count, uint32_t type)
{
	const struct nvsp_message message = {
		.type = NVSP_RNDIS,
		.rndis = {.channel_type = type, .section = NVSP_NO_SECTION},
	};

	int r = channel_send_transfer_pages(channel->channel, PACKET_FLAG_COMPLETION_REQUESTED,
					    transaction_id, channel->netvsp->receive_area->area.id,
					    ranges, count, &message, sizeof(message));

	if (r == 0 && channel_traced(channel->channel))
		trace_first(channel, transaction_id, ranges);
	return r;
}

/* Sends the packet in the making. */
static void send_packet(struct netvsp_channel *channel)
{
	int r;

	if (channel->range_count == 0 || channel->ring_full || !channel->lane->running)
		return;
	r = send_ranges(channel, channel->packet_first, channel->ranges, channel->range_count,
			NVSP_CHANNEL_DATA);
	channel->ring_full = r == -EAGAIN;
	if (r == -EAGAIN)
		return;
	if (r == 0)
		channel->netvsp->receive_area->sections[channel->packet_first].sent_on =
			(uint8_t)(channel->index + 1);
	else
		netvsp_sections_return(channel->netvsp, channel->packet_first);
	channel->range_count = 0;
	channel->packet_first = channel->packet_last = NETVSP_SECTION_NONE;
}

static uint32_t count_sections(const struct netvsp_section *sections, uint32_t first)
{
	uint32_t count = 0;

	for (; first != NETVSP_SECTION_NONE; first = sections[first].next)
		count++;
	return count;
}

/* False if the frame has to wait. */
static bool add_to_packet(struct netvsp_channel *channel, uint32_t first)
{
	const struct netvsp_receive *receive = channel->netvsp->receive_area;

	if (channel->range_count + count_sections(receive->sections, first) > NETVSP_RANGES_MAX)
		send_packet(channel);
	if (channel->range_count + count_sections(receive->sections, first) > NETVSP_RANGES_MAX)
		return false;
	if (channel->range_count == 0)
		channel->packet_first = first;
	else
		receive->sections[channel->packet_last].next = first;
	for (uint32_t i = first; i != NETVSP_SECTION_NONE; i = receive->sections[i].next) {
		channel->ranges[channel->range_count++] = (struct vmbus_transfer_range){
			receive->sections[i].bytes, i * receive->section_bytes};
		channel->packet_last = i;
	}
	return true;
}

void netvsp_frames_flush(struct netvsp_channel *channel)
{
	while (channel->backlog_first != NETVSP_SECTION_NONE) {
		uint32_t first = channel->backlog_first;
		uint32_t next = channel->netvsp->receive_area->sections[first].next_frame;

		if (!add_to_packet(channel, first))
			return;
		channel->backlog_first = next;
	}
	send_packet(channel);
}

/* The channel's thread. */
static void push_frame(struct netvsp_channel *channel, uint32_t first)
{
	struct netvsp_section *sections = channel->netvsp->receive_area->sections;

	if (!channel->open) {
		netvsp_sections_return(channel->netvsp, first);
		return;
	}
	netvsp_count(&channel->received.frames, 1);
	netvsp_count(&channel->received.bytes, sections[first].frame_bytes);
	if (channel->backlog_first != NETVSP_SECTION_NONE || !add_to_packet(channel, first))
		append_frame(sections, &channel->backlog_first, &channel->backlog_last, first);
	io_thread_batch_end(channel->lane->thread, &channel->batch);
}

static void inbox_run(struct io_post *post)
{
	struct netvsp_channel *channel = container_of(post, struct netvsp_channel, inbox);
	uint32_t first;

	pthread_mutex_lock(&channel->inbox_lock);
	first = channel->inbox_first;
	channel->inbox_first = NETVSP_SECTION_NONE;
	channel->inbox_posted = false;
	pthread_mutex_unlock(&channel->inbox_lock);
	while (first != NETVSP_SECTION_NONE) {
		uint32_t next = channel->netvsp->receive_area->sections[first].next_frame;

		push_frame(channel, first);
		first = next;
	}
}

static void hand_over(struct netvsp_channel *channel, uint32_t first)
{
	bool post;

	pthread_mutex_lock(&channel->inbox_lock);
	append_frame(channel->netvsp->receive_area->sections, &channel->inbox_first,
		     &channel->inbox_last, first);
	post = !channel->inbox_posted;
	channel->inbox_posted = true;
	pthread_mutex_unlock(&channel->inbox_lock);
	if (post)
		io_thread_post(channel->lane->thread, &channel->inbox);
}

/* Whether the guest can be given such a frame. */
static bool acceptable(const struct incoming *in, uint32_t capacity)
{
	if (in->bytes <= in->data_max)
		return in->offload->gso == NET_GSO_NONE || in->lane->settings.rsc;
	return in->lane->settings.rsc && capacity > in->data_max;
}

void netvsp_receive_frame(struct netvsp_lane *lane, uint32_t first, uint32_t bytes,
			  uint32_t capacity, const struct net_offload *offload)
{
	struct incoming in = {
		.lane = lane,
		.receive = lane->netvsp->receive_area,
		.offload = offload,
		.bytes = bytes,
	};
	struct netvsp_channel *channel;
	uint32_t have;

	in.data_max = in.receive->section_bytes - NETVSP_ROOM;
	have = MIN(bytes, HEADER_COPY);
	netvsp_area_read(&in.receive->area, first * in.receive->section_bytes + NETVSP_ROOM,
			 in.header, have);
	netvsp_lane_settings(lane);
	if (!wanted(&lane->settings, in.header)) {
		netvsp_count(&lane->filtered, 1);
		netvsp_sections_return(lane->netvsp, first);
		return;
	}
	if (!acceptable(&in, capacity)) {
		netvsp_count(&lane->malformed, 1);
		netvsp_sections_return(lane->netvsp, first);
		return;
	}
	complete_checksum(&in, first, have);
	if (lane->netvsp->capture)
		netvsp_capture_received(lane->netvsp, in.receive, first, bytes);
	frame_parse(in.header, have, &in.frame);
	in.hashed = lane->settings.hash_types && hash_frame(lane, in.header, &in.frame, &in.hash);
	channel = choose_channel(lane, in.hashed, in.hash);
	write_messages(&in, first);
	in.receive->sections[first].frame_bytes = bytes;
	if (channel->lane->thread == lane->thread)
		push_frame(channel, first);
	else
		hand_over(channel, first);
}

int netvsp_send_control(struct netvsp *netvsp, const void *data, uint32_t bytes)
{
	const struct netvsp_receive *receive = netvsp->receive;
	struct vmbus_transfer_range range = {.byte_count = bytes};
	uint32_t section;
	int r;

	if (!receive)
		return -ENODEV;
	section = netvsp_sections_take(&netvsp->lanes[0], 1, 0);
	if (section == NETVSP_SECTION_NONE)
		return -EAGAIN;
	range.byte_offset = section * receive->section_bytes;
	netvsp_area_write(&receive->area, range.byte_offset, data, bytes);
	r = send_ranges(&netvsp->channels[0], section, &range, 1, NVSP_CHANNEL_CONTROL);
	if (r == 0)
		receive->sections[section].sent_on = 1;
	else
		netvsp_sections_return(netvsp, section);
	return r;
}

void netvsp_frames_done(struct netvsp_channel *channel, uint64_t transaction_id)
{
	const struct netvsp_receive *receive = channel->netvsp->receive_area;

	if (!receive || transaction_id >= receive->section_count ||
	    receive->sections[transaction_id].sent_on != channel->index + 1) {
		netvsp_count(&channel->received.invalid, 1);
		return;
	}
	netvsp_sections_return(channel->netvsp, (uint32_t)transaction_id);
}

void netvsp_frames_drop(struct netvsp_channel *channel)
{
	struct netvsp_receive *receive = channel->netvsp->receive_area;

	if (channel->range_count > 0)
		netvsp_sections_return(channel->netvsp, channel->packet_first);
	while (channel->backlog_first != NETVSP_SECTION_NONE) {
		uint32_t first = channel->backlog_first;

		channel->backlog_first = receive->sections[first].next_frame;
		netvsp_sections_return(channel->netvsp, first);
	}
	netvsp_frames_init(channel);
	for (uint32_t i = 0; receive && i < receive->section_count; i++)
		if (receive->sections[i].sent_on == channel->index + 1)
			netvsp_sections_return(channel->netvsp, i);
}

void netvsp_frames_init(struct netvsp_channel *channel)
{
	channel->range_count = 0;
	channel->packet_first = channel->packet_last = NETVSP_SECTION_NONE;
	channel->backlog_first = channel->backlog_last = NETVSP_SECTION_NONE;
}

void netvsp_inbox_init(struct netvsp_channel *channel)
{
	pthread_mutex_init(&channel->inbox_lock, NULL);
	channel->inbox.run = inbox_run;
	channel->inbox_first = channel->inbox_last = NETVSP_SECTION_NONE;
}
