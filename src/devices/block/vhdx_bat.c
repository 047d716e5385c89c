#include "devices/block/vhdx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"

#define USED_GROWTH 4096u /* bytes of the map at least that are added at a time */

static bool grow_used(struct vhdx *vhdx, uint64_t units)
{
	uint64_t bytes = (units + 7) / 8;
	uint8_t *more;

	if (bytes <= vhdx->used_size)
		return true;
	if (units > VHDX_FILE_MAX / VHDX_MIB)
		return false;
	bytes = MAX(bytes, vhdx->used_size + USED_GROWTH);
	more = realloc(vhdx->used, bytes);
	if (!more)
		return false;
	memset(more + vhdx->used_size, 0, bytes - vhdx->used_size);
	vhdx->used = more;
	vhdx->used_size = bytes;
	return true;
}

static bool is_used(const struct vhdx *vhdx, uint64_t unit)
{
	return unit / 8 < vhdx->used_size && vhdx->used[unit / 8] >> unit % 8 & 1;
}

bool vhdx_occupy(struct vhdx *vhdx, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset / VHDX_MIB;
	uint64_t end;

	if (!range_within(offset, bytes, VHDX_FILE_MAX - VHDX_MIB))
		return false;
	end = (offset + bytes + VHDX_MIB - 1) / VHDX_MIB;
	if (!grow_used(vhdx, end))
		return false;
	for (uint64_t unit = first; unit < end; unit++)
		if (is_used(vhdx, unit))
			return false;
	for (uint64_t unit = first; unit < end; unit++)
		vhdx->used[unit / 8] |= (uint8_t)(1u << unit % 8);
	vhdx->used_count += end - first;
	return true;
}

void vhdx_release(struct vhdx *vhdx, uint64_t offset, uint64_t bytes)
{
	for (uint64_t unit = offset / VHDX_MIB; unit < (offset + bytes) / VHDX_MIB; unit++)
		vhdx->used[unit / 8] &= (uint8_t) ~(1u << unit % 8);
	vhdx->used_count -= bytes / VHDX_MIB;
	vhdx->search_from = MIN(vhdx->search_from, offset / VHDX_MIB);
}

/* The first room between or behind what is in use.  The search only goes on: what it passed over
 * was too small, or in use. */
uint64_t vhdx_allocate(struct vhdx *vhdx, uint64_t bytes)
{
	uint64_t wanted = bytes / VHDX_MIB;
	uint64_t unit = vhdx->search_from;
	uint64_t run = 0;

	while (run < wanted) {
		run = is_used(vhdx, unit) ? 0 : run + 1;
		unit++;
	}
	if (!vhdx_occupy(vhdx, (unit - wanted) * VHDX_MIB, bytes))
		return 0;
	if (bytes == vhdx->image.block_bytes)
		vhdx->search_from = unit;
	return (unit - wanted) * VHDX_MIB;
}

static bool state_valid(const struct vhdx *vhdx, uint64_t state)
{
	return state != 4 && (state != VHDX_PARTIALLY_PRESENT || vhdx->has_parent);
}

static bool take_payload(struct vhdx *vhdx, uint64_t entry)
{
	uint64_t state = entry & VHDX_BAT_STATE;
	uint64_t offset = entry & VHDX_BAT_OFFSET;

	if (!state_valid(vhdx, state) || entry & VHDX_BAT_RESERVED)
		return false;
	if (state < VHDX_FULLY_PRESENT)
		return true;
	return offset != 0 && range_within(offset, vhdx->image.block_bytes, vhdx->file_bytes) &&
	       vhdx_occupy(vhdx, offset, vhdx->image.block_bytes);
}

