#include "devices/block/raw.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/iov.h"
#include "base/uring.h"

struct raw_queue {
	struct block_queue queue;
	struct uring *ring;
	int slot;
	struct sync_party party;
	/* What the file system was found not to have. */
	bool no_punch_hole;
	bool no_zero_range;
	/* For guest buffers that O_DIRECT will not take: RAW_BOUNCE_COUNT pieces, and who waits. */
	uint8_t *bounce_memory;
	uint8_t *bounce_free[RAW_BOUNCE_COUNT];
	unsigned int bounce_free_count;
	struct list bounce_waiters;
};

/* A block_request in progress, in its backend_area. */
struct raw_request {
	struct uring_request uring;
	struct raw_queue *queue;
	struct block_request *request;
	uint64_t moved;	     /* bytes that are done */
	int sync_error;	     /* of a stable write, which is then tried as a plain one; 0: none */
	unsigned int losses; /* the disk's, when a stable write began */
	struct iovec part;
	uint8_t *bounce;
	struct list waiting;
	struct sync sync; /* without a party: nothing has begun */
};
_Static_assert(sizeof(struct raw_request) <= sizeof(((struct block_request *)0)->backend_area),
	       "a request's private area holds raw's");

static void transfer(struct raw_request *raw);

static struct raw_disk *disk_of(const struct raw_request *raw)
{
	return container_of(raw->queue->queue.disk, struct raw_disk, disk);
}

/* Passes the buffer on, or back. */
static void release_bounce(struct raw_request *raw)
{
	struct raw_queue *queue = raw->queue;
	struct raw_request *next;

	if (list_empty(&queue->bounce_waiters)) {
		queue->bounce_free[queue->bounce_free_count++] = raw->bounce;
		return;
	}
	next = list_entry(queue->bounce_waiters.next, struct raw_request, waiting);
	list_remove(&next->waiting);
	next->bounce = raw->bounce;
	transfer(next);
}

static void finish(struct raw_request *raw, int result)
{
	bool syncs = raw->sync.party;

	/* First, for a sync that is held may wait for one that wants the buffer. */
	if (raw->bounce)
		release_bounce(raw);
	if (syncs)
		sync_end(&raw->sync, result == 0);
	if (!syncs || result < 0)
		raw->request->done(raw->request, result);
}

/* All that may have been told of its loss have answered. */
static void sync_believed(struct sync *sync)
{
	struct raw_request *raw = container_of(sync, struct raw_request, sync);
	struct raw_disk *disk = disk_of(raw);
	int error = atomic_load(&disk->flush_error);

	/* A stable write answers for itself alone: for what was lost since it began. */
	if (raw->request->operation == BLOCK_WRITE && atomic_load(&disk->losses) == raw->losses)
		error = 0;
	raw->request->done(raw->request, error);
}

static void begin_sync(struct raw_request *raw)
{
	if (raw->sync.party)
		return;
	raw->losses = atomic_load(&disk_of(raw)->losses);
	sync_begin(&raw->queue->party, &raw->sync);
}

/* See raw_disk's flush_error. */
static int lose_data(struct raw_request *raw, int error)
{
	struct raw_disk *disk = disk_of(raw);
	int none = 0;

	atomic_compare_exchange_strong(&disk->flush_error, &none, error);
	atomic_fetch_add(&disk->losses, 1);
	return atomic_load(&disk->flush_error);
}

static bool is_stable(const struct raw_request *raw)
{
	const struct block_request *request = raw->request;

	return request->operation == BLOCK_WRITE && request->force_unit_access && !raw->sync_error;
}

static bool try_again(int32_t result)
{
	return result == -EAGAIN || result == -EINTR;
}

/* What is to be moved next: all of the rest, or of one entry what a short transfer left. */
static const struct iovec *rest(struct raw_request *raw, unsigned int *count)
{
	const struct block_request *request = raw->request;
	const struct iovec *iov = request->iov;
	uint64_t skip = raw->moved;

	while (skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
	}
	if (skip == 0) {
		*count = request->iov_count - (unsigned int)(iov - request->iov);
		return iov;
	}
	raw->part.iov_base = (uint8_t *)iov->iov_base + skip;
	raw->part.iov_len = iov->iov_len - (size_t)skip;
	*count = 1;
	return &raw->part;
}

static const struct iovec *bounced_rest(struct raw_request *raw, unsigned int *count)
{
	uint64_t left = raw->request->length - raw->moved;

	raw->part.iov_base = raw->bounce;
	raw->part.iov_len = MIN(left, (uint64_t)RAW_BOUNCE_BYTES);
	if (raw->request->operation == BLOCK_WRITE)
		iov_take(raw->request->iov, raw->moved, raw->bounce, raw->part.iov_len);
	*count = 1;
	return &raw->part;
}

