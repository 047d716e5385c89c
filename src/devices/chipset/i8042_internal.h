#pragma once

#include <pthread.h>

#include "base/event_loop.h"
#include "devices/chipset/ps2_keyboard.h"
#include "devices/chipset/ps2_mouse.h"
#include "devices/desktop.h"
#include "devices/device.h"
#include "vmm/irq.h"

/*
 * The keyboard controller of a PC/AT with a second port for a mouse (IBM PS/2 Hardware Interface
 * Technical Reference, Keyboard and Auxiliary Device Controller), in two halves: i8042.c is the
 * chip as the guest sees it, on VP threads; i8042_host.c brings it keys and pointer, on the main
 * loop.
 */

#define I8042_RAM 32u

struct i8042_reply {
	uint8_t byte;
	bool aux; /* as if the mouse had sent it */
};

struct i8042_registers {
	uint8_t ram[I8042_RAM]; /* the command byte is the first */
	uint8_t output_port;
	uint8_t command;    /* that waits for its parameter; 0: none */
	bool wrote_command; /* by the last write */
	bool full;	    /* the output buffer is */
	bool aux;	    /* its byte is of the mouse */
	uint8_t output;
	bool release; /* the byte before was the F0 of set 2, which translation swallows */
	bool reply_due;
	struct i8042_reply reply; /* the controller's own byte, when the buffer is empty */
};

struct i8042 {
	struct device_env env;
	struct irq_level *keyboard_irq;
	struct irq_level *mouse_irq;

	/* Everything from here to the next comment, between VPs and the loop; irq_level's lock is
	 * taken under it. */
	pthread_mutex_t lock;
	struct i8042_registers regs;
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	bool strokes_wait; /* for the keyboard to have been read */

	/* The loop's own. */
	struct strokes strokes;
	bool placed; /* the pointer has been somewhere */
	uint16_t x, y;
	int wake_fd; /* VPs signal it */
	struct event_source *wake;
	struct event_source *pace;
	bool pacing; /* the timer is armed */
};

/* i8042.c; with the lock held, any thread. */

/* A key or the pointer may have bytes: fills the output buffer, and sets the interrupts. */
void i8042_update(struct i8042 *chip);
/* Whether the keyboard takes a stroke, and the guest has read the one before. */
bool i8042_takes_stroke(const struct i8042 *chip);
/* As at power-on. */
void i8042_init(struct i8042 *chip);

/* i8042_host.c. */

/* -errno; the chip is otherwise made.  Main loop. */
int i8042_host_open(struct i8042 *chip);
void i8042_host_close(struct i8042 *chip);
/* Forgets what waits.  Main loop, VPs paused. */
void i8042_host_reset(struct i8042 *chip);
/* Something of the chip has changed of which the loop is to hear.  Any thread. */
void i8042_host_wake(struct i8042 *chip);
/* After a restore: strokes may wait, and LEDs be others.  Main loop, VPs paused. */
void i8042_host_restored(struct i8042 *chip);
/* Gives the keyboard the next stroke, if it takes one.  Main loop. */
void i8042_host_feed(struct i8042 *chip);
