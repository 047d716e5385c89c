#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "suite.h"
#include "vmm/acpi.h"
#include "vmm/acpi_tables.h"
#include "vmm/machine.h"

/*
 * The tables as a firmware leaves them: this is one, which obeys the script in a memory of its own
 * and puts files where it pleases.
 */

#define COMMAND	      128u
#define NAME	      56u
#define MEMORY_BASE   0x7ff00000ull
#define MEMORY_SIZE   0x20000u
#define RSDP_AT	      0x100ull
#define TABLES_AT     0x4040ull /* no rounder than was asked for */
#define GENERATION_AT 0x3000ull

static const struct guid generation = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

struct file {
	const char *name;
	const void *data;
	size_t size;
	uint64_t at; /* in memory */
	uint32_t align;
	bool placed;
};

static struct acpi_image image;
static uint8_t memory[MEMORY_SIZE];
static struct file files[3];

static struct file *file_of(const uint8_t *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		if (strncmp(files[i].name, (const char *)name, NAME) == 0)
			return &files[i];
	}
	ck_abort_msg("no file %.55s", (const char *)name);
	return NULL;
}

static uint8_t sum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t total = 0;

	while (size-- > 0)
		total = (uint8_t)(total + *byte++);
	return total;
}

static void allocate(const uint8_t *c)
{
	struct file *file = file_of(c);
	uint32_t align = get_le32(c + NAME);

	ck_assert(!file->placed);
	ck_assert_uint_eq(align, file->align);
	ck_assert_uint_eq(file->at % align, 0);
	/* The root pointer is for the F segment, the rest for high memory. */
	ck_assert_uint_eq(c[NAME + 4], file->at == RSDP_AT ? 2 : 1);
	memcpy(memory + file->at, file->data, file->size);
	file->placed = true;
}

static void add_pointer(const uint8_t *c)
{
	struct file *to = file_of(c), *from = file_of(c + NAME);
	uint32_t offset = get_le32(c + 2 * NAME);
	uint8_t size = c[2 * NAME + 4];
	uint8_t bytes[8] = {0};

	ck_assert(to->placed && from->placed);
	ck_assert(size == 4 || size == 8);
	ck_assert(range_within(offset, size, to->size));
	memcpy(bytes, memory + to->at + offset, size);
	put_le64(bytes, get_le64(bytes) + MEMORY_BASE + from->at);
	memcpy(memory + to->at + offset, bytes, size);
}

static void add_checksum(const uint8_t *c)
{
	struct file *file = file_of(c);
	uint32_t offset = get_le32(c + NAME), start = get_le32(c + NAME + 4);
	uint32_t length = get_le32(c + NAME + 8);
	uint8_t *at = memory + file->at;

	ck_assert(range_within(start, length, file->size));
	ck_assert(range_within(offset, 1, file->size));
	at[offset] = (uint8_t)(at[offset] - sum(at + start, length));
}

static void obey(const uint8_t *command)
{
	switch (get_le32(command)) {
	case 1:
		allocate(command + 4);
		break;
	case 2:
		add_pointer(command + 4);
		break;
	case 3:
		add_checksum(command + 4);
		break;
	default:
		ck_abort_msg("command %u", get_le32(command));
	}
}

static void place(unsigned int vp_count)
{
	ck_assert_int_eq(
		acpi_generation1_build(vp_count, MACHINE_VMBUS_HIGH_MMIO_BASE, &generation, &image),
		0);
	files[0] = (struct file){ACPI_FILE_RSDP, image.rsdp, sizeof(image.rsdp), RSDP_AT, 16};
	files[1] = (struct file){ACPI_FILE_TABLES, image.tables, image.tables_size, TABLES_AT, 64};
	files[2] = (struct file){ACPI_FILE_GENERATION, image.generation, sizeof(image.generation),
				 GENERATION_AT, 4096};
	memset(memory, 0xee, sizeof(memory));
	ck_assert_uint_eq(image.script_size % COMMAND, 0);
	for (size_t at = 0; at < image.script_size; at += COMMAND)
		obey(image.script + at);
}

static void tear_down(void)
{
	acpi_image_cleanup(&image);
}

