#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "tools/vnc.h"

#define FIRST_WIDTH  640u
#define FIRST_HEIGHT 480u
#define ALL_LEDS     7u

int vnc_screen_init(struct vnc_screen *screen, const void *vram)
{
	*screen = (struct vnc_screen){
		.vram = vram,
		.width = FIRST_WIDTH,
		.height = FIRST_HEIGHT,
		.pixels = calloc((size_t)FIRST_WIDTH * FIRST_HEIGHT, sizeof(uint32_t)),
	};
	return screen->pixels ? 0 : -ENOMEM;
}

static uint32_t expand(uint16_t pixel)
{
	uint32_t red = (pixel >> 11) * 255u / 31, green = (pixel >> 5 & 63u) * 255 / 63;

	return red << 16 | green << 8 | (pixel & 31u) * 255 / 31;
}

static void copy_line(const struct vnc_screen *screen, uint32_t x, uint32_t y, uint32_t width)
{
	const uint8_t *from = screen->vram + screen->offset + (size_t)y * screen->pitch +
			      (size_t)x * (screen->depth / 8);
	uint32_t *to = screen->pixels + (size_t)y * screen->width + x;

	if (screen->depth == 32) {
		memcpy(to, from, width * sizeof(*to));
		return;
	}
	for (uint32_t i = 0; i < width; i++) {
		uint16_t pixel;

		memcpy(&pixel, from + i * sizeof(pixel), sizeof(pixel));
		to[i] = expand(pixel);
	}
}

static void copy_area(const struct vnc_screen *screen, const struct vnc_area *area)
{
	for (uint32_t y = area->y; y < area->y + area->height; y++)
		copy_line(screen, area->x, y, area->width);
}

static bool shape_fits(const struct vnc_screen *shape)
{
	uint64_t row = (uint64_t)shape->width * (shape->depth / 8), length;

	if (shape->depth != 16 && shape->depth != 32)
		return false;
	if (shape->width == 0 || shape->width > DISPLAY_WIDTH_MAX || shape->height == 0 ||
	    shape->height > DISPLAY_HEIGHT_MAX || shape->pitch < row)
		return false;
	length = (uint64_t)shape->pitch * (shape->height - 1) + row;
	return range_within(shape->offset, length, DISPLAY_FILE_BYTES);
}

/* width 0 turns it off: black, as large as it was.  Without memory for another picture the one
 * before stays, as if the guest drew no more, until there is a mode for which it is there. */
static int set_mode(struct vnc_screen *screen, const uint32_t *values, uint32_t **old)
{
	struct vnc_screen next = *screen;

	next.width = values[0] ? values[0] : screen->width;
	next.height = values[0] ? values[1] : screen->height;
	next.depth = values[0] ? values[2] : 0;
	next.pitch = values[3];
	next.offset = values[4];
	if (values[0] && !shape_fits(&next))
		return -EPROTO;
	next.dirt = (struct vnc_area){0};
	next.pixels = calloc((size_t)next.width * next.height, sizeof(uint32_t));
	if (!next.pixels) {
		screen->depth = 0;
		screen->dirt = (struct vnc_area){0};
		return VNC_NOTHING;
	}
	*old = screen->pixels;
	*screen = next;
	if (screen->depth)
		copy_area(screen, &(struct vnc_area){0, 0, screen->width, screen->height});
	return VNC_PICTURE;
}

static void add_area(struct vnc_area *area, const struct vnc_area *more)
{
	const struct vnc_area now = *area;

	if (now.width == 0) {
		*area = *more;
		return;
	}
	area->x = MIN(now.x, more->x);
	area->y = MIN(now.y, more->y);
	area->width = MAX(now.x + now.width, more->x + more->width) - area->x;
	area->height = MAX(now.y + now.height, more->y + more->height) - area->y;
}

static int add_dirt(struct vnc_screen *screen, const uint32_t *values)
{
	const struct vnc_area dirt = {values[0], values[1], values[2], values[3]};

	if (!screen->depth)
		return VNC_NOTHING;
	if (!range_within(dirt.x, dirt.width, screen->width) ||
	    !range_within(dirt.y, dirt.height, screen->height))
		return -EPROTO;
	if (dirt.width > 0 && dirt.height > 0)
		add_area(&screen->dirt, &dirt);
	return VNC_NOTHING;
}

bool vnc_screen_refresh(struct vnc_screen *screen, struct vnc_area *area)
{
	if (screen->dirt.width == 0)
		return false;
	copy_area(screen, &screen->dirt);
	*area = screen->dirt;
	screen->dirt = (struct vnc_area){0};
	return true;
}

int vnc_screen_message(struct vnc_screen *screen, const void *data, size_t size, uint32_t **old)
{
	struct display_message message;

	if (size != sizeof(message))
		return -EPROTO;
	memcpy(&message, data, sizeof(message));
	switch (message.type) {
	case DISPLAY_MODE:
		return set_mode(screen, message.values, old);
	case DISPLAY_DIRT:
		return add_dirt(screen, message.values);
	case DISPLAY_LEDS:
		screen->leds = message.values[0] & ALL_LEDS;
		return VNC_NOTHING;
	default:
		return -EPROTO;
	}
}
