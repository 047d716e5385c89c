#include "vmm/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmm/acpi_builder.h"
#include "vmm/dsdt.hex"
#include "vmm/machine.h"

_Static_assert(MACHINE_VMBUS_MMIO_LAST == MACHINE_VMBUS_MMIO_BASE + MACHINE_VMBUS_MMIO_SIZE - 1,
	       "the low VMBus window");
_Static_assert(MACHINE_VMBUS_HIGH_MMIO_LAST ==
		       MACHINE_VMBUS_HIGH_MMIO_BASE + MACHINE_VMBUS_HIGH_MMIO_SIZE - 1,
	       "the high VMBus window");
_Static_assert(MACHINE_TABLES_BASE + MACHINE_ACPI_SIZE <= MACHINE_VM_GENERATION, "ACPI tables");

static uint64_t add_fadt(struct acpi_builder *builder, uint64_t dsdt)
{
	size_t start = acpi_begin_table(builder);
	struct acpi_fadt *fadt = acpi_append(builder, sizeof(*fadt));

	if (!fadt)
		return 0;
	*fadt = (struct acpi_fadt){
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.c2_latency = ACPI_NO_C2_LATENCY,
		.c3_latency = ACPI_NO_C3_LATENCY,
		.century = ACPI_CMOS_CENTURY,
		/* What is not said is not there: no 8042; and there is a CMOS clock. */
		.boot_flags = ACPI_BOOT_NO_VGA | ACPI_BOOT_NO_ASPM,
		.flags = ACPI_FADT_WBINVD | ACPI_FADT_C1 | ACPI_FADT_POWER_BUTTON |
			 ACPI_FADT_SLEEP_BUTTON | ACPI_FADT_RTC_WAKE | ACPI_FADT_RESET |
			 ACPI_FADT_HW_REDUCED,
		.reset_register = acpi_port_register(MACHINE_PORT_RESET),
		.reset_value = MACHINE_RESET_VALUE,
		.minor_revision = 2,
		.sleep_control = acpi_port_register(MACHINE_PORT_SLEEP_CONTROL),
		.sleep_status = acpi_port_register(MACHINE_PORT_SLEEP_STATUS),
	};
	memcpy(fadt->hypervisor_id, "MsHyperV", sizeof(fadt->hypervisor_id));
	return acpi_end_table(builder, start, "FACP", ACPI_FADT_REVISION);
}

/* GSIs are the I/O APIC's pins one to one and no 8259 is said to exist: no overrides. */
static uint64_t add_madt(struct acpi_builder *builder, unsigned int vp_count)
{
	size_t start = acpi_begin_table(builder);

	acpi_append_apics(builder, vp_count, 0);
	acpi_append_nmi(builder);
	return acpi_end_table(builder, start, "APIC", 4);
}

static uint64_t add_ssdt(struct acpi_builder *builder, uint64_t high_window, unsigned int vp_count)
{
	size_t start = acpi_begin_table(builder);

	acpi_append(builder, sizeof(struct acpi_header));
	acpi_append_high_window(builder, high_window);
	acpi_append_processors(builder, vp_count);
	return acpi_end_table(builder, start, "SSDT", 2);
}

int acpi_write(const struct gpa_space *gpa, unsigned int vp_count, uint64_t *rsdp)
{
	CLEANUP_FREE uint8_t *bytes = calloc(1, MACHINE_ACPI_SIZE);
	/* The root pointer comes before all tables, where a scan of the area finds it first. */
	struct acpi_builder builder = {
		.bytes = bytes,
		.capacity = MACHINE_ACPI_SIZE,
		.base = MACHINE_TABLES_BASE,
		.used = sizeof(struct acpi_rsdp),
	};
	uint64_t tables[3], xsdt;
	int rc;

	if (!bytes)
		return -ENOMEM;
	tables[0] = add_fadt(&builder, acpi_add_dsdt(&builder, dsdt_aml, sizeof(dsdt_aml)));
	tables[1] = add_madt(&builder, vp_count);
	tables[2] = add_ssdt(&builder, machine_high_window(gpa_ram_end(gpa)), vp_count);
	xsdt = acpi_add_root(&builder, tables, ARRAY_LENGTH(tables), sizeof(uint64_t));
	if (builder.full)
		return -ENOSPC;
	acpi_fill_rsdp((struct acpi_rsdp *)bytes, 0, xsdt);
	rc = gpa_write(gpa, MACHINE_TABLES_BASE, bytes, builder.used);
	if (rc == 0)
		*rsdp = MACHINE_TABLES_BASE;
	return rc;
}
