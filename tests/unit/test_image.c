#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/block/image.h"
#include "suite.h"

/*
 * The image formats as block backends, on real files and real I/O threads: many requests at once on
 * the same blocks, from two threads, against a model of what each must read.
 */

#define MIB    (1ull << 20)
#define BLOCKS 48
#define SLOTS  16 /* requests at once, half of them on each thread */
#define SHARED                                                                                     \
	32 /* blocks whose 4 KiB chunks go to the slots in turn; the others are a slot's own */
#define CHUNK	4096u
#define ROUNDS	200
#define OWN_MAX (256u << 10)

static char paths[2][64]; /* the disk, and its parent; in memory, where syncs cost nothing */
static int fds[2];
static const struct block_backend *backend;
static const char *format;
static struct io_thread *threads[2];
static uint8_t *model; /* a value for each sector */

static void setup(void)
{
	for (int i = 0; i < 2; i++) {
		fds[i] = memfd_create("disk", MFD_CLOEXEC);
		snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d", fds[i]);
		ck_assert_int_eq(io_thread_new("disk", 64, &threads[i]), 0);
		ck_assert_int_eq(io_thread_start(threads[i], NULL, NULL), 0);
	}
	model = calloc(BLOCKS * MIB / 512, 1);
}

static void teardown(void)
{
	for (int i = 0; i < 2; i++) {
		io_thread_free(threads[i]);
		close(fds[i]);
	}
	free(model);
}

static struct image *open_sync(const char *path, struct image_file_sync *file, int *fd)
{
	struct image_open options = {.name = "disk", .read_only = true};
	struct image *image;
	struct stat status;
	struct error err;
	int r;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(*fd, &status), 0);
	image_file_sync_init(file, *fd);
	r = image_opener_find(format)(&file->file, (uint64_t)status.st_size, &options, &image,
				      &err);
	ck_assert_msg(r == 0, "%s", err.text);
	return image;
}

