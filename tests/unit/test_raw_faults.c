/*
 * The raw backend over a ring that answers what each test scripts: short transfers, refusals,
 * lost flushes.  White box: the ring's functions below stand in for base/uring.c.
 */
#include "devices/block/raw.c"

#include <stdlib.h>

#include "suite.h"

enum call_kind {
	CALL_READ,
	CALL_WRITE,
	CALL_WRITE_STABLE,
	CALL_SYNC,
	CALL_ALLOCATE,
};

struct call {
	enum call_kind kind;
	struct uring_request *request;
	struct iovec iov[4];
	unsigned int count;
	uint64_t offset;
	uint64_t length;
	int mode;
};

struct uring {
	struct call calls[64];
	unsigned int made;
	unsigned int answered;
};

static struct uring ring;

static struct call *add_call(enum call_kind kind, struct uring_request *request)
{
	struct call *call = &ring.calls[ring.made++];

	ck_assert_uint_le(ring.made, ARRAY_LENGTH(ring.calls));
	*call = (struct call){.kind = kind, .request = request};
	return call;
}

static void add_transfer(enum call_kind kind, struct uring_request *request,
			 const struct iovec *iov, unsigned int count, uint64_t offset)
{
	struct call *call = add_call(kind, request);

	ck_assert_uint_le(count, ARRAY_LENGTH(call->iov));
	memcpy(call->iov, iov, count * sizeof(*iov));
	call->count = count;
	call->offset = offset;
}

void uring_readv(struct uring *r, struct uring_request *request, int slot, const struct iovec *iov,
		 unsigned int count, uint64_t offset)
{
	add_transfer(CALL_READ, request, iov, count, offset);
}

void uring_writev(struct uring *r, struct uring_request *request, int slot, const struct iovec *iov,
		  unsigned int count, uint64_t offset)
{
	add_transfer(CALL_WRITE, request, iov, count, offset);
}

void uring_writev_stable(struct uring *r, struct uring_request *request, int slot,
			 const struct iovec *iov, unsigned int count, uint64_t offset)
{
	add_transfer(CALL_WRITE_STABLE, request, iov, count, offset);
}

void uring_fdatasync(struct uring *r, struct uring_request *request, int slot)
{
	add_call(CALL_SYNC, request);
}

void uring_fallocate(struct uring *r, struct uring_request *request, int slot, int mode,
		     uint64_t offset, uint64_t length)
{
	struct call *call = add_call(CALL_ALLOCATE, request);

	call->mode = mode;
	call->offset = offset;
	call->length = length;
}

int uring_add_file(struct uring *r, int fd)
{
	return 0;
}

void uring_remove_file(struct uring *r, int slot)
{
}

struct uring *io_thread_uring(struct io_thread *thread)
{
	return &ring;
}

/* Threads are told apart by their address alone. */
struct io_thread {
	struct io_post *post;
};

static struct io_thread threads[2];

void io_thread_post(struct io_thread *thread, struct io_post *post)
{
	ck_assert_ptr_null(thread->post);
	thread->post = post;
}

/* The thread comes to run. */
static void run_post(struct io_thread *thread)
{
	struct io_post *post = thread->post;

	ck_assert_ptr_nonnull(post);
	thread->post = NULL;
	post->run(post);
}

/* Answers the oldest call that has no answer yet, after checking what it is. */
static struct call *answer(enum call_kind kind, int32_t result)
{
	struct call *call = &ring.calls[ring.answered];

	ck_assert_uint_lt(ring.answered, ring.made);
	ring.answered++;
	ck_assert_int_eq(call->kind, kind);
	call->request->done(call->request, result);
	return call;
}

/* Answers the youngest call, before those that are older. */
static void answer_youngest(enum call_kind kind, int32_t result)
{
	struct call call = ring.calls[ring.made - 1];

	ck_assert_uint_lt(ring.answered, ring.made);
	ring.made--;
	ck_assert_int_eq(call.kind, kind);
	call.request->done(call.request, result);
}

static struct raw_disk disk;
static struct block_queue *queue, *other;
static uint8_t zeroes[RAW_ZEROES_BYTES];
static _Alignas(4096) uint8_t data[8192];

struct outcome {
	struct block_request request;
	unsigned int count;
	int result;
};

static void note(struct block_request *request, int result)
{
	struct outcome *outcome = container_of(request, struct outcome, request);

	outcome->count++;
	outcome->result = result;
}

