#pragma once

#include "devices/chipset/ps2.h"

/*
 * A PS/2 mouse (IBM PS/2 Hardware Interface Technical Reference, Mouse), which becomes an
 * IntelliMouse with a wheel, and then one with five buttons, where the host asks in the way that
 * is known for it: by the sample rates 200, 100, 80 and 200, 200, 80.
 */

struct ps2_mouse {
	struct ps2_queue replies; /* to commands; they come before packets */
	struct ps2_queue packets;
	uint8_t id; /* 0, 3: with a wheel, 4: with five buttons, too */
	uint8_t rate;
	uint8_t rates[2]; /* that were set before it, the latest first */
	uint8_t resolution;
	bool scaling; /* 2:1 */
	bool reporting;
	bool remote;
	bool wrap;
	uint8_t command; /* that waits for its parameter; 0: none */
	uint8_t last;	 /* byte that the controller took */
	/* Not yet in a packet. */
	int32_t dx, dy, dz; /* right, up, towards the user */
	uint8_t buttons;    /* left, right, middle, back, forward */
	uint8_t told;	    /* of them */
};

void ps2_mouse_init(struct ps2_mouse *mouse);
/* A byte from the host. */
void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte);
/* The next byte for the host; false if there is none. */
bool ps2_mouse_read(struct ps2_mouse *mouse, uint8_t *byte);
/* The mouse moves by so much (dy upwards, dz towards the user), and its buttons are these. */
void ps2_mouse_move(struct ps2_mouse *mouse, int32_t dx, int32_t dy, int32_t dz, uint8_t buttons);

/* In an open node; a child. */
void ps2_mouse_save(const struct ps2_mouse *mouse, struct state_writer *writer);
int ps2_mouse_restore(struct ps2_mouse *mouse, const struct state_node *parent);
