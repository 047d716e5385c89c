#include <stdlib.h>

#include "fuzz.h"
#include "vmbus/gpadl.h"

/* GPADL messages in any order, over a little memory; what is accepted must resolve. */

#define RAM_BYTES (64u * 4096)
#define IOVS	  64u

enum step {
	CREATE,
	APPEND,
	REMOVE,
	REMOVE_CHANNEL,
	FRAMES,
	BUFFERS,
	SAVE,
	STEPS,
};

static struct gpa_space *gpa;

/* Small numbers, so that they meet again. */
static uint32_t number(struct fuzz_input *input)
{
	return fuzz_u8(input) & 7;
}

/* Words of ranges: mostly frames that are there. */
static size_t take_words(struct fuzz_input *input, uint64_t *words, size_t max)
{
	size_t count = fuzz_u8(input) % (max + 1);

	for (size_t i = 0; i < count; i++) {
		uint8_t kind = fuzz_u8(input);

		words[i] = kind < 224 ? kind % 80 : fuzz_u64(input);
	}
	return count;
}

static void create(struct gpadl_table *table, struct fuzz_input *input)
{
	struct vmbus_gpadl_header header = {.relid = number(input), .gpadl = number(input)};
	uint8_t data[28 * 8];
	uint64_t words[27];
	uint32_t range[2];
	size_t count;

	header.range_count = fuzz_u8(input) & 3;
	fuzz_take(input, &range[0], 2);
	range[0] = (range[0] & 0xffff) << (fuzz_u8(input) & 7);
	range[1] = fuzz_u8(input) < 200 ? 0 : (uint32_t)fuzz_u64(input);
	header.range_bytes = (uint16_t)(fuzz_u8(input) * 8 + (fuzz_u8(input) == 0 ? 1 : 0));
	count = take_words(input, words, 27);
	memcpy(data, range, 8);
	memcpy(data + 8, words, count * 8);
	gpadl_create(table, &header, data, 8 + count * 8);
}

static void append(struct gpadl_table *table, struct fuzz_input *input)
{
	uint32_t id = number(input), relid;
	uint64_t words[28];
	size_t count = take_words(input, words, 28);

	gpadl_append(table, id, words, count * 8, &relid);
}

static void check_buffers(struct gpadl_table *table, struct fuzz_input *input)
{
	uint32_t relid = number(input), id = number(input);
	struct iovec iov[IOVS];
	uint64_t bytes, total = 0;
	int count = gpadl_buffers(table, relid, id, GPA_READ, iov, IOVS, &bytes);

	for (int i = 0; i < count; i++) {
		volatile const uint8_t *piece = iov[i].iov_base;

		(void)(piece[0] + piece[iov[i].iov_len - 1]);
		total += iov[i].iov_len;
	}
	if (count >= 0 && total != bytes)
		abort();
}

static void check_frames(struct gpadl_table *table, struct fuzz_input *input)
{
	uint32_t relid = number(input), id = number(input), count;
	const uint64_t *frames;

	if (gpadl_ring_frames(table, relid, id, &frames, &count))
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (!gpa_pointer(gpa, frames[i] * 4096, 4096, GPA_WRITE))
			abort();
	}
}

/* What was accepted is accepted again. */
static void save(struct gpadl_table *table)
{
	struct state_writer *writer = state_writer_new();
	struct gpadl_table copy;
	struct state_node root;
	void *tree;
	size_t size;

	gpadl_save(table, writer);
	if (state_finish(writer, &tree, &size))
		abort();
	state_writer_free(writer);
	gpadl_table_init(&copy, gpa);
	if (state_open(tree, size, &root) || gpadl_restore(&copy, &root) ||
	    copy.count != table->count || copy.words != table->words)
		abort();
	gpadl_table_cleanup(&copy);
	free(tree);
}

static void run_step(struct gpadl_table *table, struct fuzz_input *input)
{
	uint32_t relid;

	switch ((enum step)(fuzz_u8(input) % STEPS)) {
	case CREATE:
		create(table, input);
		break;
	case APPEND:
		append(table, input);
		break;
	case REMOVE:
		relid = number(input);
		gpadl_remove(table, relid, number(input));
		break;
	case REMOVE_CHANNEL:
		gpadl_remove_channel(table, number(input));
		break;
	case FRAMES:
		check_frames(table, input);
		break;
	case BUFFERS:
		check_buffers(table, input);
		break;
	case SAVE:
	case STEPS:
		save(table);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct gpadl_table table;

	if (!gpa && gpa_space_new(RAM_BYTES, &gpa, NULL))
		abort();
	gpadl_table_init(&table, gpa);
	while (input.size > 0)
		run_step(&table, &input);
	gpadl_table_cleanup(&table);
	return 0;
}
