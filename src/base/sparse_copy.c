#include "base/sparse_copy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

#define PIECE 65536u /* what is looked at for zeroes at once */

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && !memcmp(bytes, bytes + 1, size - 1);
}

static void pass(struct sparse_copy *copy, uint64_t bytes)
{
	copy->from_offset += bytes;
	copy->to_offset += bytes;
	copy->left -= bytes;
}

/* There is no more data; what is left is a hole if it is there. */
static int check_end(const struct sparse_copy *copy)
{
	off_t end = lseek(copy->from, 0, SEEK_END);

	if (end < 0)
		return -errno;
	return (uint64_t)end < copy->from_offset + copy->left ? -ENODATA : 0;
}

/* To the next data, or past the end; 0 where there is none. */
static int skip_hole(struct sparse_copy *copy)
{
	off_t data = lseek(copy->from, (off_t)copy->from_offset, SEEK_DATA);
	uint64_t hole;
	int r = data >= 0 ? 0 : errno == ENXIO ? check_end(copy) : -errno;

	if (r)
		return r;
	hole = data < 0 ? copy->left : (uint64_t)data - copy->from_offset;
	pass(copy, MIN(hole, copy->left));
	return 0;
}

static int write_piece(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t written = pwrite(fd, bytes, size, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		bytes += written;
		offset += (uint64_t)written;
		size -= (size_t)written;
	}
	return 0;
}

/* The bytes that were there, or -errno. */
static ssize_t copy_piece(struct sparse_copy *copy, uint8_t *piece)
{
	ssize_t got = pread(copy->from, piece, MIN(copy->left, (uint64_t)PIECE),
			    (off_t)copy->from_offset);
	int r = 0;

	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (got == 0)
		return -ENODATA;
	if (!is_zero(piece, (size_t)got))
		r = write_piece(copy->to, piece, (size_t)got, copy->to_offset);
	if (r)
		return r;
	pass(copy, (uint64_t)got);
	return got;
}

int sparse_copy_step(struct sparse_copy *copy)
{
	uint8_t *piece = malloc(PIECE);
	uint64_t done = 0;
	ssize_t r = 0;

	if (!piece)
		return -ENOMEM;
	while (r >= 0 && copy->left && done < SPARSE_COPY_STEP) {
		r = skip_hole(copy);
		if (r < 0 || !copy->left)
			break;
		r = copy_piece(copy, piece);
		done += r > 0 ? (uint64_t)r : 0;
	}
	free(piece);
	return r < 0 ? (int)r : copy->left > 0;
}

int sparse_copy_run(struct sparse_copy *copy)
{
	int r = 1;

	while (r > 0)
		r = sparse_copy_step(copy);
	return r;
}
