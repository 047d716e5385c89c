#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "devices/block/vhd.h"

static int bad_entry(const struct vhd *vhd, uint64_t block, struct error *err)
{
	return error_set(
		err, EINVAL,
		"%s: entry %llu of its block allocation table is not sound; `bulkhead disk "
		"check` tells more",
		vhd->image.name, (unsigned long long)block);
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static bool apart(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a + a_bytes <= b || b + b_bytes <= a;
}

bool vhd_place_sound(const struct vhd *vhd, uint32_t sector)
{
	uint64_t offset = (uint64_t)sector * VHD_SECTOR;
	uint64_t span = vhd_block_span(vhd);

	return offset >= VHD_FOOTER_BYTES && range_within(offset, span, vhd->file_bytes) &&
	       apart(offset, span, vhd->header_offset, VHD_HEADER_BYTES) &&
	       apart(offset, span, vhd->table_offset, (uint64_t)vhd->blocks * 4);
}

/* No two blocks may share a place: sorted, each ends before the next begins. */
static int check_overlap(const struct vhd *vhd, uint32_t *sorted, uint32_t count, struct error *err)
{
	uint64_t span = vhd_block_span(vhd) / VHD_SECTOR;

	qsort(sorted, count, sizeof(*sorted), compare);
	for (uint32_t i = 0; i + 1 < count; i++)
		if (sorted[i + 1] - sorted[i] < span)
			return error_set(err, EINVAL,
					 "%s: two of its blocks lie in the same place; `bulkhead "
					 "disk check` tells more",
					 vhd->image.name);
	return 0;
}

static int take_entries(struct vhd *vhd, const uint8_t *data, bool ignore_damage, struct error *err)
{
	CLEANUP_FREE uint32_t *sorted = malloc((size_t)vhd->blocks * sizeof(*sorted));
	uint32_t count = 0;

	if (!sorted)
		return error_memory(err, "a disk");
	vhd->end = MAX(vhd->end, vhd->header_offset + VHD_HEADER_BYTES);
	vhd->structures_end = vhd->end;
	vhd->end =
		MAX(vhd->end, align_up(vhd->table_offset + (uint64_t)vhd->blocks * 4, VHD_SECTOR));
	for (uint32_t block = 0; block < vhd->blocks; block++) {
		uint32_t entry = get_be32(data + (size_t)block * 4);

		atomic_init(&vhd->table[block], entry);
		if (entry == VHD_UNUSED)
			continue;
		if (!vhd_place_sound(vhd, entry) && !ignore_damage)
			return bad_entry(vhd, block, err);
		vhd->end = MAX(vhd->end, (uint64_t)entry * VHD_SECTOR + vhd_block_span(vhd));
		sorted[count++] = entry;
	}
	return ignore_damage ? 0 : check_overlap(vhd, sorted, count, err);
}

static int read_bitmap(struct vhd *vhd, struct image_file *file, uint32_t block)
{
	uint64_t bytes = vhd->image.block_bytes / VHD_SECTOR / 8;
	_Atomic uint8_t *bits = malloc(bytes);
	int r;

	if (!bits)
		return -ENOMEM;
	r = image_file_read(file, (uint64_t)vhd_entry(vhd, block) * VHD_SECTOR, (void *)bits,
			    bytes);
	if (r < 0) {
		free((void *)bits);
		return r;
	}
	atomic_init(&vhd->bitmaps[block], bits);
	return 0;
}

/* All that there are, so that no request has to wait for one. */
static int load_bitmaps(struct vhd *vhd, struct image_file *file, bool ignore_damage,
			struct error *err)
{
	vhd->bitmaps = calloc(vhd->blocks, sizeof(*vhd->bitmaps));
	if (!vhd->bitmaps)
		return error_memory(err, "a disk");
	for (uint32_t block = 0; block < vhd->blocks; block++) {
		int r;

		if (vhd_entry(vhd, block) == VHD_UNUSED)
			continue;
		r = read_bitmap(vhd, file, block);
		if (r == -ENOMEM)
			return error_memory(err, "a disk");
		if (r < 0 && !ignore_damage)
			return bad_entry(vhd, block, err);
	}
	return 0;
}

int vhd_load_table(struct vhd *vhd, struct image_file *file, bool ignore_damage, struct error *err)
{
	uint64_t bytes = (uint64_t)vhd->blocks * 4;
	CLEANUP_FREE uint8_t *data = malloc(bytes);
	int r;

	vhd->table = calloc(vhd->blocks, sizeof(*vhd->table));
	if (!data || !vhd->table)
		return error_memory(err, "a disk");
	r = image_file_read(file, vhd->table_offset, data, bytes);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its block allocation table cannot be read: %s; the "
				 "file may be cut off",
				 vhd->image.name, strerror(-r));
	r = take_entries(vhd, data, ignore_damage, err);
	if (r == 0 && vhd->image.differencing)
		r = load_bitmaps(vhd, file, ignore_damage, err);
	return r;
}

static bool bit_set(const _Atomic uint8_t *bits, uint64_t bit)
{
	return atomic_load_explicit(&bits[bit / 8], memory_order_acquire) & 0x80 >> bit % 8;
}

static void map_bits(const struct vhd *vhd, uint64_t block, uint64_t within,
		     struct image_extent *extent)
{
	const _Atomic uint8_t *bits =
		atomic_load_explicit(&vhd->bitmaps[block], memory_order_acquire);
	uint64_t first = within / VHD_SECTOR;
	uint64_t end = first + extent->length / VHD_SECTOR;
	uint64_t bit = first;
	bool there = bits && bit_set(bits, first);

	while (bits && bit < end && bit_set(bits, bit) == there)
		bit++;
	if (bits)
		extent->length = (bit - first) * VHD_SECTOR;
	if (!there)
		extent->kind = IMAGE_IN_PARENT;
}

void vhd_map(const struct image *image, uint64_t offset, uint64_t length,
	     struct image_extent *extent)
{
	const struct vhd *vhd = container_of(image, struct vhd, image);
	uint64_t block = offset / image->block_bytes;
	uint64_t within = offset % image->block_bytes;
	uint32_t entry;

	extent->kind = IMAGE_IN_FILE;
	extent->offset = offset;
	extent->length = length;
	if (vhd->type == VHD_FIXED)
		return;
	extent->length = MIN(length, image->block_bytes - within);
	entry = vhd_entry(vhd, block);
	if (entry == VHD_UNUSED) {
		extent->kind = image->differencing ? IMAGE_IN_PARENT : IMAGE_ZERO;
		return;
	}
	extent->offset = (uint64_t)entry * VHD_SECTOR + vhd->bitmap_bytes + within;
	if (image->differencing)
		map_bits(vhd, block, within, extent);
}
