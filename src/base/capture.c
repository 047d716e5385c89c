#include "base/capture.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"

/*
 * The ring holds blocks just as the file shall have them.  Positions count bytes without end; a
 * producer takes a range by moving head, fills it, and shows it by storing the block's type, its
 * first word, last: a word of 0 is a block in the making.  The I/O thread writes shown blocks,
 * clears their bytes and moves tail.  Blocks do not wrap: what is left at the ring's end is skipped
 * by the word SKIP.
 */

#define SKIP	       UINT32_MAX
#define WRITE_MAX      (128u << 10)
#define FLUSH_NS       100000000ull
#define NAME_MAX_BYTES 63u
#define HEADER_MAX     512u
#define NS_A_SECOND    1000000000ull

struct capture {
	int fd;
	int slot;
	struct io_thread *thread;
	struct event_source *timer;
	uint8_t *ring;
	_Atomic uint64_t head;
	_Atomic uint64_t tail;
	_Atomic uint64_t received;
	_Atomic uint64_t dropped;
	_Atomic uint32_t dropped_before; /* the next packet that is kept */
	_Atomic bool scheduled;
	_Atomic int error;
	_Atomic uint64_t written; /* the file's size */
	struct io_post post;
	/* The I/O thread's. */
	struct uring_request request;
	struct iovec iov;
	uint64_t span_end; /* of what is being written */
	bool writing;
	bool draining;
	sem_t drained;
};

struct block_header {
	uint32_t type;
	uint32_t length; /* of the whole block; repeated at its end */
};

struct packet_header {
	struct block_header block;
	uint32_t interface;
	uint32_t time_high;
	uint32_t time_low;
	uint32_t captured;
	uint32_t original;
};

static uint32_t padded(uint32_t bytes)
{
	return (bytes + 3) & ~3u;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_A_SECOND + (uint64_t)now.tv_nsec;
}

static _Atomic uint32_t *word_at(const struct capture *capture, uint64_t position)
{
	return (_Atomic uint32_t *)(capture->ring + position % CAPTURE_RING_BYTES);
}

/* Appends an option; bytes is at most NAME_MAX_BYTES. */
static uint8_t *put_option(uint8_t *at, enum capture_option code, const void *value, size_t bytes)
{
	const uint16_t header[2] = {(uint16_t)code, (uint16_t)bytes};

	memcpy(at, header, sizeof(header));
	memset(at + sizeof(header), 0, padded((uint32_t)bytes));
	memcpy(at + sizeof(header), value, bytes);
	return at + sizeof(header) + padded((uint32_t)bytes);
}

static uint8_t *put_text(uint8_t *at, enum capture_option code, const char *text)
{
	return put_option(at, code, text, strnlen(text, NAME_MAX_BYTES));
}

/* Ends the options and the block that began at start. */
static uint8_t *end_block(uint8_t *start, uint8_t *at)
{
	uint32_t length;

	at = put_option(at, CAPTURE_OPTION_END, "", 0);
	length = (uint32_t)(at + sizeof(length) - start);
	memcpy(at, &length, sizeof(length));
	memcpy(start + offsetof(struct block_header, length), &length, sizeof(length));
	return at + sizeof(length);
}

static uint8_t *put_section(uint8_t *start)
{
	const struct {
		struct block_header block;
		uint32_t byte_order;
		uint16_t major, minor;
		int64_t length; /* not known */
	} __attribute__((packed))
	header = {{CAPTURE_SECTION_TYPE, 0}, CAPTURE_BYTE_ORDER, 1, 0, -1};

	memcpy(start, &header, sizeof(header));
	return end_block(start,
			 put_text(start + sizeof(header), CAPTURE_SECTION_APPLICATION, "Bulkhead"));
}

