#include "vmm/acpi_builder.h"

#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "vmm/machine.h"

#define OEM_ID	     "BLKHD"
#define OEM_TABLE_ID "BULKHEAD"
#define CREATOR_ID   "BLKH"
#define TABLE_ALIGN  16
#define LINT_NMI     1
#define UID_ALL	     0xff

void *acpi_append(struct acpi_builder *builder, size_t size)
{
	void *place = builder->bytes + builder->used;

	if (!range_within(builder->used, size, builder->capacity)) {
		builder->full = true;
		return NULL;
	}
	builder->used += size;
	return place;
}

void acpi_append_bytes(struct acpi_builder *builder, const void *data, size_t size)
{
	void *place = acpi_append(builder, size);

	if (place)
		memcpy(place, data, size);
}

void acpi_link(struct acpi_builder *builder, const void *field, uint8_t size,
	       enum acpi_target target)
{
	if (!field)
		return;
	if (builder->link_count == ACPI_LINKS_MAX) {
		builder->full = true;
		return;
	}
	builder->links[builder->link_count++] = (struct acpi_link){
		.offset = (uint32_t)((const uint8_t *)field - builder->bytes),
		.size = size,
		.target = target,
	};
}

uint8_t acpi_checksum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	while (size-- > 0)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

size_t acpi_begin_table(struct acpi_builder *builder)
{
	builder->used = MIN(align_up(builder->used, TABLE_ALIGN), builder->capacity);
	return builder->used;
}

static void note_table(struct acpi_builder *builder, size_t start)
{
	if (builder->table_count == ACPI_TABLES_MAX) {
		builder->full = true;
		return;
	}
	builder->tables[builder->table_count++] =
		(struct acpi_extent){(uint32_t)start, (uint32_t)(builder->used - start)};
}

uint64_t acpi_end_table(struct acpi_builder *builder, size_t start, const char *signature,
			uint8_t revision)
{
	struct acpi_header *header = (void *)(builder->bytes + start);

	if (builder->full)
		return 0;
	*header = (struct acpi_header){
		.length = (uint32_t)(builder->used - start),
		.revision = revision,
		.oem_id = OEM_ID,
		.oem_revision = 1,
		.creator_revision = 1,
	};
	memcpy(header->signature, signature, sizeof(header->signature));
	memcpy(header->oem_table_id, OEM_TABLE_ID, sizeof(header->oem_table_id));
	memcpy(header->creator_id, CREATOR_ID, sizeof(header->creator_id));
	header->checksum = acpi_checksum(header, header->length);
	note_table(builder, start);
	return builder->base + start;
}

uint64_t acpi_add_dsdt(struct acpi_builder *builder, const void *aml, size_t size)
{
	size_t start = acpi_begin_table(builder);

	acpi_append_bytes(builder, aml, size);
	return builder->base + start;
}

uint64_t acpi_add_root(struct acpi_builder *builder, const uint64_t *tables, size_t count,
		       size_t entry_size)
{
	size_t start = acpi_begin_table(builder);

	acpi_append(builder, sizeof(struct acpi_header));
	for (size_t i = 0; i < count; i++) {
		uint8_t entry[8], *place = acpi_append(builder, entry_size);

		put_le64(entry, tables[i]);
		if (place)
			memcpy(place, entry, entry_size);
		acpi_link(builder, place, (uint8_t)entry_size, ACPI_TARGET_TABLES);
	}
	return acpi_end_table(builder, start, entry_size == 8 ? "XSDT" : "RSDT", 1);
}

void acpi_append_apics(struct acpi_builder *builder, unsigned int vp_count, uint32_t flags)
{
	const struct acpi_madt madt = {.lapic_address = MACHINE_LAPIC_BASE, .flags = flags};
	const struct acpi_madt_ioapic ioapic = {
		.type = 1, .length = sizeof(ioapic), .address = MACHINE_IOAPIC_BASE};

	acpi_append_bytes(builder, &madt, sizeof(madt));
	for (unsigned int i = 0; i < vp_count; i++) {
		const struct acpi_madt_lapic lapic = {.length = sizeof(lapic),
						      .processor_uid = (uint8_t)i,
						      .apic_id = (uint8_t)i,
						      .flags = 1};

		acpi_append_bytes(builder, &lapic, sizeof(lapic));
	}
	acpi_append_bytes(builder, &ioapic, sizeof(ioapic));
}

void acpi_append_nmi(struct acpi_builder *builder)
{
	const struct acpi_madt_lapic_nmi nmi = {
		.type = 4, .length = sizeof(nmi), .processor_uid = UID_ALL, .lint = LINT_NMI};

	acpi_append_bytes(builder, &nmi, sizeof(nmi));
}

void acpi_append_high_window(struct acpi_builder *builder, uint64_t address)
{
	uint8_t aml[] = {0x08, '\\', 'V', 'M', 'H', 'B', 0x0e, 0, 0, 0, 0, 0, 0, 0, 0};

	put_le64(aml + 7, address);
	acpi_append_bytes(builder, aml, sizeof(aml));
}

/* AML: Scope (\_SB) { Device (C0nn) { Name (_HID, "ACPI0007") Name (_UID, uid) } } */
static void append_processor(struct acpi_builder *builder, unsigned int uid)
{
	static const char digits[] = "0123456789ABCDEF";
	/* The second byte of each opcode that opens a block is the block's length from there on. */
	char aml[] = "\x10\x23"
		     "\\_SB_"
		     "\x5b\x82\x1b"
		     "C0nn"
		     "\x08"
		     "_HID"
		     "\x0d"
		     "ACPI0007\0"
		     "\x08"
		     "_UID"
		     "\x0a";

	_Static_assert(sizeof(aml) == 0x23 + 1, "block lengths");
	aml[12] = digits[uid >> 4 & 0xf];
	aml[13] = digits[uid & 0xf];
	aml[sizeof(aml) - 1] = (char)uid; /* in the place of the literal's NUL */
	acpi_append_bytes(builder, aml, sizeof(aml));
}

void acpi_append_processors(struct acpi_builder *builder, unsigned int vp_count)
{
	for (unsigned int i = 0; i < vp_count; i++)
		append_processor(builder, i);
}

struct acpi_address acpi_port_register(uint16_t port)
{
	return (struct acpi_address){
		.space = ACPI_SPACE_PORT,
		.bit_width = 8,
		.access_size = ACPI_ACCESS_BYTE,
		.address = port,
	};
}

void acpi_fill_rsdp(struct acpi_rsdp *rsdp, uint32_t rsdt, uint64_t xsdt)
{
	*rsdp = (struct acpi_rsdp){.oem_id = OEM_ID,
				   .revision = 2,
				   .rsdt = rsdt,
				   .length = sizeof(*rsdp),
				   .xsdt = xsdt};
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	rsdp->checksum = acpi_checksum(rsdp, ACPI_RSDP_SHORT);
	rsdp->extended_checksum = acpi_checksum(rsdp, sizeof(*rsdp));
}
