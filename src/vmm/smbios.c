#include "vmm/smbios.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/machine.h"

#define ANCHOR3_AT    0x20 /* a 16-byte boundary behind the 2.x anchor */
#define STRUCTURES_AT 0x40
#define MAJOR	      3
#define MINOR	      0
#define FIRST_HANDLE  0x100

#define MANUFACTURER "Microsoft Corporation"
#define PRODUCT	     "Virtual Machine"
#define VERSION	     "7.0"

/* The 2.x anchor; its two checksums cover the whole and the part from "_DMI_" on. */
struct __attribute__((packed)) anchor2 {
	char anchor[4];
	uint8_t checksum;
	uint8_t length;
	uint8_t major;
	uint8_t minor;
	uint16_t largest;
	uint8_t revision;
	uint8_t formatted[5];
	char intermediate[5];
	uint8_t intermediate_checksum;
	uint16_t table_length;
	uint32_t table_address;
	uint16_t count;
	uint8_t bcd_revision;
};
_Static_assert(sizeof(struct anchor2) == SMBIOS_ANCHOR_SIZE, "SMBIOS 2.x entry point");

struct __attribute__((packed)) anchor3 {
	char anchor[5];
	uint8_t checksum;
	uint8_t length;
	uint8_t major;
	uint8_t minor;
	uint8_t document_revision;
	uint8_t revision;
	uint8_t reserved;
	uint32_t largest_table;
	uint64_t table_address;
};
_Static_assert(sizeof(struct anchor3) == 24, "SMBIOS 3.0 entry point");

/* The numbers in the structures are those of their strings, which follow each of them. */
struct __attribute__((packed)) header {
	uint8_t type;
	uint8_t length;
	uint16_t handle;
};

struct __attribute__((packed)) firmware {
	struct header header;
	uint8_t vendor;
	uint8_t version;
	uint16_t start_segment;
	uint8_t release_date;
	uint8_t rom_size;
	uint64_t characteristics;
	uint8_t extension[2];
	uint8_t release[4];
};
_Static_assert(sizeof(struct firmware) == 24, "SMBIOS type 0");
#define CHARACTERISTICS_UNKNOWN (1u << 3)
#define EXTENSION_VM		(1u << 4)
#define NOT_GIVEN		0xff

struct __attribute__((packed)) system {
	struct header header;
	uint8_t manufacturer;
	uint8_t product;
	uint8_t version;
	uint8_t serial;
	uint8_t uuid[16]; /* all zero: not given */
	uint8_t wake_up;
	uint8_t sku;
	uint8_t family;
};
_Static_assert(sizeof(struct system) == 27, "SMBIOS type 1");
#define WAKE_UP_POWER_SWITCH 6

struct __attribute__((packed)) board {
	struct header header;
	uint8_t manufacturer;
	uint8_t product;
	uint8_t version;
	uint8_t serial;
	uint8_t asset_tag;
	uint8_t features;
	uint8_t location;
	uint16_t chassis;
	uint8_t type;
	uint8_t contained;
};
_Static_assert(sizeof(struct board) == 15, "SMBIOS type 2");
#define BOARD_HOSTING	  1
#define BOARD_MOTHERBOARD 10

struct __attribute__((packed)) chassis {
	struct header header;
	uint8_t manufacturer;
	uint8_t type;
	uint8_t version;
	uint8_t serial;
	uint8_t asset_tag;
	uint8_t boot_state;
	uint8_t power_state;
	uint8_t thermal_state;
	uint8_t security;
	uint32_t oem;
	uint8_t height;
	uint8_t power_cords;
	uint8_t contained_count;
	uint8_t contained_size;
	uint8_t sku;
};
_Static_assert(sizeof(struct chassis) == 22, "SMBIOS type 3");
#define CHASSIS_DESKTOP 3
#define STATE_SAFE	3
#define SECURITY_NONE	3

struct __attribute__((packed)) boot_status {
	struct header header;
	uint8_t reserved[6];
	uint8_t status; /* 0: no errors detected */
};
_Static_assert(sizeof(struct boot_status) == 11, "SMBIOS type 32");

enum {
	TYPE_FIRMWARE = 0,
	TYPE_SYSTEM = 1,
	TYPE_BOARD = 2,
	TYPE_CHASSIS = 3,
	TYPE_BOOT = 32,
	TYPE_END = 127,
};

struct table {
	uint8_t bytes[SMBIOS_STRUCTURES_MAX];
	size_t used;
	uint16_t count;
	uint16_t largest;
};

/* Adds a structure and its strings (NULL ends them); the content is ours, so it fits. */
static void add(struct table *table, uint8_t type, struct header *header, size_t length,
		const char *const *strings)
{
	size_t start = table->used, at = start + length;

	*header = (struct header){type, (uint8_t)length, (uint16_t)(FIRST_HANDLE + table->count)};
	assert(at + 2 <= SMBIOS_STRUCTURES_MAX);
	memcpy(table->bytes + start, header, length);
	for (; *strings; strings++) {
		size_t size = strlen(*strings) + 1;

		assert(at + size + 2 <= SMBIOS_STRUCTURES_MAX);
		memcpy(table->bytes + at, *strings, size);
		at += size;
	}
	/* An empty string ends the set, two an empty set: the bytes are zero already. */
	at += at == start + length ? 2 : 1;
	table->largest = (uint16_t)MAX((size_t)table->largest, at - start);
	table->count++;
	table->used = at;
}

