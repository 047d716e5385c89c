/* White box: the refusals are shown with raw entries of the ring's own queue. */
#include "base/uring.c"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"

#define FILES 4

struct result {
	struct uring_request request;
	int32_t value;
	unsigned int count;
};

static void note(struct uring_request *request, int32_t value)
{
	struct result *result = container_of(request, struct result, request);

	result->value = value;
	result->count++;
}

static struct uring *make(unsigned int entries)
{
	struct uring *ring;

	ck_assert_int_eq(uring_new(entries, FILES, &ring), 0);
	ck_assert_int_eq(uring_enable(ring), 0);
	return ring;
}

static int make_file(void)
{
	char name[] = "/tmp/test_uring.XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	return fd;
}

static void await(struct uring *ring, struct result *result)
{
	while (result->count == 0)
		ck_assert_int_ge(uring_run(ring, true), 0);
}

START_TEST(reads_what_it_wrote)
{
	struct uring *ring = make(8);
	int fd = make_file();
	int slot = uring_add_file(ring, fd);
	char in[] = "bulkhead", out[sizeof(in)] = {0};
	struct iovec whole = {in, sizeof(in)};
	struct iovec parts[] = {{out, 3}, {out + 3, sizeof(out) - 3}};
	struct result w = {{note}}, r = {{note}}, f = {{note}}, s = {{note}};

	ck_assert_int_ge(slot, 0);
	uring_writev(ring, &w.request, slot, &whole, 1, 4096);
	await(ring, &w);
	ck_assert_int_eq(w.value, sizeof(in));
	uring_readv(ring, &r.request, slot, parts, 2, 4096);
	await(ring, &r);
	ck_assert_int_eq(r.value, sizeof(in));
	ck_assert_str_eq(out, in);
	uring_fdatasync(ring, &f.request, slot);
	await(ring, &f);
	ck_assert_int_eq(f.value, 0);
	uring_writev_stable(ring, &s.request, slot, &whole, 1, 0);
	await(ring, &s);
	ck_assert_int_eq(s.value, sizeof(in));
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(punches_holes)
{
	struct uring *ring = make(8);
	int fd = make_file();
	int slot = uring_add_file(ring, fd);
	char byte = 1;
	struct result a = {{note}};

	ck_assert_int_eq(pwrite(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(ftruncate(fd, 8192), 0);
	uring_fallocate(ring, &a.request, slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			4096);
	await(ring, &a);
	ck_assert_int_eq(a.value, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 0);
	uring_free(ring);
	close(fd);
}
END_TEST

/* More requests than either queue holds: none is lost, none is done twice. */
START_TEST(loses_no_request_when_full)
{
	enum { REQUESTS = 300 };
	static struct result results[REQUESTS];
	static char bytes[REQUESTS];
	static struct iovec iov[REQUESTS];
	struct uring *ring = make(4);
	int fd = make_file();
	int slot = uring_add_file(ring, fd);
	unsigned int total = 0;

	ck_assert_int_eq(ftruncate(fd, REQUESTS), 0);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		results[i] = (struct result){{note}, -1, 0};
		iov[i] = (struct iovec){&bytes[i], 1};
		uring_readv(ring, &results[i].request, slot, &iov[i], 1, i);
	}
	while (total < REQUESTS) {
		int r = uring_run(ring, true);

		ck_assert_int_ge(r, 0);
		total += (unsigned int)r;
	}
	for (unsigned int i = 0; i < REQUESTS; i++) {
		ck_assert_uint_eq(results[i].count, 1);
		ck_assert_int_eq(results[i].value, 1);
	}
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(early_completions_run_in_order)
{
	struct uring *ring = make(8);
	int fd = make_file();
	int slot = uring_add_file(ring, fd);
	struct result a = {{note}}, b = {{note}};

	uring_fdatasync(ring, &a.request, slot);
	ck_assert_int_eq(io_uring_submit_and_wait(&ring->ring, 1), 1);
	take_completions_early(ring);
	ck_assert_uint_eq(a.count, 0);
	uring_fdatasync(ring, &b.request, slot);
	await(ring, &b);
	ck_assert_uint_eq(a.count, 1);
	ck_assert_int_eq(a.value, 0);
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(cancel_ends_a_pending_read)
{
	struct uring *ring = make(8);
	int fd = eventfd(0, 0);
	int slot = uring_add_file(ring, fd);
	uint64_t value;
	struct result a = {{note}};

	uring_read_event(ring, &a.request, slot, &value);
	ck_assert_int_eq(uring_run(ring, false), 0);
	uring_cancel(ring, &a.request);
	await(ring, &a);
	ck_assert_int_eq(a.value, -ECANCELED);
	uring_free(ring);
	close(fd);
}
END_TEST

/* The second send finds nobody, and no signal comes of it. */
START_TEST(sockets_are_waited_for)
{
	struct uring *ring = make(8);
	struct result r = {{note}}, s = {{note}}, end = {{note}}, lost = {{note}};
	char out[16];
	int ends[2], slots[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	slots[0] = uring_add_file(ring, ends[0]);
	slots[1] = uring_add_file(ring, ends[1]);
	uring_recv(ring, &r.request, slots[1], out, sizeof(out));
	ck_assert_int_ge(uring_run(ring, false), 0);
	ck_assert_uint_eq(r.count, 0);
	uring_send(ring, &s.request, slots[0], "words", 5);
	await(ring, &r);
	await(ring, &s);
	ck_assert_int_eq(s.value, 5);
	ck_assert_int_eq(r.value, 5);
	ck_assert_mem_eq(out, "words", 5);
	uring_remove_file(ring, slots[0]);
	close(ends[0]);
	uring_recv(ring, &end.request, slots[1], out, sizeof(out));
	await(ring, &end);
	ck_assert_int_eq(end.value, 0);
	uring_send(ring, &lost.request, slots[1], "words", 5);
	await(ring, &lost);
	ck_assert_int_eq(lost.value, -EPIPE);
	close(ends[1]);
	uring_free(ring);
}
END_TEST

START_TEST(polls_and_does_not_wait)
{
	struct uring *ring = make(8);
	int fd = eventfd(0, EFD_NONBLOCK);
	int slot = uring_add_file(ring, fd);
	struct result in = {{note}}, out = {{note}}, read = {{note}}, write = {{note}};
	uint64_t value = 0;
	struct iovec iov = {&value, sizeof(value)};

	uring_poll(ring, &in.request, slot, POLLIN);
	uring_readv_now(ring, &read.request, slot, &iov, 1);
	await(ring, &read);
	ck_assert_int_eq(read.value, -EAGAIN);
	uring_poll(ring, &out.request, slot, POLLOUT);
	await(ring, &out);
	ck_assert_int_eq(out.value, POLLOUT);
	ck_assert_uint_eq(in.count, 0);
	eventfd_write(fd, 7);
	await(ring, &in);
	ck_assert_int_eq(in.value, POLLIN);
	read.count = 0;
	uring_readv_now(ring, &read.request, slot, &iov, 1);
	await(ring, &read);
	ck_assert_uint_eq(value, 7);
	uring_writev_now(ring, &write.request, slot, &iov, 1);
	await(ring, &write);
	ck_assert_int_eq(write.value, sizeof(value));
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(a_look_sees_what_completed)
{
	struct uring *ring = make(8);
	int fd = eventfd(0, 0);
	int slot = uring_add_file(ring, fd);
	uint64_t value;
	struct result a = {{note}};

	ck_assert(!uring_has_queued(ring));
	uring_read_event(ring, &a.request, slot, &value);
	ck_assert(uring_has_queued(ring));
	ck_assert_int_eq(uring_run(ring, false), 0);
	ck_assert(!uring_has_queued(ring));
	ck_assert(!uring_has_done(ring));
	ck_assert_int_eq(eventfd_write(fd, 7), 0);
	while (!uring_has_done(ring))
		;
	ck_assert_int_eq(uring_run(ring, false), 1);
	ck_assert_int_eq(a.value, sizeof(value));
	ck_assert_uint_eq(value, 7);
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(file_slots_are_counted)
{
	struct uring *ring = make(8);
	int fd = make_file();

	for (int i = 0; i < FILES; i++)
		ck_assert_int_eq(uring_add_file(ring, fd), i);
	ck_assert_int_eq(uring_add_file(ring, fd), -ENOSPC);
	uring_remove_file(ring, 2);
	ck_assert_int_eq(uring_add_file(ring, fd), 2);
	uring_remove_file(ring, 0);
	ck_assert_int_eq(uring_add_file(ring, -2), -EBADF);
	ck_assert_int_eq(uring_add_file(ring, fd), 0);
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(refuses_to_open_a_file)
{
	struct uring *ring = make(8);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
	struct result a = {{note}};

	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	finish_sqe(sqe, &a.request);
	await(ring, &a);
	ck_assert_int_eq(a.value, -EACCES);
	uring_free(ring);
}
END_TEST

/* Whatever the kernel may learn to do: what is not on the list, the ring does not. */
START_TEST(refuses_every_other_operation)
{
	static const uint8_t allowed[] = {
		IORING_OP_READ,	 IORING_OP_WRITE,     IORING_OP_READV,	      IORING_OP_WRITEV,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD,
		IORING_OP_RECV,	 IORING_OP_SEND,
	};
	struct uring *ring = make(8);

	for (unsigned int operation = 0; operation < IORING_OP_LAST; operation++) {
		struct io_uring_sqe *sqe;
		struct result a = {{note}};

		if (memchr(allowed, (int)operation, sizeof(allowed)))
			continue;
		sqe = io_uring_get_sqe(&ring->ring);
		io_uring_prep_rw((int)operation, sqe, 0, NULL, 0, 0);
		finish_sqe(sqe, &a.request);
		await(ring, &a);
		/* One that this kernel does not know is refused before the list is looked at. */
		ck_assert(a.value == -EACCES || a.value == -EINVAL);
		if (operation <= IORING_OP_TEE) /* Linux 5.10 has them */
			ck_assert_int_eq(a.value, -EACCES);
	}
	uring_free(ring);
}
END_TEST

START_TEST(refuses_a_file_that_is_not_fixed)
{
	struct uring *ring = make(8);
	int fd = make_file();
	char byte;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
	struct result a = {{note}};

	io_uring_prep_read(sqe, fd, &byte, 1, 0);
	io_uring_sqe_set_data(sqe, &a.request);
	await(ring, &a);
	ck_assert_int_eq(a.value, -EACCES);
	uring_free(ring);
	close(fd);
}
END_TEST

START_TEST(refuses_other_registrations)
{
	struct uring *ring = make(8);
	char page[64];
	struct iovec iov = {page, sizeof(page)};

	ck_assert_int_eq(io_uring_register_buffers(&ring->ring, &iov, 1), -EACCES);
	ck_assert_int_eq(io_uring_register_eventfd(&ring->ring, 0), -EACCES);
	uring_free(ring);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("uring", &tests);

	tcase_add_test(tests, reads_what_it_wrote);
	tcase_add_test(tests, punches_holes);
	tcase_add_test(tests, loses_no_request_when_full);
	tcase_add_test(tests, early_completions_run_in_order);
	tcase_add_test(tests, cancel_ends_a_pending_read);
	tcase_add_test(tests, sockets_are_waited_for);
	tcase_add_test(tests, polls_and_does_not_wait);
	tcase_add_test(tests, a_look_sees_what_completed);
	tcase_add_test(tests, file_slots_are_counted);
	tcase_add_test(tests, refuses_to_open_a_file);
	tcase_add_test(tests, refuses_every_other_operation);
	tcase_add_test(tests, refuses_a_file_that_is_not_fixed);
	tcase_add_test(tests, refuses_other_registrations);
	return suite_run(suite);
}
