#include "devices/block/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "base/checked.h"

#define ZEROES_BYTES (64u << 10)

static int fd_of(const struct image_file *file)
{
	return container_of(file, struct image_file_sync, file)->fd;
}

static int sync_read(struct image_file *file, uint64_t offset, void *data, size_t length)
{
	uint8_t *at = data;

	while (length > 0) {
		ssize_t got = pread(fd_of(file), at, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		at += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

static int write_all(int fd, uint64_t offset, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t put = pwrite(fd, at, length, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		at += put;
		offset += (uint64_t)put;
		length -= (size_t)put;
	}
	return 0;
}

static int write_zeroes(int fd, uint64_t offset, uint64_t length)
{
	static const uint8_t zeroes[ZEROES_BYTES];
	int r = 0;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length) == 0)
		return 0;
	while (length > 0 && r == 0) {
		size_t part = MIN(length, (uint64_t)sizeof(zeroes));

		r = write_all(fd, offset, zeroes, part);
		offset += part;
		length -= part;
	}
	return r;
}

static int write_vector(int fd, const struct image_write *write)
{
	uint64_t offset = write->offset;
	int r = 0;

	for (unsigned int i = 0; i < write->iov_count && r == 0; i++) {
		r = write_all(fd, offset, write->iov[i].iov_base, write->iov[i].iov_len);
		offset += write->iov[i].iov_len;
	}
	return r;
}

static void sync_write(struct image_file *file, struct image_write *writes, unsigned int count)
{
	int fd = fd_of(file);

	for (unsigned int i = 0; i < count; i++)
		writes[i].result = writes[i].iov
					   ? write_vector(fd, &writes[i])
					   : write_zeroes(fd, writes[i].offset, writes[i].length);
}

static int sync_flush(struct image_file *file)
{
	if (container_of(file, struct image_file_sync, file)->lazy)
		return 0;
	return fdatasync(fd_of(file)) < 0 ? -errno : 0;
}

static int sync_truncate(struct image_file *file, uint64_t length)
{
	return ftruncate(fd_of(file), (off_t)length) < 0 ? -errno : 0;
}

static int sync_allocate(struct image_file *file, uint64_t offset, uint64_t length)
{
	return fallocate(fd_of(file), 0, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

static uint64_t sync_hole(struct image_file *file, uint64_t offset)
{
	off_t data = lseek(fd_of(file), (off_t)offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? UINT64_MAX - offset : 0;
	return (uint64_t)data - offset;
}

static const struct image_file_ops sync_ops = {
	.read = sync_read,
	.write = sync_write,
	.flush = sync_flush,
	.truncate = sync_truncate,
	.allocate = sync_allocate,
	.hole = sync_hole,
};

/* What is read and written one call at a time is not aligned as direct I/O wants it. */
static void clear_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && flags & O_DIRECT)
		fcntl(fd, F_SETFL, flags & ~O_DIRECT);
}

void image_file_sync_init(struct image_file_sync *file, int fd)
{
	clear_direct(fd);
	file->file.ops = &sync_ops;
	file->fd = fd;
	file->lazy = false;
}

int image_file_read(struct image_file *file, uint64_t offset, void *data, size_t length)
{
	return file->ops->read(file, offset, data, length);
}

int image_file_write(struct image_file *file, uint64_t offset, const void *data, size_t length)
{
	const struct iovec iov = {.iov_base = (void *)data, .iov_len = length};
	struct image_write write = {
		.offset = offset, .length = length, .iov = &iov, .iov_count = 1};

	file->ops->write(file, &write, 1);
	return write.result;
}

int image_file_zero(struct image_file *file, uint64_t offset, uint64_t length)
{
	struct image_write write = {.offset = offset, .length = length};

	file->ops->write(file, &write, 1);
	return write.result;
}

int image_file_flush(struct image_file *file)
{
	return file->ops->flush(file);
}
