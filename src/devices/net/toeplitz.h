#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The Toeplitz hash of receive side scaling (Microsoft, "RSS Hashing Types"): for every 1 in the
 * input, the 32 bits of the key from there on.  Tables by input byte make it one look-up a byte.
 */

#define TOEPLITZ_KEY_BYTES   40
/* Two IPv6 addresses and two ports. */
#define TOEPLITZ_INPUT_BYTES 36

struct toeplitz {
	uint32_t table[TOEPLITZ_INPUT_BYTES][256];
};

/* key: TOEPLITZ_KEY_BYTES.  Any thread. */
void toeplitz_init(struct toeplitz *toeplitz, const uint8_t *key);

/* size: at most TOEPLITZ_INPUT_BYTES.  Any thread. */
uint32_t toeplitz_hash(const struct toeplitz *toeplitz, const uint8_t *data, size_t size);
