#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io_thread.h"
#include "base/list.h"

/*
 * The syncs (flushes and stable writes) of one open file that run at the same time, on any number
 * of threads.  The kernel tells of lost pages once for each open file, to whichever sync asks
 * first; another one that succeeds meanwhile must not be believed before what the first was told is
 * known.  So a sync that succeeds is held until all that were in flight beside it have ended, and
 * no longer: later ones do not count.  The thread it began on then finishes it.
 */

struct sync_order {
	pthread_mutex_t lock; /* taken before an I/O thread's; guards all of the three */
	uint64_t next;	      /* the number of the next to begin */
	struct list in_flight;
	struct list held; /* until all before their number have ended */
};

struct sync;

/* One thread's part in it. */
struct sync_party {
	struct sync_order *order;
	struct io_thread *thread;
	void (*believed)(struct sync *sync);
	struct io_post post;
	bool posted;	   /* guarded by the order's lock */
	struct list ready; /* held no longer, for the thread; the same */
};

struct sync {
	struct list node;
	uint64_t number;
	struct sync_party *party;
};

void sync_order_init(struct sync_order *order);
/* No party has a sync in flight or held. */
void sync_order_cleanup(struct sync_order *order);

/* believed: called on the thread for each sync of the party that succeeded, from within sync_end
 * at the earliest.  The party lasts until all its syncs have ended or been believed. */
void sync_party_init(struct sync_party *party, struct sync_order *order, struct io_thread *thread,
		     void (*believed)(struct sync *sync));

/* Before the kernel is asked.  The party's thread. */
void sync_begin(struct sync_party *party, struct sync *sync);

/*
 * The kernel has answered.  succeeded: the sync is the party's until believed is called.
 * Otherwise it is the caller's again, who has noted the error where believed looks for it.  The
 * party's thread.
 */
void sync_end(struct sync *sync, bool succeeded);
