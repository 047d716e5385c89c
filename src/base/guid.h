#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GUID_TEXT_SIZE 37

/* A GUID as it lies in memory on the wire: first three fields little-endian. */
struct guid {
	uint8_t bytes[16];
};

/* A constant, its fields as the text form writes them: GUID_INIT(0x12345678, 0x1234, 0x1234, 8
 * bytes). */
#define GUID_INIT(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                         \
	{                                                                                          \
		{                                                                                  \
			(a) & 0xff, ((a) >> 8) & 0xff, ((a) >> 16) & 0xff, ((a) >> 24) & 0xff,     \
				(b)&0xff, ((b) >> 8) & 0xff, (c)&0xff, ((c) >> 8) & 0xff, (d0),    \
				(d1), (d2), (d3), (d4), (d5), (d6), (d7)                           \
		}                                                                                  \
	}

bool guid_equal(const struct guid *a, const struct guid *b);

/* Writes the 36 lower-case characters and a NUL. */
void guid_format(const struct guid *guid, char text[GUID_TEXT_SIZE]);

/* Reads the 36-character form, either case; -EINVAL, with *out untouched, for any other text. */
int guid_parse(const char *text, struct guid *out);

/* A random (version 4) GUID; -errno if the kernel gives no randomness. */
int guid_random(struct guid *out);
