#pragma once

#include <stdint.h>

/*
 * The PIIX4's SMBus host controller (Intel 82371AB data sheet, 7.3), with nothing on its bus: every
 * transfer ends at once, for nobody answered.  The device that it is part of guards it by its lock.
 */

#define SMBUS_REGISTERS 16u

struct smbus {
	uint8_t registers[SMBUS_REGISTERS];
};

/* As at power-on. */
void smbus_reset(struct smbus *smbus);
/* offset is below SMBUS_REGISTERS. */
uint8_t smbus_read(struct smbus *smbus, unsigned int offset);
void smbus_write(struct smbus *smbus, unsigned int offset, uint8_t value);
