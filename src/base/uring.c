#include "base/uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"

/* Completions outnumber submissions where requests stay long in flight. */
#define CQ_PER_SQ  4
/* Requests queued before they are submitted, so that the device starts on the first early, and
 * completions handled by one run, so that whoever waits for them does. */
#define SUBMIT_MAX 4u
#define RUN_MAX	   8u

struct uring {
	struct io_uring ring;
	/* Completions taken out of a full queue, waiting for uring_run. */
	struct uring_request *early_first;
	struct uring_request **early_end;
	unsigned int file_count;
	bool file_used[];
};

/* Every opcode that a ring may ever run. */
static const uint8_t allowed_opcodes[] = {
	IORING_OP_READ,	 IORING_OP_WRITE,     IORING_OP_READV,	      IORING_OP_WRITEV,
	IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD,
	IORING_OP_RECV,	 IORING_OP_SEND,
};

/* The kinds of ring that kernels since 5.10 know, the fastest first. */
static const unsigned int ring_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	0,
};

static int make_ring(unsigned int entries, struct io_uring *ring)
{
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_LENGTH(ring_flags) && r == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = ring_flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = entries * CQ_PER_SQ,
		};

		r = io_uring_queue_init_params(entries, ring, &params);
	}
	return r;
}

/* An empty table, which FILES_UPDATE fills: the one register call left after uring_enable. */
static int register_file_table(struct uring *ring)
{
	int *fds = malloc(ring->file_count * sizeof(*fds));
	int r;

	if (!fds)
		return -ENOMEM;
	for (unsigned int i = 0; i < ring->file_count; i++)
		fds[i] = -1;
	r = io_uring_register_files(&ring->ring, fds, ring->file_count);
	free(fds);
	return r;
}

/* liburing 2.3 declares its functions for these two operations, but does not export them. */
static int register_raw(struct uring *ring, unsigned int operation, void *argument,
			unsigned int count)
{
	long r = syscall(__NR_io_uring_register, ring->ring.ring_fd, operation, argument, count);

	return r < 0 ? -errno : 0;
}

static int restrict_ring(struct uring *ring)
{
	struct io_uring_restriction table[ARRAY_LENGTH(allowed_opcodes) + 3] = {
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_REGISTER_FILES_UPDATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(allowed_opcodes); i++) {
		table[3 + i].opcode = IORING_RESTRICTION_SQE_OP;
		table[3 + i].sqe_op = allowed_opcodes[i];
	}
	return register_raw(ring, IORING_REGISTER_RESTRICTIONS, table, ARRAY_LENGTH(table));
}

int uring_new(unsigned int entries, unsigned int files, struct uring **out)
{
	struct uring *ring = calloc(1, sizeof(*ring) + files * sizeof(ring->file_used[0]));
	int r;

	if (!ring)
		return -ENOMEM;
	ring->early_end = &ring->early_first;
	ring->file_count = files;
	r = make_ring(entries, &ring->ring);
	if (r < 0)
		goto free_memory;
	r = register_file_table(ring);
	if (r < 0)
		goto free_ring;
	r = restrict_ring(ring);
	if (r < 0)
		goto free_ring;
	*out = ring;
	return 0;

free_ring:
	io_uring_queue_exit(&ring->ring);
free_memory:
	free(ring);
	return r;
}

void uring_free(struct uring *ring)
{
	if (!ring)
		return;
	assert(!ring->early_first);
	io_uring_queue_exit(&ring->ring);
	free(ring);
}

int uring_enable(struct uring *ring)
{
	return register_raw(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int uring_add_file(struct uring *ring, int fd)
{
	/* The kernel gives negative numbers meanings of their own here. */
	if (fd < 0)
		return -EBADF;
	for (unsigned int slot = 0; slot < ring->file_count; slot++) {
		int r;

		if (ring->file_used[slot])
			continue;
		r = io_uring_register_files_update(&ring->ring, slot, &fd, 1);
		if (r < 0)
			return r;
		ring->file_used[slot] = true;
		return (int)slot;
	}
	return -ENOSPC;
}

void uring_remove_file(struct uring *ring, int slot)
{
	int none = -1;

	assert(slot >= 0 && (unsigned int)slot < ring->file_count && ring->file_used[slot]);
	io_uring_register_files_update(&ring->ring, (unsigned int)slot, &none, 1);
	ring->file_used[slot] = false;
}

/* Takes the oldest completion off the queue: its request, or NULL for that of a cancel. */
static struct uring_request *take_completion(struct uring *ring, struct io_uring_cqe *cqe)
{
	struct uring_request *request = io_uring_cqe_get_data(cqe);

	if (request) {
		request->result = cqe->res;
		request->next = NULL;
	}
	io_uring_cqe_seen(&ring->ring, cqe);
	return request;
}

/* Makes room in a full completion queue without running anyone's done. */
static void take_completions_early(struct uring *ring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
		struct uring_request *request = take_completion(ring, cqe);

		if (!request)
			continue;
		*ring->early_end = request;
		ring->early_end = &request->next;
	}
}

/* True where entering the kernel again can help. */
static bool submit_again(struct uring *ring, int error)
{
	if (error == -EBUSY || error == -EAGAIN || error == -ENOMEM)
		take_completions_early(ring);
	else if (error != -EINTR)
		return false;
	return true;
}

static struct io_uring_sqe *next_sqe(struct uring *ring)
{
	struct io_uring_sqe *sqe;

	while (io_uring_sq_ready(&ring->ring) >= SUBMIT_MAX ||
	       !(sqe = io_uring_get_sqe(&ring->ring))) {
		int r = io_uring_submit(&ring->ring);

		/* Anything else means that the ring is used wrongly. */
		if (r < 0 && !submit_again(ring, r))
			abort();
	}
	return sqe;
}

static void finish_sqe(struct io_uring_sqe *sqe, struct uring_request *request)
{
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, request);
}

