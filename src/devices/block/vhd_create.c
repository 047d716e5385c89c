#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "devices/block/chs.h"
#include "devices/block/vhd.h"

/* A new file: the footer's copy, the header, the table, where the parent is, the footer. */
#define HEADER_OFFSET	VHD_FOOTER_BYTES
#define TABLE_OFFSET	(HEADER_OFFSET + VHD_HEADER_BYTES)
#define BLOCK_PREFERRED (2u << 20)
/* What readers take for the word of Hyper-V, which means the size and not the geometry. */
#define CREATOR		"win "
#define CREATOR_VERSION 0x000a0000u
#define CREATOR_HOST	"Wi2k"

static uint32_t geometry(uint64_t bytes)
{
	struct chs chs = chs_of(bytes / VHD_SECTOR);

	return chs.cylinders << 16 | chs.heads << 8 | chs.sectors;
}

static int make_footer(const struct image_create *create, enum vhd_type type, uint8_t *footer)
{
	struct guid id;
	int r = guid_random(&id);

	if (r < 0)
		return r;
	memset(footer, 0, VHD_FOOTER_BYTES);
	memcpy(footer, VHD_FOOTER_COOKIE, 8);
	put_be32(footer + VHD_FOOTER_FEATURES, VHD_FEATURES_RESERVED);
	put_be32(footer + VHD_FOOTER_VERSION, VHD_VERSION);
	put_be64(footer + VHD_FOOTER_DATA, type == VHD_FIXED ? UINT64_MAX : HEADER_OFFSET);
	put_be32(footer + VHD_FOOTER_TIME, vhd_now());
	memcpy(footer + VHD_FOOTER_CREATOR, CREATOR, 4);
	put_be32(footer + VHD_FOOTER_CREATOR_VERSION, CREATOR_VERSION);
	memcpy(footer + VHD_FOOTER_CREATOR_HOST, CREATOR_HOST, 4);
	put_be64(footer + VHD_FOOTER_ORIGINAL, create->bytes);
	put_be64(footer + VHD_FOOTER_SIZE, create->bytes);
	put_be32(footer + VHD_FOOTER_GEOMETRY, geometry(create->bytes));
	put_be32(footer + VHD_FOOTER_TYPE, type);
	memcpy(footer + VHD_FOOTER_ID, &id, sizeof(id));
	put_be32(footer + VHD_FOOTER_CHECKSUM,
		 vhd_checksum(footer, VHD_FOOTER_BYTES, VHD_FOOTER_CHECKSUM));
	return 0;
}

static int write_fixed(struct image_file *file, const struct image_create *create,
		       const uint8_t *footer)
{
	int r = file->ops->allocate(file, 0, create->bytes);

	if (r == -EOPNOTSUPP)
		r = file->ops->truncate(file, create->bytes);
	if (r == 0)
		r = image_file_write(file, create->bytes, footer, VHD_FOOTER_BYTES);
	return r < 0 ? r : image_file_flush(file);
}

static int write_table(struct image_file *file, uint64_t blocks)
{
	uint64_t bytes = align_up(blocks * 4, VHD_SECTOR);
	CLEANUP_FREE uint8_t *table = malloc(bytes);

	if (!table)
		return -ENOMEM;
	memset(table, 0xff, bytes);
	return image_file_write(file, TABLE_OFFSET, table, bytes);
}

/* The copy at the beginning comes last: without it the file is none. */
static int write_dynamic(struct image_file *file, const struct image_create *create, uint32_t block,
			 const uint8_t *footer)
{
	uint64_t blocks = (create->bytes + block - 1) / block;
	uint64_t end = TABLE_OFFSET + align_up(blocks * 4, VHD_SECTOR);
	uint8_t header[VHD_HEADER_BYTES] = VHD_HEADER_COOKIE;
	int r = write_table(file, blocks);

	put_be64(header + 8, UINT64_MAX);
	put_be64(header + VHD_HEADER_TABLE, TABLE_OFFSET);
	put_be32(header + VHD_HEADER_VERSION, VHD_VERSION);
	put_be32(header + VHD_HEADER_ENTRIES, (uint32_t)blocks);
	put_be32(header + VHD_HEADER_BLOCK, block);
	if (r == 0 && create->parent)
		r = vhd_write_parent(create, file, header, &end);
	put_be32(header + VHD_HEADER_CHECKSUM,
		 vhd_checksum(header, sizeof(header), VHD_HEADER_CHECKSUM));
	if (r == 0)
		r = image_file_write(file, HEADER_OFFSET, header, sizeof(header));
	if (r == 0)
		r = image_file_write(file, end, footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		r = image_file_write(file, 0, footer, VHD_FOOTER_BYTES);
	return r < 0 ? r : image_file_flush(file);
}

static int check_create(const struct image_create *create, uint64_t block, struct error *err)
{
	if (create->fixed && create->block_bytes)
		return error_set(
			err, EINVAL,
			"%s: a fixed VHD has no blocks; leave out --block-size, or --fixed",
			create->name);
	if (create->bytes == 0 || create->bytes > VHD_DISK_MAX ||
	    !is_aligned(create->bytes, VHD_SECTOR))
		return error_set(
			err, EINVAL,
			"%s: a VHD has from 512 bytes to 2040 GiB, in whole sectors of 512 "
			"bytes; choose another size, or a VHDX",
			create->name);
	if ((create->logical_block && create->logical_block != VHD_SECTOR) ||
	    (create->physical_block && create->physical_block != VHD_SECTOR))
		return error_set(err, EINVAL,
				 "%s: a VHD has sectors of 512 bytes; choose those, or a VHDX",
				 create->name);
	if (block < VHD_BLOCK_MIN || block > VHD_BLOCK_MAX || (block & (block - 1)) != 0 ||
	    (create->bytes + block - 1) / block * 4 > VHD_TABLE_MAX)
		return error_set(
			err, EINVAL,
			"%s: a VHD has blocks of 4K to 256M, a power of two, and at most %u of "
			"them; choose another --block-size",
			create->name, VHD_TABLE_MAX / 4);
	return 0;
}

int vhd_create(struct image_file *file, const struct image_create *create, struct error *err)
{
	uint64_t block = create->block_bytes ? create->block_bytes : BLOCK_PREFERRED;
	enum vhd_type type = create->parent  ? VHD_DIFFERENCING
			     : create->fixed ? VHD_FIXED
					     : VHD_DYNAMIC;
	uint8_t footer[VHD_FOOTER_BYTES];
	int r = check_create(create, block, err);

	if (r < 0)
		return r;
	r = make_footer(create, type, footer);
	if (r == 0)
		r = type == VHD_FIXED ? write_fixed(file, create, footer)
				      : write_dynamic(file, create, (uint32_t)block, footer);
	if (r < 0)
		return error_set(err, -r,
				 "%s cannot be made: %s; make room for it, or choose another place",
				 create->name, strerror(-r));
	return 0;
}
