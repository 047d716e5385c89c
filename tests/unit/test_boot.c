#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/wire.h"
#include "suite.h"
#include "vmm/boot.h"
#include "vmm/load_linux.h"
#include "vmm/machine.h"

/* Kernels small enough to be built here, loaded into real guest memory. */

#define MIB	  0x100000ull
#define RAM	  (64 * MIB)
#define KERNEL_AT 0x1000000ull

struct fixture {
	struct gpa_space *gpa;
	struct boot_request request;
	struct boot_result result;
	struct error err;
};

static struct fixture fix;

static void set_up(void)
{
	memset(&fix, 0, sizeof(fix));
	ck_assert_int_eq(gpa_space_new(RAM, &fix.gpa, &fix.err), 0);
	fix.request = (struct boot_request){
		.gpa = fix.gpa,
		.kernel_fd = -1,
		.kernel_name = "vmlinuz",
		.initrd_fd = -1,
		.initrd_name = "initrd.img",
		.command_line = "console=ttyS0 quiet",
		.vp_count = 2,
		.vm_generation = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
	};
}

static void tear_down(void)
{
	if (fix.request.kernel_fd >= 0)
		close(fix.request.kernel_fd);
	if (fix.request.initrd_fd >= 0)
		close(fix.request.initrd_fd);
	gpa_space_free(fix.gpa);
}

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

static int load(const void *kernel, size_t size)
{
	if (fix.request.kernel_fd >= 0)
		close(fix.request.kernel_fd);
	fix.request.kernel_fd = file_of(kernel, size);
	return boot_load(&fix.request, &fix.result, &fix.err);
}

static void refused(const void *kernel, size_t size, const char *because)
{
	const struct boot_result before = fix.result;

	fix.err.text[0] = '\0';
	ck_assert_int_lt(load(kernel, size), 0);
	ck_assert_msg(strstr(fix.err.text, because), "'%s' lacks '%s'", fix.err.text, because);
	ck_assert_msg(strstr(fix.err.text, "; "), "'%s' advises nothing", fix.err.text);
	ck_assert_mem_eq(&before, &fix.result, sizeof(before));
}

static void add_initrd(const void *data, size_t size)
{
	fix.request.initrd_fd = file_of(data, size);
}

static void check_text(uint64_t gpa, const char *expected)
{
	const char *text = gpa_pointer(fix.gpa, gpa, strlen(expected) + 1, GPA_READ);

	ck_assert_ptr_nonnull(text);
	ck_assert_str_eq(text, expected);
}

static void check_bytes(uint64_t gpa, const void *expected, size_t size)
{
	const void *bytes = gpa_pointer(fix.gpa, gpa, size, GPA_READ);

	ck_assert_ptr_nonnull(bytes);
	ck_assert_mem_eq(bytes, expected, size);
}

/* --- bzImage --- */

#define SETUP_SIZE (2 * 512)
struct bzimage {
	uint8_t bytes[SETUP_SIZE + 0x1000];
};

static struct setup_header *setup_of(struct bzimage *image)
{
	return (struct setup_header *)(image->bytes + SETUP_HEADER_OFFSET);
}

static struct bzimage bzimage_new(void)
{
	struct bzimage image = {0};

	*setup_of(&image) = (struct setup_header){
		.setup_sects = 1,
		.syssize = 0x1000 / 16,
		.boot_flag = SETUP_BOOT_FLAG,
		.jump = {0xeb, 0x66},
		.header = SETUP_MAGIC,
		.version = 0x020f,
		.loadflags = SETUP_LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.xloadflags = SETUP_XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = KERNEL_AT,
		.init_size = 0x200000,
	};
	memset(image.bytes + SETUP_SIZE, 0x5a, 0x1000);
	return image;
}

static const struct boot_params *zero_page(void)
{
	const struct boot_params *params =
		gpa_pointer(fix.gpa, fix.result.registers.rsi, sizeof(*params), GPA_READ);

	ck_assert_ptr_nonnull(params);
	return params;
}

