#include "base/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t length, char *text)
{
	const uint8_t *bytes = data;

	for (size_t at = 0; at < length; at += 3) {
		size_t left = length - at;
		uint32_t group = (uint32_t)bytes[at] << 16 |
				 (uint32_t)(left > 1 ? bytes[at + 1] : 0) << 8 |
				 (left > 2 ? bytes[at + 2] : 0);

		*text++ = alphabet[group >> 18];
		*text++ = alphabet[group >> 12 & 63];
		*text++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
		*text++ = left > 2 ? alphabet[group & 63] : '=';
	}
	*text = '\0';
}

static int digit(char character)
{
	const char *found = character ? strchr(alphabet, character) : NULL;

	return found ? (int)(found - alphabet) : -1;
}

/* Four characters into up to three bytes: how many, or 0. */
static size_t decode_group(const char *text, uint8_t bytes[3])
{
	int digits[4];
	size_t count = text[3] != '=' ? 4 : text[2] != '=' ? 3 : 2;
	uint32_t group = 0;

	for (size_t i = 0; i < 4; i++) {
		digits[i] = i < count ? digit(text[i]) : 0;
		if (digits[i] < 0)
			return 0;
		group = group << 6 | (uint32_t)digits[i];
	}
	/* What the bits behind the last byte are has to be settled: RFC 4648, section 3.5. */
	if (count < 4 && group & (count == 3 ? 0xffu : 0xffffu))
		return 0;
	bytes[0] = (uint8_t)(group >> 16);
	bytes[1] = (uint8_t)(group >> 8);
	bytes[2] = (uint8_t)group;
	return count - 1;
}

int base64_decode(const char *text, void *data, size_t size, size_t *length)
{
	size_t characters = strlen(text);
	uint8_t *out = data;
	size_t written = 0;

	if (characters % 4)
		return -EINVAL;
	for (size_t at = 0; at < characters; at += 4) {
		uint8_t bytes[3];
		size_t count = decode_group(text + at, bytes);

		if (!count || (count < 3 && at + 4 < characters))
			return -EINVAL;
		if (count > size - written)
			return -E2BIG;
		memcpy(out + written, bytes, count);
		written += count;
	}
	*length = written;
	return 0;
}
