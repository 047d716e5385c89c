#pragma once

#include "devices/net/net.h"

/* The backends that table.c lists; everyone else asks net_backend_find. */

/*
 * No network at all: forgets what is sent (null.c).  Its configuration may have "queues" (1),
 * "mtu" (1500), "offloads" (true), "echo": true (what is sent comes back, received on the same
 * queue, unless it asks for offloads that were not set) and "generate": N (frames of N bytes come
 * for ever, as fast as there are buffers).
 */
extern const struct net_backend net_null;

/*
 * Taps of the host (tap.c): "fds", one a queue, with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR, a header
 * of struct virtio_net_hdr, and O_NONBLOCK; "mtu" of the interface; "name" for sentences.
 */
extern const struct net_backend net_tap;

/*
 * A stream socket (stream.c) whose peer speaks as QEMU's -netdev stream and passt do: each frame
 * after its length, 4 bytes, big-endian.  "fds" has it alone.  A peer that closes, or sends what
 * cannot be a frame, takes the link down for good; frames for one that has taken nothing for a
 * second are dropped.
 */
extern const struct net_backend net_stream;
