#pragma once

#include "base/list.h"
#include "base/uring.h"
#include "devices/net/backends.h"
#include "devices/net/figures.h"

/*
 * Between the files of the stream backend: stream.c has the port and what a queue does as a whole,
 * stream_receive.c what comes from the peer, stream_transmit.c what goes to it.  Every function is
 * for the queue's I/O thread, but the two that prepare a queue which has no thread yet.
 */

#define LENGTH_BYTES	4u
#define INPUT_BYTES	(256u << 10)
#define IOV_MAX_AT_ONCE 256u

/* Why a link is lost. */
#define STREAM_CLOSED "its peer has closed the connection"
#define STREAM_BROKEN "the connection to its peer broke"

struct stream_port {
	struct net_port port;
	int fd;
	int timer_fd;
	struct net_figures figures;
	_Atomic uint64_t oversize; /* of received_dropped: longer than the front end takes */
	_Atomic uint64_t stalls;
	/* The queue's, but the stream goes on when another is attached: the rest of a frame that is
	 * half sent, and what was read. */
	uint8_t rest[LENGTH_BYTES + NET_FRAME_MAX];
	uint32_t rest_at, rest_end;
	uint8_t input[INPUT_BYTES];
	uint32_t input_at, input_end;
};

enum stream_state {
	STREAM_SUSPENDED,
	STREAM_RUNNING,
	STREAM_SUSPENDING,
};

/* A request on the socket, or on the timer, that may be under way. */
struct stream_request {
	struct uring_request request;
	struct stream_queue *queue;
	bool active;
};

struct stream_queue {
	struct net_queue queue;
	struct stream_port *port;
	struct uring *ring;
	int slot, timer_slot;
	enum stream_state state;
	/* The kernel cannot tell whether it would have to wait. */
	bool plain;

	struct stream_request read, readable;
	struct iovec read_iov;
	struct net_buffer *held; /* the frame that it was for did not fit */
	bool taking;		 /* frames out of the input */

	struct stream_request write, writable, timer;
	struct iovec write_iov[IOV_MAX_AT_ONCE];
	struct list waiting; /* stream_frame, in order; the first may be half sent */
	uint32_t sent;	     /* of the first, with its length */
	bool completing;
	bool progress; /* since the timer was armed */
	bool stalled;
};

static inline bool stream_is_down(const struct stream_queue *queue)
{
	return atomic_load(&queue->port->port.down);
}

static inline bool stream_is_running(const struct stream_queue *queue)
{
	return queue->state == STREAM_RUNNING && !stream_is_down(queue);
}

/* stream.c */

/* Prepares a request that ends in done. */
void stream_request_init(struct stream_request *request, struct stream_queue *queue,
			 void (*done)(struct uring_request *request, int32_t result));

/* Waits for events (POLLIN, POLLOUT) of the registered file slot, unless it does already. */
void stream_start_poll(struct stream_request *poll, int slot, unsigned int events);

/* The link goes down, for that reason (one of the constants above, or like them). There is no way
 * to begin a stream anew in its middle: it stays down. */
void stream_lose_link(struct stream_queue *queue, const char *why);

/* To be called when a request has ended: suspends, where that is wanted, once all have. */
void stream_settle(struct stream_queue *queue);

/* stream_receive.c */

/* Prepares the requests of that side. */
void stream_receive_init(struct stream_queue *queue);

/* As net_backend has it. */
void stream_receive(struct net_queue *net_queue);

/* Takes all that the input has, as far as there are buffers, and then reads more. */
void stream_take_input(struct stream_queue *queue);

/* The front end gets the buffer that no frame fitted into, if there is one. */
void stream_give_back(struct stream_queue *queue);

/* stream_transmit.c */

/* Prepares the requests of that side. */
void stream_transmit_init(struct stream_queue *queue);

/* As net_backend has it. */
void stream_transmit(struct net_queue *net_queue, struct net_transmit *transmit);

/* Writes what waits, unless a write is under way. */
void stream_start_write(struct stream_queue *queue);

/* Ends the frames that wait with a negative errno; the peer still gets the rest of one that it has
 * the start of. */
void stream_drop_waiting(struct stream_queue *queue, int error);

/* Ends them all with -ENETDOWN, with the link down: nothing more goes out. */
void stream_drop_down(struct stream_queue *queue);
