#include <string.h>

#include "base/wire.h"
#include "devices/chipset/tulip_serial.h"

/* The 93C46: 64 words of 16 bits.  A command is a start bit, two bits that say what, and the
 * address; it takes bits as the clock rises.  It is write-protected. */

#define COMMAND_BITS  9u /* with the start bit */
#define COMMAND_START (1u << (COMMAND_BITS - 1))
#define COMMAND_READ  (COMMAND_START | 2u << 6)
#define ADDRESS_MASK  (TULIP_ROM_WORDS - 1)

/* Byte offsets in Digital's format. */
#define ROM_VENDOR     0
#define ROM_SUBSYSTEM  2
#define ROM_FORMAT     18
#define ROM_COUNT      19
#define ROM_ADDRESS    20
#define ROM_LEAF_WHERE 27
#define ROM_LEAF       30
#define ROM_CRC	       126

uint32_t tulip_crc(const uint8_t *data, size_t bytes)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= data[i];
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

void tulip_rom_init(struct tulip_rom *rom, const uint8_t *mac, uint16_t subsystem_vendor,
		    uint16_t subsystem)
{
	/* Connection: sensed; pins of CSR12: all inputs; one block. */
	static const uint8_t leaf[] = {0x00, 0x08, 0x00, 1,
				       /* 12 bytes follow, of type 1: an MII PHY, the first, with
					* no sequences for its pins. */
				       0x8c, 1, 0, 0, 0,
				       /* Both speeds and duplexes; all advertised; those that are
					* full duplex; those with the slow threshold. */
				       0x00, 0x78, 0xe0, 0x01, 0x00, 0x50, 0x00, 0x18};
	uint8_t bytes[2 * TULIP_ROM_WORDS] = {0};

	put_le16(bytes + ROM_VENDOR, subsystem_vendor);
	put_le16(bytes + ROM_SUBSYSTEM, subsystem);
	bytes[ROM_FORMAT] = 3;
	bytes[ROM_COUNT] = 1;
	memcpy(bytes + ROM_ADDRESS, mac, TULIP_MAC_BYTES);
	put_le16(bytes + ROM_LEAF_WHERE, ROM_LEAF);
	memcpy(bytes + ROM_LEAF, leaf, sizeof(leaf));
	put_le16(bytes + ROM_CRC, (uint16_t)~tulip_crc(bytes, ROM_CRC));
	for (unsigned int i = 0; i < TULIP_ROM_WORDS; i++)
		rom->words[i] = get_le16(bytes + 2 * i);
	tulip_rom_reset(rom);
}

void tulip_rom_reset(struct tulip_rom *rom)
{
	rom->lines = rom->command = rom->sent = rom->address = 0;
	rom->reading = false;
	rom->out = true; /* nobody drives it, and it is pulled up */
}

/* A bit in.  With the last one of a read's address the output goes low, a bit before the data: that
 * is how drivers tell how long an address is. */
static void take_bit(struct tulip_rom *rom, bool bit)
{
	if (rom->command & COMMAND_START || (!rom->command && !bit))
		return;
	rom->command = rom->command << 1 | bit;
	if ((rom->command & ~ADDRESS_MASK) != COMMAND_READ)
		return;
	rom->reading = true;
	rom->address = rom->command & ADDRESS_MASK;
	rom->sent = 0;
	rom->out = false;
}

/* Word after word. */
static void give_bit(struct tulip_rom *rom)
{
	if (rom->sent == 16) {
		rom->sent = 0;
		rom->address = (rom->address + 1) & ADDRESS_MASK;
	}
	rom->out = rom->words[rom->address] >> (15 - rom->sent) & 1;
	rom->sent++;
}

void tulip_rom_write(struct tulip_rom *rom, uint32_t csr9)
{
	uint32_t lines = csr9 & TULIP_ROM_ENABLE
				 ? csr9 & (TULIP_ROM_SELECT | TULIP_ROM_CLOCK | TULIP_ROM_IN)
				 : 0;
	bool rises = lines & ~rom->lines & TULIP_ROM_CLOCK;

	if (!(lines & TULIP_ROM_SELECT))
		tulip_rom_reset(rom);
	else if (rises && rom->reading)
		give_bit(rom);
	else if (rises)
		take_bit(rom, lines & TULIP_ROM_IN);
	rom->lines = lines;
}

uint32_t tulip_rom_read(const struct tulip_rom *rom)
{
	return rom->out ? TULIP_ROM_OUT : 0;
}
