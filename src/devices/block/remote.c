#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/iov.h"
#include "base/uring.h"
#include "devices/block/backends.h"
#include "devices/block/remote_wire.h"

/*
 * A disk that a helper process reaches for us: a network block device.  Its configuration, besides
 * what block.h has:
 *   {"fd": the shared file, "fds": [a lane's socket, ...], "bytes", "block": 512 or 4096,
 *    "read_only", "flush", "fua", "trim", "zero": what the server can}
 * The helper is trusted with the disk's data and nothing else: of what it says only answers to
 * requests that it was sent count, and anything else ends the lane, as its death does.  Requests
 * then fail, those under way first; none is lost.
 */

#define BLOCK_MAX 4096u

struct remote_disk {
	struct block_disk disk;
	int fd; /* the shared file */
	uint8_t *memory;
	int lanes[REMOTE_LANES_MAX];
	unsigned int lane_count;
	atomic_uint lanes_used; /* a bit for each */
	bool flush;
	bool fua;
	bool zero;
};

/* A block_request in progress, in its backend_area. */
struct work {
	struct list waiting; /* for a slot */
	struct block_request *request;
	uint64_t moved; /* bytes that are done */
	uint64_t part;	/* under way after them */
	bool flushing;	/* a stable write, where the server has no such thing */
};
_Static_assert(sizeof(struct work) <= sizeof(((struct block_request *)0)->backend_area),
	       "a request's private area holds ours");

struct slot {
	struct work *work; /* NULL while free */
	uint64_t end;	   /* of its request, in the stream that was ever queued */
	bool asked;	   /* and no answer yet */
};

enum lane_state {
	LANE_ALIVE,
	LANE_DYING, /* what the ring has of it is being taken back */
	LANE_DEAD,
};

struct remote_queue {
	struct block_queue queue;
	struct uring *ring;
	unsigned int lane;
	int file;
	enum lane_state state;
	uint8_t *memory; /* the lane's */
	struct slot slots[REMOTE_SLOTS];
	unsigned int asked; /* slots with a request under way */
	struct list waiters;
	/* Requests that are not sent yet; each slot has one at most. */
	struct remote_request out[REMOTE_SLOTS];
	size_t out_bytes;
	uint64_t queued, sent; /* bytes, ever */
	struct uring_request send;
	bool sending;
	/* Answers, the last of which may be there in part. */
	uint8_t in[REMOTE_SLOTS * sizeof(struct remote_answer)];
	size_t in_bytes;
	bool taking; /* those in hand: their place is not for more */
	struct uring_request receive;
	bool receiving;
};

static struct remote_disk *disk_of(const struct remote_queue *queue)
{
	return container_of(queue->queue.disk, struct remote_disk, disk);
}

static uint8_t *slot_memory(const struct remote_queue *queue, unsigned int slot)
{
	return queue->memory + (size_t)slot * REMOTE_SLOT_BYTES;
}

static void fail_all(struct remote_queue *queue);

/* Once nothing of the lane is in the ring any more, all that it was to do has failed. */
static void settle(struct remote_queue *queue)
{
	if (queue->state != LANE_DYING || queue->sending || queue->receiving)
		return;
	queue->state = LANE_DEAD;
	fail_all(queue);
}

static void end_lane(struct remote_queue *queue)
{
	if (queue->state != LANE_ALIVE)
		return;
	queue->state = LANE_DYING;
	if (queue->sending)
		uring_cancel(queue->ring, &queue->send);
	if (queue->receiving)
		uring_cancel(queue->ring, &queue->receive);
}

static void send_queued(struct remote_queue *queue)
{
	if (queue->sending || queue->out_bytes == 0 || queue->state != LANE_ALIVE)
		return;
	queue->sending = true;
	uring_send(queue->ring, &queue->send, queue->file, queue->out, queue->out_bytes);
}

static void send_done(struct uring_request *uring, int32_t result)
{
	struct remote_queue *queue = container_of(uring, struct remote_queue, send);

	queue->sending = false;
	if (result > 0) {
		queue->sent += (uint32_t)result;
		queue->out_bytes -= (uint32_t)result;
		memmove(queue->out, (uint8_t *)queue->out + result, queue->out_bytes);
	} else if (result != -EINTR && result != -EAGAIN) {
		end_lane(queue);
	}
	send_queued(queue);
	settle(queue);
}

static void take_answers(struct remote_queue *queue);

