#pragma once

#include "base/guid.h"
#include "devices/block/image.h"
#include "devices/block/vhdx_format.h"

/* VHDX: what the parts of the format's code share (vhdx_*.c). */

/* Of what a file may make us hold. */
#define VHDX_LOG_MAX	   (64u << 20)
#define VHDX_BAT_MAX	   (64u << 20) /* in the file: a disk of 8 TiB with the smallest blocks */
#define VHDX_FILE_MAX	   (1ull << 47)
#define VHDX_BITMAPS_MAX   (512ull << 20)
#define VHDX_LOG_PAGES_MAX 126u /* descriptors that lie in an entry's first sector */

struct vhdx_header {
	uint64_t sequence;
	struct guid file_write;
	struct guid data_write;
	struct guid log;
	uint32_t log_length;
	uint64_t log_offset;
};

struct vhdx_region {
	uint64_t offset;
	uint32_t length;
};

/* What a replay puts over the file: a page, or zeroes. */
struct vhdx_patch {
	uint64_t offset;
	uint64_t length;
	uint8_t *page; /* VHDX_PAGE bytes; NULL: zeroes */
};

struct vhdx_patches {
	struct vhdx_patch *patches;
	unsigned int count;
	uint64_t file_bytes; /* the file is this long at least */
	uint64_t sequence;   /* of the newest entry */
};

struct vhdx_locator_entry {
	char *key; /* owned, as is value: UTF-8 */
	char *value;
};

struct vhdx {
	struct image image;
	uint64_t file_bytes;
	struct vhdx_header header;
	unsigned int header_slot; /* where it lies: 0 or 1 */
	bool damaged_header;	  /* the other one is not sound, as after a cut-off update */
	struct vhdx_region bat_region;
	struct vhdx_region metadata_region;
	uint64_t size_at;     /* where the file has the virtual disk's size */
	struct guid disk_id;  /* the SCSI identifier, page 83 */
	bool leave_allocated; /* fixed */
	bool has_parent;
	uint64_t chunk_blocks; /* payload blocks of one sector bitmap block */
	uint64_t blocks;
	uint64_t bat_count;
	/*
	 * The entries, but of a block that is not there the offset is where it was before in this
	 * session, and where it will be again: so space that a request may still be writing to is
	 * never given to another block.
	 */
	_Atomic uint64_t *bat;
	/* Differencing: of each partially present block, its bits (one a sector). */
	_Atomic(_Atomic uint8_t *) *bitmaps;
	uint64_t bitmaps_bytes;
	/* Which mebibytes of the file are in use, and how many there are. */
	uint8_t *used;
	uint64_t used_count;
	uint64_t used_size;
	uint64_t search_from;
	struct vhdx_locator_entry *locator;
	unsigned int locator_count;
	/* Writing. */
	uint64_t log_sequence;
	uint32_t log_head; /* where the next entry goes, from the log's beginning */
	bool logging;	   /* the header names our log */
	/* What the log has, and the file would not take yet: it goes there before another entry
	 * does into the log.  Owned. */
	struct vhdx_page *unplaced;
	unsigned int unplaced_count;
};

static inline struct vhdx *vhdx_of(struct image *image)
{
	return container_of(image, struct vhdx, image);
}

static inline uint64_t vhdx_bat_entry(const struct vhdx *vhdx, uint64_t index)
{
	return atomic_load_explicit(&vhdx->bat[index], memory_order_acquire);
}

/* Where in the BAT: of a payload block, and of the sector bitmap of a chunk. */
static inline uint64_t vhdx_payload_index(const struct vhdx *vhdx, uint64_t block)
{
	return block + block / vhdx->chunk_blocks;
}

static inline uint64_t vhdx_bitmap_index(const struct vhdx *vhdx, uint64_t chunk)
{
	return (chunk + 1) * vhdx->chunk_blocks + chunk;
}

/* The bytes of one block's sector bitmap. */
static inline uint64_t vhdx_bitmap_bytes(const struct vhdx *vhdx)
{
	return vhdx->image.block_bytes / vhdx->image.disk.geometry.logical_block / 8;
}

