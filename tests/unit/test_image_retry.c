#include <stdio.h>

#include "devices/block/image.h"
#include "memory_file.h"
#include "suite.h"

/*
 * A host that fails some calls and then takes them again: what it failed is told to the guest,
 * which tries again; and nothing that was written before, between or after is lost, or read from
 * another's place.
 */

#define MIB	     (1ull << 20)
#define DISK_BYTES   (640 * MIB) /* so that the table has several sectors, or pages */
#define PIECE	     4096u
#define WRITES	     12u
#define PLACES	     (2 * WRITES)
#define MOMENTS	     40u
#define PARENT_VALUE 200

static struct memory_file memory, base;
static image_opener opener;
static image_creator creator;
static bool child;

static uint64_t offset_of(unsigned int place)
{
	return place * 137 % 640 * MIB;
}

static struct image *open_on(struct memory_file *file, bool read_only)
{
	struct image_open options = {.name = "disk", .read_only = read_only};
	struct image *image;
	struct error err;

	if (opener(&file->file, file->length, &options, &image, &err) < 0)
		ck_abort_msg("%s", err.text);
	return image;
}

static struct image_chain open_all(bool read_only)
{
	struct image_chain chain = {.files = {&memory.file, &base.file}};

	chain.image = open_on(&memory, read_only);
	if (child)
		chain.image->parent = open_on(&base, true);
	return chain;
}

static void make(struct memory_file *file, const struct image *parent)
{
	const struct image_create with = {.name = "disk",
					  .bytes = DISK_BYTES,
					  .block_bytes = MIB,
					  .parent = parent,
					  .parent_relative = "parent",
					  .parent_absolute = "/parent"};
	struct error err;

	memory_file_init(file);
	if (creator(&file->file, &with, &err) < 0)
		ck_abort_msg("%s", err.text);
}

static int put(const struct image_chain *chain, struct memory_file *file, unsigned int place,
	       uint8_t value, bool stable)
{
	uint8_t data[PIECE];
	struct iovec iov = {data, sizeof(data)};
	struct image_change change = {.operation = BLOCK_WRITE,
				      .offset = offset_of(place),
				      .length = sizeof(data),
				      .iov = &iov,
				      .iov_count = 1,
				      .stable = stable};

	memset(data, value, sizeof(data));
	chain->image->ops->commit(chain->image, &file->file, (struct image_change *[]){&change}, 1);
	return change.result;
}

static void make_parent(void)
{
	struct image_chain chain = {.files = {&base.file}};

	make(&base, NULL);
	chain.image = open_on(&base, false);
	for (unsigned int i = 0; i < PLACES; i++) {
		uint8_t data[2 * PIECE];

		memset(data, PARENT_VALUE, sizeof(data));
		ck_assert_int_eq(image_write(&chain, offset_of(i), data, sizeof(data)), 0);
	}
	ck_assert_int_eq(chain.image->ops->finish(chain.image, &base.file), 0);
	make(&memory, chain.image);
	image_free(chain.image);
}

static void no_damage(void *context, enum image_finding finding, const char *text)
{
	if (finding == IMAGE_DAMAGE)
		ck_abort_msg("after a failure at call %u: %s", *(unsigned int *)context, text);
}

static void verify(const struct image_chain *chain, unsigned int first)
{
	for (unsigned int i = 0; i < PLACES; i++) {
		uint8_t found[2 * PIECE], rest = child ? PARENT_VALUE : 0;

		ck_assert_int_eq(image_read(chain, offset_of(i), found, sizeof(found)), 0);
		if (found[0] != i + 1 || memcmp(found, found + 1, PIECE - 1) != 0 ||
		    found[PIECE] != rest || memcmp(found + PIECE, found + PIECE + 1, PIECE - 1))
			ck_abort_msg("after a failure at call %u: place %u has %u and %u", first, i,
				     found[0], found[PIECE]);
	}
	chain->image->ops->check(chain->image, no_damage, &first);
}

/* Writes while the host fails; all that failed once more; and as much elsewhere. */
static void write_all(const struct image_chain *chain, unsigned int first)
{
	int results[WRITES];

	for (unsigned int i = 0; i < WRITES; i++)
		results[i] = put(chain, &memory, i, (uint8_t)(i + 1), i % 2);
	memory.error = 0;
	for (unsigned int i = 0; i < WRITES; i++)
		if (results[i] < 0 && put(chain, &memory, i, (uint8_t)(i + 1), false) < 0)
			ck_abort_msg("after a failure at call %u: no second try of %u", first, i);
	for (unsigned int i = WRITES; i < PLACES; i++)
		ck_assert_int_eq(put(chain, &memory, i, (uint8_t)(i + 1), false), 0);
}

static void run_moment(unsigned int first, unsigned int count, int error)
{
	struct image_chain chain;

	if (child)
		make_parent();
	else
		make(&memory, NULL);
	chain = open_all(false);
	memory.calls = 0;
	memory.fail_from = first;
	memory.fail_to = first + count;
	memory.error = error;
	write_all(&chain, first);
	verify(&chain, first);
	ck_assert_int_eq(chain.image->ops->finish(chain.image, &memory.file), 0);
	image_free(chain.image);
	chain = open_all(true);
	verify(&chain, first);
	image_free(chain.image);
	memory_file_free(&memory);
	if (child)
		memory_file_free(&base);
}

static void run(const char *format, bool differencing)
{
	opener = image_opener_find(format);
	creator = image_creator_find(format);
	child = differencing;
	for (unsigned int first = 0; first < MOMENTS; first++)
		run_moment(first, first % 3 + 1, first % 2 ? -EIO : -ENOSPC);
}

START_TEST(vhdx_dynamic_goes_on)
{
	run("vhdx", false);
}
END_TEST

START_TEST(vhdx_child_goes_on)
{
	run("vhdx", true);
}
END_TEST

START_TEST(vhd_dynamic_goes_on)
{
	run("vhd", false);
}
END_TEST

START_TEST(vhd_child_goes_on)
{
	run("vhd", true);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image_retry", &test_case);

	tcase_set_timeout(test_case, 60);
	tcase_add_test(test_case, vhdx_dynamic_goes_on);
	tcase_add_test(test_case, vhdx_child_goes_on);
	tcase_add_test(test_case, vhd_dynamic_goes_on);
	tcase_add_test(test_case, vhd_child_goes_on);
	return suite_run(suite);
}
