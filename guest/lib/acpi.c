#include "lib/acpi.h"
#include "lib/bootinfo.h"
#include "lib/rt.h"

#define SCAN_START	 0xe0000UL
#define SCAN_END	 0x100000UL
#define MADT_ENTRIES	 44
#define MADT_LAPIC	 0
#define MADT_X2APIC	 9
#define MADT_ENABLED	 1
#define SPACE_MEMORY	 0
#define SPACE_IO	 1
/* SLP_EN and the sleep type, in the sleep control register; S5's type is the DSDT's \_S5. */
#define SLEEP_ENABLE	 0x20
#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_S5	 5

uint8_t acpi_sum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return sum;
}

uint64_t acpi_rsdp(void)
{
	if (boot_info()->rsdp)
		return boot_info()->rsdp;
	for (uint64_t at = SCAN_START; at < SCAN_END; at += 16)
		if (!memcmp((const void *)at, "RSD PTR ", 8) && !acpi_sum((const void *)at, 20))
			return at;
	return 0;
}

const struct acpi_header *acpi_find(const char *signature)
{
	uint64_t rsdp = acpi_rsdp();
	const struct acpi_header *xsdt;

	if (!rsdp)
		return NULL;
	xsdt = (const void *)read64(rsdp + 24);
	for (uint32_t at = sizeof(*xsdt); at + 8 <= xsdt->length; at += 8) {
		const struct acpi_header *t = (const void *)read64((uint64_t)xsdt + at);

		if (!memcmp(t->signature, signature, 4))
			return t;
	}
	return NULL;
}

unsigned acpi_each_cpu(void (*fn)(uint32_t apic_id, void *arg), void *arg)
{
	const struct acpi_header *madt = acpi_find("APIC");
	unsigned n = 0;

	for (uint32_t at = MADT_ENTRIES; madt && at + 2 <= madt->length;) {
		uint64_t e = (uint64_t)madt + at;
		uint8_t type = read8(e), len = read8(e + 1);
		bool x2 = type == MADT_X2APIC && read32(e + 8) & MADT_ENABLED;

		if (x2 || (type == MADT_LAPIC && read32(e + 4) & MADT_ENABLED)) {
			n++;
			if (fn)
				fn(x2 ? read32(e + 4) : read8(e + 3), arg);
		}
		at += len ? len : 2;
	}
	return n;
}

bool acpi_write_fadt_register(unsigned offset, uint8_t v)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	const struct acpi_address *reg;

	if (!fadt || fadt->length < offset + sizeof(*reg))
		return false;
	reg = (const void *)((uint64_t)fadt + offset);
	if (reg->space == SPACE_IO)
		outb((uint16_t)reg->address, v);
	else if (reg->space == SPACE_MEMORY && reg->address)
		write8(reg->address, v);
	else
		return false;
	return true;
}

/* The first byte of the package \_S5 names, found in the DSDT's AML. */
static uint8_t sleep_type_s5(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	uint64_t dsdt = fadt ? read64((uint64_t)fadt + FADT_X_DSDT) : 0;
	uint32_t len = dsdt ? read32(dsdt + 4) : 0;

	for (uint32_t i = sizeof(struct acpi_header); i + 12 < len; i++) {
		uint64_t at = dsdt + i;

		if (memcmp((const void *)at, "_S5_\x12", 5))
			continue;
		at += 5 + (read8(at + 5) >> 6) + 2; /* PkgLength, NumElements */
		return read8(at) == 0x0a ? read8(at + 1) : read8(at);
	}
	return SLEEP_TYPE_S5;
}

void acpi_power_off(void)
{
	acpi_write_fadt_register(FADT_SLEEP_CONTROL,
				 (uint8_t)(SLEEP_ENABLE | sleep_type_s5() << SLEEP_TYPE_SHIFT));
}
