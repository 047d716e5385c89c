#pragma once

#include "devices/net/toeplitz.h"
#include "suite.h"
#include "vsc_net.h"

/* A NIC of VPS channels with a backend that echoes or generates, and the frames that go through
 * it; what is not as it should be fails the test. */

#define VPS	    4u
#define PROMISCUOUS NDIS_FILTER_PROMISCUOUS
#define HEADERS	    54u /* Ethernet, IPv4, TCP */
#define MAC	    "52:54:00:12:34:56"
#define LSO_BYTES   (HEADERS + 20000u)
#define LSO_MSS	    1400u

extern const uint8_t rig_mac[6]; /* MAC */
extern struct vsc_net net;
extern uint8_t frame[VSC_NET_FRAME_MAX]; /* the last one made */

/* A NIC with that and the null backend, opened; brought up where there is a version.  Consumes
 * more. */
void rig_start(json_t *more, unsigned int io_threads, uint32_t version, uint32_t mtu);
/* Which frames the guest wants: NDIS_FILTER_ bits. */
void rig_set_filter(uint32_t filter);
/* A NIC that sends back all that it is sent; without offloads, in the state that it is sent on. */
void rig_start_echo(bool offloads);
/* A frame to ourselves whose bytes depend on the seed. */
void rig_make_plain(uint32_t bytes, unsigned int seed);
/* TCP over IPv4 with the pseudo header's sum in its place; without lengths as LSO leaves them. */
void rig_make_tcp(uint32_t bytes, uint16_t port, bool lso);
/* Lengths and checksums are right. */
void rig_expect_good_tcp(const struct vsc_net_frame *got);
/* The next frame is the one in frame. */
void rig_expect_echo(uint32_t bytes);
/* The value of an object of four bytes. */
uint32_t rig_query_u32(uint32_t oid);
/* What sends LSO_BYTES in segments of LSO_MSS. */
struct vsc_net_send rig_large_send(void);
/* NDIS_RSC_ENABLED or NDIS_RSC_DISABLED, for both IP versions; returns the RNDIS status. */
uint32_t rig_set_rsc(uint8_t value);
/* As many as there are VPs, each served by a channel of its own. */
void rig_open_subchannels(void);
/* A Toeplitz key of 40 bytes. */
void rig_make_key(uint8_t *key);
/* Of what rig_make_tcp made. */
uint32_t rig_expected_hash(const struct toeplitz *toeplitz);
