#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/firmware.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/e820.h"
#include "vmm/smbios.h"

#define RAM  0x4000000u
#define FILE 0x10000u

static struct machine machine;
static struct gpa_space *gpa;
static struct fw_cfg *fw_cfg;
static uint8_t bytes[FILE];

static void set_up(void)
{
	machine_init(&machine);
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(fw_cfg_new(machine.env.ports, gpa, &fw_cfg), 0);
}

static void tear_down(void)
{
	fw_cfg_free(fw_cfg);
	gpa_space_free(gpa);
	machine_fini(&machine);
}

static int describe(const char *const *order, size_t count, unsigned int menu_ms, struct error *err)
{
	const struct firmware_machine about = {
		.gpa = gpa,
		.vp_count = 3,
		.boot_order = order,
		.boot_count = count,
		.boot_menu_ms = menu_ms,
	};

	return firmware_describe(fw_cfg, &about, err);
}

static void read_item(uint16_t key, size_t size)
{
	ck_assert_uint_le(size, sizeof(bytes));
	machine_out(&machine, FW_CFG_PORT_SELECTOR, 2, key);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1);
}

/* As a firmware looks for it; its size, or 0 if there is none.  Its bytes are in bytes then. */
static size_t read_file(const char *name)
{
	uint8_t directory[4 + FW_CFG_FILES_MAX * 64];

	read_item(FW_CFG_DIRECTORY, sizeof(directory));
	memcpy(directory, bytes, sizeof(directory));
	for (uint32_t i = 0; i < get_be32(directory); i++) {
		const uint8_t *entry = directory + 4 + i * 64;

		if (strcmp((const char *)entry + 8, name))
			continue;
		read_item(get_be16(entry + 4), get_be32(entry));
		return get_be32(entry);
	}
	return 0;
}

START_TEST(numbers)
{
	ck_assert_int_eq(describe(NULL, 0, 0, NULL), 0);
	read_item(FW_CFG_CPUS, 2);
	ck_assert_uint_eq(get_le16(bytes), 3);
	read_item(FW_CFG_MAX_CPUS, 2);
	ck_assert_uint_eq(get_le16(bytes), 3);
	read_item(FW_CFG_RAM_SIZE, 8);
	ck_assert_uint_eq(get_le64(bytes), RAM);
	read_item(FW_CFG_IRQ0_OVERRIDE, 1);
	ck_assert_uint_eq(bytes[0], 1);
	read_item(FW_CFG_BOOT_MENU, 2);
	ck_assert_uint_eq(get_le16(bytes), 0);
	ck_assert_uint_eq(read_file("etc/boot-fail-wait"), 4);
	ck_assert_uint_eq(get_le32(bytes), UINT32_MAX);
	ck_assert_uint_eq(read_file("bootorder"), 0);
}
END_TEST

START_TEST(memory_map)
{
	static const struct e820_entry expected[] = {{0, RAM, E820_RAM},
						     {0xfffbd000, 0x3000, E820_RESERVED}};

	ck_assert_int_eq(describe(NULL, 0, 0, NULL), 0);
	ck_assert_uint_eq(read_file("etc/e820"), sizeof(expected));
	ck_assert_mem_eq(bytes, expected, sizeof(expected));
}
END_TEST

/* More than fits below the hole; none of it is touched. */
START_TEST(memory_map_above_4_gib)
{
	struct gpa_space *large;
	struct e820_map map;

	ck_assert_int_eq(gpa_space_new(MACHINE_HOLE_START + RAM, &large, NULL), 0);
	e820_build_generation1(&map, large);
	ck_assert_uint_eq(map.count, 3);
	ck_assert_uint_eq(map.entries[0].size, MACHINE_HOLE_START);
	ck_assert_uint_eq(map.entries[2].address, MACHINE_HOLE_END);
	ck_assert_uint_eq(map.entries[2].size, RAM);
	gpa_space_free(large);
}
END_TEST

