#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga.h"

static uint32_t rgb(uint32_t red, uint32_t green, uint32_t blue)
{
	return red << 16 | green << 8 | blue;
}

/* Six bits as eight. */
static uint32_t widen(uint8_t value)
{
	return (value & 0x3fu) << 2 | (value & 0x3fu) >> 4;
}

static uint32_t colour_of(const struct vga_registers *regs, uint8_t index)
{
	const uint8_t *colour = regs->dac[index & regs->dac_mask];

	if (regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_8_BIT_DAC)
		return rgb(colour[0], colour[1], colour[2]);
	return rgb(widen(colour[0]), widen(colour[1]), widen(colour[2]));
}

/* The eight bits that the attribute controller makes of a palette register's six. */
static uint8_t attribute_of(const struct vga_registers *regs, unsigned int index)
{
	uint8_t select = regs->attribute[VGA_ATT_COLOUR_SELECT];
	uint8_t value = regs->attribute[index] & 0x3f;

	if (regs->attribute[VGA_ATT_MODE] & VGA_ATT_SELECT)
		value = (value & 0x0f) | (uint8_t)(select << 4 & 0x30);
	return value | (uint8_t)(select << 4 & 0xc0);
}

void vga_palette_of(const struct vga_registers *regs, struct vga_palette *palette)
{
	for (unsigned int i = 0; i < VGA_COLOURS; i++)
		palette->colours[i] = colour_of(regs, (uint8_t)i);
	for (unsigned int i = 0; i < ARRAY_LENGTH(palette->attributes); i++)
		palette->attributes[i] =
			palette->colours[attribute_of(regs, i & regs->attribute[VGA_ATT_PLANES])];
}

/* A row is read round the end of the memory, which is a power of two long. */
static const uint8_t *quad_at(const struct vga_shape *shape, const uint8_t *memory, uint32_t at)
{
	return memory + (at & (shape->wrap - 1) & ~3u);
}

static void draw_planar(const struct vga_shape *shape, const struct vga_palette *palette,
			const uint8_t *memory, uint32_t at, uint32_t *pixels)
{
	for (uint32_t x = 0; x < shape->width; x++) {
		uint32_t place = x + shape->pan;
		const uint8_t *planes = quad_at(shape, memory, at + place / 8 * VGA_PLANES);
		unsigned int bit = 7 - place % 8;

		pixels[x] =
			palette->attributes[(planes[0] >> bit & 1) | (planes[1] >> bit & 1) << 1 |
					    (planes[2] >> bit & 1) << 2 |
					    (planes[3] >> bit & 1) << 3];
	}
}

/* Four pixels a byte of an even plane, and the next four of the odd one after it. */
static void draw_pairs(const struct vga_shape *shape, const struct vga_palette *palette,
		       const uint8_t *memory, uint32_t at, uint32_t *pixels)
{
	for (uint32_t x = 0; x < shape->width; x++) {
		uint32_t place = x + shape->pan;
		const uint8_t *planes = quad_at(shape, memory, at + place / 8 * VGA_PLANES);
		unsigned int plane = place / 4 % 2, bit = 6 - place % 4 * 2;

		pixels[x] = palette->attributes[(planes[plane] >> bit & 3) |
						(planes[plane + 2] >> bit & 3) << 2];
	}
}

static void draw_bytes(const struct vga_shape *shape, const struct vga_palette *palette,
		       const uint8_t *memory, uint32_t at, uint32_t *pixels)
{
	for (uint32_t x = 0; x < shape->width; x++)
		pixels[x] = palette->colours[memory[(at + x + shape->pan) & (shape->wrap - 1)]];
}

static uint32_t five(uint32_t value)
{
	return (value & 31) << 3 | (value & 31) >> 2;
}

static uint32_t linear_pixel(const uint8_t *from, uint32_t depth)
{
	uint32_t low = from[0] | (uint32_t)from[1] << 8;

	if (depth == 15)
		return rgb(five(low >> 10), five(low >> 5), five(low));
	if (depth == 16)
		return rgb(five(low >> 11), (low >> 5 & 63) << 2 | (low >> 9 & 3), five(low));
	return low | (uint32_t)from[2] << 16;
}

static void draw_linear(const struct vga_shape *shape, const uint8_t *memory, uint32_t at,
			uint32_t *pixels)
{
	uint32_t bytes = (shape->depth + 7) / 8;

	/* vga_vbe.c lets no picture go past the end of the memory. */
	if (bytes == 4) {
		memcpy(pixels, memory + at, shape->width * sizeof(*pixels));
		return;
	}
	for (uint32_t x = 0; x < shape->width; x++)
		pixels[x] = linear_pixel(memory + at + x * bytes, shape->depth);
}

void vga_draw_line(const struct vga_registers *regs, const struct vga_shape *shape,
		   const struct vga_palette *palette, const uint8_t *memory, uint32_t y,
		   uint32_t *pixels)
{
	uint32_t at = shape->kind == VGA_TEXT ? 0 : vga_shape_row(shape, y);

	if (shape->black) {
		memset(pixels, 0, shape->width * sizeof(*pixels));
		return;
	}
	switch (shape->kind) {
	case VGA_OFF:
		break;
	case VGA_TEXT:
		vga_text_line(regs, shape, palette, memory, y, pixels);
		break;
	case VGA_PLANAR:
		draw_planar(shape, palette, memory, at, pixels);
		break;
	case VGA_PAIRS:
		draw_pairs(shape, palette, memory, at, pixels);
		break;
	case VGA_BYTES:
		draw_bytes(shape, palette, memory, at, pixels);
		break;
	case VGA_LINEAR:
		draw_linear(shape, memory, at, pixels);
	}
}