START_TEST(bzimage_lies_where_it_asked)
{
	struct bzimage image = bzimage_new();

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_LONG_MODE);
	ck_assert_uint_eq(fix.result.registers.rip, KERNEL_AT + 0x200);
	check_bytes(KERNEL_AT, image.bytes + SETUP_SIZE, 0x1000);
	ck_assert_uint_eq(zero_page()->hdr.header, SETUP_MAGIC);
	ck_assert_uint_eq(zero_page()->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(zero_page()->hdr.pref_address, KERNEL_AT);
	ck_assert_uint_eq(zero_page()->acpi_rsdp_addr, MACHINE_TABLES_BASE);
	check_text(zero_page()->hdr.cmd_line_ptr, "console=ttyS0 quiet");
	check_bytes(fix.result.vm_generation_gpa, &fix.request.vm_generation, 16);
}
END_TEST

START_TEST(bzimage_gets_the_memory_map)
{
	struct bzimage image = bzimage_new();
	const struct boot_params *params;

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	params = zero_page();
	ck_assert_uint_eq(params->e820_entries, 4);
	ck_assert_uint_eq(params->e820_table[0].size, MACHINE_EBDA_START);
	ck_assert_uint_eq(params->e820_table[2].address, MACHINE_TABLES_BASE);
	ck_assert_uint_eq(params->e820_table[2].type, 2);
	ck_assert_uint_eq(params->e820_table[3].address, MIB);
	ck_assert_uint_eq(params->e820_table[3].size, RAM - MIB);
	ck_assert_uint_eq(params->e820_table[3].type, 1);
}
END_TEST

START_TEST(initrd_ends_below_its_limit)
{
	struct bzimage image = bzimage_new();
	uint8_t initrd[5000];

	memset(initrd, 0xc3, sizeof(initrd));
	add_initrd(initrd, sizeof(initrd));
	setup_of(&image)->initrd_addr_max = 0x1ffffff;
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_image, 0x2000000 - 0x2000);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_size, sizeof(initrd));
	check_bytes(0x2000000 - 0x2000, initrd, sizeof(initrd));
}
END_TEST

static uint64_t table_entry(uint64_t table, unsigned int index)
{
	uint64_t entry;

	ck_assert_int_eq(gpa_read(fix.gpa, table + index * 8, &entry, sizeof(entry)), 0);
	return entry;
}

/* Walks the page tables as a processor would; 0 where nothing is mapped. */
static uint64_t translate(uint64_t address)
{
	uint64_t entry = table_entry(fix.result.registers.cr3, (address >> 39) & 511);

	if (!(entry & 1))
		return 0;
	entry = table_entry(entry & ~0xfffull, (address >> 30) & 511);
	if (!(entry & 1))
		return 0;
	entry = table_entry(entry & ~0xfffull, (address >> 21) & 511);
	if ((entry & 0x81) != 0x81)
		return 0;
	return (entry & ~0x1fffffull) + (address & 0x1fffff);
}

START_TEST(page_tables_map_4_gib_one_to_one)
{
	struct bzimage image = bzimage_new();

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	for (uint64_t address = 0x1234; address < 0x100000000; address += 0x7654321)
		ck_assert_uint_eq(translate(address), address);
	ck_assert_uint_eq(translate(0x100000000), 0);
	ck_assert_uint_eq(table_entry(fix.result.registers.gdt, BOOT_SELECTOR_CODE / 8),
			  0x00af9b000000ffff);
	ck_assert_uint_eq(table_entry(fix.result.registers.gdt, BOOT_SELECTOR_DATA / 8),
			  0x00cf93000000ffff);
}
END_TEST

START_TEST(bzimage_that_cannot_be_is_refused)
{
	struct bzimage image = bzimage_new();

	refused(&image, SETUP_SIZE + 0xf00, "truncated");
	refused(&image, SETUP_SIZE - 100, "truncated");
	setup_of(&image)->syssize = UINT32_MAX;
	refused(&image, sizeof(image), "truncated");
	image = bzimage_new();
	setup_of(&image)->init_size = RAM;
	refused(&image, sizeof(image), "--memory");
	setup_of(&image)->init_size = 0x200000;
	setup_of(&image)->pref_address = UINT64_MAX - 0x1000;
	refused(&image, sizeof(image), "linked lower");
	setup_of(&image)->pref_address = 0x98000;
	refused(&image, sizeof(image), "lies over");
	image = bzimage_new();
	setup_of(&image)->xloadflags = 0;
	refused(&image, sizeof(image), "64-bit");
}
END_TEST