static void queue_read(struct uring *ring, struct uring_request *request, int slot,
		       const struct iovec *iov, unsigned int count, uint64_t offset, int flags)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	/* One buffer needs no vector for the kernel to fetch. */
	if (count == 1)
		io_uring_prep_read(sqe, slot, iov->iov_base, (unsigned int)iov->iov_len, offset);
	else
		io_uring_prep_readv(sqe, slot, iov, count, offset);
	sqe->rw_flags = flags;
	finish_sqe(sqe, request);
}

void uring_readv(struct uring *ring, struct uring_request *request, int slot,
		 const struct iovec *iov, unsigned int count, uint64_t offset)
{
	queue_read(ring, request, slot, iov, count, offset, 0);
}

void uring_readv_now(struct uring *ring, struct uring_request *request, int slot,
		     const struct iovec *iov, unsigned int count)
{
	queue_read(ring, request, slot, iov, count, 0, RWF_NOWAIT);
}

static void queue_write(struct uring *ring, struct uring_request *request, int slot,
			const struct iovec *iov, unsigned int count, uint64_t offset, int flags)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	if (count == 1)
		io_uring_prep_write(sqe, slot, iov->iov_base, (unsigned int)iov->iov_len, offset);
	else
		io_uring_prep_writev(sqe, slot, iov, count, offset);
	sqe->rw_flags = flags;
	finish_sqe(sqe, request);
}

void uring_writev(struct uring *ring, struct uring_request *request, int slot,
		  const struct iovec *iov, unsigned int count, uint64_t offset)
{
	queue_write(ring, request, slot, iov, count, offset, 0);
}

void uring_writev_now(struct uring *ring, struct uring_request *request, int slot,
		      const struct iovec *iov, unsigned int count)
{
	queue_write(ring, request, slot, iov, count, 0, RWF_NOWAIT);
}

void uring_writev_stable(struct uring *ring, struct uring_request *request, int slot,
			 const struct iovec *iov, unsigned int count, uint64_t offset)
{
	queue_write(ring, request, slot, iov, count, offset, RWF_DSYNC);
}

void uring_fdatasync(struct uring *ring, struct uring_request *request, int slot)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_fsync(sqe, slot, IORING_FSYNC_DATASYNC);
	finish_sqe(sqe, request);
}

void uring_fallocate(struct uring *ring, struct uring_request *request, int slot, int mode,
		     uint64_t offset, uint64_t length)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, slot, NULL, (unsigned int)mode, offset);
	sqe->addr = length;
	finish_sqe(sqe, request);
}

void uring_read_event(struct uring *ring, struct uring_request *request, int slot, uint64_t *value)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_read(sqe, slot, value, sizeof(*value), 0);
	finish_sqe(sqe, request);
}

void uring_poll(struct uring *ring, struct uring_request *request, int slot, unsigned int events)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_poll_add(sqe, slot, events);
	finish_sqe(sqe, request);
}

void uring_recv(struct uring *ring, struct uring_request *request, int slot, void *data,
		size_t bytes)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_recv(sqe, slot, data, bytes, 0);
	finish_sqe(sqe, request);
}

void uring_send(struct uring *ring, struct uring_request *request, int slot, const void *data,
		size_t bytes)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_send(sqe, slot, data, bytes, MSG_NOSIGNAL);
	finish_sqe(sqe, request);
}

void uring_cancel(struct uring *ring, struct uring_request *request)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_cancel(sqe, request, 0);
	/* A cancel names no file; the flag is there because the ring demands it of everything. */
	finish_sqe(sqe, NULL);
}

static int run_early(struct uring *ring)
{
	struct uring_request *request = ring->early_first;
	int count = 0;

	ring->early_first = NULL;
	ring->early_end = &ring->early_first;
	while (request) {
		struct uring_request *next = request->next;

		request->done(request, request->result);
		request = next;
		count++;
	}
	return count;
}

bool uring_has_queued(const struct uring *ring)
{
	return io_uring_sq_ready(&ring->ring) > 0;
}

static bool has_completion(const struct uring *ring)
{
	return ring->early_first || io_uring_cq_ready(&ring->ring) > 0;
}

static int enter_kernel(struct uring *ring, bool wait)
{
	int r;

	if (has_completion(ring) && !uring_has_queued(ring))
		return 0;
	do {
		if (wait && !has_completion(ring))
			r = io_uring_submit_and_wait(&ring->ring, 1);
		else
			r = io_uring_submit_and_get_events(&ring->ring);
	} while (r < 0 && submit_again(ring, r));
	return r < 0 ? r : 0;
}

bool uring_has_done(const struct uring *ring)
{
	return has_completion(ring) ||
	       __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN;
}

int uring_run(struct uring *ring, bool wait)
{
	struct io_uring_cqe *cqe;
	unsigned int ready;
	int count;
	int r = enter_kernel(ring, wait);

	if (r < 0)
		return r;
	count = run_early(ring);
	/* What completes from here on is left to the next run, so that a batch has an end. */
	ready = MIN(io_uring_cq_ready(&ring->ring), RUN_MAX);
	while (ready-- > 0 && io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
		struct uring_request *request = take_completion(ring, cqe);

		if (!request)
			continue;
		request->done(request, request->result);
		count++;
	}
	return count;
}
