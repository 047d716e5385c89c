#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "devices/block/vhd.h"

/* In a VHD all of an identity is big-endian. */
static void format_id(const struct guid *id, char text[GUID_TEXT_SIZE])
{
	static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	struct guid swapped;

	for (size_t i = 0; i < sizeof(order); i++)
		swapped.bytes[i] = id->bytes[order[i]];
	guid_format(&swapped, text);
}

void vhd_describe(const struct image *image, json_t *out)
{
	const struct vhd *vhd = container_of(image, struct vhd, image);
	uint64_t present = 0;
	char id[GUID_TEXT_SIZE];

	for (uint32_t block = 0; vhd->table && block < vhd->blocks; block++)
		present += vhd_entry(vhd, block) != VHD_UNUSED;
	format_id(&vhd->id, id);
	json_object_set_new(out, "type",
			    json_string(vhd->type == VHD_FIXED	   ? "fixed"
					: vhd->type == VHD_DYNAMIC ? "dynamic"
								   : "differencing"));
	json_object_set_new(out, "disk_id", json_string(id));
	if (!vhd->table)
		return;
	json_object_set_new(out, "blocks", json_integer(vhd->blocks));
	json_object_set_new(out, "blocks_present", json_integer((json_int_t)present));
}

struct place {
	uint32_t sector;
	uint32_t block;
};

static int compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;

	return left->sector < right->sector ? -1 : left->sector > right->sector;
}

static void check_places(const struct vhd *vhd, struct place *places, uint32_t count,
			 image_report report, void *context)
{
	uint64_t span = vhd_block_span(vhd) / VHD_SECTOR;
	char text[160];

	qsort(places, count, sizeof(*places), compare);
	for (uint32_t i = 0; i < count; i++) {
		if (!vhd_place_sound(vhd, places[i].sector)) {
			snprintf(text, sizeof(text),
				 "block %u lies at sector %u, where no block can be",
				 places[i].block, places[i].sector);
			report(context, IMAGE_DAMAGE, text);
		}
		if (i + 1 < count && places[i + 1].sector - places[i].sector < span) {
			snprintf(text, sizeof(text), "blocks %u and %u lie in the same place",
				 places[i].block, places[i + 1].block);
			report(context, IMAGE_DAMAGE, text);
		}
	}
}

void vhd_check(const struct image *image, image_report report, void *context)
{
	const struct vhd *vhd = container_of(image, struct vhd, image);
	CLEANUP_FREE struct place *places = NULL;
	uint32_t count = 0;
	char text[160];

	if (vhd->damaged_footer)
		report(context, IMAGE_NOTE,
		       "the footer at the end is missing, as after a cut-off "
		       "write; the next writer puts it there");
	if (!vhd->table)
		return;
	places = malloc((size_t)vhd->blocks * sizeof(*places));
	for (uint32_t block = 0; places && block < vhd->blocks; block++)
		if (vhd_entry(vhd, block) != VHD_UNUSED)
			places[count++] = (struct place){vhd_entry(vhd, block), block};
	if (places)
		check_places(vhd, places, count, report, context);
	if (vhd->end + VHD_FOOTER_BYTES >= vhd->file_bytes)
		return;
	snprintf(text, sizeof(text), "%llu KiB at the end of the file are not in use",
		 (unsigned long long)((vhd->file_bytes - VHD_FOOTER_BYTES - vhd->end) >> 10));
	report(context, IMAGE_NOTE, text);
}
