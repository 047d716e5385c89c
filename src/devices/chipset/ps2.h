#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/state.h"

/*
 * What a PS/2 keyboard and mouse share: bytes that wait for the controller, and the words that
 * both know.  All under the controller's lock.
 */

#define PS2_QUEUE 32u

/* Commands and answers of both. */
#define PS2_SET_RATE	 0xf3 /* typematic or samples; a parameter follows */
#define PS2_ENABLE	 0xf4
#define PS2_DISABLE	 0xf5
#define PS2_SET_DEFAULTS 0xf6
#define PS2_RESEND	 0xfe
#define PS2_RESET	 0xff
#define PS2_ACK		 0xfa
#define PS2_SELF_TEST_OK 0xaa

struct ps2_queue {
	uint8_t bytes[PS2_QUEUE];
	uint8_t first;
	uint8_t count;
};

static inline void ps2_clear(struct ps2_queue *queue)
{
	*queue = (struct ps2_queue){.count = 0};
}

/* A byte for which there is no room is lost. */
static inline void ps2_put(struct ps2_queue *queue, uint8_t byte)
{
	if (queue->count < PS2_QUEUE)
		queue->bytes[(queue->first + queue->count++) % PS2_QUEUE] = byte;
}

/* False if there is none. */
static inline bool ps2_take(struct ps2_queue *queue, uint8_t *byte)
{
	if (queue->count == 0)
		return false;
	*byte = queue->bytes[queue->first];
	queue->first = (uint8_t)((queue->first + 1) % PS2_QUEUE);
	queue->count--;
	return true;
}

static inline void ps2_save(const struct ps2_queue *queue, struct state_writer *writer,
			    const char *name)
{
	struct ps2_queue from = *queue;
	uint8_t bytes[PS2_QUEUE];
	unsigned int count = 0;

	while (ps2_take(&from, &bytes[count]))
		count++;
	if (count > 0)
		state_put_bytes(writer, name, bytes, count);
}

/* Whether it could be. */
static inline bool ps2_restore(struct ps2_queue *queue, const struct state_node *node,
			       const char *name)
{
	size_t size = 0;
	const void *bytes = state_find_bytes(node, name, &size);

	ps2_clear(queue);
	if (size > PS2_QUEUE)
		return false;
	if (bytes)
		memcpy(queue->bytes, bytes, size);
	queue->count = (uint8_t)size;
	return true;
}
