#include "devices/chipset/firmware.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/acpi.h"
#include "vmm/e820.h"
#include "vmm/machine.h"
#include "vmm/smbios.h"

#define BOOT_TEXT_MAX 1024u
#define BOOT_NO_MORE  "HALT" /* SeaBIOS, src/boot.c: ends what it tries */
/* A firmware that finds nothing to boot says so and waits for its user. */
#define WAIT_FOREVER  UINT32_MAX

/* The firmware's names of devices are the paths of Open Firmware. */
static const struct {
	const char *word;
	const char *path;
} boot_paths[] = {
	{"ide0:0", "/pci@i0cf8/ide@7,1/drive@0/disk@0"},
	{"ide0:1", "/pci@i0cf8/ide@7,1/drive@0/disk@1"},
	{"ide1:0", "/pci@i0cf8/ide@7,1/drive@1/disk@0"},
	{"ide1:1", "/pci@i0cf8/ide@7,1/drive@1/disk@1"},
	{"floppy", "/pci@i0cf8/isa@7/fdc@03f0/floppy@0"},
	{"network", "/pci@i0cf8/ethernet@a"},
};

static const char *path_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_LENGTH(boot_paths); i++) {
		if (strcmp(boot_paths[i].word, word) == 0)
			return boot_paths[i].path;
	}
	return NULL;
}

/* Paths, one a line, and that all else is not tried; "" where the order is the firmware's own. */
static int format_boot_order(const struct firmware_machine *machine, char text[BOOT_TEXT_MAX],
			     struct error *err)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < machine->boot_count; i++) {
		const char *path = path_of(machine->boot_order[i]);

		if (!path)
			return error_set(err, EINVAL,
					 "\"%.20s\" is nothing to boot from; name floppy, network "
					 "or ide0:0 to ide1:1",
					 machine->boot_order[i]);
		if (used + strlen(path) + sizeof("\n" BOOT_NO_MORE) > BOOT_TEXT_MAX)
			return error_set(err, EINVAL,
					 "the boot order is too long; name each device once");
		used += (size_t)sprintf(text + used, "%s\n", path);
	}
	if (machine->boot_order)
		strcpy(text + used, BOOT_NO_MORE);
	return 0;
}

static int add_u16(struct fw_cfg *fw_cfg, uint16_t key, unsigned int value)
{
	const uint16_t bytes = htole16((uint16_t)value);

	return fw_cfg_add(fw_cfg, key, &bytes, sizeof(bytes));
}

static int add_file_u32(struct fw_cfg *fw_cfg, const char *name, uint32_t value)
{
	const uint32_t bytes = htole32(value);

	return fw_cfg_add_file(fw_cfg, name, &bytes, sizeof(bytes));
}

static int add_memory(struct fw_cfg *fw_cfg, const struct gpa_space *gpa)
{
	const uint64_t bytes = htole64(gpa_ram_bytes(gpa));
	struct e820_map map;
	int r = fw_cfg_add(fw_cfg, FW_CFG_RAM_SIZE, &bytes, sizeof(bytes));

	e820_build_generation1(&map, gpa);
	return r < 0 ? r
		     : fw_cfg_add_file(fw_cfg, "etc/e820", map.entries,
				       map.count * sizeof(map.entries[0]));
}

static int add_processors(struct fw_cfg *fw_cfg, unsigned int vp_count)
{
	const uint32_t override = htole32(1);
	int r = add_u16(fw_cfg, FW_CFG_CPUS, vp_count);

	if (r == 0)
		r = add_u16(fw_cfg, FW_CFG_MAX_CPUS, vp_count);
	if (r == 0)
		r = fw_cfg_add(fw_cfg, FW_CFG_IRQ0_OVERRIDE, &override, sizeof(override));
	return r;
}

static int add_acpi_image(struct fw_cfg *fw_cfg, const struct acpi_image *image)
{
	int r = fw_cfg_add_file(fw_cfg, ACPI_FILE_SCRIPT, image->script, image->script_size);

	if (r == 0)
		r = fw_cfg_add_file(fw_cfg, ACPI_FILE_TABLES, image->tables, image->tables_size);
	if (r == 0)
		r = fw_cfg_add_file(fw_cfg, ACPI_FILE_RSDP, image->rsdp, sizeof(image->rsdp));
	if (r == 0)
		r = fw_cfg_add_file(fw_cfg, ACPI_FILE_GENERATION, image->generation,
				    sizeof(image->generation));
	return r;
}

static int add_acpi(struct fw_cfg *fw_cfg, const struct firmware_machine *machine)
{
	uint64_t window = machine_high_window(gpa_ram_end(machine->gpa));
	struct acpi_image image;
	int r = acpi_generation1_build(machine->vp_count, window, &machine->vm_generation, &image);

	if (r < 0)
		return r;
	r = add_acpi_image(fw_cfg, &image);
	acpi_image_cleanup(&image);
	return r;
}

static int add_smbios(struct fw_cfg *fw_cfg)
{
	struct smbios_image image;
	int r;

	smbios_build(&image);
	r = fw_cfg_add_file(fw_cfg, SMBIOS_FILE_ANCHOR, image.anchor, sizeof(image.anchor));
	if (r == 0)
		r = fw_cfg_add_file(fw_cfg, SMBIOS_FILE_STRUCTURES, image.structures, image.size);
	return r;
}

static int add_boot_menu(struct fw_cfg *fw_cfg, unsigned int ms)
{
	int r = add_u16(fw_cfg, FW_CFG_BOOT_MENU, ms > 0);

	if (r == 0)
		r = add_file_u32(fw_cfg, "etc/boot-menu-wait", ms);
	if (r == 0)
		r = add_file_u32(fw_cfg, "etc/boot-fail-wait", WAIT_FOREVER);
	return r;
}

int firmware_describe(struct fw_cfg *fw_cfg, const struct firmware_machine *machine,
		      struct error *err)
{
	char boot_order[BOOT_TEXT_MAX];
	int r = format_boot_order(machine, boot_order, err);

	if (r < 0)
		return r;
	if (boot_order[0])
		r = fw_cfg_add_file(fw_cfg, "bootorder", boot_order, strlen(boot_order) + 1);
	if (r == 0)
		r = add_memory(fw_cfg, machine->gpa);
	if (r == 0)
		r = add_processors(fw_cfg, machine->vp_count);
	if (r == 0)
		r = add_acpi(fw_cfg, machine);
	if (r == 0)
		r = add_smbios(fw_cfg);
	if (r == 0)
		r = add_boot_menu(fw_cfg, machine->boot_menu_ms);
	return r < 0 ? error_host(err, -r, "cannot describe the machine to its firmware") : 0;
}
