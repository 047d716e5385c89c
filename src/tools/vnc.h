#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "devices/vsp/display_wire.h"

/*
 * bulkhead-vnc: shows a VM's screen to VNC clients and brings their keys and pointer to the guest.
 * It has a socket to the worker (display_wire.h), the video memory, read-only, and the socket where
 * clients come; nothing else.  It ends when the worker does.
 *
 * Encoders look at a pixel more than once, and the guest draws when it likes: so they get a picture
 * of our own, into which what has changed is copied once.
 *
 * What a viewer sends is heard when a message of its is whole, and what it is sent waits in memory
 * until it takes it: however slow one is, nobody waits for it.
 */

#define VNC_WORKER_FD 3
#define VNC_VRAM_FD   4
#define VNC_LISTEN_FD 5

struct vnc_area {
	uint32_t x, y, width, height;
};

/* The picture: 32 bits a pixel, blue in the lowest. */
struct vnc_screen {
	const uint8_t *vram; /* DISPLAY_FILE_BYTES, and the guest's */
	uint32_t width, height;
	uint32_t depth, pitch, offset; /* of the video memory; depth 0: the screen is off */
	uint32_t *pixels;	       /* malloc'ed */
	struct vnc_area dirt;	       /* has changed in the video memory; width 0: nothing */
	uint32_t leds;		       /* KEYBOARD_LED_ bits */
};

enum vnc_change {
	VNC_NOTHING,
	VNC_PICTURE, /* another one: pixels may be elsewhere */
};

/* A black picture: 0, or -ENOMEM. */
int vnc_screen_init(struct vnc_screen *screen, const void *vram);

/*
 * Acts upon a message of the worker's.  After VNC_PICTURE *old is the memory of the one before,
 * which is the caller's to free.  A message that makes no sense is -EPROTO, and changes nothing.
 */
int vnc_screen_message(struct vnc_screen *screen, const void *data, size_t size, uint32_t **old);

/* Copies the part of the picture that messages since the last time have said has changed, all in
 * one; false if there is none. */
bool vnc_screen_refresh(struct vnc_screen *screen, struct vnc_area *area);

/* What one client has pressed. */
struct vnc_input {
	bool keys[256]; /* by make code, from 128 with E0 */
	uint8_t buttons;
	uint32_t x, y; /* where the pointer was last, as the mouse has it */
};

/* The message for a key that a client presses or lets go; false if there is none to send. */
bool vnc_key(struct vnc_input *input, uint32_t keysym, bool down, struct display_message *message);
/* The release of one that the client still holds; false if there is none. */
bool vnc_release(struct vnc_input *input, struct display_message *message);
/* The message for a pointer at x, y of a picture, with RFB's buttons (RFC 6143, 7.5.5). */
struct display_message vnc_pointer(struct vnc_input *input, const struct vnc_screen *screen, int x,
				   int y, uint8_t buttons);
/* The message that lets go of the buttons at the last place; false if none is held. */
bool vnc_release_buttons(struct vnc_input *input, struct display_message *message);

/* What the worker has yet to be told, for its socket was full: keys that were let go, and where the
 * pointer is.  What is pressed meanwhile is lost. */
struct vnc_debts {
	bool keys[256]; /* as in struct vnc_input: to be released */
	unsigned int key_count;
	bool pointer_due;
	struct display_message pointer;
};

/* A message that could not be sent. */
void vnc_owe(struct vnc_debts *debts, const struct display_message *message);
/* The next to send; false if there is none.  It is owed until vnc_paid. */
bool vnc_debt(const struct vnc_debts *debts, struct display_message *message);
void vnc_paid(struct vnc_debts *debts, const struct display_message *message);

#define VNC_IN_BYTES  8192u	  /* the longest message that is heard */
#define VNC_OUT_BYTES (64u << 20) /* the largest picture, however encoded */

/* Answers to messages, of which a viewer may send any number, wait apart from pictures, of which
 * there is one at a time: 40 colour maps. */
#define VNC_ANSWERS_MAX (64u << 10)

/* How long a viewer in its handshake may keep silent. */
#define VNC_SILENCE_NS (30 * 1000000000ull)

/* The bytes to and from a viewer; starts as zeroes, but for fd. */
struct vnc_line {
	int fd;	    /* of a socket that does not block */
	bool ended; /* nothing more comes */
	size_t in_count;
	uint32_t skip; /* bytes of a text that are still to come */
	uint8_t *out;  /* malloc'ed */
	size_t out_size, out_sent;
	uint64_t heard; /* when it last was, or was still to take something: ns */
	size_t unread;	/* of answers, since it last had taken all */
	uint8_t in[VNC_IN_BYTES];
};

/* Takes what has come, as far as there is room. */
void vnc_line_receive(struct vnc_line *line);
/* The size of the whole message at the start of in, 0 while there is none, -EPROTO for one that is
 * not spoken here.  fixed: the size of the next, or 0 when the handshake is over. */
ssize_t vnc_line_message(struct vnc_line *line, size_t fixed);
/* That message has been dealt with. */
void vnc_line_taken(struct vnc_line *line, size_t size);
/* Where to put so many more bytes to send, which there must then be; NULL without memory, or when
 * too many wait. */
uint8_t *vnc_line_room(struct vnc_line *line, size_t size);
/* So many of the bytes that wait answer a message.  False for a viewer that has not taken
 * VNC_ANSWERS_MAX of them, which is to be cut off. */
bool vnc_line_answered(struct vnc_line *line, size_t size);
/* Sends what the viewer takes. */
void vnc_line_send(struct vnc_line *line);
/* Whether anything waits to be sent. */
bool vnc_line_waits(const struct vnc_line *line);
/* How many ns it may still keep silent at that time of CLOCK_MONOTONIC, in its handshake: 0 when it
 * is to be cut off. */
uint64_t vnc_line_patience(const struct vnc_line *line, uint64_t now);
/* Forgets what waits. */
void vnc_line_drop(struct vnc_line *line);
