#include <stdio.h>

#include "base/wire.h"
#include "devices/block/image.h"
#include "devices/block/vhd.h"
#include "memory_file.h"
#include "suite.h"

/* A parent that is not what it was when its child was made of it. */

#define MIB    (1ull << 20)
#define HEADER 512u /* of a new VHD */

static struct memory_file base, memory;
static image_opener opener;
static image_creator creator;
static int64_t base_modified;

static struct image *open_on(struct memory_file *file, bool read_only)
{
	struct image_open options = {.name = file == &base ? "the-parent" : "the-child",
				     .read_only = read_only,
				     .modified = file == &base ? base_modified : 0};
	struct image *image;
	struct error err;

	if (opener(&file->file, file->length, &options, &image, &err) < 0)
		ck_abort_msg("%s", err.text);
	return image;
}

static void make(struct memory_file *file, const struct image *parent, bool fixed)
{
	const struct image_create with = {.name = "disk",
					  .bytes = 8 * MIB,
					  .block_bytes = fixed ? 0 : MIB,
					  .fixed = fixed,
					  .parent = parent,
					  .parent_relative = "parent",
					  .parent_absolute = "/parent"};
	struct error err;

	memory_file_init(file);
	if (creator(&file->file, &with, &err) < 0)
		ck_abort_msg("%s", err.text);
}

static void make_both(const char *format, bool fixed)
{
	struct image *parent;

	opener = image_opener_find(format);
	creator = image_creator_find(format);
	base_modified = 0;
	make(&base, NULL, fixed);
	parent = open_on(&base, true);
	make(&memory, parent, false);
	image_free(parent);
}

static void free_both(void)
{
	memory_file_free(&memory);
	memory_file_free(&base);
}

static bool accepted(void)
{
	struct image *child = open_on(&memory, true);
	struct error err;
	int r;

	child->parent = open_on(&base, true);
	r = image_check_parent(child, &err);
	if (r < 0 &&
	    (!strstr(err.text, "the-parent") || !strstr(err.text, "the-child") ||
	     !strstr(err.text, "written to since") || !strstr(err.text, "restore the parent") ||
	     (opener == vhd_open) != !!strstr(err.text, "give it back its time")))
		ck_abort_msg("%s", err.text);
	image_free(child);
	return r == 0;
}

static void write_parent(unsigned int writes)
{
	struct image_chain chain = {.files = {&base.file}};
	static const uint8_t data[4096] = {1};

	chain.image = open_on(&base, false);
	for (unsigned int i = 0; i < writes; i++)
		ck_assert_int_eq(image_write(&chain, i * MIB, data, sizeof(data)), 0);
	ck_assert_int_eq(chain.image->ops->finish(chain.image, &base.file), 0);
	image_free(chain.image);
}

static void run(const char *format, bool fixed)
{
	make_both(format, fixed);
	ck_assert(accepted());
	/* Who only looks changes nothing. */
	write_parent(0);
	ck_assert(accepted());
	write_parent(2);
	ck_assert(!accepted());
	free_both();
}

START_TEST(a_vhdx_parent_was_written_to)
{
	run("vhdx", false);
	run("vhdx", true);
}
END_TEST

START_TEST(a_vhd_parent_was_written_to)
{
	run("vhd", false);
	run("vhd", true);
}
END_TEST

/* Nothing is written before the change is marked, for good. */
START_TEST(a_vhd_is_marked_first)
{
	for (int fixed = 0; fixed < 2; fixed++) {
		make_both("vhd", fixed);
		base.recording = true;
		write_parent(1);
		for (int i = 0; i < 2 - fixed; i++) {
			ck_assert_int_eq(base.events[i].kind, MEMORY_WRITE);
			ck_assert_mem_eq(base.events[i].data, VHD_FOOTER_COOKIE, 8);
		}
		ck_assert_int_eq(base.events[2 - fixed].kind, MEMORY_FLUSH);
		free_both();
	}
}
END_TEST

static void set_parent_time(uint32_t time)
{
	uint8_t *header = memory.bytes + HEADER;

	put_be32(header + VHD_HEADER_PARENT_TIME, time);
	put_be32(header + VHD_HEADER_CHECKSUM,
		 vhd_checksum(header, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM));
}

/* Hyper-V means the file's time, and some write none. */
START_TEST(times_of_others)
{
	make_both("vhd", false);
	set_parent_time(1000);
	ck_assert(!accepted());
	base_modified = VHD_EPOCH + 1000;
	ck_assert(accepted());
	base_modified++;
	ck_assert(!accepted());
	set_parent_time(0);
	ck_assert(accepted());
	free_both();
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("image_parent", &test_case);

	tcase_add_test(test_case, a_vhdx_parent_was_written_to);
	tcase_add_test(test_case, a_vhd_parent_was_written_to);
	tcase_add_test(test_case, a_vhd_is_marked_first);
	tcase_add_test(test_case, times_of_others);
	return suite_run(suite);
}