/*
 * A stable write syncs, and a sync tells (once) of any page of the file that was lost.  A plain
 * write tells which it was that failed: where that is possible, it was the sync.
 */
static void stable_write_failed(struct raw_request *raw, int32_t result)
{
	raw->sync_error = result;
	transfer(raw);
}

static void transfer_done(struct uring_request *uring, int32_t result)
{
	struct raw_request *raw = container_of(uring, struct raw_request, uring);
	const struct block_request *request = raw->request;

	if (try_again(result)) {
		transfer(raw);
		return;
	}
	/* Direct I/O goes on at a block's border only. */
	if (result > 0 && disk_of(raw)->direct)
		result -= result % (int32_t)raw->queue->queue.disk->geometry.logical_block;
	if (result < 0 && is_stable(raw)) {
		stable_write_failed(raw, result);
		return;
	}
	/* Nothing moved: the file ends before the disk does. */
	if (result <= 0) {
		finish(raw, result < 0 ? result : -EIO);
		return;
	}
	if (raw->sync_error) {
		finish(raw, lose_data(raw, raw->sync_error));
		return;
	}
	if (raw->bounce && request->operation == BLOCK_READ)
		iov_put(request->iov, raw->moved, raw->bounce, (size_t)result);
	raw->moved += (uint32_t)result;
	if (raw->moved < request->length)
		transfer(raw);
	else
		finish(raw, 0);
}

static void transfer(struct raw_request *raw)
{
	struct raw_queue *queue = raw->queue;
	const struct block_request *request = raw->request;
	uint64_t offset = request->offset + raw->moved;
	const struct iovec *iov;
	unsigned int count;

	iov = raw->bounce ? bounced_rest(raw, &count) : rest(raw, &count);
	raw->uring.done = transfer_done;
	if (is_stable(raw))
		begin_sync(raw);
	if (request->operation == BLOCK_READ)
		uring_readv(queue->ring, &raw->uring, queue->slot, iov, count, offset);
	else if (is_stable(raw))
		uring_writev_stable(queue->ring, &raw->uring, queue->slot, iov, count, offset);
	else
		uring_writev(queue->ring, &raw->uring, queue->slot, iov, count, offset);
}

static bool needs_bounce(const struct raw_request *raw)
{
	uint32_t align = disk_of(raw)->memory_align;
	const struct block_request *request = raw->request;

	if (align <= 1)
		return false;
	for (unsigned int i = 0; i < request->iov_count; i++)
		if ((uintptr_t)request->iov[i].iov_base % align != 0 ||
		    request->iov[i].iov_len % align != 0)
			return true;
	return false;
}

static void start_transfer(struct raw_request *raw)
{
	struct raw_queue *queue = raw->queue;

	if (raw->request->length == 0) { /* and no entry to begin with */
		finish(raw, 0);
		return;
	}
	if (needs_bounce(raw)) {
		if (queue->bounce_free_count == 0) {
			list_append(&queue->bounce_waiters, &raw->waiting);
			return;
		}
		raw->bounce = queue->bounce_free[--queue->bounce_free_count];
	}
	transfer(raw);
}

static void flush(struct raw_request *raw);

static void flush_done(struct uring_request *uring, int32_t result)
{
	struct raw_request *raw = container_of(uring, struct raw_request, uring);

	if (try_again(result)) {
		flush(raw);
		return;
	}
	finish(raw, result < 0 ? lose_data(raw, result) : 0);
}

static void flush(struct raw_request *raw)
{
	int error = atomic_load(&disk_of(raw)->flush_error);

	if (error < 0) {
		finish(raw, error);
		return;
	}
	begin_sync(raw);
	raw->uring.done = flush_done;
	uring_fdatasync(raw->queue->ring, &raw->uring, raw->queue->slot);
}

static void write_zeroes(struct raw_request *raw);

static void write_zeroes_done(struct uring_request *uring, int32_t result)
{
	struct raw_request *raw = container_of(uring, struct raw_request, uring);

	if (result == 0)
		result = -EIO;
	if (result < 0 && !try_again(result)) {
		finish(raw, result);
		return;
	}
	if (result > 0)
		raw->moved += (uint32_t)result;
	write_zeroes(raw);
}

/* The slow way: writes them. */
static void write_zeroes(struct raw_request *raw)
{
	struct raw_queue *queue = raw->queue;
	uint64_t left = raw->request->length - raw->moved;

	if (left == 0) {
		finish(raw, 0);
		return;
	}
	raw->part.iov_base = (void *)disk_of(raw)->zeroes;
	raw->part.iov_len = MIN(left, (uint64_t)RAW_ZEROES_BYTES);
	raw->uring.done = write_zeroes_done;
	uring_writev(queue->ring, &raw->uring, queue->slot, &raw->part, 1,
		     raw->request->offset + raw->moved);
}

