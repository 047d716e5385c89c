#include "devices/block/vhdx.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void vhdx_free(struct image *image)
{
	struct vhdx *vhdx = vhdx_of(image);

	for (uint64_t i = 0; vhdx->bitmaps && i < vhdx->blocks; i++)
		free((void *)atomic_load(&vhdx->bitmaps[i]));
	for (unsigned int i = 0; i < vhdx->locator_count; i++) {
		free(vhdx->locator[i].key);
		free(vhdx->locator[i].value);
	}
	free(vhdx->locator);
	free(vhdx->unplaced);
	free((void *)vhdx->bitmaps);
	free((void *)vhdx->bat);
	free(vhdx->used);
	free(vhdx);
}

static const char *locator_value(const struct vhdx *vhdx, const char *key)
{
	for (unsigned int i = 0; i < vhdx->locator_count; i++)
		if (strcmp(vhdx->locator[i].key, key) == 0)
			return vhdx->locator[i].value;
	return NULL;
}

/* The parent's identity is written with or without braces. */
static bool names(const char *text, const struct guid *guid)
{
	char bare[GUID_TEXT_SIZE];
	struct guid read;

	if (!text)
		return false;
	snprintf(bare, sizeof(bare), "%s", text[0] == '{' ? text + 1 : text);
	return guid_parse(bare, &read) == 0 && guid_equal(&read, guid);
}

static enum image_match vhdx_match(const struct image *image, const struct image *parent)
{
	const struct vhdx *vhdx = container_of(image, struct vhdx, image);
	const struct guid *written = &container_of(parent, struct vhdx, image)->header.data_write;

	return names(locator_value(vhdx, "parent_linkage"), written) ||
			       names(locator_value(vhdx, "parent_linkage2"), written)
		       ? IMAGE_MATCHES
		       : IMAGE_NO_MATCH;
}

static const char *vhdx_parent_path(const struct image *image, unsigned int index)
{
	static const char *const keys[] = {"relative_path", "absolute_win32_path", "volume_path"};
	const struct vhdx *vhdx = container_of(image, struct vhdx, image);

	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
		const char *value = locator_value(vhdx, keys[i]);

		if (value && index-- == 0)
			return value;
	}
	return NULL;
}

static const struct image_ops vhdx_ops = {
	.name = "vhdx",
	.map = vhdx_map,
	.commit = vhdx_commit,
	.match = vhdx_match,
	.parent_path = vhdx_parent_path,
	.describe = vhdx_describe,
	.check = vhdx_check,
	.grow = vhdx_grow,
	.compact = vhdx_compact,
	.finish = vhdx_finish,
	.free = vhdx_free,
};

/* A writer puts what the log has where it belongs; a reader sees it so. */
static int replay(struct vhdx *vhdx, struct image_file *file, struct vhdx_patches *patches,
		  struct error *err)
{
	static const struct guid none;
	int r = vhdx_log_load(vhdx, file, patches, err);

	if (r < 0)
		return r;
	vhdx->log_sequence = patches->sequence;
	if (patches->file_bytes > vhdx->file_bytes && vhdx->image.disk.geometry.read_only)
		vhdx->file_bytes = patches->file_bytes;
	if (vhdx->image.disk.geometry.read_only || guid_equal(&vhdx->header.log, &none))
		return 0;
	r = vhdx_log_replay(vhdx, file, patches);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its log cannot be replayed: %s; make room for the file, or "
				 "attach the disk with ,ro",
				 vhdx->image.name, strerror(-r));
	vhdx_patches_free(patches);
	return 0;
}

static int read_file(struct vhdx *vhdx, struct image_file *file, const struct image_open *options,
		     struct error *err)
{
	struct vhdx_patches patches = {.patches = NULL};
	int r = vhdx_read_header(vhdx, file, err);

	if (r == 0)
		r = replay(vhdx, file, &patches, err);
	if (r == 0)
		r = vhdx_read_regions(vhdx, file, &patches, err);
	if (r == 0)
		r = vhdx_read_metadata(vhdx, file, &patches, err);
	if (r == 0)
		r = vhdx_load_bat(vhdx, file, &patches, options->ignore_damage, err);
	vhdx_patches_free(&patches);
	return r;
}

/* A writer that was cut off may have left less than whole mebibytes: no block may lie beyond. */
static int complete_file(struct vhdx *vhdx, struct image_file *file, uint64_t file_bytes,
			 struct error *err)
{
	int r;

	if (vhdx->image.disk.geometry.read_only || vhdx->file_bytes <= file_bytes)
		return 0;
	r = file->ops->truncate(file, vhdx->file_bytes);
	if (r < 0)
		return error_set(err, -r, "%s cannot be made longer: %s; make room for it",
				 vhdx->image.name, strerror(-r));
	return 0;
}

int vhdx_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
	      struct image **out, struct error *err)
{
	struct vhdx *vhdx = calloc(1, sizeof(*vhdx));
	int r;

	if (!vhdx)
		return error_memory(err, "a disk");
	image_init(&vhdx->image, &vhdx_ops, options);
	vhdx->file_bytes = align_up(MIN(file_bytes, VHDX_FILE_MAX), VHDX_MIB);
	vhdx->search_from = 1;
	r = read_file(vhdx, file, options, err);
	if (r == 0)
		r = complete_file(vhdx, file, file_bytes, err);
	if (r < 0) {
		image_free(&vhdx->image);
		return r;
	}
	vhdx->image.differencing = vhdx->has_parent;
	vhdx->image.disk.geometry.discard = !options->read_only;
	vhdx->image.disk.geometry.discard_granularity = vhdx->image.disk.geometry.physical_block;
	*out = &vhdx->image;
	return 0;
}
