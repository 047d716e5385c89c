#include "devices/block/vhdx.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf16.h"
#include "base/wire.h"

#define LOCATOR_BYTES_MAX   (1u << 20)
#define LOCATOR_ENTRIES_MAX 64u

/* Reading the items of one file. */
struct metadata {
	struct vhdx *vhdx;
	struct image_file *file;
	const struct vhdx_patches *patches;
	struct error *err;
	uint32_t found; /* a bit for each of items[] */
};

struct item {
	struct guid id;
	uint32_t length; /* 0: any */
	bool (*take)(struct vhdx *vhdx, const uint8_t *data, uint32_t length);
	bool optional;
};

static bool take_parameters(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	uint32_t block = get_le32(data);
	uint32_t flags = get_le32(data + 4);

	if (block < VHDX_BLOCK_MIN || block > VHDX_BLOCK_MAX || (block & (block - 1)) != 0)
		return false;
	vhdx->image.block_bytes = block;
	vhdx->has_parent = flags & VHDX_PARAMETER_HAS_PARENT;
	vhdx->leave_allocated = (flags & VHDX_PARAMETER_LEAVE_ALLOCATED) && !vhdx->has_parent;
	return true;
}

static bool take_size(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	vhdx->image.disk.geometry.bytes = get_le64(data);
	return vhdx->image.disk.geometry.bytes > 0 &&
	       vhdx->image.disk.geometry.bytes <= VHDX_DISK_MAX;
}

static bool take_disk_id(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	memcpy(&vhdx->disk_id, data, sizeof(vhdx->disk_id));
	return true;
}

static bool take_logical(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	vhdx->image.disk.geometry.logical_block = get_le32(data);
	return get_le32(data) == 512 || get_le32(data) == 4096;
}

static bool take_physical(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	vhdx->image.disk.geometry.physical_block = get_le32(data);
	return get_le32(data) == 512 || get_le32(data) == 4096;
}

static char *decode(const uint8_t *data, uint32_t length)
{
	char *text = malloc(UTF16_DECODED_MAX(length));

	if (text)
		utf16_decode(data, length, text, UTF16_DECODED_MAX(length));
	return text;
}

static bool take_locator_entry(struct vhdx *vhdx, const uint8_t *data, uint32_t length,
			       const uint8_t *entry)
{
	struct vhdx_locator_entry *out = &vhdx->locator[vhdx->locator_count];
	uint32_t key = get_le32(entry), value = get_le32(entry + 4);
	uint32_t key_length = get_le16(entry + 8), value_length = get_le16(entry + 10);

	if (key_length == 0 || value_length == 0 || !range_within(key, key_length, length) ||
	    !range_within(value, value_length, length))
		return false;
	out->key = decode(data + key, key_length);
	out->value = decode(data + value, value_length);
	vhdx->locator_count++;
	return out->key && out->value;
}

static bool take_locator(struct vhdx *vhdx, const uint8_t *data, uint32_t length)
{
	static const struct guid type = VHDX_LOCATOR_VHDX;
	uint32_t count = length >= VHDX_LOCATOR_ENTRIES ? get_le16(data + VHDX_LOCATOR_COUNT) : 0;

	if (count == 0 || count > LOCATOR_ENTRIES_MAX || memcmp(data, &type, sizeof(type)) != 0 ||
	    !range_within(VHDX_LOCATOR_ENTRIES, count * VHDX_LOCATOR_ENTRY, length))
		return false;
	vhdx->locator = calloc(count, sizeof(*vhdx->locator));
	for (uint32_t i = 0; i < count; i++)
		if (!vhdx->locator ||
		    !take_locator_entry(vhdx, data, length,
					data + VHDX_LOCATOR_ENTRIES + i * VHDX_LOCATOR_ENTRY))
			return false;
	return true;
}

static const struct item items[] = {
	{VHDX_ITEM_PARAMETERS, 8, take_parameters, false},
	{VHDX_ITEM_SIZE, 8, take_size, false},
	{VHDX_ITEM_DISK_ID, 16, take_disk_id, false},
	{VHDX_ITEM_LOGICAL, 4, take_logical, false},
	{VHDX_ITEM_PHYSICAL, 4, take_physical, false},
	{VHDX_ITEM_LOCATOR, 0, take_locator, true},
};