START_TEST(command_line_keeps_to_the_kernels_limit)
{
	struct bzimage image = bzimage_new();

	setup_of(&image)->cmdline_size = 19;
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	setup_of(&image)->cmdline_size = 18;
	refused(&image, sizeof(image), "--append");
}
END_TEST

START_TEST(device_tree_comes_as_setup_data)
{
	struct bzimage image = bzimage_new();
	struct setup_data node;
	const void *tree;
	uint64_t at;
	int vmbus;

	fix.request.device_tree = true;
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	at = zero_page()->hdr.setup_data;
	ck_assert_int_eq(gpa_read(fix.gpa, at, &node, sizeof(node)), 0);
	ck_assert_uint_eq(node.type, SETUP_DATA_DTB);
	ck_assert_uint_eq(node.next, 0);
	tree = gpa_pointer(fix.gpa, at + sizeof(node), node.length, GPA_READ);
	ck_assert_ptr_nonnull(tree);
	ck_assert_int_eq(fdt_check_full(tree, node.length), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/cpus/cpu@1"), 0);
	ck_assert_int_lt(fdt_path_offset(tree, "/cpus/cpu@2"), 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/memory@0"), 0);
	vmbus = fdt_node_offset_by_compatible(tree, -1, "microsoft,vmbus");
	ck_assert_int_ge(vmbus, 0);
	ck_assert_ptr_nonnull(fdt_getprop(tree, vmbus, "ranges", NULL));
}
END_TEST

/* --- ELF --- */

struct elf64 {
	Elf64_Ehdr header;
	Elf64_Phdr segments[3];
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint32_t entry;
	} note;
	uint32_t multiboot[8];
	uint8_t code[256];
};

static struct elf64 elf64_new(void)
{
	struct elf64 image = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       EV_CURRENT},
			   .e_type = ET_EXEC,
			   .e_machine = EM_X86_64,
			   .e_version = EV_CURRENT,
			   .e_entry = KERNEL_AT + 16,
			   .e_phoff = offsetof(struct elf64, segments),
			   .e_ehsize = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = 2},
		.segments = {{.p_type = PT_LOAD,
			      .p_offset = offsetof(struct elf64, code),
			      .p_vaddr = 0xffffffff81000000,
			      .p_paddr = KERNEL_AT,
			      .p_filesz = 256,
			      .p_memsz = 0x3000},
			     {.p_type = PT_LOAD,
			      .p_offset = offsetof(struct elf64, code),
			      .p_paddr = KERNEL_AT + 0x3000,
			      .p_filesz = 256,
			      .p_memsz = 256},
			     {.p_type = PT_NOTE,
			      .p_offset = offsetof(struct elf64, note),
			      .p_filesz = sizeof(image.note)}},
		.note = {{4, 4, 18}, "Xen", KERNEL_AT + 0x40},
	};

	memset(image.code, 0x90, sizeof(image.code));
	return image;
}

START_TEST(vmlinux_starts_at_its_entry)
{
	struct elf64 image = elf64_new();

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_LONG_MODE);
	ck_assert_uint_eq(fix.result.registers.rip, KERNEL_AT + 16);
	check_bytes(KERNEL_AT, image.code, sizeof(image.code));
	check_bytes(KERNEL_AT + 0x3000, image.code, sizeof(image.code));
	ck_assert_uint_eq(zero_page()->hdr.header, SETUP_MAGIC);
	check_text(zero_page()->hdr.cmd_line_ptr, "console=ttyS0 quiet");
}
END_TEST

START_TEST(pvh_note_wins_unless_a_tree_is_wanted)
{
	struct elf64 image = elf64_new();
	const uint8_t *info;

	image.header.e_phnum = 3;
	image.header.e_entry = 0xffffffff81000000;
	add_initrd("initrd", 6);
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_PROTECTED_MODE);
	ck_assert_uint_eq(fix.result.registers.rip, KERNEL_AT + 0x40);
	info = gpa_pointer(fix.gpa, fix.result.registers.rbx, 56, GPA_READ);
	ck_assert_uint_eq(get_le32(info), 0x336ec578);
	ck_assert_uint_eq(get_le32(info + 12), 1);
	check_text(get_le64(info + 24), "console=ttyS0 quiet");
	ck_assert_uint_eq(get_le64(info + 32), MACHINE_TABLES_BASE);
	ck_assert_uint_eq(get_le32(info + 48), 4);
	fix.request.device_tree = true;
	refused(&image, sizeof(image), "entry point");
	image.header.e_entry = KERNEL_AT + 16;
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_LONG_MODE);
}
END_TEST

