#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/block/image.h"

/* A raw disk as an image, for what converts one into another: every byte is where it is. */

static void raw_map(const struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *extent)
{
	*extent = (struct image_extent){.kind = IMAGE_IN_FILE, .offset = offset, .length = length};
}

static unsigned int raw_commit(struct image *image, struct image_file *file,
			       struct image_change *const *changes, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct image_change *change = changes[i];
		struct image_write write = image_change_at(change, change->offset);

		file->ops->write(file, &write, 1);
		change->result = write.result;
	}
	return count;
}

static int raw_finish(struct image *image, struct image_file *file)
{
	return 0;
}

static void raw_free(struct image *image)
{
	free(image);
}

static void raw_describe(const struct image *image, json_t *out)
{
	json_object_set_new(out, "type", json_string("fixed"));
}

static void raw_check(const struct image *image, image_report report, void *context)
{
}

static const struct image_ops image_raw_ops = {
	.name = "raw",
	.map = raw_map,
	.commit = raw_commit,
	.finish = raw_finish,
	.free = raw_free,
	.describe = raw_describe,
	.check = raw_check,
};

int image_raw_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
		   struct image **out, struct error *err)
{
	struct image *image;

	if (file_bytes == 0 || !is_aligned(file_bytes, IMAGE_SECTOR_MIN))
		return error_set(
			err, EINVAL,
			"%s: its %llu bytes are no disk's size, which is a multiple of 512; "
			"pad it with truncate",
			options->name, (unsigned long long)file_bytes);
	image = calloc(1, sizeof(*image));
	if (!image)
		return error_memory(err, "a disk");
	image_init(image, &image_raw_ops, options);
	image->disk.geometry.bytes = file_bytes;
	image->disk.geometry.logical_block = image->disk.geometry.physical_block = IMAGE_SECTOR_MIN;
	image->block_bytes = 2u << 20;
	*out = image;
	return 0;
}

int image_raw_create(struct image_file *file, const struct image_create *create, struct error *err)
{
	int r;

	if (create->bytes == 0 || !is_aligned(create->bytes, IMAGE_SECTOR_MIN) || create->parent)
		return error_set(
			err, EINVAL,
			"%s: a raw disk has a multiple of 512 bytes, and no parent; choose "
			"another size or format",
			create->name);
	if (create->block_bytes || create->logical_block || create->physical_block)
		return error_set(err, EINVAL,
				 "%s: a raw disk has neither blocks nor sectors of its own; leave "
				 "out --block-size and the sector sizes, or choose another format",
				 create->name);
	r = file->ops->truncate(file, create->bytes);
	if (r == 0 && create->fixed)
		r = file->ops->allocate(file, 0, create->bytes);
	if (r < 0)
		return error_set(err, -r,
				 "%s cannot be made: %s; make room for it, or choose "
				 "another place",
				 create->name, strerror(-r));
	return 0;
}
