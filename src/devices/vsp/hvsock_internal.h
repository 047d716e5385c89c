#pragma once

#include <semaphore.h>
#include <stdatomic.h>

#include "devices/device.h"
#include "devices/vsp/hvsock_wire.h"

/*
 * What the parts of hv_sock share: hvsock.c (the device), hvsock_connection.c (the life of a
 * connection, on the main loop), hvsock_stream.c (its bytes, on an I/O thread).
 *
 * A connection is an offer with one channel, bridged to a local stream socket.  It lives from the
 * offer until the guest has let go of it.  The I/O thread tells the main loop by notes.
 */

/* At a time, with those that the guest has not let go of. */
#define HVSOCK_CONNECTIONS_MAX 256u
/* From so many on, those that seem to be dead make room. */
#define HVSOCK_CONNECTIONS_LOW 192u
/* Of the guest's, that the host has not answered. */
#define HVSOCK_REQUESTS_MAX    64u
/* Each way, between the socket and the ring. */
#define HVSOCK_BUFFER	       (64u << 10)
#define HVSOCK_QUEUE	       (384u << 10)

/* From the I/O thread. */
enum hvsock_note {
	HVSOCK_NOTE_GUEST_DONE = 1, /* the guest's last byte is in the socket */
	HVSOCK_NOTE_HOST_DONE = 2,  /* the socket's last byte is on the ring */
	HVSOCK_NOTE_END = 4,	    /* nothing more can come of it */
};

struct hvsock_counters {
	uint64_t bytes_to_guest;
	uint64_t bytes_to_host;
};

/* The I/O thread's share of a connection, while the channel is open. */
struct hvsock_stream {
	int slot;
	bool closing;
	unsigned int in_flight;
	struct io_batch_work batch;
	struct io_poll later; /* pending while a send is put off */

	/* Towards the guest: a header's room, then what was read from the socket. */
	uint8_t *buffer;
	uint32_t sent; /* of what was read */
	uint32_t filled;
	uint32_t packet_data; /* data bytes in a packet at most */
	bool receiving;
	bool socket_end;
	bool fin_sent;
	struct uring_request receive;

	/* Towards the socket: a queue of bytes, wrapping around. */
	uint8_t *queue;
	uint32_t first;
	uint32_t queued;
	bool sending;
	bool more;	  /* packets were left on the ring for want of room */
	bool full_packet; /* the last was one */
	bool fin_received;
	bool shut;    /* and the main loop knows */
	bool discard; /* nobody reads the socket any more */
	struct uring_request send;

	bool draining; /* somebody waits on drained */
	sem_t drained;
	struct hvsock_counters counters;
};

struct hvsock;

struct hvsock_connection {
	struct list node;
	struct hvsock *hvsock; /* NULL: the device is gone */
	struct vmbus_offer *offer;
	struct guid class_id;
	struct guid instance_id;
	bool from_host;
	bool ended;	 /* the offer is rescinded */
	bool guest_done; /* the socket was told */
	bool host_done;	 /* the guest was told */
	int fd;		 /* -1: closed */
	struct event_source *open_timer;
	struct event_source *hangup; /* watches a socket whose end was read for its peer's death */
	struct channel *channel;     /* NULL while closed */
	struct io_thread *thread;
	atomic_uint notes;
	struct hvsock_stream stream;
};

/* A connection that the guest asked for and the host has not answered. */
struct hvsock_request {
	struct list node;
	uint64_t token;
	struct guid endpoint;
	struct guid service;
};

struct hvsock {
	struct device_env env;
	char *id;
	struct list connections;
	unsigned int connection_count;
	struct list requests;
	unsigned int request_count;
	uint64_t next_token;
	uint32_t next_port; /* of ours, for the next connection from the host */
	unsigned int next_thread;
	uint64_t open_ns; /* that a guest may take to open what is offered */
	_Atomic bool paused;
	int wakeup; /* eventfd: some connection has notes */
	struct event_source *wakeup_source;

	/* Figures. */
	uint64_t opened;
	uint64_t unanswered;	       /* that the guest did not open */
	uint64_t refused;	       /* of the guest's requests */
	struct hvsock_counters closed; /* by connections that are gone */
};

/* hvsock_connection.c.  Main loop. */

/* The id of a port, and whether an id is one. */
struct guid hvsock_port_id(uint32_t port);
bool hvsock_is_port(const struct guid *id);
uint32_t hvsock_port_of(const struct guid *id);

/*
 * Bridges fd, which it takes over on success, to a connection with these ids.  -ENOTCONN without a
 * guest that can have it, -ENOTSOCK, -EADDRINUSE (the instance is another connection's), -ENOSPC,
 * -ENOMEM.
 */
int hvsock_offer(struct hvsock *hvsock, const struct guid *class_id, const struct guid *instance_id,
		 bool from_host, int fd);
/* Whether some connection that the guest still holds, or request, has it. */
bool hvsock_instance_taken(const struct hvsock *hvsock, const struct guid *instance_id);
/* Closes it for good; memory goes when the guest lets go of it. */
void hvsock_end(struct hvsock_connection *connection);
/* Acts upon what I/O threads have noted. */
void hvsock_take_notes(struct hvsock *hvsock);

/* hvsock_stream.c */

/* Prepares a channel that is about to open; -ENOMEM, -ENOSPC.  Main loop. */
int hvsock_stream_start(struct hvsock_connection *connection);
/* When it returns, nothing of it touches guest memory or the socket.  Main loop. */
void hvsock_stream_stop(struct hvsock_connection *connection);
/* The channel's service.  I/O thread. */
void hvsock_stream_service(struct hvsock_connection *connection);
/* What has gone through so far.  Main loop. */
struct hvsock_counters hvsock_stream_counters(struct hvsock_connection *connection);