START_TEST(elf_that_cannot_be_is_refused)
{
	struct elf64 image = elf64_new();

	image.segments[1].p_paddr = KERNEL_AT + 0x2fff;
	refused(&image, sizeof(image), "lies over");
	image.segments[1].p_paddr = 0xe0000;
	refused(&image, sizeof(image), "lies over");
	image.segments[1].p_paddr = UINT64_MAX;
	refused(&image, sizeof(image), "linked lower");
	image.segments[1].p_paddr = RAM - 255;
	refused(&image, sizeof(image), "--memory");
	image = elf64_new();
	image.segments[1].p_offset = UINT64_MAX - 10;
	refused(&image, sizeof(image), "truncated");
	image = elf64_new();
	image.segments[0].p_filesz = 0x4000;
	refused(&image, sizeof(image), "larger in the file");
	image = elf64_new();
	image.header.e_entry = 5;
	refused(&image, sizeof(image), "entry point");
	image.header.e_phoff = UINT64_MAX - 20;
	refused(&image, sizeof(image), "truncated");
	image.header.e_phnum = 60000;
	refused(&image, sizeof(image), "program headers");
}
END_TEST

/* A static program is linked to where there is RAM, and would run into the void. */
START_TEST(elf_programs_are_no_kernels)
{
	static const uint32_t types[] = {PT_INTERP, PT_DYNAMIC, PT_TLS};
	struct elf64 image = elf64_new();

	image.segments[1].p_type = types[_i];
	refused(&image, sizeof(image), "not a kernel");
	image.header.e_phnum = 3; /* with a PVH note it says of itself that it is one */
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
}
END_TEST

/* --- multiboot-1 --- */

static void set_multiboot(uint32_t *header, uint32_t flags)
{
	header[0] = 0x1badb002;
	header[1] = flags;
	header[2] = -(header[0] + header[1]);
}

/* A 64-bit ELF file loaded by the address fields of its multiboot header, as payloads are. */
static struct elf64 multiboot_new(void)
{
	struct elf64 image = elf64_new();

	image.header.e_entry = 0;
	set_multiboot(image.multiboot, 0x10003);
	image.multiboot[3] = MIB;
	image.multiboot[4] = MIB;
	image.multiboot[5] = MIB + 0x100;
	image.multiboot[6] = MIB + 0x8000;
	image.multiboot[7] = MIB + 0x20;
	return image;
}

START_TEST(multiboot_loads_by_its_address_fields)
{
	struct elf64 image = multiboot_new();
	const uint8_t *info, *map, *module;

	add_initrd("module", 6);
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_PROTECTED_MODE);
	ck_assert_uint_eq(fix.result.registers.rip, MIB + 0x20);
	ck_assert_uint_eq(fix.result.registers.rax, 0x2badb002);
	check_bytes(MIB, image.multiboot, 0x100);
	info = gpa_pointer(fix.gpa, fix.result.registers.rbx, 88, GPA_READ);
	ck_assert_uint_eq(get_le32(info), 0x4d);
	ck_assert_uint_eq(get_le32(info + 4), 639);
	ck_assert_uint_eq(get_le32(info + 8), (RAM - MIB) / 1024);
	check_text(get_le32(info + 16), "console=ttyS0 quiet");
	ck_assert_uint_eq(get_le32(info + 44), 4 * 24);
	map = gpa_pointer(fix.gpa, get_le32(info + 48), 24, GPA_READ);
	ck_assert_uint_eq(get_le32(map), 20);
	ck_assert_uint_eq(get_le64(map + 12), MACHINE_EBDA_START);
	module = gpa_pointer(fix.gpa, get_le32(info + 24), 16, GPA_READ);
	ck_assert_uint_eq(get_le32(module + 4) - get_le32(module), 6);
	check_bytes(get_le32(module), "module", 6);
}
END_TEST

START_TEST(multiboot_loads_by_elf_headers)
{
	struct elf64 image = elf64_new();

	set_multiboot(image.multiboot, 3);
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_int_eq(fix.result.registers.mode, BOOT_PROTECTED_MODE);
	ck_assert_uint_eq(fix.result.registers.rip, KERNEL_AT + 16);
}
END_TEST

