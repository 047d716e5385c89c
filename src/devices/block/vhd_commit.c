#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "devices/block/vhd.h"

/*
 * The first change of all follows a new time in the footers, which tells children of this image
 * that it is not what it was.  Then the order that makes a change safe, whatever cuts it off:
 *   1. where the file has no room left, a footer behind more room, and a flush: the old one may
 * then be written over
 *   2. the place of a new block is zeroed; its bitmap and the changes' bytes are written
 *   3. a flush
 *   4. the sectors of the table that name new blocks, and of the bitmaps that make bytes count, are
 *      written: each has its old or its new content, and both are right
 */

#define ROOM_BLOCKS 16u /* that the file grows by at a time */
#define SECTORS_MAX (2 * IMAGE_COMMIT_MAX)

struct step {
	struct image_change *change;
	uint64_t block;
	bool writes;
	uint64_t location; /* of the change's bytes in the file */
	int fresh;	   /* the new block that it needs, or -1 */
	bool bits;
};

/* A block that comes to be. */
struct fresh {
	uint64_t block;
	uint64_t offset;
	bool needed;
	_Atomic uint8_t *bits; /* differencing */
	uint8_t *bitmap;       /* as it is first in the file */
};

/* A sector of metadata to be written in place. */
struct sector {
	uint64_t offset;
	uint8_t data[VHD_SECTOR];
};

struct plan {
	struct vhd *vhd;
	struct step steps[IMAGE_COMMIT_MAX];
	unsigned int step_count;
	struct fresh fresh[IMAGE_COMMIT_MAX];
	unsigned int fresh_count;
	struct sector *sectors;
	unsigned int sector_count;
	unsigned int sectors_wanted; /* at most */
	uint64_t end;
};

static int find_fresh(const struct plan *plan, uint64_t block)
{
	for (unsigned int i = 0; i < plan->fresh_count; i++)
		if (plan->fresh[i].block == block)
			return (int)i;
	return -1;
}

static int add_fresh(struct plan *plan, uint64_t block)
{
	struct vhd *vhd = plan->vhd;
	struct fresh *fresh = &plan->fresh[plan->fresh_count];

	*fresh = (struct fresh){.block = block, .offset = plan->end};
	if ((plan->end + vhd_block_span(vhd)) / VHD_SECTOR >= VHD_UNUSED)
		return -EFBIG;
	fresh->bitmap = malloc(vhd->bitmap_bytes);
	if (!fresh->bitmap)
		return -ENOMEM;
	/* Of a dynamic disk all sectors count. */
	memset(fresh->bitmap, vhd->image.differencing ? 0 : 0xff, vhd->bitmap_bytes);
	if (vhd->image.differencing) {
		fresh->bits = calloc(1, vhd->bitmap_bytes);
		if (!fresh->bits) {
			free(fresh->bitmap);
			return -ENOMEM;
		}
	}
	plan->end += vhd_block_span(vhd);
	return (int)plan->fresh_count++;
}

/* Zeroes over nothing; and a hint, of which the parent knows nothing. */
static bool changes_nothing(const struct vhd *vhd, const struct image_change *change)
{
	return change->operation == BLOCK_DISCARD ||
	       (change->operation == BLOCK_WRITE_ZEROES && !vhd->image.differencing);
}

static int plan_step(struct plan *plan, struct step *step)
{
	const struct vhd *vhd = plan->vhd;
	const struct image_change *change = step->change;
	uint64_t within = change->offset % vhd->image.block_bytes;
	uint64_t offset;

	if (vhd->type == VHD_FIXED) {
		step->writes = true;
		step->location = change->offset;
		return 0;
	}
	if (vhd_entry(vhd, step->block) != VHD_UNUSED) {
		struct image_extent extent;

		vhd_map(&vhd->image, change->offset, change->length, &extent);
		if (change->operation == BLOCK_DISCARD && extent.kind != IMAGE_IN_FILE)
			return 0;
		step->bits = vhd->image.differencing;
		offset = (uint64_t)vhd_entry(vhd, step->block) * VHD_SECTOR;
	} else {
		if (changes_nothing(vhd, change))
			return 0;
		step->fresh = find_fresh(plan, step->block);
		if (step->fresh < 0)
			step->fresh = add_fresh(plan, step->block);
		if (step->fresh < 0)
			return step->fresh;
		step->bits = vhd->image.differencing;
		offset = plan->fresh[step->fresh].offset;
	}
	step->writes = true;
	step->location = offset + vhd->bitmap_bytes + within;
	return 0;
}

