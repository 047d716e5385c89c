#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/acpi.h"
#include "vmm/acpi_builder.h"
#include "vmm/acpi_loader.h"
#include "vmm/dsdt_generation1.hex"
#include "vmm/machine.h"

_Static_assert(MACHINE_PCI_WINDOW_LAST == MACHINE_PCI_LOW_BASE + MACHINE_PCI_WINDOW_SIZE - 1 &&
		       MACHINE_PCI_WINDOW_LAST == MACHINE_PCI_HIGH_BASE + MACHINE_PCI_HIGH_SIZE - 1,
	       "the PCI window");

#define TABLES_CAPACITY 0x8000u
/* The SCI, and those that PCI interrupts lead to. */
#define LEVEL_IRQS                                                                                 \
	{                                                                                          \
		5, 9, 10, 11                                                                       \
	}

/* A register of the PM block. */
static struct acpi_address pm_register(uint16_t offset, uint8_t bits)
{
	return (struct acpi_address){
		.space = ACPI_SPACE_PORT,
		.bit_width = bits,
		.address = MACHINE_PORT_PM + offset,
	};
}

/* The same registers twice: guests older than ACPI 2.0 know the first set alone. */
static void fill_fixed_hardware(struct acpi_fadt *fadt)
{
	fadt->sci = MACHINE_GSI_SCI;
	fadt->smi_command = MACHINE_PORT_APM_CONTROL;
	fadt->acpi_enable = MACHINE_APM_ACPI_ENABLE;
	fadt->acpi_disable = MACHINE_APM_ACPI_DISABLE;
	fadt->pm1a_event = MACHINE_PORT_PM + MACHINE_PM_EVENT;
	fadt->pm1a_control = MACHINE_PORT_PM + MACHINE_PM_CONTROL;
	fadt->pm_timer = MACHINE_PORT_PM + MACHINE_PM_TIMER;
	fadt->gpe0 = MACHINE_PORT_PM + MACHINE_PM_GPE;
	fadt->pm1_event_length = 4;
	fadt->pm1_control_length = 2;
	fadt->pm_timer_length = 4;
	fadt->gpe0_length = 4;
	fadt->x_pm1a_event = pm_register(MACHINE_PM_EVENT, 32);
	fadt->x_pm1a_control = pm_register(MACHINE_PM_CONTROL, 16);
	fadt->x_pm_timer = pm_register(MACHINE_PM_TIMER, 32);
	fadt->x_gpe0 = pm_register(MACHINE_PM_GPE, 32);
}

static uint64_t add_fadt(struct acpi_builder *builder, uint64_t facs, uint64_t dsdt)
{
	size_t start = acpi_begin_table(builder);
	struct acpi_fadt *fadt = acpi_append(builder, sizeof(*fadt));

	if (!fadt)
		return 0;
	*fadt = (struct acpi_fadt){
		.facs = (uint32_t)facs,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.c2_latency = ACPI_NO_C2_LATENCY,
		.c3_latency = ACPI_NO_C3_LATENCY,
		.century = ACPI_CMOS_CENTURY,
		.boot_flags = ACPI_BOOT_LEGACY | ACPI_BOOT_8042 | ACPI_BOOT_NO_ASPM,
		/* The power button is a fixed one, and the PM timer has 24 bits. */
		.flags = ACPI_FADT_WBINVD | ACPI_FADT_C1 | ACPI_FADT_SLEEP_BUTTON |
			 ACPI_FADT_RTC_WAKE | ACPI_FADT_RESET,
		.reset_register = acpi_port_register(MACHINE_PORT_RESET_CONTROL),
		.reset_value = MACHINE_FULL_RESET,
		.minor_revision = 2,
	};
	fill_fixed_hardware(fadt);
	memcpy(fadt->hypervisor_id, "MsHyperV", sizeof(fadt->hypervisor_id));
	acpi_link(builder, &fadt->facs, 4, ACPI_TARGET_TABLES);
	acpi_link(builder, &fadt->dsdt, 4, ACPI_TARGET_TABLES);
	acpi_link(builder, &fadt->x_dsdt, 8, ACPI_TARGET_TABLES);
	return acpi_end_table(builder, start, "FACP", ACPI_FADT_REVISION);
}

