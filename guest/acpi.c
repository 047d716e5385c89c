/* The ACPI tables: sound, complete, hardware-reduced. */
#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/hv.h"
#include "lib/rt.h"

#define MADT_LAPIC_ADDRESS 36
#define BOOT_ARCH_8042	   (1U << 1)
#define BOOT_ARCH_NO_VGA   (1U << 2)

static void check_root(void)
{
	uint64_t rsdp = acpi_rsdp();
	const struct acpi_header *xsdt;

	if (!rsdp)
		tap_bail("no RSDP");
	tap_ok(!memcmp((const void *)rsdp, "RSD PTR ", 8), "the RSDP's signature");
	tap_is(acpi_sum((const void *)rsdp, 20), 0, "the RSDP's checksum");
	tap_is(acpi_sum((const void *)rsdp, 36), 0, "the RSDP's extended checksum");
	tap_ok(read8(rsdp + 15) >= 2, "the RSDP's revision");
	xsdt = (const void *)read64(rsdp + 24);
	tap_ok(!memcmp(xsdt->signature, "XSDT", 4), "the XSDT's signature");
	tap_is(acpi_sum(xsdt, xsdt->length), 0, "the XSDT's checksum");
}

static const struct acpi_header *check_table(const char *signature)
{
	const struct acpi_header *t = acpi_find(signature);

	tap_ok(t && !acpi_sum(t, t->length), "%s is there, with its checksum", signature);
	return t;
}

static bool aml_has(const struct acpi_header *dsdt, const char *text, size_t len)
{
	const uint8_t *aml = (const uint8_t *)dsdt;

	for (uint32_t i = sizeof(*dsdt); i + len <= dsdt->length; i++)
		if (!memcmp(aml + i, text, len))
			return true;
	return false;
}

static void check_fadt(void)
{
	const struct acpi_header *fadt = check_table("FACP"), *dsdt;
	uint64_t at = (uint64_t)fadt;
	uint16_t arch;

	if (!fadt)
		return;
	arch = (uint16_t)(read8(at + FADT_BOOT_ARCH) | read8(at + FADT_BOOT_ARCH + 1) << 8);
	tap_ok(read32(at + FADT_FLAGS) & FADT_FLAG_HW_REDUCED, "the FADT is hardware-reduced");
	tap_ok(read32(at + FADT_FLAGS) & FADT_FLAG_RESET_REG_SUP, "it has a reset register");
	tap_ok(!(arch & BOOT_ARCH_8042), "it claims no 8042");
	tap_ok(arch & BOOT_ARCH_NO_VGA, "it says that there is no VGA");
	tap_ok(read64(at + FADT_SLEEP_CONTROL + 4) != 0, "it has a sleep control register");
	dsdt = (const void *)read64(at + FADT_X_DSDT);
	tap_ok(dsdt && !memcmp(dsdt->signature, "DSDT", 4) && !acpi_sum(dsdt, dsdt->length),
	       "the DSDT is there, with its checksum");
	if (!dsdt)
		return;
	tap_ok(aml_has(dsdt, "VMBUS", 5) || aml_has(dsdt, "VMBus", 5), "it has a VMBus device");
	tap_ok(aml_has(dsdt, "_CRS", 4), "it has resources");
	tap_ok(aml_has(dsdt, "_S5_", 4), "it has \\_S5");
	tap_ok(!aml_has(dsdt, "_S4_", 4), "it has no \\_S4");
}

static void check_madt(void)
{
	const struct acpi_header *madt = check_table("APIC");

	if (!madt)
		return;
	tap_is(read32((uint64_t)madt + MADT_LAPIC_ADDRESS), 0xfee00000, "the local APICs' address");
	tap_is(acpi_each_cpu(NULL, NULL), cmdline_number("cpus", 1), "a processor for each VP");
}

void payload_main(void)
{
	check_root();
	check_fadt();
	check_madt();
}
