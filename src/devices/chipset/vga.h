#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

/*
 * A VGA with the Bochs dispi extension (IBM VGA Technical Reference; FreeVGA; Bochs "VBE display
 * driver interface"), by its jobs:
 *
 *   vga_registers.c  sequencer, CRT, graphics and attribute controller, colours
 *   vga_memory.c     the window at A0000
 *   vga_vbe.c        the dispi registers, and the linear framebuffer
 *   vga_shape.c      what the registers make of the screen
 *   vga_draw.c       the picture
 *   vga_text.c       the text
 *   vga.c            the device
 *
 * The four planes lie interleaved in the video memory: a byte of plane p at offset o is at 4 * o +
 * p.  So a chained mode, and a linear framebuffer, is the memory as it is.
 *
 * What the guest writes into a register may be anything.  vga_shape.c is the one place that makes
 * places of them, and its shape never leaves video memory.
 */

#define VGA_MEMORY_BYTES (16u << 20)
#define VGA_WINDOW_BASE	 0xa0000u
#define VGA_WINDOW_BYTES 0x20000u
#define VGA_PLANES	 4u
#define VGA_PLANE_BYTES	 0x10000u /* of each, without the extension */
#define VGA_COLOURS	 256u

#define VGA_SEQUENCER_COUNT 8u
#define VGA_GRAPHICS_COUNT  16u
#define VGA_ATTRIBUTE_COUNT 32u
#define VGA_CRTC_COUNT	    32u

enum vga_sequencer {
	VGA_SEQ_RESET = 0,
	VGA_SEQ_CLOCKING = 1,
	VGA_SEQ_MAP_MASK = 2,
	VGA_SEQ_CHARACTER_MAP = 3,
	VGA_SEQ_MEMORY_MODE = 4,
};

#define VGA_CLOCKING_8_DOTS 0x01
#define VGA_CLOCKING_OFF    0x20 /* the screen */
#define VGA_MEMORY_PLANAR   0x04 /* clear: even bytes to plane 0, odd ones to 1 */
#define VGA_MEMORY_CHAIN_4  0x08

enum vga_graphics {
	VGA_GFX_SET_RESET = 0,
	VGA_GFX_ENABLE_SET_RESET = 1,
	VGA_GFX_COMPARE = 2,
	VGA_GFX_ROTATE = 3,
	VGA_GFX_READ_MAP = 4,
	VGA_GFX_MODE = 5,
	VGA_GFX_MISCELLANEOUS = 6,
	VGA_GFX_DONT_CARE = 7,
	VGA_GFX_BIT_MASK = 8,
};

#define VGA_MODE_WRITE	      0x03
#define VGA_MODE_READ_COMPARE 0x08
#define VGA_MODE_ODD_EVEN     0x10
#define VGA_MODE_SHIFT(mode)  ((mode) >> 5 & 3) /* 0: planes, 1: pairs of bits, 2: bytes */

enum vga_attribute {
	VGA_ATT_MODE = 0x10,
	VGA_ATT_OVERSCAN = 0x11,
	VGA_ATT_PLANES = 0x12,
	VGA_ATT_PANNING = 0x13,
	VGA_ATT_COLOUR_SELECT = 0x14,
};

#define VGA_ATT_GRAPHICS 0x01
#define VGA_ATT_LINES	 0x04 /* the ninth dot of line characters is their eighth */
#define VGA_ATT_BLINK	 0x08
#define VGA_ATT_SELECT	 0x80 /* bits 4 and 5 of a colour are those of the select register */
#define VGA_ATT_ON	 0x20 /* of the index: the palette is the screen's, not the guest's */

