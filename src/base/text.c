#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* Which second bytes may follow which first ones, and how many bytes there are in all. */
static const struct {
	uint8_t first, last;
	uint8_t second_first, second_last;
	uint8_t length;
} sequences[] = {
	{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static bool is_continuation(char byte)
{
	return ((uint8_t)byte & 0xc0) == 0x80;
}

static size_t sequence(const char *text, size_t kind)
{
	uint8_t second = (uint8_t)text[1];

	if (second < sequences[kind].second_first || second > sequences[kind].second_last)
		return 0;
	/* The NUL is no continuation: nothing is read behind it. */
	for (size_t i = 2; i < sequences[kind].length; i++) {
		if (!is_continuation(text[i]))
			return 0;
	}
	return sequences[kind].length;
}

size_t text_character(const char *text)
{
	uint8_t first = (uint8_t)text[0];

	if (first == 0)
		return 0;
	if (first < 0x80)
		return 1;
	for (size_t kind = 0; kind < ARRAY_LENGTH(sequences); kind++) {
		if (first >= sequences[kind].first && first <= sequences[kind].last)
			return sequence(text, kind);
	}
	return 0;
}

void text_trim(char *text)
{
	size_t end = strlen(text), start = end;

	while (start > 0 && end - start < 3 && is_continuation(text[start - 1]))
		start--;
	if (start > 0 && (uint8_t)text[start - 1] >= 0xc0 && text_character(text + start - 1) == 0)
		text[start - 1] = '\0';
}

json_t *text_json(const char *text)
{
	CLEANUP_FREE char *clean = strdup(text);

	for (char *at = clean; at && *at;) {
		size_t length = text_character(at);

		if (length == 0)
			*at = '?';
		at += length ? length : 1;
	}
	return clean ? json_string(clean) : NULL;
}
