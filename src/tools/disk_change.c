#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "tools/disk.h"

int disk_resize(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	json_int_t bytes = json_integer_value(json_object_get(request, "bytes"));
	struct image *image;
	int r = disk_set_open(set, json_object_get(request, "files"), 1, DISK_WRITE, true, err);

	if (r < 0)
		return r;
	image = set->chain.image;
	if (bytes <= 0 || !is_aligned((uint64_t)bytes, image->disk.geometry.logical_block))
		return error_set(err, EINVAL,
				 "%s: a disk has whole sectors of %u bytes; choose "
				 "another size",
				 image->name, image->disk.geometry.logical_block);
	if ((uint64_t)bytes < image->disk.geometry.bytes)
		return error_set(err, EINVAL,
				 "%s: it has %llu bytes, and would lose what lies behind the new "
				 "end; choose a larger size",
				 image->name, (unsigned long long)image->disk.geometry.bytes);
	if (!image->ops->grow)
		return error_set(err, EINVAL, "%s: a raw disk is made larger by truncate",
				 image->name);
	r = image->ops->grow(image, set->chain.files[0], (uint64_t)bytes, err);
	if (r == 0)
		*reply = json_pack("{s:I}", "bytes", bytes);
	return r;
}

static json_int_t size_of(const struct disk_set *set)
{
	struct stat status;

	return fstat(set->fds[0], &status) < 0 ? 0 : (json_int_t)status.st_size;
}

int disk_compact(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	struct image *image;
	json_int_t before, after;
	int r = disk_set_open(set, json_object_get(request, "files"), 1, DISK_WRITE, true, err);

	if (r < 0)
		return r;
	image = set->chain.image;
	if (!image->ops->compact)
		return error_set(err, EINVAL, "%s: only a VHDX or VHD can be compacted",
				 image->name);
	before = size_of(set);
	r = image->ops->compact(image, set->chain.files[0], err);
	if (r == 0)
		r = image->ops->finish(image, set->chain.files[0]);
	if (r < 0)
		return r;
	after = size_of(set);
	*reply = json_pack("{s:I, s:I}", "before", before, "after", after);
	return 0;
}
