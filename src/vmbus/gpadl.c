#include "vmbus/gpadl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vmbus/bus.h"
#include "vmbus/gpa_range.h"

#define WORD_SIZE	    8u
#define GPADL_STATE_VERSION 1

void gpadl_table_init(struct gpadl_table *table, const struct gpa_space *gpa)
{
	*table = (struct gpadl_table){.gpa = gpa};
	pthread_mutex_init(&table->lock, NULL);
	list_init(&table->gpadls);
}

/* Callers hold the lock. */
static void gpadl_free(struct gpadl_table *table, struct gpadl *gpadl)
{
	list_remove(&gpadl->node);
	table->count--;
	table->words -= gpadl->word_count;
	free(gpadl);
}

void gpadl_table_clear(struct gpadl_table *table)
{
	struct gpadl *gpadl;

	pthread_mutex_lock(&table->lock);
	list_for_each(gpadl, &table->gpadls, node) gpadl_free(table, gpadl);
	pthread_mutex_unlock(&table->lock);
}

void gpadl_table_cleanup(struct gpadl_table *table)
{
	gpadl_table_clear(table);
	pthread_mutex_destroy(&table->lock);
}

/* The caller holds the lock, or is the main loop, which alone changes the list. */
static struct gpadl *gpadl_find(struct gpadl_table *table, uint32_t id)
{
	struct gpadl *gpadl;

	list_for_each(gpadl, &table->gpadls, node)
	{
		if (gpadl->id == id)
			return gpadl;
	}
	return NULL;
}

static bool gpadl_complete(const struct gpadl *gpadl)
{
	return gpadl->words_received == gpadl->word_count;
}

static struct gpadl *gpadl_find_complete(struct gpadl_table *table, uint32_t relid, uint32_t id)
{
	struct gpadl *gpadl = gpadl_find(table, id);

	if (!gpadl || gpadl->relid != relid || !gpadl_complete(gpadl))
		return NULL;
	return gpadl;
}

/* Whether the words are as many ranges as announced, and all pages are RAM. */
static int gpadl_check(const struct gpadl_table *table, const struct gpadl *gpadl)
{
	const uint8_t *data = (const uint8_t *)gpadl->words;
	uint32_t size = gpadl->word_count * WORD_SIZE;
	uint32_t offset = 0;

	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		struct gpa_range range;
		int r = gpa_range_parse(data, size, &offset, &range);

		for (uint32_t frame = 0; !r && frame < range.frame_count; frame++) {
			struct gpa_range page = {
				.byte_count = VMBUS_PAGE_SIZE,
				.frames = range.frames + frame * WORD_SIZE,
				.frame_count = 1,
			};
			struct iovec iov;

			r = gpa_range_resolve(table->gpa, &page, GPA_WRITE, &iov, 0, 1);
			r = r < 0 ? -EFAULT : 0;
		}
		if (r)
			return r;
	}
	return offset == size ? 0 : -EINVAL;
}

/* Takes in more words; what goes beyond those announced is padding. */
static int gpadl_take(struct gpadl_table *table, struct gpadl *gpadl, const void *data, size_t size)
{
	uint32_t missing = gpadl->word_count - gpadl->words_received;
	uint32_t count = (uint32_t)MIN(size / WORD_SIZE, (size_t)missing);

	memcpy(&gpadl->words[gpadl->words_received], data, count * WORD_SIZE);
	if (count < missing) {
		gpadl->words_received += count;
		return -EINPROGRESS;
	}
	return gpadl_check(table, gpadl);
}

/* The last step of create and append: keeps the GPADL, or drops one that is malformed. */
static int gpadl_advance(struct gpadl_table *table, struct gpadl *gpadl, const void *data,
			 size_t size)
{
	int r;

	pthread_mutex_lock(&table->lock);
	r = gpadl_take(table, gpadl, data, size);
	if (r == 0)
		gpadl->words_received = gpadl->word_count;
	else if (r != -EINPROGRESS)
		gpadl_free(table, gpadl);
	pthread_mutex_unlock(&table->lock);
	return r;
}

static int gpadl_new(struct gpadl_table *table, uint32_t relid, uint32_t id, uint32_t range_count,
		     uint32_t word_count, struct gpadl **out)
{
	struct gpadl *gpadl;

	if (id == 0 || range_count == 0 || word_count < 2 * (uint64_t)range_count)
		return -EINVAL;
	if (gpadl_find(table, id))
		return -EEXIST;
	if (table->count >= GPADL_COUNT_MAX || word_count > VMBUS_GPADL_PAGES_MAX - table->words)
		return -ENOSPC;
	gpadl = calloc(1, sizeof(*gpadl) + (size_t)word_count * WORD_SIZE);
	if (!gpadl)
		return -ENOMEM;
	gpadl->id = id;
	gpadl->relid = relid;
	gpadl->range_count = range_count;
	gpadl->word_count = word_count;
	pthread_mutex_lock(&table->lock);
	list_append(&table->gpadls, &gpadl->node);
	table->count++;
	table->words += word_count;
	pthread_mutex_unlock(&table->lock);
	*out = gpadl;
	return 0;
}

int gpadl_create(struct gpadl_table *table, const struct vmbus_gpadl_header *header,
		 const void *data, size_t size)
{
	struct gpadl *gpadl;
	int r;

	if (header->range_bytes % WORD_SIZE)
		return -EINVAL;
	r = gpadl_new(table, header->relid, header->gpadl, header->range_count,
		      header->range_bytes / WORD_SIZE, &gpadl);
	return r ? r : gpadl_advance(table, gpadl, data, size);
}

