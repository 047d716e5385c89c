#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/state.h"
#include "devices/net/net.h"

/*
 * What a NIC backend counts of a queue.  Each figure is written by the queue's I/O thread alone and
 * read by the main loop.
 */
struct net_figures {
	_Atomic uint64_t sent_frames;
	_Atomic uint64_t sent_bytes;
	_Atomic uint64_t sent_dropped; /* refused by the host, while the link was down, ... */
	_Atomic uint64_t received_frames;
	_Atomic uint64_t received_bytes;
	_Atomic uint64_t received_dropped; /* too short or too long for the front end */
};

static inline void net_count(_Atomic uint64_t *figure, uint64_t more)
{
	uint64_t now = atomic_load_explicit(figure, memory_order_relaxed);

	atomic_store_explicit(figure, now + more, memory_order_relaxed);
}

/* Puts whether the port has its link. */
void net_link_put(struct net_port *port, struct state_writer *writer);

/* Puts them as a node queue@INDEX. */
void net_figures_put(struct net_figures *figures, unsigned int index, struct state_writer *writer);
