#pragma once

#include <assert.h>
#include <stdint.h>

/*
 * What the worker's display device and a viewer (bulkhead-vnc) say to each other over a pair of
 * SOCK_SEQPACKET sockets: each message one struct display_message, in the machine's byte order.  A
 * viewer has the video memory as a read-only file, DISPLAY_FILE_BYTES long: first the guest's, then
 * as much again for what the worker draws.  Neither trusts the other.
 */

#define DISPLAY_VRAM_BYTES (16u << 20)
#define DISPLAY_FILE_BYTES (2 * DISPLAY_VRAM_BYTES)
#define DISPLAY_WIDTH_MAX  4096u
#define DISPLAY_HEIGHT_MAX 4096u

enum display_message_type {
	/* Worker to viewer. */
	DISPLAY_MODE = 1, /* width (0: off), height, depth, pitch, offset */
	DISPLAY_DIRT = 2, /* x, y, width, height within the mode */
	DISPLAY_LEDS = 3, /* KEYBOARD_LED_ bits */
	/* Viewer to worker. */
	DISPLAY_KEY = 16,     /* make code of AT set 1, KEYBOARD_ info bits */
	DISPLAY_POINTER = 17, /* x and y from 0 to 32767, buttons, wheel and pan as bytes */
};

struct display_message {
	uint32_t type;
	uint32_t values[5];
};
static_assert(sizeof(struct display_message) == 24, "no padding");
