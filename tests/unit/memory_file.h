#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "devices/block/image_file.h"

/*
 * A file in memory that remembers what was done to it: so that it can be put into each state that a
 * kill or a power cut would have left, and that failures can be ordered.
 */

#define MEMORY_FILE_BYTES (1ull << 36)
#define MEMORY_SECTOR	  512u

enum memory_event_kind {
	MEMORY_WRITE,
	MEMORY_ZERO,
	MEMORY_FLUSH,
	MEMORY_LENGTH, /* offset: the new length */
};

struct memory_event {
	enum memory_event_kind kind;
	uint64_t offset;
	uint64_t length;
	uint8_t *data; /* WRITE: what was written */
};

/* What a change overwrote. */
struct memory_undo {
	uint64_t offset;
	uint64_t length;
	uint64_t file_length;
	uint8_t *data;
};

struct memory_file {
	struct image_file file;
	uint8_t *bytes; /* beyond length: zeroes */
	uint64_t length;
	struct memory_event *events;
	unsigned int event_count;
	struct memory_undo *undos;
	unsigned int undo_count;
	bool recording;
	bool undoing;
	unsigned int calls;		 /* writes and flushes */
	unsigned int fail_from, fail_to; /* which of them fail */
	int error;
};

static inline struct memory_file *memory_of(struct image_file *file)
{
	return container_of(file, struct memory_file, file);
}

static inline bool memory_fails(struct memory_file *memory)
{
	unsigned int call = memory->calls++;

	return memory->error && call >= memory->fail_from && call < memory->fail_to;
}

static inline void memory_record(struct memory_file *memory, enum memory_event_kind kind,
				 uint64_t offset, uint64_t length, const void *data)
{
	struct memory_event *event;

	if (!memory->recording)
		return;
	if ((memory->event_count & (memory->event_count + 1)) == 0)
		memory->events = realloc(memory->events,
					 (memory->event_count + 1) * 2 * sizeof(*memory->events));
	event = &memory->events[memory->event_count++];
	*event = (struct memory_event){.kind = kind, .offset = offset, .length = length};
	if (kind == MEMORY_WRITE) {
		event->data = malloc(length);
		memcpy(event->data, data, length);
	}
}

static inline void memory_keep(struct memory_file *memory, uint64_t offset, uint64_t length)
{
	struct memory_undo *undo;

	if (!memory->undoing)
		return;
	if ((memory->undo_count & (memory->undo_count + 1)) == 0)
		memory->undos = realloc(memory->undos,
					(memory->undo_count + 1) * 2 * sizeof(*memory->undos));
	undo = &memory->undos[memory->undo_count++];
	*undo = (struct memory_undo){
		.offset = offset, .length = length, .file_length = memory->length};
	undo->data = malloc(length);
	memcpy(undo->data, memory->bytes + offset, length);
}

/* data NULL: zeroes, which make the file no longer. */
static inline void memory_put(struct memory_file *memory, uint64_t offset, const void *data,
			      uint64_t length)
{
	memory_keep(memory, offset, length);
	if (data) {
		memcpy(memory->bytes + offset, data, length);
		memory->length = MAX(memory->length, offset + length);
	} else {
		memset(memory->bytes + offset, 0, length);
	}
}

static inline void memory_cut(struct memory_file *memory, uint64_t length)
{
	uint64_t gone = memory->length > length ? memory->length - length : 0;

	memory_keep(memory, length, gone);
	memset(memory->bytes + length, 0, gone);
	memory->length = length;
}

/* Takes back all changes since undoing was set. */
static inline void memory_undo_all(struct memory_file *memory)
{
	while (memory->undo_count > 0) {
		struct memory_undo *undo = &memory->undos[--memory->undo_count];

		memcpy(memory->bytes + undo->offset, undo->data, undo->length);
		memory->length = undo->file_length;
		free(undo->data);
	}
	memory->undoing = false;
	free(memory->undos);
	memory->undos = NULL;
}

static int memory_read(struct image_file *file, uint64_t offset, void *data, size_t length)
{
	struct memory_file *memory = memory_of(file);

	if (!range_within(offset, length, memory->length))
		return -EIO;
	memcpy(data, memory->bytes + offset, length);
	return 0;
}

static int memory_write_one(struct memory_file *memory, const struct image_write *write)
{
	uint64_t offset = write->offset;

	if (!range_within(offset, write->length, MEMORY_FILE_BYTES))
		return -EFBIG;
	if (memory_fails(memory))
		return memory->error;
	if (!write->iov) {
		uint64_t end = MIN(offset + write->length, memory->length);

		if (end > offset) {
			memory_record(memory, MEMORY_ZERO, offset, end - offset, NULL);
			memory_put(memory, offset, NULL, end - offset);
		}
		return 0;
	}
	for (unsigned int i = 0; i < write->iov_count; i++) {
		memory_record(memory, MEMORY_WRITE, offset, write->iov[i].iov_len,
			      write->iov[i].iov_base);
		memory_put(memory, offset, write->iov[i].iov_base, write->iov[i].iov_len);
		offset += write->iov[i].iov_len;
	}
	return 0;
}

static void memory_write(struct image_file *file, struct image_write *writes, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		writes[i].result = memory_write_one(memory_of(file), &writes[i]);
}

static int memory_flush(struct image_file *file)
{
	struct memory_file *memory = memory_of(file);

	if (memory_fails(memory))
		return memory->error;
	memory_record(memory, MEMORY_FLUSH, 0, 0, NULL);
	return 0;
}

static int memory_truncate(struct image_file *file, uint64_t length)
{
	struct memory_file *memory = memory_of(file);

	if (length > MEMORY_FILE_BYTES)
		return -EFBIG;
	memory_record(memory, MEMORY_LENGTH, length, 0, NULL);
	memory_cut(memory, length);
	return 0;
}

static int memory_allocate(struct image_file *file, uint64_t offset, uint64_t length)
{
	struct memory_file *memory = memory_of(file);

	if (!range_within(offset, length, MEMORY_FILE_BYTES))
		return -EFBIG;
	if (offset + length > memory->length)
		return memory_truncate(file, offset + length);
	return 0;
}

static const struct image_file_ops memory_ops = {
	.read = memory_read,
	.write = memory_write,
	.flush = memory_flush,
	.truncate = memory_truncate,
	.allocate = memory_allocate,
};

static inline void memory_file_init(struct memory_file *memory)
{
	*memory = (struct memory_file){.file = {.ops = &memory_ops}};
	memory->bytes = mmap(NULL, MEMORY_FILE_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory->bytes == MAP_FAILED)
		abort();
}

static inline void memory_file_free(struct memory_file *memory)
{
	memory_undo_all(memory);
	for (unsigned int i = 0; i < memory->event_count; i++)
		free(memory->events[i].data);
	free(memory->events);
	munmap(memory->bytes, MEMORY_FILE_BYTES);
}

/* Does again, up to length bytes, what was recorded. */
static inline void memory_replay(struct memory_file *memory, const struct memory_event *event,
				 uint64_t length)
{
	length = MIN(length, event->length);
	switch (event->kind) {
	case MEMORY_WRITE:
		memory_put(memory, event->offset, event->data, length);
		break;
	case MEMORY_ZERO:
		/* A hole beyond a length that did not become stable. */
		if (event->offset < memory->length)
			memory_put(memory, event->offset, NULL,
				   MIN(length, memory->length - event->offset));
		break;
	case MEMORY_LENGTH:
		memory_cut(memory, event->offset);
		break;
	case MEMORY_FLUSH:
		break;
	}
}
