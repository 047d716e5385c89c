#include <string.h>

#include "base/checked.h"
#include "devices/chipset/vga_device.h"

/*
 * The adapter's firmware, which is made for another's identity (PCI Firmware Specification 3.0,
 * 5.1).  SeaBIOS's looks for the function that it belongs to by the identity in its own data
 * structure, and where it has not found it, tells of a framebuffer at a place where there is none.
 */

#define HEADER_BYTES   0x1au
#define SIZE_AT	       2u /* in units */
#define UNIT_BYTES     512u
#define CHECKSUM_AT    6u    /* the first byte behind the jump: nobody's */
#define DATA_AT	       0x18u /* offset of the data structure */
#define DATA_BYTES     0x18u
#define DATA_VENDOR    4u
#define DATA_DEVICE    6u
#define DATA_SIGNATURE "PCIR"

static uint8_t sum_of(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum;
}

static void put_u16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

bool vga_rom_adopt(uint8_t *rom, size_t size, uint16_t vendor, uint16_t device)
{
	size_t data, length;

	if (size < HEADER_BYTES || rom[0] != 0x55 || rom[1] != 0xaa)
		return false;
	length = rom[SIZE_AT] * UNIT_BYTES;
	data = rom[DATA_AT] | (size_t)rom[DATA_AT + 1] << 8;
	if (length > size || data < HEADER_BYTES || !range_within(data, DATA_BYTES, length) ||
	    memcmp(rom + data, DATA_SIGNATURE, 4) != 0)
		return false;
	put_u16(rom + data + DATA_VENDOR, vendor);
	put_u16(rom + data + DATA_DEVICE, device);
	/* All of it adds up to 0, or the machine's firmware does not run it. */
	rom[CHECKSUM_AT] = (uint8_t)(rom[CHECKSUM_AT] - sum_of(rom, length));
	return true;
}