int gpadl_append(struct gpadl_table *table, uint32_t id, const void *data, size_t size,
		 uint32_t *relid)
{
	struct gpadl *gpadl = gpadl_find(table, id);

	if (!gpadl || gpadl_complete(gpadl))
		return -ENOENT;
	*relid = gpadl->relid;
	return gpadl_advance(table, gpadl, data, size);
}

int gpadl_remove(struct gpadl_table *table, uint32_t relid, uint32_t id)
{
	struct gpadl *gpadl = gpadl_find(table, id);

	if (!gpadl || gpadl->relid != relid)
		return -ENOENT;
	pthread_mutex_lock(&table->lock);
	gpadl_free(table, gpadl);
	pthread_mutex_unlock(&table->lock);
	return 0;
}

void gpadl_remove_channel(struct gpadl_table *table, uint32_t relid)
{
	struct gpadl *gpadl;

	pthread_mutex_lock(&table->lock);
	list_for_each(gpadl, &table->gpadls, node)
	{
		if (gpadl->relid == relid)
			gpadl_free(table, gpadl);
	}
	pthread_mutex_unlock(&table->lock);
}

int gpadl_ring_frames(struct gpadl_table *table, uint32_t relid, uint32_t id,
		      const uint64_t **frames, uint32_t *page_count)
{
	struct gpadl *gpadl = gpadl_find_complete(table, relid, id);
	struct gpa_range range;
	uint32_t offset = 0;

	if (!gpadl)
		return -ENOENT;
	if (gpadl->range_count != 1 ||
	    gpa_range_parse((const uint8_t *)gpadl->words, gpadl->word_count * WORD_SIZE, &offset,
			    &range))
		return -EINVAL;
	if (range.byte_offset != 0 || !is_aligned(range.byte_count, VMBUS_PAGE_SIZE))
		return -EINVAL;
	*frames = &gpadl->words[1];
	*page_count = range.frame_count;
	return 0;
}

/* Its ranges were checked when it was made. */
static int gpadl_resolve(const struct gpadl_table *table, const struct gpadl *gpadl,
			 enum gpa_access access, struct iovec *iov, unsigned int max,
			 uint64_t *bytes)
{
	const uint8_t *data = (const uint8_t *)gpadl->words;
	uint32_t size = gpadl->word_count * WORD_SIZE;
	uint32_t offset = 0;
	uint64_t total = 0;
	int used = 0;

	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		struct gpa_range range;
		int r = gpa_range_parse(data, size, &offset, &range);

		if (!r)
			r = gpa_range_resolve(table->gpa, &range, access, iov, (unsigned int)used,
					      max);
		if (r < 0)
			return r;
		used = r;
		total += range.byte_count;
	}
	*bytes = total;
	return used;
}

int gpadl_buffers(struct gpadl_table *table, uint32_t relid, uint32_t id, enum gpa_access access,
		  struct iovec *iov, unsigned int max, uint64_t *bytes)
{
	struct gpadl *gpadl;
	int r = -ENOENT;

	pthread_mutex_lock(&table->lock);
	gpadl = gpadl_find_complete(table, relid, id);
	if (gpadl)
		r = gpadl_resolve(table, gpadl, access, iov, max, bytes);
	pthread_mutex_unlock(&table->lock);
	return r;
}

void gpadl_save(struct gpadl_table *table, struct state_writer *writer)
{
	struct gpadl *gpadl;
	uint32_t index = 0;

	state_begin(writer, "gpadls", GPADL_STATE_VERSION);
	list_for_each(gpadl, &table->gpadls, node)
	{
		char name[32];

		snprintf(name, sizeof(name), "gpadl@%" PRIx32, index++);
		state_begin(writer, name, GPADL_STATE_VERSION);
		state_put_u32(writer, "id", gpadl->id);
		state_put_u32(writer, "relid", gpadl->relid);
		state_put_u32(writer, "ranges", gpadl->range_count);
		state_put_u32(writer, "words", gpadl->word_count);
		state_put_bytes(writer, "received", gpadl->words,
				(size_t)gpadl->words_received * WORD_SIZE);
		state_end(writer);
	}
	state_end(writer);
}

static int gpadl_restore_one(struct gpadl_table *table, const struct state_node *node)
{
	uint32_t id, relid, ranges, words;
	struct gpadl *gpadl;
	const void *data;
	size_t size;
	int r;

	if (state_get_u32(node, "id", &id) || state_get_u32(node, "relid", &relid) ||
	    state_get_u32(node, "ranges", &ranges) || state_get_u32(node, "words", &words))
		return -EINVAL;
	data = state_find_bytes(node, "received", &size);
	if (!data || ranges > UINT16_MAX || words > UINT16_MAX / WORD_SIZE ||
	    size > words * WORD_SIZE)
		return -EINVAL;
	r = gpadl_new(table, relid, id, ranges, words, &gpadl);
	if (r)
		return r;
	r = gpadl_advance(table, gpadl, data, size);
	return r == -EINPROGRESS ? 0 : r;
}

int gpadl_restore(struct gpadl_table *table, const struct state_node *parent)
{
	struct state_node node, child;
	int r = state_child(parent, "gpadls", GPADL_STATE_VERSION, &node);

	for (uint32_t index = 0; !r; index++) {
		char name[32];

		snprintf(name, sizeof(name), "gpadl@%" PRIx32, index);
		r = state_child(&node, name, GPADL_STATE_VERSION, &child);
		if (r == -ENOENT)
			return 0;
		if (!r)
			r = gpadl_restore_one(table, &child);
	}
	gpadl_table_clear(table);
	return r;
}
