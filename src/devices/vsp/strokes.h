#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

/* Strokes of a keyboard that wait for a guest to take them.  Main loop. */

#define STROKES_MAX 1024u
#define STROKE_KEYS 512u /* make codes without and with E0, E1 */

struct keyboard_stroke {
	uint16_t make_code; /* AT set 1, 1 to 0x7f */
	uint16_t info;	    /* KEYBOARD_BREAK, _E0, _E1 */
};

struct strokes {
	struct keyboard_stroke ring[STROKES_MAX];
	unsigned int first;
	unsigned int count;
	bool down[STROKE_KEYS]; /* by the last stroke that was taken in */
	unsigned int held;	/* of them */
	uint64_t dropped;
};

bool keyboard_stroke_valid(const struct keyboard_stroke *stroke);

/*
 * Takes in all of them or none: -EINVAL for a code that there is not, -ENOBUFS while too many wait.
 * For the release of each key that is down there always is room.  A key that is held and pressed
 * again is a repetition, which is left out while others wait.
 */
int strokes_put(struct strokes *strokes, const struct keyboard_stroke *more, unsigned int count);
/* Whether the stroke releases a key that is down by those that were taken in. */
bool strokes_releases(const struct strokes *strokes, const struct keyboard_stroke *stroke);

/* The first that waits, until strokes_taken; NULL for none. */
const struct keyboard_stroke *strokes_next(const struct strokes *strokes);
void strokes_taken(struct strokes *strokes);

/* No stroke waits, and no key is down. */
void strokes_clear(struct strokes *strokes);

/* Properties in an open node: all but how many were dropped. */
void strokes_save(const struct strokes *strokes, struct state_writer *writer);
/* -EINVAL leaves none. */
int strokes_restore(struct strokes *strokes, const struct state_node *node);
