#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "devices/block/vhdx.h"

/* What is done to a VHDX that no VM uses: making the disk larger, and the file smaller. */

#define COPY_BYTES (1u << 20)

static int failed(const struct vhdx *vhdx, int r, struct error *err)
{
	return error_set(err, -r, "%s cannot be changed: %s; make room for it, and check it",
			 vhdx->image.name, strerror(-r));
}

/* The page of metadata that has a number, with another one there. */
static int make_page(struct image_file *file, uint64_t offset, uint64_t value,
		     struct vhdx_page *page)
{
	int r;

	/* A number that lies across two pages is nothing that we wrote. */
	if (offset % VHDX_PAGE > VHDX_PAGE - 8)
		return -ENOTSUP;
	page->offset = align_down(offset, VHDX_PAGE);
	r = image_file_read(file, page->offset, page->data, VHDX_PAGE);
	put_le64(page->data + (offset - page->offset), value);
	return r;
}

/* One page, changed at one place through the log. */
static int patch_page(struct vhdx *vhdx, struct image_file *file, uint64_t offset, uint64_t value)
{
	CLEANUP_FREE struct vhdx_page *page = malloc(sizeof(*page));
	int r = page ? vhdx_log_settle(vhdx, file) : -ENOMEM;

	if (r == 0)
		r = make_page(file, offset, value, page);
	if (r == 0)
		r = image_file_flush(file);
	return r < 0 ? r : vhdx_log_commit(vhdx, file, &page, 1);
}

static int begin_writing(struct vhdx *vhdx, struct image_file *file)
{
	struct vhdx_header header = vhdx->header;
	int r;

	if (atomic_load(&vhdx->image.started))
		return 0;
	r = guid_random(&header.file_write);
	if (r == 0)
		r = guid_random(&header.data_write);
	if (r == 0)
		r = vhdx_write_header(vhdx, file, &header);
	if (r == 0)
		atomic_store(&vhdx->image.started, true);
	return r;
}

/* What the last block has behind the old end would come to light. */
static int zero_tail(struct vhdx *vhdx, struct image_file *file)
{
	uint64_t bytes = vhdx->image.disk.geometry.bytes;
	uint64_t within = bytes % vhdx->image.block_bytes;
	uint64_t entry = vhdx_bat_entry(vhdx, vhdx_payload_index(vhdx, vhdx->blocks - 1));

	if (within == 0 || (entry & VHDX_BAT_STATE) < VHDX_FULLY_PRESENT)
		return 0;
	return image_file_zero(file, (entry & VHDX_BAT_OFFSET) + within,
			       vhdx->image.block_bytes - within);
}

/* The new blocks' entries, which nobody reads before the disk has its new size. */
static int write_entries(struct vhdx *vhdx, struct image_file *file, uint64_t blocks)
{
	uint64_t block_bytes = vhdx->image.block_bytes;
	int r = 0;

	for (uint64_t block = vhdx->blocks; block < blocks && r == 0; block++) {
		uint64_t index = block + block / vhdx->chunk_blocks;
		uint64_t offset = vhdx->leave_allocated ? vhdx_allocate(vhdx, block_bytes) : 0;
		uint8_t entry[8];

		if (vhdx->leave_allocated && offset == 0)
			return -EFBIG;
		if (offset && offset < vhdx->file_bytes)
			r = image_file_zero(file, offset, block_bytes);
		if (offset && r == 0)
			r = file->ops->allocate(file, offset, block_bytes);
		vhdx->file_bytes = MAX(vhdx->file_bytes, offset + (offset ? block_bytes : 0));
		put_le64(entry, offset ? offset | VHDX_FULLY_PRESENT : VHDX_NOT_PRESENT);
		if (r == 0)
			r = image_file_write(file, vhdx->bat_region.offset + index * 8, entry,
					     sizeof(entry));
	}
	return r;
}

/* And those of the sector bitmaps between them. */
static int zero_bitmap_entries(struct vhdx *vhdx, struct image_file *file, uint64_t count)
{
	static const uint8_t none[8];
	int r = 0;

	for (uint64_t i = vhdx->bat_count; i < count && r == 0; i++)
		if (i % (vhdx->chunk_blocks + 1) == vhdx->chunk_blocks || vhdx->has_parent)
			r = image_file_write(file, vhdx->bat_region.offset + i * 8, none,
					     sizeof(none));
	return r;
}

/* The BAT's entries to a place where there is room for count of them; the old one stays in force
 * until the region table names the new one. */
static int copy_bat(struct vhdx *vhdx, struct image_file *file, uint64_t count)
{
	struct vhdx_region to = {.length = (uint32_t)align_up(count * 8, VHDX_MIB)};
	CLEANUP_FREE uint8_t *table = calloc(1, to.length);
	int r;

	to.offset = vhdx_allocate(vhdx, to.length);
	if (!table || to.offset == 0)
		return to.offset ? -ENOMEM : -EFBIG;
	r = image_file_read(file, vhdx->bat_region.offset, table, vhdx->bat_count * 8);
	if (r == 0)
		r = image_file_write(file, to.offset, table, to.length);
	if (r < 0)
		return r;
	vhdx->file_bytes = MAX(vhdx->file_bytes, to.offset + to.length);
	vhdx->bat_region = to;
	return 0;
}

