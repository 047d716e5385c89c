#include "vmm/acpi_loader.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define FILE_NAME_SIZE 56

enum {
	COMMAND_ALLOCATE = 1,
	COMMAND_ADD_POINTER = 2,
	COMMAND_ADD_CHECKSUM = 3,
};

enum {
	ZONE_HIGH = 1,
	ZONE_F_SEGMENT = 2, /* where guests scan for the root pointer */
};

/* All numbers little-endian. */
struct __attribute__((packed)) allocate {
	char file[FILE_NAME_SIZE];
	uint32_t align;
	uint8_t zone;
};

/* Adds the source's address to a number within the destination. */
struct __attribute__((packed)) add_pointer {
	char destination[FILE_NAME_SIZE];
	char source[FILE_NAME_SIZE];
	uint32_t offset;
	uint8_t size;
};

struct __attribute__((packed)) add_checksum {
	char file[FILE_NAME_SIZE];
	uint32_t offset;
	uint32_t start;
	uint32_t length;
};

struct __attribute__((packed)) command {
	uint32_t number;
	union {
		struct allocate allocate;
		struct add_pointer pointer;
		struct add_checksum checksum;
		uint8_t room[124];
	};
};
_Static_assert(sizeof(struct command) == 128, "linker/loader command");

/* What the root pointer needs, beside the tables' own: three places, two pointers, two sums. */
#define OTHER_COMMANDS 7u

struct script {
	struct command *commands;
	unsigned int count;
	unsigned int room;
};

/* The next command, zeroed but for its number. */
static struct command *next(struct script *script, uint32_t number)
{
	struct command *command = &script->commands[script->count++];

	assert(script->count <= script->room);
	command->number = htole32(number);
	return command;
}

static void set_name(char name[FILE_NAME_SIZE], const char *file)
{
	memcpy(name, file, strlen(file));
}

static void add_allocate(struct script *script, const char *file, uint32_t align, uint8_t zone)
{
	struct allocate *allocate = &next(script, COMMAND_ALLOCATE)->allocate;

	set_name(allocate->file, file);
	allocate->align = htole32(align);
	allocate->zone = zone;
}

static void add_pointer(struct script *script, const char *destination, const char *source,
			uint32_t offset, uint8_t size)
{
	struct add_pointer *pointer = &next(script, COMMAND_ADD_POINTER)->pointer;

	set_name(pointer->destination, destination);
	set_name(pointer->source, source);
	pointer->offset = htole32(offset);
	pointer->size = size;
}

static void add_checksum(struct script *script, const char *file, uint32_t offset, uint32_t start,
			 uint32_t length)
{
	struct add_checksum *checksum = &next(script, COMMAND_ADD_CHECKSUM)->checksum;

	set_name(checksum->file, file);
	checksum->offset = htole32(offset);
	checksum->start = htole32(start);
	checksum->length = htole32(length);
}

/* Addresses before the sums that cover them. */
static void add_tables(struct script *script, const struct acpi_builder *builder)
{
	for (unsigned int i = 0; i < builder->link_count; i++) {
		const struct acpi_link *link = &builder->links[i];
		bool inside = link->target == ACPI_TARGET_TABLES;

		add_pointer(script, ACPI_FILE_TABLES,
			    inside ? ACPI_FILE_TABLES : ACPI_FILE_GENERATION, link->offset,
			    link->size);
	}
	for (unsigned int i = 0; i < builder->table_count; i++) {
		const struct acpi_extent *table = &builder->tables[i];
		uint32_t checksum = (uint32_t)offsetof(struct acpi_header, checksum);

		add_checksum(script, ACPI_FILE_TABLES, table->offset + checksum, table->offset,
			     table->length);
	}
}

static void add_rsdp(struct script *script)
{
	add_pointer(script, ACPI_FILE_RSDP, ACPI_FILE_TABLES, offsetof(struct acpi_rsdp, rsdt), 4);
	add_pointer(script, ACPI_FILE_RSDP, ACPI_FILE_TABLES, offsetof(struct acpi_rsdp, xsdt), 8);
	add_checksum(script, ACPI_FILE_RSDP, offsetof(struct acpi_rsdp, checksum), 0,
		     ACPI_RSDP_SHORT);
	add_checksum(script, ACPI_FILE_RSDP, offsetof(struct acpi_rsdp, extended_checksum), 0,
		     sizeof(struct acpi_rsdp));
}

int acpi_loader_write(const struct acpi_builder *builder, uint8_t **out, size_t *size)
{
	struct script script = {.room = builder->link_count + builder->table_count +
					OTHER_COMMANDS};

	script.commands = calloc(script.room, sizeof(*script.commands));
	if (!script.commands)
		return -ENOMEM;
	add_allocate(&script, ACPI_FILE_RSDP, 16, ZONE_F_SEGMENT);
	add_allocate(&script, ACPI_FILE_TABLES, ACPI_FACS_ALIGN, ZONE_HIGH);
	add_allocate(&script, ACPI_FILE_GENERATION, ACPI_GENERATION_SIZE, ZONE_HIGH);
	add_tables(&script, builder);
	add_rsdp(&script);
	*out = (uint8_t *)script.commands;
	*size = script.count * sizeof(*script.commands);
	return 0;
}