static bool add_step(struct plan *plan, struct image_change *change)
{
	struct step *step = &plan->steps[plan->step_count];
	unsigned int wanted = 1 + (unsigned int)(plan->vhd->bitmap_bytes / VHD_SECTOR);

	if (plan->step_count > 0 && plan->sectors_wanted + wanted > SECTORS_MAX)
		return false;
	plan->sectors_wanted += wanted;
	plan->step_count++;
	*step = (struct step){.change = change,
			      .block = change->offset / plan->vhd->image.block_bytes,
			      .fresh = -1};
	change->result = plan_step(plan, step);
	return true;
}

/* Step 1. */
static int grow(struct plan *plan, struct image_file *file)
{
	struct vhd *vhd = plan->vhd;
	uint64_t offset = plan->end + ROOM_BLOCKS * vhd_block_span(vhd);
	int r;

	if (plan->end <= vhd->footer_at)
		return 0;
	r = image_file_write(file, offset, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	vhd->footer_at = offset;
	vhd->file_bytes = offset + VHD_FOOTER_BYTES;
	vhd->grown = true;
	return 0;
}

static int zero_fresh(struct plan *plan, struct image_file *file)
{
	struct image_write writes[IMAGE_COMMIT_MAX];
	int r = 0;

	for (unsigned int i = 0; i < plan->fresh_count; i++)
		writes[i] = (struct image_write){.offset = plan->fresh[i].offset,
						 .length = vhd_block_span(plan->vhd)};
	file->ops->write(file, writes, plan->fresh_count);
	for (unsigned int i = 0; i < plan->fresh_count; i++)
		if (writes[i].result < 0)
			r = writes[i].result;
	return r;
}

/* Steps 1 and 2, up to the changes' bytes. */
static void prepare(struct plan *plan, struct image_file *file)
{
	int r = grow(plan, file);

	if (r == 0)
		r = zero_fresh(plan, file);
	for (unsigned int i = 0; i < plan->step_count && r < 0; i++)
		if (plan->steps[i].fresh >= 0 && plan->steps[i].change->result == 0)
			plan->steps[i].change->result = r;
}

static void write_changes(struct plan *plan, struct image_file *file)
{
	struct image_write writes[IMAGE_COMMIT_MAX];
	struct image_change *written[IMAGE_COMMIT_MAX];
	unsigned int count = 0;

	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];
		struct image_change *change = step->change;

		if (change->result < 0 || !step->writes)
			continue;
		written[count] = change;
		writes[count++] = image_change_at(change, step->location);
	}
	file->ops->write(file, writes, count);
	for (unsigned int i = 0; i < count; i++)
		written[i]->result = writes[i].result;
}

static void set_bits(uint8_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t bit = first; bit < first + count; bit++)
		bits[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

static uint64_t first_bit(const struct plan *plan, const struct step *step)
{
	return step->change->offset % plan->vhd->image.block_bytes / VHD_SECTOR;
}

/* The bitmaps of new blocks, which nothing refers to yet. */
static int write_bitmaps(struct plan *plan, struct image_file *file)
{
	struct vhd *vhd = plan->vhd;
	int r = 0;

	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->change->result < 0 || step->fresh < 0)
			continue;
		plan->fresh[step->fresh].needed = true;
		if (step->bits)
			set_bits(plan->fresh[step->fresh].bitmap, first_bit(plan, step),
				 step->change->length / VHD_SECTOR);
	}
	for (unsigned int i = 0; i < plan->fresh_count && r == 0; i++)
		if (plan->fresh[i].needed)
			r = image_file_write(file, plan->fresh[i].offset, plan->fresh[i].bitmap,
					     vhd->bitmap_bytes);
	return r;
}

