#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/checked.h"
#include "suite.h"

#define THREADS 3
#define PACKETS 40000u
#define BYTES	300u

static struct event_loop *loop;
static struct io_thread *thread;
static char path[64];
static int fd;

static void set_up(void)
{
	snprintf(path, sizeof(path), "/tmp/bulkhead-capture-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(io_thread_new("capture", 64, &thread), 0);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
}

static void tear_down(void)
{
	io_thread_free(thread);
	event_loop_free(loop);
	unlink(path);
}

static struct capture *new_capture(void)
{
	const struct capture_config config = {
		.fd = fd,
		.link_type = CAPTURE_LINK_USER0,
		.name = "test",
		.description = "a test",
		.thread = thread,
		.loop = loop,
	};
	struct capture *capture;

	ck_assert_int_eq(capture_new(&config, &capture), 0);
	return capture;
}

/* What a file holds, as far as its blocks are sound. */
struct found {
	uint64_t packets;
	uint64_t dropped_before;    /* the sum of all packets' */
	uint64_t received, dropped; /* of the statistics */
	uint32_t next[THREADS];
	unsigned int sections, interfaces, statistics;
};

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void find_options(const uint8_t *at, const uint8_t *end, uint16_t wanted, uint64_t *sum)
{
	while (at < end) {
		uint16_t code, length;
		uint64_t value;

		memcpy(&code, at, 2);
		memcpy(&length, at + 2, 2);
		if (code == CAPTURE_OPTION_END)
			break;
		if (code == wanted) {
			memcpy(&value, at + 4, 8);
			*sum += value;
		}
		at += 4 + (length + 3u) / 4 * 4;
	}
}

/* Check is slow to assert: once a packet is enough. */
static bool packet_sound(const uint8_t *block, struct found *found)
{
	const uint8_t *data = block + 28;
	bool sound =
		word(block + 20) == BYTES && word(block + 24) == BYTES + 7 && data[0] < THREADS;

	/* Each thread's are in its order, and whole. */
	sound = sound && word(data + 4) >= found->next[data[0]];
	for (uint32_t i = 8; sound && i < BYTES; i++)
		sound = data[i] == data[0];
	if (sound)
		found->next[data[0]] = word(data + 4) + 1;
	return sound;
}

static void read_packet(const uint8_t *block, uint32_t length, struct found *found)
{
	found->packets++;
	if (!packet_sound(block, found))
		ck_abort_msg("packet %llu is not as it was", (unsigned long long)found->packets);
	find_options(block + 28 + (BYTES + 3) / 4 * 4, block + length - 4, CAPTURE_PACKET_DROPPED,
		     &found->dropped_before);
}

static void read_file(struct found *found)
{
	struct stat status;
	uint8_t *data;
	int file = open(path, O_RDONLY);

	*found = (struct found){0};
	ck_assert_int_eq(fstat(file, &status), 0);
	data = malloc((size_t)status.st_size);
	ck_assert_int_eq(read(file, data, (size_t)status.st_size), status.st_size);
	close(file);
	for (uint64_t at = 0; at < (uint64_t)status.st_size;) {
		const uint8_t *block = data + at;
		uint32_t length = word(block + 4);

		if (length < 12 || length % 4 ||
		    !range_within(at, length, (uint64_t)status.st_size) ||
		    word(block + length - 4) != length)
			ck_abort_msg("no block at %llu", (unsigned long long)at);
		found->sections += word(block) == CAPTURE_SECTION_TYPE;
		found->interfaces += word(block) == CAPTURE_INTERFACE;
		if (word(block) == CAPTURE_PACKET)
			read_packet(block, length, found);
		if (word(block) == CAPTURE_STATISTICS) {
			found->statistics++;
			find_options(block + 20, block + length - 4, CAPTURE_STATISTICS_RECEIVED,
				     &found->received);
			find_options(block + 20, block + length - 4, CAPTURE_STATISTICS_DROPPED,
				     &found->dropped);
		}
		at += length;
	}
	free(data);
	ck_assert_uint_eq(found->sections, 1);
	ck_assert_uint_eq(found->interfaces, 1);
}

struct producer {
	struct capture *capture;
	pthread_t thread;
	uint8_t number;
	uint32_t packets;
};

static void *produce(void *context)
{
	const struct producer *producer = context;
	uint8_t data[BYTES];
	const struct iovec iov[] = {{data, 8}, {data + 8, BYTES - 8}};

	memset(data, producer->number, sizeof(data));
	for (uint32_t i = 0; i < producer->packets; i++) {
		memcpy(data + 4, &i, sizeof(i));
		capture_record(producer->capture, CAPTURE_TO_GUEST, iov, 2, BYTES + 7);
	}
	return NULL;
}

/* More than the ring holds, by several threads: all is in the file, or counted as dropped. */
START_TEST(packets_are_kept_or_counted)
{
	struct capture *capture = new_capture();
	struct producer producers[THREADS];
	struct found found;

	for (unsigned int i = 0; i < THREADS; i++) {
		producers[i] = (struct producer){capture, 0, (uint8_t)i, PACKETS};
		ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, produce, &producers[i]),
				 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(producers[i].thread, NULL);
	capture_free(capture);
	read_file(&found);
	ck_assert_uint_eq(found.statistics, 1);
	ck_assert_uint_eq(found.received, THREADS * PACKETS);
	ck_assert_uint_eq(found.packets + found.dropped, THREADS * PACKETS);
	ck_assert_uint_le(found.dropped_before, found.dropped);
	ck_assert_uint_gt(found.packets, 0);
}
END_TEST

static void wait_here(void *context)
{
	pthread_barrier_t *barrier = context;

	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
}

static void *hold_thread(void *context)
{
	io_thread_call(thread, wait_here, context);
	return NULL;
}

/* Nothing is written while the I/O thread is busy: what finds no room is dropped, and the first
 * packet that is kept after it says how many. */
START_TEST(what_finds_no_room_is_dropped)
{
	struct capture *capture = new_capture();
	struct producer producer = {capture, 0, 1, 2 * CAPTURE_RING_BYTES / BYTES};
	uint32_t all = producer.packets;
	pthread_barrier_t barrier;
	struct found found;
	pthread_t holder;

	pthread_barrier_init(&barrier, NULL, 2);
	ck_assert_int_eq(pthread_create(&holder, NULL, hold_thread, &barrier), 0);
	pthread_barrier_wait(&barrier);
	produce(&producer);
	pthread_barrier_wait(&barrier);
	pthread_join(holder, NULL);
	capture_free(capture);
	read_file(&found);
	ck_assert_uint_eq(found.received, all);
	ck_assert_uint_eq(found.packets + found.dropped, all);
	ck_assert_uint_gt(found.dropped, 0);
	pthread_barrier_destroy(&barrier);
}
END_TEST

static bool has_failed(const struct capture *capture, uint64_t *dropped)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	void *tree;
	size_t size;
	bool failed;

	capture_inspect(capture, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_get_u64(&root, "dropped", dropped), 0);
	failed = state_get_string(&root, "error") != NULL;
	free(tree);
	return failed;
}

/* A file that may grow no more: recording goes on, into nothing. */
START_TEST(an_error_ends_the_writing)
{
	struct producer producer = {.number = 1, .packets = 20000};
	uint64_t dropped;

	close(fd);
	fd = memfd_create("capture", MFD_ALLOW_SEALING);
	ck_assert_int_ge(fd, 0);
	producer.capture = new_capture();
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	do
		produce(&producer);
	while (!has_failed(producer.capture, &dropped));
	ck_assert_uint_gt(dropped, 0);
	capture_free(producer.capture);
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_refused)
{
	const struct capture_config config = {
		.fd = open("/dev/full", O_WRONLY),
		.name = "test",
		.description = "a test",
		.thread = thread,
		.loop = loop,
	};
	struct capture *capture;

	ck_assert_int_eq(capture_new(&config, &capture), -ENOSPC);
	close(config.fd);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("capture", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, packets_are_kept_or_counted);
	tcase_add_test(tests, what_finds_no_room_is_dropped);
	tcase_add_test(tests, an_error_ends_the_writing);
	tcase_add_test(tests, a_file_that_cannot_be_written_is_refused);
	return suite_run(suite);
}
