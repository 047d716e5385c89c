#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/guid.h"
#include "base/list.h"
#include "devices/block/block.h"
#include "devices/block/image_file.h"

/*
 * What the image formats (VHD, VHDX) have in common: a virtual disk whose blocks lie in a file,
 * here or there or not yet.  A format says where bytes lie (map, from any thread and without a
 * lock) and changes what lies where (commit, one call at a time).  What needs no change, reading
 * and writing blocks that are there, goes straight to the raw backend (image_queue.c).
 */

#define IMAGE_CHAIN_MAX	 32 /* an image and its parents */
#define IMAGE_COMMIT_MAX 32 /* changes in one commit */
#define IMAGE_SECTOR_MIN 512u
#define IMAGE_NAME_MAX	 256

struct image;

enum image_extent_kind {
	IMAGE_IN_FILE,
	IMAGE_ZERO,
	IMAGE_IN_PARENT,
};

struct image_extent {
	enum image_extent_kind kind;
	uint64_t offset; /* IN_FILE: in the file */
	uint64_t length; /* in bytes, at least a sector */
};

/* A change that commit makes; it lies within one block. */
struct image_change {
	enum block_operation operation; /* WRITE, WRITE_ZEROES, DISCARD */
	bool stable;			/* on stable storage before it is done */
	uint64_t offset;
	uint64_t length;
	const struct iovec *iov; /* WRITE */
	unsigned int iov_count;
	int result;
};

/* What puts the change's bytes at that offset of the file. */
static inline struct image_write image_change_at(const struct image_change *change, uint64_t offset)
{
	bool data = change->operation == BLOCK_WRITE;

	return (struct image_write){.offset = offset,
				    .length = change->length,
				    .iov = data ? change->iov : NULL,
				    .iov_count = data ? change->iov_count : 0};
}

enum image_finding {
	IMAGE_DAMAGE, /* something is or may be lost */
	IMAGE_NOTE,
};
enum image_match {
	IMAGE_MATCHES,
	IMAGE_NO_MATCH,
	IMAGE_OTHER_TIME, /* it is the parent, but its time is not what it was */
};
/* What a check found: half a sentence. */
typedef void (*image_report)(void *context, enum image_finding finding, const char *text);

struct image_ops {
	const char *name; /* "vhd", "vhdx" */
	/* Where the bytes from offset on lie, and how many of at most length lie so.  Any thread.
	 */
	void (*map)(const struct image *image, uint64_t offset, uint64_t length,
		    struct image_extent *extent);
	/*
	 * Makes the first of count changes, as many as go together, fills in their results and
	 * says how many (1 at least).  A change that is done is in the file for good, whatever
	 * happens, once a flush came after it; before, it may be there or not.
	 */
	unsigned int (*commit)(struct image *image, struct image_file *file,
			       struct image_change *const *changes, unsigned int count);
	/* Differencing: whether that image, of the same format, is the parent that it was made of,
	 * as it was then. */
	enum image_match (*match)(const struct image *image, const struct image *parent);
	/* The same: where the parent is said to be, the best guess first; NULL past the last. */
	const char *(*parent_path)(const struct image *image, unsigned int index);
	/* Adds what it is, for people and programs, to a JSON object. */
	void (*describe)(const struct image *image, json_t *out);
	/* Of an image that was opened with its damages, for reading. */
	void (*check)(const struct image *image, image_report report, void *context);
	/* Makes the virtual disk larger; may be NULL.  Only where the file's calls are synchronous.
	 */
	int (*grow)(struct image *image, struct image_file *file, uint64_t bytes,
		    struct error *err);
	/* Gives back what is not in use, and moves the rest together; the same. */
	int (*compact)(struct image *image, struct image_file *file, struct error *err);
	/* Ends writing; the file is then as a reader wants it. */
	int (*finish)(struct image *image, struct image_file *file);
	void (*free)(struct image *image);
};