/* The sector at that offset as it will be written; a new one is filled in by the caller. */
static struct sector *sector_at(struct plan *plan, uint64_t offset, bool *is_new)
{
	*is_new = false;
	for (unsigned int i = 0; i < plan->sector_count; i++)
		if (plan->sectors[i].offset == offset)
			return &plan->sectors[i];
	*is_new = true;
	plan->sectors[plan->sector_count].offset = offset;
	memset(plan->sectors[plan->sector_count].data, 0xff, VHD_SECTOR);
	return &plan->sectors[plan->sector_count++];
}

static void add_entry(struct plan *plan, const struct fresh *fresh)
{
	const struct vhd *vhd = plan->vhd;
	uint64_t first = align_down(fresh->block, VHD_SECTOR / 4);
	bool is_new;
	struct sector *sector = sector_at(plan, vhd->table_offset + first * 4, &is_new);

	for (uint64_t i = 0; is_new && i < VHD_SECTOR / 4 && first + i < vhd->blocks; i++)
		put_be32(sector->data + i * 4, vhd_entry(vhd, first + i));
	put_be32(sector->data + (fresh->block - first) * 4, (uint32_t)(fresh->offset / VHD_SECTOR));
}

/* Those of a block that was there before. */
static void add_bits(struct plan *plan, const struct step *step)
{
	const struct vhd *vhd = plan->vhd;
	const _Atomic uint8_t *bits = atomic_load(&vhd->bitmaps[step->block]);
	uint64_t base = (uint64_t)vhd_entry(vhd, step->block) * VHD_SECTOR;
	uint64_t bytes = vhd->image.block_bytes / VHD_SECTOR / 8;
	uint64_t first = first_bit(plan, step);
	uint64_t end = first + step->change->length / VHD_SECTOR;
	uint64_t from = align_down(first / 8, VHD_SECTOR);

	for (; from * 8 < end; from += VHD_SECTOR) {
		uint64_t bit = MAX(first, from * 8);
		uint64_t last = MIN(end, (from + VHD_SECTOR) * 8);
		bool is_new;
		struct sector *sector = sector_at(plan, base + from, &is_new);

		for (uint64_t i = 0; is_new && i < VHD_SECTOR; i++)
			sector->data[i] = from + i < bytes ? atomic_load(&bits[from + i]) : 0;
		set_bits(sector->data, bit - from * 8, last - bit);
	}
}

static bool collect_sectors(struct plan *plan)
{
	for (unsigned int i = 0; i < plan->fresh_count; i++)
		if (plan->fresh[i].needed)
			add_entry(plan, &plan->fresh[i]);
	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->bits && step->fresh < 0 && step->change->result == 0)
			add_bits(plan, step);
	}
	return plan->sector_count > 0;
}

static int write_sectors(struct plan *plan, struct image_file *file)
{
	struct vhd *vhd = plan->vhd;
	int r = 0;

	/* Should this fail, the file may all the same have some of it: what that names as a block's
	 * place is never given to another. */
	for (unsigned int i = 0; i < plan->fresh_count; i++)
		if (plan->fresh[i].needed)
			vhd->end = MAX(vhd->end, plan->fresh[i].offset + vhd_block_span(vhd));
	for (unsigned int i = 0; i < plan->sector_count && r == 0; i++)
		r = image_file_write(file, plan->sectors[i].offset, plan->sectors[i].data,
				     VHD_SECTOR);
	return r;
}

static void publish_bits(_Atomic uint8_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t bit = first; bit < first + count; bit++)
		atomic_fetch_or_explicit(&bits[bit / 8], (uint8_t)(0x80 >> bit % 8),
					 memory_order_release);
}

