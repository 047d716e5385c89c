#include "base/checked.h"
#include "devices/chipset/vga.h"

#define CHARACTER_DOTS 8u

/* The extension's modes have no split. */
#define NO_SPLIT UINT32_MAX

static uint32_t field(uint8_t reg, unsigned int bit, unsigned int to)
{
	return (uint32_t)(reg >> bit & 1) << to;
}

static uint32_t scan_lines(const struct vga_registers *regs)
{
	uint8_t overflow = regs->crtc[VGA_CRTC_OVERFLOW];

	return (regs->crtc[VGA_CRTC_V_END] | field(overflow, 1, 8) | field(overflow, 6, 9)) + 1;
}

static uint32_t line_compare(const struct vga_registers *regs)
{
	return regs->crtc[VGA_CRTC_LINE_COMPARE] | field(regs->crtc[VGA_CRTC_OVERFLOW], 4, 8) |
	       field(regs->crtc[VGA_CRTC_SCAN], 6, 9);
}

static uint32_t start_offset(const struct vga_registers *regs)
{
	return (uint32_t)regs->crtc[VGA_CRTC_START_HIGH] << 8 | regs->crtc[VGA_CRTC_START_LOW];
}

/* Of a width in characters of eight dots, and a height in lines of the screen. */
static void set_text(const struct vga_registers *regs, struct vga_shape *shape, uint32_t height)
{
	shape->kind = VGA_TEXT;
	shape->lines = (regs->crtc[VGA_CRTC_SCAN] & VGA_SCAN_LINES) + 1u;
	shape->dots = regs->sequencer[VGA_SEQ_CLOCKING] & VGA_CLOCKING_8_DOTS ? 8 : 9;
	shape->width = shape->columns * shape->dots;
	shape->rows = height / shape->lines;
	shape->height = shape->rows * shape->lines;
	shape->split /= shape->lines;
}

/* The rows of a character that lie in other banks of the memory, as a CGA has them, are rows of
 * the picture of their own; others only repeat. */
static void set_lines(const struct vga_registers *regs, struct vga_shape *shape, uint32_t height)
{
	uint8_t mode = regs->crtc[VGA_CRTC_MODE];
	uint32_t lines = (regs->crtc[VGA_CRTC_SCAN] & VGA_SCAN_LINES) + 1u;
	/* Bit 13 of the address; in the chained memory two of it are one here. */
	uint32_t bit = (mode & VGA_CRTC_BYTES ? 13 : 12) + 2;

	shape->lines = 1;
	if ((mode & VGA_CRTC_NO_BIT_13 && mode & VGA_CRTC_NO_BIT_14) || lines == 1) {
		shape->height = height / lines;
		shape->split /= lines;
		return;
	}
	shape->lines = lines;
	shape->height = height;
	shape->bank_shift[0] = mode & VGA_CRTC_NO_BIT_13 ? 0 : bit;
	shape->bank_shift[1] = mode & VGA_CRTC_NO_BIT_14 ? 0 : bit + 1;
}

static void set_graphics(const struct vga_registers *regs, struct vga_shape *shape, uint32_t height)
{
	unsigned int shift = VGA_MODE_SHIFT(regs->graphics[VGA_GFX_MODE]);

	shape->kind = shift == 0 ? VGA_PLANAR : shift == 1 ? VGA_PAIRS : VGA_BYTES;
	shape->width = shape->columns * (shift < 2 ? CHARACTER_DOTS : CHARACTER_DOTS / 2);
	shape->pan = regs->attribute[VGA_ATT_PANNING] & 7;
	if (shift >= 2)
		shape->pan /= 2;
	set_lines(regs, shape, height);
}

static void set_standard(const struct vga_registers *regs, struct vga_shape *shape)
{
	uint32_t height = scan_lines(regs);

	shape->columns = regs->crtc[VGA_CRTC_H_END] + 1u;
	shape->pitch = regs->crtc[VGA_CRTC_OFFSET] * 2u * VGA_PLANES;
	shape->wrap = VGA_PLANE_BYTES * VGA_PLANES;
	shape->start = start_offset(regs) * VGA_PLANES % shape->wrap;
	shape->split = line_compare(regs) + 1;
	/* Before the firmware has set a mode there is none. */
	if (shape->columns == 1 || height == 1)
		return;
	if (regs->crtc[VGA_CRTC_SCAN] & VGA_SCAN_DOUBLE) {
		height /= 2;
		shape->split /= 2;
	}
	if (regs->attribute[VGA_ATT_MODE] & VGA_ATT_GRAPHICS)
		set_graphics(regs, shape, height);
	else
		set_text(regs, shape, height);
	if (shape->height == 0)
		shape->kind = VGA_OFF;
}

static void set_extended(const struct vga_registers *regs, struct vga_shape *shape)
{
	uint32_t depth = regs->vbe[VGA_VBE_DEPTH], x = regs->vbe[VGA_VBE_X];

	shape->kind = depth == 4 ? VGA_PLANAR : depth == 8 ? VGA_BYTES : VGA_LINEAR;
	shape->width = regs->vbe[VGA_VBE_WIDTH];
	shape->height = regs->vbe[VGA_VBE_HEIGHT];
	shape->depth = depth;
	shape->pitch = vga_vbe_pitch(regs);
	shape->lines = 1;
	shape->wrap = VGA_MEMORY_BYTES;
	shape->split = NO_SPLIT;
	shape->start = regs->vbe[VGA_VBE_Y] * shape->pitch;
	shape->start += depth == 4 ? x / 8 * VGA_PLANES : x * ((depth + 7) / 8);
	shape->pan = depth == 4 ? x % 8 : 0;
}

void vga_shape_of(const struct vga_registers *regs, struct vga_shape *shape)
{
	*shape = (struct vga_shape){.kind = VGA_OFF, .lines = 1};
	if (regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_ON)
		set_extended(regs, shape);
	else
		set_standard(regs, shape);
	shape->black = regs->sequencer[VGA_SEQ_CLOCKING] & VGA_CLOCKING_OFF ||
		       !(regs->attribute_index & VGA_ATT_ON);
}

uint32_t vga_shape_row(const struct vga_shape *shape, uint32_t row)
{
	uint32_t line = shape->kind == VGA_TEXT ? 0 : row % shape->lines;
	uint32_t number = shape->kind == VGA_TEXT ? row : row / shape->lines;
	uint32_t split = shape->kind == VGA_TEXT || shape->split == NO_SPLIT
				 ? shape->split
				 : shape->split / shape->lines;
	uint32_t at = number < split ? shape->start + number * shape->pitch
				     : (number - split) * shape->pitch;

	for (unsigned int i = 0; i < 2; i++) {
		uint32_t shift = shape->bank_shift[i];

		if (shift)
			at = (at & ~(1u << shift)) | (line >> i & 1) << shift;
	}
	return at % shape->wrap;
}
