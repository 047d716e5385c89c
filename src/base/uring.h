#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * An io_uring with one owner thread.  It is made disabled, told which opcodes it may ever run,
 * and then enabled by the thread that owns it from there on; only registered (fixed) files can
 * be named by a request, so a worker that loses control of it can reach nothing else.
 */

struct uring;

/* A request in flight.  The caller embeds it and keeps it until done is called. */
struct uring_request {
	/* On the owner thread; result is a byte count or a negative errno. */
	void (*done)(struct uring_request *request, int32_t result);
	/* The ring's own, for a completion that was taken before its turn. */
	struct uring_request *next;
	int32_t result;
};

/* entries: submission queue size; files: how many fixed file slots.  The calling thread need
 * not be the owner.  -errno; -ENOSYS where the kernel has no io_uring or forbids it. */
int uring_new(unsigned int entries, unsigned int files, struct uring **out);

/* Every request must have completed. */
void uring_free(struct uring *ring);

/* Restricts and enables the ring; the caller becomes its owner thread. */
int uring_enable(struct uring *ring);

/* Puts fd into a free fixed slot and returns the slot's index, or -ENOSPC / -errno.  The ring
 * holds its own reference.  Owner thread, or before uring_enable. */
int uring_add_file(struct uring *ring, int fd);
void uring_remove_file(struct uring *ring, int slot);

/*
 * Queue one request on a fixed file (slot, as uring_add_file gave it).  iov must stay valid until
 * done.  They never fail for want of queue space: a full queue is submitted first.  Files without a
 * position (sockets, taps) want offset 0.  Owner thread.
 */
void uring_readv(struct uring *ring, struct uring_request *request, int slot,
		 const struct iovec *iov, unsigned int count, uint64_t offset);
void uring_writev(struct uring *ring, struct uring_request *request, int slot,
		  const struct iovec *iov, unsigned int count, uint64_t offset);
/* The same for files without a position, completing at once: with -EAGAIN where it would have to
 * wait, -EOPNOTSUPP where the kernel cannot tell.  Those queued run in order. */
void uring_readv_now(struct uring *ring, struct uring_request *request, int slot,
		     const struct iovec *iov, unsigned int count);
void uring_writev_now(struct uring *ring, struct uring_request *request, int slot,
		      const struct iovec *iov, unsigned int count);
/* The same, and the data is on stable storage before done (RWF_DSYNC). */
void uring_writev_stable(struct uring *ring, struct uring_request *request, int slot,
			 const struct iovec *iov, unsigned int count, uint64_t offset);
void uring_fdatasync(struct uring *ring, struct uring_request *request, int slot);
/* mode as fallocate(2): FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE ... */
void uring_fallocate(struct uring *ring, struct uring_request *request, int slot, int mode,
		     uint64_t offset, uint64_t length);
/* Reads an eventfd's count into *value; completes when it is not 0.  The eventfd must not be
 * O_NONBLOCK, or it completes at once with -EAGAIN. */
void uring_read_event(struct uring *ring, struct uring_request *request, int slot, uint64_t *value);
/* Completes once, with the poll(2) bits that are there, when any of events (or an error) is. */
void uring_poll(struct uring *ring, struct uring_request *request, int slot, unsigned int events);
/*
 * On a connected socket that is not O_NONBLOCK, or it completes at once with -EAGAIN.  recv
 * completes when there is anything, with 0 at the end of the stream; send may take less than all,
 * and raises no signal where nobody reads any more (-EPIPE).
 */
void uring_recv(struct uring *ring, struct uring_request *request, int slot, void *data,
		size_t bytes);
void uring_send(struct uring *ring, struct uring_request *request, int slot, const void *data,
		size_t bytes);
/* Asks the kernel to end a request early; its done is still called (-ECANCELED or its result). */
void uring_cancel(struct uring *ring, struct uring_request *request);

/* Whether uring_run has anything to submit.  Owner thread. */
bool uring_has_queued(const struct uring *ring);

/* Whether uring_run has, or would probably find, something to call done for: a look at shared
 * memory, no system call.  Owner thread. */
bool uring_has_done(const struct uring *ring);

/* Submits what is queued, waits for at least one completion if wait, and calls done for those
 * that are there, or some of them if they are many.  Returns how many, or -errno (-EINTR is
 * retried).  Owner thread. */
int uring_run(struct uring *ring, bool wait);