/* Whether a differencing disk of that shape is one that we open: all its bits are in memory. */
static inline bool vhdx_bitmaps_fit(uint64_t blocks, uint64_t block_bytes, uint32_t logical_block)
{
	return blocks <= VHDX_BITMAPS_MAX / (block_bytes / logical_block / 8);
}

/* vhdx_header.c */
int vhdx_read_header(struct vhdx *vhdx, struct image_file *file, struct error *err);
/* Writes the header over the older one and waits for it to be stable. */
int vhdx_write_header(struct vhdx *vhdx, struct image_file *file, const struct vhdx_header *header);
void vhdx_format_header(const struct vhdx_header *header, uint8_t page[VHDX_PAGE]);

/* vhdx_log.c */
/* Finds what the log has to be replayed; nothing, where there is nothing. */
int vhdx_log_load(struct vhdx *vhdx, struct image_file *file, struct vhdx_patches *patches,
		  struct error *err);
void vhdx_patches_free(struct vhdx_patches *patches);
/* Writes it to the file, and empties the log. */
int vhdx_log_replay(struct vhdx *vhdx, struct image_file *file, const struct vhdx_patches *patches);
/* Reads what will be there after a replay. */
int vhdx_patched_read(const struct vhdx_patches *patches, struct image_file *file, uint64_t offset,
		      void *data, size_t length);

/* A page of metadata that a log entry carries. */
struct vhdx_page {
	uint64_t offset; /* in the file */
	uint8_t data[VHDX_PAGE];
};
/* Makes the changes of pages (malloc'ed; may be taken) all or none: through the log, then in place.
 * What was written before is made stable first, by the caller. */
int vhdx_log_commit(struct vhdx *vhdx, struct image_file *file, struct vhdx_page **pages,
		    unsigned int count);
/* Puts in place what an earlier commit could not.  A flush is to follow. */
int vhdx_log_settle(struct vhdx *vhdx, struct image_file *file);

/* vhdx_region.c, vhdx_metadata.c: what the region table and the metadata table say. */
int vhdx_read_regions(struct vhdx *vhdx, struct image_file *file,
		      const struct vhdx_patches *patches, struct error *err);
/* The region table as it is, but with the BAT at that place. */
int vhdx_format_regions(const struct vhdx *vhdx, struct image_file *file,
			const struct vhdx_region *bat, uint8_t table[VHDX_TABLE_BYTES],
			struct error *err);
int vhdx_read_metadata(struct vhdx *vhdx, struct image_file *file,
		       const struct vhdx_patches *patches, struct error *err);

/* vhdx_bat.c */
int vhdx_load_bat(struct vhdx *vhdx, struct image_file *file, const struct vhdx_patches *patches,
		  bool ignore_damage, struct error *err);
/* Whether that entry is something the file can have; takes its space. */
bool vhdx_entry_sound(struct vhdx *vhdx, uint64_t index);
void vhdx_map(const struct image *image, uint64_t offset, uint64_t length,
	      struct image_extent *extent);
/* Space of the file for count mebibytes: its offset, or 0 (the file would be too long). */
uint64_t vhdx_allocate(struct vhdx *vhdx, uint64_t bytes);
void vhdx_release(struct vhdx *vhdx, uint64_t offset, uint64_t bytes);
/* Marks it; false where some of it is in use already, or beyond the longest file. */
bool vhdx_occupy(struct vhdx *vhdx, uint64_t offset, uint64_t bytes);

/* vhdx_commit.c */
unsigned int vhdx_commit(struct image *image, struct image_file *file,
			 struct image_change *const *changes, unsigned int count);
int vhdx_finish(struct image *image, struct image_file *file);

/* vhdx_check.c */
void vhdx_describe(const struct image *image, json_t *out);
void vhdx_check(const struct image *image, image_report report, void *context);

/* vhdx_change.c */
int vhdx_grow(struct image *image, struct image_file *file, uint64_t bytes, struct error *err);
int vhdx_compact(struct image *image, struct image_file *file, struct error *err);
