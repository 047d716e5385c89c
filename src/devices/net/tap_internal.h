#pragma once

#include <linux/virtio_net.h>

#include "base/list.h"
#include "base/uring.h"
#include "devices/net/backends.h"
#include "devices/net/figures.h"

/*
 * Between the files of the tap backend: tap.c has the port and what a queue does as a whole,
 * tap_receive.c what comes from the host, tap_transmit.c what goes to it.  Every function is for
 * the queue's I/O thread, but the two that prepare a queue which has no thread yet.
 */

/* Reads that are queued at once, when many frames come. */
#define READS_MAX 32u

/* Of newer kernels than the headers may be: Linux include/uapi/linux/virtio_net.h. */
#define HEADER_GSO_UDP_L4    5
#define HEADER_NEEDS_CSUM    VIRTIO_NET_HDR_F_NEEDS_CSUM
#define HEADER_DATA_VALID    VIRTIO_NET_HDR_F_DATA_VALID
#define HEADER_GSO_TYPE_MASK ((uint8_t)~VIRTIO_NET_HDR_GSO_ECN)

enum tap_state {
	TAP_SUSPENDED,
	TAP_RUNNING,
	TAP_SUSPENDING,
};

/* A poll that may be under way. */
struct tap_poll {
	struct uring_request request;
	struct tap_queue *queue;
	bool active;
};

struct tap_queue {
	struct net_queue queue;
	struct net_figures *figures;
	struct uring *ring;
	int slot;
	enum tap_state state;
	bool gone; /* the interface was deleted: its descriptors are of no use any more */
	/* The kernel cannot tell whether it would have to wait: one read at a time then. */
	bool plain;

	struct net_buffer *held[READS_MAX]; /* that no frame came for */
	unsigned int held_count;
	struct net_buffer *reading; /* the one of a plain read */
	unsigned int reads;	    /* under way */
	unsigned int filled;	    /* of the batch under way */
	unsigned int batch;
	bool dry; /* one of them found nothing */
	struct tap_poll readable;

	unsigned int writes;
	struct list waiting; /* tap_write: the tap had no room */
	struct tap_poll writable;
};

/* tap.c */

/* Waits for events (POLLIN, POLLOUT) of the tap, unless it does already. */
void tap_start_poll(struct tap_poll *poll, unsigned int events);

/* Whether what reading or writing said (a negative errno) means an interface that is no more, not
 * just down. */
bool tap_means_gone(int error);

/* The host has deleted the interface: this queue is useless for ever. */
void tap_lose_link(struct tap_queue *queue);

/* To be called when a request has ended: suspends, where that is wanted, once all have. */
void tap_settle(struct tap_queue *queue);

/* tap_receive.c */

/* Prepares that side. */
void tap_receive_init(struct tap_queue *queue);

/* As net_backend has it. */
void tap_receive(struct net_queue *net_queue);

/* Reads, unless it does already, as many frames as there are likely to be and buffers for. */
void tap_start_reads(struct tap_queue *queue);

/* Has reading end soon, and the front end get the buffers that no frame has come for. */
void tap_stop_reads(struct tap_queue *queue);

/* The front end gets the buffers that are held, for no frame has come for them. */
void tap_give_back(struct tap_queue *queue);

/* tap_transmit.c */

/* Prepares that side. */
void tap_transmit_init(struct tap_queue *queue);

/* As net_backend has it. */
void tap_transmit(struct net_queue *net_queue, struct net_transmit *transmit);

/* Has writing end soon; frames that the tap had no room for end with that negative errno. */
void tap_stop_writes(struct tap_queue *queue, int error);
