#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of guest pages below a limit: which of them the balloon has.  One bit a page. */
struct page_set {
	uint64_t *words;
	uint64_t limit; /* page numbers are below */
	uint64_t count;
	uint64_t first_word; /* none before it has a page */
};

/* Empty; -ENOMEM. */
int page_set_init(struct page_set *set, uint64_t limit);
void page_set_cleanup(struct page_set *set);
void page_set_clear(struct page_set *set);

/* Adds a range; false, with nothing added, if any of it is in the set already or lies beyond. */
bool page_set_add(struct page_set *set, uint64_t first, uint64_t count);
/* Takes out the lowest pages, up to max of them that follow each other; false if it is empty. */
bool page_set_take(struct page_set *set, uint64_t max, uint64_t *first, uint64_t *count);

/* The set as bytes, bit 0 of the first being page 0; words is as it is in memory (x86). */
size_t page_set_size(const struct page_set *set);
void page_set_load(struct page_set *set, const void *bytes);
