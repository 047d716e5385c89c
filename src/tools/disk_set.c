#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/disk.h"

static int file_bytes(int fd, uint64_t *bytes, int64_t *modified)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	*modified = status.st_mtime;
	if (S_ISBLK(status.st_mode))
		return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? -errno : 0;
	*bytes = (uint64_t)status.st_size;
	return S_ISREG(status.st_mode) ? 0 : -EINVAL;
}

static int open_one(struct disk_set *set, unsigned int index, const json_t *file,
		    struct image_open *options, struct image **out, struct error *err)
{
	const char *format = json_string_value(json_object_get(file, "format"));
	image_opener opener = format ? image_opener_find(format) : NULL;
	int r;

	if (!opener)
		return error_set(err, EINVAL, "there is no disk format \"%.20s\"",
				 format ? format : "");
	r = file_bytes(set->fds[index], &set->file_bytes[index], &options->modified);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its size cannot be read: %s; give a file or a block "
				 "device",
				 options->name, strerror(-r));
	image_file_sync_init(&set->files[index], set->fds[index]);
	set->chain.files[index] = &set->files[index].file;
	return opener(&set->files[index].file, set->file_bytes[index], options, out, err);
}

int disk_set_open(struct disk_set *set, const json_t *files, size_t count, enum disk_access access,
		  bool alone, struct error *err)
{
	struct image **place = &set->chain.image;

	if (count == 0 || count > set->count)
		return error_set(err, EINVAL, "the request has too few files");
	for (unsigned int i = 0; i < count; i++) {
		const json_t *file = json_array_get(files, i);
		const char *name = json_string_value(json_object_get(file, "name"));
		struct image_open options = {.name = name ? name : "disk",
					     .read_only = i > 0 || access != DISK_WRITE,
					     .ignore_damage = access == DISK_DAMAGED};
		int r = open_one(set, i, file, &options, place, err);

		if (r < 0)
			return r;
		place = &(*place)->parent;
	}
	for (const struct image *image = set->chain.image; image && !alone; image = image->parent) {
		int r = image_check_parent(image, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int disk_set_close(struct disk_set *set, struct error *err)
{
	struct image *image = set->chain.image;
	int r = 0;

	if (image && !image->disk.geometry.read_only) {
		r = image->ops->finish(image, set->chain.files[0]);
		if (r < 0)
			error_set(err, -r,
				  "%s cannot be written: %s; make room for it, and check it",
				  image->name, strerror(-r));
	}
	image_free(image);
	for (unsigned int i = 0; i < set->count; i++)
		close(set->fds[i]);
	*set = (struct disk_set){.count = 0};
	return r;
}