static void create(const char *path, const struct image *parent)
{
	struct image_create with = {.name = "disk",
				    .bytes = BLOCKS * MIB,
				    .block_bytes = MIB,
				    .parent = parent,
				    .parent_relative = "parent",
				    .parent_absolute = "/parent"};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct image_file_sync file;
	struct error err;
	int r;

	image_file_sync_init(&file, fd);
	r = image_creator_find(format)(&file.file, &with, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	close(fd);
}

static struct block_disk *open_disk(bool child)
{
	json_t *config = json_pack("{s:s}", "name", "disk");
	struct block_disk *disk;
	struct error err;
	int parent = -1;
	int r;

	if (child) {
		parent = open(paths[1], O_RDONLY | O_CLOEXEC);
		json_object_set_new(config, "parents",
				    json_pack("[{s:s, s:s, s:i, s:b}]", "name", "parent", "format",
					      format, "fd", parent, "read_only", 1));
	}
	r = backend->open(open(paths[0], O_RDWR | O_CLOEXEC), config, &disk, &err);
	ck_assert_msg(r == 0, "%s", err.text);
	if (child)
		close(parent);
	json_decref(config);
	return disk;
}

/* One request after another, each on sectors that no other slot touches. */
struct slot {
	struct block_request request;
	struct block_disk *disk;
	struct block_queue *queue;
	unsigned int number;
	unsigned int rounds;
	uint32_t seed;
	uint8_t value; /* what is being written */
	bool adopt;    /* a read that says what a discard did */
	struct iovec iov[3];
	uint8_t *data;
	sem_t *ended;
};

static uint32_t draw(struct slot *slot, uint32_t below)
{
	slot->seed = slot->seed * 1664525u + 1013904223u;
	return (slot->seed >> 8) % below;
}

static uint8_t *model_at(const struct slot *slot)
{
	return model + slot->request.offset / 512;
}

/* Each success that Check is told of takes its time. */
static void check_sector(uint64_t sector, const uint8_t *data, uint8_t value)
{
	if (data[0] != value || memcmp(data, data + 1, 511) != 0)
		ck_abort_msg("sector %llu has %u, not %u", (unsigned long long)sector, data[0],
			     value);
}

static void check_read(const struct slot *slot)
{
	for (uint64_t i = 0; i < slot->request.length / 512; i++) {
		uint8_t *value = &model_at(slot)[i];
		const uint8_t *data = slot->data + i * 512;

		if (slot->adopt && data[0] == 0)
			*value = 0;
		check_sector(slot->request.offset / 512 + i, data, *value);
	}
}

static void next(struct slot *slot);

static void slot_done(struct block_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	if (result < 0)
		ck_abort_msg("a request failed: %d", result);
	if (request->operation == BLOCK_READ)
		check_read(slot);
	else if (request->operation == BLOCK_WRITE || request->operation == BLOCK_WRITE_ZEROES)
		memset(model_at(slot), slot->value, request->length / 512);
	slot->adopt = false;
	if (request->operation == BLOCK_DISCARD) {
		slot->adopt = true;
		request->operation = BLOCK_READ;
		backend->submit(slot->queue, request);
		return;
	}
	next(slot);
}

static void choose_range(struct slot *slot)
{
	struct block_request *request = &slot->request;

	if (draw(slot, 4) > 0) {
		uint32_t first = draw(slot, CHUNK / 512);
		uint64_t chunk = draw(slot, SHARED * MIB / CHUNK / SLOTS) * SLOTS + slot->number;

		request->offset = chunk * CHUNK + first * 512;
		request->length = (1 + draw(slot, CHUNK / 512 - first)) * 512;
	} else {
		uint32_t first = draw(slot, MIB / 512);

		request->offset = (SHARED + slot->number) * MIB + first * 512;
		request->length = MIN((1 + draw(slot, OWN_MAX / 512)) * 512, MIB - first * 512);
	}
}

static void choose_operation(struct slot *slot)
{
	static const enum block_operation operations[] = {
		BLOCK_READ,  BLOCK_READ,  BLOCK_WRITE,	 BLOCK_WRITE,
		BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES,
	};
	struct block_request *request = &slot->request;

	request->operation = operations[draw(slot, ARRAY_LENGTH(operations))];
	request->force_unit_access = draw(slot, 4) == 0;
	request->may_unmap = draw(slot, 2);
	slot->value = request->operation == BLOCK_WRITE ? (uint8_t)(1 + draw(slot, 255)) : 0;
	if (request->operation == BLOCK_DISCARD && draw(slot, 3) == 0) {
		request->offset = (SHARED + slot->number) * MIB;
		request->length = MIB;
	}
}

static void next(struct slot *slot)
{
	struct block_request *request = &slot->request;
	uint64_t third;

	if (slot->rounds-- == 0) {
		sem_post(slot->ended);
		return;
	}
	choose_range(slot);
	choose_operation(slot);
	memset(slot->data, request->operation == BLOCK_WRITE ? slot->value : 0xee, request->length);
	third = align_down(request->length / 3, 512);
	slot->iov[0] = (struct iovec){slot->data, third};
	slot->iov[1] = (struct iovec){slot->data + third, third};
	slot->iov[2] = (struct iovec){slot->data + 2 * third, request->length - 2 * third};
	request->iov = slot->iov;
	request->iov_count = 3;
	backend->submit(slot->queue, request);
}

static void attach_slot(void *context)
{
	struct slot *slot = context;

	ck_assert_int_eq(backend->attach(slot->disk, threads[slot->number % 2], &slot->queue), 0);
}

static void start_slot(void *context)
{
	next(context);
}

static void detach_slot(void *context)
{
	backend->detach(((struct slot *)context)->queue);
}

static void on_thread(struct slot *slots, void (*function)(void *context), unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		io_thread_call(threads[slots[i].number % 2], function, &slots[i]);
}

static void churn(struct block_disk *disk, uint32_t seed)
{
	static struct slot slots[SLOTS];
	sem_t ended;

	sem_init(&ended, 0, 0);
	for (unsigned int i = 0; i < SLOTS; i++) {
		slots[i] = (struct slot){.request = {.done = slot_done},
					 .disk = disk,
					 .number = i,
					 .rounds = ROUNDS,
					 .seed = seed + i,
					 .data = malloc(MIB),
					 .ended = &ended};
	}
	on_thread(slots, attach_slot, 2);
	for (unsigned int i = 2; i < SLOTS; i++)
		slots[i].queue = slots[i % 2].queue;
	on_thread(slots, start_slot, SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++)
		sem_wait(&ended);
	on_thread(slots, detach_slot, 2);
	for (unsigned int i = 0; i < SLOTS; i++)
		free(slots[i].data);
	sem_destroy(&ended);
}

static void verify(bool child)
{
	struct image_file_sync files[2];
	int opened[2] = {-1, -1};
	struct image_chain chain = {.image = open_sync(paths[0], &files[0], &opened[0])};
	static uint8_t data[MIB];

	chain.files[0] = &files[0].file;
	if (child) {
		chain.image->parent = open_sync(paths[1], &files[1], &opened[1]);
		chain.files[1] = &files[1].file;
	}
	for (uint64_t block = 0; block < BLOCKS; block++) {
		if (image_read(&chain, block * MIB, data, MIB) < 0)
			ck_abort_msg("block %llu cannot be read", (unsigned long long)block);
		for (uint64_t i = 0; i < MIB / 512; i++) {
			uint8_t value = model[block * MIB / 512 + i];

			check_sector(block * MIB / 512 + i, data + i * 512, value);
		}
	}
	image_free(chain.image);
	close(opened[0]);
	close(opened[1]);
}

static void run_format(const char *name, bool child)
{
	struct image_file_sync file;
	struct block_disk *disk;
	int fd = -1;

	format = name;
	backend = block_backend_find(name);
	if (child) {
		struct image *parent;
		char kept[64];

		create(paths[0], NULL);
		disk = open_disk(false);
		churn(disk, 77);
		backend->close(disk);
		strcpy(kept, paths[0]);
		strcpy(paths[0], paths[1]);
		strcpy(paths[1], kept);
		parent = open_sync(paths[1], &file, &fd);
		create(paths[0], parent);
		image_free(parent);
		close(fd);
	} else {
		create(paths[0], NULL);
	}
	for (uint32_t round = 0; round < 3; round++) {
		disk = open_disk(child);
		churn(disk, round * 1000);
		backend->close(disk);
		verify(child);
	}
}

START_TEST(vhdx_dynamic_under_many_requests)
{
	run_format("vhdx", false);
}
END_TEST

START_TEST(vhdx_child_under_many_requests)
{
	run_format("vhdx", true);
}
END_TEST

START_TEST(vhd_dynamic_under_many_requests)
{
	run_format("vhd", false);
}
END_TEST

START_TEST(vhd_child_under_many_requests)
{
	run_format("vhd", true);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_set_timeout(test_case, 60);
	tcase_add_test(test_case, vhdx_dynamic_under_many_requests);
	tcase_add_test(test_case, vhdx_child_under_many_requests);
	tcase_add_test(test_case, vhd_dynamic_under_many_requests);
	tcase_add_test(test_case, vhd_child_under_many_requests);
	return suite_run(suite);
}