enum vga_crtc {
	VGA_CRTC_H_END = 0x01,
	VGA_CRTC_OVERFLOW = 0x07,
	VGA_CRTC_SCAN = 0x09,
	VGA_CRTC_CURSOR_START = 0x0a,
	VGA_CRTC_CURSOR_END = 0x0b,
	VGA_CRTC_START_HIGH = 0x0c,
	VGA_CRTC_START_LOW = 0x0d,
	VGA_CRTC_CURSOR_HIGH = 0x0e,
	VGA_CRTC_CURSOR_LOW = 0x0f,
	VGA_CRTC_V_RETRACE_END = 0x11,
	VGA_CRTC_V_END = 0x12,
	VGA_CRTC_OFFSET = 0x13,
	VGA_CRTC_MODE = 0x17,
	VGA_CRTC_LINE_COMPARE = 0x18,
};

#define VGA_SCAN_DOUBLE	   0x80
#define VGA_SCAN_LINES	   0x1f
#define VGA_CURSOR_OFF	   0x20
#define VGA_CRTC_PROTECT   0x80 /* of V_RETRACE_END: registers 0 to 7 are read-only */
#define VGA_CRTC_NO_BIT_13 0x01
#define VGA_CRTC_NO_BIT_14 0x02
#define VGA_CRTC_BYTES	   0x40

enum vga_vbe {
	VGA_VBE_ID,
	VGA_VBE_WIDTH,
	VGA_VBE_HEIGHT,
	VGA_VBE_DEPTH,
	VGA_VBE_ENABLE,
	VGA_VBE_BANK,
	VGA_VBE_VIRTUAL_WIDTH,
	VGA_VBE_VIRTUAL_HEIGHT,
	VGA_VBE_X,
	VGA_VBE_Y,
	VGA_VBE_COUNT,
	VGA_VBE_MEMORY = VGA_VBE_COUNT, /* in 64 KiB; read-only */
};

#define VGA_VBE_ON	   0x01
#define VGA_VBE_ASK_MOST   0x02 /* width, height and depth read as the most there is */
#define VGA_VBE_8_BIT_DAC  0x20
#define VGA_VBE_LINEAR	   0x40
#define VGA_VBE_KEEP	   0x80 /* the memory is not cleared */
#define VGA_VBE_WIDTH_MAX  2560u
#define VGA_VBE_HEIGHT_MAX 1600u
#define VGA_VBE_DEPTH_MAX  32u
#define VGA_VBE_BANK_BYTES 0x10000u

/* Everything that the guest reads and writes but the video memory. */
struct vga_registers {
	uint8_t miscellaneous;
	uint8_t feature;
	uint8_t status; /* input status 1: the retrace bits turn with each look */
	uint8_t sequencer_index, graphics_index, attribute_index, crtc_index;
	uint8_t attribute_data; /* 1: the next write to 0x3c0 is */
	uint8_t sequencer[VGA_SEQUENCER_COUNT];
	uint8_t graphics[VGA_GRAPHICS_COUNT];
	uint8_t attribute[VGA_ATTRIBUTE_COUNT];
	uint8_t crtc[VGA_CRTC_COUNT];
	uint8_t latch[VGA_PLANES];
	uint8_t dac[VGA_COLOURS][3]; /* red, green, blue, as written */
	uint8_t dac_mask;
	uint8_t dac_state; /* 3: the guest reads */
	uint8_t dac_read, dac_write;
	uint8_t dac_part; /* of a colour */
	uint8_t dac_cache[3];
	uint16_t vbe_index;
	uint16_t vbe[VGA_VBE_COUNT];
};

enum vga_kind {
	VGA_OFF, /* there is no picture yet */
	VGA_TEXT,
	VGA_PLANAR, /* 16 colours by four planes */
	VGA_PAIRS,  /* 4 colours by pairs of bits, as a CGA's */
	VGA_BYTES,  /* 256 colours */
	VGA_LINEAR, /* 15, 16, 24 or 32 bits */
};

