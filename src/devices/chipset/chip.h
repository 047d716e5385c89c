#pragma once

#include <stdint.h>

#include "vmm/io_bus.h"

/* Chips with registers of one byte: a wider access is one to each register it covers. */

typedef uint8_t (*chip_read)(void *chip, unsigned int offset);
typedef void (*chip_write)(void *chip, unsigned int offset, uint8_t value);

/* Splits an access, lowest register first.  VP thread. */
static inline void chip_access_bytes(void *chip, struct io_access *access, chip_read read,
				     chip_write write)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < access->size; i++) {
		unsigned int offset = (unsigned int)access->offset + i;

		if (access->write)
			write(chip, offset, (uint8_t)(access->value >> (8 * i)));
		else
			value |= (uint64_t)read(chip, offset) << (8 * i);
	}
	if (!access->write)
		access->value = value;
}
