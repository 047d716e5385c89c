#include "devices/block/limit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/io_timer.h"

struct block_limit_queue {
	struct block_limiter *limiter;
	struct io_timer *timer;
	struct list waiting; /* in their order */
};

/* A request that waits, in its backend_area. */
struct waiting {
	struct list node;
	struct block_queue *to;
	struct block_request *request;
	uint64_t due;
};
_Static_assert(sizeof(struct waiting) <= sizeof(((struct block_request *)0)->backend_area),
	       "a request's private area holds what makes it wait");

void block_limiter_set(struct block_limiter *limiter, const struct block_limits *limits)
{
	limiter->limits = *limits;
	throttle_set(&limiter->operations, limits->iops);
	throttle_set(&limiter->bytes, limits->bandwidth);
}

static struct waiting *first(struct block_limit_queue *queue)
{
	return list_entry(queue->waiting.next, struct waiting, node);
}

/* The backend may use the area from here on. */
static void hand_over(struct waiting *waiting)
{
	struct block_request *request = waiting->request;
	struct block_queue *to = waiting->to;

	list_remove(&waiting->node);
	to->disk->backend->submit(to, request);
}

static void on_time(void *context)
{
	struct block_limit_queue *queue = context;
	uint64_t now = clock_now_ns();

	while (!list_empty(&queue->waiting) && first(queue)->due <= now)
		hand_over(first(queue));
	if (!list_empty(&queue->waiting))
		io_timer_set(queue->timer, first(queue)->due);
}

int block_limit_attach(struct block_limiter *limiter, struct io_thread *thread,
		       struct block_limit_queue **out)
{
	struct block_limit_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->limiter = limiter;
	list_init(&queue->waiting);
	r = io_timer_new(thread, on_time, queue, &queue->timer);
	if (r < 0) {
		free(queue);
		return r;
	}
	*out = queue;
	return 0;
}

void block_limit_detach(struct block_limit_queue *queue)
{
	assert(list_empty(&queue->waiting));
	io_timer_free(queue->timer);
	free(queue);
}

/* When it may begin. */
static uint64_t book(struct block_limiter *limiter, const struct block_request *request,
		     uint64_t now)
{
	bool moves = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
	uint64_t bytes = moves ? request->length : 0;
	uint64_t operations = (bytes + BLOCK_LIMIT_OPERATION - 1) / BLOCK_LIMIT_OPERATION;
	uint64_t operations_due = throttle_book(&limiter->operations, now, MAX(operations, 1u));
	uint64_t bytes_due = throttle_book(&limiter->bytes, now, bytes);

	return MAX(operations_due, bytes_due);
}

bool block_limit_submit(struct block_limit_queue *queue, struct block_queue *to,
			struct block_request *request, bool at_once)
{
	struct waiting *waiting = (struct waiting *)request->backend_area;
	uint64_t now, due;

	if (request->operation == BLOCK_FLUSH) {
		to->disk->backend->submit(to, request);
		return false;
	}
	now = clock_now_ns();
	due = book(queue->limiter, request, now);
	if (at_once || (due <= now && list_empty(&queue->waiting))) {
		to->disk->backend->submit(to, request);
		return false;
	}
	*waiting = (struct waiting){.to = to, .request = request, .due = due};
	list_append(&queue->waiting, &waiting->node);
	if (first(queue) == waiting)
		io_timer_set(queue->timer, due);
	return true;
}

void block_limit_release(struct block_limit_queue *queue)
{
	while (!list_empty(&queue->waiting))
		hand_over(first(queue));
}
