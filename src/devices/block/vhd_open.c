#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/wire.h"
#include "devices/block/vhd.h"

static void vhd_free(struct image *image)
{
	struct vhd *vhd = vhd_of(image);

	for (uint32_t i = 0; vhd->bitmaps && i < vhd->blocks; i++)
		free((void *)atomic_load(&vhd->bitmaps[i]));
	for (size_t i = 0; i < ARRAY_LENGTH(vhd->parent_paths); i++)
		free(vhd->parent_paths[i]);
	free((void *)vhd->bitmaps);
	free((void *)vhd->table);
	free(vhd);
}

/*
 * The specification's parent time is when the parent was written to last, but no field of the
 * parent has it: we keep it in the footer's time (vhd_commit.c), as VirtualBox does, and Hyper-V
 * takes the file's.  Those who do not know it write 0.
 */
static enum image_match vhd_match(const struct image *image, const struct image *parent_image)
{
	const struct vhd *vhd = container_of(image, struct vhd, image);
	const struct vhd *parent = container_of(parent_image, struct vhd, image);
	uint32_t time = vhd->parent_time;

	if (!guid_equal(&vhd->parent_id, &parent->id))
		return IMAGE_NO_MATCH;
	return time == 0 || time == get_be32(parent->footer + VHD_FOOTER_TIME) ||
			       time == parent->file_time
		       ? IMAGE_MATCHES
		       : IMAGE_OTHER_TIME;
}

static const char *vhd_parent_path(const struct image *image, unsigned int index)
{
	const struct vhd *vhd = container_of(image, struct vhd, image);

	return index < ARRAY_LENGTH(vhd->parent_paths) ? vhd->parent_paths[index] : NULL;
}

static const struct image_ops vhd_ops = {
	.name = "vhd",
	.map = vhd_map,
	.commit = vhd_commit,
	.match = vhd_match,
	.parent_path = vhd_parent_path,
	.describe = vhd_describe,
	.check = vhd_check,
	.grow = vhd_grow,
	.compact = vhd_compact,
	.finish = vhd_finish,
	.free = vhd_free,
};

/* Not time(), which without a vDSO is a system call that no sandbox has. */
uint32_t vhd_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint32_t)(now.tv_sec - VHD_EPOCH);
}

uint32_t vhd_checksum(const uint8_t *data, size_t length, size_t checksum_at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		if (i < checksum_at || i >= checksum_at + 4)
			sum += data[i];
	return ~sum;
}

static bool footer_sound(const uint8_t *footer)
{
	return memcmp(footer, VHD_FOOTER_COOKIE, 8) == 0 &&
	       get_be32(footer + VHD_FOOTER_CHECKSUM) ==
		       vhd_checksum(footer, VHD_FOOTER_BYTES, VHD_FOOTER_CHECKSUM);
}

/* The one at the end; where a writer was cut off, the copy at the beginning. */
static int find_footer(struct vhd *vhd, struct image_file *file, struct error *err)
{
	int r = -EIO;

	if (vhd->file_bytes >= VHD_FOOTER_BYTES)
		r = image_file_read(file, vhd->file_bytes - VHD_FOOTER_BYTES, vhd->footer,
				    VHD_FOOTER_BYTES);
	vhd->damaged_footer = r < 0 || !footer_sound(vhd->footer);
	if (r == 0 && vhd->damaged_footer)
		r = image_file_read(file, 0, vhd->footer, VHD_FOOTER_BYTES);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its footer cannot be read: %s; the file may be cut "
				 "off",
				 vhd->image.name, strerror(-r));
	if (!footer_sound(vhd->footer) ||
	    (vhd->damaged_footer && get_be32(vhd->footer + VHD_FOOTER_TYPE) == VHD_FIXED))
		return error_set(err, EINVAL,
				 "%s has no sound VHD footer; give its true format, or restore the "
				 "file from a copy",
				 vhd->image.name);
	return 0;
}

static int read_footer(struct vhd *vhd, struct image_file *file, struct error *err)
{
	struct block_geometry *geometry = &vhd->image.disk.geometry;
	int r = find_footer(vhd, file, err);

	if (r < 0)
		return r;
	vhd->type = get_be32(vhd->footer + VHD_FOOTER_TYPE);
	vhd->header_offset = get_be64(vhd->footer + VHD_FOOTER_DATA);
	memcpy(&vhd->id, vhd->footer + VHD_FOOTER_ID, sizeof(vhd->id));
	if (get_be32(vhd->footer + VHD_FOOTER_VERSION) != VHD_VERSION || vhd->type < VHD_FIXED ||
	    vhd->type > VHD_DIFFERENCING)
		return error_set(err, ENOTSUP,
				 "%s: it is a VHD of a kind that is not known here; convert it "
				 "where it was made",
				 vhd->image.name);
	geometry->bytes = get_be64(vhd->footer + VHD_FOOTER_SIZE);
	geometry->logical_block = geometry->physical_block = VHD_SECTOR;
	if (geometry->bytes == 0 || !is_aligned(geometry->bytes, VHD_SECTOR) ||
	    geometry->bytes > VHD_DISK_MAX)
		return error_set(err, EINVAL,
				 "%s: its footer gives the disk an impossible size; restore the "
				 "file from a copy",
				 vhd->image.name);
	return 0;
}