#define TABLE_PAGES (VHDX_TABLE_BYTES / VHDX_PAGE)

/* Both region tables with the BAT's new place, and the disk's new size: all or none. */
static int commit_move(struct vhdx *vhdx, struct image_file *file, const uint8_t *table,
		       uint64_t bytes)
{
	CLEANUP_FREE struct vhdx_page *pages = calloc(2 * TABLE_PAGES + 1, sizeof(*pages));
	int r;

	if (!pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2 * TABLE_PAGES; i++) {
		uint64_t at = i % TABLE_PAGES * VHDX_PAGE;

		pages[i].offset = VHDX_REGION_OFFSET(i / TABLE_PAGES) + at;
		memcpy(pages[i].data, table + at, VHDX_PAGE);
	}
	r = make_page(file, vhdx->size_at, bytes, &pages[2 * TABLE_PAGES]);
	if (r == 0)
		r = image_file_flush(file);
	return r < 0 ? r : vhdx_log_commit(vhdx, file, &pages, 2 * TABLE_PAGES + 1);
}

/* What makes the disk larger is there before its size says so. */
static int prepare_growth(struct vhdx *vhdx, struct image_file *file, uint64_t blocks,
			  uint64_t count)
{
	bool move = count * 8 > vhdx->bat_region.length;
	int r = begin_writing(vhdx, file);

	if (r == 0)
		r = zero_tail(vhdx, file);
	if (r == 0)
		r = move ? copy_bat(vhdx, file, count) : zero_bitmap_entries(vhdx, file, count);
	/* A new table has zeroes, which are the entries of blocks that are not there. */
	if (r < 0 || (move && !vhdx->leave_allocated))
		return r;
	return write_entries(vhdx, file, blocks);
}

static int grow(struct vhdx *vhdx, struct image_file *file, uint64_t bytes, uint64_t blocks,
		uint64_t count, struct error *err)
{
	struct vhdx_region old = vhdx->bat_region;
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_BYTES);
	int r = table ? prepare_growth(vhdx, file, blocks, count) : -ENOMEM;

	if (r < 0)
		return failed(vhdx, r, err);
	if (vhdx->bat_region.offset == old.offset) {
		r = patch_page(vhdx, file, vhdx->size_at, bytes);
		return r < 0 ? failed(vhdx, r, err) : 0;
	}
	r = vhdx_format_regions(vhdx, file, &vhdx->bat_region, table, err);
	if (r < 0)
		return r;
	r = commit_move(vhdx, file, table, bytes);
	return r < 0 ? failed(vhdx, r, err) : 0;
}

int vhdx_grow(struct image *image, struct image_file *file, uint64_t bytes, struct error *err)
{
	struct vhdx *vhdx = vhdx_of(image);
	uint64_t blocks = (bytes + image->block_bytes - 1) / image->block_bytes;
	uint64_t count = vhdx->has_parent ? (blocks + vhdx->chunk_blocks - 1) / vhdx->chunk_blocks *
						    (vhdx->chunk_blocks + 1)
					  : blocks + (blocks - 1) / vhdx->chunk_blocks;

	if (bytes > VHDX_DISK_MAX)
		return error_set(err, EINVAL,
				 "%s: a VHDX has 64 TiB at most; choose a smaller size",
				 image->name);
	if (count * 8 > VHDX_BAT_MAX)
		return error_set(
			err, EINVAL,
			"%s: so large a disk has too many blocks of %llu MiB; make one of larger "
			"blocks by `bulkhead disk convert --block-size`, and resize that",
			image->name, (unsigned long long)(image->block_bytes >> 20));
	if (vhdx->has_parent &&
	    !vhdx_bitmaps_fit(blocks, image->block_bytes, image->disk.geometry.logical_block))
		return error_set(err, EINVAL,
				 "%s: so large a disk can have no parent; merge it with its "
				 "parent by `bulkhead disk convert`, and resize that",
				 image->name);
	return grow(vhdx, file, bytes, blocks, count, err);
}

static int block_is_zero(const struct vhdx *vhdx, struct image_file *file, uint64_t offset,
			 uint8_t *data, bool *zero)
{
	*zero = true;
	for (uint64_t at = 0; at < vhdx->image.block_bytes && *zero; at += COPY_BYTES) {
		int r = image_file_read(file, offset + at, data, COPY_BYTES);

		if (r < 0)
			return r;
		*zero = data[0] == 0 && memcmp(data, data + 1, COPY_BYTES - 1) == 0;
	}
	return 0;
}

