#include <stdio.h>

#include "devices/block/image.h"
#include "memory_file.h"
#include "suite.h"

/*
 * What is left of an image when its writer is killed, or the host loses its power, at any moment.
 * Everything that was done to the file is recorded; then the file is put into each state that could
 * have been left (all up to a point; or what was flushed, and of the rest some, the last torn),
 * opened and read.  Each sector must have what was last made stable there, or something newer.
 */

#define MIB	     (1ull << 20)
#define BLOCKS	     20
#define TRACKED	     8 /* sectors of each block, spread over it */
#define SECTORS	     (BLOCKS * TRACKED)
#define STEPS	     70
#define RUNS	     3
#define CANDIDATES   32
#define POWER_CUTS   1 /* at each moment */
#define PARENT_VALUE 200

enum kind { STEP_WRITE, STEP_ZERO, STEP_DISCARD, STEP_FLUSH, STEP_REOPEN };

struct step {
	enum kind kind;
	unsigned int first, count; /* tracked sectors */
	uint8_t value;
	uint8_t left[TRACKED]; /* DISCARD: what was found afterwards, which is the format's choice
				*/
	bool stable;
	unsigned int begin, end; /* of the recorded events */
};

static struct memory_file memory, base;
static struct step steps[STEPS];
static image_opener opener;
static image_creator creator;
static bool child;
static uint32_t seed;

/* What a sector may be found to have. */
struct candidates {
	uint8_t values[CANDIDATES];
	unsigned int count;
};

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

/* A block's tracked sectors are in two runs, at its beginning and across its middle. */
static uint64_t offset_of(unsigned int tracked)
{
	unsigned int within = tracked % TRACKED;
	uint64_t block = tracked / TRACKED * MIB;

	return within < TRACKED / 2 ? block + within * 512
				    : block + MIB / 2 + (within - TRACKED / 2) * 512 - 2048;
}

static struct image_chain open_on(struct memory_file *file, bool read_only, const char *when,
				  unsigned int moment)
{
	struct image_open options = {.name = "disk", .read_only = read_only};
	struct image_chain chain = {.files = {&file->file, &base.file}};
	struct error err;

	if (opener(&file->file, file->length, &options, &chain.image, &err) < 0)
		ck_abort_msg("%s at event %u: %s", when, moment, err.text);
	return chain;
}

static struct image_chain open_all(bool read_only, const char *when, unsigned int moment)
{
	struct image_chain chain = open_on(&memory, read_only, when, moment);

	if (child)
		chain.image->parent = open_on(&base, true, when, moment).image;
	return chain;
}

static void end(struct image_chain *chain)
{
	if (chain->image->ops->finish(chain->image, &memory.file) < 0)
		ck_abort_msg("it cannot be closed");
	image_free(chain->image);
}

static void write_tracked(const struct image_chain *chain, const struct step *step)
{
	static uint8_t data[TRACKED * 512];
	struct iovec iov = {data, step->count * 512};
	struct image_change change = {.operation = BLOCK_WRITE,
				      .offset = offset_of(step->first),
				      .length = step->count * 512,
				      .iov = &iov,
				      .iov_count = 1,
				      .stable = step->stable};

	memset(data, step->value, sizeof(data));
	chain->image->ops->commit(chain->image, &memory.file, (struct image_change *[]){&change},
				  1);
	ck_assert_int_eq(change.result, 0);
}

static void draw_step(struct step *step)
{
	static const enum kind kinds[] = {STEP_WRITE, STEP_WRITE, STEP_WRITE,	STEP_WRITE,
					  STEP_WRITE, STEP_ZERO,  STEP_DISCARD, STEP_FLUSH,
					  STEP_FLUSH, STEP_REOPEN};

	step->kind = kinds[draw(ARRAY_LENGTH(kinds))];
	step->first = draw(SECTORS);
	/* Within a run. */
	step->count = 1 + draw(TRACKED / 2 - step->first % (TRACKED / 2));
	step->value = step->kind == STEP_WRITE ? (uint8_t)(1 + draw(199)) : 0;
	step->stable = draw(4) == 0;
	if (step->kind == STEP_DISCARD) {
		step->first = step->first / TRACKED * TRACKED;
		step->count = TRACKED;
	}
}