START_TEST(boot_order)
{
	static const char *const order[] = {"ide1:0", "ide0:1", "network", "floppy"};

	ck_assert_int_eq(describe(order, ARRAY_LENGTH(order), 2000, NULL), 0);
	ck_assert_uint_gt(read_file("bootorder"), 0);
	ck_assert_str_eq((char *)bytes, "/pci@i0cf8/ide@7,1/drive@1/disk@0\n"
					"/pci@i0cf8/ide@7,1/drive@0/disk@1\n"
					"/pci@i0cf8/ethernet@a\n"
					"/pci@i0cf8/isa@7/fdc@03f0/floppy@0\n"
					"HALT");
	read_item(FW_CFG_BOOT_MENU, 2);
	ck_assert_uint_eq(get_le16(bytes), 1);
	ck_assert_uint_eq(read_file("etc/boot-menu-wait"), 4);
	ck_assert_uint_eq(get_le32(bytes), 2000);
}
END_TEST

START_TEST(boot_order_of_nonsense)
{
	static const char *const words[] = {"floppy", "teapot"};
	const char *many[64];
	struct error err = {.text = ""};

	for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
		many[i] = "ide0:0";
	ck_assert_int_eq(describe(words, 2, 0, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "teapot"));
	ck_assert_int_eq(describe(many, ARRAY_LENGTH(many), 0, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "too long"));
}
END_TEST

START_TEST(acpi_is_there)
{
	ck_assert_int_eq(describe(NULL, 0, 0, NULL), 0);
	ck_assert_uint_eq(read_file("etc/acpi/rsdp"), 36);
	ck_assert_mem_eq(bytes, "RSD PTR ", 8);
	ck_assert_uint_gt(read_file("etc/acpi/tables"), 0x800);
	ck_assert_mem_eq(bytes, "FACS", 4);
	ck_assert_uint_eq(read_file("etc/table-loader") % 128, 0);
	ck_assert_uint_eq(read_file("etc/vmgenid_guid"), 4096);
}
END_TEST

static uint8_t sum(const uint8_t *data, size_t size)
{
	uint8_t total = 0;

	while (size-- > 0)
		total = (uint8_t)(total + *data++);
	return total;
}

START_TEST(smbios_names_a_hyper_v_vm)
{
	size_t size;

	ck_assert_int_eq(describe(NULL, 0, 0, NULL), 0);
	ck_assert_uint_eq(read_file(SMBIOS_FILE_ANCHOR), SMBIOS_ANCHOR_SIZE);
	ck_assert_mem_eq(bytes, "_SM_", 4);
	ck_assert_mem_eq(bytes + 16, "_DMI_", 5);
	ck_assert_uint_eq(sum(bytes, SMBIOS_ANCHOR_SIZE), 0);
	ck_assert_uint_eq(get_le32(bytes + 24), 0);
	size = get_le16(bytes + 22);
	ck_assert_uint_eq(read_file(SMBIOS_FILE_STRUCTURES), size);
	/* The firmware's own structure comes first, or SeaBIOS would add one. */
	ck_assert_uint_eq(bytes[0], 0);
	ck_assert_ptr_nonnull(memmem(bytes, size, "Microsoft Corporation", 22));
	ck_assert_ptr_nonnull(memmem(bytes, size, "Virtual Machine", 16));
}
END_TEST

START_TEST(nothing_is_said_twice)
{
	struct error err = {.text = ""};

	ck_assert_int_eq(describe(NULL, 0, 0, &err), 0);
	ck_assert_int_eq(describe(NULL, 0, 0, &err), -EEXIST);
	ck_assert_uint_gt(strlen(err.text), 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("firmware", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, numbers);
	tcase_add_test(tests, memory_map);
	tcase_add_test(tests, memory_map_above_4_gib);
	tcase_add_test(tests, boot_order);
	tcase_add_test(tests, boot_order_of_nonsense);
	tcase_add_test(tests, acpi_is_there);
	tcase_add_test(tests, smbios_names_a_hyper_v_vm);
	tcase_add_test(tests, nothing_is_said_twice);
	return suite_run(suite);
}