static bool take_bitmap(struct vhdx *vhdx, uint64_t entry)
{
	uint64_t state = entry & VHDX_BAT_STATE;
	uint64_t offset = entry & VHDX_BAT_OFFSET;

	if (entry & VHDX_BAT_RESERVED || (state != 0 && state != VHDX_BITMAP_PRESENT))
		return false;
	return state == 0 || (vhdx->has_parent && offset != 0 &&
			      range_within(offset, VHDX_BITMAP_BYTES, vhdx->file_bytes) &&
			      vhdx_occupy(vhdx, offset, VHDX_BITMAP_BYTES));
}

bool vhdx_entry_sound(struct vhdx *vhdx, uint64_t index)
{
	uint64_t entry = vhdx_bat_entry(vhdx, index);
	uint64_t within = index % (vhdx->chunk_blocks + 1);
	uint64_t block = index / (vhdx->chunk_blocks + 1) * vhdx->chunk_blocks + within;

	if (within == vhdx->chunk_blocks)
		return take_bitmap(vhdx, entry);
	return block >= vhdx->blocks || take_payload(vhdx, entry);
}

static int bad_entry(const struct vhdx *vhdx, uint64_t index, struct error *err)
{
	return error_set(
		err, EINVAL,
		"%s: entry %llu of its block allocation table is not sound; `bulkhead disk "
		"check` tells more",
		vhdx->image.name, (unsigned long long)index);
}

static int take_entries(struct vhdx *vhdx, const uint8_t *table, bool ignore_damage,
			struct error *err)
{
	for (uint64_t i = 0; i < vhdx->bat_count; i++) {
		uint64_t entry = get_le64(table + i * 8);

		/* What is not there has no home yet. */
		if ((entry & VHDX_BAT_STATE) < VHDX_FULLY_PRESENT)
			entry &= VHDX_BAT_STATE | VHDX_BAT_RESERVED;
		atomic_init(&vhdx->bat[i], entry);
		if (!vhdx_entry_sound(vhdx, i) && !ignore_damage)
			return bad_entry(vhdx, i, err);
	}
	return 0;
}

static int read_bitmap(struct vhdx *vhdx, struct image_file *file,
		       const struct vhdx_patches *patches, uint64_t block)
{
	uint64_t bytes = vhdx_bitmap_bytes(vhdx);
	uint64_t entry = vhdx_bat_entry(vhdx, vhdx_bitmap_index(vhdx, block / vhdx->chunk_blocks));
	_Atomic uint8_t *bits;
	int r;

	if ((entry & VHDX_BAT_STATE) != VHDX_BITMAP_PRESENT)
		return -EINVAL;
	bits = malloc(bytes);
	if (!bits)
		return -ENOMEM;
	r = vhdx_patched_read(patches, file,
			      (entry & VHDX_BAT_OFFSET) + block % vhdx->chunk_blocks * bytes,
			      (void *)bits, bytes);
	if (r < 0) {
		free((void *)bits);
		return r;
	}
	atomic_init(&vhdx->bitmaps[block], bits);
	return 0;
}

/* All that there are, so that no request has to wait for one. */
static int load_bitmaps(struct vhdx *vhdx, struct image_file *file,
			const struct vhdx_patches *patches, bool ignore_damage, struct error *err)
{
	if (!vhdx->has_parent)
		return 0;
	if (!vhdx_bitmaps_fit(vhdx->blocks, vhdx->image.block_bytes,
			      vhdx->image.disk.geometry.logical_block))
		return error_set(err, ENOTSUP,
				 "%s: it is too large for a differencing disk; merge it with its "
				 "parent by `bulkhead disk convert`",
				 vhdx->image.name);
	vhdx->bitmaps = calloc(vhdx->blocks, sizeof(*vhdx->bitmaps));
	if (!vhdx->bitmaps)
		return error_memory(err, "a disk");
	for (uint64_t block = 0; block < vhdx->blocks; block++) {
		uint64_t index = vhdx_payload_index(vhdx, block);
		int r;

		if ((vhdx_bat_entry(vhdx, index) & VHDX_BAT_STATE) != VHDX_PARTIALLY_PRESENT)
			continue;
		r = read_bitmap(vhdx, file, patches, block);
		if (r == -ENOMEM)
			return error_memory(err, "a disk");
		if (r < 0 && !ignore_damage)
			return bad_entry(vhdx, index, err);
	}
	return 0;
}