static void setup(void)
{
	memset(&ring, 0, sizeof(ring));
	disk = (struct raw_disk){
		.disk = {&block_raw, {.bytes = 1 << 20, .logical_block = 512}},
		.memory_align = 1,
		.zeroes = zeroes,
	};
	sync_order_init(&disk.syncs);
	ck_assert_int_eq(raw_attach(&disk.disk, &threads[0], &queue), 0);
	ck_assert_int_eq(raw_attach(&disk.disk, &threads[1], &other), 0);
}

static void setup_direct(void)
{
	setup();
	raw_detach(queue);
	disk.direct = true;
	disk.memory_align = 512;
	ck_assert_int_eq(raw_attach(&disk.disk, &threads[0], &queue), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(ring.answered, ring.made);
	ck_assert_ptr_null(threads[0].post);
	ck_assert_ptr_null(threads[1].post);
	raw_detach(queue);
	raw_detach(other);
	sync_order_cleanup(&disk.syncs);
}

static struct outcome *submit_on(struct block_queue *on, struct outcome *outcome,
				 enum block_operation operation, const struct iovec *iov,
				 unsigned int count)
{
	outcome->request.operation = operation;
	outcome->request.offset = 4096;
	outcome->request.iov = iov;
	outcome->request.iov_count = count;
	outcome->request.done = note;
	outcome->request.length = 0;
	for (unsigned int i = 0; i < count; i++)
		outcome->request.length += iov[i].iov_len;
	if (count == 0)
		outcome->request.length = 1 << 19;
	outcome->count = 0;
	raw_submit(on, &outcome->request);
	return outcome;
}

static struct outcome *submit(struct outcome *outcome, enum block_operation operation,
			      const struct iovec *iov, unsigned int count)
{
	return submit_on(queue, outcome, operation, iov, count);
}

static void expect(const struct outcome *outcome, int result)
{
	ck_assert_uint_eq(outcome->count, 1);
	ck_assert_int_eq(outcome->result, result);
}

START_TEST(a_short_transfer_goes_on_where_it_stopped)
{
	const struct iovec iov[] = {{data, 1024}, {data + 2048, 1024}};
	struct outcome a = {0};
	const struct call *call;

	submit(&a, _i ? BLOCK_WRITE : BLOCK_READ, iov, 2);
	call = answer(_i ? CALL_WRITE : CALL_READ, 512);
	ck_assert_uint_eq(call->count, 2);
	/* The rest of the first entry, then the second. */
	call = answer(_i ? CALL_WRITE : CALL_READ, 512);
	ck_assert_uint_eq(call->count, 1);
	ck_assert_ptr_eq(call->iov[0].iov_base, data + 512);
	ck_assert_uint_eq(call->iov[0].iov_len, 512);
	ck_assert_uint_eq(call->offset, 4096 + 512);
	call = answer(_i ? CALL_WRITE : CALL_READ, 1000);
	ck_assert_ptr_eq(call->iov[0].iov_base, data + 2048);
	ck_assert_uint_eq(call->offset, 4096 + 1024);
	ck_assert_uint_eq(a.count, 0);
	call = answer(_i ? CALL_WRITE : CALL_READ, 24);
	ck_assert_uint_eq(call->offset, 4096 + 2024);
	expect(&a, 0);
}
END_TEST

START_TEST(interruptions_are_retried)
{
	const struct iovec iov = {data, 512};
	struct outcome a = {0}, b = {0};

	submit(&a, BLOCK_READ, &iov, 1);
	answer(CALL_READ, -EAGAIN);
	answer(CALL_READ, -EINTR);
	answer(CALL_READ, 512);
	expect(&a, 0);
	submit(&b, BLOCK_FLUSH, NULL, 0);
	answer(CALL_SYNC, -EINTR);
	answer(CALL_SYNC, 0);
	expect(&b, 0);
}
END_TEST

START_TEST(the_end_of_the_file_is_an_error)
{
	const struct iovec iov = {data, 1024};
	struct outcome a = {0};

	submit(&a, BLOCK_READ, &iov, 1);
	answer(CALL_READ, 512);
	answer(CALL_READ, 0);
	expect(&a, -EIO);
}
END_TEST

START_TEST(errors_are_passed_on)
{
	const struct iovec iov = {data, 1024};
	struct outcome a = {0};

	submit(&a, BLOCK_WRITE, &iov, 1);
	answer(CALL_WRITE, 512);
	answer(CALL_WRITE, -ENOSPC);
	expect(&a, -ENOSPC);
}
END_TEST

START_TEST(a_stable_write_that_loses_data_fails_all_later_flushes)
{
	const struct iovec iov = {data, 1024};
	struct outcome a = {0}, b = {0}, c = {0};

	a.request.force_unit_access = true;
	submit(&a, BLOCK_WRITE, &iov, 1);
	answer(CALL_WRITE_STABLE, 512);
	answer(CALL_WRITE_STABLE, -EIO);
	/* The write is possible: what failed was its sync, which told of any lost page. */
	ck_assert_uint_eq(answer(CALL_WRITE, 512)->offset, 4096 + 512);
	expect(&a, -EIO);
	submit(&b, BLOCK_FLUSH, NULL, 0);
	expect(&b, -EIO);
	/* Other writes go on, and a new one is stable again. */
	c.request.force_unit_access = true;
	submit(&c, BLOCK_WRITE, &iov, 1);
	answer(CALL_WRITE_STABLE, 1024);
	expect(&c, 0);
}
END_TEST

START_TEST(a_stable_write_without_space_loses_nothing)
{
	const struct iovec iov = {data, 1024};
	struct outcome a = {0}, b = {0};

	a.request.force_unit_access = true;
	submit(&a, BLOCK_WRITE, &iov, 1);
	answer(CALL_WRITE_STABLE, -ENOSPC);
	answer(CALL_WRITE, -EINTR);
	answer(CALL_WRITE, -ENOSPC);
	expect(&a, -ENOSPC);
	submit(&b, BLOCK_FLUSH, NULL, 0);
	answer(CALL_SYNC, 0);
	expect(&b, 0);
}
END_TEST

START_TEST(a_failed_flush_fails_all_later_ones)
{
	struct outcome a = {0}, b = {0}, c = {0};

	submit(&a, BLOCK_FLUSH, NULL, 0);
	submit(&b, BLOCK_FLUSH, NULL, 0);
	answer(CALL_SYNC, -EIO);
	expect(&a, -EIO);
	/* Was on its way already: its success says nothing about what the first one lost. */
	answer(CALL_SYNC, 0);
	expect(&b, -EIO);
	submit(&c, BLOCK_FLUSH, NULL, 0);
	expect(&c, -EIO);
}
END_TEST

/* The kernel told the first flush alone of the loss, and its answer is still on the way. */
START_TEST(a_good_flush_waits_for_those_beside_it)
{
	struct outcome a = {0}, b = {0};

	submit(&a, BLOCK_FLUSH, NULL, 0);
	submit_on(_i ? other : queue, &b, BLOCK_FLUSH, NULL, 0);
	answer_youngest(CALL_SYNC, 0);
	ck_assert_uint_eq(b.count, 0);
	answer(CALL_SYNC, -EIO);
	expect(&a, -EIO);
	if (_i) {
		ck_assert_uint_eq(b.count, 0);
		run_post(&threads[1]);
	}
	expect(&b, -EIO);
}
END_TEST

START_TEST(a_flush_waits_for_none_that_began_later)
{
	struct outcome a = {0}, b = {0}, c = {0}, d = {0};

	submit_on(other, &a, BLOCK_FLUSH, NULL, 0);
	submit(&b, BLOCK_FLUSH, NULL, 0);
	submit(&c, BLOCK_FLUSH, NULL, 0);
	answer_youngest(CALL_SYNC, 0);
	answer_youngest(CALL_SYNC, 0);
	submit(&d, BLOCK_FLUSH, NULL, 0);
	ck_assert_uint_eq(b.count + c.count, 0);
	answer(CALL_SYNC, 0);
	/* The later one holds back what was beside it, and nothing else. */
	ck_assert_uint_eq(a.count, 0);
	run_post(&threads[0]);
	expect(&b, 0);
	expect(&c, 0);
	answer(CALL_SYNC, 0);
	expect(&d, 0);
	run_post(&threads[1]);
	expect(&a, 0);
}
END_TEST

/* Between its failure and the plain write that tells what it was, nothing is known. */
START_TEST(a_stable_write_holds_flushes_back)
{
	const struct iovec iov = {data, 512};
	struct outcome a = {0}, b = {0};

	a.request.force_unit_access = true;
	submit(&a, BLOCK_WRITE, &iov, 1);
	submit_on(other, &b, BLOCK_FLUSH, NULL, 0);
	answer_youngest(CALL_SYNC, 0);
	answer(CALL_WRITE_STABLE, -EIO);
	ck_assert_uint_eq(a.count + b.count, 0);
	answer(CALL_WRITE, 512);
	expect(&a, -EIO);
	run_post(&threads[1]);
	expect(&b, -EIO);
}
END_TEST

START_TEST(a_stable_write_is_held_too)
{
	const struct iovec iov = {data, 512};
	struct outcome a = {0}, b = {0};

	submit_on(other, &a, BLOCK_FLUSH, NULL, 0);
	b.request.force_unit_access = true;
	submit(&b, BLOCK_WRITE, &iov, 1);
	answer_youngest(CALL_WRITE_STABLE, 512);
	ck_assert_uint_eq(b.count, 0);
	answer(CALL_SYNC, _i ? -EIO : 0);
	expect(&a, _i ? -EIO : 0);
	run_post(&threads[0]);
	expect(&b, _i ? -EIO : 0);
}
END_TEST

START_TEST(zeroes_fall_back_step_by_step)
{
	struct outcome a = {0}, b = {0}, c = {0};

	a.request.may_unmap = true;
	submit(&a, BLOCK_WRITE_ZEROES, NULL, 0);
	ck_assert_int_eq(answer(CALL_ALLOCATE, -EOPNOTSUPP)->mode,
			 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	ck_assert_int_eq(answer(CALL_ALLOCATE, -EOPNOTSUPP)->mode,
			 FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	ck_assert_uint_eq(answer(CALL_WRITE, RAW_ZEROES_BYTES)->offset, 4096);
	answer(CALL_WRITE, 512);
	ck_assert_uint_eq(answer(CALL_WRITE, RAW_ZEROES_BYTES - 512)->offset,
			  4096 + RAW_ZEROES_BYTES + 512);
	expect(&a, 0);
	/* What is known not to work is not tried again. */
	submit(&b, BLOCK_WRITE_ZEROES, NULL, 0);
	answer(CALL_WRITE, -ENOSPC);
	expect(&b, -ENOSPC);
	submit(&c, BLOCK_DISCARD, NULL, 0);
	expect(&c, -EOPNOTSUPP);
}
END_TEST

START_TEST(zeroes_that_must_stay_allocated_are_no_hole)
{
	struct outcome a = {0}, b = {0};

	submit(&a, BLOCK_WRITE_ZEROES, NULL, 0);
	ck_assert_int_eq(answer(CALL_ALLOCATE, 0)->mode,
			 FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	expect(&a, 0);
	submit(&b, BLOCK_WRITE_ZEROES, NULL, 0);
	answer(CALL_ALLOCATE, -EIO);
	expect(&b, -EIO);
}
END_TEST

START_TEST(discards_do_not_write)
{
	struct outcome a = {0}, b = {0};

	submit(&a, BLOCK_DISCARD, NULL, 0);
	ck_assert_int_eq(answer(CALL_ALLOCATE, 0)->mode,
			 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	expect(&a, 0);
	submit(&b, BLOCK_DISCARD, NULL, 0);
	answer(CALL_ALLOCATE, -EOPNOTSUPP);
	expect(&b, -EOPNOTSUPP);
}
END_TEST

START_TEST(a_read_only_disk_changes_nothing)
{
	static const enum block_operation operations[] = {BLOCK_WRITE, BLOCK_DISCARD,
							  BLOCK_WRITE_ZEROES};
	const struct iovec iov = {data, 512};
	struct outcome a = {0};

	disk.disk.geometry.read_only = true;
	submit(&a, operations[_i], &iov, 1);
	expect(&a, -EROFS);
	ck_assert_uint_eq(ring.made, 0);
}
END_TEST

START_TEST(direct_reads_bounce_when_misaligned)
{
	const struct iovec iov[] = {{data + 1, 300}, {data + 1000, 724}};
	struct outcome a = {0};
	struct call *call = &ring.calls[0];

	memset(data, 0, sizeof(data));
	submit(&a, BLOCK_READ, iov, 2);
	ck_assert_uint_eq(call->count, 1);
	ck_assert_uint_eq((uintptr_t)call->iov[0].iov_base % 4096, 0);
	memset(call->iov[0].iov_base, 7, 1024);
	/* 100 bytes past a block's border are read again. */
	answer(CALL_READ, 612);
	ck_assert_uint_eq(ring.calls[1].offset, 4096 + 512);
	memset(ring.calls[1].iov[0].iov_base, 8, 512);
	answer(CALL_READ, 512);
	expect(&a, 0);
	ck_assert_uint_eq(data[0], 0);
	ck_assert_uint_eq(data[1], 7);
	ck_assert_uint_eq(data[300], 7);
	ck_assert_uint_eq(data[301], 0);
	ck_assert_uint_eq(data[1000 + 211], 7);
	ck_assert_uint_eq(data[1000 + 212], 8);
	ck_assert_uint_eq(data[1723], 8);
	ck_assert_uint_eq(data[1724], 0);
}
END_TEST

START_TEST(direct_writes_bounce_when_misaligned)
{
	const struct iovec iov[] = {{data + 1, 300}, {data + 1000, 212}};
	struct outcome a = {0};
	const uint8_t *bounce;

	memset(data, 1, 301);
	memset(data + 1000, 2, 212);
	submit(&a, BLOCK_WRITE, iov, 2);
	bounce = ring.calls[0].iov[0].iov_base;
	ck_assert_uint_eq(bounce[0], 1);
	ck_assert_uint_eq(bounce[299], 1);
	ck_assert_uint_eq(bounce[300], 2);
	ck_assert_uint_eq(bounce[511], 2);
	answer(CALL_WRITE, 512);
	expect(&a, 0);
}
END_TEST

START_TEST(bounce_buffers_are_waited_for)
{
	enum { REQUESTS = RAW_BOUNCE_COUNT + 2 };
	const struct iovec iov = {data + 1, 512};
	static struct outcome outcomes[REQUESTS];

	for (unsigned int i = 0; i < REQUESTS; i++)
		submit(&outcomes[i], BLOCK_READ, &iov, 1);
	ck_assert_uint_eq(ring.made, RAW_BOUNCE_COUNT);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		answer(CALL_READ, i == 1 ? -EIO : 512);
		expect(&outcomes[i], i == 1 ? -EIO : 0);
	}
}
END_TEST

/* One that is held needs its buffer no more; it may even wait for one that does. */
START_TEST(held_writes_hold_no_bounce_buffers)
{
	enum { REQUESTS = RAW_BOUNCE_COUNT + 1 };
	const struct iovec iov = {data + 1, 512};
	static struct outcome outcomes[REQUESTS];

	for (unsigned int i = 0; i < REQUESTS; i++) {
		outcomes[i].request.force_unit_access = true;
		submit(&outcomes[i], BLOCK_WRITE, &iov, 1);
	}
	ck_assert_uint_eq(ring.made, RAW_BOUNCE_COUNT);
	for (unsigned int i = 0; i < REQUESTS; i++)
		answer(CALL_WRITE_STABLE, 512);
	for (unsigned int i = 0; i < REQUESTS; i++)
		expect(&outcomes[i], 0);
}
END_TEST

START_TEST(direct_transfers_need_no_bounce_when_aligned)
{
	const struct iovec iov = {data + 512, 1024};
	struct outcome a = {0};

	submit(&a, BLOCK_WRITE, &iov, 1);
	ck_assert_ptr_eq(answer(CALL_WRITE, 1024)->iov[0].iov_base, data + 512);
	expect(&a, 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("raw_faults", &tests);
	TCase *direct = tcase_create("direct");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, a_short_transfer_goes_on_where_it_stopped, 0, 2);
	tcase_add_test(tests, interruptions_are_retried);
	tcase_add_test(tests, the_end_of_the_file_is_an_error);
	tcase_add_test(tests, errors_are_passed_on);
	tcase_add_test(tests, a_stable_write_that_loses_data_fails_all_later_flushes);
	tcase_add_test(tests, a_stable_write_without_space_loses_nothing);
	tcase_add_test(tests, a_failed_flush_fails_all_later_ones);
	tcase_add_loop_test(tests, a_good_flush_waits_for_those_beside_it, 0, 2);
	tcase_add_test(tests, a_flush_waits_for_none_that_began_later);
	tcase_add_test(tests, a_stable_write_holds_flushes_back);
	tcase_add_loop_test(tests, a_stable_write_is_held_too, 0, 2);
	tcase_add_test(tests, zeroes_fall_back_step_by_step);
	tcase_add_test(tests, zeroes_that_must_stay_allocated_are_no_hole);
	tcase_add_test(tests, discards_do_not_write);
	tcase_add_loop_test(tests, a_read_only_disk_changes_nothing, 0, 3);
	tcase_add_checked_fixture(direct, setup_direct, teardown);
	tcase_add_test(direct, direct_reads_bounce_when_misaligned);
	tcase_add_test(direct, direct_writes_bounce_when_misaligned);
	tcase_add_test(direct, bounce_buffers_are_waited_for);
	tcase_add_test(direct, held_writes_hold_no_bounce_buffers);
	tcase_add_test(direct, direct_transfers_need_no_bounce_when_aligned);
	suite_add_tcase(suite, direct);
	return suite_run(suite);
}
