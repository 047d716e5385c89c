#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "devices/block/backends.h"
#include "devices/block/sync_order.h"

/* What raw.c (requests) and raw_open.c (what the descriptor is) share. */

#define RAW_SECTOR	 512
#define RAW_BLOCK_MAX	 4096u
#define RAW_BOUNCE_COUNT 4
#define RAW_BOUNCE_BYTES (128u << 10)
#define RAW_ZEROES_BYTES (256u << 10)

struct raw_disk {
	struct block_disk disk;
	int fd;
	bool direct;
	uint32_t memory_align; /* of buffers for O_DIRECT; 1 otherwise */
	const void *zeroes;    /* RAW_ZEROES_BYTES of them, never written */
	/*
	 * The first failure of a flush.  The kernel tells of lost pages once and then counts them
	 * as clean, so a later flush that succeeds would be a lie: it stays.
	 */
	atomic_int flush_error;
	atomic_uint losses; /* how often a sync told of some */
	/* All queues share the open file, which is told once of what it lost. */
	struct sync_order syncs;
};

/* block_backend's open, for raw. */
int raw_open(int fd, const json_t *config, struct block_disk **out, struct error *err);
void raw_close(struct block_disk *disk);