static int bad_item(const struct metadata *metadata)
{
	return error_set(metadata->err, EINVAL,
			 "%s: its metadata is not sound; restore the file from a copy",
			 metadata->vhdx->image.name);
}

static int take_item(struct metadata *metadata, const struct item *item, uint32_t offset,
		     uint32_t length)
{
	CLEANUP_FREE uint8_t *data = NULL;
	int r;

	if ((item->length && length != item->length) || length == 0 || length > LOCATOR_BYTES_MAX ||
	    offset < VHDX_TABLE_BYTES ||
	    !range_within(offset, length, metadata->vhdx->metadata_region.length))
		return bad_item(metadata);
	data = malloc(length);
	if (!data)
		return error_memory(metadata->err, "a disk");
	r = vhdx_patched_read(metadata->patches, metadata->file,
			      metadata->vhdx->metadata_region.offset + offset, data, length);
	if (r < 0)
		return error_set(metadata->err, -r,
				 "%s: its metadata cannot be read: %s; the file "
				 "may be cut off",
				 metadata->vhdx->image.name, strerror(-r));
	if (item->take == take_size)
		metadata->vhdx->size_at = metadata->vhdx->metadata_region.offset + offset;
	return item->take(metadata->vhdx, data, length) ? 0 : bad_item(metadata);
}

static int take_entry(struct metadata *metadata, const uint8_t *entry)
{
	uint32_t flags = get_le32(entry + 24);

	for (size_t i = 0; i < ARRAY_LENGTH(items) && !(flags & VHDX_METADATA_USER); i++) {
		if (memcmp(entry, &items[i].id, sizeof(items[i].id)) != 0)
			continue;
		if (metadata->found >> i & 1)
			return bad_item(metadata);
		metadata->found |= 1u << i;
		return take_item(metadata, &items[i], get_le32(entry + 16), get_le32(entry + 20));
	}
	if (flags & VHDX_METADATA_REQUIRED)
		return error_set(metadata->err, ENOTSUP,
				 "%s: it has metadata that is not known here but needed; convert "
				 "it where it was made",
				 metadata->vhdx->image.name);
	return 0;
}

/* What the items mean together. */
static int check_items(struct metadata *metadata)
{
	struct vhdx *vhdx = metadata->vhdx;
	struct block_geometry *geometry = &vhdx->image.disk.geometry;

	for (size_t i = 0; i < ARRAY_LENGTH(items); i++)
		if (!items[i].optional && !(metadata->found >> i & 1))
			return bad_item(metadata);
	if (vhdx->has_parent != (vhdx->locator != NULL) ||
	    !is_aligned(geometry->bytes, geometry->logical_block))
		return bad_item(metadata);
	geometry->physical_block = MAX(geometry->physical_block, geometry->logical_block);
	vhdx->chunk_blocks =
		VHDX_BITMAP_SECTORS * geometry->logical_block / vhdx->image.block_bytes;
	vhdx->blocks = (geometry->bytes + vhdx->image.block_bytes - 1) / vhdx->image.block_bytes;
	if (vhdx->has_parent)
		vhdx->bat_count = (vhdx->blocks + vhdx->chunk_blocks - 1) / vhdx->chunk_blocks *
				  (vhdx->chunk_blocks + 1);
	else
		vhdx->bat_count = vhdx->blocks + (vhdx->blocks - 1) / vhdx->chunk_blocks;
	return 0;
}

int vhdx_read_metadata(struct vhdx *vhdx, struct image_file *file,
		       const struct vhdx_patches *patches, struct error *err)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_BYTES);
	struct metadata metadata = {.vhdx = vhdx, .file = file, .patches = patches, .err = err};
	uint32_t count;
	int r;

	if (!table)
		return error_memory(err, "a disk");
	r = vhdx_patched_read(patches, file, vhdx->metadata_region.offset, table, VHDX_TABLE_BYTES);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its metadata cannot be read: %s; the file may be "
				 "cut off",
				 vhdx->image.name, strerror(-r));
	count = get_le16(table + VHDX_METADATA_COUNT);
	if (memcmp(table, VHDX_METADATA_SIGNATURE, 8) != 0 || count > VHDX_TABLE_ENTRIES)
		return bad_item(&metadata);
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = take_entry(&metadata, table + VHDX_METADATA_ENTRIES + i * VHDX_TABLE_ENTRY);
	return r < 0 ? r : check_items(&metadata);
}
