#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "suite.h"
#include "vmm/acpi.h"
#include "vmm/acpi_tables.h"
#include "vmm/machine.h"
#include "vmm/smbios.h"

#define RAM 0x1000000ull

static struct gpa_space *gpa;

static void set_up(void)
{
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
}

static void tear_down(void)
{
	gpa_space_free(gpa);
}

static uint8_t sum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t total = 0;

	while (size-- > 0)
		total = (uint8_t)(total + *byte++);
	return total;
}

static const struct acpi_header *table_at(uint64_t address)
{
	const struct acpi_header *header = gpa_pointer(gpa, address, sizeof(*header), GPA_READ);

	ck_assert_ptr_nonnull(header);
	ck_assert_uint_ge(address, MACHINE_TABLES_BASE);
	ck_assert_uint_le(address + header->length, MACHINE_TABLES_BASE + MACHINE_ACPI_SIZE);
	ck_assert_uint_eq(sum(header, header->length), 0);
	return header;
}

/* As a guest would look for it: from the root pointer that a scan finds. */
static const struct acpi_header *find(const char *signature)
{
	const struct acpi_rsdp *rsdp =
		gpa_pointer(gpa, MACHINE_TABLES_BASE, sizeof(*rsdp), GPA_READ);
	const struct acpi_header *xsdt;

	ck_assert_mem_eq(rsdp->signature, "RSD PTR ", 8);
	ck_assert_uint_eq(sum(rsdp, ACPI_RSDP_SHORT), 0);
	ck_assert_uint_eq(sum(rsdp, sizeof(*rsdp)), 0);
	xsdt = table_at(rsdp->xsdt);
	for (uint32_t at = sizeof(*xsdt); at < xsdt->length; at += 8) {
		const struct acpi_header *table = table_at(get_le64((const uint8_t *)xsdt + at));

		if (memcmp(table->signature, signature, 4) == 0)
			return table;
	}
	ck_abort_msg("no %s", signature);
	return NULL;
}

static bool holds(const struct acpi_header *table, const void *bytes, size_t size)
{
	return memmem(table, table->length, bytes, size) != NULL;
}

static void write_tables(unsigned int vp_count)
{
	uint64_t rsdp = 0;

	ck_assert_int_eq(acpi_write(gpa, vp_count, &rsdp), 0);
	ck_assert_uint_eq(rsdp, MACHINE_TABLES_BASE);
}

START_TEST(fadt_is_hardware_reduced)
{
	const struct acpi_fadt *fadt;

	write_tables(1);
	fadt = (const struct acpi_fadt *)find("FACP");
	ck_assert_uint_eq(fadt->header.length, 276);
	ck_assert(fadt->flags & ACPI_FADT_HW_REDUCED);
	ck_assert(fadt->flags & ACPI_FADT_RESET);
	ck_assert_uint_eq(fadt->reset_register.address, MACHINE_PORT_RESET);
	ck_assert_uint_eq(fadt->reset_value, MACHINE_RESET_VALUE);
	ck_assert_uint_eq(fadt->sleep_control.address, MACHINE_PORT_SLEEP_CONTROL);
	ck_assert_uint_eq(fadt->sleep_status.address, MACHINE_PORT_SLEEP_STATUS);
	/* Legacy devices, 8042 and "no CMOS clock" are bits 0, 1 and 5. */
	ck_assert_uint_eq(fadt->boot_flags & 0x23, 0);
	ck_assert_mem_eq(table_at(fadt->x_dsdt)->signature, "DSDT", 4);
}
END_TEST

START_TEST(madt_lists_every_vp)
{
	const struct acpi_madt *madt;
	const uint8_t *entry;
	unsigned int lapics = 0, ioapics = 0;

	write_tables(MACHINE_MAX_VPS);
	madt = (const struct acpi_madt *)find("APIC");
	entry = (const uint8_t *)(madt + 1);
	while (entry < (const uint8_t *)madt + madt->header.length) {
		if (entry[0] == 0) {
			ck_assert_uint_eq(entry[3], lapics++);
			ck_assert_uint_eq(get_le32(entry + 4), 1);
		} else if (entry[0] == 1) {
			ioapics++;
			ck_assert_uint_eq(get_le32(entry + 4), MACHINE_IOAPIC_BASE);
		}
		entry += entry[1];
	}
	ck_assert_uint_eq(lapics, MACHINE_MAX_VPS);
	ck_assert_uint_eq(ioapics, 1);
}
END_TEST

