#include "devices/block/vhdx_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

#define PAGE_ENTRIES (VHDX_PAGE / 8)

/* The pages of metadata that a plan changes, as they will be. */
struct page_set {
	const struct vhdx_plan *plan;
	struct vhdx_page *pages;
	unsigned int count;
};

/* The page at that offset of the file, and whether it is a new one. */
static struct vhdx_page *page_at(struct page_set *set, uint64_t offset, bool *fresh)
{
	*fresh = false;
	for (unsigned int i = 0; i < set->count; i++)
		if (set->pages[i].offset == offset)
			return &set->pages[i];
	*fresh = true;
	set->pages[set->count].offset = offset;
	memset(set->pages[set->count].data, 0, VHDX_PAGE);
	return &set->pages[set->count++];
}

/* Where a block will be is nobody's business before it is there. */
static uint64_t in_file(uint64_t entry)
{
	return (entry & VHDX_BAT_STATE) < VHDX_FULLY_PRESENT ? entry & VHDX_BAT_STATE : entry;
}

static void add_entry(struct page_set *set, const struct vhdx_staged *staged)
{
	const struct vhdx *vhdx = set->plan->vhdx;
	uint64_t first = staged->index / PAGE_ENTRIES * PAGE_ENTRIES;
	bool fresh;
	struct vhdx_page *page = page_at(set, vhdx->bat_region.offset + first * 8, &fresh);

	for (uint64_t i = 0; fresh && i < PAGE_ENTRIES && first + i < vhdx->bat_count; i++)
		put_le64(page->data + i * 8, in_file(vhdx_bat_entry(vhdx, first + i)));
	put_le64(page->data + (staged->index - first) * 8, in_file(staged->after));
}

/* The bits of a page of a chunk's bitmap, as memory has them. */
static void fill_bits(const struct vhdx *vhdx, uint64_t chunk, uint64_t from, uint8_t *data)
{
	uint64_t bytes = vhdx_bitmap_bytes(vhdx);
	uint64_t step = MIN(bytes, (uint64_t)VHDX_PAGE);

	for (uint64_t at = 0; at < VHDX_PAGE; at += step) {
		uint64_t block = chunk * vhdx->chunk_blocks + (from + at) / bytes;
		const _Atomic uint8_t *bits =
			block < vhdx->blocks ? atomic_load(&vhdx->bitmaps[block]) : NULL;

		for (uint64_t i = 0; bits && i < step; i++)
			data[at + i] = atomic_load_explicit(&bits[(from + at) % bytes + i],
							    memory_order_relaxed);
	}
}

static uint64_t bitmap_offset(const struct vhdx_plan *plan, uint64_t index)
{
	for (unsigned int i = 0; i < plan->staged_count; i++)
		if (plan->staged[i].index == index)
			return plan->staged[i].after & VHDX_BAT_OFFSET;
	return vhdx_bat_entry(plan->vhdx, index) & VHDX_BAT_OFFSET;
}

static void add_bits(struct page_set *set, const struct vhdx_step *step)
{
	const struct vhdx *vhdx = set->plan->vhdx;
	uint32_t sector = vhdx->image.disk.geometry.logical_block;
	uint64_t chunk = step->block / vhdx->chunk_blocks;
	uint64_t base = bitmap_offset(set->plan, vhdx_bitmap_index(vhdx, chunk));
	uint64_t first = (step->change->offset / sector) % VHDX_BITMAP_SECTORS;
	uint64_t end = first + step->change->length / sector;
	uint64_t from = align_down(first / 8, VHDX_PAGE);

	for (; from * 8 < end; from += VHDX_PAGE) {
		bool fresh;
		struct vhdx_page *page = page_at(set, base + from, &fresh);
		uint64_t bit = MAX(first, from * 8);

		if (fresh)
			fill_bits(vhdx, chunk, from, page->data);
		for (; bit < end && bit < (from + VHDX_PAGE) * 8; bit++)
			page->data[bit / 8 - from] |= (uint8_t)(1u << bit % 8);
	}
}

int vhdx_plan_pages(const struct vhdx_plan *plan, struct vhdx_page **pages)
{
	struct page_set set = {.plan = plan};

	set.pages = malloc(MAX(plan->pages, 1u) * sizeof(*set.pages));
	if (!set.pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < plan->staged_count; i++)
		if (plan->staged[i].needed)
			add_entry(&set, &plan->staged[i]);
	for (unsigned int i = 0; i < plan->step_count; i++)
		if (plan->steps[i].bits && plan->steps[i].change->result == 0)
			add_bits(&set, &plan->steps[i]);
	*pages = set.pages;
	return (int)set.count;
}
