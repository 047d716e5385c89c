#include "base/guid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Which byte each pair of hex digits stands for: the first three fields are little-endian. */
static const uint8_t byte_order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

static int is_dash(int position)
{
	return position == 8 || position == 13 || position == 18 || position == 23;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool guid_equal(const struct guid *a, const struct guid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void guid_format(const struct guid *guid, char text[GUID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *p = text;

	for (int i = 0; i < 16; i++) {
		uint8_t byte = guid->bytes[byte_order[i]];

		if (is_dash((int)(p - text)))
			*p++ = '-';
		*p++ = digits[byte >> 4];
		*p++ = digits[byte & 15];
	}
	*p = '\0';
}

int guid_parse(const char *text, struct guid *out)
{
	struct guid guid;
	int position = 0;

	if (strlen(text) != GUID_TEXT_SIZE - 1)
		return -EINVAL;
	for (int i = 0; i < 16; i++) {
		int high, low;

		if (is_dash(position) && text[position++] != '-')
			return -EINVAL;
		high = hex_value(text[position++]);
		low = hex_value(text[position++]);
		if (high < 0 || low < 0)
			return -EINVAL;
		guid.bytes[byte_order[i]] = (uint8_t)(high << 4 | low);
	}
	*out = guid;
	return 0;
}

int guid_random(struct guid *out)
{
	struct guid guid;
	ssize_t got = getrandom(&guid, sizeof(guid), 0);

	if (got != (ssize_t)sizeof(guid))
		return got < 0 ? -errno : -EIO;
	guid.bytes[7] = (guid.bytes[7] & 0x0f) | 0x40;
	guid.bytes[8] = (guid.bytes[8] & 0x3f) | 0x80;
	*out = guid;
	return 0;
}
