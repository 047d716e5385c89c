#pragma once

#include "base/coroutine.h"
#include "devices/block/image.h"

/*
 * An image as a block backend.  What only reads, or writes where something lies already, is split
 * at the extents and handed to the raw backend of the file, on any number of threads and without a
 * lock (image_queue.c).  The rest waits for a commit: one thread at a time makes them, for all, in
 * a coroutine whose calls of the file are requests of its own ring (image_commit.c).
 */

#define IMAGE_IOV_SMALL 4

struct image_queue;

/* A block_request in progress, in its backend_area. */
struct image_job {
	struct image_queue *queue;
	struct block_request *request;
	unsigned int pending; /* its pieces, and its submission */
	int result;
};

/* A piece of one. */
struct image_piece {
	struct list node; /* free, waiting for a commit, or done by another thread */
	struct image_job *job;
	struct block_request child; /* of the file or the parent */
	struct image_change change; /* for a commit */
	struct iovec *iov;	    /* owned, or NULL */
	struct iovec small[IMAGE_IOV_SMALL];
};

struct image_queue_file;

/* A request that a commit waits for. */
struct image_queue_call {
	struct image_queue_file *file;
	int *result;
	struct block_request child;
};

/* The file as a commit on this queue's thread sees it. */
struct image_queue_file {
	struct image_file file;
	struct image_queue *queue;
	unsigned int pending;
	bool waiting;
	struct image_queue_call calls[IMAGE_COMMIT_MAX];
};

struct image_queue {
	struct block_queue queue;
	struct image *image;
	struct io_thread *thread;
	struct block_queue *file;
	struct block_queue *parent; /* or NULL */
	struct list free_pieces;
	struct image_queue_file commit_file;
	struct coroutine *committer;
	struct io_batch_work begin_commit;
	/* Pieces whose commit another thread made; guarded by the image's lock. */
	struct list committed;
	bool posted;
	struct io_post post;
};

/* image_queue.c */
int image_attach(struct block_disk *disk, struct io_thread *thread, struct block_queue **out);
void image_detach(struct block_queue *queue);
void image_submit(struct block_queue *queue, struct block_request *request);
/* The piece is done: on its queue's thread. */
void image_piece_done(struct image_piece *piece, int result);

/* image_commit.c */
int image_commit_init(struct image_queue *queue);
void image_commit_cleanup(struct image_queue *queue);
/* Has the piece's change made some time soon. */
void image_commit_add(struct image_queue *queue, struct image_piece *piece);
