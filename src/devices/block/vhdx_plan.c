#include "devices/block/vhdx_plan.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t current(const struct vhdx_plan *plan, uint64_t index)
{
	for (unsigned int i = 0; i < plan->staged_count; i++)
		if (plan->staged[i].index == index)
			return plan->staged[i].after;
	return vhdx_bat_entry(plan->vhdx, index);
}

static int staged_place(const struct vhdx_plan *plan, uint64_t index)
{
	for (unsigned int i = 0; i < plan->staged_count; i++)
		if (plan->staged[i].index == index)
			return (int)i;
	return -1;
}

static int stage(struct vhdx_plan *plan, uint64_t index, uint64_t after)
{
	int place = staged_place(plan, index);

	if (place < 0) {
		place = (int)plan->staged_count++;
		plan->staged[place].index = index;
		plan->staged[place].before = vhdx_bat_entry(plan->vhdx, index);
		plan->staged[place].needed = false;
	}
	plan->staged[place].after = after;
	return place;
}

static void zero_first(struct vhdx_plan *plan, uint64_t offset, uint64_t length)
{
	plan->zeroes[plan->zero_count++] = (struct image_write){.offset = offset, .length = length};
}

/* Where something that is not there yet goes: where it was, or to new space.  It reads as zeroes.
 */
static uint64_t place(struct vhdx_plan *plan, struct vhdx_step *step, uint64_t entry,
		      uint64_t bytes, bool zeroes)
{
	uint64_t offset = entry & VHDX_BAT_OFFSET;

	if (offset == 0)
		offset = vhdx_allocate(plan->vhdx, bytes);
	if (offset == 0)
		return 0;
	if (offset < plan->vhdx->file_bytes && zeroes)
		zero_first(plan, offset, bytes);
	if (offset + bytes > plan->vhdx->file_bytes)
		step->grows = true;
	plan->file_bytes = MAX(plan->file_bytes, offset + bytes);
	return offset;
}

static bool covers_block(const struct vhdx *vhdx, const struct image_change *change)
{
	uint64_t block = vhdx->image.block_bytes;
	uint64_t begin = align_down(change->offset, block);

	return change->offset == begin &&
	       change->length >= MIN(block, vhdx->image.disk.geometry.bytes - begin);
}

/* The block's bits come to be: none is set yet, in the file or in memory. */
static int stage_bitmap(struct vhdx_plan *plan, struct vhdx_step *step)
{
	struct vhdx *vhdx = plan->vhdx;
	uint64_t bytes = vhdx_bitmap_bytes(vhdx);
	uint64_t index = vhdx_bitmap_index(vhdx, step->block / vhdx->chunk_blocks);
	uint64_t entry = current(plan, index);
	_Atomic uint8_t *bits = atomic_load(&vhdx->bitmaps[step->block]);

	if (!bits) {
		bits = calloc(1, bytes);
		if (!bits)
			return -ENOMEM;
		atomic_store(&vhdx->bitmaps[step->block], bits);
	}
	if ((entry & VHDX_BAT_STATE) != VHDX_BITMAP_PRESENT) {
		uint64_t offset = place(plan, step, entry, VHDX_BITMAP_BYTES, true);

		if (offset == 0)
			return -EFBIG;
		step->staged_bitmap = stage(plan, index, offset | VHDX_BITMAP_PRESENT);
	} else {
		step->staged_bitmap = staged_place(plan, index);
		/* A page that holds other blocks' bits as well is written whole by the log. */
		if (bytes >= VHDX_PAGE)
			zero_first(plan,
				   (entry & VHDX_BAT_OFFSET) +
					   step->block % vhdx->chunk_blocks * bytes,
				   bytes);
	}
	return 0;
}

static int stage_block(struct vhdx_plan *plan, struct vhdx_step *step, uint64_t index,
		       uint64_t entry)
{
	const struct vhdx *vhdx = plan->vhdx;
	bool whole = covers_block(vhdx, step->change);
	bool partial = vhdx->has_parent && !whole && (entry & VHDX_BAT_STATE) == VHDX_NOT_PRESENT;
	uint64_t offset;
	int r = partial ? stage_bitmap(plan, step) : 0;

	if (r < 0)
		return r;
	offset = place(plan, step, entry, vhdx->image.block_bytes, !whole);
	if (offset == 0)
		return -EFBIG;
	step->location = offset;
	step->bits = partial;
	step->staged = stage(plan, index,
			     offset | (partial ? VHDX_PARTIALLY_PRESENT : VHDX_FULLY_PRESENT));
	return 0;
}