static void discard(const struct image_chain *chain, struct step *step)
{
	uint8_t data[512];

	ck_assert_int_eq(image_zero(chain, step->first / TRACKED * MIB, MIB, true), 0);
	for (unsigned int i = 0; i < TRACKED; i++) {
		ck_assert_int_eq(image_read(chain, offset_of(step->first + i), data, 512), 0);
		step->left[i] = data[0];
	}
}

static void run_step(struct image_chain *chain, struct step *step)
{
	int r = 0;

	step->begin = memory.event_count;
	switch (step->kind) {
	case STEP_WRITE:
		write_tracked(chain, step);
		break;
	case STEP_ZERO:
		r = image_zero(chain, offset_of(step->first), step->count * 512, false);
		break;
	case STEP_DISCARD:
		discard(chain, step);
		break;
	case STEP_FLUSH:
		r = image_file_flush(&memory.file);
		break;
	case STEP_REOPEN:
		end(chain);
		*chain = open_all(false, "again", step->begin);
		break;
	}
	ck_assert_int_eq(r, 0);
	step->end = memory.event_count;
}

static void make(struct memory_file *file, const struct image *parent)
{
	struct image_create with = {.name = "disk",
				    .bytes = BLOCKS * MIB,
				    .block_bytes = MIB,
				    .parent = parent,
				    .parent_relative = "base",
				    .parent_absolute = "/base"};
	struct error err;

	memory_file_init(file);
	ck_assert_msg(creator(&file->file, &with, &err) == 0, "%s", err.text);
}

static void record(void)
{
	struct image_chain chain;

	if (child) {
		static uint8_t data[BLOCKS * MIB];

		make(&base, NULL);
		chain = open_on(&base, false, "parent", 0);
		chain.files[0] = &base.file;
		memset(data, PARENT_VALUE, sizeof(data));
		ck_assert_int_eq(image_write(&chain, 0, data, sizeof(data)), 0);
		ck_assert_int_eq(chain.image->ops->finish(chain.image, &base.file), 0);
		make(&memory, chain.image);
		image_free(chain.image);
	} else {
		memory_file_init(&base);
		make(&memory, NULL);
	}
	memory.recording = true;
	chain = open_all(false, "first", 0);
	for (unsigned int i = 0; i < STEPS; i++) {
		draw_step(&steps[i]);
		run_step(&chain, &steps[i]);
	}
	end(&chain);
	memory.recording = false;
}

/* As it was before the first event. */
static void rewind_file(void)
{
	struct image *parent = child ? open_on(&base, true, "parent", 0).image : NULL;
	struct memory_event *events = memory.events;
	unsigned int count = memory.event_count;

	memory.events = NULL;
	memory.event_count = 0;
	memory_file_free(&memory);
	make(&memory, parent);
	image_free(parent);
	memory.events = events;
	memory.event_count = count;
}

static void add_candidate(struct candidates *candidates, uint8_t value)
{
	ck_assert_uint_lt(candidates->count, CANDIDATES);
	candidates->values[candidates->count++] = value;
}

static void settle(struct candidates *candidates)
{
	candidates->values[0] = candidates->values[candidates->count - 1];
	candidates->count = 1;
}

/* What each sector may have when the moment came before that event. */
static void find_candidates(unsigned int moment, struct candidates candidates[SECTORS])
{
	for (unsigned int i = 0; i < SECTORS; i++)
		candidates[i] = (struct candidates){{child ? PARENT_VALUE : 0}, 1};
	for (unsigned int i = 0; i < STEPS && steps[i].begin < moment; i++) {
		const struct step *step = &steps[i];
		bool done = step->end <= moment;

		for (unsigned int s = 0; s < SECTORS; s++) {
			bool within = s >= step->first && s < step->first + step->count;

			if (step->kind < STEP_FLUSH && within)
				add_candidate(&candidates[s], step->kind == STEP_DISCARD
								      ? step->left[s - step->first]
								      : step->value);
			if (done && (step->kind == STEP_FLUSH ||
				     (step->kind == STEP_WRITE && step->stable && within)))
				settle(&candidates[s]);
		}
	}
}

