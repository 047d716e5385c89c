#include <errno.h>

#include "base/wire.h"
#include "devices/chipset/cmos_internal.h"
#include "vmm/gpa.h"
#include "vmm/machine.h"

/*
 * The memory's layout is a custom of PCs since the IBM AT, and of SeaBIOS for what came later; the
 * firmware knows most of it from fw_cfg, and guests from the firmware.
 */

enum {
	FLOPPY_TYPES = 0x10, /* drive A in the upper half */
	EQUIPMENT = 0x14,
	BASE_KIB = 0x15,     /* below 640 KiB; 16 bits, as the next ones */
	EXTENDED_KIB = 0x17, /* from 1 MiB on */
	CHECKSUM = 0x2e,     /* big-endian, of 0x10 to 0x2d */
	EXTENDED_KIB_2 = 0x30,
	ABOVE_16_MIB = 0x34, /* in units of 64 KiB */
	BOOT_ORDER_2 = 0x38, /* the third in its upper half */
	TRANSLATIONS = 0x39, /* two bits an IDE disk */
	BOOT_ORDER = 0x3d,   /* the first in its lower half, the second above */
	ABOVE_4_GIB = 0x5b,  /* 24 bits, in units of 64 KiB */
	VPS_LESS_ONE = 0x5f,
};

#define CHECKED_FROM 0x10
#define CHECKED_TO   0x2d

#define KIB	 0x400ull
#define MIB	 0x100000ull
#define UNIT	 0x10000ull
#define BASE_MAX (640 * KIB)

/* Kinds of device in a boot order.  What has none comes last: here the floppy. */
#define BOOT_DISK    2u
#define BOOT_CD	     3u
#define BOOT_NETWORK 4u

#define EQUIPMENT_FLOPPY 0x01
#define EQUIPMENT_FPU	 0x02
#define EQUIPMENT_MOUSE	 0x04
/* All disks by sectors: a head and cylinder are what the BIOS makes of a sector's number. */
#define TRANSLATE_BY_LBA 0x55
#define FLOPPY_1440_KB	 4
#define FLOPPY_TYPE_MAX	 5u

static uint16_t at_most(uint64_t value, uint16_t limit)
{
	return value < limit ? (uint16_t)value : limit;
}

/* Bytes of RAM in [start, end). */
static uint64_t ram_between(const struct gpa_space *gpa, uint64_t start, uint64_t end)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < gpa_slot_count(gpa); i++) {
		const struct gpa_slot *slot = gpa_slot(gpa, i);
		uint64_t from = slot->gpa > start ? slot->gpa : start;
		uint64_t to = slot->gpa + slot->size < end ? slot->gpa + slot->size : end;

		bytes += to > from ? to - from : 0;
	}
	return bytes;
}

static void fill_ram(struct cmos *cmos, const struct gpa_space *gpa)
{
	uint8_t *memory = cmos->memory;
	uint64_t low = ram_between(gpa, MIB, MACHINE_HOLE_START);
	uint64_t high = ram_between(gpa, MACHINE_HOLE_END, UINT64_MAX) / UNIT;

	put_le16(memory + BASE_KIB, (uint16_t)(BASE_MAX / KIB));
	put_le16(memory + EXTENDED_KIB, at_most(low / KIB, UINT16_MAX));
	put_le16(memory + EXTENDED_KIB_2, at_most(low / KIB, UINT16_MAX));
	put_le16(memory + ABOVE_16_MIB,
		 at_most(ram_between(gpa, 16 * MIB, MACHINE_HOLE_START) / UNIT, UINT16_MAX));
	put_le16(memory + ABOVE_4_GIB, (uint16_t)high);
	memory[ABOVE_4_GIB + 2] = (uint8_t)(high >> 16);
}

static void fill_drives(struct cmos *cmos, unsigned int floppy_type)
{
	cmos->memory[FLOPPY_TYPES] = (uint8_t)(floppy_type << 4);
	cmos->memory[EQUIPMENT] =
		EQUIPMENT_FPU | EQUIPMENT_MOUSE | (floppy_type ? EQUIPMENT_FLOPPY : 0);
	cmos->memory[BOOT_ORDER] = BOOT_DISK << 4 | BOOT_CD;
	cmos->memory[BOOT_ORDER_2] = BOOT_NETWORK << 4;
	cmos->memory[TRANSLATIONS] = TRANSLATE_BY_LBA;
}

static void fill_checksum(struct cmos *cmos)
{
	uint16_t sum = 0;

	for (unsigned int i = CHECKED_FROM; i <= CHECKED_TO; i++)
		sum = (uint16_t)(sum + cmos->memory[i]);
	put_be16(cmos->memory + CHECKSUM, sum);
}

int cmos_fill(struct cmos *cmos, const struct device_env *env, const json_t *config,
	      struct error *err)
{
	const json_t *given = json_object_get(config, "floppy");
	json_int_t floppy = given ? json_integer_value(given) : FLOPPY_1440_KB;

	if (floppy < 0 || floppy > FLOPPY_TYPE_MAX)
		return error_set(err, EINVAL,
				 "a floppy drive's type is 0 (none) to 5; one of 1.44 MB is 4");
	fill_ram(cmos, env->gpa);
	fill_drives(cmos, (unsigned int)floppy);
	cmos->memory[VPS_LESS_ONE] = (uint8_t)(env->vp_count - 1);
	fill_checksum(cmos);
	return 0;
}
