#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/vsp/input_wire.h"
#include "devices/vsp/strokes.h"
#include "devices/vsp/video.h"

/*
 * Where the synthetic screen, keyboard and mouse (the device "display", which has the viewer) meet
 * those of a PC, which a guest uses until its drivers for the synthetic ones run.  The worker has
 * one per VM; each side fills its own part in when it is made and empties it when it goes, in any
 * order.  Main loop.
 */

/* The PC's keyboard and mouse; type is NULL where there are none. */
struct desktop_input {
	/* As strokes_put. */
	int (*type)(void *context, const struct keyboard_stroke *strokes, unsigned int count);
	/* Whether the stroke releases a key that is held there. */
	bool (*releases)(void *context, const struct keyboard_stroke *stroke);
	/* Across a screen of so many pixels; report is valid. */
	void (*move)(void *context, const struct mouse_report *report, uint32_t width,
		     uint32_t height);
	uint32_t leds; /* KEYBOARD_LED_ bits, as the guest last set them */
	void *context;
};

/* What the PC's video adapter shows; draw is NULL where there is none. */
struct desktop_screen {
	/* In the file of video memory, behind the guest's part. */
	struct video_mode mode;
	/* Where the guest sees its memory as memory; 0: nowhere. */
	uint64_t linear_at;
	/* Brings mode and picture up to date. */
	void (*draw)(void *context);
	/* Answers with the text on the screen: {"columns", "rows", "lines": [without the blanks at
	 * their ends], "cursor_column" and "cursor_row" where it is shown}. */
	void (*text)(void *context, struct device_call *call);
	/* Struct desktop's watched has changed. */
	void (*on_watched)(void *context);
	void *context;
};

/* Who shows it all; the functions are NULL where nobody does. */
struct desktop_viewer {
	/* The PC's keyboard has other LEDs. */
	void (*on_leds)(void *context);
	/* The adapter's picture has another mode, or a part of it has changed. */
	void (*on_mode)(void *context);
	void (*on_dirt)(void *context, const struct video_area *area);
	void *context;
};

struct desktop {
	struct desktop_input input;
	struct desktop_screen screen;
	struct desktop_viewer viewer;
	bool watched; /* somebody wants to hear of the adapter's picture */
};
