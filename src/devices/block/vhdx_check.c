#include <stdio.h>
#include <string.h>

#include "devices/block/vhdx.h"

void vhdx_describe(const struct image *image, json_t *out)
{
	const struct vhdx *vhdx = container_of(image, struct vhdx, image);
	static const struct guid none;
	uint64_t present = 0;
	char id[GUID_TEXT_SIZE];

	for (uint64_t block = 0; block < vhdx->blocks; block++)
		present += (vhdx_bat_entry(vhdx, vhdx_payload_index(vhdx, block)) &
			    VHDX_BAT_STATE) >= VHDX_FULLY_PRESENT;
	guid_format(&vhdx->disk_id, id);
	json_object_set_new(out, "type",
			    json_string(vhdx->has_parent	? "differencing"
					: vhdx->leave_allocated ? "fixed"
								: "dynamic"));
	json_object_set_new(out, "disk_id", json_string(id));
	json_object_set_new(out, "blocks", json_integer((json_int_t)vhdx->blocks));
	json_object_set_new(out, "blocks_present", json_integer((json_int_t)present));
	json_object_set_new(out, "log_to_replay",
			    json_boolean(!guid_equal(&vhdx->header.log, &none)));
}

/* Counts the space anew: what two things have is told at the second. */
static void recount(struct vhdx *vhdx)
{
	memset(vhdx->used, 0, vhdx->used_size);
	vhdx->used_count = 0;
	vhdx_occupy(vhdx, 0, VHDX_MIB);
	vhdx_occupy(vhdx, vhdx->header.log_offset, vhdx->header.log_length);
	vhdx_occupy(vhdx, vhdx->bat_region.offset, vhdx->bat_region.length);
	vhdx_occupy(vhdx, vhdx->metadata_region.offset, vhdx->metadata_region.length);
}

static void check_block(const struct vhdx *vhdx, uint64_t block, image_report report, void *context)
{
	uint64_t entry = vhdx_bat_entry(vhdx, vhdx_payload_index(vhdx, block));
	char text[160];

	if ((entry & VHDX_BAT_STATE) == VHDX_PARTIALLY_PRESENT && vhdx->bitmaps &&
	    !atomic_load(&vhdx->bitmaps[block])) {
		snprintf(text, sizeof(text),
			 "block %llu is partially present, and no bitmap says "
			 "which part",
			 (unsigned long long)block);
		report(context, IMAGE_DAMAGE, text);
	}
}

void vhdx_check(const struct image *image, image_report report, void *context)
{
	struct vhdx *vhdx = container_of((struct image *)image, struct vhdx, image);
	static const struct guid none;
	uint64_t used;
	char text[160];

	recount(vhdx);
	for (uint64_t i = 0; i < vhdx->bat_count; i++) {
		if (vhdx_entry_sound(vhdx, i))
			continue;
		snprintf(text, sizeof(text),
			 "entry %llu of the block allocation table (%#llx) is not sound: its state "
			 "or place is impossible, or the place is another's too",
			 (unsigned long long)i, (unsigned long long)vhdx_bat_entry(vhdx, i));
		report(context, IMAGE_DAMAGE, text);
	}
	for (uint64_t block = 0; block < vhdx->blocks; block++)
		check_block(vhdx, block, report, context);
	if (vhdx->damaged_header)
		report(context, IMAGE_NOTE,
		       "one of the two headers is not sound; the other one is, "
		       "and the next writer makes both so");
	if (!guid_equal(&vhdx->header.log, &none))
		report(context, IMAGE_NOTE,
		       "it was not closed; the next writer replays what its log has");
	used = vhdx->used_count * VHDX_MIB;
	if (used >= vhdx->file_bytes)
		return;
	snprintf(text, sizeof(text), "%llu MiB of the file are not in use",
		 (unsigned long long)((vhdx->file_bytes - used) / VHDX_MIB));
	report(context, IMAGE_NOTE, text);
}
