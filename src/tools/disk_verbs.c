#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "tools/disk.h"

#define PIECE_BYTES (1u << 20) /* of a conversion */

static uint64_t number(const json_t *request, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(request, key));

	return value > 0 ? (uint64_t)value : 0;
}

static const char *text(const json_t *request, const char *key)
{
	const char *value = json_string_value(json_object_get(request, key));

	return value ? value : "";
}

static void add_parents(const struct image *image, json_t *reply)
{
	json_t *paths = json_array();
	const char *path;

	for (unsigned int i = 0; image->differencing && (path = image->ops->parent_path(image, i));
	     i++)
		json_array_append_new(paths, text_json(path));
	json_object_set_new(reply, "differencing", json_boolean(image->differencing));
	json_object_set_new(reply, "parents", paths);
}

int disk_info(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	const json_t *files = json_object_get(request, "files");
	size_t count = json_array_size(files);
	const struct image *image;
	/* With its parents, they are to be those that it was made from. */
	int r = disk_set_open(set, files, count, DISK_READ, count == 1, err);

	if (r < 0)
		return r;
	image = set->chain.image;
	*reply = json_pack("{s:s, s:I, s:I, s:i, s:i, s:I}", "format", image->ops->name, "bytes",
			   (json_int_t)image->disk.geometry.bytes, "block_bytes",
			   (json_int_t)image->block_bytes, "logical_block",
			   (int)image->disk.geometry.logical_block, "physical_block",
			   (int)image->disk.geometry.physical_block, "file_bytes",
			   (json_int_t)set->file_bytes[0]);
	image->ops->describe(image, *reply);
	add_parents(image, *reply);
	return 0;
}

struct findings {
	json_t *damages;
	json_t *notes;
};

#define FINDINGS_MAX 100

static void add_finding(void *context, enum image_finding finding, const char *sentence)
{
	const struct findings *findings = context;
	json_t *list = finding == IMAGE_DAMAGE ? findings->damages : findings->notes;

	if (json_array_size(list) < FINDINGS_MAX)
		json_array_append_new(list, text_json(sentence));
}

int disk_check(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	const json_t *files = json_object_get(request, "files");
	struct findings findings;
	int r = disk_set_open(set, files, json_array_size(files), DISK_DAMAGED, false, err);

	if (r < 0)
		return r;
	findings = (struct findings){json_array(), json_array()};
	set->chain.image->ops->check(set->chain.image, add_finding, &findings);
	*reply = json_pack("{s:s, s:o, s:o}", "format", set->chain.image->ops->name, "damages",
			   findings.damages, "notes", findings.notes);
	return 0;
}

/* A guest that found its partitions by sectors of one size shall go on finding them: the new image
 * has those of the image that it comes of, where its format knows them.  A raw one knows none. */
static uint32_t target_sector(const json_t *request, const struct image *origin, const char *format)
{
	uint32_t asked = (uint32_t)number(request, "logical_block");

	if (asked || !origin || strcmp(format, "raw") == 0 ||
	    strcmp(origin->ops->name, format) != 0)
		return asked;
	return origin->disk.geometry.logical_block;
}

static int check_parent(const struct image_create *create, const char *format, struct error *err)
{
	const struct image *parent = create->parent;

	if (strcmp(parent->ops->name, format) != 0)
		return error_set(err, EINVAL,
				 "%s: its parent %s is no %s; both must be of one format",
				 create->name, parent->name, format);
	if (create->fixed)
		return error_set(err, EINVAL,
				 "%s: a differencing disk only has what differs from its parent; "
				 "leave out --fixed",
				 create->name);
	if (create->logical_block && create->logical_block != parent->disk.geometry.logical_block)
		return error_set(err, EINVAL,
				 "%s: the sectors of its parent %s have %u bytes; leave out "
				 "--sector-size",
				 create->name, parent->name, parent->disk.geometry.logical_block);
	return 0;
}

/* The last file is the new one.  origin: the parent, or what is converted; NULL for none. */
static int make_target(const json_t *request, struct disk_set *set, const struct image *origin,
		       const struct image *parent, uint64_t bytes, struct error *err)
{
	const json_t *file = json_array_get(json_object_get(request, "files"), set->count - 1);
	const char *format = text(file, "format");
	image_creator creator = image_creator_find(format);
	const struct image_create create = {
		.name = text(file, "name"),
		.bytes = bytes,
		.block_bytes = number(request, "block_bytes"),
		.logical_block = target_sector(request, origin, format),
		.physical_block = (uint32_t)number(request, "physical_block"),
		.fixed = json_is_true(json_object_get(request, "fixed")),
		.parent = parent,
		.parent_relative = text(request, "relative"),
		.parent_absolute = text(request, "absolute"),
	};
	struct image_file_sync sync;
	int r;

	if (!creator)
		return error_set(err, EINVAL, "there is no disk format \"%.20s\"", format);
	r = parent ? check_parent(&create, format, err) : 0;
	if (r < 0)
		return r;
	image_file_sync_init(&sync, set->fds[set->count - 1]);
	return creator(&sync.file, &create, err);
}

