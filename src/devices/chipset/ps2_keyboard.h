#pragma once

#include "devices/chipset/ps2.h"
#include "devices/vsp/strokes.h"

/*
 * An MF2 keyboard (IBM PS/2 Hardware Interface Technical Reference, Keyboards).  Repetitions of a
 * held key come from whoever holds it, not from here: the typematic rate is kept for the guest to
 * set, and has no effect.
 */

struct ps2_keyboard {
	struct ps2_queue replies; /* to commands; they come before codes */
	struct ps2_queue codes;
	uint8_t set; /* of scan codes: 1 to 3 */
	bool scanning;
	uint8_t leds; /* as set: scroll, num, caps from bit 0 */
	uint8_t typematic;
	uint8_t command; /* that waits for its parameter; 0: none */
	uint8_t last;	 /* byte that the controller took */
};

/* As at power-on, but for the answer of the self test. */
void ps2_keyboard_init(struct ps2_keyboard *keyboard);
/* A byte from the host. */
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte);
/* The next byte for the host; false if there is none. */
bool ps2_keyboard_read(struct ps2_keyboard *keyboard, uint8_t *byte);
/* Whether it takes a stroke: it scans its keys, and the host has taken all before. */
bool ps2_keyboard_ready(const struct ps2_keyboard *keyboard);
void ps2_keyboard_stroke(struct ps2_keyboard *keyboard, const struct keyboard_stroke *stroke);

/* In an open node; a child. */
void ps2_keyboard_save(const struct ps2_keyboard *keyboard, struct state_writer *writer);
int ps2_keyboard_restore(struct ps2_keyboard *keyboard, const struct state_node *parent);
