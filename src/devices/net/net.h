#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <jansson.h>

#include "base/error.h"
#include "base/io_thread.h"
#include "base/state.h"

/*
 * NIC backends: where a virtual NIC's frames go to and come from.  A net_port is a host interface,
 * or a peer, whose descriptors were opened by the worker's parent; it has one queue or several.
 * A queue is attached to one I/O thread, and everything of it happens on that thread without any
 * lock.  Front end: the VSP that uses the port.
 *
 * Frames are whole Ethernet frames without FCS.  What has not been done to a frame yet (its
 * checksum, its cutting into segments) travels beside it as struct net_offload.
 */

struct net_port;
struct net_queue;

/* Most queues of a port. */
#define NET_QUEUES_MAX 16u
/* The largest frame with NET_OFFLOAD_TSO: 65535 bytes of IP, two VLAN tags, Ethernet header. */
#define NET_FRAME_MAX  (65535u + 22u)
/* The largest MTU that we know how to handle. */
#define NET_MTU_MAX    9000u
#define NET_MAC_BYTES  6

enum net_gso {
	NET_GSO_NONE,
	NET_GSO_TCP4,
	NET_GSO_TCP6,
	NET_GSO_UDP, /* a large datagram, cut into datagrams (USO) */
};

/* What is left to be done to a frame, or need not be; as virtio's network header has it (Linux
 * include/uapi/linux/virtio_net.h).  All zero: nothing. */
struct net_offload {
	enum net_gso gso;
	bool ecn;	      /* the first segment alone has CWR */
	uint16_t gso_size;    /* payload of a segment */
	uint16_t header_size; /* all headers up to the payload; a hint */
	/* The 16 bits at csum_start + csum_offset hold the pseudo header's sum: the sum of all
	 * from csum_start to the end of the frame, folded and inverted, belongs there. */
	bool needs_csum;
	uint16_t csum_start;
	uint16_t csum_offset;
	bool csum_valid; /* received: someone has found the checksum good */
};

/* Capabilities, and the argument of set_offloads. */
#define NET_OFFLOAD_CSUM 0x1u /* needs_csum */
#define NET_OFFLOAD_TSO4 0x2u
#define NET_OFFLOAD_TSO6 0x4u
#define NET_OFFLOAD_ECN	 0x8u /* with TSO */
#define NET_OFFLOAD_USO	 0x10u

/*
 * A frame to be sent.  The front end owns it from transmit to done, and the memory behind iov does
 * not go away meanwhile; its contents may change (the guest's), so nothing is decided by them.
 */
struct net_transmit {
	/* iov[0] is left to the backend, for a header of its own; the frame begins at iov[1].
	 * The backend may change the entries. */
	struct iovec *iov;
	unsigned int iov_count;	    /* with iov[0] */
	uint32_t bytes;		    /* of the frame */
	struct net_offload offload; /* asks only for what the port has in transmit_offloads */
	/* On the queue's I/O thread, from within transmit at the earliest: 0, or a negative errno
	 * where the frame was dropped. */
	void (*done)(struct net_transmit *transmit, int result);
	/* The backend's own, so that a frame costs no allocation. */
	uint64_t backend_area[16];
};

/* Room for a frame to come, from events->buffer until events->received gives it back. */
struct net_buffer {
	/* As above: iov[0] is the backend's, the frame begins at iov[1].  The backend may change
	 * iov[0] alone. */
	struct iovec *iov;
	unsigned int iov_count;
	uint32_t bytes; /* that fit from iov[1] on: enough for any frame of the offloads set */
	uint64_t backend_area[16];
};

/* What the front end does for a queue.  All on the queue's I/O thread; each may come from within
 * any verb of the backend but attach. */
struct net_queue_events {
	/* A buffer to read into, or NULL: there is none until net_backend.receive is called. */
	struct net_buffer *(*buffer)(void *context);
	/* A frame of bytes bytes is in the buffer, which goes back to the front end with this.
	 * bytes 0: no frame, the buffer is not needed. */
	void (*received)(void *context, struct net_buffer *buffer, uint32_t bytes,
			 const struct net_offload *offload);
	/* All is quiet, as suspend asked for. */
	void (*suspended)(void *context);
	/* The carrier came or went; only when it changes from what net_port.link_up was. */
	void (*link)(void *context, bool up);
};

struct net_backend {
	const char *name; /* "tap" */
	/*
	 * config: the NIC's JSON object: "fds", an array with a descriptor for each queue, and what
	 * else the backend's own comment names.  They are taken over on success: the backend
	 * makes them O_NONBLOCK if it must.  Main loop.
	 */
	int (*open)(const json_t *config, struct net_port **out, struct error *err);
	/* Every queue is detached.  Main loop. */
	void (*close)(struct net_port *port);

	/*
	 * Which offloads received frames may ask for; the rest is done before they come.  A subset
	 * of receive_offloads; none at first.  0 or a negative errno.  Any I/O thread of the port's
	 * queues, one at a time; system calls for it must be in the I/O threads' seccomp filter.
	 */
	int (*set_offloads)(struct net_port *port, unsigned int offloads);

	/* Queue number index on this I/O thread, which calls it; suspended at first. */
	int (*attach)(struct net_port *port, unsigned int index, struct io_thread *thread,
		      const struct net_queue_events *events, void *context, struct net_queue **out);
	/* Suspended. */
	void (*detach)(struct net_queue *queue);

	/*
	 * Sends a frame: never refused, but held while the host or the peer has no room, in order,
	 * and dropped (done with -ENETDOWN) while the link is down.  Resumed.
	 */
	void (*transmit)(struct net_queue *queue, struct net_transmit *transmit);
	/* Buffers are there again, after events->buffer returned NULL.  Suspended or not. */
	void (*receive)(struct net_queue *queue);

	/*
	 * Ends all work on the queue: what waits to be sent is done with -ECANCELED (the rest of a
	 * frame that is half sent is copied), every buffer is given back, and then
	 * events->suspended comes: soon, whatever the peer does.
	 */
	void (*suspend)(struct net_queue *queue);
	void (*resume)(struct net_queue *queue);

	/* The backend's own figures; may be NULL.  Main loop, I/O running: atomics only. */
	void (*inspect)(struct net_port *port, struct state_writer *writer);
};

/* What every backend's port begins with. */
struct net_port {
	const struct net_backend *backend;
	unsigned int queue_count;
	unsigned int transmit_offloads; /* what net_transmit.offload may ask for */
	unsigned int receive_offloads;	/* what set_offloads may ask for */
	uint32_t mtu;			/* payload of a frame */
	bool link_up;			/* when it was opened */
	/* Why the link went down, for the end of a sentence; NULL before.  Any thread. */
	const char *_Atomic down;
};

struct net_queue {
	struct net_port *port;
	unsigned int index;
	struct io_thread *thread;
	const struct net_queue_events *events;
	void *context;
};

/* The backend of that name ("tap", "stream", "null"), or NULL. */
const struct net_backend *net_backend_find(const char *name);