static uint8_t *put_interface(uint8_t *start, const struct capture_config *config)
{
	const struct {
		struct block_header block;
		uint16_t link_type, reserved;
		uint32_t longest;
	} header = {{CAPTURE_INTERFACE, 0}, config->link_type, 0, CAPTURE_PACKET_MAX};
	const uint8_t nanoseconds = 9;
	uint8_t *at = start + sizeof(header);

	memcpy(start, &header, sizeof(header));
	at = put_text(at, CAPTURE_INTERFACE_NAME, config->name);
	at = put_text(at, CAPTURE_INTERFACE_DESCRIPTION, config->description);
	at = put_option(at, CAPTURE_INTERFACE_TIME_UNIT, &nanoseconds, 1);
	return end_block(start, at);
}

static uint8_t *put_statistics(uint8_t *start, const struct capture *capture)
{
	uint64_t now = now_ns(), received = capture->received, dropped = capture->dropped;
	const uint32_t time[2] = {(uint32_t)(now >> 32), (uint32_t)now};
	const struct {
		struct block_header block;
		uint32_t interface;
		uint32_t time[2];
	} header = {{CAPTURE_STATISTICS, 0}, 0, {time[0], time[1]}};
	uint8_t *at = start + sizeof(header);

	memcpy(start, &header, sizeof(header));
	at = put_option(at, CAPTURE_STATISTICS_END, time, sizeof(time));
	at = put_option(at, CAPTURE_STATISTICS_RECEIVED, &received, sizeof(received));
	at = put_option(at, CAPTURE_STATISTICS_DROPPED, &dropped, sizeof(dropped));
	return end_block(start, at);
}

static int write_now(struct capture *capture, const uint8_t *data, size_t bytes)
{
	ssize_t done = pwrite(capture->fd, data, bytes, (off_t)capture->written);

	if (done != (ssize_t)bytes)
		return done < 0 ? -errno : -ENOSPC;
	capture->written += bytes;
	return 0;
}

static int begin_file(struct capture *capture, const struct capture_config *config)
{
	uint8_t header[HEADER_MAX];

	return write_now(capture, header,
			 (size_t)(put_interface(put_section(header), config) - header));
}

static void lose(struct capture *capture, uint32_t count)
{
	atomic_fetch_add_explicit(&capture->dropped, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&capture->dropped_before, count, memory_order_relaxed);
}

/* Has the I/O thread look. */
static void schedule(struct capture *capture)
{
	if (!atomic_exchange_explicit(&capture->scheduled, true, memory_order_acq_rel))
		io_thread_post(capture->thread, &capture->post);
}

/* A range of the ring for a block of length bytes: its position, or UINT64_MAX. */
static uint64_t reserve(struct capture *capture, uint32_t length)
{
	/* In this order: the tail never passes a head that is read after it. */
	uint64_t tail = atomic_load_explicit(&capture->tail, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&capture->head, memory_order_relaxed);
	uint32_t skip;

	do {
		uint32_t left = CAPTURE_RING_BYTES - (uint32_t)(head % CAPTURE_RING_BYTES);

		skip = left < length ? left : 0;
		if (head + skip + length - tail > CAPTURE_RING_BYTES)
			return UINT64_MAX;
	} while (!atomic_compare_exchange_weak_explicit(&capture->head, &head, head + skip + length,
							memory_order_relaxed,
							memory_order_relaxed));
	if (skip)
		atomic_store_explicit(word_at(capture, head), SKIP, memory_order_release);
	if (head - tail > CAPTURE_RING_BYTES / 4)
		schedule(capture);
	return head + skip;
}

static uint32_t gather(uint8_t *to, const struct iovec *iov, unsigned int count, uint32_t bytes)
{
	uint32_t done = 0;

	for (unsigned int i = 0; i < count && done < bytes; i++) {
		uint32_t part = (uint32_t)MIN(iov[i].iov_len, (size_t)(bytes - done));

		memcpy(to + done, iov[i].iov_base, part);
		done += part;
	}
	return done;
}

static uint32_t length_of(const struct iovec *iov, unsigned int count)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < count; i++)
		bytes += MIN(iov[i].iov_len, (size_t)CAPTURE_PACKET_MAX);
	return (uint32_t)MIN(bytes, (uint64_t)CAPTURE_PACKET_MAX);
}

