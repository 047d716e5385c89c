#include "vmm/boot.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/acpi.h"
#include "vmm/load.h"
#include "vmm/machine.h"
#include "vmm/smbios.h"

#define RAM_MIN 0x200000ull

static int check_request(const struct boot_request *request, struct error *err)
{
	if (request->vp_count == 0 || request->vp_count > MACHINE_MAX_VPS)
		return error_set(err, EINVAL,
				 "%u virtual processors are not possible; give 1 to "
				 "%u with --cpus",
				 request->vp_count, MACHINE_MAX_VPS);
	if (gpa_ram_bytes(request->gpa) < RAM_MIN)
		return error_set(err, EINVAL,
				 "the guest's memory has no room for any kernel; give it at least "
				 "%llu MiB with --memory",
				 RAM_MIN >> 20);
	return 0;
}

/* Opens the kernel and reads the part that tells its kind. */
static int read_head(struct load *load, struct error *err)
{
	const struct boot_request *request = load->request;
	int rc = boot_file_init(&load->kernel, request->kernel_fd, request->kernel_name,
				"an x86-64 Linux kernel", "--kernel", err);

	if (rc < 0)
		return rc;
	return boot_file_read(&load->kernel, 0, load->head,
			      MIN(load->kernel.size, (uint64_t)LOAD_HEAD_SIZE), err);
}

/*
 * Linux on hardware-reduced ACPI does not reset by ACPI's register: without EFI it goes back to
 * real mode and jumps to the BIOS.  So there is that much of one: it writes the register.
 */
static int write_reset_vector(const struct gpa_space *gpa)
{
	static const uint8_t code[] = {
		0xba,
		MACHINE_PORT_RESET & 0xff,
		MACHINE_PORT_RESET >> 8, /* mov dx, RESET */
		0xb0,
		MACHINE_RESET_VALUE, /* mov al, value */
		0xee,		     /* out dx, al */
		0xf4,		     /* 1: hlt */
		0xeb,
		0xfd, /* jmp 1b */
	};

	_Static_assert(MACHINE_RESET_VECTOR + sizeof(code) <=
			       MACHINE_TABLES_BASE + MACHINE_TABLES_SIZE,
		       "reset vector");
	return gpa_write(gpa, MACHINE_RESET_VECTOR, code, sizeof(code));
}

/* ACPI and SMBIOS, which every protocol's guest finds where a BIOS would have left them. */
static int write_tables(struct load *load, struct error *err)
{
	const struct boot_request *request = load->request;
	int rc = acpi_write(request->gpa, request->vp_count, &load->rsdp);

	if (rc == 0)
		rc = smbios_write(request->gpa);
	if (rc == 0)
		rc = write_reset_vector(request->gpa);
	if (rc == 0)
		rc = gpa_write(request->gpa, MACHINE_VM_GENERATION, &request->vm_generation,
			       sizeof(request->vm_generation));
	if (rc < 0)
		return error_host(err, -rc, "cannot write the machine's tables");
	return 0;
}

/* An ELF's protocol: see boot_load. */
static int load_elf(struct load *load, struct error *err)
{
	uint32_t pvh_entry = 0;
	size_t multiboot;
	int rc;

	rc = load_elf_pvh_entry(load, &pvh_entry, err);
	if (rc < 0)
		return rc;
	if (rc > 0 && !(load->request->device_tree && load_is_elf64(load)))
		return load_pvh(load, pvh_entry, err);
	if (rc == 0 && load_is_multiboot(load, &multiboot))
		return load_multiboot(load, multiboot, err);
	if (rc == 0)
		rc = load_elf_check_kernel(load, err);
	if (rc < 0)
		return rc;
	if (load_is_elf64(load))
		return load_vmlinux(load, err);
	return error_set(err, EINVAL,
			 "%s is a 32-bit ELF file with neither a PVH note nor a multiboot header; "
			 "give an x86-64 Linux kernel to --kernel",
			 load->kernel.name);
}

static int load_by_kind(struct load *load, struct error *err)
{
	size_t multiboot;

	if (load_is_bzimage(load))
		return load_bzimage(load, err);
	if (load_is_elf(load))
		return load_elf(load, err);
	if (load_is_multiboot(load, &multiboot))
		return load_multiboot(load, multiboot, err);
	return error_set(err, EINVAL,
			 "%s is not a kernel that Bulkhead can boot (bzImage, ELF vmlinux, PVH or "
			 "multiboot-1 ELF); give an x86-64 Linux kernel to --kernel",
			 load->kernel.name);
}

int boot_load(const struct boot_request *request, struct boot_result *result, struct error *err)
{
	CLEANUP_FREE struct load *load = calloc(1, sizeof(*load));
	int rc = check_request(request, err);

	if (rc < 0)
		return rc;
	if (!load)
		return error_memory(err, request->kernel_name);
	load->request = request;
	boot_map_init(&load->map, request->gpa);
	e820_build(&load->e820, request->gpa);
	rc = read_head(load, err);
	if (rc == 0)
		rc = write_tables(load, err);
	if (rc == 0)
		rc = load_by_kind(load, err);
	if (rc < 0)
		return rc;
	if (request->device_tree && load->registers.mode != BOOT_LONG_MODE)
		return error_set(err, EINVAL,
				 "%s is not booted by Linux's 64-bit protocol, the only one that "
				 "carries a device tree; leave out --dtb or give a Linux kernel",
				 request->kernel_name);
	*result = (struct boot_result){load->registers, MACHINE_VM_GENERATION};
	return 0;
}
