#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/block/chs.h"
#include "devices/chipset/ide_internal.h"

/* IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA/ATAPI-6, 8.15 and 8.16). */

/* What is larger cannot be told by cylinder, head and sector (ATA/ATAPI-6, 6.2.1). */
#define CHS_CYLINDERS 16383u
#define CHS_HEADS     16u
#define CHS_SECTORS   63u
#define LBA28_SECTORS 0x0fffffffull

#define WORD_GENERAL	    0
#define WORD_SERIAL	    10
#define SERIAL_BYTES	    20
#define WORD_FIRMWARE	    23
#define FIRMWARE_BYTES	    8
#define WORD_MODEL	    27
#define MODEL_BYTES	    40
#define WORD_CAPACITY_28    60
#define WORD_CAPACITY_48    100
#define WORD_NAME	    108
#define WORD_INTEGRITY	    255
#define INTEGRITY_SIGNATURE 0xa5

#define GENERAL_DISK  0x0040
#define GENERAL_DRIVE 0x85c0 /* a DVD; removable; DRQ within 50 us; packets of 12 bytes */

/* Of the words of command sets, 82 to 87. */
#define SET_NOP		0x4000
#define SET_LOOK_AHEAD	0x0040
#define SET_WRITE_CACHE 0x0020
#define SET_RESET	0x0200
#define SET_PACKET	0x0010
#define SET_POWER	0x0008
#define SET_FLUSH_EXT	0x2000
#define SET_FLUSH	0x1000
#define SET_LBA48	0x0400
#define SET_NAME	0x0100
#define SET_FUA		0x0040
#define SET_VALID	0x4000
#define SECTOR_VALID	0x4000
#define SECTOR_LARGER	0x2000 /* several logical ones in a physical */

struct ata_geometry ata_default_geometry(uint64_t sectors)
{
	struct chs chs = chs_of(sectors);

	if (chs.sectors > CHS_SECTORS || chs.cylinders > CHS_CYLINDERS)
		chs = (struct chs){CHS_CYLINDERS, CHS_HEADS, CHS_SECTORS};
	return (struct ata_geometry){(uint16_t)chs.cylinders, (uint8_t)chs.heads,
				     (uint8_t)chs.sectors};
}

static void put_word(uint8_t *data, unsigned int word, uint16_t value)
{
	put_le16(data + 2 * word, value);
}

/* The first character is in the upper byte of the first word. */
static void put_text(uint8_t *data, unsigned int word, const char *text, unsigned int bytes)
{
	size_t length = strlen(text);

	for (unsigned int i = 0; i < bytes; i++)
		data[2 * word + (i ^ 1)] = i < length ? (uint8_t)text[i] : ' ';
}

static void put_names(const struct ide_unit *unit, uint8_t *data)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *identifier = unit->scsi.scsi.identifier;
	char serial[2 * SCSI_IDENTIFIER_SIZE + 1] = "";

	for (unsigned int i = 0; i < SCSI_IDENTIFIER_SIZE; i++) {
		serial[2 * i] = digits[identifier[i] >> 4];
		serial[2 * i + 1] = digits[identifier[i] & 0xf];
	}
	put_text(data, WORD_SERIAL, serial, SERIAL_BYTES);
	put_text(data, WORD_FIRMWARE, "1.0", FIRMWARE_BYTES);
	put_text(data, WORD_MODEL, unit->scsi.scsi.drive ? "Virtual CD" : "Virtual HD",
		 MODEL_BYTES);
}

/* The modes up to max that there are, and which is selected. */
static uint16_t modes(const struct ide_unit *unit, uint8_t kind, unsigned int max)
{
	uint16_t word = (uint16_t)((2u << max) - 1);

	if ((unit->mode & 0xf8) == kind)
		word |= (uint16_t)(0x100u << (unit->mode & 7));
	return word;
}

/* What the power-on diagnostics found, word 93: devices that were told their number by a jumper,
 * and the cable of 80 wires.  A host need not look for a device 1 where device 0 answers for it. */
static uint16_t hardware_reset(unsigned int device, bool alone)
{
	if (device == 1)
		return 0x6b00;
	return alone ? 0x604b : 0x600b;
}

