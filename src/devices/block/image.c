#include "devices/block/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static const struct {
	const char *name;
	image_opener open;
	image_creator create;
} formats[] = {
	{"raw", image_raw_open, image_raw_create},
	{"vhd", vhd_open, vhd_create},
	{"vhdx", vhdx_open, vhdx_create},
};

image_opener image_opener_find(const char *format)
{
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++)
		if (strcmp(format, formats[i].name) == 0)
			return formats[i].open;
	return NULL;
}

image_creator image_creator_find(const char *format)
{
	for (size_t i = 0; i < ARRAY_LENGTH(formats); i++)
		if (strcmp(format, formats[i].name) == 0)
			return formats[i].create;
	return NULL;
}

void image_init(struct image *image, const struct image_ops *ops, const struct image_open *options)
{
	image->ops = ops;
	image->disk.geometry.read_only = options->read_only;
	snprintf(image->name, sizeof(image->name), "%s", options->name);
	pthread_mutex_init(&image->lock, NULL);
	list_init(&image->changes);
}

void image_free(struct image *image)
{
	while (image) {
		struct image *parent = image->parent;

		pthread_mutex_destroy(&image->lock);
		image->ops->free(image);
		image = parent;
	}
}

static int refuse_mismatch(const struct image *image, struct error *err)
{
	const struct image *parent = image->parent;

	switch (image->ops->match(image, parent)) {
	case IMAGE_MATCHES:
		return 0;
	case IMAGE_OTHER_TIME:
		return error_set(err, EINVAL,
				 "%s was written to since %s was made of it; restore the parent "
				 "from a copy; if it was only copied, give it back its time "
				 "(cp -p or touch -d)",
				 parent->name, image->name);
	default:
		return error_set(err, EINVAL,
				 "%s is not the parent that %s was made of, or was written to "
				 "since; restore the parent from a copy",
				 parent->name, image->name);
	}
}

int image_check_parent(const struct image *image, struct error *err)
{
	const struct image *parent = image->parent;
	int r;

	if (!image->differencing)
		return parent ? error_set(err, EINVAL, "%s has no parent, but was given one",
					  image->name)
			      : 0;
	if (!parent)
		return error_set(err, ENOENT,
				 "%s is a differencing disk and its parent is missing; keep the "
				 "two together",
				 image->name);
	if (parent->ops != image->ops)
		return error_set(err, EINVAL, "%s is no parent of %s: it is of another format",
				 parent->name, image->name);
	r = refuse_mismatch(image, err);
	if (r < 0)
		return r;
	if (parent->disk.geometry.logical_block != image->disk.geometry.logical_block)
		return error_set(err, EINVAL, "%s and its parent %s have different sectors",
				 image->name, parent->name);
	return 0;
}

unsigned int image_slice(const struct iovec *iov, uint64_t skip, uint64_t length, struct iovec *out,
			 unsigned int max)
{
	unsigned int count = 0;

	for (; length > 0; iov++) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		if (count == max)
			return 0;
		out[count].iov_base = (uint8_t *)iov->iov_base + skip;
		out[count].iov_len = MIN(length, (uint64_t)iov->iov_len - skip);
		length -= out[count++].iov_len;
		skip = 0;
	}
	return count;
}

/* A whole block of zeroes need not be in the file; nor one that is not wanted any more. */
static bool drops_block(const struct image *image, uint64_t offset, uint64_t length)
{
	uint64_t block = align_down(offset, image->block_bytes);

	return offset == block &&
	       length >= MIN(image->block_bytes, image->disk.geometry.bytes - block);
}

bool image_in_place(const struct image *image, enum block_operation operation, bool may_unmap,
		    uint64_t offset, uint64_t length, const struct image_extent *extent)
{
	if (operation == BLOCK_READ)
		return true;
	if (!atomic_load_explicit(&image->started, memory_order_acquire) ||
	    extent->kind != IMAGE_IN_FILE)
		return false;
	if (operation == BLOCK_WRITE)
		return true;
	return !(operation == BLOCK_DISCARD || may_unmap) || !drops_block(image, offset, length);
}

static int read_extent(const struct image *image, struct image_file *file,
		       const struct image_extent *extent, uint8_t *data)
{
	if (extent->kind == IMAGE_IN_FILE)
		return image_file_read(file, extent->offset, data, (size_t)extent->length);
	memset(data, 0, (size_t)extent->length);
	return 0;
}

/* From the image at that depth of the chain; a parent may be smaller. */
static int read_at_depth(const struct image_chain *chain, const struct image *image,
			 unsigned int depth, uint64_t offset, uint8_t *data, uint64_t length)
{
	int r = 0;

	while (length > 0 && r == 0) {
		uint64_t capacity = image->disk.geometry.bytes;
		struct image_extent extent = {.kind = IMAGE_ZERO, .length = length};

		if (offset < capacity)
			image->ops->map(image, offset, MIN(length, capacity - offset), &extent);
		if (extent.kind == IMAGE_IN_PARENT && image->parent)
			r = read_at_depth(chain, image->parent, depth + 1, offset, data,
					  extent.length);
		else
			r = read_extent(image, chain->files[depth], &extent, data);
		offset += extent.length;
		data += extent.length;
		length -= extent.length;
	}
	return r;
}

int image_read(const struct image_chain *chain, uint64_t offset, void *data, uint64_t length)
{
	return read_at_depth(chain, chain->image, 0, offset, data, length);
}

static int change(const struct image_chain *chain, struct image_change *change)
{
	struct image *image = chain->image;
	uint64_t room = image->block_bytes - (change->offset & (image->block_bytes - 1));

	change->length = MIN(change->length, room);
	image->ops->commit(image, chain->files[0], (struct image_change *const[]){change}, 1);
	return change->result;
}

int image_write(const struct image_chain *chain, uint64_t offset, const void *data, uint64_t length)
{
	const uint8_t *at = data;
	int r = 0;

	while (length > 0 && r == 0) {
		struct iovec iov = {.iov_base = (void *)at};
		uint64_t block = chain->image->block_bytes;
		struct image_change one = {.operation = BLOCK_WRITE,
					   .offset = offset,
					   .length = MIN(length, block - (offset & (block - 1))),
					   .iov = &iov,
					   .iov_count = 1};

		iov.iov_len = (size_t)one.length;
		r = change(chain, &one);
		at += one.length;
		offset += one.length;
		length -= one.length;
	}
	return r;
}

int image_zero(const struct image_chain *chain, uint64_t offset, uint64_t length, bool discard)
{
	int r = 0;

	while (length > 0 && r == 0) {
		struct image_change one = {.operation =
						   discard ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES,
					   .offset = offset,
					   .length = length};

		r = change(chain, &one);
		offset += one.length;
		length -= one.length;
	}
	return r;
}