/* Only while an answer is due, so that a queue at rest has nothing in the ring. */
static void receive_more(struct remote_queue *queue)
{
	if (queue->receiving || queue->taking || queue->asked == 0 || queue->state != LANE_ALIVE)
		return;
	queue->receiving = true;
	uring_recv(queue->ring, &queue->receive, queue->file, queue->in + queue->in_bytes,
		   sizeof(queue->in) - queue->in_bytes);
}

static void receive_done(struct uring_request *uring, int32_t result)
{
	struct remote_queue *queue = container_of(uring, struct remote_queue, receive);

	queue->receiving = false;
	if (result > 0 && queue->state == LANE_ALIVE) {
		queue->in_bytes += (uint32_t)result;
		queue->taking = true;
		take_answers(queue);
		queue->taking = false;
	} else if (result != -EINTR && result != -EAGAIN) {
		end_lane(queue);
	}
	receive_more(queue);
	settle(queue);
}

static void ask(struct remote_queue *queue, unsigned int index, enum remote_command command,
		uint16_t flags)
{
	struct slot *slot = &queue->slots[index];
	const struct work *work = slot->work;
	struct remote_request *request =
		(struct remote_request *)((uint8_t *)queue->out + queue->out_bytes);

	*request = (struct remote_request){
		.slot = index,
		.command = (uint16_t)command,
		.flags = flags,
		.offset = work->part ? work->request->offset + work->moved : 0,
		.length = work->part,
	};
	queue->out_bytes += sizeof(*request);
	queue->queued += sizeof(*request);
	slot->end = queue->queued;
	slot->asked = true;
	queue->asked++;
	send_queued(queue);
	receive_more(queue);
}

/* Zeroes that the server has no command for are written. */
static void ask_zero(struct remote_queue *queue, unsigned int index, uint64_t left)
{
	struct work *work = queue->slots[index].work;

	if (disk_of(queue)->zero) {
		work->part = MIN(left, (uint64_t)REMOTE_RANGE_MAX);
		ask(queue, index, REMOTE_ZERO, work->request->may_unmap ? 0 : REMOTE_FLAG_NO_HOLE);
		return;
	}
	work->part = MIN(left, (uint64_t)REMOTE_SLOT_BYTES);
	memset(slot_memory(queue, index), 0, (size_t)work->part);
	ask(queue, index, REMOTE_WRITE, 0);
}

/* Asks for the next part of what the slot's request wants. */
static void ask_next(struct remote_queue *queue, unsigned int index)
{
	struct work *work = queue->slots[index].work;
	const struct block_request *request = work->request;
	uint64_t left = request->length - work->moved;
	bool fua = request->force_unit_access && disk_of(queue)->fua;

	work->part = MIN(left, (uint64_t)REMOTE_SLOT_BYTES);
	switch (request->operation) {
	case BLOCK_READ:
		ask(queue, index, REMOTE_READ, 0);
		break;
	case BLOCK_WRITE:
		iov_take(request->iov, work->moved, slot_memory(queue, index), (size_t)work->part);
		ask(queue, index, REMOTE_WRITE, fua ? REMOTE_FLAG_FUA : 0);
		break;
	case BLOCK_DISCARD:
		work->part = MIN(left, (uint64_t)REMOTE_RANGE_MAX);
		ask(queue, index, REMOTE_TRIM, 0);
		break;
	case BLOCK_WRITE_ZEROES:
		ask_zero(queue, index, left);
		break;
	case BLOCK_FLUSH:
		work->part = 0;
		ask(queue, index, REMOTE_FLUSH, 0);
		break;
	}
}

static void start(struct remote_queue *queue, unsigned int index, struct work *work)
{
	queue->slots[index].work = work;
	ask_next(queue, index);
}

/* The slot goes to the next that waits. */
static void finish(struct remote_queue *queue, unsigned int index, int result)
{
	struct work *work = queue->slots[index].work, *next;

	queue->slots[index].work = NULL;
	if (!list_empty(&queue->waiters) && queue->state == LANE_ALIVE) {
		next = list_entry(queue->waiters.next, struct work, waiting);
		list_remove(&next->waiting);
		start(queue, index, next);
	}
	work->request->done(work->request, result);
}

static void fail_all(struct remote_queue *queue)
{
	queue->asked = 0;
	queue->out_bytes = 0;
	for (unsigned int i = 0; i < REMOTE_SLOTS; i++) {
		queue->slots[i].asked = false;
		if (queue->slots[i].work)
			finish(queue, i, -EIO);
	}
	while (!list_empty(&queue->waiters)) {
		struct work *work = list_entry(queue->waiters.next, struct work, waiting);

		list_remove(&work->waiting);
		work->request->done(work->request, -EIO);
	}
}

