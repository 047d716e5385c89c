#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/load.h"
#include "vmm/machine.h"

#define PAGE		4096u
#define ONE_MIB		((uint64_t)0x100000)
#define LARGE_PAGE	0x200000ull
#define TABLE_ENTRIES	512u
#define IDENTITY_GIB	4u /* how much the page tables map one to one */
#define TABLE_PAGES	(2 + IDENTITY_GIB)
#define PTE_PRESENT_RW	0x3ull
#define PTE_LARGE	0x80ull
#define STACK_SIZE	PAGE
#define SEGMENT_CODE_64 0x00af9b000000ffffull
#define SEGMENT_CODE_32 0x00cf9b000000ffffull
#define SEGMENT_DATA	0x00cf93000000ffffull

int load_place_low(struct load *load, size_t size, const char *what, uint64_t *out,
		   struct error *err)
{
	int rc = boot_map_place_lowest(&load->map, size, PAGE, 0, what, out);

	if (rc < 0)
		return error_set(err, -rc,
				 "%s leaves no room in the guest's memory for %s; give it more "
				 "with --memory",
				 load->kernel.name, what);
	return 0;
}

int load_command_line(struct load *load, size_t max, struct error *err)
{
	const char *text = load->request->command_line;
	size_t length = strlen(text);
	int rc;

	if (length > max)
		return error_set(err, EINVAL,
				 "the kernel command line has %zu characters and %s takes %zu; "
				 "shorten --append",
				 length, load->kernel.name, max);
	rc = load_place_low(load, length + 1, "the command line", &load->command_line, err);
	if (rc < 0)
		return rc;
	return gpa_write(load->request->gpa, load->command_line, text, length + 1);
}

int load_initrd(struct load *load, uint64_t limit, struct error *err)
{
	struct boot_file file;
	int rc;

	if (load->request->initrd_fd < 0)
		return 0;
	rc = boot_file_init(&file, load->request->initrd_fd, load->request->initrd_name,
			    "an initrd", "--initrd", err);
	if (rc < 0)
		return rc;
	rc = boot_map_place_highest(&load->map, file.size, PAGE, limit, "the initrd",
				    &load->initrd);
	if (rc < 0)
		return error_set(err, EINVAL,
				 "%s: its %" PRIu64 " MiB do not fit in the guest's memory beside "
				 "the kernel; give it more with --memory, or a smaller initrd",
				 file.name, align_up(file.size, ONE_MIB) / ONE_MIB);
	load->initrd_size = file.size;
	return boot_file_load(&file, 0, file.size, load->request->gpa, load->initrd, err);
}

/* Identity maps the first IDENTITY_GIB GiB with 2 MiB pages. */
static int write_page_tables(const struct gpa_space *gpa, uint64_t at)
{
	uint64_t table[TABLE_ENTRIES] = {(at + PAGE) | PTE_PRESENT_RW};
	int rc = gpa_write(gpa, at, table, sizeof(table));

	memset(table, 0, sizeof(table));
	for (unsigned int i = 0; i < IDENTITY_GIB; i++)
		table[i] = (at + (2 + i) * PAGE) | PTE_PRESENT_RW;
	if (rc == 0)
		rc = gpa_write(gpa, at + PAGE, table, sizeof(table));
	for (unsigned int gib = 0; rc == 0 && gib < IDENTITY_GIB; gib++) {
		for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
			table[i] = ((uint64_t)gib * TABLE_ENTRIES + i) * LARGE_PAGE |
				   PTE_PRESENT_RW | PTE_LARGE;
		rc = gpa_write(gpa, at + (2 + gib) * PAGE, table, sizeof(table));
	}
	return rc;
}

static int write_descriptors(const struct gpa_space *gpa, uint64_t at, enum boot_mode mode)
{
	const uint64_t table[] = {
		[BOOT_SELECTOR_CODE / 8] =
			mode == BOOT_LONG_MODE ? SEGMENT_CODE_64 : SEGMENT_CODE_32,
		[BOOT_SELECTOR_DATA / 8] = SEGMENT_DATA,
	};

	_Static_assert(sizeof(table) == BOOT_GDT_SIZE, "boot descriptor table");
	return gpa_write(gpa, at, table, sizeof(table));
}

int load_cpu_state(struct load *load, enum boot_mode mode, uint64_t rip, struct error *err)
{
	const struct gpa_space *gpa = load->request->gpa;
	uint64_t gdt, stack, page_tables = 0;
	int rc = load_place_low(load, BOOT_GDT_SIZE, "the descriptor table", &gdt, err);

	if (rc == 0)
		rc = load_place_low(load, STACK_SIZE, "a stack", &stack, err);
	if (rc == 0 && mode == BOOT_LONG_MODE)
		rc = load_place_low(load, TABLE_PAGES * PAGE, "the page tables", &page_tables, err);
	if (rc < 0)
		return rc;
	rc = write_descriptors(gpa, gdt, mode);
	if (rc == 0 && mode == BOOT_LONG_MODE)
		rc = write_page_tables(gpa, page_tables);
	if (rc < 0)
		return rc;
	load->registers = (struct boot_registers){
		.mode = mode,
		.rip = rip,
		.rsp = stack + STACK_SIZE,
		.cr3 = page_tables,
		.gdt = gdt,
		.gdt_limit = BOOT_GDT_SIZE - 1,
	};
	return 0;
}
