#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga.h"

#define ID_FIRST 0xb0c0 /* of the versions */
#define ID_LAST	 0xb0c5
#define ENABLE_BITS                                                                                \
	(VGA_VBE_ON | VGA_VBE_ASK_MOST | VGA_VBE_8_BIT_DAC | VGA_VBE_LINEAR | VGA_VBE_KEEP)
#define BANKS (VGA_MEMORY_BYTES / VGA_VBE_BANK_BYTES)

static bool depth_known(unsigned int depth)
{
	return depth == 4 || depth == 8 || depth == 15 || depth == 16 || depth == 24 || depth == 32;
}

/* Of so many pixels; four planes have a bit of each in one byte of theirs. */
static uint32_t row_bytes(uint32_t pixels, unsigned int depth)
{
	return depth == 4 ? pixels / 8 * VGA_PLANES : pixels * ((depth + 7) / 8);
}

uint32_t vga_vbe_pitch(const struct vga_registers *regs)
{
	return row_bytes(regs->vbe[VGA_VBE_VIRTUAL_WIDTH], regs->vbe[VGA_VBE_DEPTH]);
}

uint16_t vga_vbe_read(const struct vga_registers *regs)
{
	bool most = regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_ASK_MOST;

	switch (regs->vbe_index) {
	case VGA_VBE_WIDTH:
		return most ? VGA_VBE_WIDTH_MAX : regs->vbe[VGA_VBE_WIDTH];
	case VGA_VBE_HEIGHT:
		return most ? VGA_VBE_HEIGHT_MAX : regs->vbe[VGA_VBE_HEIGHT];
	case VGA_VBE_DEPTH:
		return most ? VGA_VBE_DEPTH_MAX : regs->vbe[VGA_VBE_DEPTH];
	case VGA_VBE_MEMORY:
		return BANKS;
	default:
		return regs->vbe_index < VGA_VBE_COUNT ? regs->vbe[regs->vbe_index] : 0;
	}
}

/* As wide as there are rows for; the virtual height is what the memory has room for. */
static void set_virtual_width(struct vga_registers *regs, uint32_t width)
{
	uint32_t pitch;

	width = MAX(width, (uint32_t)regs->vbe[VGA_VBE_WIDTH]) & ~7u;
	pitch = row_bytes(width, regs->vbe[VGA_VBE_DEPTH]);
	if (pitch == 0 || width > UINT16_MAX ||
	    (uint64_t)pitch * regs->vbe[VGA_VBE_HEIGHT] > VGA_MEMORY_BYTES)
		return;
	regs->vbe[VGA_VBE_VIRTUAL_WIDTH] = (uint16_t)width;
	regs->vbe[VGA_VBE_VIRTUAL_HEIGHT] =
		(uint16_t)MIN(VGA_MEMORY_BYTES / pitch, (uint32_t)UINT16_MAX);
	/* A place in the old one may be outside of the new one. */
	regs->vbe[VGA_VBE_X] = regs->vbe[VGA_VBE_Y] = 0;
}

/* The picture lies within the virtual one. */
static void set_place(struct vga_registers *regs, unsigned int reg, uint16_t value)
{
	uint32_t limit = reg == VGA_VBE_X ? regs->vbe[VGA_VBE_VIRTUAL_WIDTH]
					  : regs->vbe[VGA_VBE_VIRTUAL_HEIGHT];
	uint32_t size = reg == VGA_VBE_X ? regs->vbe[VGA_VBE_WIDTH] : regs->vbe[VGA_VBE_HEIGHT];

	if (range_within(value, size, limit))
		regs->vbe[reg] = value;
}

static bool mode_known(const struct vga_registers *regs)
{
	return regs->vbe[VGA_VBE_WIDTH] >= 8 && regs->vbe[VGA_VBE_HEIGHT] > 0 &&
	       depth_known(regs->vbe[VGA_VBE_DEPTH]);
}

/* A mode that cannot be stays off. */
static void enable(struct vga_registers *regs, uint8_t *memory, uint16_t value)
{
	bool was_on = regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_ON;

	value &= ENABLE_BITS;
	if (value & VGA_VBE_ON && !was_on) {
		if (!mode_known(regs)) {
			value &= (uint16_t)~VGA_VBE_ON;
		} else {
			regs->vbe[VGA_VBE_BANK] = 0;
			set_virtual_width(regs, regs->vbe[VGA_VBE_WIDTH]);
			if (!(value & VGA_VBE_KEEP))
				memset(memory, 0,
				       (size_t)vga_vbe_pitch(regs) * regs->vbe[VGA_VBE_HEIGHT]);
		}
	}
	regs->vbe[VGA_VBE_ENABLE] = value;
}

/* Before the mode is on. */
static void set_size(struct vga_registers *regs, unsigned int reg, uint16_t value)
{
	static const uint16_t most[] = {
		[VGA_VBE_WIDTH] = VGA_VBE_WIDTH_MAX, [VGA_VBE_HEIGHT] = VGA_VBE_HEIGHT_MAX};

	if (regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_ON)
		return;
	if (reg == VGA_VBE_WIDTH)
		value &= (uint16_t)~7u;
	if (reg == VGA_VBE_DEPTH ? depth_known(value) : value <= most[reg])
		regs->vbe[reg] = value;
}

bool vga_vbe_write(struct vga_registers *regs, uint8_t *memory, uint16_t value)
{
	unsigned int reg = regs->vbe_index;

	switch (reg) {
	case VGA_VBE_ID:
		if (value >= ID_FIRST && value <= ID_LAST)
			regs->vbe[reg] = value;
		return false;
	case VGA_VBE_WIDTH:
	case VGA_VBE_HEIGHT:
	case VGA_VBE_DEPTH:
		set_size(regs, reg, value);
		return false;
	case VGA_VBE_ENABLE:
		enable(regs, memory, value);
		return true;
	case VGA_VBE_BANK:
		if (value < BANKS)
			regs->vbe[reg] = value;
		return false;
	case VGA_VBE_VIRTUAL_WIDTH:
		set_virtual_width(regs, value);
		return true;
	case VGA_VBE_X:
	case VGA_VBE_Y:
		set_place(regs, reg, value);
		return true;
	default:
		return false;
	}
}

bool vga_vbe_valid(const struct vga_registers *regs)
{
	const uint16_t *vbe = regs->vbe;

	if (vbe[VGA_VBE_ID] < ID_FIRST || vbe[VGA_VBE_ID] > ID_LAST ||
	    vbe[VGA_VBE_ENABLE] & ~ENABLE_BITS || vbe[VGA_VBE_BANK] >= BANKS ||
	    vbe[VGA_VBE_WIDTH] > VGA_VBE_WIDTH_MAX || vbe[VGA_VBE_HEIGHT] > VGA_VBE_HEIGHT_MAX)
		return false;
	if (!(vbe[VGA_VBE_ENABLE] & VGA_VBE_ON))
		return true;
	return mode_known(regs) && vga_vbe_pitch(regs) > 0 &&
	       vbe[VGA_VBE_VIRTUAL_HEIGHT] <= VGA_MEMORY_BYTES / vga_vbe_pitch(regs) &&
	       range_within(vbe[VGA_VBE_X], vbe[VGA_VBE_WIDTH], vbe[VGA_VBE_VIRTUAL_WIDTH]) &&
	       range_within(vbe[VGA_VBE_Y], vbe[VGA_VBE_HEIGHT], vbe[VGA_VBE_VIRTUAL_HEIGHT]);
}