/* Those that mean something to whoever asked. */
static int result_of(uint32_t error)
{
	switch (error) {
	case 0:
		return 0;
	case ENOSPC:
	case EROFS:
	case EPERM:
		return error == EPERM ? -EROFS : -(int)error;
	default:
		return -EIO;
	}
}

static bool needs_flush(const struct remote_queue *queue, const struct work *work)
{
	return work->request->operation == BLOCK_WRITE && work->request->force_unit_access &&
	       !disk_of(queue)->fua && disk_of(queue)->flush && !work->flushing;
}

static void take_answer(struct remote_queue *queue, const struct remote_answer *answer)
{
	struct slot *slot = &queue->slots[answer->slot];
	struct work *work = slot->work;

	slot->asked = false;
	queue->asked--;
	if (answer->error) {
		finish(queue, answer->slot, result_of(answer->error));
		return;
	}
	if (work->request->operation == BLOCK_READ)
		iov_put(work->request->iov, work->moved, slot_memory(queue, answer->slot),
			(size_t)work->part);
	work->moved += work->part;
	work->part = 0;
	if (work->moved < work->request->length) {
		ask_next(queue, answer->slot);
	} else if (needs_flush(queue, work)) {
		work->flushing = true;
		ask(queue, answer->slot, REMOTE_FLUSH, 0);
	} else {
		finish(queue, answer->slot, 0);
	}
}

static bool is_due(const struct remote_queue *queue, const struct remote_answer *answer)
{
	const struct slot *slot = &queue->slots[answer->slot % REMOTE_SLOTS];

	return answer->slot < REMOTE_SLOTS && slot->asked && slot->end <= queue->sent;
}

static void take_answers(struct remote_queue *queue)
{
	struct remote_answer answer;
	size_t used = 0;

	for (; queue->in_bytes - used >= sizeof(answer); used += sizeof(answer)) {
		memcpy(&answer, queue->in + used, sizeof(answer));
		if (!is_due(queue, &answer)) {
			end_lane(queue);
			return;
		}
		take_answer(queue, &answer);
	}
	queue->in_bytes -= used;
	memmove(queue->in, queue->in + used, queue->in_bytes);
}

static unsigned int free_slot(const struct remote_queue *queue)
{
	unsigned int index = 0;

	while (index < REMOTE_SLOTS && queue->slots[index].work)
		index++;
	return index;
}

/* What needs no server. */
static bool is_easy(const struct remote_queue *queue, const struct block_request *request,
		    int *result)
{
	const struct block_geometry *geometry = &queue->queue.disk->geometry;

	*result = 0;
	if (request->operation == BLOCK_FLUSH)
		return !disk_of(queue)->flush;
	if (request->operation != BLOCK_READ && geometry->read_only)
		*result = -EROFS;
	else if (request->operation == BLOCK_DISCARD && !geometry->discard)
		*result = -EOPNOTSUPP;
	return *result < 0 || request->length == 0;
}

static void remote_submit(struct block_queue *block_queue, struct block_request *request)
{
	struct remote_queue *queue = container_of(block_queue, struct remote_queue, queue);
	struct work *work = (struct work *)request->backend_area;
	unsigned int slot = free_slot(queue);
	int result;

	if (queue->state == LANE_DEAD) {
		request->done(request, -EIO);
		return;
	}
	if (is_easy(queue, request, &result)) {
		request->done(request, result);
		return;
	}
	*work = (struct work){.request = request};
	list_init(&work->waiting);
	if (request->operation == BLOCK_FLUSH)
		request->length = 0;
	if (slot < REMOTE_SLOTS && queue->state == LANE_ALIVE)
		start(queue, slot, work);
	else
		list_append(&queue->waiters, &work->waiting);
}

static unsigned int take_lane(struct remote_disk *disk)
{
	unsigned int used = atomic_load(&disk->lanes_used), lane;

	do {
		lane = used == UINT32_MAX ? 32u : (unsigned int)__builtin_ctz(~used);
		if (lane >= disk->lane_count)
			return disk->lane_count;
	} while (!atomic_compare_exchange_weak(&disk->lanes_used, &used, used | 1u << lane));
	return lane;
}

static int remote_attach(struct block_disk *block_disk, struct io_thread *thread,
			 struct block_queue **out)
{
	struct remote_disk *disk = container_of(block_disk, struct remote_disk, disk);
	struct remote_queue *queue = calloc(1, sizeof(*queue));
	int r = -ENOSPC;

