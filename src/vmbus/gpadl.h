#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/state.h"
#include "vmbus/wire.h"
#include "vmm/gpa.h"

/*
 * GPADLs: lists of guest pages that the guest shares under a number it chose (Linux
 * drivers/hv/channel.c shows how one is made).  A list may take several messages, so one under
 * construction is kept here, too, and all count towards the caps.
 */

/* Most GPADLs a partition has at a time; VMBUS_GPADL_PAGES_MAX limits their pages. */
#define GPADL_COUNT_MAX 8192u

/* Guest memory as the wire has it: each range a byte count and offset, then its frame numbers. */
struct gpadl {
	struct list node;
	uint32_t id;
	uint32_t relid;
	uint32_t range_count;
	uint32_t word_count;	 /* of all ranges: headers and frame numbers, 8 bytes each */
	uint32_t words_received; /* == word_count: it is complete and was checked */
	uint64_t words[];
};

struct gpadl_table {
	const struct gpa_space *gpa;
	pthread_mutex_t lock; /* a leaf: guards all below */
	struct list gpadls;
	uint32_t count;
	uint32_t words;
};

void gpadl_table_init(struct gpadl_table *table, const struct gpa_space *gpa);
/* Drops every GPADL. */
void gpadl_table_clear(struct gpadl_table *table);
void gpadl_table_cleanup(struct gpadl_table *table);

/*
 * Handles GPADL_HEADER: data is what follows the message's fixed part.  0 when the GPADL is
 * complete, -EINPROGRESS when bodies are to follow.  Otherwise there is no such GPADL: -EEXIST,
 * -EINVAL (malformed), -EFAULT (a page is not RAM), -ENOSPC (over a cap), -ENOMEM.  Main loop.
 */
int gpadl_create(struct gpadl_table *table, const struct vmbus_gpadl_header *header,
		 const void *data, size_t size);

/*
 * Handles GPADL_BODY: as gpadl_create, and -ENOENT if no GPADL of that number waits for more.
 * *relid is the channel it belongs to, for all results but -ENOENT.  Main loop.
 */
int gpadl_append(struct gpadl_table *table, uint32_t id, const void *data, size_t size,
		 uint32_t *relid);

/* -ENOENT unless the channel has that GPADL (complete or not).  Main loop. */
int gpadl_remove(struct gpadl_table *table, uint32_t relid, uint32_t id);
/* All of a channel's.  Main loop. */
void gpadl_remove_channel(struct gpadl_table *table, uint32_t relid);

/*
 * The frame numbers of a GPADL that is one range of whole pages, as rings are.  The pointer
 * is good until the GPADL is removed.  -ENOENT, -EINVAL for one of another shape.  Main loop.
 */
int gpadl_ring_frames(struct gpadl_table *table, uint32_t relid, uint32_t id,
		      const uint64_t **frames, uint32_t *page_count);

/* Resolves all of it to host memory: entries used in iov, -ENOENT, -E2BIG.  Any thread. */
int gpadl_buffers(struct gpadl_table *table, uint32_t relid, uint32_t id, enum gpa_access access,
		  struct iovec *iov, unsigned int max, uint64_t *bytes);

/* A node gpadls with all of them; restore wants an empty table, and checks as create does. */
void gpadl_save(struct gpadl_table *table, struct state_writer *writer);
int gpadl_restore(struct gpadl_table *table, const struct state_node *parent);
