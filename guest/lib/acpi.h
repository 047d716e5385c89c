#pragma once
#include "lib/cpu.h"

struct __attribute__((packed)) acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

struct __attribute__((packed)) acpi_address {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
};

/* Offsets in the FADT (ACPI 6, 5.2.9). */
#define FADT_DSDT		40
#define FADT_BOOT_ARCH		109
#define FADT_FLAGS		112
#define FADT_RESET_REG		116
#define FADT_RESET_VALUE	128
#define FADT_X_DSDT		140
#define FADT_SLEEP_CONTROL	244
#define FADT_SLEEP_STATUS	256
#define FADT_FLAG_RESET_REG_SUP (1U << 10)
#define FADT_FLAG_HW_REDUCED	(1U << 20)

/* The RSDP's address: as the boot protocol told, or found by scanning; 0 if there is none. */
uint64_t acpi_rsdp(void);
/* The first table of that signature, or NULL. */
const struct acpi_header *acpi_find(const char *signature);
/* The sum of len bytes, modulo 256: 0 for a sound table. */
uint8_t acpi_sum(const void *p, size_t len);
/* Call fn for each enabled processor's APIC id in the MADT; returns how many. fn may be NULL. */
unsigned acpi_each_cpu(void (*fn)(uint32_t apic_id, void *arg), void *arg);
/* Write v to the register at this FADT offset; false if it is not described or not reachable. */
bool acpi_write_fadt_register(unsigned offset, uint8_t v);
/* Enter S5 through the sleep control register; returns only if that does not work. */
void acpi_power_off(void);
