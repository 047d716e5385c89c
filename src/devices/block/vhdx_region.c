#include "devices/block/vhdx.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/wire.h"

static bool table_sound(uint8_t *table)
{
	uint32_t checksum = get_le32(table + VHDX_REGION_CHECKSUM);

	if (memcmp(table, VHDX_REGION_SIGNATURE, 4) != 0)
		return false;
	put_le32(table + VHDX_REGION_CHECKSUM, 0);
	return crc32c(0, table, VHDX_TABLE_BYTES) == checksum &&
	       get_le32(table + VHDX_REGION_COUNT) <= VHDX_TABLE_ENTRIES;
}

/* The first of the two copies that is sound. */
static int read_table(const struct vhdx *vhdx, struct image_file *file,
		      const struct vhdx_patches *patches, uint8_t *table, struct error *err)
{
	for (unsigned int i = 0; i < 2; i++) {
		int r = vhdx_patched_read(patches, file, VHDX_REGION_OFFSET(i), table,
					  VHDX_TABLE_BYTES);

		if (r < 0)
			return error_set(err, -r,
					 "%s: its region table cannot be read: %s; the "
					 "file may be cut off",
					 vhdx->image.name, strerror(-r));
		if (table_sound(table))
			return 0;
	}
	return error_set(err, EINVAL,
			 "%s: neither of its two region tables is sound; restore the file from a "
			 "copy",
			 vhdx->image.name);
}

static int bad_region(const struct vhdx *vhdx, struct error *err)
{
	return error_set(err, EINVAL,
			 "%s: its region table places a region wrongly; restore the file from a "
			 "copy",
			 vhdx->image.name);
}

static int take_region(struct vhdx *vhdx, const uint8_t *entry, struct error *err)
{
	static const struct guid bat = VHDX_REGION_BAT;
	static const struct guid metadata = VHDX_REGION_METADATA;
	struct vhdx_region region = {.offset = get_le64(entry + 16),
				     .length = get_le32(entry + 24)};
	struct vhdx_region *known = NULL;

	if (memcmp(entry, &bat, sizeof(bat)) == 0)
		known = &vhdx->bat_region;
	else if (memcmp(entry, &metadata, sizeof(metadata)) == 0)
		known = &vhdx->metadata_region;
	else if (get_le32(entry + 28) & 1)
		return error_set(
			err, ENOTSUP,
			"%s: it has a region that is not known here but needed; convert it "
			"where it was made",
			vhdx->image.name);
	if (region.length == 0 || !is_aligned(region.offset | region.length, VHDX_MIB) ||
	    region.offset < VHDX_MIB || !vhdx_occupy(vhdx, region.offset, region.length))
		return bad_region(vhdx, err);
	if (!known)
		return 0;
	if (known->length)
		return bad_region(vhdx, err);
	*known = region;
	return 0;
}

int vhdx_read_regions(struct vhdx *vhdx, struct image_file *file,
		      const struct vhdx_patches *patches, struct error *err)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_BYTES);
	uint32_t count;
	int r;

	if (!table)
		return error_memory(err, "a disk");
	r = read_table(vhdx, file, patches, table, err);
	if (r < 0)
		return r;
	if (!vhdx_occupy(vhdx, 0, VHDX_MIB) ||
	    !vhdx_occupy(vhdx, vhdx->header.log_offset, vhdx->header.log_length))
		return bad_region(vhdx, err);
	count = get_le32(table + VHDX_REGION_COUNT);
	for (uint32_t i = 0; i < count; i++) {
		r = take_region(vhdx, table + VHDX_REGION_ENTRIES + i * VHDX_TABLE_ENTRY, err);
		if (r < 0)
			return r;
	}
	if (!vhdx->bat_region.length || !vhdx->metadata_region.length)
		return error_set(err, EINVAL,
				 "%s: it lacks its block allocation table or its metadata; restore "
				 "the file from a copy",
				 vhdx->image.name);
	return 0;
}

int vhdx_format_regions(const struct vhdx *vhdx, struct image_file *file,
			const struct vhdx_region *bat, uint8_t table[VHDX_TABLE_BYTES],
			struct error *err)
{
	static const struct vhdx_patches none;
	static const struct guid id = VHDX_REGION_BAT;
	int r = read_table(vhdx, file, &none, table, err);

	for (uint32_t i = 0; r == 0 && i < get_le32(table + VHDX_REGION_COUNT); i++) {
		uint8_t *entry = table + VHDX_REGION_ENTRIES + i * VHDX_TABLE_ENTRY;

		if (memcmp(entry, &id, sizeof(id)) != 0)
			continue;
		put_le64(entry + 16, bat->offset);
		put_le32(entry + 24, bat->length);
	}
	put_le32(table + VHDX_REGION_CHECKSUM, 0);
	put_le32(table + VHDX_REGION_CHECKSUM, crc32c(0, table, VHDX_TABLE_BYTES));
	return r;
}
