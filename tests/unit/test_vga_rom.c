#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/wire.h"
#include "devices/chipset/fw_cfg.h"
#include "devices/chipset/vga_device.h"
#include "machine_fixture.h"
#include "suite.h"

#define RAM	   0x2000000u
#define ROM	   "pci1414,5353.rom" /* as SeaBIOS asks for it */
#define ROM_BYTES  1024u
#define DATA	   0x200u
#define ENTRY_SIZE 64u
#define NAME_AT	   8u

static struct machine machine;
static struct desktop desktop;
static struct gpa_space *gpa;

static void set_up(void)
{
	machine_init(&machine);
	machine.env.desktop = &desktop;
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(fw_cfg_new(machine.env.ports, gpa, &machine.env.fw_cfg), 0);
}

static void tear_down(void)
{
	fw_cfg_free(machine.env.fw_cfg);
	gpa_space_free(gpa);
	machine_fini(&machine);
}

static uint8_t sum_of(const uint8_t *rom)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < ROM_BYTES; i++)
		sum = (uint8_t)(sum + rom[i]);
	return sum;
}

/* As SeaBIOS's: two units, a jump, and the identity of QEMU's adapter. */
static void make_rom(uint8_t rom[ROM_BYTES])
{
	static const uint8_t head[] = {0x55, 0xaa, ROM_BYTES / 512, 0xe9, 0x15, 0x57};
	static const uint8_t data[] = {'P', 'C', 'I', 'R', 0x34, 0x12, 0x11, 0x11};

	memset(rom, 0x5a, ROM_BYTES);
	memcpy(rom, head, sizeof(head));
	rom[0x18] = (uint8_t)DATA;
	rom[0x19] = DATA >> 8;
	memcpy(rom + DATA, data, sizeof(data));
	rom[6] = (uint8_t)(rom[6] - sum_of(rom));
}

static void read_bytes(void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1);
}

static void choose(uint16_t key)
{
	machine_out(&machine, FW_CFG_PORT_SELECTOR, 2, key);
}

/* The firmware's file of the adapter's firmware. */
static void read_file(uint8_t rom[ROM_BYTES])
{
	uint8_t count[4], entry[ENTRY_SIZE];

	choose(FW_CFG_DIRECTORY);
	read_bytes(count, sizeof(count));
	for (uint32_t i = 0; i < get_be32(count); i++) {
		read_bytes(entry, sizeof(entry));
		if (strcmp((char *)entry + NAME_AT, ROM) == 0)
			break;
	}
	ck_assert_str_eq((char *)entry + NAME_AT, ROM);
	ck_assert_uint_eq(get_be32(entry), ROM_BYTES);
	choose((uint16_t)(entry[4] << 8 | entry[5]));
	read_bytes(rom, ROM_BYTES);
}

static int file_of(const char *name, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	if (data)
		ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

/* The machine's firmware is handed one that finds its function by the identity. */
START_TEST(handed_over)
{
	uint8_t rom[ROM_BYTES], seen[ROM_BYTES];
	char config[64];
	void *device;

	make_rom(rom);
	snprintf(config, sizeof(config), "{\"vram_fd\": %d, \"rom_fd\": %d}",
		 file_of("vram", NULL, DISPLAY_FILE_BYTES), file_of("rom", rom, sizeof(rom)));
	device = machine_add(&machine, "vga", config);
	read_file(seen);
	ck_assert_uint_eq(sum_of(seen), 0);
	ck_assert_mem_eq(seen + DATA, "PCIR\x14\x14\x53\x53", 8);
	/* Nothing else is another. */
	memcpy(rom + DATA + 4, "\x14\x14\x53\x53", 4);
	rom[6] = seen[6];
	ck_assert_mem_eq(seen, rom, sizeof(rom));
	device_find("vga")->destroy(device);
}
END_TEST

static bool adopts(uint8_t *rom, size_t size)
{
	return vga_rom_adopt(rom, size, 0x1414, 0x5353);
}

/* What is no PCI firmware stays as it is, and nothing past its end is looked at. */
START_TEST(others)
{
	static const struct {
		unsigned int at;
		uint8_t value;
	} faults[] = {{0, 0},	 {1, 0},    {2, 3},	  {2, 0},      {0x18, 0x10},
		      {0x19, 0}, {0x19, 4}, {0x19, 0xff}, {DATA, 'Q'}, {DATA + 3, 'r'}};
	uint8_t good[ROM_BYTES], rom[ROM_BYTES], before[ROM_BYTES];

	make_rom(good);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		memcpy(rom, good, sizeof(rom));
		rom[faults[i].at] = faults[i].value;
		memcpy(before, rom, sizeof(rom));
		ck_assert(!adopts(rom, sizeof(rom)));
		ck_assert_mem_eq(rom, before, sizeof(rom));
	}
	for (size_t size = 0; size < ROM_BYTES; size += 23) {
		uint8_t *exact = malloc(size ? size : 1);

		memcpy(exact, good, size);
		ck_assert(!adopts(exact, size));
		free(exact);
	}
	ck_assert(adopts(good, sizeof(good)));
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("vga_rom", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, handed_over);
	tcase_add_test(tests, others);
	return suite_run(suite);
}