/* A step that puts bytes where they belong, be they zeroes. */
static int plan_write(struct vhdx_plan *plan, struct vhdx_step *step)
{
	struct vhdx *vhdx = plan->vhdx;
	uint64_t index = vhdx_payload_index(vhdx, step->block);
	uint64_t entry = current(plan, index);
	uint64_t state = entry & VHDX_BAT_STATE;
	int r = 0;

	if (state >= VHDX_FULLY_PRESENT) {
		step->location = entry & VHDX_BAT_OFFSET;
		step->bits = state == VHDX_PARTIALLY_PRESENT;
		step->staged = staged_place(plan, index);
		if (step->bits)
			step->staged_bitmap = staged_place(
				plan, vhdx_bitmap_index(vhdx, step->block / vhdx->chunk_blocks));
	} else {
		r = stage_block(plan, step, index, entry);
	}
	if (r == 0)
		step->location += step->change->offset % vhdx->image.block_bytes;
	return r;
}

static int plan_zero(struct vhdx_plan *plan, struct vhdx_step *step)
{
	struct vhdx *vhdx = plan->vhdx;
	uint64_t index = vhdx_payload_index(vhdx, step->block);
	uint64_t entry = current(plan, index);
	uint64_t state = entry & VHDX_BAT_STATE;
	bool from_parent =
		vhdx->has_parent && (state == VHDX_NOT_PRESENT || state == VHDX_PARTIALLY_PRESENT);

	if (state < VHDX_FULLY_PRESENT && !from_parent)
		return 0;
	if (!vhdx->leave_allocated && covers_block(vhdx, step->change)) {
		step->staged = stage(plan, index, (entry & VHDX_BAT_OFFSET) | VHDX_ZERO);
		return 0;
	}
	/* What the parent has cannot be given back. */
	if (from_parent && step->change->operation == BLOCK_DISCARD)
		return 0;
	return plan_write(plan, step);
}

/* BAT pages of a block and of a bitmap, and the pages of the bitmap. */
static unsigned int pages_of(const struct vhdx *vhdx)
{
	if (!vhdx->has_parent)
		return 1;
	return 2 + 2 + (unsigned int)(vhdx_bitmap_bytes(vhdx) / VHDX_PAGE);
}

bool vhdx_plan_add(struct vhdx_plan *plan, struct image_change *change)
{
	struct vhdx_step *step = &plan->steps[plan->step_count];
	unsigned int pages = pages_of(plan->vhdx);

	if (plan->pages + pages > VHDX_LOG_PAGES_MAX)
		return false;
	plan->pages += pages;
	plan->step_count++;
	*step = (struct vhdx_step){.change = change,
				   .block = change->offset / plan->vhdx->image.block_bytes,
				   .staged = -1,
				   .staged_bitmap = -1};
	change->result =
		change->operation == BLOCK_WRITE ? plan_write(plan, step) : plan_zero(plan, step);
	if (change->result < 0)
		step->location = 0;
	return true;
}

static void set_bits(_Atomic uint8_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t bit = first; bit < first + count; bit++)
		atomic_fetch_or_explicit(&bits[bit / 8], (uint8_t)(1u << bit % 8),
					 memory_order_release);
}

void vhdx_plan_abandon(const struct vhdx_plan *plan, const struct vhdx_staged *staged)
{
	uint64_t home = staged->after & VHDX_BAT_OFFSET;

	if ((staged->before & VHDX_BAT_STATE) < VHDX_FULLY_PRESENT)
		atomic_store_explicit(&plan->vhdx->bat[staged->index],
				      (staged->before & VHDX_BAT_STATE) | home,
				      memory_order_release);
}

void vhdx_plan_publish(const struct vhdx_plan *plan)
{
	struct vhdx *vhdx = plan->vhdx;
	uint32_t sector = vhdx->image.disk.geometry.logical_block;

	for (unsigned int i = 0; i < plan->step_count; i++) {
		const struct vhdx_step *step = &plan->steps[i];
		const struct image_change *change = step->change;

		if (step->bits && change->result == 0)
			set_bits(atomic_load(&vhdx->bitmaps[step->block]),
				 change->offset % vhdx->image.block_bytes / sector,
				 change->length / sector);
	}
	for (unsigned int i = 0; i < plan->staged_count; i++) {
		const struct vhdx_staged *staged = &plan->staged[i];

		if (staged->needed)
			atomic_store_explicit(&vhdx->bat[staged->index], staged->after,
					      memory_order_release);
		else
			vhdx_plan_abandon(plan, staged);
	}
}
