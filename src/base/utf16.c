#include "base/utf16.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

#define HIGH_FIRST  0xd800u
#define LOW_FIRST   0xdc00u
#define LOW_LAST    0xdfffu
#define PLANE_FIRST 0x10000u
#define REPLACEMENT 0xfffdu

/* The code point of a character of length bytes that text_character has checked. */
static uint32_t code_point(const char *text, size_t length)
{
	static const uint8_t first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t point = (uint8_t)text[0] & first_mask[length];

	for (size_t i = 1; i < length; i++)
		point = point << 6 | ((uint8_t)text[i] & 0x3f);
	return point;
}

/* Its bytes in UTF-16, 0 for what is no UTF-8, counted over the whole text with the NUL. */
static size_t encoded_size(const char *text)
{
	size_t size = 2, length;

	for (; *text; text += length) {
		length = text_character(text);
		if (length == 0)
			return 0;
		size += length == 4 ? 4 : 2;
	}
	return size;
}

int utf16_encode(const char *text, void *out, size_t size)
{
	size_t needed = encoded_size(text), length;
	uint8_t *next = out;

	if (needed == 0)
		return -EILSEQ;
	if (needed > size)
		return -E2BIG;
	memset(out, 0, size);
	for (; *text; text += length) {
		uint32_t point;

		length = text_character(text);
		point = code_point(text, length);
		if (point >= PLANE_FIRST) {
			point -= PLANE_FIRST;
			put_le16(next, (uint16_t)(HIGH_FIRST | point >> 10));
			next += 2;
			point = LOW_FIRST | (point & 0x3ff);
		}
		put_le16(next, (uint16_t)point);
		next += 2;
	}
	return (int)needed;
}

/* Takes the next code point off the units; false at the NUL or the end. */
static bool next_point(const uint8_t **data, const uint8_t *end, uint32_t *point)
{
	uint16_t unit, low;

	if (end - *data < 2)
		return false;
	unit = get_le16(*data);
	*data += 2;
	*point = unit;
	if (unit < HIGH_FIRST || unit > LOW_LAST)
		return unit != 0;
	low = end - *data >= 2 ? get_le16(*data) : 0;
	if (unit >= LOW_FIRST || low < LOW_FIRST || low > LOW_LAST) {
		*point = REPLACEMENT;
		return true;
	}
	*data += 2;
	*point = PLANE_FIRST + ((uint32_t)(unit - HIGH_FIRST) << 10) + (low - LOW_FIRST);
	return true;
}

static size_t put_point(uint32_t point, uint8_t *out)
{
	size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < PLANE_FIRST ? 3 : 4;
	static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = length - 1; i > 0; i--) {
		out[i] = (uint8_t)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	out[0] = (uint8_t)(first[length] | point);
	return length;
}

int utf16_decode(const void *data, size_t size, char *out, size_t out_size)
{
	const uint8_t *next = data, *end = next + size;
	uint8_t character[4];
	size_t length = 0;
	uint32_t point;

	while (next_point(&next, end, &point))
		length += put_point(point, character);
	if (length >= out_size)
		return -E2BIG;
	next = data;
	length = 0;
	while (next_point(&next, end, &point))
		length += put_point(point, (uint8_t *)out + length);
	out[length] = '\0';
	return (int)length;
}
