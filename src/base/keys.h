#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Keys of a PC's keyboard with the US layout.  A stroke is the make code of AT set 1, which names
 * the key, and what comes before or becomes of it: the bits above are those of a synthetic
 * keyboard's event (devices/vsp/input_wire.h), 16 higher.
 */

#define KEYS_BREAK 0x20000u /* the key is let go */
#define KEYS_E0	   0x40000u

/* The stroke that presses a key, or 0 for one that there is not. */

/* By what X calls it (X11/keysymdef.h; RFC 6143, 7.5.4), shifted or not. */
uint32_t keys_of_keysym(uint32_t keysym);
/* By name: "a", "7", "f1", "ctrl", "enter" ...; whatever the case of its letters. */
uint32_t keys_of_name(const char *name, size_t length);
/* A printable ASCII character, tab or newline; *shift: it needs the shift key. */
uint32_t keys_of_char(char character, bool *shift);

/* The names that there are, in order; NULL past the last. */
const char *keys_name(unsigned int index);
