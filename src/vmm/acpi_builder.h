#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/acpi_tables.h"

/*
 * ACPI tables side by side in one block of bytes, as Generation 2 (at a place of our choice) and
 * Generation 1 (at one of the firmware's) both have them.  What is an address in a table is noted
 * beside it, and so is where each table lies, so that whoever moves the block can set them right.
 * Private to acpi*.c.
 */

#define ACPI_LINKS_MAX	24u
#define ACPI_TABLES_MAX 8u

enum acpi_target {
	ACPI_TARGET_TABLES,	/* an address in the block itself */
	ACPI_TARGET_GENERATION, /* of the VM generation id, which lies elsewhere */
};

/* A field of size bytes that holds an address. */
struct acpi_link {
	uint32_t offset;
	uint8_t size;
	enum acpi_target target;
};

struct acpi_extent {
	uint32_t offset;
	uint32_t length;
};

struct acpi_builder {
	uint8_t *bytes; /* zeroed */
	size_t capacity;
	uint64_t base; /* where the bytes will lie; 0 if the firmware is to say */
	size_t used;
	bool full; /* something did not fit: nothing of it is to be used */
	struct acpi_link links[ACPI_LINKS_MAX];
	unsigned int link_count;
	struct acpi_extent tables[ACPI_TABLES_MAX]; /* those with a checksum */
	unsigned int table_count;
};

/* Room for size bytes, zeroed, or NULL. */
void *acpi_append(struct acpi_builder *builder, size_t size);
void acpi_append_bytes(struct acpi_builder *builder, const void *data, size_t size);
/* Notes that field, in the block, is an address.  NULL, where it did not fit, is allowed. */
void acpi_link(struct acpi_builder *builder, const void *field, uint8_t size,
	       enum acpi_target target);

/* Starts a table on a boundary of its own and returns its offset. */
size_t acpi_begin_table(struct acpi_builder *builder);
/* Fills in the header of the table that began at start, and returns the table's address. */
uint64_t acpi_end_table(struct acpi_builder *builder, size_t start, const char *signature,
			uint8_t revision);
uint8_t acpi_checksum(const void *data, size_t size);

/* The tables that both generations have; they return the table's address. */

/* aml: a whole DSDT, whose header iasl has filled in. */
uint64_t acpi_add_dsdt(struct acpi_builder *builder, const void *aml, size_t size);
/* XSDT (entry_size 8) or RSDT (4). */
uint64_t acpi_add_root(struct acpi_builder *builder, const uint64_t *tables, size_t count,
		       size_t entry_size);
/* The MADT's beginning: every VP and the I/O APIC. */
void acpi_append_apics(struct acpi_builder *builder, unsigned int vp_count, uint32_t flags);
void acpi_append_nmi(struct acpi_builder *builder);
/* AML: Name (\VMHB, address) as a QWord, and a processor device a VP. */
void acpi_append_high_window(struct acpi_builder *builder, uint64_t address);
void acpi_append_processors(struct acpi_builder *builder, unsigned int vp_count);

struct acpi_address acpi_port_register(uint16_t port);
/* Revision 2, with its checksums. */
void acpi_fill_rsdp(struct acpi_rsdp *rsdp, uint32_t rsdt, uint64_t xsdt);
