#include "lib/bootinfo.h"
#include "lib/rt.h"

#define POOL_START	  0x400000UL
#define PTE_PRESENT_WRITE 0x3UL
#define PTE_LARGE	  0x80UL
#define LARGE_PAGE	  0x200000UL

extern uint64_t pdpt[];
extern char image_end[];

static uint64_t pool_next, pool_end;

/* The pool is the RAM between 4 MiB and the end of its range, below any initrd or boot data. */
void mem_init(void)
{
	const struct boot_info *b = boot_info();

	pool_next = POOL_START;
	for (unsigned i = 0; i < b->map_count; i++) {
		const struct mem_range *r = &b->map[i];

		if (r->type == MEM_RAM && r->addr <= pool_next && r->addr + r->len > pool_next)
			pool_end = r->addr + r->len;
	}
	if (!pool_end)
		pool_end = 16UL << 20;
	if (b->initrd >= pool_next && b->initrd < pool_end)
		pool_end = b->initrd & ~(PAGE_SIZE - 1);
	if ((uint64_t)image_end > pool_next)
		pool_next = (uint64_t)image_end;
}

void *page_alloc(size_t pages)
{
	uint64_t at = pool_next;

	if ((pool_end - at) / PAGE_SIZE < pages)
		tap_bail("out of memory for %lu pages", pages);
	pool_next += pages * PAGE_SIZE;
	return memset((void *)at, 0, pages * PAGE_SIZE);
}

void map_high(uint64_t addr, uint64_t len)
{
	for (uint64_t a = addr & ~(LARGE_PAGE - 1); a < addr + len; a += LARGE_PAGE) {
		uint64_t *slot = &pdpt[a >> 30 & 511], *pd;

		if (!(*slot & 1))
			*slot = (uint64_t)page_alloc(1) | PTE_PRESENT_WRITE;
		pd = (uint64_t *)(*slot & ~0xfffUL);
		pd[a >> 21 & 511] = a | PTE_LARGE | PTE_PRESENT_WRITE;
	}
	write_cr3(read_cr3());
}
