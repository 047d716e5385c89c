#pragma once

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "devices/block/image.h"
#include "fuzz.h"

/*
 * An image of any bytes: it is refused, or reads and takes a write without a fault.  The input is a
 * list of pieces (where, how long, bytes) over a file that is otherwise as the format made it.
 */

#define FUZZ_FILE_BYTES (16u << 20)
#define FUZZ_READ_BYTES 65536u

struct fuzz_file {
	struct image_file file;
	uint8_t *bytes;
	uint64_t length;
};

static int fuzz_read(struct image_file *file, uint64_t offset, void *data, size_t length)
{
	const struct fuzz_file *fuzz = container_of(file, struct fuzz_file, file);

	if (!range_within(offset, length, fuzz->length))
		return -EIO;
	memcpy(data, fuzz->bytes + offset, length);
	return 0;
}

static int fuzz_write_one(struct fuzz_file *fuzz, const struct image_write *write)
{
	uint64_t offset = write->offset;

	if (!range_within(offset, write->length, FUZZ_FILE_BYTES))
		return -ENOSPC;
	if (!write->iov)
		memset(fuzz->bytes + offset, 0, write->length);
	for (unsigned int i = 0; i < write->iov_count; i++) {
		memcpy(fuzz->bytes + offset, write->iov[i].iov_base, write->iov[i].iov_len);
		offset += write->iov[i].iov_len;
	}
	if (write->iov)
		fuzz->length = MAX(fuzz->length, offset);
	return 0;
}

static void fuzz_write(struct image_file *file, struct image_write *writes, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		writes[i].result =
			fuzz_write_one(container_of(file, struct fuzz_file, file), &writes[i]);
}

static int fuzz_flush(struct image_file *file)
{
	return 0;
}

static int fuzz_truncate(struct image_file *file, uint64_t length)
{
	if (length > FUZZ_FILE_BYTES)
		return -ENOSPC;
	container_of(file, struct fuzz_file, file)->length = length;
	return 0;
}

static int fuzz_allocate(struct image_file *file, uint64_t offset, uint64_t length)
{
	struct fuzz_file *fuzz = container_of(file, struct fuzz_file, file);

	if (!range_within(offset, length, FUZZ_FILE_BYTES))
		return -ENOSPC;
	fuzz->length = MAX(fuzz->length, offset + length);
	return 0;
}

static const struct image_file_ops fuzz_file_ops = {
	.read = fuzz_read,
	.write = fuzz_write,
	.flush = fuzz_flush,
	.truncate = fuzz_truncate,
	.allocate = fuzz_allocate,
};

/* A piece: 3 bytes of offset, 1 of length, the bytes.  fix makes the checksums right again. */
static inline void fuzz_patch(struct fuzz_file *fuzz, struct fuzz_input *input,
			      void (*fix)(struct fuzz_file *fuzz))
{
	while (input->size > 0) {
		uint64_t offset = fuzz_u64(input) & 0xffffff;
		uint8_t length = fuzz_u8(input);

		if (!range_within(offset, length, FUZZ_FILE_BYTES))
			break;
		fuzz_take(input, fuzz->bytes + offset, length);
		fuzz->length = MAX(fuzz->length, offset + length);
	}
	fix(fuzz);
}

static inline void fuzz_use(struct fuzz_file *fuzz, image_opener opener, bool read_only)
{
	static uint8_t data[FUZZ_READ_BYTES];
	const struct image_open options = {.name = "disk", .read_only = read_only};
	struct image_chain chain = {.files = {&fuzz->file}};
	struct error err;
	uint64_t bytes;

	if (opener(&fuzz->file, fuzz->length, &options, &chain.image, &err) < 0)
		return;
	bytes = chain.image->disk.geometry.bytes;
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t offset =
			align_down(bytes / 8 * i, chain.image->disk.geometry.logical_block);
		uint64_t length = MIN(bytes - offset, (uint64_t)sizeof(data));

		image_read(&chain, offset, data, length);
		if (!read_only)
			image_write(&chain, offset, data, MIN(length, 4096ull));
	}
	if (!read_only) {
		image_zero(&chain, 0, bytes / 2 & ~4095ull, true);
		chain.image->ops->finish(chain.image, &fuzz->file);
	}
	image_free(chain.image);
}

static inline void fuzz_image(const uint8_t *data, size_t size, image_opener opener,
			      image_creator creator, void (*fix)(struct fuzz_file *fuzz))
{
	static struct fuzz_file fuzz = {.file = {.ops = &fuzz_file_ops}};
	static uint8_t *kept;
	static uint64_t kept_bytes;
	const struct image_create create = {
		.name = "disk", .bytes = 64u << 20, .block_bytes = 1u << 20};
	struct fuzz_input input = {data, size};
	bool read_only;
	struct error err;

	if (!fuzz.bytes) {
		fuzz.bytes = calloc(1, FUZZ_FILE_BYTES);
		if (!fuzz.bytes || creator(&fuzz.file, &create, &err) < 0)
			abort();
		kept_bytes = fuzz.length;
		kept = malloc(kept_bytes);
		if (!kept)
			abort();
		memcpy(kept, fuzz.bytes, kept_bytes);
	}
	memcpy(fuzz.bytes, kept, kept_bytes);
	memset(fuzz.bytes + kept_bytes, 0, FUZZ_FILE_BYTES - kept_bytes);
	fuzz.length = kept_bytes;
	read_only = fuzz_u8(&input) & 1;
	fuzz_patch(&fuzz, &input, fix);
	fuzz_use(&fuzz, opener, read_only);
}
