#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file_lock.h"
#include "devices/block/block.h"
#include "suite.h"

#define DISK_BYTES (1 << 20)

static char path[64];
static const struct block_backend *raw;
static struct io_thread *thread;

static void setup(void)
{
	int fd;

	strcpy(path, "/tmp/test_raw.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	raw = block_backend_find("raw");
	ck_assert_ptr_nonnull(raw);
	ck_assert_int_eq(io_thread_new("disk", 8, &thread), 0);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
}

static void teardown(void)
{
	io_thread_free(thread);
	unlink(path);
}

static int open_as(int flags, const char *options, struct block_disk **disk, struct error *err)
{
	json_t *config = json_loads(options, 0, NULL);
	int fd = open(path, flags | O_CLOEXEC);
	int r;

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(config);
	json_object_set_new(config, "name", json_string("/vm/disk.img"));
	r = raw->open(fd, config, disk, err);
	if (r < 0)
		close(fd);
	json_decref(config);
	return r;
}

struct job {
	struct block_disk *disk;
	struct block_queue *queue;
	struct block_request request;
	int result;
	sem_t ended;
};

static void job_done(struct block_request *request, int result)
{
	struct job *job = container_of(request, struct job, request);

	job->result = result;
	sem_post(&job->ended);
}

static void job_start(void *context)
{
	struct job *job = context;

	ck_assert_int_eq(raw->attach(job->disk, thread, &job->queue), 0);
	raw->submit(job->queue, &job->request);
}

static void job_end(void *context)
{
	struct job *job = context;

	raw->detach(job->queue);
}

static int run(struct block_disk *disk, struct block_request request)
{
	struct job job = {.disk = disk, .request = request};

	job.request.done = job_done;
	sem_init(&job.ended, 0, 0);
	io_thread_call(thread, job_start, &job);
	sem_wait(&job.ended);
	io_thread_call(thread, job_end, &job);
	sem_destroy(&job.ended);
	return job.result;
}

static int run_data(struct block_disk *disk, enum block_operation operation, uint64_t offset,
		    void *data, size_t length)
{
	struct iovec iov = {data, length};

	return run(disk, (struct block_request){.operation = operation,
						.offset = offset,
						.length = length,
						.iov = &iov,
						.iov_count = 1});
}

START_TEST(reads_what_it_wrote)
{
	struct block_disk *disk;
	char in[1024], out[1024];

	memset(in, 0x5a, sizeof(in));
	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, NULL), 0);
	ck_assert_uint_eq(disk->geometry.bytes, DISK_BYTES);
	ck_assert_uint_eq(disk->geometry.logical_block, 512);
	ck_assert_int_eq(run_data(disk, BLOCK_WRITE, 4096, in, sizeof(in)), 0);
	ck_assert_int_eq(run_data(disk, BLOCK_READ, 4096, out, sizeof(out)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(run(disk, (struct block_request){.operation = BLOCK_FLUSH}), 0);
	raw->close(disk);
}
END_TEST

START_TEST(zeroes_read_as_zero)
{
	static char data[65536], zero[65536];
	struct block_disk *disk;
	struct block_request request = {
		.operation = BLOCK_WRITE_ZEROES, .offset = 4096, .length = 8192};

	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, NULL), 0);
	memset(data, 1, sizeof(data));
	ck_assert_int_eq(run_data(disk, BLOCK_WRITE, 0, data, sizeof(data)), 0);
	request.may_unmap = _i;
	ck_assert_int_eq(run(disk, request), 0);
	ck_assert_int_eq(run_data(disk, BLOCK_READ, 0, data, sizeof(data)), 0);
	ck_assert_int_eq(data[4095], 1);
	ck_assert_mem_eq(data + 4096, zero, 8192);
	ck_assert_int_eq(data[4096 + 8192], 1);
	raw->close(disk);
}
END_TEST

/* At the disk's end too, and whatever entries there are. */
START_TEST(nothing_is_moved_at_once)
{
	static const char *const options[] = {"{}", "{\"direct\": true}"};
	struct block_disk *disk;
	char byte = 0;

	if (open_as(O_RDWR, options[_i], &disk, NULL) < 0)
		return; /* no direct I/O here */
	for (unsigned int write = 0; write < 2; write++) {
		struct block_request request = {.operation = write ? BLOCK_WRITE : BLOCK_READ,
						.offset = DISK_BYTES,
						.force_unit_access = write};

		ck_assert_int_eq(run(disk, request), 0);
		ck_assert_int_eq(run_data(disk, request.operation, 0, &byte, 0), 0);
	}
	raw->close(disk);
}
END_TEST

