#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/vsp/netvsp_internal.h"

#define PIECES_MAX	   (NETVSP_AREA_MAX / VMBUS_PAGE_SIZE)
/* Of which two lie in a page: enough for an MTU of 1500. */
#define SMALL_SECTION	   2048u
#define FRAME_HEADER_BYTES (FRAME_ETHERNET_BYTES + FRAME_VLAN_BYTES)

/* Whole pages, as many as the pieces hold. */
static int list_pages(struct netvsp_area *area, const struct iovec *pieces, unsigned int count)
{
	uint32_t page = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t *base = pieces[i].iov_base;

		if (!is_aligned((uintptr_t)base, VMBUS_PAGE_SIZE) ||
		    !is_aligned(pieces[i].iov_len, VMBUS_PAGE_SIZE))
			return -EINVAL;
		for (size_t at = 0; at < pieces[i].iov_len; at += VMBUS_PAGE_SIZE)
			area->pages[page++] = base + at;
	}
	return 0;
}

int netvsp_area_map(struct netvsp_area *area, const struct channel *channel, uint32_t gpadl,
		    uint16_t id)
{
	struct iovec *pieces = calloc(PIECES_MAX, sizeof(*pieces));
	struct netvsp_area new = {.gpadl = gpadl, .id = id};
	uint64_t bytes = 0;
	int r;

	if (!pieces)
		return -ENOMEM;
	r = channel_gpadl_buffers(channel, gpadl, GPA_WRITE, pieces, PIECES_MAX, &bytes);
	if (r >= 0 && (bytes == 0 || bytes > NETVSP_AREA_MAX))
		r = -EINVAL;
	if (r >= 0) {
		new.bytes = (uint32_t)bytes;
		new.pages = calloc(bytes / VMBUS_PAGE_SIZE + 1, sizeof(new.pages[0]));
		r = new.pages ? list_pages(&new, pieces, (unsigned int)r) : -ENOMEM;
	}
	free(pieces);
	if (r < 0)
		free(new.pages);
	else
		*area = new;
	return r;
}

void netvsp_area_unmap(struct netvsp_area *area)
{
	free(area->pages);
	*area = (struct netvsp_area){0};
}

static uint8_t *at(const struct netvsp_area *area, uint32_t offset)
{
	return area->pages[offset / VMBUS_PAGE_SIZE] + offset % VMBUS_PAGE_SIZE;
}

static uint32_t in_page(uint32_t offset)
{
	return VMBUS_PAGE_SIZE - offset % VMBUS_PAGE_SIZE;
}

int netvsp_area_pieces(const struct netvsp_area *area, uint32_t offset, uint32_t bytes,
		       struct iovec *iov, unsigned int used, unsigned int max)
{
	while (bytes > 0) {
		uint32_t part = MIN(bytes, in_page(offset));

		if (used == max)
			return -E2BIG;
		iov[used++] = (struct iovec){at(area, offset), part};
		offset += part;
		bytes -= part;
	}
	return (int)used;
}

void netvsp_area_write(const struct netvsp_area *area, uint32_t offset, const void *data,
		       uint32_t bytes)
{
	const uint8_t *next = data;

	while (bytes > 0) {
		uint32_t part = MIN(bytes, in_page(offset));

		memcpy(at(area, offset), next, part);
		next += part;
		offset += part;
		bytes -= part;
	}
}

void netvsp_area_read(const struct netvsp_area *area, uint32_t offset, void *data, uint32_t bytes)
{
	uint8_t *next = data;

	while (bytes > 0) {
		uint32_t part = MIN(bytes, in_page(offset));

		memcpy(next, at(area, offset), part);
		next += part;
		offset += part;
		bytes -= part;
	}
}

int netvsp_receive_new(const struct netvsp_area *area, uint32_t mtu, struct netvsp_receive **out)
{
	uint32_t section = NETVSP_ROOM + FRAME_HEADER_BYTES + mtu;
	struct netvsp_receive *receive;

	section = section <= SMALL_SECTION ? SMALL_SECTION
					   : (uint32_t)align_up(section, VMBUS_PAGE_SIZE);
	if (area->bytes < section)
		return -EINVAL;
	receive = calloc(1, sizeof(*receive));
	if (!receive)
		return -ENOMEM;
	receive->area = *area;
	receive->section_bytes = section;
	receive->section_count = area->bytes / section;
	receive->sections = calloc(receive->section_count, sizeof(receive->sections[0]));
	if (!receive->sections) {
		free(receive);
		return -ENOMEM;
	}
	*out = receive;
	return 0;
}

void netvsp_receive_free(struct netvsp_receive *receive)
{
	if (!receive)
		return;
	netvsp_area_unmap(&receive->area);
	free(receive->sections);
	free(receive);
}
