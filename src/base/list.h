#pragma once

#include "base/checked.h"

/* An intrusive, circular, doubly linked list.  A node is in one list at most. */
struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

static inline void list_append(struct list *head, struct list *node)
{
	list_insert_between(node, head->prev, head);
}

static inline void list_prepend(struct list *head, struct list *node)
{
	list_insert_between(node, head, head->next);
}

/* Takes the node out and leaves it a list of its own, so that removing twice is harmless. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* Moves all of from to the list to, which it initializes; from is then empty. */
static inline void list_take_all(struct list *from, struct list *to)
{
	list_insert_between(to, from->prev, from);
	list_remove(from);
}

#define list_entry(node, type, member) container_of(node, type, member)

/* Walks the list; the entry in hand may be removed and freed. */
#define list_for_each(entry, head, member)                                                         \
	for (struct list *it_ = (head)->next, *next_ = it_->next;                                  \
	     it_ != (head) && ((entry) = list_entry(it_, __typeof__(*(entry)), member), true);     \
	     it_ = next_, next_ = it_->next)
