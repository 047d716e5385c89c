#include "devices/vsp/page_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define WORD_BITS 64u

static uint64_t word_count(const struct page_set *set)
{
	return set->limit / WORD_BITS + 1;
}

int page_set_init(struct page_set *set, uint64_t limit)
{
	*set = (struct page_set){.limit = limit};
	set->words = calloc(word_count(set), sizeof(*set->words));
	return set->words ? 0 : -ENOMEM;
}

void page_set_cleanup(struct page_set *set)
{
	free(set->words);
	*set = (struct page_set){0};
}

void page_set_clear(struct page_set *set)
{
	memset(set->words, 0, page_set_size(set));
	set->count = 0;
	set->first_word = 0;
}

/* The bits of [page, page + count) in page's word; *here is how many pages that are. */
static uint64_t mask_of(uint64_t page, uint64_t count, uint64_t *here)
{
	unsigned int bit = page % WORD_BITS;

	*here = MIN(count, (uint64_t)(WORD_BITS - bit));
	return (*here == WORD_BITS ? ~0ull : (1ull << *here) - 1) << bit;
}

static bool any_in(const struct page_set *set, uint64_t first, uint64_t count)
{
	for (uint64_t page = first, here; count > 0; page += here, count -= here) {
		if (set->words[page / WORD_BITS] & mask_of(page, count, &here))
			return true;
	}
	return false;
}

bool page_set_add(struct page_set *set, uint64_t first, uint64_t count)
{
	if (!range_within(first, count, set->limit) || any_in(set, first, count))
		return false;
	set->count += count;
	set->first_word = MIN(set->first_word, first / WORD_BITS);
	for (uint64_t here; count > 0; first += here, count -= here)
		set->words[first / WORD_BITS] |= mask_of(first, count, &here);
	return true;
}

static bool has(const struct page_set *set, uint64_t page)
{
	return page < set->limit && set->words[page / WORD_BITS] >> page % WORD_BITS & 1;
}

bool page_set_take(struct page_set *set, uint64_t max, uint64_t *first, uint64_t *count)
{
	uint64_t page, length = 0;

	if (set->count == 0 || max == 0)
		return false;
	while (!set->words[set->first_word])
		set->first_word++;
	page = set->first_word * WORD_BITS +
	       (unsigned int)__builtin_ctzll(set->words[set->first_word]);
	for (; length < max && has(set, page + length); length++)
		set->words[(page + length) / WORD_BITS] &= ~(1ull << (page + length) % WORD_BITS);
	set->count -= length;
	*first = page;
	*count = length;
	return true;
}

size_t page_set_size(const struct page_set *set)
{
	return word_count(set) * sizeof(*set->words);
}

void page_set_load(struct page_set *set, const void *bytes)
{
	memcpy(set->words, bytes, page_set_size(set));
	set->first_word = 0;
	set->count = 0;
	/* Pages that cannot be do not count. */
	set->words[word_count(set) - 1] &= (1ull << set->limit % WORD_BITS) - 1;
	for (uint64_t i = 0; i < word_count(set); i++)
		set->count += (unsigned int)__builtin_popcountll(set->words[i]);
}