START_TEST(multiboot_that_cannot_be_is_refused)
{
	struct elf64 image = multiboot_new();

	image.multiboot[3] = MIB - 4;
	refused(&image, sizeof(image), "contradict");
	image.multiboot[3] = MIB + 0x10000;
	refused(&image, sizeof(image), "contradict");
	image = multiboot_new();
	image.multiboot[5] = MIB + 0x10000;
	refused(&image, sizeof(image), "contradict");
	image = multiboot_new();
	image.multiboot[6] = MIB + 1;
	refused(&image, sizeof(image), "contradict");
	image = multiboot_new();
	image.multiboot[7] = MIB + 0x8000;
	refused(&image, sizeof(image), "contradict");
	image = multiboot_new();
	set_multiboot(image.multiboot, 0x10007);
	refused(&image, sizeof(image), "video mode");
	image = multiboot_new();
	fix.request.device_tree = true;
	refused(&image, sizeof(image), "--dtb");
}
END_TEST

/* --- files --- */

START_TEST(what_is_no_kernel_is_refused)
{
	uint8_t noise[9000];

	memset(noise, 0xee, sizeof(noise));
	refused(noise, sizeof(noise), "vmlinuz is not a kernel");
	refused(noise, 1, "vmlinuz is not a kernel");
	refused(noise, 0, "vmlinuz is empty");
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	fix.request.kernel_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(boot_load(&fix.request, &fix.result, &fix.err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fix.err.text, "vmlinuz is a directory; give"));
	close(fix.request.kernel_fd);
	fix.request.kernel_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(boot_load(&fix.request, &fix.result, &fix.err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fix.err.text, "vmlinuz is not a regular file; give"));
}
END_TEST

START_TEST(initrd_that_cannot_be_is_refused)
{
	struct bzimage image = bzimage_new();

	add_initrd("", 0);
	refused(&image, sizeof(image), "initrd.img is empty");
	ck_assert_int_eq(ftruncate(fix.request.initrd_fd, RAM), 0);
	refused(&image, sizeof(image), "initrd.img: its 64 MiB do not fit");
}
END_TEST

START_TEST(the_bios_entry_resets)
{
	static const uint8_t code[] = {0xba, 0x02, 0x06, 0xb0, 0x01, 0xee};
	struct bzimage image = bzimage_new();

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	check_bytes(0xffff0, code, sizeof(code));
}
END_TEST

START_TEST(a_second_load_gives_the_same)
{
	struct bzimage image = bzimage_new();
	struct boot_result first;

	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	first = fix.result;
	ck_assert_int_eq(gpa_discard_all(fix.gpa), 0);
	ck_assert_int_eq(load(&image, sizeof(image)), 0);
	ck_assert_mem_eq(&first, &fix.result, sizeof(first));
	check_text(zero_page()->hdr.cmd_line_ptr, "console=ttyS0 quiet");
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("boot", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, bzimage_lies_where_it_asked);
	tcase_add_test(tests, bzimage_gets_the_memory_map);
	tcase_add_test(tests, initrd_ends_below_its_limit);
	tcase_add_test(tests, page_tables_map_4_gib_one_to_one);
	tcase_add_test(tests, bzimage_that_cannot_be_is_refused);
	tcase_add_test(tests, command_line_keeps_to_the_kernels_limit);
	tcase_add_test(tests, device_tree_comes_as_setup_data);
	tcase_add_test(tests, vmlinux_starts_at_its_entry);
	tcase_add_test(tests, pvh_note_wins_unless_a_tree_is_wanted);
	tcase_add_test(tests, elf_that_cannot_be_is_refused);
	tcase_add_loop_test(tests, elf_programs_are_no_kernels, 0, 3);
	tcase_add_test(tests, multiboot_loads_by_its_address_fields);
	tcase_add_test(tests, multiboot_loads_by_elf_headers);
	tcase_add_test(tests, multiboot_that_cannot_be_is_refused);
	tcase_add_test(tests, what_is_no_kernel_is_refused);
	tcase_add_test(tests, what_is_no_file_is_refused);
	tcase_add_test(tests, initrd_that_cannot_be_is_refused);
	tcase_add_test(tests, the_bios_entry_resets);
	tcase_add_test(tests, a_second_load_gives_the_same);
	return suite_run(suite);
}
