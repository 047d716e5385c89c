#include "devices/block/vhdx.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/utf16.h"
#include "base/wire.h"

/* Where a new file has its parts: headers, log, metadata, BAT, each in whole mebibytes. */
#define LOG_OFFSET	VHDX_MIB
#define LOG_BYTES	(1u << 20)
#define METADATA_OFFSET (2 * VHDX_MIB)
#define METADATA_BYTES	(1u << 20)
#define BAT_OFFSET	(3 * VHDX_MIB)
#define DYNAMIC_BLOCK	(32u << 20)
#define CHILD_BLOCK	(2u << 20)
#define LOCATOR_BYTES	(32u << 10)
#define CREATOR		"Bulkhead"

/* A file in the making. */
struct making {
	const struct image_create *create;
	struct image_file *file;
	uint32_t block;
	uint32_t logical;
	uint32_t physical;
	uint64_t blocks;
	uint64_t chunk_blocks;
	uint64_t bat_count;
	uint64_t bat_bytes; /* of the region */
	uint8_t *table;	    /* VHDX_TABLE_BYTES of scratch */
};

static int check_create(const struct image_create *create, const struct making *making,
			struct error *err)
{
	if (create->bytes == 0 || create->bytes > VHDX_DISK_MAX ||
	    !is_aligned(create->bytes, making->logical))
		return error_set(err, EINVAL,
				 "%s: a VHDX has from 1 sector to 64 TiB, in whole sectors of %u "
				 "bytes; choose another size",
				 create->name, making->logical);
	if (making->block < VHDX_BLOCK_MIN || making->block > VHDX_BLOCK_MAX ||
	    making->block != create->block_bytes || (making->block & (making->block - 1)) != 0)
		return error_set(err, EINVAL,
				 "%s: the blocks of a VHDX have from 1M to 256M, a power of two; "
				 "choose another --block-size",
				 create->name);
	if (making->bat_count * 8 > VHDX_BAT_MAX)
		return error_set(err, EINVAL,
				 "%s: so large a disk needs larger blocks; choose another "
				 "--block-size",
				 create->name);
	if (create->parent && !vhdx_bitmaps_fit(making->blocks, making->block, making->logical))
		return error_set(err, EINVAL,
				 "%s: so large a disk can have no parent; make a copy of the "
				 "parent by `bulkhead disk convert`, and resize that where "
				 "needed",
				 create->name);
	return 0;
}

static void plan_layout(struct making *making)
{
	const struct image_create *create = making->create;

	making->blocks = (create->bytes + making->block - 1) / making->block;
	making->chunk_blocks = VHDX_BITMAP_SECTORS * making->logical / making->block;
	if (create->parent)
		making->bat_count = (making->blocks + making->chunk_blocks - 1) /
				    making->chunk_blocks * (making->chunk_blocks + 1);
	else
		making->bat_count = making->blocks + (making->blocks - 1) / making->chunk_blocks;
	making->bat_bytes = align_up(making->bat_count * 8, VHDX_MIB);
}

static int write_regions(struct making *making)
{
	static const struct guid bat = VHDX_REGION_BAT;
	static const struct guid metadata = VHDX_REGION_METADATA;
	uint8_t *entry = making->table + VHDX_REGION_ENTRIES;
	int r = 0;

	memset(making->table, 0, VHDX_TABLE_BYTES);
	memcpy(making->table, VHDX_REGION_SIGNATURE, 4);
	put_le32(making->table + VHDX_REGION_COUNT, 2);
	memcpy(entry, &bat, sizeof(bat));
	put_le64(entry + 16, BAT_OFFSET);
	put_le32(entry + 24, (uint32_t)making->bat_bytes);
	put_le32(entry + 28, 1);
	entry += VHDX_TABLE_ENTRY;
	memcpy(entry, &metadata, sizeof(metadata));
	put_le64(entry + 16, METADATA_OFFSET);
	put_le32(entry + 24, METADATA_BYTES);
	put_le32(entry + 28, 1);
	put_le32(making->table + VHDX_REGION_CHECKSUM, crc32c(0, making->table, VHDX_TABLE_BYTES));
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		r = image_file_write(making->file, VHDX_REGION_OFFSET(i), making->table,
				     VHDX_TABLE_BYTES);
	return r;
}