int vhdx_load_bat(struct vhdx *vhdx, struct image_file *file, const struct vhdx_patches *patches,
		  bool ignore_damage, struct error *err)
{
	uint64_t bytes = vhdx->bat_count * 8;
	CLEANUP_FREE uint8_t *table = NULL;
	int r;

	if (bytes > vhdx->bat_region.length)
		return error_set(
			err, EINVAL,
			"%s: its block allocation table is too short for the disk; restore "
			"the file from a copy",
			vhdx->image.name);
	if (bytes > VHDX_BAT_MAX)
		return error_set(err, ENOTSUP,
				 "%s: its block allocation table has more than %u MiB; convert the "
				 "disk to larger blocks",
				 vhdx->image.name, VHDX_BAT_MAX >> 20);
	table = malloc(bytes);
	vhdx->bat = calloc(vhdx->bat_count, sizeof(*vhdx->bat));
	if (!table || !vhdx->bat)
		return error_memory(err, "a disk");
	r = vhdx_patched_read(patches, file, vhdx->bat_region.offset, table, bytes);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its block allocation table cannot be read: %s; the "
				 "file may be cut off",
				 vhdx->image.name, strerror(-r));
	r = take_entries(vhdx, table, ignore_damage, err);
	return r < 0 ? r : load_bitmaps(vhdx, file, patches, ignore_damage, err);
}

static bool bit_set(const _Atomic uint8_t *bits, uint64_t bit)
{
	return atomic_load_explicit(&bits[bit / 8], memory_order_acquire) >> bit % 8 & 1;
}

/* How far the sectors from first on are there, or are not. */
static uint64_t bit_run(const _Atomic uint8_t *bits, uint64_t first, uint64_t end, bool there)
{
	uint64_t bit = first;

	while (bit < end && bit_set(bits, bit) == there)
		bit++;
	return bit - first;
}

static void map_partial(const struct vhdx *vhdx, uint64_t block, uint64_t within, uint64_t start,
			struct image_extent *extent)
{
	uint32_t sector = vhdx->image.disk.geometry.logical_block;
	_Atomic uint8_t *bits = atomic_load_explicit(&vhdx->bitmaps[block], memory_order_acquire);
	uint64_t first = within / sector;
	bool there = bits && bit_set(bits, first);

	extent->kind = there ? IMAGE_IN_FILE : IMAGE_IN_PARENT;
	extent->offset = start + within;
	if (bits)
		extent->length =
			bit_run(bits, first, first + extent->length / sector, there) * sector;
}

void vhdx_map(const struct image *image, uint64_t offset, uint64_t length,
	      struct image_extent *extent)
{
	const struct vhdx *vhdx = container_of(image, struct vhdx, image);
	uint64_t block = offset / image->block_bytes;
	uint64_t within = offset % image->block_bytes;
	uint64_t entry = vhdx_bat_entry(vhdx, vhdx_payload_index(vhdx, block));

	extent->length = MIN(length, image->block_bytes - within);
	extent->offset = 0;
	switch (entry & VHDX_BAT_STATE) {
	case VHDX_FULLY_PRESENT:
		extent->kind = IMAGE_IN_FILE;
		extent->offset = (entry & VHDX_BAT_OFFSET) + within;
		break;
	case VHDX_PARTIALLY_PRESENT:
		map_partial(vhdx, block, within, entry & VHDX_BAT_OFFSET, extent);
		break;
	case VHDX_NOT_PRESENT:
		extent->kind = vhdx->has_parent ? IMAGE_IN_PARENT : IMAGE_ZERO;
		break;
	default:
		extent->kind = IMAGE_ZERO;
		break;
	}
}