	if (!queue)
		return -ENOMEM;
	queue->queue.disk = block_disk;
	queue->ring = io_thread_uring(thread);
	queue->send.done = send_done;
	queue->receive.done = receive_done;
	list_init(&queue->waiters);
	queue->lane = take_lane(disk);
	if (queue->lane == disk->lane_count)
		goto free_queue;
	queue->memory = disk->memory + queue->lane * REMOTE_LANE_BYTES;
	queue->file = uring_add_file(queue->ring, disk->lanes[queue->lane]);
	if (queue->file < 0) {
		r = queue->file;
		goto give_lane;
	}
	*out = &queue->queue;
	return 0;

give_lane:
	atomic_fetch_and(&disk->lanes_used, ~(1u << queue->lane));
free_queue:
	free(queue);
	return r;
}

/* A lane that died, or has half an answer, is of no use to another queue. */
static void remote_detach(struct block_queue *block_queue)
{
	struct remote_queue *queue = container_of(block_queue, struct remote_queue, queue);

	assert(!queue->sending && !queue->receiving && list_empty(&queue->waiters));
	uring_remove_file(queue->ring, queue->file);
	if (queue->state == LANE_ALIVE && queue->in_bytes == 0)
		atomic_fetch_and(&disk_of(queue)->lanes_used, ~(1u << queue->lane));
	free(queue);
}

static int read_geometry(struct remote_disk *disk, const json_t *config, struct error *err)
{
	json_int_t bytes = json_integer_value(json_object_get(config, "bytes"));
	json_int_t block = json_integer_value(json_object_get(config, "block"));

	if ((block != 512 && block != BLOCK_MAX) || bytes < block || bytes % block != 0)
		return error_set(err, EINVAL,
				 "the server's disk has no size that a disk can have; it must be a "
				 "multiple of its blocks of 512 or 4096 bytes");
	disk->disk.geometry = (struct block_geometry){
		.bytes = (uint64_t)bytes,
		.logical_block = (uint32_t)block,
		.physical_block = BLOCK_MAX,
		.read_only = json_is_true(json_object_get(config, "read_only")),
		.discard = json_is_true(json_object_get(config, "trim")),
		.discard_granularity = BLOCK_MAX,
	};
	disk->flush = json_is_true(json_object_get(config, "flush"));
	disk->fua = json_is_true(json_object_get(config, "fua"));
	disk->zero = json_is_true(json_object_get(config, "zero"));
	return 0;
}

static void close_disk(struct remote_disk *disk)
{
	while (disk->lane_count > 0)
		close(disk->lanes[--disk->lane_count]);
	if (disk->memory)
		munmap(disk->memory, REMOTE_LANES_MAX * REMOTE_LANE_BYTES);
	free(disk);
}

/* Descriptors of our own, for those of the configuration are the caller's until we succeed. */
static int take_lanes(struct remote_disk *disk, const json_t *fds)
{
	size_t index;
	json_t *number;

	json_array_foreach((json_t *)fds, index, number)
	{
		int fd;

		if (index == REMOTE_LANES_MAX)
			return -E2BIG;
		fd = fcntl((int)json_integer_value(number), F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		disk->lanes[disk->lane_count++] = fd;
	}
	return disk->lane_count ? 0 : -EINVAL;
}

static int map_memory(struct remote_disk *disk, int fd)
{
	void *memory = mmap(NULL, REMOTE_LANES_MAX * REMOTE_LANE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	disk->memory = memory;
	return 0;
}

static int remote_open(int fd, const json_t *config, struct block_disk **out, struct error *err)
{
	struct remote_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (!disk)
		return error_memory(err, "a disk");
	disk->disk.backend = &block_remote;
	disk->fd = fd;
	r = read_geometry(disk, config, err);
	if (r == 0) {
		r = take_lanes(disk, json_object_get(config, "fds"));
		if (r == 0)
			r = map_memory(disk, fd);
		if (r < 0)
			error_host(err, -r, "a remote disk's helper cannot be joined");
	}
	if (r < 0) {
		close_disk(disk);
		return r;
	}
	*out = &disk->disk;
	return 0;
}

static void remote_close(struct block_disk *block_disk)
{
	struct remote_disk *disk = container_of(block_disk, struct remote_disk, disk);

	close(disk->fd);
	close_disk(disk);
}

const struct block_backend block_remote = {
	.name = "nbd",
	.open = remote_open,
	.close = remote_close,
	.attach = remote_attach,
	.detach = remote_detach,
	.submit = remote_submit,
};
