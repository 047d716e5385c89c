/* What a BIOS would leave behind: the CMOS clock and the SMBIOS tables. */
#include "lib/acpi.h"
#include "lib/rt.h"

#define CMOS_INDEX	0x70
#define CMOS_DATA	0x71
#define CMOS_STATUS_A	0x0a
#define CMOS_STATUS_B	0x0b
#define CMOS_STATUS_D	0x0d
#define CMOS_CENTURY	0x32
#define STATUS_B_BINARY 0x04
#define STATUS_D_VALID	0x80

static uint8_t cmos(uint8_t reg)
{
	outb(CMOS_INDEX, reg);
	return inb(CMOS_DATA);
}

static unsigned cmos_number(uint8_t reg)
{
	uint8_t v = cmos(reg);

	return cmos(CMOS_STATUS_B) & STATUS_B_BINARY ? v : (unsigned)(v >> 4) * 10 + (v & 15);
}

static void check_clock(void)
{
	unsigned sec = cmos_number(0), min = cmos_number(2), hour = cmos_number(4);
	unsigned day = cmos_number(7), month = cmos_number(8), year = cmos_number(9);
	bool ticks;

	tap_diag("20%02u-%02u-%02u %02u:%02u:%02u", year, month, day, hour, min, sec);
	tap_ok(cmos(CMOS_STATUS_D) & STATUS_D_VALID, "the clock says that its time is valid");
	tap_ok(!(cmos(CMOS_STATUS_A) & 0x80), "no update is in progress for good");
	tap_ok(sec < 60 && min < 60 && hour < 24, "a plausible time of day");
	tap_ok(day >= 1 && day <= 31 && month >= 1 && month <= 12, "a plausible date");
	tap_ok(year >= 24 && year < 80, "a year that is not long past");
	ticks = WAIT_FOR(cmos_number(0) != sec, 3000);
	tap_ok(ticks, "the seconds advance");
}

static uint64_t find_smbios(void)
{
	for (uint64_t at = 0xf0000; at < 0x100000; at += 16)
		if (!memcmp((const void *)at, "_SM3_", 5) || !memcmp((const void *)at, "_SM_", 4))
			return at;
	return 0;
}

static bool has_text(uint64_t at, uint32_t len, const char *text)
{
	size_t n = strlen(text);

	for (uint32_t i = 0; i + n <= len; i++)
		if (!memcmp((const void *)(at + i), text, n))
			return true;
	return false;
}

static void check_smbios(void)
{
	uint64_t anchor = find_smbios(), table;
	uint32_t len;
	bool v3;

	tap_ok(anchor, "there is an SMBIOS anchor");
	if (!anchor)
		return;
	v3 = !memcmp((const void *)anchor, "_SM3_", 5);
	tap_is(acpi_sum((const void *)anchor, read8(anchor + (v3 ? 6 : 5))), 0, "its checksum");
	table = v3 ? read64(anchor + 16) : read32(anchor + 24);
	len = v3 ? read32(anchor + 12) : (uint32_t)(read8(anchor + 22) | read8(anchor + 23) << 8);
	tap_ok(has_text(table, len, "Microsoft Corporation"), "the maker is worded as Hyper-V's");
	tap_ok(has_text(table, len, "Virtual Machine"), "so is the product");
}

void payload_main(void)
{
	check_clock();
	check_smbios();
}
