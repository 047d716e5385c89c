#pragma once

#include "devices/vsp/input_wire.h"
#include "devices/vsp/strokes.h"
#include "devices/vsp/synth.h"

/* The synthetic keyboard.  Main loop. */

struct keyboard {
	struct synth synth;
	bool accepted; /* the versions are agreed */
	uint32_t leds; /* KEYBOARD_LED_ bits, as the guest last set them */
	struct strokes strokes;
	/* The guest has set the LEDs; may be NULL. */
	void (*on_leds)(void *context, uint32_t leds);
	void *context;
};

extern const struct synth_ops keyboard_ops;

/* Presses and releases keys: as strokes_put, and -ENOTCONN without a driver. */
int keyboard_type(struct keyboard *keyboard, const struct keyboard_stroke *strokes,
		  unsigned int count);

void keyboard_save(struct keyboard *keyboard, struct state_writer *writer);
int keyboard_restore(struct keyboard *keyboard, const struct state_node *parent);