START_TEST(a_file_cut_short_gives_an_error)
{
	struct block_disk *disk;
	char data[1024];

	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, NULL), 0);
	ck_assert_int_eq(truncate(path, 8192 + 512), 0);
	ck_assert_int_eq(run_data(disk, BLOCK_READ, 8192, data, sizeof(data)), -EIO);
	raw->close(disk);
}
END_TEST

START_TEST(direct_io_where_there_is_any)
{
	struct block_disk *disk;
	static char data[4096 + 1];

	/* Not every file system has it; then the sentence is all there is to see. */
	if (open_as(O_RDWR, "{\"direct\": true}", &disk, NULL) < 0)
		return;
	memset(data, 3, sizeof(data));
	ck_assert_int_eq(run_data(disk, BLOCK_WRITE, 4096, data + 1, 4096), 0);
	memset(data, 0, sizeof(data));
	ck_assert_int_eq(run_data(disk, BLOCK_READ, 4096, data + 1, 4096), 0);
	ck_assert_int_eq(data[1], 3);
	ck_assert_int_eq(data[4096], 3);
	raw->close(disk);
}
END_TEST

START_TEST(read_only_disks_stay_as_they_are)
{
	struct block_disk *disk;
	char data[512] = {0};

	ck_assert_int_eq(open_as(O_RDONLY, "{\"read_only\": true}", &disk, NULL), 0);
	ck_assert(disk->geometry.read_only);
	ck_assert(!disk->geometry.discard);
	ck_assert_int_eq(run_data(disk, BLOCK_WRITE, 0, data, sizeof(data)), -EROFS);
	ck_assert_int_eq(run_data(disk, BLOCK_READ, 0, data, sizeof(data)), 0);
	raw->close(disk);
}
END_TEST

START_TEST(refusals_name_the_file)
{
	struct block_disk *disk = NULL;
	struct error err;

	ck_assert_int_eq(open_as(O_RDONLY, "{}", &disk, &err), -EACCES);
	ck_assert_str_eq(err.text,
			 "--disk /vm/disk.img is not open for writing; attach the disk with ,ro");
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "/vm/disk.img is 1000 bytes long"));
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "is empty"));
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(open_as(O_RDONLY, "{}", &disk, &err), -EISDIR);
	ck_assert_ptr_nonnull(strstr(err.text, "is a directory"));
	rmdir(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "neither a regular file nor a block device"));
	ck_assert_ptr_null(disk);
}
END_TEST

/* Flushes one after the other on one thread, beside those of others. */
struct flusher {
	struct block_disk *disk;
	struct io_thread *thread;
	struct block_queue *queue;
	struct block_request requests[3];
	unsigned int left;
	unsigned int ended;
	pthread_t on;
	sem_t done;
};

static struct flusher flushers[2];

static void flushed(struct block_request *request, int result)
{
	struct flusher *flusher = &flushers[request->offset];

	ck_assert_int_eq(result, 0);
	ck_assert(pthread_equal(pthread_self(), flusher->on));
	if (flusher->left > 0) {
		flusher->left--;
		raw->submit(flusher->queue, request);
	} else if (++flusher->ended == ARRAY_LENGTH(flusher->requests)) {
		sem_post(&flusher->done);
	}
}

static void flusher_start(void *context)
{
	struct flusher *flusher = context;

	flusher->on = pthread_self();
	ck_assert_int_eq(raw->attach(flusher->disk, flusher->thread, &flusher->queue), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(flusher->requests); i++) {
		flusher->requests[i].operation = BLOCK_FLUSH;
		flusher->requests[i].offset = (uint64_t)(flusher - flushers);
		flusher->requests[i].done = flushed;
		raw->submit(flusher->queue, &flusher->requests[i]);
	}
}

static void flusher_end(void *context)
{
	struct flusher *flusher = context;

	raw->detach(flusher->queue);
}