/* The bytes of a block or of a sector bitmap to another place, and then its entry. */
static int move(struct vhdx *vhdx, struct image_file *file, uint64_t index, uint64_t to,
		uint64_t bytes, uint8_t *data)
{
	uint64_t entry = vhdx_bat_entry(vhdx, index);
	uint64_t from = entry & VHDX_BAT_OFFSET;
	int r = 0;

	for (uint64_t at = 0; at < bytes && r == 0; at += COPY_BYTES) {
		r = image_file_read(file, from + at, data, COPY_BYTES);
		if (r == 0)
			r = image_file_write(file, to + at, data, COPY_BYTES);
	}
	if (r == 0)
		r = patch_page(vhdx, file, vhdx->bat_region.offset + index * 8,
			       to | (entry & VHDX_BAT_STATE));
	if (r == 0)
		atomic_store(&vhdx->bat[index], to | (entry & VHDX_BAT_STATE));
	return r;
}

static bool is_bitmap(const struct vhdx *vhdx, uint64_t index)
{
	return index % (vhdx->chunk_blocks + 1) == vhdx->chunk_blocks;
}

/* Blocks of zeroes need no place in the file. */
static int drop_zeroes(struct vhdx *vhdx, struct image_file *file, uint8_t *data)
{
	for (uint64_t i = 0; i < vhdx->bat_count && !vhdx->leave_allocated; i++) {
		uint64_t entry = vhdx_bat_entry(vhdx, i);
		bool zero;
		int r;

		if (is_bitmap(vhdx, i) || (entry & VHDX_BAT_STATE) != VHDX_FULLY_PRESENT)
			continue;
		r = block_is_zero(vhdx, file, entry & VHDX_BAT_OFFSET, data, &zero);
		if (r == 0 && zero)
			r = patch_page(vhdx, file, vhdx->bat_region.offset + i * 8, VHDX_ZERO);
		if (r < 0)
			return r;
		if (!zero)
			continue;
		atomic_store(&vhdx->bat[i], VHDX_ZERO);
		vhdx_release(vhdx, entry & VHDX_BAT_OFFSET, vhdx->image.block_bytes);
	}
	return 0;
}

/* Each to the first room that is nearer to the beginning. */
static int move_down(struct vhdx *vhdx, struct image_file *file, uint64_t index, uint8_t *data,
		     bool *moved)
{
	uint64_t entry = vhdx_bat_entry(vhdx, index);
	uint64_t from = entry & VHDX_BAT_OFFSET;
	uint64_t bytes = is_bitmap(vhdx, index) ? VHDX_BITMAP_BYTES : vhdx->image.block_bytes;
	uint64_t to;
	int r;

	if ((entry & VHDX_BAT_STATE) < VHDX_FULLY_PRESENT)
		return 0;
	vhdx->search_from = 1;
	to = vhdx_allocate(vhdx, bytes);
	if (to == 0 || to > from) {
		if (to)
			vhdx_release(vhdx, to, bytes);
		return 0;
	}
	r = move(vhdx, file, index, to, bytes, data);
	if (r == 0)
		vhdx_release(vhdx, from, bytes);
	*moved = true;
	return r;
}

static uint64_t used_end(const struct vhdx *vhdx)
{
	uint64_t end = MAX(vhdx->bat_region.offset + vhdx->bat_region.length,
			   vhdx->metadata_region.offset + vhdx->metadata_region.length);

	end = MAX(end, vhdx->header.log_offset + vhdx->header.log_length);
	for (uint64_t unit = vhdx->used_size * 8; unit > end / VHDX_MIB; unit--)
		if (vhdx->used[(unit - 1) / 8] >> (unit - 1) % 8 & 1)
			return unit * VHDX_MIB;
	return end;
}

static int compact(struct vhdx *vhdx, struct image_file *file, uint8_t *data)
{
	bool moved = true;
	int r = begin_writing(vhdx, file);

	if (r == 0)
		r = drop_zeroes(vhdx, file, data);
	while (r == 0 && moved) {
		moved = false;
		for (uint64_t i = vhdx->bat_count; i > 0 && r == 0; i--)
			r = move_down(vhdx, file, i - 1, data, &moved);
	}
	if (r < 0)
		return r;
	/* The log is empty before the file is shorter than it says. */
	r = vhdx_finish(&vhdx->image, file);
	if (r == 0 && used_end(vhdx) < vhdx->file_bytes) {
		vhdx->file_bytes = used_end(vhdx);
		r = file->ops->truncate(file, vhdx->file_bytes);
	}
	return r < 0 ? r : image_file_flush(file);
}

int vhdx_compact(struct image *image, struct image_file *file, struct error *err)
{
	struct vhdx *vhdx = vhdx_of(image);
	CLEANUP_FREE uint8_t *data = malloc(COPY_BYTES);
	int r;

	if (!data)
		return error_memory(err, "a disk");
	r = compact(vhdx, file, data);
	return r < 0 ? failed(vhdx, r, err) : 0;
}