static void put_transfer(const struct ide_unit *unit, unsigned int device, bool alone,
			 uint8_t *data)
{
	put_word(data, 49, 0x0f00); /* LBA, DMA, IORDY */
	put_word(data, 50, SET_VALID);
	put_word(data, 53, unit->scsi.scsi.drive ? 0x0006 : 0x0007); /* words that are valid */
	put_word(data, 63, modes(unit, ATA_MODE_MULTIWORD, ATA_MODE_MULTIWORD_MAX));
	put_word(data, 64, 0x0003); /* PIO modes 3 and 4 */
	for (unsigned int word = 65; word <= 68; word++)
		put_word(data, word, 120); /* ns a word */
	put_word(data, 80, 0x007e);	   /* ATA-1 to ATA/ATAPI-6 */
	put_word(data, 88, modes(unit, ATA_MODE_ULTRA, ATA_MODE_ULTRA_MAX));
	put_word(data, 93, hardware_reset(device, alone));
}

static void put_geometry(const struct ide_unit *unit, uint8_t *data)
{
	struct ata_geometry built = ata_default_geometry(unit->sectors);
	const struct ata_geometry *now = &unit->translation;

	put_word(data, 1, built.cylinders);
	put_word(data, 3, built.heads);
	put_word(data, 6, built.sectors);
	put_word(data, 54, now->cylinders);
	put_word(data, 55, now->heads);
	put_word(data, 56, now->sectors);
	put_le32(data + 2 * 57, (uint32_t)now->cylinders * now->heads * now->sectors);
	put_le32(data + 2 * WORD_CAPACITY_28, (uint32_t)MIN(unit->sectors, LBA28_SECTORS));
	put_le64(data + 2 * WORD_CAPACITY_48, unit->sectors);
}

static void put_disk_sets(const struct ide_unit *unit, uint8_t *data)
{
	uint16_t first = SET_NOP | SET_LOOK_AHEAD | SET_POWER;
	uint16_t second = SET_FLUSH_EXT | SET_FLUSH | SET_LBA48;
	uint16_t third = SET_VALID | SET_NAME | SET_FUA;

	put_word(data, 82, first | SET_WRITE_CACHE);
	put_word(data, 83, second | SET_VALID);
	put_word(data, 84, third);
	put_word(data, 85, first | (unit->write_cache ? SET_WRITE_CACHE : 0));
	put_word(data, 86, second);
	put_word(data, 87, third);
}

static void put_disk(const struct ide_unit *unit, uint8_t *data)
{
	const struct block_geometry *geometry = &unit->scsi.scsi.geometry;
	uint32_t ratio = geometry->physical_block / IDE_SECTOR;

	put_word(data, WORD_GENERAL, GENERAL_DISK);
	put_geometry(unit, data);
	put_word(data, 47, 0x8000 | IDE_MULTIPLE_MAX);
	if (unit->multiple)
		put_word(data, 59, 0x0100 | unit->multiple);
	put_disk_sets(unit, data);
	put_word(data, 106, SECTOR_VALID);
	if (ratio > 1)
		put_word(data, 106,
			 (uint16_t)(SECTOR_VALID | SECTOR_LARGER | __builtin_ctz(ratio)));
	for (unsigned int i = 0; i < SCSI_IDENTIFIER_SIZE / 2; i++)
		put_word(data, WORD_NAME + i, get_be16(unit->scsi.scsi.identifier + 2 * i));
	if (geometry->discard) {
		put_word(data, 105, IDE_TRIM_BLOCKS_MAX);
		put_word(data, 169, ATA_DSM_TRIM);
	}
}

static void put_drive(uint8_t *data)
{
	uint16_t sets = SET_NOP | SET_RESET | SET_PACKET | SET_POWER;

	put_word(data, WORD_GENERAL, GENERAL_DRIVE);
	put_word(data, 82, sets);
	put_word(data, 83, SET_VALID);
	put_word(data, 84, SET_VALID);
	put_word(data, 85, sets);
	put_word(data, 87, SET_VALID);
}

void ata_identify(const struct ide_unit *unit, unsigned int device, bool alone, uint8_t *data)
{
	uint8_t sum = 0;

	memset(data, 0, IDE_SECTOR);
	put_names(unit, data);
	put_transfer(unit, device, alone, data);
	if (unit->scsi.scsi.drive)
		put_drive(data);
	else
		put_disk(unit, data);
	data[2 * WORD_INTEGRITY] = INTEGRITY_SIGNATURE;
	for (unsigned int i = 0; i < IDE_SECTOR - 1; i++)
		sum = (uint8_t)(sum + data[i]);
	data[IDE_SECTOR - 1] = (uint8_t)-sum;
}
