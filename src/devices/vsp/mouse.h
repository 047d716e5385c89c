#pragma once

#include "devices/vsp/input_wire.h"
#include "devices/vsp/synth.h"

/* The synthetic mouse: a HID pointer with absolute places, five buttons and two wheels.  Main
 * loop. */

#define MOUSE_RANGE   32767u /* a place is from 0 to this across the screen */
#define MOUSE_BUTTONS 0x1fu  /* left, right, middle, back, forward */

enum mouse_state {
	MOUSE_CLOSED,
	MOUSE_OFFERED,	 /* open, nothing agreed */
	MOUSE_DESCRIBED, /* the driver has the descriptor, and is to say so */
	MOUSE_READY,
	MOUSE_STATES,
};

struct mouse {
	struct synth synth;
	enum mouse_state state;
	bool late; /* the last report waits for room */
	struct mouse_report last;
	uint64_t dropped; /* reports that a later one took the place of */
};

extern const struct synth_ops mouse_ops;

/* Where the pointer is, and its buttons: -EINVAL for what there is not, -ENOTCONN without a
 * driver.  What a slow driver has not heard of yet gives way to the next. */
int mouse_move(struct mouse *mouse, const struct mouse_report *report);

void mouse_save(struct mouse *mouse, struct state_writer *writer);
int mouse_restore(struct mouse *mouse, const struct state_node *parent);