void capture_record(struct capture *capture, enum capture_direction direction,
		    const struct iovec *iov, unsigned int count, uint32_t original_bytes)
{
	bool lost = atomic_load_explicit(&capture->dropped_before, memory_order_relaxed) > 0;
	uint64_t time = now_ns(), position = UINT64_MAX;
	struct packet_header header = {.block.type = 0};
	uint32_t flags = direction;
	uint8_t *start, *at;

	header.captured = length_of(iov, count);
	header.original = MAX(original_bytes, header.captured);
	header.time_high = (uint32_t)(time >> 32);
	header.time_low = (uint32_t)time;
	header.block.length =
		(uint32_t)sizeof(header) + padded(header.captured) + 8 + (lost ? 12 : 0) + 4 + 4;
	atomic_fetch_add_explicit(&capture->received, 1, memory_order_relaxed);
	if (!atomic_load_explicit(&capture->error, memory_order_relaxed))
		position = reserve(capture, header.block.length);
	if (position == UINT64_MAX) {
		lose(capture, 1);
		return;
	}
	start = capture->ring + position % CAPTURE_RING_BYTES;
	memcpy(start, &header, sizeof(header));
	at = start + sizeof(header);
	/* The bytes behind it are 0. */
	gather(at, iov, count, header.captured);
	at = put_option(at + padded(header.captured), CAPTURE_PACKET_FLAGS, &flags, sizeof(flags));
	if (lost) {
		uint64_t before = atomic_exchange(&capture->dropped_before, 0);

		at = put_option(at, CAPTURE_PACKET_DROPPED, &before, sizeof(before));
	}
	end_block(start, at);
	atomic_store_explicit(word_at(capture, position), CAPTURE_PACKET, memory_order_release);
}

/* Where the blocks end that are shown and lie in a row from tail on. */
static uint64_t shown_until(const struct capture *capture, uint64_t tail)
{
	uint64_t head = atomic_load_explicit(&capture->head, memory_order_acquire);
	uint64_t position = tail;

	while (position < head && position - tail < WRITE_MAX) {
		uint32_t type =
			atomic_load_explicit(word_at(capture, position), memory_order_acquire);
		const struct block_header *block = (const void *)word_at(capture, position);

		if (type == 0 || type == SKIP)
			break;
		position += block->length;
		if (position % CAPTURE_RING_BYTES == 0)
			break;
	}
	return position;
}

/* Gives the range [tail, end) back to the producers. */
static void release(struct capture *capture, uint64_t end)
{
	uint64_t tail = atomic_load_explicit(&capture->tail, memory_order_relaxed);

	memset(capture->ring + tail % CAPTURE_RING_BYTES, 0, end - tail);
	atomic_store_explicit(&capture->tail, end, memory_order_release);
}

/* Passes the unused end of the ring. */
static void pass_end(struct capture *capture)
{
	uint64_t tail = atomic_load_explicit(&capture->tail, memory_order_relaxed);

	if (tail < atomic_load_explicit(&capture->head, memory_order_acquire) &&
	    atomic_load_explicit(word_at(capture, tail), memory_order_acquire) == SKIP)
		release(capture, tail + CAPTURE_RING_BYTES - tail % CAPTURE_RING_BYTES);
}

static void write_on(struct capture *capture)
{
	uring_writev(io_thread_uring(capture->thread), &capture->request, capture->slot,
		     &capture->iov, 1, capture->written);
}

static void write_more(struct capture *capture)
{
	uint64_t tail;

	if (capture->writing)
		return;
	pass_end(capture);
	tail = atomic_load_explicit(&capture->tail, memory_order_relaxed);
	capture->span_end = shown_until(capture, tail);
	if (capture->span_end != tail) {
		capture->writing = true;
		capture->iov = (struct iovec){capture->ring + tail % CAPTURE_RING_BYTES,
					      capture->span_end - tail};
		write_on(capture);
	} else if (capture->draining) {
		capture->draining = false;
		sem_post(&capture->drained);
	}
}