int disk_create(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	const json_t *files = json_object_get(request, "files");
	uint64_t bytes = number(request, "bytes");
	int r = 0;

	if (set->count > 1)
		r = disk_set_open(set, files, set->count - 1, DISK_READ, false, err);
	if (r == 0 && set->chain.image && bytes == 0)
		bytes = set->chain.image->disk.geometry.bytes;
	if (r == 0)
		r = make_target(request, set, set->chain.image, set->chain.image, bytes, err);
	if (r == 0)
		*reply = json_pack("{s:I}", "bytes", (json_int_t)bytes);
	return r;
}

/* How far from offset on nothing but zeroes is known to be, without reading it. */
static uint64_t known_zeroes(const struct image_chain *chain, uint64_t offset, uint64_t length)
{
	struct image_file *file = chain->files[0];
	struct image_extent extent;
	uint64_t hole;

	chain->image->ops->map(chain->image, offset, length, &extent);
	if (extent.kind == IMAGE_ZERO)
		return extent.length;
	if (extent.kind == IMAGE_IN_PARENT || !file->ops->hole)
		return 0;
	hole = file->ops->hole(file, extent.offset);
	return align_down(MIN(hole, extent.length), 4096);
}

static bool is_zero(const uint8_t *data, uint64_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

/* At each hundredth: a clock would be one more thing that this process may ask for. */
static int tell_progress(const struct disk_set *set, uint64_t before, uint64_t done, uint64_t total,
			 struct error *err)
{
	uint64_t step = total / 100 + 1;

	if (!set->progress || (done / step == before / step && done != total) ||
	    set->progress(set->context, done, total) == 0)
		return 0;
	return error_set(err, ECANCELED, "nobody waits for the conversion any more; begin it anew");
}

/* A new file reads as zeroes, so these are left out. */
static int copy_piece(const struct image_chain *from, const struct image_chain *to, uint64_t offset,
		      uint64_t part, uint8_t *data, struct error *err)
{
	int r = image_read(from, offset, data, part);

	if (r < 0)
		return error_set(err, -r, "%s cannot be read: %s; check it", from->image->name,
				 strerror(-r));
	if (!is_zero(data, part))
		r = image_write(to, offset, data, part);
	if (r < 0)
		return error_set(err, -r, "%s cannot be written: %s; make room for it",
				 to->image->name, strerror(-r));
	return 0;
}

static int copy(const struct disk_set *set, const struct image_chain *to, uint8_t *data,
		struct error *err)
{
	const struct image_chain *from = &set->chain;
	uint64_t bytes = from->image->disk.geometry.bytes;
	uint64_t part;

	for (uint64_t offset = 0; offset < bytes; offset += part) {
		int r = 0;

		part = known_zeroes(from, offset, bytes - offset);
		if (part == 0) {
			part = MIN(bytes - offset, PIECE_BYTES - offset % PIECE_BYTES);
			r = copy_piece(from, to, offset, part, data, err);
		}
		if (r == 0)
			r = tell_progress(set, offset, offset + part, bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill_target(const json_t *request, struct disk_set *set, struct error *err)
{
	const json_t *file = json_array_get(json_object_get(request, "files"), set->count - 1);
	CLEANUP_FREE uint8_t *data = malloc(PIECE_BYTES);
	struct disk_set target = {.count = 1, .fds = {set->fds[set->count - 1]}};
	json_t *files = json_pack("[O]", file);
	int r;

	/* It is closed with the target. */
	set->count--;
	r = data ? disk_set_open(&target, files, 1, DISK_WRITE, true, err)
		 : error_memory(err, "a conversion");
	json_decref(files);
	if (r == 0) {
		target.files[0].lazy = true;
		r = copy(set, &target.chain, data, err);
		target.files[0].lazy = false;
	}
	if (r == 0 && image_file_flush(&target.files[0].file) < 0)
		r = error_set(err, EIO, "%s cannot be written; make room for it",
			      target.chain.image->name);
	if (r < 0) {
		disk_set_close(&target, NULL);
		return r;
	}
	return disk_set_close(&target, err);
}

int disk_convert(const json_t *request, struct disk_set *set, json_t **reply, struct error *err)
{
	const json_t *files = json_object_get(request, "files");
	uint64_t bytes;
	int r;

	if (set->count < 2)
		return error_set(err, EINVAL, "a conversion has a source and a target");
	r = disk_set_open(set, files, set->count - 1, DISK_READ, false, err);
	if (r < 0)
		return r;
	bytes = set->chain.image->disk.geometry.bytes;
	r = make_target(request, set, set->chain.image, NULL, bytes, err);
	if (r == 0)
		r = fill_target(request, set, err);
	if (r == 0)
		*reply = json_pack("{s:I}", "bytes", (json_int_t)bytes);
	return r;
}
