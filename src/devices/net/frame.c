#include "devices/net/frame.h"

#include "base/checked.h"
#include "base/wire.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100

#define IPV4_HEADER_MIN 20u
#define IPV6_HEADER	40u
#define TCP_HEADER_MIN	20u
#define UDP_HEADER	8u

#define IPV6_HOP_BY_HOP	    0
#define IPV6_ROUTING	    43
#define IPV6_FRAGMENT	    44
#define IPV6_DESTINATION    60
/* A guest may write as many as it likes. */
#define IPV6_EXTENSIONS_MAX 8

static void parse_transport(const uint8_t *header, size_t bytes, size_t offset, struct frame *frame)
{
	size_t size;

	if (frame->fragment)
		return;
	if (frame->protocol == FRAME_PROTOCOL_TCP) {
		if (!range_within(offset, TCP_HEADER_MIN, bytes))
			return;
		size = (header[offset + 12] >> 4) * 4u;
		if (size < TCP_HEADER_MIN)
			return;
	} else if (frame->protocol == FRAME_PROTOCOL_UDP) {
		size = UDP_HEADER;
	} else {
		return;
	}
	if (!range_within(offset, size, bytes))
		return;
	frame->transport = (uint16_t)offset;
	frame->payload = (uint16_t)(offset + size);
}

static void parse_ipv4(const uint8_t *header, size_t bytes, size_t offset, struct frame *frame)
{
	size_t size;

	if (!range_within(offset, IPV4_HEADER_MIN, bytes) || header[offset] >> 4 != 4)
		return;
	size = (header[offset] & 15) * 4u;
	if (size < IPV4_HEADER_MIN || !range_within(offset, size, bytes))
		return;
	frame->ip = FRAME_IPV4;
	frame->ip_offset = (uint16_t)offset;
	frame->protocol = header[offset + 9];
	/* More fragments, or not the first. */
	frame->fragment = get_be16(header + offset + 6) & 0x3fff;
	parse_transport(header, bytes, offset + size, frame);
}

static void parse_ipv6(const uint8_t *header, size_t bytes, size_t offset, struct frame *frame)
{
	uint8_t next;

	if (!range_within(offset, IPV6_HEADER, bytes) || header[offset] >> 4 != 6)
		return;
	frame->ip = FRAME_IPV6;
	frame->ip_offset = (uint16_t)offset;
	next = header[offset + 6];
	offset += IPV6_HEADER;
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		size_t size;

		if (next != IPV6_HOP_BY_HOP && next != IPV6_ROUTING && next != IPV6_DESTINATION &&
		    next != IPV6_FRAGMENT)
			break;
		if (!range_within(offset, 8, bytes))
			return;
		frame->fragment |= next == IPV6_FRAGMENT;
		size = next == IPV6_FRAGMENT ? 8 : (header[offset + 1] + 1u) * 8u;
		next = header[offset];
		offset += size;
	}
	frame->protocol = next;
	parse_transport(header, bytes, offset, frame);
}

void frame_parse(const uint8_t *header, size_t bytes, struct frame *frame)
{
	size_t offset = FRAME_ETHERNET_BYTES;
	uint16_t type;

	*frame = (struct frame){.ip = FRAME_NOT_IP};
	if (bytes < FRAME_ETHERNET_BYTES)
		return;
	type = get_be16(header + 12);
	if (type == ETHERTYPE_VLAN && bytes >= offset + FRAME_VLAN_BYTES) {
		frame->vlan = true;
		frame->vlan_tag = get_be16(header + offset);
		type = get_be16(header + offset + 2);
		offset += FRAME_VLAN_BYTES;
	}
	if (type == ETHERTYPE_IPV4)
		parse_ipv4(header, bytes, offset, frame);
	else if (type == ETHERTYPE_IPV6)
		parse_ipv6(header, bytes, offset, frame);
}