static void add_firmware(struct table *table, const char *version)
{
	struct firmware firmware = {
		.vendor = 1,
		.version = 2,
		.release_date = 3,
		.characteristics = CHARACTERISTICS_UNKNOWN,
		.extension = {0, EXTENSION_VM},
		.release = {NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN},
	};

	add(table, TYPE_FIRMWARE, &firmware.header, sizeof(firmware),
	    (const char *const[]){"Bulkhead", version, "01/01/2026", NULL});
}

static void add_system(struct table *table)
{
	struct system system = {
		.manufacturer = 1,
		.product = 2,
		.version = 3,
		.wake_up = WAKE_UP_POWER_SWITCH,
		.family = 2,
	};

	add(table, TYPE_SYSTEM, &system.header, sizeof(system),
	    (const char *const[]){MANUFACTURER, PRODUCT, VERSION, NULL});
}

static void add_board_and_chassis(struct table *table)
{
	const char *const strings[] = {MANUFACTURER, PRODUCT, VERSION, NULL};
	struct board board = {
		.manufacturer = 1,
		.product = 2,
		.version = 3,
		.features = BOARD_HOSTING,
		.chassis = (uint16_t)(FIRST_HANDLE + table->count + 1),
		.type = BOARD_MOTHERBOARD,
	};
	/* No asset tag: the one known from Azure VMs makes guests take the VM for one. */
	struct chassis chassis = {
		.manufacturer = 1,
		.type = CHASSIS_DESKTOP,
		.version = 2,
		.boot_state = STATE_SAFE,
		.power_state = STATE_SAFE,
		.thermal_state = STATE_SAFE,
		.security = SECURITY_NONE,
	};

	add(table, TYPE_BOARD, &board.header, sizeof(board), strings);
	add(table, TYPE_CHASSIS, &chassis.header, sizeof(chassis),
	    (const char *const[]){MANUFACTURER, VERSION, NULL});
}

static void add_end(struct table *table)
{
	const char *const none[] = {NULL};
	struct boot_status status = {0};
	struct header end;

	add(table, TYPE_BOOT, &status.header, sizeof(status), none);
	add(table, TYPE_END, &end, sizeof(end), none);
}

static uint8_t checksum(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint8_t sum = 0;

	while (size-- > 0)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

static void fill_anchor2(const struct table *table, struct anchor2 *anchor, uint32_t address)
{
	*anchor = (struct anchor2){
		.anchor = {'_', 'S', 'M', '_'},
		.length = sizeof(*anchor),
		.major = MAJOR,
		.minor = MINOR,
		.largest = table->largest,
		.intermediate = {'_', 'D', 'M', 'I', '_'},
		.table_length = (uint16_t)table->used,
		.table_address = address,
		.count = table->count,
		.bcd_revision = MAJOR << 4 | MINOR,
	};
	anchor->intermediate_checksum = checksum(
		anchor->intermediate, sizeof(*anchor) - offsetof(struct anchor2, intermediate));
	anchor->checksum = checksum(anchor, sizeof(*anchor));
}

static void fill_anchor3(const struct table *table, struct anchor3 *anchor)
{
	*anchor = (struct anchor3){
		.anchor = {'_', 'S', 'M', '3', '_'},
		.length = sizeof(*anchor),
		.major = MAJOR,
		.minor = MINOR,
		.revision = 1,
		.largest_table = (uint32_t)table->used,
		.table_address = MACHINE_SMBIOS_BASE + STRUCTURES_AT,
	};
	anchor->checksum = checksum(anchor, sizeof(*anchor));
}

static void add_all(struct table *table, const char *version)
{
	add_firmware(table, version);
	add_system(table);
	add_board_and_chassis(table);
	add_end(table);
}

int smbios_write(const struct gpa_space *gpa)
{
	uint8_t anchors[STRUCTURES_AT] = {0};
	struct table table = {0};
	int rc;

	add_all(&table, "direct boot");
	fill_anchor2(&table, (struct anchor2 *)anchors, MACHINE_SMBIOS_BASE + STRUCTURES_AT);
	fill_anchor3(&table, (struct anchor3 *)(anchors + ANCHOR3_AT));
	rc = gpa_write(gpa, MACHINE_SMBIOS_BASE, anchors, sizeof(anchors));
	if (rc < 0)
		return rc;
	return gpa_write(gpa, MACHINE_SMBIOS_BASE + STRUCTURES_AT, table.bytes, table.used);
}

void smbios_build(struct smbios_image *image)
{
	struct table table = {0};
	struct anchor2 anchor;

	add_all(&table, "Generation 1");
	fill_anchor2(&table, &anchor, 0);
	*image = (struct smbios_image){.size = table.used};
	memcpy(image->anchor, &anchor, sizeof(anchor));
	memcpy(image->structures, table.bytes, table.used);
}
