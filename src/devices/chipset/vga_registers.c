#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga.h"

/* Ports, counted from VGA_PORT_BASE. */
enum {
	PORT_MONO_CRTC_INDEX = 0x04,
	PORT_MONO_CRTC_DATA = 0x05,
	PORT_MONO_STATUS = 0x0a,
	PORT_ATTRIBUTE = 0x10,
	PORT_ATTRIBUTE_READ = 0x11,
	PORT_MISCELLANEOUS = 0x12,
	PORT_SEQUENCER_INDEX = 0x14,
	PORT_SEQUENCER_DATA = 0x15,
	PORT_DAC_MASK = 0x16,
	PORT_DAC_READ = 0x17, /* reads: the state */
	PORT_DAC_WRITE = 0x18,
	PORT_DAC_DATA = 0x19,
	PORT_FEATURE_READ = 0x1a,
	PORT_MISCELLANEOUS_READ = 0x1c,
	PORT_GRAPHICS_INDEX = 0x1e,
	PORT_GRAPHICS_DATA = 0x1f,
	PORT_CRTC_INDEX = 0x24,
	PORT_CRTC_DATA = 0x25,
	PORT_STATUS = 0x2a,
};

#define MISCELLANEOUS_COLOUR 0x01 /* the CRTC is at 0x3d4, not 0x3b4 */
#define STATUS_RETRACE	     0x09 /* display off, vertical retrace */
#define DAC_READING	     3
#define OVERFLOW_COMPARE     0x10 /* bit 8 of the line compare: never protected */
#define ATTRIBUTE_INDEX	     0x1f

