#include "base/checked.h"
#include "devices/chipset/vga.h"

/* What the window shows, by bits 2 and 3 of the miscellaneous register. */
static const struct {
	uint32_t start, length;
} maps[] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};

/* An access's place: byte of the memory, and plane.  False where the window does not answer. */
struct place {
	uint32_t at; /* byte of plane 0 */
	unsigned int plane;
	bool whole; /* all four planes have a part in it */
};

static bool find(const struct vga_registers *regs, uint32_t offset, bool write, struct place *place)
{
	unsigned int map = regs->graphics[VGA_GFX_MISCELLANEOUS] >> 2 & 3;
	bool extended = regs->vbe[VGA_VBE_ENABLE] & VGA_VBE_ON;
	bool odd_even = write ? !(regs->sequencer[VGA_SEQ_MEMORY_MODE] & VGA_MEMORY_PLANAR)
			      : regs->graphics[VGA_GFX_MODE] & VGA_MODE_ODD_EVEN;
	uint32_t bank = extended ? regs->vbe[VGA_VBE_BANK] * VGA_VBE_BANK_BYTES : 0;

	if (offset < maps[map].start || offset - maps[map].start >= maps[map].length)
		return false;
	offset += bank - maps[map].start;
	*place = (struct place){.whole = false};
	if (regs->sequencer[VGA_SEQ_MEMORY_MODE] & VGA_MEMORY_CHAIN_4) {
		place->plane = offset % VGA_PLANES;
		offset /= VGA_PLANES;
	} else if (odd_even) {
		place->plane = offset % 2;
		offset /= 2;
	} else {
		place->whole = true;
	}
	if (!extended)
		offset %= VGA_PLANE_BYTES;
	if (offset >= VGA_MEMORY_BYTES / VGA_PLANES)
		return false;
	place->at = offset * VGA_PLANES;
	return true;
}

static uint8_t compare(const struct vga_registers *regs)
{
	uint8_t same = UINT8_MAX;

	for (unsigned int plane = 0; plane < VGA_PLANES; plane++) {
		bool wanted = regs->graphics[VGA_GFX_COMPARE] >> plane & 1;

		if (regs->graphics[VGA_GFX_DONT_CARE] >> plane & 1)
			same &= wanted ? regs->latch[plane] : (uint8_t)~regs->latch[plane];
	}
	return same;
}

uint8_t vga_memory_read(struct vga_registers *regs, const uint8_t *memory, uint32_t offset)
{
	struct place place;

	if (!find(regs, offset, false, &place))
		return UINT8_MAX;
	for (unsigned int plane = 0; plane < VGA_PLANES; plane++)
		regs->latch[plane] = memory[place.at + plane];
	if (!place.whole)
		return regs->latch[place.plane];
	if (regs->graphics[VGA_GFX_MODE] & VGA_MODE_READ_COMPARE)
		return compare(regs);
	return regs->latch[regs->graphics[VGA_GFX_READ_MAP]];
}

static uint8_t rotate(uint8_t value, unsigned int by)
{
	return (uint8_t)(value >> by | value << (8 - by));
}

/* The logical operation with the latch, by bits 3 and 4 of the rotate register. */
static uint8_t combine(const struct vga_registers *regs, uint8_t value, uint8_t latch)
{
	switch (regs->graphics[VGA_GFX_ROTATE] >> 3) {
	case 1:
		return value & latch;
	case 2:
		return value | latch;
	case 3:
		return value ^ latch;
	default:
		return value;
	}
}

/* What goes to a plane, by the write mode. */
static uint8_t plane_value(const struct vga_registers *regs, unsigned int plane, uint8_t value)
{
	const uint8_t *gfx = regs->graphics;
	uint8_t latch = regs->latch[plane], mask = gfx[VGA_GFX_BIT_MASK];
	uint8_t rotated = rotate(value, gfx[VGA_GFX_ROTATE] & 7);
	uint8_t set = gfx[VGA_GFX_SET_RESET] >> plane & 1 ? UINT8_MAX : 0;

	switch (gfx[VGA_GFX_MODE] & VGA_MODE_WRITE) {
	case 0:
		value = gfx[VGA_GFX_ENABLE_SET_RESET] >> plane & 1 ? set : rotated;
		break;
	case 1:
		return latch;
	case 2:
		value = value >> plane & 1 ? UINT8_MAX : 0;
		break;
	default:
		value = set;
		mask &= rotated;
	}
	value = combine(regs, value, latch);
	return (uint8_t)((value & mask) | (latch & ~mask));
}

void vga_memory_write(struct vga_registers *regs, uint8_t *memory, uint32_t offset, uint8_t value)
{
	uint8_t map_mask = regs->sequencer[VGA_SEQ_MAP_MASK];
	struct place place;

	if (!find(regs, offset, true, &place))
		return;
	if (!place.whole) {
		if (map_mask >> place.plane & 1)
			memory[place.at + place.plane] = value;
		return;
	}
	for (unsigned int plane = 0; plane < VGA_PLANES; plane++) {
		if (map_mask >> plane & 1)
			memory[place.at + plane] = plane_value(regs, plane, value);
	}
}