static void publish(struct plan *plan)
{
	struct vhd *vhd = plan->vhd;

	for (unsigned int i = 0; i < plan->fresh_count; i++) {
		struct fresh *fresh = &plan->fresh[i];

		if (!fresh->needed)
			continue;
		if (fresh->bits)
			atomic_store(&vhd->bitmaps[fresh->block], TAKE_POINTER(fresh->bits));
		atomic_store_explicit(&vhd->table[fresh->block],
				      (uint32_t)(fresh->offset / VHD_SECTOR), memory_order_release);
	}
	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		if (step->bits && step->change->result == 0)
			publish_bits(atomic_load(&vhd->bitmaps[step->block]), first_bit(plan, step),
				     step->change->length / VHD_SECTOR);
	}
}

static bool wants_stable(const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->step_count; i++)
		if (plan->steps[i].change->stable && plan->steps[i].change->result == 0)
			return true;
	return false;
}

/* Steps 3 and 4. */
static int put_in_place(struct plan *plan, struct image_file *file)
{
	bool stable = wants_stable(plan);
	int r = 0;

	if (collect_sectors(plan)) {
		r = image_file_flush(file);
		if (r == 0)
			r = write_sectors(plan, file);
	}
	if (r == 0 && stable)
		r = image_file_flush(file);
	return r;
}

static void run(struct plan *plan, struct image_file *file)
{
	int r;

	prepare(plan, file);
	write_changes(plan, file);
	r = write_bitmaps(plan, file);
	if (r == 0)
		r = put_in_place(plan, file);
	if (r == 0)
		publish(plan);
	for (unsigned int i = 0; i < plan->step_count && r < 0; i++)
		if (plan->steps[i].change->result == 0)
			plan->steps[i].change->result = r;
}

/* Both footers have it before anything else is written. */
static int begin_writing(struct vhd *vhd, struct image_file *file)
{
	uint32_t now = vhd_now();
	uint8_t footer[VHD_FOOTER_BYTES];
	int r = 0;

	memcpy(footer, vhd->footer, sizeof(footer));
	put_be32(footer + VHD_FOOTER_TIME, MAX(now, get_be32(footer + VHD_FOOTER_TIME) + 1));
	put_be32(footer + VHD_FOOTER_CHECKSUM,
		 vhd_checksum(footer, sizeof(footer), VHD_FOOTER_CHECKSUM));
	if (vhd->type != VHD_FIXED)
		r = image_file_write(file, 0, footer, sizeof(footer));
	if (r == 0)
		r = image_file_write(file, vhd->footer_at, footer, sizeof(footer));
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	memcpy(vhd->footer, footer, sizeof(footer));
	atomic_store_explicit(&vhd->image.started, true, memory_order_release);
	return 0;
}

unsigned int vhd_commit(struct image *image, struct image_file *file,
			struct image_change *const *changes, unsigned int count)
{
	struct plan plan = {.vhd = vhd_of(image), .end = vhd_of(image)->end};
	CLEANUP_FREE struct sector *sectors = NULL;
	unsigned int taken = 0;
	int r = atomic_load(&image->started) ? 0 : begin_writing(plan.vhd, file);

	for (; r < 0 && taken < count; taken++)
		changes[taken]->result = r;
	if (r < 0)
		return count;
	while (taken < count && taken < IMAGE_COMMIT_MAX && add_step(&plan, changes[taken]))
		taken++;
	plan.sectors = sectors = malloc(plan.sectors_wanted * sizeof(*sectors));
	if (sectors)
		run(&plan, file);
	for (unsigned int i = 0; i < taken && !sectors; i++)
		changes[i]->result = -ENOMEM;
	for (unsigned int i = 0; i < plan.fresh_count; i++) {
		free(plan.fresh[i].bitmap);
		free((void *)plan.fresh[i].bits);
	}
	return taken;
}

/* The footer moves to where the blocks end.  Until the file is cut behind it there are two. */
int vhd_finish(struct image *image, struct image_file *file)
{
	struct vhd *vhd = vhd_of(image);
	int r;

	if (!vhd->grown)
		return 0;
	r = image_file_write(file, vhd->end, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		r = file->ops->truncate(file, vhd->end + VHD_FOOTER_BYTES);
	if (r < 0)
		return r;
	vhd->file_bytes = vhd->end + VHD_FOOTER_BYTES;
	vhd->footer_at = vhd->end;
	vhd->grown = false;
	return image_file_flush(file);
}
