#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Scan codes of a PC's keyboard (IBM PS/2 Hardware Interface Technical Reference; Brouwer,
 * "Keyboard scancodes").
 */

/* What the 8042 makes of a byte of set 2: the code of set 1, or the byte itself. */
uint8_t ps2_scan_translate(uint8_t set2);
/* Make codes of sets 2 and 3 for one of set 1, 1 to 0x7f; extended: it has an E0.  0 for a key
 * that set 3 does not know. */
uint8_t ps2_scan_set2(uint8_t set1);
uint8_t ps2_scan_set3(uint8_t set1, bool extended);
