#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga.h"

#define FIELD(name, member)                                                                        \
	{                                                                                          \
		name, offsetof(struct vga_registers, member),                                      \
			sizeof(((struct vga_registers *)0)->member)                                \
	}

static const struct {
	const char *name;
	size_t offset, size;
} fields[] = {
	FIELD("miscellaneous", miscellaneous),
	FIELD("feature", feature),
	FIELD("status", status),
	FIELD("sequencer-index", sequencer_index),
	FIELD("graphics-index", graphics_index),
	FIELD("attribute-index", attribute_index),
	FIELD("attribute-data", attribute_data),
	FIELD("crtc-index", crtc_index),
	FIELD("sequencer", sequencer),
	FIELD("graphics", graphics),
	FIELD("attribute", attribute),
	FIELD("crtc", crtc),
	FIELD("latch", latch),
	FIELD("dac", dac),
	FIELD("dac-mask", dac_mask),
	FIELD("dac-state", dac_state),
	FIELD("dac-read", dac_read),
	FIELD("dac-write", dac_write),
	FIELD("dac-part", dac_part),
	FIELD("dac-cache", dac_cache),
	FIELD("vbe-index", vbe_index),
	FIELD("vbe", vbe),
};

void vga_registers_save(const struct vga_registers *regs, struct state_writer *writer)
{
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		state_put_bytes(writer, fields[i].name, (const uint8_t *)regs + fields[i].offset,
				fields[i].size);
}

int vga_registers_restore(struct vga_registers *regs, const struct state_node *node)
{
	struct vga_registers saved;
	int r = 0;

	memset(&saved, 0, sizeof(saved));
	for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(fields); i++)
		r = state_get_bytes(node, fields[i].name, (uint8_t *)&saved + fields[i].offset,
				    fields[i].size);
	if (r < 0)
		return r;
	if (!vga_registers_valid(&saved))
		return -EINVAL;
	*regs = saved;
	return 0;
}