/* The parent locator (2.6.2.6): keys and values follow the entries. */
struct locator {
	uint8_t data[LOCATOR_BYTES];
	uint32_t entries;
	uint32_t end;
};

static int add_text(struct locator *locator, const char *text, uint8_t *offset, uint8_t *length)
{
	int bytes = utf16_encode(text, locator->data + locator->end, LOCATOR_BYTES - locator->end);

	if (bytes < 0)
		return bytes;
	bytes -= 2; /* without the NUL */
	put_le32(offset, locator->end);
	put_le16(length, (uint16_t)bytes);
	locator->end += (uint32_t)bytes;
	return 0;
}

static int add_key(struct locator *locator, const char *key, const char *value)
{
	uint8_t *entry =
		locator->data + VHDX_LOCATOR_ENTRIES + locator->entries++ * VHDX_LOCATOR_ENTRY;
	int r = add_text(locator, key, entry, entry + 8);

	return r < 0 ? r : add_text(locator, value, entry + 4, entry + 10);
}

static int make_locator(const struct image_create *create, struct locator *locator)
{
	static const struct guid type = VHDX_LOCATOR_VHDX;
	char linkage[GUID_TEXT_SIZE + 2] = "{";
	const struct vhdx *parent = container_of(create->parent, struct vhdx, image);
	int r;

	memset(locator, 0, sizeof(*locator));
	memcpy(locator->data, &type, sizeof(type));
	locator->end = VHDX_LOCATOR_ENTRIES + 3 * VHDX_LOCATOR_ENTRY;
	guid_format(&parent->header.data_write, linkage + 1);
	strcat(linkage, "}");
	r = add_key(locator, "parent_linkage", linkage);
	if (r == 0)
		r = add_key(locator, "relative_path", create->parent_relative);
	if (r == 0)
		r = add_key(locator, "absolute_win32_path", create->parent_absolute);
	put_le16(locator->data + VHDX_LOCATOR_COUNT, (uint16_t)locator->entries);
	return r;
}

/* The metadata table in making, and its items. */
struct items {
	uint8_t *table;
	unsigned int count;
	uint32_t end; /* of what lies behind the table */
	struct image_file *file;
	int result;
};

static void add_item(struct items *items, const struct guid *id, const void *data, uint32_t length,
		     uint32_t flags)
{
	uint8_t *entry = items->table + VHDX_METADATA_ENTRIES + items->count++ * VHDX_TABLE_ENTRY;

	memcpy(entry, id, sizeof(*id));
	put_le32(entry + 16, items->end);
	put_le32(entry + 20, length);
	put_le32(entry + 24, flags | VHDX_METADATA_REQUIRED);
	if (items->result == 0)
		items->result =
			image_file_write(items->file, METADATA_OFFSET + items->end, data, length);
	items->end += (uint32_t)align_up(length, 8);
}

static int add_items(const struct making *making, struct items *items)
{
	static const struct guid parameters_id = VHDX_ITEM_PARAMETERS;
	static const struct guid size_id = VHDX_ITEM_SIZE;
	static const struct guid disk_id = VHDX_ITEM_DISK_ID;
	static const struct guid logical_id = VHDX_ITEM_LOGICAL;
	static const struct guid physical_id = VHDX_ITEM_PHYSICAL;
	uint8_t parameters[8], size[8], logical[4], physical[4];
	struct guid disk;
	int r = guid_random(&disk);

	if (r < 0)
		return r;
	put_le32(parameters, making->block);
	put_le32(parameters + 4, making->create->parent	 ? VHDX_PARAMETER_HAS_PARENT
				 : making->create->fixed ? VHDX_PARAMETER_LEAVE_ALLOCATED
							 : 0);
	put_le64(size, making->create->bytes);
	put_le32(logical, making->logical);
	put_le32(physical, making->physical);
	add_item(items, &parameters_id, parameters, 8, 0);
	add_item(items, &size_id, size, 8, VHDX_METADATA_VIRTUAL);
	add_item(items, &disk_id, &disk, sizeof(disk), VHDX_METADATA_VIRTUAL);
	add_item(items, &logical_id, logical, 4, VHDX_METADATA_VIRTUAL);
	add_item(items, &physical_id, physical, 4, VHDX_METADATA_VIRTUAL);
	return items->result;
}