/* The screen as the registers make it.  Bytes that it names all lie in the video memory. */
struct vga_shape {
	enum vga_kind kind;
	bool black;
	uint32_t width, height;
	uint32_t depth; /* VGA_LINEAR: bits */
	uint32_t pitch; /* bytes from one row to the next */
	uint32_t start; /* byte of the first row */
	uint32_t wrap;	/* rows go on at 0 past this many bytes, a power of two */
	uint32_t split; /* this row is at 0, and those after it follow */
	uint32_t pan;	/* pixels that are left out at the left */
	/* Rows of a character, or rows that a CGA keeps in other banks. */
	uint32_t lines;
	uint32_t bank_shift[2]; /* 0: none; where the row's lower two bits go to in the address */
	/* VGA_TEXT. */
	uint32_t columns, rows;
	uint32_t dots; /* of a character across: 8 or 9 */
};

struct vga_text_cell {
	uint8_t character;
	uint8_t attribute;
};

/* vga_registers.c; ports from 0x3b0 on, by offset, with the device's lock held. */
#define VGA_PORT_BASE  0x3b0u
#define VGA_PORT_COUNT 0x30u

void vga_registers_init(struct vga_registers *regs);
uint8_t vga_register_read(struct vga_registers *regs, unsigned int offset);
/* Whether the picture may be another one for it. */
bool vga_register_write(struct vga_registers *regs, unsigned int offset, uint8_t value);
/* Whether they could have come about by writes. */
bool vga_registers_valid(const struct vga_registers *regs);

/* vga_state.c; properties in an open node.  -EINVAL where they cannot have come about by writes. */
void vga_registers_save(const struct vga_registers *regs, struct state_writer *writer);
int vga_registers_restore(struct vga_registers *regs, const struct state_node *node);

/* vga_memory.c; offsets from VGA_WINDOW_BASE on, below VGA_WINDOW_BYTES.  With the lock held. */
uint8_t vga_memory_read(struct vga_registers *regs, const uint8_t *memory, uint32_t offset);
void vga_memory_write(struct vga_registers *regs, uint8_t *memory, uint32_t offset, uint8_t value);

/* vga_vbe.c; with the lock held. */
uint16_t vga_vbe_read(const struct vga_registers *regs);
/* Whether the picture may be another one for it. */
bool vga_vbe_write(struct vga_registers *regs, uint8_t *memory, uint16_t value);
bool vga_vbe_valid(const struct vga_registers *regs);
/* Bytes of a row, at a depth. */
uint32_t vga_vbe_pitch(const struct vga_registers *regs);

/* vga_shape.c; registers that nobody changes meanwhile. */
void vga_shape_of(const struct vga_registers *regs, struct vga_shape *shape);
/* The byte at which a row's memory begins; row below height, or below rows for VGA_TEXT. */
uint32_t vga_shape_row(const struct vga_shape *shape, uint32_t row);

/*
 * vga_draw.c: one line of the picture, 32 bits a pixel, blue in the lowest; y below the shape's
 * height, and pixels with room for its width.  The guest may write to the memory meanwhile.
 */
struct vga_palette {
	uint32_t colours[VGA_COLOURS]; /* through the mask */
	uint32_t attributes[16];       /* through the attribute controller */
};

void vga_palette_of(const struct vga_registers *regs, struct vga_palette *palette);
void vga_draw_line(const struct vga_registers *regs, const struct vga_shape *shape,
		   const struct vga_palette *palette, const uint8_t *memory, uint32_t y,
		   uint32_t *pixels);

/* vga_text.c. */

/* One line of a text screen. */
void vga_text_line(const struct vga_registers *regs, const struct vga_shape *shape,
		   const struct vga_palette *palette, const uint8_t *memory, uint32_t y,
		   uint32_t *pixels);
/* A row as UTF-8, without the blanks at its end; malloc'ed, or NULL. */
char *vga_text_row(const struct vga_shape *shape, const uint8_t *memory, uint32_t row);
/* Where the cursor is; false if it is not shown. */
bool vga_text_cursor(const struct vga_registers *regs, const struct vga_shape *shape,
		     uint32_t *column, uint32_t *row);
