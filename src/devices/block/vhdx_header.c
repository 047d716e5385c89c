#include "devices/block/vhdx.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/wire.h"

#define HEADER_VERSION 1

/* A header's page: 0, -ENOENT for none (or a torn one), -ENOTSUP for one of a later version. */
static int parse_header(const uint8_t *page, struct vhdx_header *header)
{
	uint8_t copy[VHDX_PAGE];

	memcpy(copy, page, sizeof(copy));
	put_le32(copy + VHDX_HEADER_CHECKSUM, 0);
	if (memcmp(page, VHDX_HEADER_SIGNATURE, 4) != 0 ||
	    crc32c(0, copy, sizeof(copy)) != get_le32(page + VHDX_HEADER_CHECKSUM))
		return -ENOENT;
	if (get_le16(page + VHDX_HEADER_VERSION) != HEADER_VERSION)
		return -ENOTSUP;
	header->sequence = get_le64(page + VHDX_HEADER_SEQUENCE);
	memcpy(&header->file_write, page + VHDX_HEADER_FILE_WRITE, sizeof(struct guid));
	memcpy(&header->data_write, page + VHDX_HEADER_DATA_WRITE, sizeof(struct guid));
	memcpy(&header->log, page + VHDX_HEADER_LOG, sizeof(struct guid));
	header->log_length = get_le32(page + VHDX_HEADER_LOG_LENGTH);
	header->log_offset = get_le64(page + VHDX_HEADER_LOG_OFFSET);
	return get_le16(page + VHDX_HEADER_LOG_VERSION) == 0 ? 0 : -ENOTSUP;
}

void vhdx_format_header(const struct vhdx_header *header, uint8_t page[VHDX_PAGE])
{
	memset(page, 0, VHDX_PAGE);
	memcpy(page, VHDX_HEADER_SIGNATURE, 4);
	put_le64(page + VHDX_HEADER_SEQUENCE, header->sequence);
	memcpy(page + VHDX_HEADER_FILE_WRITE, &header->file_write, sizeof(struct guid));
	memcpy(page + VHDX_HEADER_DATA_WRITE, &header->data_write, sizeof(struct guid));
	memcpy(page + VHDX_HEADER_LOG, &header->log, sizeof(struct guid));
	put_le16(page + VHDX_HEADER_VERSION, HEADER_VERSION);
	put_le32(page + VHDX_HEADER_LOG_LENGTH, header->log_length);
	put_le64(page + VHDX_HEADER_LOG_OFFSET, header->log_offset);
	put_le32(page + VHDX_HEADER_CHECKSUM, crc32c(0, page, VHDX_PAGE));
}

/* The log lies in whole mebibytes behind the headers' own. */
static int check_log_place(const struct vhdx *vhdx, struct error *err)
{
	const struct vhdx_header *header = &vhdx->header;

	if (header->log_length == 0 || !is_aligned(header->log_length, VHDX_MIB) ||
	    !is_aligned(header->log_offset, VHDX_MIB) || header->log_offset < VHDX_MIB ||
	    !range_within(header->log_offset, header->log_length, VHDX_FILE_MAX))
		return error_set(err, EINVAL,
				 "%s: its header places the log wrongly; restore the file from a "
				 "copy",
				 vhdx->image.name);
	if (header->log_length > VHDX_LOG_MAX)
		return error_set(
			err, ENOTSUP,
			"%s: its log has %u MiB, and at most %u are read; convert it where "
			"it was made",
			vhdx->image.name, header->log_length >> 20, VHDX_LOG_MAX >> 20);
	return 0;
}

static int choose_header(struct vhdx *vhdx, const uint8_t pages[2][VHDX_PAGE], struct error *err)
{
	struct vhdx_header headers[2];
	int sound[2];

	for (int i = 0; i < 2; i++)
		sound[i] = parse_header(pages[i], &headers[i]);
	if (sound[0] == -ENOTSUP || sound[1] == -ENOTSUP)
		return error_set(err, ENOTSUP,
				 "%s: it is a VHDX of a version that is not known here; convert it "
				 "where it was made",
				 vhdx->image.name);
	if (sound[0] < 0 && sound[1] < 0)
		return error_set(err, EINVAL,
				 "%s: neither of its two headers is sound; restore the file from a "
				 "copy",
				 vhdx->image.name);
	if (sound[0] == 0 && sound[1] == 0 && headers[0].sequence == headers[1].sequence &&
	    memcmp(pages[0], pages[1], VHDX_PAGE) != 0)
		return error_set(err, EINVAL,
				 "%s: its two headers contradict each other; restore the file from "
				 "a copy",
				 vhdx->image.name);
	vhdx->header_slot =
		sound[0] < 0 || (sound[1] == 0 && headers[1].sequence > headers[0].sequence);
	vhdx->damaged_header = sound[0] < 0 || sound[1] < 0;
	vhdx->header = headers[vhdx->header_slot];
	return check_log_place(vhdx, err);
}

int vhdx_read_header(struct vhdx *vhdx, struct image_file *file, struct error *err)
{
	uint8_t signature[8];
	uint8_t pages[2][VHDX_PAGE];
	int r = image_file_read(file, 0, signature, sizeof(signature));

	if (r == 0 && memcmp(signature, VHDX_SIGNATURE, sizeof(signature)) != 0)
		return error_set(err, EINVAL, "%s is no VHDX; give its true format",
				 vhdx->image.name);
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		r = image_file_read(file, VHDX_HEADER_OFFSET(i), pages[i], VHDX_PAGE);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its headers cannot be read: %s; the file may be cut "
				 "off",
				 vhdx->image.name, strerror(-r));
	return choose_header(vhdx, (const uint8_t(*)[VHDX_PAGE])pages, err);
}

int vhdx_write_header(struct vhdx *vhdx, struct image_file *file, const struct vhdx_header *header)
{
	CLEANUP_FREE uint8_t *page = aligned_alloc(VHDX_PAGE, VHDX_PAGE);
	struct vhdx_header next = *header;
	int r;

	if (!page)
		return -ENOMEM;
	next.sequence = vhdx->header.sequence + 1;
	vhdx_format_header(&next, page);
	r = image_file_write(file, VHDX_HEADER_OFFSET(1 - vhdx->header_slot), page, VHDX_PAGE);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	vhdx->header_slot = 1 - vhdx->header_slot;
	vhdx->header = next;
	vhdx->damaged_header = false;
	return 0;
}
