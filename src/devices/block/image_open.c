#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "devices/block/backends.h"
#include "devices/block/image_queue.h"

static const char *name_of(const json_t *config)
{
	const char *name = json_string_value(json_object_get(config, "name"));

	return name ? name : "disk";
}

/* A disk that is written leaves its file in order. */
static void close_chain(struct image *image)
{
	for (struct image *at = image; at; at = at->parent) {
		if (!at->file)
			continue;
		image_file_sync_init(&at->sync, at->sync.fd);
		if (!at->disk.geometry.read_only)
			at->ops->finish(at, &at->sync.file);
		at->file->backend->close(at->file);
	}
	image_free(image);
}

/* What the virtual disk inherits from the file that it lies in. */
static void adopt_file(struct image *image)
{
	struct block_geometry *geometry = &image->disk.geometry;

	geometry->discard = image->file->geometry.discard && !geometry->read_only;
	geometry->discard_granularity =
		MAX(image->file->geometry.discard_granularity, geometry->physical_block);
}

/* One image of a chain, without its parents; takes fd on success. */
static int open_one(const char *format, int fd, const json_t *config, bool read_only,
		    struct image **out, struct error *err)
{
	struct image_open options = {.name = name_of(config), .read_only = read_only};
	const struct block_backend *raw = block_backend_find("raw");
	image_opener opener = image_opener_find(format);
	struct image_file_sync sync;
	struct image *image;
	struct stat status;
	int r;

	if (!opener)
		return error_set(err, EINVAL, "there is no disk format \"%s\"", format);
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(err, EINVAL, "%s is not a regular file; name a disk image",
				 options.name);
	options.modified = status.st_mtime;
	image_file_sync_init(&sync, fd);
	r = opener(&sync.file, (uint64_t)status.st_size, &options, &image, err);
	if (r < 0)
		return r;
	image->sync = sync;
	r = raw->open(fd, config, &image->file, err);
	if (r < 0) {
		image_free(image);
		return r;
	}
	adopt_file(image);
	*out = image;
	return 0;
}

/* Through a descriptor of its own, as its child's is only taken on success. */
static int open_parent(const json_t *config, struct image **out, struct error *err)
{
	const char *format = json_string_value(json_object_get(config, "format"));
	CLEANUP_CLOSE int fd =
		fcntl((int)json_integer_value(json_object_get(config, "fd")), F_DUPFD_CLOEXEC, 0);
	int r;

	if (fd < 0 || !format)
		return error_set(err, EINVAL, "a disk's parent is not usable");
	r = open_one(format, fd, config, true, out, err);
	if (r == 0)
		(void)TAKE_FD(fd);
	return r;
}

/* Opens the parents that the configuration lists, nearest first, and sees that they are those. */
static int open_parents(struct image *image, const json_t *config, struct error *err)
{
	const json_t *parents = json_object_get(config, "parents");
	struct image *child = image;
	const json_t *parent;
	size_t index;

	json_array_foreach((json_t *)parents, index, parent)
	{
		struct image *opened;
		int r;

		if (index + 1 >= IMAGE_CHAIN_MAX)
			return error_set(err, EINVAL, "%s has too many parents", image->name);
		r = open_parent(parent, &opened, err);
		if (r < 0)
			return r;
		child->parent = opened;
		r = image_check_parent(child, err);
		if (r < 0)
			return r;
		child = opened;
	}
	return image_check_parent(child, err);
}

static int open_format(const char *format, int fd, const json_t *config, struct block_disk **out,
		       const struct block_backend *backend, struct error *err)
{
	struct image *image;
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int r;

	if (mine < 0)
		return error_host(err, errno, "a disk's descriptor is not usable");
	r = open_one(format, mine, config, json_is_true(json_object_get(config, "read_only")),
		     &image, err);
	if (r < 0) {
		close(mine);
		return r;
	}
	r = open_parents(image, config, err);
	if (r < 0) {
		close_chain(image);
		return r;
	}
	for (struct image *at = image; at; at = at->parent)
		at->disk.backend = backend;
	close(fd);
	*out = &image->disk;
	return 0;
}

static void image_close(struct block_disk *disk)
{
	close_chain(container_of(disk, struct image, disk));
}

static int vhdx_backend_open(int fd, const json_t *config, struct block_disk **out,
			     struct error *err)
{
	return open_format("vhdx", fd, config, out, &block_vhdx, err);
}

static int vhd_backend_open(int fd, const json_t *config, struct block_disk **out,
			    struct error *err)
{
	return open_format("vhd", fd, config, out, &block_vhd, err);
}

const struct block_backend block_vhdx = {
	.name = "vhdx",
	.open = vhdx_backend_open,
	.close = image_close,
	.attach = image_attach,
	.detach = image_detach,
	.submit = image_submit,
};

const struct block_backend block_vhd = {
	.name = "vhd",
	.open = vhd_backend_open,
	.close = image_close,
	.attach = image_attach,
	.detach = image_detach,
	.submit = image_submit,
};
