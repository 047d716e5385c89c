#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf16.h"
#include "base/wire.h"
#include "devices/block/vhd.h"

#define URL_BEGIN "file://"

static void add_path(struct vhd *vhd, char *path)
{
	for (size_t i = 0; i < ARRAY_LENGTH(vhd->parent_paths); i++) {
		if (vhd->parent_paths[i])
			continue;
		vhd->parent_paths[i] = path;
		return;
	}
	free(path);
}

static int add_utf16(struct vhd *vhd, const uint8_t *data, uint32_t length)
{
	char *path = malloc(UTF16_DECODED_MAX(length));

	if (!path)
		return -ENOMEM;
	utf16_decode(data, length, path, UTF16_DECODED_MAX(length));
	add_path(vhd, path);
	return 0;
}

static int add_url(struct vhd *vhd, const uint8_t *data, uint32_t length)
{
	size_t skip = strlen(URL_BEGIN);
	char *path;

	if (length <= skip || memcmp(data, URL_BEGIN, skip) != 0)
		return 0;
	path = strndup((const char *)data + skip, length - skip);
	if (!path)
		return -ENOMEM;
	add_path(vhd, path);
	return 0;
}

/* One of the header's locators, where it is of that platform. */
static int read_locator(struct vhd *vhd, struct image_file *file, const uint8_t *locator,
			uint32_t platform)
{
	uint32_t length = get_be32(locator + VHD_LOCATOR_LENGTH);
	uint64_t offset = get_be64(locator + VHD_LOCATOR_OFFSET);
	CLEANUP_FREE uint8_t *data = NULL;
	int r;

	if (get_be32(locator) != platform)
		return 0;
	if (length == 0 || length > VHD_LOCATOR_MAX ||
	    !range_within(offset, length, vhd->file_bytes))
		return -EINVAL;
	data = malloc(length);
	if (!data)
		return -ENOMEM;
	r = image_file_read(file, offset, data, length);
	vhd->end = MAX(vhd->end, align_up(offset + length, VHD_SECTOR));
	if (r < 0)
		return r;
	return platform == VHD_PLATFORM_MACX ? add_url(vhd, data, length)
					     : add_utf16(vhd, data, length);
}

/* The plain name in the header, big-endian unlike the rest. */
static int read_name(struct vhd *vhd, const uint8_t *header)
{
	uint8_t name[VHD_HEADER_PARENT_NAME_BYTES];

	for (size_t i = 0; i < sizeof(name); i += 2)
		put_le16(name + i, get_be16(header + VHD_HEADER_PARENT_NAME + i));
	return get_le16(name) ? add_utf16(vhd, name, sizeof(name)) : 0;
}

int vhd_read_parent(struct vhd *vhd, struct image_file *file, const uint8_t *header,
		    struct error *err)
{
	static const uint32_t platforms[] = {VHD_PLATFORM_W2RU, VHD_PLATFORM_W2KU,
					     VHD_PLATFORM_MACX};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(platforms) && r == 0; i++)
		for (unsigned int n = 0; n < VHD_LOCATORS && r == 0; n++)
			r = read_locator(vhd, file,
					 header + VHD_HEADER_LOCATORS + n * VHD_LOCATOR_BYTES,
					 platforms[i]);
	if (r == 0)
		r = read_name(vhd, header);
	if (r == -ENOMEM)
		return error_memory(err, "a disk");
	if (r < 0)
		return error_set(err, -r,
				 "%s: what it says of its parent is not sound; restore the file "
				 "from a copy",
				 vhd->image.name);
	return 0;
}

static int write_locator(struct image_file *file, uint8_t *locator, uint32_t platform,
			 const char *path, uint64_t *offset)
{
	uint8_t data[VHD_LOCATOR_MAX / 8] = {0};
	uint32_t space;
	int length = utf16_encode(path, data, sizeof(data));
	int r;

	if (length < 0)
		return length;
	length -= 2; /* without the NUL */
	space = (uint32_t)align_up((uint64_t)length, VHD_SECTOR);
	r = image_file_write(file, *offset, data, space);
	if (r < 0)
		return r;
	put_be32(locator, platform);
	put_be32(locator + VHD_LOCATOR_SPACE, space);
	put_be32(locator + VHD_LOCATOR_LENGTH, (uint32_t)length);
	put_be64(locator + VHD_LOCATOR_OFFSET, *offset);
	*offset += space;
	return 0;
}

/* As much of the name as there is room for: the locators have all of it. */
static void write_name(const char *path, uint8_t *header)
{
	const char *slash = strrchr(path, '/');
	uint8_t name[VHD_HEADER_PARENT_NAME_BYTES];

	if (utf16_encode(slash ? slash + 1 : path, name, sizeof(name)) < 0)
		return;
	for (size_t i = 0; i < sizeof(name); i += 2)
		put_be16(header + VHD_HEADER_PARENT_NAME + i, get_le16(name + i));
}

int vhd_write_parent(const struct image_create *create, struct image_file *file, uint8_t *header,
		     uint64_t *offset)
{
	const struct vhd *parent = container_of(create->parent, struct vhd, image);
	uint8_t *locators = header + VHD_HEADER_LOCATORS;
	int r;

	memcpy(header + VHD_HEADER_PARENT_ID, &parent->id, sizeof(parent->id));
	memcpy(header + VHD_HEADER_PARENT_TIME, parent->footer + VHD_FOOTER_TIME, 4);
	write_name(create->parent_absolute, header);
	r = write_locator(file, locators, VHD_PLATFORM_W2RU, create->parent_relative, offset);
	if (r < 0)
		return r;
	return write_locator(file, locators + VHD_LOCATOR_BYTES, VHD_PLATFORM_W2KU,
			     create->parent_absolute, offset);
}