static const struct acpi_header *table_at(uint64_t address)
{
	const struct acpi_header *header = (void *)(memory + (address - MEMORY_BASE));

	ck_assert_uint_ge(address, MEMORY_BASE + TABLES_AT);
	ck_assert_uint_lt(address, MEMORY_BASE + TABLES_AT + image.tables_size);
	ck_assert_uint_le(address + header->length, MEMORY_BASE + TABLES_AT + image.tables_size);
	ck_assert_uint_eq(sum(header, header->length), 0);
	return header;
}

/* By the XSDT, or by the RSDT as an older guest. */
static const struct acpi_header *find(const char *signature, bool old)
{
	const struct acpi_rsdp *rsdp = (void *)(memory + RSDP_AT);
	const struct acpi_header *root = table_at(old ? rsdp->rsdt : rsdp->xsdt);
	const uint32_t step = old ? 4 : 8;

	ck_assert_mem_eq(root->signature, old ? "RSDT" : "XSDT", 4);
	for (uint32_t at = sizeof(*root); at < root->length; at += step) {
		const uint8_t *entry = (const uint8_t *)root + at;
		const struct acpi_header *table = table_at(old ? get_le32(entry) : get_le64(entry));

		if (memcmp(table->signature, signature, 4) == 0)
			return table;
	}
	ck_abort_msg("no %s", signature);
	return NULL;
}

START_TEST(the_root_pointer_is_sound)
{
	const struct acpi_rsdp *rsdp = (void *)(memory + RSDP_AT);

	place(1);
	ck_assert_mem_eq(rsdp->signature, "RSD PTR ", 8);
	ck_assert_uint_eq(sum(rsdp, ACPI_RSDP_SHORT), 0);
	ck_assert_uint_eq(sum(rsdp, sizeof(*rsdp)), 0);
	for (int old = 0; old < 2; old++) {
		find("FACP", old);
		find("APIC", old);
		find("SSDT", old);
	}
}
END_TEST

START_TEST(fadt_has_the_piix4)
{
	const struct acpi_fadt *fadt;

	place(1);
	fadt = (const struct acpi_fadt *)find("FACP", false);
	ck_assert(!(fadt->flags & (ACPI_FADT_HW_REDUCED | ACPI_FADT_POWER_BUTTON)));
	ck_assert_uint_eq(fadt->sci, MACHINE_GSI_SCI);
	ck_assert_uint_eq(fadt->smi_command, MACHINE_PORT_APM_CONTROL);
	ck_assert_uint_eq(fadt->pm1a_event, 0x600);
	ck_assert_uint_eq(fadt->x_pm1a_event.address, 0x600);
	ck_assert_uint_eq(fadt->pm1a_control, 0x604);
	ck_assert_uint_eq(fadt->pm_timer, 0x608);
	ck_assert_uint_eq(fadt->gpe0, 0x60c);
	ck_assert_uint_eq(fadt->reset_register.address, MACHINE_PORT_RESET_CONTROL);
	ck_assert_uint_eq(fadt->reset_value, MACHINE_FULL_RESET);
	ck_assert_mem_eq(table_at(fadt->x_dsdt)->signature, "DSDT", 4);
	ck_assert_uint_eq(fadt->dsdt, fadt->x_dsdt);
	ck_assert_uint_eq(fadt->facs % ACPI_FACS_ALIGN, 0);
	ck_assert_mem_eq(memory + (fadt->facs - MEMORY_BASE), "FACS\x40\0\0\0", 8);
}
END_TEST

START_TEST(madt_has_the_overrides)
{
	const struct acpi_madt *madt;
	const uint8_t *entry;
	unsigned int lapics = 0, levels = 0, timers = 0;

	place(MACHINE_MAX_VPS);
	madt = (const struct acpi_madt *)find("APIC", false);
	ck_assert_uint_eq(madt->flags, ACPI_MADT_8259S);
	entry = (const uint8_t *)(madt + 1);
	for (; entry < (const uint8_t *)madt + madt->header.length; entry += entry[1]) {
		if (entry[0] == 0)
			ck_assert_uint_eq(entry[3], lapics++);
		if (entry[0] != 2)
			continue;
		if (entry[3] == 0) {
			timers++;
			ck_assert_uint_eq(get_le32(entry + 4), 2);
			ck_assert_uint_eq(get_le16(entry + 8), 0);
		} else {
			levels |= 1u << entry[3];
			ck_assert_uint_eq(get_le32(entry + 4), entry[3]);
			ck_assert_uint_eq(get_le16(entry + 8), ACPI_LEVEL_ACTIVE_HIGH);
		}
	}
	ck_assert_uint_eq(lapics, MACHINE_MAX_VPS);
	ck_assert_uint_eq(timers, 1);
	ck_assert_uint_eq(levels, 1u << 5 | 1u << 9 | 1u << 10 | 1u << 11);
}
END_TEST