static int read_fixed(struct vhd *vhd, struct error *err)
{
	if (vhd->image.disk.geometry.bytes > vhd->file_bytes - VHD_FOOTER_BYTES)
		return error_set(err, EINVAL,
				 "%s: the file is shorter than the disk in it; restore it from a "
				 "copy",
				 vhd->image.name);
	vhd->image.block_bytes = 2u << 20;
	vhd->footer_at = vhd->file_bytes - VHD_FOOTER_BYTES;
	return 0;
}

static int bad_header(const struct vhd *vhd, struct error *err)
{
	return error_set(err, EINVAL, "%s: its header is not sound; restore the file from a copy",
			 vhd->image.name);
}

/* Where the header and the table lie: behind the footer's copy, in the file, and apart. */
static bool places_sound(const struct vhd *vhd, uint64_t table_bytes)
{
	uint64_t header = vhd->header_offset, table = vhd->table_offset;

	return is_aligned(header | table, VHD_SECTOR) && header >= VHD_FOOTER_BYTES &&
	       table >= VHD_FOOTER_BYTES &&
	       range_within(header, VHD_HEADER_BYTES, vhd->file_bytes) &&
	       range_within(table, table_bytes, vhd->file_bytes) &&
	       (header + VHD_HEADER_BYTES <= table || table + table_bytes <= header);
}

static int take_header(struct vhd *vhd, const uint8_t *header, struct error *err)
{
	uint64_t block = get_be32(header + VHD_HEADER_BLOCK);
	uint64_t entries = get_be32(header + VHD_HEADER_ENTRIES);

	if (memcmp(header, VHD_HEADER_COOKIE, 8) != 0 ||
	    get_be32(header + VHD_HEADER_CHECKSUM) !=
		    vhd_checksum(header, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM) ||
	    get_be32(header + VHD_HEADER_VERSION) != VHD_VERSION || block < VHD_BLOCK_MIN ||
	    block > VHD_BLOCK_MAX || (block & (block - 1)) != 0)
		return bad_header(vhd, err);
	vhd->image.block_bytes = block;
	vhd->blocks = (uint32_t)((vhd->image.disk.geometry.bytes + block - 1) / block);
	vhd->bitmap_bytes = align_up(block / VHD_SECTOR / 8, VHD_SECTOR);
	vhd->table_offset = get_be64(header + VHD_HEADER_TABLE);
	vhd->image.differencing = vhd->type == VHD_DIFFERENCING;
	memcpy(&vhd->parent_id, header + VHD_HEADER_PARENT_ID, sizeof(vhd->parent_id));
	vhd->parent_time = get_be32(header + VHD_HEADER_PARENT_TIME);
	if (entries < vhd->blocks ||
	    !places_sound(vhd, align_up((uint64_t)vhd->blocks * 4, VHD_SECTOR)))
		return bad_header(vhd, err);
	if ((uint64_t)vhd->blocks * 4 > VHD_TABLE_MAX)
		return error_set(err, ENOTSUP,
				 "%s: it has too many blocks; convert it to larger ones",
				 vhd->image.name);
	return 0;
}

/* A writer that was cut off left a file without a footer: it gets one. */
static int repair_footer(struct vhd *vhd, struct image_file *file, struct error *err)
{
	uint64_t offset = MAX(align_up(vhd->file_bytes, VHD_SECTOR), vhd->end);
	int r;

	vhd->footer_at = vhd->file_bytes - VHD_FOOTER_BYTES;
	if (!vhd->damaged_footer || vhd->image.disk.geometry.read_only)
		return 0;
	r = image_file_write(file, offset, vhd->footer, VHD_FOOTER_BYTES);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return error_set(err, -r,
				 "%s: its footer cannot be repaired: %s; make room for "
				 "the file, or attach the disk with ,ro",
				 vhd->image.name, strerror(-r));
	vhd->footer_at = offset;
	vhd->file_bytes = offset + VHD_FOOTER_BYTES;
	vhd->damaged_footer = false;
	vhd->grown = true;
	return 0;
}

static int read_dynamic(struct vhd *vhd, struct image_file *file, const struct image_open *options,
			struct error *err)
{
	uint8_t header[VHD_HEADER_BYTES];
	int r;

	if (!range_within(vhd->header_offset, sizeof(header), vhd->file_bytes))
		return bad_header(vhd, err);
	r = image_file_read(file, vhd->header_offset, header, sizeof(header));
	if (r < 0)
		return error_set(err, -r,
				 "%s: its header cannot be read: %s; the file may be cut "
				 "off",
				 vhd->image.name, strerror(-r));
	r = take_header(vhd, header, err);
	if (r == 0 && vhd->image.differencing)
		r = vhd_read_parent(vhd, file, header, err);
	if (r == 0)
		r = vhd_load_table(vhd, file, options->ignore_damage, err);
	return r < 0 ? r : repair_footer(vhd, file, err);
}

int vhd_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
	     struct image **out, struct error *err)
{
	struct vhd *vhd = calloc(1, sizeof(*vhd));
	int r;

	if (!vhd)
		return error_memory(err, "a disk");
	image_init(&vhd->image, &vhd_ops, options);
	vhd->file_bytes = file_bytes;
	vhd->file_time = options->modified ? (uint32_t)(options->modified - VHD_EPOCH) : 0;
	r = read_footer(vhd, file, err);
	if (r == 0)
		r = vhd->type == VHD_FIXED ? read_fixed(vhd, err)
					   : read_dynamic(vhd, file, options, err);
	if (r < 0) {
		image_free(&vhd->image);
		return r;
	}
	vhd->image.disk.geometry.discard = !options->read_only;
	vhd->image.disk.geometry.discard_granularity = 4096;
	*out = &vhd->image;
	return 0;
}