START_TEST(ssdt_has_the_processors_and_the_high_window)
{
	const struct acpi_header *ssdt;
	uint8_t window[15] = {0x08, '\\', 'V', 'M', 'H', 'B', 0x0e};

	write_tables(MACHINE_MAX_VPS);
	ssdt = find("SSDT");
	put_le64(window + 7, MACHINE_VMBUS_HIGH_MMIO_BASE);
	ck_assert(holds(ssdt, window, sizeof(window)));
	ck_assert(holds(ssdt, "C03F", 4));
	ck_assert(!holds(ssdt, "C040", 4));
}
END_TEST

START_TEST(high_window_keeps_above_ram)
{
	ck_assert_uint_eq(machine_high_window(RAM), MACHINE_VMBUS_HIGH_MMIO_BASE);
	ck_assert_uint_eq(machine_high_window(MACHINE_VMBUS_HIGH_MMIO_BASE),
			  MACHINE_VMBUS_HIGH_MMIO_BASE);
	ck_assert_uint_eq(machine_high_window(MACHINE_VMBUS_HIGH_MMIO_BASE + 1),
			  MACHINE_VMBUS_HIGH_MMIO_BASE + MACHINE_VMBUS_HIGH_MMIO_SIZE);
}
END_TEST

START_TEST(dsdt_describes_the_machine_as_it_is)
{
	const struct acpi_header *dsdt;
	uint8_t window[12];

	write_tables(1);
	dsdt = table_at(((const struct acpi_fadt *)find("FACP"))->x_dsdt);
	put_le32(window, MACHINE_VMBUS_MMIO_BASE);
	put_le32(window + 4, MACHINE_VMBUS_MMIO_BASE + MACHINE_VMBUS_MMIO_SIZE - 1);
	ck_assert(holds(dsdt, window, 8));
	ck_assert(holds(dsdt, "VMBus", 6));
	ck_assert(holds(dsdt, "VMGENCTR", 9));
	ck_assert(holds(dsdt, "_S5_", 4));
	ck_assert(!holds(dsdt, "_S4_", 4));
	put_le32(window, (uint32_t)MACHINE_VM_GENERATION);
	ck_assert(holds(dsdt, window, 4));
}
END_TEST

START_TEST(smbios_names_a_hyper_v_vm)
{
	const uint8_t *area;
	const char *strings;
	uint16_t count;

	ck_assert_int_eq(smbios_write(gpa), 0);
	area = gpa_pointer(gpa, MACHINE_SMBIOS_BASE, 0x1000, GPA_READ);
	ck_assert_mem_eq(area, "_SM_", 4);
	ck_assert_uint_eq(sum(area, 31), 0);
	ck_assert_uint_eq(sum(area + 16, 15), 0);
	ck_assert_mem_eq(area + 0x20, "_SM3_", 5);
	ck_assert_uint_eq(sum(area + 0x20, 24), 0);
	ck_assert_uint_eq(get_le64(area + 0x30), MACHINE_SMBIOS_BASE + 0x40);
	count = get_le16(area + 28);
	area += 0x40;
	for (unsigned int i = 0; i < count; i++) {
		strings = (const char *)area + area[1];
		if (area[0] == 1) {
			ck_assert_str_eq(strings, "Microsoft Corporation");
			ck_assert_str_eq(strings + strlen(strings) + 1, "Virtual Machine");
		}
		if (i == count - 1u)
			ck_assert_uint_eq(area[0], 127);
		area = (const uint8_t *)memmem(strings, 256, "\0\0", 2) + 2;
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("acpi", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, fadt_is_hardware_reduced);
	tcase_add_test(tests, madt_lists_every_vp);
	tcase_add_test(tests, ssdt_has_the_processors_and_the_high_window);
	tcase_add_test(tests, high_window_keeps_above_ram);
	tcase_add_test(tests, dsdt_describes_the_machine_as_it_is);
	tcase_add_test(tests, smbios_names_a_hyper_v_vm);
	return suite_run(suite);
}