START_TEST(the_generation_id_is_found)
{
	const struct acpi_header *ssdt;
	uint8_t name[11] = {0x08, '\\', 'V', 'G', 'I', 'A', 0x0c};
	uint8_t window[15] = {0x08, '\\', 'V', 'M', 'H', 'B', 0x0e};

	place(2);
	ssdt = find("SSDT", false);
	put_le32(name + 7, (uint32_t)(MEMORY_BASE + GENERATION_AT));
	ck_assert_ptr_nonnull(memmem(ssdt, ssdt->length, name, sizeof(name)));
	put_le64(window + 7, MACHINE_VMBUS_HIGH_MMIO_BASE);
	ck_assert_ptr_nonnull(memmem(ssdt, ssdt->length, window, sizeof(window)));
	ck_assert_mem_eq(memory + GENERATION_AT, &generation, sizeof(generation));
}
END_TEST

static void write_table(const char *directory, const char *name, const struct acpi_header *table)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, table, table->length), table->length);
	close(fd);
}

/* What the disassembler makes of every table, together. */
static char *disassemble(const char *directory)
{
	char *text = calloc(1, 1 << 20);
	char command[1024];
	size_t size;
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "cd %s && for t in FACP APIC; do %s -d $t.aml >$t.log 2>&1 || exit; done; "
		 "%s -e SSDT.aml -d DSDT.aml >DSDT.log 2>&1 && "
		 "%s -e DSDT.aml -d SSDT.aml >SSDT.log 2>&1; cat *.log *.dsl; rm -r %s",
		 directory, getenv("IASL"), getenv("IASL"), getenv("IASL"), directory);
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	size = fread(text, 1, (1 << 20) - 1, pipe);
	ck_assert_int_eq(pclose(pipe), 0);
	ck_assert_uint_gt(size, 0);
	return text;
}

/* Words that each table must have come to, and those of a table that is broken. */
START_TEST(the_disassembler_reads_them)
{
	static const char *const words[] = {
		"\"VMBus\"",
		"PNP0A03",
		"PNP0C0F",
		"PNP0B00",
		"PNP0303",
		"PNP0F13",
		"PNP0700",
		"VMGENCTR",
		"Name (_S5",
		"0x000AFFFF",
		"ACPI0007",
		"PM Timer Block",
		"Interrupt Source Override",
	};
	static const char *const complaints[] = {"Error", "Invalid", "Incorrect", "unresolved"};
	char directory[] = "/tmp/bulkhead-acpi-XXXXXX";
	char *text;

	ck_assert_ptr_nonnull(getenv("IASL"));
	place(2);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	write_table(directory, "FACP.aml", find("FACP", false));
	write_table(directory, "APIC.aml", find("APIC", false));
	write_table(directory, "SSDT.aml", find("SSDT", false));
	write_table(directory, "DSDT.aml",
		    table_at(((const struct acpi_fadt *)find("FACP", false))->x_dsdt));
	text = disassemble(directory);
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		ck_assert_msg(strstr(text, words[i]) != NULL, "no %s", words[i]);
	for (size_t i = 0; i < ARRAY_LENGTH(complaints); i++)
		ck_assert_msg(strstr(text, complaints[i]) == NULL, "%.300s",
			      strstr(text, complaints[i]));
	free(text);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("acpi_generation1", &tests);

	tcase_add_checked_fixture(tests, NULL, tear_down);
	tcase_add_test(tests, the_root_pointer_is_sound);
	tcase_add_test(tests, fadt_has_the_piix4);
	tcase_add_test(tests, madt_has_the_overrides);
	tcase_add_test(tests, the_generation_id_is_found);
	tcase_add_test(tests, the_disassembler_reads_them);
	return suite_run(suite);
}