static void allocate(struct raw_request *raw, int mode,
		     void (*done)(struct uring_request *uring, int32_t result))
{
	struct raw_queue *queue = raw->queue;

	raw->uring.done = done;
	uring_fallocate(queue->ring, &raw->uring, queue->slot, mode, raw->request->offset,
			raw->request->length);
}

static void zero(struct raw_request *raw);

static void zero_range_done(struct uring_request *uring, int32_t result)
{
	struct raw_request *raw = container_of(uring, struct raw_request, uring);

	if (result == -EOPNOTSUPP)
		raw->queue->no_zero_range = true;
	if (result == -EOPNOTSUPP || try_again(result))
		zero(raw);
	else
		finish(raw, result);
}

static void punch_hole_done(struct uring_request *uring, int32_t result)
{
	struct raw_request *raw = container_of(uring, struct raw_request, uring);
	bool discard = raw->request->operation == BLOCK_DISCARD;

	if (result == -EOPNOTSUPP)
		raw->queue->no_punch_hole = true;
	if (try_again(result) || (result == -EOPNOTSUPP && !discard))
		zero(raw);
	else
		finish(raw, result);
}

/* Zeroes, or discards, by the best way that is known to be there. */
static void zero(struct raw_request *raw)
{
	const struct raw_queue *queue = raw->queue;
	bool discard = raw->request->operation == BLOCK_DISCARD;

	if (discard && queue->no_punch_hole)
		finish(raw, -EOPNOTSUPP);
	else if (discard || (raw->request->may_unmap && !queue->no_punch_hole))
		allocate(raw, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, punch_hole_done);
	else if (!queue->no_zero_range)
		allocate(raw, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, zero_range_done);
	else
		write_zeroes(raw);
}

static void raw_submit(struct block_queue *block_queue, struct block_request *request)
{
	struct raw_request *raw = (struct raw_request *)request->backend_area;

	raw->queue = container_of(block_queue, struct raw_queue, queue);
	raw->request = request;
	raw->moved = 0;
	raw->sync_error = 0;
	raw->bounce = NULL;
	raw->sync.party = NULL;
	if (request->operation != BLOCK_READ && request->operation != BLOCK_FLUSH &&
	    block_queue->disk->geometry.read_only) {
		finish(raw, -EROFS);
		return;
	}
	switch (request->operation) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		start_transfer(raw);
		break;
	case BLOCK_FLUSH:
		flush(raw);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		zero(raw);
		break;
	}
}

static int make_bounce(struct raw_queue *queue)
{
	size_t bytes = (size_t)RAW_BOUNCE_COUNT * RAW_BOUNCE_BYTES;
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	queue->bounce_memory = memory;
	for (unsigned int i = 0; i < RAW_BOUNCE_COUNT; i++)
		queue->bounce_free[i] = queue->bounce_memory + (size_t)i * RAW_BOUNCE_BYTES;
	queue->bounce_free_count = RAW_BOUNCE_COUNT;
	return 0;
}

static int raw_attach(struct block_disk *disk, struct io_thread *thread, struct block_queue **out)
{
	struct raw_disk *raw = container_of(disk, struct raw_disk, disk);
	struct raw_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->queue.disk = disk;
	queue->ring = io_thread_uring(thread);
	sync_party_init(&queue->party, &raw->syncs, thread, sync_believed);
	list_init(&queue->bounce_waiters);
	r = raw->direct ? make_bounce(queue) : 0;
	if (r < 0)
		goto free_queue;
	queue->slot = uring_add_file(queue->ring, raw->fd);
	if (queue->slot < 0) {
		r = queue->slot;
		goto free_bounce;
	}
	*out = &queue->queue;
	return 0;

free_bounce:
	if (queue->bounce_memory)
		munmap(queue->bounce_memory, (size_t)RAW_BOUNCE_COUNT * RAW_BOUNCE_BYTES);
free_queue:
	free(queue);
	return r;
}

static void raw_detach(struct block_queue *block_queue)
{
	struct raw_queue *queue = container_of(block_queue, struct raw_queue, queue);

	assert(list_empty(&queue->bounce_waiters));
	uring_remove_file(queue->ring, queue->slot);
	if (queue->bounce_memory)
		munmap(queue->bounce_memory, (size_t)RAW_BOUNCE_COUNT * RAW_BOUNCE_BYTES);
	free(queue);
}

const struct block_backend block_raw = {
	.name = "raw",
	.open = raw_open,
	.close = raw_close,
	.attach = raw_attach,
	.detach = raw_detach,
	.submit = raw_submit,
};
