#include "devices/block/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* What the checks below need to know, and the name that their sentences use. */
struct raw_file {
	int fd;
	const char *name;
	bool read_only;
	bool direct;
	struct stat stat;
};

static int read_config(int fd, const json_t *config, struct raw_file *file, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "name"));

	file->fd = fd;
	file->name = name ? name : "disk";
	file->read_only = json_is_true(json_object_get(config, "read_only"));
	file->direct = json_is_true(json_object_get(config, "direct"));
	if (fstat(fd, &file->stat) < 0)
		return error_set(err, errno, "--disk %s cannot be examined: %s; give another disk",
				 file->name, strerror(errno));
	return 0;
}

static int regular_geometry(const struct raw_file *file, struct block_geometry *geometry)
{
	geometry->bytes = (uint64_t)file->stat.st_size;
	geometry->logical_block = RAW_SECTOR;
	geometry->physical_block = MAX((uint32_t)file->stat.st_blksize, (uint32_t)RAW_SECTOR);
	if (geometry->physical_block > RAW_BLOCK_MAX ||
	    !is_aligned(RAW_BLOCK_MAX, geometry->physical_block))
		geometry->physical_block = RAW_BLOCK_MAX;
	return 0;
}

static int device_geometry(const struct raw_file *file, struct block_geometry *geometry)
{
	unsigned int physical;
	int logical;

	if (ioctl(file->fd, BLKGETSIZE64, &geometry->bytes) < 0 ||
	    ioctl(file->fd, BLKSSZGET, &logical) < 0 || ioctl(file->fd, BLKPBSZGET, &physical) < 0)
		return -errno;
	geometry->logical_block = (uint32_t)logical;
	geometry->physical_block = physical;
	return 0;
}

static int read_geometry(const struct raw_file *file, struct block_geometry *geometry,
			 struct error *err)
{
	int r;

	if (S_ISDIR(file->stat.st_mode))
		return error_set(err, EISDIR,
				 "--disk %s is a directory; name a disk image or a block device",
				 file->name);
	if (S_ISREG(file->stat.st_mode))
		r = regular_geometry(file, geometry);
	else if (S_ISBLK(file->stat.st_mode))
		r = device_geometry(file, geometry);
	else
		return error_set(err, EINVAL,
				 "--disk %s is neither a regular file nor a block device; name one",
				 file->name);
	if (r < 0)
		return error_set(err, -r,
				 "--disk %s: its size cannot be read: %s; give another disk",
				 file->name, strerror(-r));
	if (geometry->logical_block > RAW_BLOCK_MAX)
		return error_set(
			err, ENOTSUP,
			"--disk %s has blocks of %u bytes; give a disk with blocks of up to %u",
			file->name, geometry->logical_block, RAW_BLOCK_MAX);
	if (geometry->bytes == 0)
		return error_set(err, EINVAL,
				 "--disk %s is empty; make it as large as the disk shall be",
				 file->name);
	if (geometry->bytes % geometry->logical_block != 0)
		return error_set(
			err, EINVAL,
			"--disk %s is %llu bytes long, not a multiple of %u; pad it with truncate",
			file->name, (unsigned long long)geometry->bytes, geometry->logical_block);
	geometry->read_only = file->read_only;
	geometry->discard_granularity = geometry->physical_block;
	return 0;
}

static int check_access(const struct raw_file *file, struct error *err)
{
	int flags = fcntl(file->fd, F_GETFL);
	int access = flags & O_ACCMODE;

	if (flags < 0)
		return error_set(err, errno, "--disk %s cannot be used: %s; give another disk",
				 file->name, strerror(errno));
	if (access == O_WRONLY || (access == O_RDONLY && !file->read_only))
		return error_set(err, EACCES,
				 "--disk %s is not open for writing; attach the disk with ,ro",
				 file->name);
	if (file->direct && !(flags & O_DIRECT) && fcntl(file->fd, F_SETFL, flags | O_DIRECT) < 0)
		return error_set(
			err, errno,
			"--disk %s lies where direct I/O is not possible; attach it without "
			",direct",
			file->name);
	return 0;
}

/* The alignments that O_DIRECT wants; the logical block where the kernel cannot say. */
static void direct_alignment(const struct raw_file *file, const struct block_geometry *geometry,
			     uint32_t *memory, uint32_t *offset)
{
	struct statx statx_data;

	*memory = *offset = geometry->logical_block;
	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &statx_data) < 0 ||
	    !(statx_data.stx_mask & STATX_DIOALIGN) || statx_data.stx_dio_offset_align == 0)
		return;
	*memory = statx_data.stx_dio_mem_align;
	*offset = statx_data.stx_dio_offset_align;
}

static int set_direct(struct raw_disk *raw, const struct raw_file *file, struct error *err)
{
	uint32_t offset;

	raw->memory_align = 1;
	if (!file->direct)
		return 0;
	direct_alignment(file, &raw->disk.geometry, &raw->memory_align, &offset);
	if (offset > raw->disk.geometry.logical_block)
		return error_set(
			err, EINVAL,
			"--disk %s lies on storage with blocks of %u bytes, but the disk has %u; "
			"attach it without ,direct",
			file->name, offset, raw->disk.geometry.logical_block);
	raw->direct = true;
	return 0;
}

/* Asks the file system with a hole past the end of the file, which changes nothing. */
static bool can_discard(const struct raw_file *file, const struct block_geometry *geometry)
{
	if (file->read_only)
		return false;
	if (S_ISBLK(file->stat.st_mode))
		return true;
	return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)align_up(geometry->bytes, 4096), 4096) == 0;
}

int raw_open(int fd, const json_t *config, struct block_disk **out, struct error *err)
{
	CLEANUP_FREE struct raw_disk *raw = calloc(1, sizeof(*raw));
	struct raw_file file;
	void *zeroes;
	int r;

	if (!raw)
		return error_memory(err, "a disk");
	r = read_config(fd, config, &file, err);
	if (r == 0)
		r = read_geometry(&file, &raw->disk.geometry, err);
	if (r == 0)
		r = check_access(&file, err);
	if (r == 0)
		r = set_direct(raw, &file, err);
	if (r < 0)
		return r;
	raw->disk.geometry.discard = can_discard(&file, &raw->disk.geometry);
	/* Never written, so it is the kernel's one page of zeroes however long it is. */
	zeroes = mmap(NULL, RAW_ZEROES_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zeroes == MAP_FAILED)
		return error_memory(err, "a disk");
	raw->zeroes = zeroes;
	sync_order_init(&raw->syncs);
	raw->fd = fd;
	raw->disk.backend = &block_raw;
	*out = &TAKE_POINTER(raw)->disk;
	return 0;
}

void raw_close(struct block_disk *disk)
{
	struct raw_disk *raw = container_of(disk, struct raw_disk, disk);

	sync_order_cleanup(&raw->syncs);
	munmap((void *)raw->zeroes, RAW_ZEROES_BYTES);
	close(raw->fd);
	free(raw);
}