/* What was not written, blocks cut in the middle too, is lost. */
static void fail(struct capture *capture, int error)
{
	uint64_t position = atomic_load_explicit(&capture->tail, memory_order_relaxed);
	uint32_t count = 0;

	for (; position < capture->span_end; count++)
		position += ((const struct block_header *)word_at(capture, position))->length;
	atomic_fetch_add_explicit(&capture->dropped, count, memory_order_relaxed);
	if (!capture->error)
		atomic_store(&capture->error, error);
}

static void on_written(struct uring_request *request, int32_t result)
{
	struct capture *capture = container_of(request, struct capture, request);

	if (result > 0) {
		capture->written += (uint32_t)result;
		capture->iov.iov_base = (uint8_t *)capture->iov.iov_base + result;
		capture->iov.iov_len -= (uint32_t)result;
		if (capture->iov.iov_len > 0) {
			write_on(capture);
			return;
		}
	} else {
		fail(capture, result ? -result : ENOSPC);
	}
	release(capture, capture->span_end);
	capture->writing = false;
	write_more(capture);
}

static void on_post(struct io_post *post)
{
	struct capture *capture = container_of(post, struct capture, post);

	atomic_store_explicit(&capture->scheduled, false, memory_order_release);
	write_more(capture);
}

static void on_timer(void *context, uint32_t events)
{
	struct capture *capture = context;

	if (atomic_load(&capture->head) != atomic_load(&capture->tail))
		schedule(capture);
}

static void add_file(void *context)
{
	struct capture *capture = context;

	capture->slot = uring_add_file(io_thread_uring(capture->thread), capture->fd);
}

static void remove_file(void *context)
{
	struct capture *capture = context;

	uring_remove_file(io_thread_uring(capture->thread), capture->slot);
}

static void drain(void *context)
{
	struct capture *capture = context;

	capture->draining = true;
	write_more(capture);
}

static int start(struct capture *capture, struct event_loop *loop)
{
	int r = event_loop_timer(loop, on_timer, capture, &capture->timer);

	if (!r)
		r = event_timer_arm(capture->timer, FLUSH_NS, FLUSH_NS);
	if (r)
		return r;
	io_thread_call(capture->thread, add_file, capture);
	return capture->slot < 0 ? capture->slot : 0;
}

static void free_memory(struct capture *capture)
{
	event_source_remove(capture->timer);
	if (capture->ring != MAP_FAILED)
		munmap(capture->ring, CAPTURE_RING_BYTES);
	sem_destroy(&capture->drained);
	free(capture);
}

int capture_new(const struct capture_config *config, struct capture **out)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	int r;

	if (!capture)
		return -ENOMEM;
	capture->fd = config->fd;
	capture->thread = config->thread;
	capture->post.run = on_post;
	capture->request.done = on_written;
	sem_init(&capture->drained, 0, 0);
	capture->ring = mmap(NULL, CAPTURE_RING_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r = capture->ring == MAP_FAILED ? -ENOMEM : begin_file(capture, config);
	if (!r)
		r = start(capture, config->loop);
	if (r) {
		free_memory(capture);
		return r;
	}
	*out = capture;
	return 0;
}

static void nothing(void *context)
{
}

void capture_free(struct capture *capture)
{
	uint8_t statistics[HEADER_MAX];

	if (!capture)
		return;
	if (capture->head != capture->tail) {
		io_thread_call(capture->thread, drain, capture);
		while (sem_wait(&capture->drained) < 0)
			;
	}
	/* A post that is on its way comes before it. */
	io_thread_call(capture->thread, nothing, NULL);
	io_thread_call(capture->thread, remove_file, capture);
	if (!capture->error)
		write_now(capture, statistics,
			  (size_t)(put_statistics(statistics, capture) - statistics));
	close(capture->fd);
	free_memory(capture);
}

void capture_inspect(const struct capture *capture, struct state_writer *writer)
{
	state_put_u64(writer, "packets", capture->received);
	state_put_u64(writer, "dropped", capture->dropped);
	state_put_u64(writer, "file-bytes", capture->written);
	if (capture->error)
		state_put_string(writer, "error", strerror(capture->error));
}