START_TEST(flushes_of_two_threads_all_end)
{
	struct block_disk *disk;

	ck_assert_int_eq(open_as(O_RDWR, "{}", &disk, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		struct flusher *flusher = &flushers[i];

		*flusher = (struct flusher){.disk = disk, .thread = thread, .left = 1000};
		sem_init(&flusher->done, 0, 0);
		if (i == 1) {
			ck_assert_int_eq(io_thread_new("other", 8, &flusher->thread), 0);
			ck_assert_int_eq(io_thread_start(flusher->thread, NULL, NULL), 0);
		}
		io_thread_call(flusher->thread, flusher_start, flusher);
	}
	for (size_t i = 0; i < 2; i++) {
		sem_wait(&flushers[i].done);
		io_thread_call(flushers[i].thread, flusher_end, &flushers[i]);
	}
	io_thread_free(flushers[1].thread);
	raw->close(disk);
}
END_TEST

START_TEST(null_disks_read_as_zero)
{
	const struct block_backend *null = block_backend_find("null");
	json_t *config = json_pack("{s:i}", "bytes", 1 << 20);
	struct block_disk *disk;
	struct block_queue *queue;
	char data[512];
	struct iovec iov = {data, sizeof(data)};
	struct job job = {.request = {.operation = BLOCK_READ,
				      .length = sizeof(data),
				      .iov = &iov,
				      .iov_count = 1,
				      .done = job_done}};

	memset(data, 1, sizeof(data));
	sem_init(&job.ended, 0, 0);
	ck_assert_int_eq(null->open(-1, config, &disk, NULL), 0);
	ck_assert_int_eq(null->attach(disk, thread, &queue), 0);
	null->submit(queue, &job.request);
	ck_assert_int_eq(job.result, 0);
	ck_assert_int_eq(data[511], 0);
	null->detach(queue);
	null->close(disk);
	json_object_set_new(config, "bytes", json_integer(100));
	ck_assert_int_eq(null->open(-1, config, &disk, NULL), -EINVAL);
	json_decref(config);
	ck_assert_ptr_null(block_backend_find("floppy"));
}
END_TEST

/* As the kernel does for a process that was killed: a while after. */
static void *let_go_late(void *context)
{
	const int *fd = context;

	usleep(30000);
	close(*fd);
	return NULL;
}

START_TEST(a_lock_that_is_about_to_go_is_waited_for)
{
	int first = open(path, O_RDWR);
	int second = open(path, O_RDWR);
	struct error err;
	pthread_t holder;

	ck_assert_int_eq(file_lock(first, "/vm/disk.img", true, &err), 0);
	ck_assert_int_eq(pthread_create(&holder, NULL, let_go_late, &first), 0);
	ck_assert_int_eq(file_lock(second, "/vm/disk.img", true, &err), 0);
	pthread_join(holder, NULL);
	close(second);
}
END_TEST

START_TEST(a_second_writer_is_locked_out)
{
	int first = open(path, O_RDWR);
	int second = open(path, O_RDWR);
	struct error err;

	ck_assert_int_eq(file_lock(first, "/vm/disk.img", true, &err), 0);
	ck_assert_int_eq(file_lock(second, "/vm/disk.img", true, &err), -EAGAIN);
	ck_assert_str_eq(err.text, "/vm/disk.img is in use by another VM; stop it, or attach the "
				   "disk with ,ro to both");
	ck_assert_int_eq(file_lock(second, "/vm/disk.img", false, &err), -EAGAIN);
	ck_assert_str_eq(err.text, "/vm/disk.img is being written by another VM; stop it first");
	close(first);
	ck_assert_int_eq(file_lock(second, "/vm/disk.img", false, &err), 0);
	first = open(path, O_RDWR);
	ck_assert_int_eq(file_lock(first, "/vm/disk.img", false, &err), 0);
	ck_assert_int_eq(file_lock(first, "/vm/disk.img", true, &err), -EAGAIN);
	close(first);
	close(second);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("raw", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	/* Each lock that is refused was asked for during a second. */
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, reads_what_it_wrote);
	tcase_add_loop_test(tests, zeroes_read_as_zero, 0, 2);
	tcase_add_loop_test(tests, nothing_is_moved_at_once, 0, 2);
	tcase_add_test(tests, a_file_cut_short_gives_an_error);
	tcase_add_test(tests, direct_io_where_there_is_any);
	tcase_add_test(tests, read_only_disks_stay_as_they_are);
	tcase_add_test(tests, refusals_name_the_file);
	tcase_add_test(tests, flushes_of_two_threads_all_end);
	tcase_add_test(tests, null_disks_read_as_zero);
	tcase_add_test(tests, a_second_writer_is_locked_out);
	tcase_add_test(tests, a_lock_that_is_about_to_go_is_waited_for);
	return suite_run(suite);
}