static void verify(const struct image_chain *chain, const struct candidates *candidates,
		   const char *what, unsigned int moment)
{
	for (unsigned int s = 0; s < SECTORS; s++) {
		uint8_t data[512];
		unsigned int i = 0;

		if (image_read(chain, offset_of(s), data, sizeof(data)) < 0)
			ck_abort_msg("%s at event %u: sector %u cannot be read", what, moment, s);
		while (i < candidates[s].count && candidates[s].values[i] != data[0])
			i++;
		if (i == candidates[s].count || memcmp(data, data + 1, 511) != 0)
			ck_abort_msg("%s at event %u: sector %u has %u", what, moment, s, data[0]);
	}
}

/* The file as it lies there: opened, read, written to, closed and read again. */
static void examine(unsigned int moment, const char *what)
{
	static struct candidates candidates[SECTORS];
	const struct step step = {.first = 1, .count = 2, .value = 199};
	struct image_chain chain;

	find_candidates(moment, candidates);
	memory.undoing = true;
	chain = open_all(true, what, moment);
	verify(&chain, candidates, what, moment);
	image_free(chain.image);
	chain = open_all(false, what, moment);
	verify(&chain, candidates, what, moment);
	write_tracked(&chain, &step);
	end(&chain);
	candidates[1] = candidates[2] = (struct candidates){{199}, 1};
	chain = open_all(true, what, moment);
	verify(&chain, candidates, what, moment);
	image_free(chain.image);
}

/* Power is cut: of what came after the last flush some is there, and of the last of it a part. */
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
	examine(moment, "power cut");
	memory_undo_all(&memory);
}

static void replay_all(void)
{
	unsigned int flushed = 0;

	rewind_file();
	for (unsigned int moment = 0; moment <= memory.event_count; moment++) {
		unsigned int at = flushed;

		/* At this point the file has all up to the last flush. */
		for (int i = 0; i < POWER_CUTS; i++)
			cut_power(flushed, moment);
		memory.undoing = true;
		for (; at < moment; at++)
			memory_replay(&memory, &memory.events[at], UINT64_MAX);
		examine(moment, "kill");
		memory_undo_all(&memory);
		if (moment == memory.event_count || memory.events[moment].kind != MEMORY_FLUSH)
			continue;
		for (; flushed <= moment; flushed++)
			memory_replay(&memory, &memory.events[flushed], UINT64_MAX);
	}
}

static void run(const char *name, bool differencing, uint32_t first_seed)
{
	opener = image_opener_find(name);
	creator = image_creator_find(name);
	child = differencing;
	for (uint32_t i = 0; i < RUNS; i++) {
		seed = first_seed + i;
		record();
		replay_all();
		memory_file_free(&memory);
		memory_file_free(&base);
	}
}

START_TEST(vhdx_survives)
{
	run("vhdx", false, 1);
}
END_TEST

START_TEST(vhdx_child_survives)
{
	run("vhdx", true, 2);
}
END_TEST

START_TEST(vhd_dynamic_survives)
{
	run("vhd", false, 3);
}
END_TEST

START_TEST(vhd_child_survives)
{
	run("vhd", true, 3);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image_crash", &test_case);

	tcase_set_timeout(test_case, 120);
	tcase_add_test(test_case, vhdx_survives);
	tcase_add_test(test_case, vhdx_child_survives);
	tcase_add_test(test_case, vhd_dynamic_survives);
	tcase_add_test(test_case, vhd_child_survives);
	return suite_run(suite);
}
