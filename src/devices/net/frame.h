#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is in an Ethernet frame, by a private copy of its first bytes. */

#define FRAME_ETHERNET_BYTES 14u
#define FRAME_VLAN_BYTES     4u
/* A copy of so many bytes holds all headers that are looked at. */
#define FRAME_HEADER_MAX     256u

#define FRAME_PROTOCOL_TCP 6u
#define FRAME_PROTOCOL_UDP 17u

/* Where a TCP or UDP checksum lies in its header. */
#define FRAME_TCP_CHECKSUM 16u
#define FRAME_UDP_CHECKSUM 6u

enum frame_ip { FRAME_NOT_IP, FRAME_IPV4, FRAME_IPV6 };

struct frame {
	bool vlan; /* a tag follows the addresses */
	uint16_t vlan_tag;
	enum frame_ip ip;
	uint16_t ip_offset;
	uint8_t protocol;   /* of IP, behind IPv6's extensions; 0 if unknown */
	bool fragment;	    /* a part of a datagram: no ports to be seen */
	uint16_t transport; /* offset of the TCP or UDP header; 0: none that is all there */
	uint16_t payload;   /* offset behind all headers; 0 likewise */
};

/* header: the first bytes bytes of the frame; what lies behind them is not known.  Any thread. */
void frame_parse(const uint8_t *header, size_t bytes, struct frame *frame);
