#pragma once

#include <jansson.h>

#include "base/error.h"
#include "devices/block/image.h"

/*
 * bulkhead-disk: what is done to disk images that no VM uses, in a process that holds their
 * descriptors and nothing else.  It takes requests over its control socket, one after another until
 * that is closed, each with its descriptors in the order of its files:
 *
 *   {"verb", "files": [{"name", "format"}, ...], ...}
 *
 * and answers {"reply": {...}} or {"error": SENTENCE}.  The files are an image and its parents,
 * nearest first; of "create" the parents, and of "convert" the source, and then "target": true, the
 * new and empty file.
 *
 *   info     the image alone; "parents" are the paths where it says its parent is
 *   check    "damages" and "notes", sentences
 *   create   "bytes", "block_bytes", "logical_block", "physical_block" (0: the format's own),
 *            "fixed", "relative", "absolute" (the parent's paths)
 *   convert  the same, but of the size; with "progress": true, {"progress": {"done", "total"}},
 *            in bytes, comes before the answer as the work goes on
 *   resize   "bytes"
 *   compact  "before" and "after", the file's bytes
 */

#define DISK_FILES_MAX (IMAGE_CHAIN_MAX + 1) /* the longest chain, and what it is converted to */

/* An image and its parents, open. */
struct disk_set {
	struct image_chain chain;
	struct image_file_sync files[IMAGE_CHAIN_MAX];
	uint64_t file_bytes[IMAGE_CHAIN_MAX];
	int fds[DISK_FILES_MAX]; /* owned */
	unsigned int count;
	/* Told about each hundredth of the work; may be NULL.  -errno: nobody waits for the rest.
	 */
	int (*progress)(void *context, uint64_t done, uint64_t total);
	void *context;
};

/* How a request wants its image. */
enum disk_access { DISK_READ, DISK_WRITE, DISK_DAMAGED };

/* Opens files[0..count) of the request. */
int disk_set_open(struct disk_set *set, const json_t *files, size_t count, enum disk_access access,
		  bool alone, struct error *err);
/* Closes what is open; of an image that was written, its file is finished.  -errno with err. */
int disk_set_close(struct disk_set *set, struct error *err);

/* The verbs: a new reference in *reply, or -errno with err. */
int disk_info(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
int disk_check(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
int disk_create(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
int disk_convert(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
int disk_resize(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
int disk_compact(const json_t *request, struct disk_set *set, json_t **reply, struct error *err);