static void append_override(struct acpi_builder *builder, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	const struct acpi_madt_override override = {
		.type = 2, .length = sizeof(override), .irq = irq, .gsi = gsi, .flags = flags};

	acpi_append_bytes(builder, &override, sizeof(override));
}

/* The 8254 is at pin 2, as on every PC; its own pin is the 8259's. */
static uint64_t add_madt(struct acpi_builder *builder, unsigned int vp_count)
{
	static const uint8_t level[] = LEVEL_IRQS;
	size_t start = acpi_begin_table(builder);

	acpi_append_apics(builder, vp_count, ACPI_MADT_8259S);
	append_override(builder, 0, 2, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(level); i++)
		append_override(builder, level[i], level[i], ACPI_LEVEL_ACTIVE_HIGH);
	acpi_append_nmi(builder);
	return acpi_end_table(builder, start, "APIC", 4);
}

/* AML: Name (\VGIA, address), a DWord that the firmware puts in. */
static void append_generation_address(struct acpi_builder *builder)
{
	static const uint8_t aml[] = {0x08, '\\', 'V', 'G', 'I', 'A', 0x0c, 0, 0, 0, 0};
	uint8_t *place = acpi_append(builder, sizeof(aml));

	if (!place)
		return;
	memcpy(place, aml, sizeof(aml));
	acpi_link(builder, place + sizeof(aml) - 4, 4, ACPI_TARGET_GENERATION);
}

static uint64_t add_ssdt(struct acpi_builder *builder, uint64_t high_window, unsigned int vp_count)
{
	size_t start = acpi_begin_table(builder);

	acpi_append(builder, sizeof(struct acpi_header));
	acpi_append_high_window(builder, high_window);
	append_generation_address(builder);
	acpi_append_processors(builder, vp_count);
	return acpi_end_table(builder, start, "SSDT", 2);
}

/* The first of all, since it wants the largest boundary. */
static uint64_t add_facs(struct acpi_builder *builder)
{
	struct acpi_facs facs = {.length = sizeof(facs), .version = 2};
	size_t start = acpi_begin_table(builder);

	memcpy(facs.signature, "FACS", sizeof(facs.signature));
	acpi_append_bytes(builder, &facs, sizeof(facs));
	return builder->base + start;
}

static void build(struct acpi_builder *builder, unsigned int vp_count, uint64_t high_window,
		  struct acpi_rsdp *rsdp)
{
	uint64_t facs = add_facs(builder);
	uint64_t dsdt = acpi_add_dsdt(builder, dsdt_aml, sizeof(dsdt_aml));
	uint64_t tables[3], rsdt, xsdt;

	tables[0] = add_fadt(builder, facs, dsdt);
	tables[1] = add_madt(builder, vp_count);
	tables[2] = add_ssdt(builder, high_window, vp_count);
	rsdt = acpi_add_root(builder, tables, ARRAY_LENGTH(tables), sizeof(uint32_t));
	xsdt = acpi_add_root(builder, tables, ARRAY_LENGTH(tables), sizeof(uint64_t));
	acpi_fill_rsdp(rsdp, (uint32_t)rsdt, xsdt);
}

int acpi_generation1_build(unsigned int vp_count, uint64_t high_window,
			   const struct guid *vm_generation, struct acpi_image *image)
{
	struct acpi_builder builder = {.bytes = calloc(1, TABLES_CAPACITY),
				       .capacity = TABLES_CAPACITY};
	struct acpi_rsdp rsdp;
	uint8_t *script;
	size_t script_size;
	int r;

	if (!builder.bytes)
		return -ENOMEM;
	build(&builder, vp_count, high_window, &rsdp);
	r = builder.full ? -ENOSPC : acpi_loader_write(&builder, &script, &script_size);
	if (r < 0) {
		free(builder.bytes);
		return r;
	}
	*image = (struct acpi_image){
		.tables = builder.bytes,
		.tables_size = builder.used,
		.script = script,
		.script_size = script_size,
	};
	memcpy(image->rsdp, &rsdp, sizeof(rsdp));
	memcpy(image->generation, vm_generation, sizeof(*vm_generation));
	return 0;
}

void acpi_image_cleanup(struct acpi_image *image)
{
	free(image->tables);
	free(image->script);
}
