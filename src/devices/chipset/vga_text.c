#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga.h"

#define GLYPH_BYTES  32u
#define FONT_BYTES   0x2000u /* of 256 glyphs */
#define FONT_PLANE   2u
#define UTF8_MAX     3u	  /* bytes of the longest character here */
#define LINE_FIRST   0xc0 /* characters that draw lines */
#define LINE_LAST    0xdf
#define BRIGHT	     0x08
#define CURSOR_LINES 0x1f

static struct vga_text_cell cell_at(const struct vga_shape *shape, const uint8_t *memory,
				    uint32_t column, uint32_t row)
{
	uint32_t at = (vga_shape_row(shape, row) + column * VGA_PLANES) & (shape->wrap - 1) & ~3u;

	return (struct vga_text_cell){memory[at], memory[at + 1]};
}

/* Where the fonts begin that bit 3 of the attribute chooses between: 8 KiB pieces of plane 2, in an
 * order of their own. */
static uint32_t font_at(const struct vga_registers *regs, uint8_t attribute)
{
	uint8_t map = regs->sequencer[VGA_SEQ_CHARACTER_MAP];
	unsigned int font = attribute & BRIGHT ? (map >> 2 & 3) | (map >> 5 & 1) << 2
					       : (map & 3) | (map >> 4 & 1) << 2;

	return (font & 3) * 2 * FONT_BYTES + (font >> 2) * FONT_BYTES;
}

static uint8_t glyph_row(const struct vga_registers *regs, const uint8_t *memory,
			 struct vga_text_cell cell, uint32_t line)
{
	uint32_t offset = font_at(regs, cell.attribute) + cell.character * GLYPH_BYTES + line;

	return memory[offset * VGA_PLANES + FONT_PLANE];
}

static uint32_t cursor_offset(const struct vga_registers *regs)
{
	return (uint32_t)regs->crtc[VGA_CRTC_CURSOR_HIGH] << 8 | regs->crtc[VGA_CRTC_CURSOR_LOW];
}

bool vga_text_cursor(const struct vga_registers *regs, const struct vga_shape *shape,
		     uint32_t *column, uint32_t *row)
{
	uint32_t at = cursor_offset(regs) * VGA_PLANES & (shape->wrap - 1);

	if (regs->crtc[VGA_CRTC_CURSOR_START] & VGA_CURSOR_OFF)
		return false;
	for (uint32_t y = 0; y < shape->rows; y++) {
		uint32_t first = vga_shape_row(shape, y);

		if (at < first || at - first >= shape->columns * VGA_PLANES)
			continue;
		*column = (at - first) / VGA_PLANES;
		*row = y;
		return true;
	}
	return false;
}

/* Whether the cursor covers that line of its character. */
static bool cursor_covers(const struct vga_registers *regs, uint32_t line)
{
	return line >= (regs->crtc[VGA_CRTC_CURSOR_START] & CURSOR_LINES) &&
	       line <= (regs->crtc[VGA_CRTC_CURSOR_END] & CURSOR_LINES);
}

/* Nothing blinks: what would is shown. */
static void draw_cell(const struct vga_registers *regs, const struct vga_shape *shape,
		      const struct vga_palette *palette, const uint8_t *memory,
		      struct vga_text_cell cell, uint32_t line, uint32_t *pixels)
{
	uint8_t mode = regs->attribute[VGA_ATT_MODE];
	uint32_t front = palette->attributes[cell.attribute & 15];
	uint32_t back = palette->attributes[cell.attribute >> 4 & (mode & VGA_ATT_BLINK ? 7 : 15)];
	uint8_t bits = glyph_row(regs, memory, cell, line);
	bool joined =
		mode & VGA_ATT_LINES && cell.character >= LINE_FIRST && cell.character <= LINE_LAST;

	for (unsigned int x = 0; x < 8; x++)
		pixels[x] = bits >> (7 - x) & 1 ? front : back;
	if (shape->dots > 8)
		pixels[8] = joined && bits & 1 ? front : back;
}

static void draw_cursor(const struct vga_registers *regs, const struct vga_shape *shape,
			const struct vga_palette *palette, const uint8_t *memory, uint32_t y,
			uint32_t *pixels)
{
	uint32_t column, row;
	struct vga_text_cell cell;

	if (!cursor_covers(regs, y % shape->lines) ||
	    !vga_text_cursor(regs, shape, &column, &row) || row != y / shape->lines)
		return;
	cell = cell_at(shape, memory, column, row);
	for (unsigned int x = 0; x < shape->dots; x++)
		pixels[column * shape->dots + x] = palette->attributes[cell.attribute & 15];
}

void vga_text_line(const struct vga_registers *regs, const struct vga_shape *shape,
		   const struct vga_palette *palette, const uint8_t *memory, uint32_t y,
		   uint32_t *pixels)
{
	for (uint32_t column = 0; column < shape->columns; column++)
		draw_cell(regs, shape, palette, memory,
			  cell_at(shape, memory, column, y / shape->lines), y % shape->lines,
			  pixels + column * shape->dots);
	draw_cursor(regs, shape, palette, memory, y, pixels);
}

/* Code page 437 in Unicode: what it has where ASCII has no characters. */
static const uint16_t low_characters[32] = {
	' ',	0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9,
	0x2642, 0x2640, 0x266a, 0x266b, 0x263c, 0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7,
	0x25ac, 0x21a8, 0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
};

static const uint16_t high_characters[129] = {
	0x2302, 0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb,
	0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6,
	0x00f2, 0x00fb, 0x00f9, 0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
	0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac,
	0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb, 0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561,
	0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510, 0x2514,
	0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566,
	0x2560, 0x2550, 0x256c, 0x2567, 0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553,
	0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580, 0x03b1, 0x00df,
	0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e,
	0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
	0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, ' ',
};

static uint16_t unicode_of(uint8_t character)
{
	if (character < 0x20)
		return low_characters[character];
	return character < 0x7f ? character : high_characters[character - 0x7f];
}

static unsigned int put_utf8(char *out, uint16_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | code >> 12);
	out[1] = (char)(0x80 | (code >> 6 & 0x3f));
	out[2] = (char)(0x80 | (code & 0x3f));
	return 3;
}

char *vga_text_row(const struct vga_shape *shape, const uint8_t *memory, uint32_t row)
{
	char *text = malloc(shape->columns * UTF8_MAX + 1);
	size_t length = 0, end = 0;

	for (uint32_t column = 0; text && column < shape->columns; column++) {
		uint16_t code = unicode_of(cell_at(shape, memory, column, row).character);

		length += put_utf8(text + length, code);
		if (code != ' ')
			end = length;
	}
	if (text)
		text[end] = 0;
	return text;
}
