#include "vmm/load_linux.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/load.h"
#include "vmm/machine.h"
#include "vmm/machine_fdt.h"

#define SECTOR		      512u
#define DEFAULT_SECTORS	      4u    /* what a setup_sects of 0 stands for */
#define COMMAND_LINE_LINUX    2047u /* x86 Linux's COMMAND_LINE_SIZE without the NUL */
#define SETUP_VERSION_VMLINUX 0x020f

static void setup_header_of(const struct load *load, struct setup_header *out)
{
	memcpy(out, load->head + SETUP_HEADER_OFFSET, sizeof(*out));
}

bool load_is_bzimage(const struct load *load)
{
	struct setup_header header;

	setup_header_of(load, &header);
	return header.boot_flag == SETUP_BOOT_FLAG && header.header == SETUP_MAGIC;
}

/* The device tree in a setup_data node; *out is 0 if none was asked for. */
static int place_device_tree(struct load *load, uint64_t *out, struct error *err)
{
	const struct machine_fdt_config config = {
		.gpa = load->request->gpa,
		.vp_count = load->request->vp_count,
		.command_line = load->request->command_line,
		.initrd = load->initrd,
		.initrd_size = load->initrd_size,
	};
	CLEANUP_FREE void *tree = NULL;
	struct setup_data node = {.type = SETUP_DATA_DTB};
	size_t size;
	int rc;

	*out = 0;
	if (!load->request->device_tree)
		return 0;
	rc = machine_fdt_build(&config, &tree, &size);
	if (rc < 0)
		return error_host(err, -rc, "cannot build the device tree");
	node.length = (uint32_t)size;
	rc = boot_map_place_highest(&load->map, sizeof(node) + size, 8, MACHINE_HOLE_START,
				    "the device tree", out);
	if (rc == 0)
		rc = gpa_write(load->request->gpa, *out, &node, sizeof(node));
	if (rc == 0)
		rc = gpa_write(load->request->gpa, *out + sizeof(node), tree, size);
	if (rc < 0)
		return error_set(err, -rc,
				 "%s leaves no room in the guest's memory for the "
				 "device tree; give it more with --memory",
				 load->kernel.name);
	return 0;
}

static void fill_boot_params(const struct load *load, const struct setup_header *header,
			     uint64_t setup_data, struct boot_params *params)
{
	params->acpi_rsdp_addr = load->rsdp;
	params->e820_entries = (uint8_t)load->e820.count;
	memcpy(params->e820_table, load->e820.entries,
	       load->e820.count * sizeof(load->e820.entries[0]));
	params->hdr = *header;
	params->hdr.type_of_loader = SETUP_LOADER_OTHER;
	params->hdr.cmd_line_ptr = (uint32_t)load->command_line;
	params->hdr.ramdisk_image = (uint32_t)load->initrd;
	params->hdr.ramdisk_size = (uint32_t)load->initrd_size;
	params->hdr.setup_data = setup_data;
}

/* What follows the kernel's own placement: boot_params and the processor's state. */
static int finish(struct load *load, const struct setup_header *header, uint64_t entry,
		  struct error *err)
{
	CLEANUP_FREE struct boot_params *params = calloc(1, sizeof(*params));
	uint64_t initrd_limit = (uint64_t)header->initrd_addr_max + 1;
	uint64_t zero_page, setup_data;
	int rc;

	if (!params)
		return error_memory(err, "the boot parameters");
	rc = load_command_line(load, header->cmdline_size, err);
	if (rc == 0)
		rc = load_initrd(load, initrd_limit, err);
	if (rc == 0)
		rc = place_device_tree(load, &setup_data, err);
	if (rc == 0)
		rc = load_place_low(load, sizeof(*params), "the boot parameters", &zero_page, err);
	if (rc == 0)
		rc = load_cpu_state(load, BOOT_LONG_MODE, entry, err);
	if (rc < 0)
		return rc;
	fill_boot_params(load, header, setup_data, params);
	load->registers.rsi = zero_page;
	return gpa_write(load->request->gpa, zero_page, params, sizeof(*params));
}

static int check_header(const struct load *load, const struct setup_header *header,
			struct error *err)
{
	if (header->version < SETUP_VERSION_MIN || !(header->xloadflags & SETUP_XLF_KERNEL_64))
		return error_set(err, EINVAL,
				 "%s has no 64-bit entry point (boot protocol %u.%u); give an "
				 "x86-64 Linux kernel, 3.8 or newer",
				 load->kernel.name, header->version >> 8, header->version & 0xff);
	if (!(header->loadflags & SETUP_LOADED_HIGH))
		return error_set(err, EINVAL,
				 "%s is a zImage, which is loaded below 1 MiB; give a bzImage",
				 load->kernel.name);
	return 0;
}

/* Only the bytes that this kernel's header has are its header. */
static void trim_header(struct setup_header *header)
{
	size_t end = 0x202 + header->jump[1] - SETUP_HEADER_OFFSET;

	if (end < sizeof(*header))
		memset((uint8_t *)header + end, 0, sizeof(*header) - end);
}

int load_bzimage(struct load *load, struct error *err)
{
	struct setup_header header;
	uint64_t setup, image, memory;
	int rc;

	setup_header_of(load, &header);
	trim_header(&header);
	rc = check_header(load, &header, err);
	if (rc < 0)
		return rc;
	setup = (1 + (header.setup_sects ? header.setup_sects : DEFAULT_SECTORS)) * SECTOR;
	image = (uint64_t)header.syssize * 16;
	/* syssize rounds up to a paragraph; the file need not. */
	if (image <= SETUP_ENTRY_64 || setup >= load->kernel.size ||
	    load->kernel.size - setup + 15 < image)
		return error_set(err, EINVAL, "%s is truncated; give the whole kernel",
				 load->kernel.name);
	image = MIN(image, load->kernel.size - setup);
	memory = MAX(image, (uint64_t)header.init_size);
	rc = boot_map_claim(&load->map, header.pref_address, memory, load->kernel.name,
			    "the kernel", err);
	if (rc == 0)
		rc = boot_file_load(&load->kernel, setup, image, load->request->gpa,
				    header.pref_address, err);
	if (rc < 0)
		return rc;
	return finish(load, &header, header.pref_address + SETUP_ENTRY_64, err);
}

int load_vmlinux(struct load *load, struct error *err)
{
	const struct setup_header header = {
		.boot_flag = SETUP_BOOT_FLAG,
		.header = SETUP_MAGIC,
		.version = SETUP_VERSION_VMLINUX,
		.loadflags = SETUP_LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.xloadflags = SETUP_XLF_KERNEL_64,
		.cmdline_size = COMMAND_LINE_LINUX,
	};
	uint64_t entry;
	int rc = load_elf_entry(load, &entry, err);

	if (rc == 0)
		rc = load_elf_segments(load, entry, err);
	return rc < 0 ? rc : finish(load, &header, entry, err);
}
