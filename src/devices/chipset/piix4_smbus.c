#include "devices/chipset/piix4_smbus.h"

enum {
	HOST_STATUS,
	SLAVE_STATUS,
	HOST_CONTROL,
	HOST_COMMAND,
	HOST_ADDRESS,
	HOST_DATA0,
	HOST_DATA1,
	BLOCK_DATA,
	SLAVE_CONTROL,
};

#define STATUS_NOBODY  0x04 /* "device error" */
#define STATUS_CLEARED 0x1e /* bits that ones clear; of the slave's, too */
#define CONTROL_START  0x40 /* reads as zero, as does the kill bit */
#define CONTROL_KEPT   0x1d

void smbus_reset(struct smbus *smbus)
{
	*smbus = (struct smbus){0};
}

uint8_t smbus_read(struct smbus *smbus, unsigned int offset)
{
	return smbus->registers[offset];
}

void smbus_write(struct smbus *smbus, unsigned int offset, uint8_t value)
{
	uint8_t *reg = &smbus->registers[offset];

	if (offset == HOST_STATUS) {
		*reg &= (uint8_t) ~(value & STATUS_CLEARED);
	} else if (offset == HOST_CONTROL) {
		*reg = value & CONTROL_KEPT;
		if (value & CONTROL_START)
			smbus->registers[HOST_STATUS] |= STATUS_NOBODY;
	} else if (offset >= HOST_COMMAND && offset <= SLAVE_CONTROL) {
		*reg = value;
	}
}
