#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "devices/block/vhd.h"

/* What is done to a VHD that no VM uses: making the disk larger, and the file smaller. */

static int failed(const struct vhd *vhd, int r, struct error *err)
{
	return error_set(err, -r, "%s cannot be changed: %s; make room for it, and check it",
			 vhd->image.name, strerror(-r));
}

static void set_size(struct vhd *vhd, uint64_t bytes)
{
	put_be64(vhd->footer + VHD_FOOTER_SIZE, bytes);
	put_be32(vhd->footer + VHD_FOOTER_CHECKSUM,
		 vhd_checksum(vhd->footer, VHD_FOOTER_BYTES, VHD_FOOTER_CHECKSUM));
}

/* The new footer is there before the old one becomes a part of the disk. */
static int grow_fixed(struct vhd *vhd, struct image_file *file, uint64_t bytes)
{
	uint64_t before = vhd->file_bytes - VHD_FOOTER_BYTES;
	int r = file->ops->allocate(file, before, bytes + VHD_FOOTER_BYTES - before);

	if (r == -EOPNOTSUPP)
		r = 0;
	set_size(vhd, bytes);
	if (r == 0)
		r = image_file_write(file, bytes, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		r = image_file_zero(file, before, MIN((uint64_t)VHD_FOOTER_BYTES, bytes - before));
	return r < 0 ? r : image_file_flush(file);
}

/* The table with room for more blocks, behind all others: first it, then the header that names it.
 */
static int move_table(struct vhd *vhd, struct image_file *file, uint64_t blocks)
{
	uint64_t length = align_up(blocks * 4, VHD_SECTOR);
	CLEANUP_FREE uint8_t *table = malloc(length);
	uint8_t header[VHD_HEADER_BYTES];
	int r = table ? image_file_read(file, vhd->header_offset, header, sizeof(header)) : -ENOMEM;

	if (r < 0)
		return r;
	memset(table, 0xff, length);
	for (uint32_t block = 0; block < vhd->blocks; block++)
		put_be32(table + (size_t)block * 4, vhd_entry(vhd, block));
	put_be64(header + VHD_HEADER_TABLE, vhd->end);
	put_be32(header + VHD_HEADER_ENTRIES, (uint32_t)blocks);
	put_be32(header + VHD_HEADER_CHECKSUM,
		 vhd_checksum(header, sizeof(header), VHD_HEADER_CHECKSUM));
	/* A footer behind the table before it is written over the one that is there. */
	r = image_file_write(file, vhd->end + length, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		r = image_file_write(file, vhd->end, table, length);
	if (r == 0)
		r = image_file_flush(file);
	/* What changes is in its first sector, which is written whole or not at all. */
	if (r == 0)
		r = image_file_write(file, vhd->header_offset, header, VHD_SECTOR);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	vhd->table_offset = vhd->end;
	vhd->end += length;
	vhd->footer_at = vhd->end;
	return file->ops->truncate(file, vhd->end + VHD_FOOTER_BYTES);
}

static int write_footers(struct vhd *vhd, struct image_file *file, uint64_t bytes)
{
	int r;

	set_size(vhd, bytes);
	r = image_file_write(file, vhd->footer_at, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		r = image_file_write(file, 0, vhd->footer, VHD_FOOTER_BYTES);
	return r < 0 ? r : image_file_flush(file);
}

/* What the last block has behind the old end would come to light. */
static int zero_tail(struct vhd *vhd, struct image_file *file)
{
	uint64_t within = vhd->image.disk.geometry.bytes % vhd->image.block_bytes;
	uint32_t entry = vhd_entry(vhd, vhd->blocks - 1);

	if (within == 0 || entry == VHD_UNUSED)
		return 0;
	return image_file_zero(file, (uint64_t)entry * VHD_SECTOR + vhd->bitmap_bytes + within,
			       vhd->image.block_bytes - within);
}

int vhd_grow(struct image *image, struct image_file *file, uint64_t bytes, struct error *err)
{
	struct vhd *vhd = vhd_of(image);
	uint64_t blocks = (bytes + image->block_bytes - 1) / image->block_bytes;
	int r = 0;

	if (bytes > VHD_DISK_MAX || blocks * 4 > VHD_TABLE_MAX)
		return error_set(err, EINVAL,
				 "%s: a VHD has 2040 GiB at most; make a VHDX of it by `bulkhead "
				 "disk convert`",
				 image->name);
	if (vhd->type == VHD_FIXED) {
		r = grow_fixed(vhd, file, bytes);
	} else {
		r = zero_tail(vhd, file);
		if (r == 0 && blocks > vhd->blocks)
			r = move_table(vhd, file, blocks);
		if (r == 0)
			r = write_footers(vhd, file, bytes);
	}
	return r < 0 ? failed(vhd, r, err) : 0;
}

struct place {
	uint32_t sector;
	uint32_t block;
};

static int compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;

	return left->sector < right->sector ? -1 : left->sector > right->sector;
}

static int set_entry(struct vhd *vhd, struct image_file *file, uint32_t block, uint32_t sector)
{
	uint8_t entry[4];
	int r = image_file_flush(file);

	put_be32(entry, sector);
	if (r == 0)
		r = image_file_write(file, vhd->table_offset + (uint64_t)block * 4, entry,
				     sizeof(entry));
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		atomic_store(&vhd->table[block], sector);
	return r;
}

static bool is_zero(const uint8_t *data, uint64_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

static uint64_t end_of_table(const struct vhd *vhd)
{
	return align_up(vhd->table_offset + (uint64_t)vhd->blocks * 4, VHD_SECTOR);
}

/* Where nothing of the file's own structures is, from that offset on. */
static uint64_t skip_structures(const struct vhd *vhd, uint64_t offset)
{
	uint64_t span = vhd_block_span(vhd);
	uint64_t table_end = end_of_table(vhd);

	if (offset < vhd->structures_end)
		offset = vhd->structures_end;
	if (offset < table_end && offset + span > vhd->table_offset)
		offset = table_end;
	return offset;
}

/* In the order of their places, each to where the one before ends; a place that it would itself lie
 * over is passed by, for a copy must be whole before its original goes. */
static int move_blocks(struct vhd *vhd, struct image_file *file, struct place *places,
		       uint32_t count, uint8_t *data)
{
	uint64_t span = vhd_block_span(vhd);
	uint64_t to = 0;
	uint64_t gap;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t from = (uint64_t)places[i].sector * VHD_SECTOR;
		int r;

		to = skip_structures(vhd, to);
		gap = from > to ? from - to : 0;
		if (gap < span) {
			to = from + span;
			continue;
		}
		r = image_file_read(file, from, data, span);
		if (r == 0)
			r = image_file_write(file, to, data, span);
		if (r == 0)
			r = set_entry(vhd, file, places[i].block, (uint32_t)(to / VHD_SECTOR));
		if (r < 0)
			return r;
		to += span;
	}
	/* The table may lie behind all blocks, where an image that was made larger has it. */
	vhd->end = MAX(skip_structures(vhd, to), end_of_table(vhd));
	vhd->grown = true;
	return 0;
}

/* Those of zeroes need no place in the file; a child's hide what its parent has. */
static int collect(struct vhd *vhd, struct image_file *file, struct place *places, uint32_t *count,
		   uint8_t *data)
{
	*count = 0;
	for (uint32_t block = 0; block < vhd->blocks; block++) {
		uint32_t entry = vhd_entry(vhd, block);
		int r = 0;

		if (entry == VHD_UNUSED)
			continue;
		if (vhd->type == VHD_DYNAMIC) {
			r = image_file_read(file, (uint64_t)entry * VHD_SECTOR + vhd->bitmap_bytes,
					    data, vhd->image.block_bytes);
			if (r == 0 && is_zero(data, vhd->image.block_bytes)) {
				r = set_entry(vhd, file, block, VHD_UNUSED);
				if (r == 0)
					continue;
			}
		}
		if (r < 0)
			return r;
		places[(*count)++] = (struct place){entry, block};
	}
	qsort(places, *count, sizeof(*places), compare);
	return 0;
}

int vhd_compact(struct image *image, struct image_file *file, struct error *err)
{
	struct vhd *vhd = vhd_of(image);
	CLEANUP_FREE struct place *places = malloc(((size_t)vhd->blocks + 1) * sizeof(*places));
	CLEANUP_FREE uint8_t *data = malloc(vhd_block_span(vhd));
	uint32_t count;
	int r;

	if (!places || !data)
		return error_memory(err, "a disk");
	if (vhd->type == VHD_FIXED)
		return 0;
	r = collect(vhd, file, places, &count, data);
	if (r == 0)
		r = move_blocks(vhd, file, places, count, data);
	return r < 0 ? failed(vhd, r, err) : 0;
}