static int add_locator(const struct making *making, struct items *items)
{
	static const struct guid locator_id = VHDX_ITEM_LOCATOR;
	CLEANUP_FREE struct locator *locator = malloc(sizeof(*locator));
	int r = locator ? make_locator(making->create, locator) : -ENOMEM;

	if (r < 0)
		return r;
	add_item(items, &locator_id, locator->data, locator->end, 0);
	return items->result;
}

static int write_metadata(struct making *making)
{
	struct items items = {
		.table = making->table, .end = VHDX_TABLE_BYTES, .file = making->file};
	int r;

	memset(making->table, 0, VHDX_TABLE_BYTES);
	memcpy(making->table, VHDX_METADATA_SIGNATURE, 8);
	r = add_items(making, &items);
	if (r == 0 && making->create->parent)
		r = add_locator(making, &items);
	put_le16(making->table + VHDX_METADATA_COUNT, (uint16_t)items.count);
	return r < 0 ? r
		     : image_file_write(making->file, METADATA_OFFSET, making->table,
					VHDX_TABLE_BYTES);
}

/* Of a fixed disk every block is there. */
static int write_fixed_bat(struct making *making)
{
	uint64_t data = BAT_OFFSET + making->bat_bytes;
	CLEANUP_FREE uint8_t *bat = calloc(making->bat_count, 8);
	int r;

	if (!bat)
		return -ENOMEM;
	for (uint64_t block = 0; block < making->blocks; block++)
		put_le64(bat + (block + block / making->chunk_blocks) * 8,
			 (data + block * making->block) | VHDX_FULLY_PRESENT);
	r = image_file_write(making->file, BAT_OFFSET, bat, making->bat_count * 8);
	if (r < 0)
		return r;
	return making->file->ops->allocate(making->file, data, making->blocks * making->block);
}

static int write_headers(struct making *making)
{
	struct vhdx_header header = {
		.sequence = 1, .log_length = LOG_BYTES, .log_offset = LOG_OFFSET};
	uint8_t page[VHDX_PAGE];
	int r = guid_random(&header.file_write);

	if (r == 0)
		r = guid_random(&header.data_write);
	for (unsigned int i = 0; i < 2 && r == 0; i++, header.sequence++) {
		vhdx_format_header(&header, page);
		r = image_file_write(making->file, VHDX_HEADER_OFFSET(i), page, sizeof(page));
	}
	return r;
}

/* The last of all: a file without it is none. */
static int write_signature(struct making *making)
{
	uint8_t page[VHDX_PAGE] = VHDX_SIGNATURE;
	int r = image_file_flush(making->file);

	utf16_encode(CREATOR, page + VHDX_CREATOR, 512);
	if (r == 0)
		r = image_file_write(making->file, 0, page, sizeof(page));
	return r < 0 ? r : image_file_flush(making->file);
}

static int write_all(struct making *making)
{
	uint64_t end = BAT_OFFSET + making->bat_bytes;
	int r = making->file->ops->truncate(making->file, end);

	/* So that the metadata never lacks space; where that is not possible, it has to do. */
	if (r == 0)
		r = making->file->ops->allocate(making->file, 0, end);
	if (r == -EOPNOTSUPP)
		r = 0;
	if (r == 0)
		r = write_regions(making);
	if (r == 0)
		r = write_metadata(making);
	if (r == 0 && making->create->fixed)
		r = write_fixed_bat(making);
	if (r == 0)
		r = write_headers(making);
	return r < 0 ? r : write_signature(making);
}

int vhdx_create(struct image_file *file, const struct image_create *create, struct error *err)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_BYTES);
	struct image_create given = *create;
	struct making making = {.create = &given, .file = file, .table = table};
	int r;

	if (!table)
		return error_memory(err, "a disk");
	if (given.block_bytes == 0)
		given.block_bytes = create->parent ? CHILD_BLOCK : DYNAMIC_BLOCK;
	making.block = (uint32_t)given.block_bytes;
	making.logical = create->logical_block ? create->logical_block : 512;
	making.physical = create->physical_block ? create->physical_block : 4096;
	if (making.block)
		plan_layout(&making);
	r = check_create(&given, &making, err);
	if (r < 0)
		return r;
	r = write_all(&making);
	if (r < 0)
		return error_set(err, -r,
				 "%s cannot be made: %s; make room for it, or choose "
				 "another place",
				 create->name, strerror(-r));
	return 0;
}
