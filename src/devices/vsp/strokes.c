#include "devices/vsp/strokes.h"

#include <errno.h>
#include <string.h>

#include "devices/vsp/input_wire.h"

#define MAKE_CODE_MAX 0x7fu
#define STROKE_INFO   (KEYBOARD_BREAK | KEYBOARD_E0 | KEYBOARD_E1)

bool keyboard_stroke_valid(const struct keyboard_stroke *stroke)
{
	return stroke->make_code > 0 && stroke->make_code <= MAKE_CODE_MAX &&
	       !(stroke->info & ~STROKE_INFO);
}

static unsigned int key_of(const struct keyboard_stroke *stroke)
{
	return stroke->make_code | (stroke->info & KEYBOARD_E0 ? 0x80 : 0) |
	       (stroke->info & KEYBOARD_E1 ? 0x100 : 0);
}

static struct keyboard_stroke *stroke_at(struct strokes *strokes, unsigned int index)
{
	return &strokes->ring[(strokes->first + index) % STROKES_MAX];
}

/* False if there is no room. */
static bool put(struct strokes *strokes, const struct keyboard_stroke *stroke)
{
	bool *down = &strokes->down[key_of(stroke)];
	bool press = !(stroke->info & KEYBOARD_BREAK);
	unsigned int held = strokes->held + press - *down;

	if (press && *down && strokes->count > 0) {
		strokes->dropped++;
		return true;
	}
	if (strokes->count + 1 + held > STROKES_MAX)
		return false;
	*stroke_at(strokes, strokes->count++) = *stroke;
	*down = press;
	strokes->held = held;
	return true;
}

int strokes_put(struct strokes *strokes, const struct keyboard_stroke *more, unsigned int count)
{
	const unsigned int waiting = strokes->count, held = strokes->held;
	bool down[STROKE_KEYS];

	for (unsigned int i = 0; i < count; i++) {
		if (!keyboard_stroke_valid(&more[i]))
			return -EINVAL;
	}
	memcpy(down, strokes->down, sizeof(down));
	for (unsigned int i = 0; i < count; i++) {
		if (put(strokes, &more[i]))
			continue;
		strokes->count = waiting;
		strokes->held = held;
		memcpy(strokes->down, down, sizeof(down));
		strokes->dropped += count;
		return -ENOBUFS;
	}
	return 0;
}

bool strokes_releases(const struct strokes *strokes, const struct keyboard_stroke *stroke)
{
	return keyboard_stroke_valid(stroke) && stroke->info & KEYBOARD_BREAK &&
	       strokes->down[key_of(stroke)];
}

const struct keyboard_stroke *strokes_next(const struct strokes *strokes)
{
	return strokes->count > 0 ? &strokes->ring[strokes->first] : NULL;
}

void strokes_taken(struct strokes *strokes)
{
	strokes->first = (strokes->first + 1) % STROKES_MAX;
	strokes->count--;
}

void strokes_clear(struct strokes *strokes)
{
	strokes->first = 0;
	strokes->count = 0;
	strokes->held = 0;
	memset(strokes->down, 0, sizeof(strokes->down));
}

/* The keys that are held, by their numbers in down. */
static void save_down(const struct strokes *strokes, struct state_writer *writer)
{
	uint16_t keys[STROKE_KEYS];
	unsigned int count = 0;

	for (unsigned int key = 0; key < STROKE_KEYS; key++) {
		if (strokes->down[key])
			keys[count++] = (uint16_t)key;
	}
	if (count > 0)
		state_put_bytes(writer, "down", keys, count * sizeof(keys[0]));
}

void strokes_save(const struct strokes *strokes, struct state_writer *writer)
{
	struct keyboard_stroke waiting[STROKES_MAX];

	for (unsigned int i = 0; i < strokes->count; i++)
		waiting[i] = strokes->ring[(strokes->first + i) % STROKES_MAX];
	if (strokes->count > 0)
		state_put_bytes(writer, "strokes", waiting, strokes->count * sizeof(waiting[0]));
	save_down(strokes, writer);
}

/* The strokes that wait, if they are any. */
static int restore_waiting(struct strokes *strokes, const struct state_node *node)
{
	size_t size = 0;
	const void *waiting = state_find_bytes(node, "strokes", &size);
	unsigned int count = (unsigned int)(size / sizeof(struct keyboard_stroke));

	if (size > sizeof(strokes->ring) || size % sizeof(struct keyboard_stroke))
		return -EINVAL;
	if (waiting)
		memcpy(strokes->ring, waiting, size);
	for (; strokes->count < count; strokes->count++) {
		if (!keyboard_stroke_valid(&strokes->ring[strokes->count]))
			return -EINVAL;
	}
	return 0;
}

/* Those that were held, if there are any: strokes and their releases have room. */
static int restore_down(struct strokes *strokes, const struct state_node *node)
{
	uint16_t keys[STROKE_KEYS];
	size_t size = 0;
	const void *down = state_find_bytes(node, "down", &size);

	if (size > sizeof(keys) || size % sizeof(keys[0]))
		return -EINVAL;
	if (down)
		memcpy(keys, down, size);
	for (size_t i = 0; i < size / sizeof(keys[0]); i++) {
		if (keys[i] >= STROKE_KEYS || strokes->down[keys[i]])
			return -EINVAL;
		strokes->down[keys[i]] = true;
		strokes->held++;
	}
	return strokes->count + strokes->held > STROKES_MAX ? -EINVAL : 0;
}

int strokes_restore(struct strokes *strokes, const struct state_node *node)
{
	int r;

	strokes_clear(strokes);
	r = restore_waiting(strokes, node);
	if (r == 0)
		r = restore_down(strokes, node);
	if (r < 0)
		strokes_clear(strokes);
	return r;
}
