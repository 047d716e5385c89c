#pragma once

#include "base/guid.h"
#include "devices/block/image.h"
#include "devices/block/vhd_format.h"

/* VHD: what the parts of the format's code share (vhd_*.c). */

#define VHD_BLOCK_MIN	4096u
#define VHD_BLOCK_MAX	(256u << 20)
#define VHD_TABLE_MAX	(32u << 20) /* bytes that are read of one */
#define VHD_LOCATOR_MAX (64u << 10)

struct vhd {
	struct image image;
	uint64_t file_bytes;
	uint8_t footer[VHD_FOOTER_BYTES];
	bool damaged_footer; /* the one at the end is not sound */
	enum vhd_type type;
	struct guid id;
	struct guid parent_id;
	uint32_t parent_time; /* in seconds since 2000, as is the next */
	uint32_t file_time;
	char *parent_paths[VHD_LOCATORS + 1]; /* owned; the relative ones first */
	/* Dynamic and differencing. */
	uint64_t header_offset;
	uint64_t table_offset;
	uint32_t blocks;
	uint64_t bitmap_bytes;	 /* in the file, before each block */
	_Atomic uint32_t *table; /* in sectors */
	/* Differencing: of each block that is there, its bits (one a sector, the highest first). */
	_Atomic(_Atomic uint8_t *) *bitmaps;
	uint64_t structures_end; /* behind the header and what says where the parent is */
	uint64_t end;		 /* behind all that is in use */
	uint64_t footer_at;	 /* where the file's footer is, behind room for more blocks */
	bool grown;		 /* so it is to be moved */
};

static inline struct vhd *vhd_of(struct image *image)
{
	return container_of(image, struct vhd, image);
}

static inline uint64_t vhd_block_span(const struct vhd *vhd)
{
	return vhd->bitmap_bytes + vhd->image.block_bytes;
}

static inline uint32_t vhd_entry(const struct vhd *vhd, uint64_t block)
{
	return atomic_load_explicit(&vhd->table[block], memory_order_acquire);
}

/* In seconds since 2000, as all its times. */
uint32_t vhd_now(void);

/* The ones' complement of the sum of all bytes but the four of the checksum itself. */
uint32_t vhd_checksum(const uint8_t *data, size_t length, size_t checksum_at);

/* vhd_table.c: the block allocation table and the bitmaps. */
int vhd_load_table(struct vhd *vhd, struct image_file *file, bool ignore_damage, struct error *err);
/* Whether a block may begin at that sector. */
bool vhd_place_sound(const struct vhd *vhd, uint32_t sector);
void vhd_map(const struct image *image, uint64_t offset, uint64_t length,
	     struct image_extent *extent);

/* vhd_parent.c */
int vhd_read_parent(struct vhd *vhd, struct image_file *file, const uint8_t *header,
		    struct error *err);
/* Fills in the header's fields, and writes what they point to from *offset on. */
int vhd_write_parent(const struct image_create *create, struct image_file *file, uint8_t *header,
		     uint64_t *offset);

/* vhd_commit.c */
unsigned int vhd_commit(struct image *image, struct image_file *file,
			struct image_change *const *changes, unsigned int count);
int vhd_finish(struct image *image, struct image_file *file);

/* vhd_check.c */
void vhd_describe(const struct image *image, json_t *out);
void vhd_check(const struct image *image, image_report report, void *context);

/* vhd_change.c */
int vhd_grow(struct image *image, struct image_file *file, uint64_t bytes, struct error *err);
int vhd_compact(struct image *image, struct image_file *file, struct error *err);