static const uint8_t sequencer_mask[VGA_SEQUENCER_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t graphics_mask[VGA_GRAPHICS_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03,
							  0x7b, 0x0f, 0x0f, 0xff};

void vga_registers_init(struct vga_registers *regs)
{
	*regs = (struct vga_registers){
		.miscellaneous = MISCELLANEOUS_COLOUR,
		.dac_mask = 0xff,
		.graphics[VGA_GFX_BIT_MASK] = 0xff,
		.crtc[VGA_CRTC_LINE_COMPARE] = 0xff,
		.vbe[VGA_VBE_ID] = 0xb0c5,
	};
}

/* The two addresses of the CRTC and what is with it: offset of the one that answers, counted as in
 * colour; 0 for the one that does not. */
static unsigned int crtc_port(const struct vga_registers *regs, unsigned int offset)
{
	bool colour = regs->miscellaneous & MISCELLANEOUS_COLOUR;

	if (offset < PORT_ATTRIBUTE)
		return colour ? 0 : offset + PORT_CRTC_INDEX - PORT_MONO_CRTC_INDEX;
	if (offset >= PORT_CRTC_INDEX - 4)
		return colour ? offset : 0;
	return offset;
}

static uint8_t read_dac(struct vga_registers *regs)
{
	uint8_t value = regs->dac[regs->dac_read][regs->dac_part];

	if (++regs->dac_part == 3) {
		regs->dac_part = 0;
		regs->dac_read++;
	}
	return value;
}

static bool write_dac(struct vga_registers *regs, uint8_t value)
{
	regs->dac_cache[regs->dac_part] = value;
	if (++regs->dac_part < 3)
		return false;
	memcpy(regs->dac[regs->dac_write++], regs->dac_cache, sizeof(regs->dac_cache));
	regs->dac_part = 0;
	return true;
}

static uint8_t read_status(struct vga_registers *regs)
{
	regs->attribute_data = false;
	regs->status ^= STATUS_RETRACE;
	return regs->status;
}

uint8_t vga_register_read(struct vga_registers *regs, unsigned int offset)
{
	switch (crtc_port(regs, offset)) {
	case PORT_ATTRIBUTE:
		return regs->attribute_data ? 0 : regs->attribute_index;
	case PORT_ATTRIBUTE_READ:
		return regs->attribute[regs->attribute_index & ATTRIBUTE_INDEX];
	case PORT_MISCELLANEOUS:
		return 0; /* input status 0: no interrupt, no switch */
	case PORT_SEQUENCER_INDEX:
		return regs->sequencer_index;
	case PORT_SEQUENCER_DATA:
		return regs->sequencer[regs->sequencer_index];
	case PORT_DAC_MASK:
		return regs->dac_mask;
	case PORT_DAC_READ:
		return regs->dac_state;
	case PORT_DAC_WRITE:
		return regs->dac_write;
	case PORT_DAC_DATA:
		return read_dac(regs);
	case PORT_FEATURE_READ:
		return regs->feature;
	case PORT_MISCELLANEOUS_READ:
		return regs->miscellaneous;
	case PORT_GRAPHICS_INDEX:
		return regs->graphics_index;
	case PORT_GRAPHICS_DATA:
		return regs->graphics[regs->graphics_index];
	case PORT_CRTC_INDEX:
		return regs->crtc_index;
	case PORT_CRTC_DATA:
		return regs->crtc[regs->crtc_index];
	case PORT_STATUS:
		return read_status(regs);
	default:
		return UINT8_MAX;
	}
}

static bool write_attribute(struct vga_registers *regs, uint8_t value)
{
	unsigned int index = regs->attribute_index & ATTRIBUTE_INDEX;

	regs->attribute_data = !regs->attribute_data;
	if (regs->attribute_data) {
		regs->attribute_index = value & (ATTRIBUTE_INDEX | VGA_ATT_ON);
		return true;
	}
	/* The palette has six bits. */
	regs->attribute[index] = index < VGA_ATT_MODE ? value & 0x3f : value;
	return true;
}

static bool write_crtc(struct vga_registers *regs, uint8_t value)
{
	unsigned int index = regs->crtc_index;
	uint8_t *reg = &regs->crtc[index];

	if (index <= VGA_CRTC_OVERFLOW && regs->crtc[VGA_CRTC_V_RETRACE_END] & VGA_CRTC_PROTECT) {
		if (index != VGA_CRTC_OVERFLOW)
			return false;
		value = (*reg & (uint8_t)~OVERFLOW_COMPARE) | (value & OVERFLOW_COMPARE);
	}
	*reg = value;
	return true;
}

static void begin_dac(struct vga_registers *regs, uint8_t *index, uint8_t value, uint8_t state)
{
	*index = value;
	regs->dac_part = 0;
	regs->dac_state = state;
}

bool vga_register_write(struct vga_registers *regs, unsigned int offset, uint8_t value)
{
	switch (crtc_port(regs, offset)) {
	case PORT_ATTRIBUTE:
		return write_attribute(regs, value);
	case PORT_MISCELLANEOUS:
		regs->miscellaneous = value;
		return true;
	case PORT_SEQUENCER_INDEX:
		regs->sequencer_index = value % VGA_SEQUENCER_COUNT;
		return false;
	case PORT_SEQUENCER_DATA:
		regs->sequencer[regs->sequencer_index] =
			value & sequencer_mask[regs->sequencer_index];
		return true;
	case PORT_DAC_MASK:
		regs->dac_mask = value;
		return true;
	case PORT_DAC_READ:
		begin_dac(regs, &regs->dac_read, value, DAC_READING);
		return false;
	case PORT_DAC_WRITE:
		begin_dac(regs, &regs->dac_write, value, 0);
		return false;
	case PORT_DAC_DATA:
		return write_dac(regs, value);
	case PORT_GRAPHICS_INDEX:
		regs->graphics_index = value % VGA_GRAPHICS_COUNT;
		return false;
	case PORT_GRAPHICS_DATA:
		regs->graphics[regs->graphics_index] = value & graphics_mask[regs->graphics_index];
		return true;
	case PORT_CRTC_INDEX:
		regs->crtc_index = value % VGA_CRTC_COUNT;
		return false;
	case PORT_CRTC_DATA:
		return write_crtc(regs, value);
	case PORT_STATUS:
		regs->feature = value & 0x10;
		return false;
	default:
		return false;
	}
}

static bool within(const uint8_t *values, const uint8_t *masks, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (values[i] & ~masks[i])
			return false;
	}
	return true;
}

bool vga_registers_valid(const struct vga_registers *regs)
{
	return regs->attribute_data <= 1 && regs->sequencer_index < VGA_SEQUENCER_COUNT &&
	       regs->graphics_index < VGA_GRAPHICS_COUNT && regs->crtc_index < VGA_CRTC_COUNT &&
	       !(regs->attribute_index & ~(ATTRIBUTE_INDEX | VGA_ATT_ON)) && regs->dac_part < 3 &&
	       within(regs->sequencer, sequencer_mask, VGA_SEQUENCER_COUNT) &&
	       within(regs->graphics, graphics_mask, VGA_GRAPHICS_COUNT) && vga_vbe_valid(regs);
}