struct image {
	struct block_disk disk; /* geometry: the virtual disk's */
	const struct image_ops *ops;
	uint64_t block_bytes;
	bool differencing;
	struct image *parent; /* of a differencing image, once it was given; owned */
	/* The first change of all goes through commit, which marks the file as changed. */
	atomic_bool started;
	char name[IMAGE_NAME_MAX]; /* for sentences */

	/* The worker's. */
	struct block_disk *file; /* raw */
	struct image_file_sync sync;
	pthread_mutex_t lock; /* guards the two below; taken before an I/O thread's */
	struct list changes;  /* that wait for their commit */
	bool committing;
};

/* How to open an image. */
struct image_open {
	const char *name; /* as the user wrote it */
	bool read_only;
	bool ignore_damage; /* for a check, which reports it */
	int64_t modified;   /* when the file was written to last, as time(); 0: not known */
};

typedef int (*image_opener)(struct image_file *file, uint64_t file_bytes,
			    const struct image_open *options, struct image **out,
			    struct error *err);

/* The format's open: reads, checks and (where writing) repairs by its log what lies in the file.
 * -EINVAL with err for what is no sound image. */
int vhdx_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
	      struct image **out, struct error *err);
int image_raw_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
		   struct image **out, struct error *err);
int vhd_open(struct image_file *file, uint64_t file_bytes, const struct image_open *options,
	     struct image **out, struct error *err);

/* With the names of no format, NULL. */
image_opener image_opener_find(const char *format);

/* What an image shall be made of. */
struct image_create {
	const char *name;	 /* for sentences */
	uint64_t bytes;		 /* of the virtual disk */
	uint64_t block_bytes;	 /* 0: as the format prefers it */
	uint32_t logical_block;	 /* 0: 512 */
	uint32_t physical_block; /* 0: 4096 */
	bool fixed;
	/* Differencing: the parent, and how it is found from the image's folder and from
	 * everywhere. */
	const struct image *parent;
	const char *parent_relative;
	const char *parent_absolute;
};

/* Makes an image in an empty file; complete, and stable, when they return 0. */
int vhdx_create(struct image_file *file, const struct image_create *create, struct error *err);
int image_raw_create(struct image_file *file, const struct image_create *create, struct error *err);
int vhd_create(struct image_file *file, const struct image_create *create, struct error *err);

typedef int (*image_creator)(struct image_file *file, const struct image_create *create,
			     struct error *err);
/* As image_opener_find. */
image_creator image_creator_find(const char *format);

/* The common part of a new image. */
void image_init(struct image *image, const struct image_ops *ops, const struct image_open *options);
/* Frees it and its parents; changes nothing in a file. */
void image_free(struct image *image);

/* Whether a differencing image has the parent that it was made of, and another has none. */
int image_check_parent(const struct image *image, struct error *err);

/* Copies of an iovec array's bytes [skip, skip + length), at most max entries; the count, or 0
 * where it takes more. */
unsigned int image_slice(const struct iovec *iov, uint64_t skip, uint64_t length, struct iovec *out,
			 unsigned int max);

/* Whether bytes of a request can go to the file as they are. */
bool image_in_place(const struct image *image, enum block_operation operation, bool may_unmap,
		    uint64_t offset, uint64_t length, const struct image_extent *extent);

/*
 * Synchronous access, for bulkhead-disk and for tests: file is what the image was opened on, files
 * those of its parents in turn.
 */
struct image_chain {
	struct image *image;
	struct image_file *files[IMAGE_CHAIN_MAX];
};

int image_read(const struct image_chain *chain, uint64_t offset, void *data, uint64_t length);
int image_write(const struct image_chain *chain, uint64_t offset, const void *data,
		uint64_t length);
/* Zeroes, or (discard) what the format makes of it. */
int image_zero(const struct image_chain *chain, uint64_t offset, uint64_t length, bool discard);
