#include <stdio.h>

#include "devices/block/image.h"
#include "memory_file.h"
#include "suite.h"

/*
 * A disk that is made larger than its table has room for, and a writer that is killed, or a host
 * that loses its power, at any moment of it: the disk has its old size or its new one, all that was
 * in it, and no damage.
 */

#define MIB	   (1ull << 20)
#define GIB	   (1ull << 30)
#define OLD_BYTES  (20 * MIB)
#define PIECE	   4096u
#define PIECES	   5u
#define POWER_CUTS 3

static struct memory_file memory, base;
static image_opener opener;
static image_creator creator;
static bool child;
static uint64_t new_bytes;
static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static uint64_t offset_of(unsigned int piece)
{
	return piece * 4 * MIB + 3 * MIB + (MIB - PIECE) * (piece % 2);
}

static struct image *open_on(struct memory_file *file, bool read_only, unsigned int moment)
{
	struct image_open options = {.name = "disk", .read_only = read_only};
	struct image *image;
	struct error err;

	if (opener(&file->file, file->length, &options, &image, &err) < 0)
		ck_abort_msg("at event %u: %s", moment, err.text);
	return image;
}

static struct image_chain open_all(bool read_only, unsigned int moment)
{
	struct image_chain chain = {.files = {&memory.file, &base.file}};

	chain.image = open_on(&memory, read_only, moment);
	if (child)
		chain.image->parent = open_on(&base, true, moment);
	return chain;
}

static void make(struct memory_file *file, const struct image *parent)
{
	const struct image_create with = {.name = "disk",
					  .bytes = OLD_BYTES,
					  .block_bytes = MIB,
					  .parent = parent,
					  .parent_relative = "parent",
					  .parent_absolute = "/parent"};
	struct error err;

	memory_file_init(file);
	if (creator(&file->file, &with, &err) < 0)
		ck_abort_msg("%s", err.text);
}

static void fill(struct image_chain *chain, struct memory_file *file, unsigned int first)
{
	uint8_t data[PIECE];

	for (unsigned int i = first; i < PIECES; i += 2) {
		memset(data, (int)i + 1, sizeof(data));
		ck_assert_int_eq(image_write(chain, offset_of(i), data, sizeof(data)), 0);
	}
	ck_assert_int_eq(chain->image->ops->finish(chain->image, &file->file), 0);
}

/* A child has every other piece, its parent the rest. */
static void make_disk(void)
{
	struct image_chain chain = {.files = {&base.file}};

	make(&base, NULL);
	chain.image = open_on(&base, false, 0);
	fill(&chain, &base, 1);
	make(&memory, child ? chain.image : NULL);
	image_free(chain.image);
	chain = open_all(false, 0);
	fill(&chain, &memory, 0);
	if (!child)
		fill(&chain, &memory, 1);
	image_free(chain.image);
}

static void grow(void)
{
	struct image_chain chain = open_all(false, 0);
	struct error err;

	memory.recording = true;
	if (chain.image->ops->grow(chain.image, &memory.file, new_bytes, &err) < 0)
		ck_abort_msg("%s", err.text);
	ck_assert_int_eq(chain.image->ops->finish(chain.image, &memory.file), 0);
	memory.recording = false;
	image_free(chain.image);
}

static void no_damage(void *context, enum image_finding finding, const char *text)
{
	if (finding == IMAGE_DAMAGE)
		ck_abort_msg("at event %u: %s", *(unsigned int *)context, text);
}

static void verify(const struct image_chain *chain, unsigned int moment, bool whole)
{
	uint64_t bytes = chain->image->disk.geometry.bytes;

	if (bytes != new_bytes && (whole || bytes != OLD_BYTES))
		ck_abort_msg("at event %u: the disk has %llu bytes", moment,
			     (unsigned long long)bytes);
	for (unsigned int i = 0; i < PIECES; i++) {
		uint8_t data[PIECE];

		if (image_read(chain, offset_of(i), data, sizeof(data)) < 0 || data[0] != i + 1 ||
		    memcmp(data, data + 1, sizeof(data) - 1) != 0)
			ck_abort_msg("at event %u: piece %u has %u", moment, i, data[0]);
	}
	chain->image->ops->check(chain->image, no_damage, &moment);
}

