#include "mgmt/columns.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/text.h"

#define COLUMNS_MAX 16u
#define GAP	    2u
#define NARROW	    6u /* than that no column is made */
#define ELLIPSIS    "\xe2\x80\xa6"

size_t columns_terminal(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

/* Unicode's wide characters (East Asian Width W and F, and pictures), and those that take no column
 * of their own: coarse, as terminals differ in detail. */
static const struct {
	uint32_t first, last;
	unsigned int columns;
} ranges[] = {
	{0x0300, 0x036f, 0},   {0x1100, 0x115f, 2},   {0x200b, 0x200f, 0},   {0x20d0, 0x20ff, 0},
	{0x2e80, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe00, 0xfe0f, 0},
	{0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},   {0x1f300, 0x1f64f, 2},
	{0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
};

/* The character that text begins with, of so many bytes. */
static uint32_t code_point(const char *text, size_t bytes)
{
	uint32_t code = (uint8_t)text[0] & (bytes > 1 ? 0x7fu >> bytes : 0x7fu);

	for (size_t i = 1; i < bytes; i++)
		code = code << 6 | ((uint8_t)text[i] & 0x3f);
	return code;
}

/* How many columns it takes; what is no UTF-8 is shown as '?'. */
static size_t character_width(const char *text, size_t bytes)
{
	uint32_t code = bytes ? code_point(text, bytes) : 0;

	for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
		if (code >= ranges[i].first && code <= ranges[i].last)
			return ranges[i].columns;
	}
	return 1;
}

static size_t text_width(const char *text)
{
	size_t width = 0;

	while (*text) {
		size_t bytes = text_character(text);

		width += character_width(text, bytes);
		text += bytes ? bytes : 1;
	}
	return width;
}

static void put_character(const char *text, size_t bytes)
{
	unsigned char first = (unsigned char)text[0];
	/* U+0080 to U+009F are controls too. */
	bool control = first < 0x20 || first == 0x7f || !bytes ||
		       (first == 0xc2 && (unsigned char)text[1] < 0xa0);

	if (control)
		putchar('?');
	else
		fwrite(text, 1, bytes, stdout);
}

size_t columns_text(const char *text, size_t limit)
{
	bool cut = limit && text_width(text) > limit;
	size_t shown = 0;

	while (*text) {
		size_t bytes = text_character(text);
		size_t width = character_width(text, bytes);

		if (cut && shown + width > limit - 1)
			break;
		put_character(text, bytes);
		shown += width;
		text += bytes ? bytes : 1;
	}
	if (!cut)
		return shown;
	fputs(ELLIPSIS, stdout);
	return shown + 1;
}

static const char *cell(const json_t *row, size_t column)
{
	const char *text = json_string_value(json_array_get(row, column));

	return text ? text : "";
}

/* What each column needs. */
static void measure(const char *const *titles, size_t count, const json_t *rows, size_t *widths)
{
	size_t index;
	json_t *row;

	for (size_t i = 0; i < count; i++)
		widths[i] = strlen(titles[i]);
	json_array_foreach((json_t *)rows, index, row)
	{
		for (size_t i = 0; i < count; i++) {
			size_t length = text_width(cell(row, i));

			widths[i] = length > widths[i] ? length : widths[i];
		}
	}
}

/* Takes from the widest, one column after another, until all fit or none has any to give. */
static void fit(size_t *widths, size_t count, size_t limit)
{
	size_t total = (count - 1) * GAP;

	for (size_t i = 0; i < count; i++)
		total += widths[i];
	while (total > limit) {
		size_t widest = count - 1;

		for (size_t i = 0; i < count; i++)
			widest = widths[i] > widths[widest] ? i : widest;
		if (widths[widest] <= NARROW)
			return;
		widths[widest]--;
		total--;
	}
}

struct line {
	size_t room; /* columns that are left; SIZE_MAX where there is no end */
};

static void print_cell(struct line *line, const char *text, size_t width, bool last)
{
	size_t limit = width < line->room ? width : line->room;
	size_t shown;

	if (line->room == 0 || (last && !*text))
		return;
	/* Without an end nothing is cut. */
	shown = columns_text(text, line->room == SIZE_MAX ? 0 : limit);
	for (; !last && shown < width + GAP && shown < line->room; shown++)
		putchar(' ');
	if (line->room != SIZE_MAX)
		line->room -= shown < line->room ? shown : line->room;
}

void columns_print(const char *const *titles, size_t count, const json_t *rows)
{
	size_t limit = columns_terminal();
	size_t widths[COLUMNS_MAX];

	if (count > COLUMNS_MAX)
		count = COLUMNS_MAX;
	measure(titles, count, rows, widths);
	if (limit)
		fit(widths, count, limit);
	for (size_t i = 0; i < json_array_size(rows) + 1; i++) {
		const json_t *row = i ? json_array_get(rows, i - 1) : NULL;
		struct line line = {.room = limit ? limit : SIZE_MAX};

		for (size_t j = 0; j < count; j++)
			print_cell(&line, row ? cell(row, j) : titles[j], widths[j],
				   j + 1 == count);
		putchar('\n');
	}
}