/* The last block of all, which must have been nowhere. */
static void write_end(const struct image_chain *chain, unsigned int moment)
{
	uint64_t offset = chain->image->disk.geometry.bytes - PIECE;
	uint8_t data[PIECE], found[PIECE];

	if (image_read(chain, offset, found, sizeof(found)) < 0 || found[0] != 0)
		ck_abort_msg("at event %u: the end has %u", moment, found[0]);
	memset(data, 99, sizeof(data));
	if (image_write(chain, offset, data, sizeof(data)) < 0 ||
	    image_read(chain, offset, found, sizeof(found)) < 0 || memcmp(data, found, PIECE) != 0)
		ck_abort_msg("at event %u: the end cannot be written", moment);
}

static void examine(unsigned int moment, bool whole)
{
	struct image_chain chain;

	memory.undoing = true;
	chain = open_all(true, moment);
	verify(&chain, moment, whole);
	image_free(chain.image);
	chain = open_all(false, moment);
	verify(&chain, moment, whole);
	if (chain.image->disk.geometry.bytes == new_bytes)
		write_end(&chain, moment);
	if (chain.image->ops->finish(chain.image, &memory.file) < 0)
		ck_abort_msg("at event %u: it cannot be closed", moment);
	image_free(chain.image);
	chain = open_all(true, moment);
	verify(&chain, moment, whole);
	image_free(chain.image);
}

static void cut_power(unsigned int flushed, unsigned int moment)
{
	memory.undoing = true;
	for (unsigned int i = flushed; i < moment; i++) {
		const struct memory_event *event = &memory.events[i];

		if (draw(2))
			continue;
		memory_replay(&memory, event,
			      draw(3) ? event->length
				      : draw((uint32_t)(event->length / 512 + 1)) * 512);
	}
	examine(moment, false);
	memory_undo_all(&memory);
}

static void replay_all(void)
{
	unsigned int flushed = 0;

	for (unsigned int moment = 0; moment <= memory.event_count; moment++) {
		for (int i = 0; i < POWER_CUTS; i++)
			cut_power(flushed, moment);
		memory.undoing = true;
		for (unsigned int at = flushed; at < moment; at++)
			memory_replay(&memory, &memory.events[at], UINT64_MAX);
		examine(moment, moment == memory.event_count);
		memory_undo_all(&memory);
		if (moment == memory.event_count || memory.events[moment].kind != MEMORY_FLUSH)
			continue;
		for (; flushed <= moment; flushed++)
			memory_replay(&memory, &memory.events[flushed], UINT64_MAX);
	}
}

static void run(const char *format, bool differencing, uint64_t bytes)
{
	opener = image_opener_find(format);
	creator = image_creator_find(format);
	child = differencing;
	new_bytes = bytes;
	seed = 1;
	make_disk();
	/* Back to what it was: what is done to it is done again below. */
	memory.undoing = true;
	grow();
	memory_undo_all(&memory);
	replay_all();
	memory_file_free(&memory);
	memory_file_free(&base);
}

START_TEST(vhdx_grows_beyond_its_table)
{
	run("vhdx", false, 200 * GIB);
}
END_TEST

START_TEST(vhdx_child_grows_beyond_its_table)
{
	run("vhdx", true, 200 * GIB);
}
END_TEST

START_TEST(vhd_grows_beyond_its_table)
{
	run("vhd", false, 2 * GIB);
}
END_TEST

START_TEST(vhd_child_grows_beyond_its_table)
{
	run("vhd", true, 2 * GIB);
}
END_TEST

/* What cannot be is refused before anything is written. */
START_TEST(too_large_changes_nothing)
{
	static const struct {
		const char *format;
		uint64_t bytes;
	} cases[] = {{"vhdx", 16ull << 40}, {"vhdx", 65ull << 40}, {"vhd", 3ull << 40}};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct error err = {{0}};
		struct image *image;

		opener = image_opener_find(cases[i].format);
		creator = image_creator_find(cases[i].format);
		make(&memory, NULL);
		image = open_on(&memory, false, 0);
		memory.calls = 0;
		ck_assert_int_lt(image->ops->grow(image, &memory.file, cases[i].bytes, &err), 0);
		ck_assert_uint_eq(memory.calls, 0);
		ck_assert_ptr_nonnull(strstr(err.text, "; "));
		image_free(image);
		memory_file_free(&memory);
	}
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image_resize", &test_case);

	tcase_set_timeout(test_case, 120);
	tcase_add_test(test_case, vhdx_grows_beyond_its_table);
	tcase_add_test(test_case, vhdx_child_grows_beyond_its_table);
	tcase_add_test(test_case, vhd_grows_beyond_its_table);
	tcase_add_test(test_case, vhd_child_grows_beyond_its_table);
	tcase_add_test(test_case, too_large_changes_nothing);
	return suite_run(suite);
}
