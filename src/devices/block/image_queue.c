#include "devices/block/image_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

_Static_assert(sizeof(struct image_job) <= sizeof(((struct block_request *)0)->backend_area),
	       "a request's private area holds an image's");

static struct image_piece *take_piece(struct image_queue *queue)
{
	struct image_piece *piece;

	if (list_empty(&queue->free_pieces))
		return calloc(1, sizeof(*piece));
	piece = list_entry(queue->free_pieces.next, struct image_piece, node);
	list_remove(&piece->node);
	return piece;
}

static void put_piece(struct image_queue *queue, struct image_piece *piece)
{
	free(piece->iov);
	piece->iov = NULL;
	list_prepend(&queue->free_pieces, &piece->node);
}

static void put_job(struct image_job *job, int result)
{
	if (result < 0 && job->result == 0)
		job->result = result;
	if (--job->pending == 0)
		job->request->done(job->request, job->result);
}

void image_piece_done(struct image_piece *piece, int result)
{
	struct image_job *job = piece->job;

	put_piece(job->queue, piece);
	put_job(job, result);
}

static void child_done(struct block_request *child, int result)
{
	struct image_piece *piece = container_of(child, struct image_piece, child);

	/* A hint that the file system does not take. */
	if (child->operation == BLOCK_DISCARD && result == -EOPNOTSUPP)
		result = 0;
	image_piece_done(piece, result);
}

static void submit_child(struct image_piece *piece, struct block_queue *queue)
{
	piece->child.done = child_done;
	queue->disk->backend->submit(queue, &piece->child);
}

/* The bytes of the request's buffer that the piece is about. */
static int slice(struct image_piece *piece, uint64_t skip, uint64_t length)
{
	const struct block_request *request = piece->job->request;

	piece->child.iov = request->iov;
	piece->child.iov_count = request->iov_count;
	if (!request->iov || (skip == 0 && length == request->length))
		return 0;
	piece->child.iov = piece->small;
	piece->child.iov_count =
		image_slice(request->iov, skip, length, piece->small, IMAGE_IOV_SMALL);
	if (piece->child.iov_count > 0)
		return 0;
	piece->iov = malloc(request->iov_count * sizeof(*piece->iov));
	if (!piece->iov)
		return -ENOMEM;
	piece->child.iov = piece->iov;
	piece->child.iov_count =
		image_slice(request->iov, skip, length, piece->iov, request->iov_count);
	return 0;
}

static void read_zeroes(const struct image_piece *piece)
{
	for (unsigned int i = 0; i < piece->child.iov_count; i++)
		memset(piece->child.iov[i].iov_base, 0, piece->child.iov[i].iov_len);
}

/* From the parent, which may be the smaller disk: what it does not have is zeroes. */
static void read_parent(struct image_piece *piece)
{
	struct block_queue *parent = piece->job->queue->parent;

	piece->child.offset = piece->change.offset;
	submit_child(piece, parent);
}

static void commit_piece(struct image_piece *piece)
{
	const struct block_request *request = piece->job->request;

	piece->change.operation = request->operation;
	piece->change.stable = request->force_unit_access;
	piece->change.iov = piece->child.iov;
	piece->change.iov_count = piece->child.iov_count;
	image_commit_add(piece->job->queue, piece);
}

static bool makes_zeroes(const struct block_request *request)
{
	return request->operation == BLOCK_DISCARD || request->operation == BLOCK_WRITE_ZEROES;
}

static void start_piece(struct image_piece *piece, const struct image_extent *extent)
{
	struct image_queue *queue = piece->job->queue;
	const struct image *image = queue->image;
	const struct block_request *request = piece->job->request;

	piece->child.operation = request->operation;
	piece->child.length = extent->length;
	piece->child.force_unit_access = request->force_unit_access;
	piece->child.may_unmap = request->may_unmap;
	if (request->operation == BLOCK_READ && extent->kind == IMAGE_ZERO) {
		read_zeroes(piece);
		image_piece_done(piece, 0);
	} else if (request->operation == BLOCK_READ && extent->kind == IMAGE_IN_PARENT) {
		read_parent(piece);
	} else if (makes_zeroes(request) && extent->kind == IMAGE_ZERO) {
		image_piece_done(piece, 0);
	} else if (image_in_place(image, request->operation, request->may_unmap,
				  piece->change.offset, extent->length, extent)) {
		piece->child.offset = extent->offset;
		submit_child(piece, queue->file);
	} else {
		commit_piece(piece);
	}
}

/* A read beyond the parent's end finds nothing. */
static void clip_to_parent(const struct image_queue *queue, uint64_t offset,
			   struct image_extent *extent)
{
	uint64_t capacity = queue->parent ? queue->parent->disk->geometry.bytes : 0;

	if (extent->kind != IMAGE_IN_PARENT)
		return;
	if (offset >= capacity)
		extent->kind = IMAGE_ZERO;
	else
		extent->length = MIN(extent->length, capacity - offset);
}

/* A block that is not wanted any more goes as a whole, however its parts lie. */
static bool drops_block(const struct image *image, const struct block_request *request,
			uint64_t offset, uint64_t length)
{
	uint64_t rest = image->disk.geometry.bytes - offset;

	return (request->operation == BLOCK_DISCARD ||
		(request->operation == BLOCK_WRITE_ZEROES && request->may_unmap)) &&
	       is_aligned(offset, image->block_bytes) && length >= MIN(image->block_bytes, rest);
}

static void find_extent(const struct image_queue *queue, const struct block_request *request,
			uint64_t offset, uint64_t length, struct image_extent *extent)
{
	const struct image *image = queue->image;

	image->ops->map(image, offset, length, extent);
	if (request->operation == BLOCK_READ)
		clip_to_parent(queue, offset, extent);
	else if (drops_block(image, request, offset, length) && extent->kind != IMAGE_ZERO)
		extent->length = MIN(length, image->block_bytes);
}

static void split(struct image_job *job)
{
	struct image_queue *queue = job->queue;
	const struct block_request *request = job->request;
	uint64_t moved = 0;

	while (moved < request->length) {
		struct image_piece *piece = take_piece(queue);
		struct image_extent extent;
		int r;

		if (!piece) {
			job->result = -ENOMEM;
			return;
		}
		find_extent(queue, request, request->offset + moved, request->length - moved,
			    &extent);
		piece->job = job;
		piece->change.offset = request->offset + moved;
		piece->change.length = extent.length;
		job->pending++;
		r = slice(piece, moved, extent.length);
		moved += extent.length;
		if (r < 0)
			image_piece_done(piece, r);
		else
			start_piece(piece, &extent);
	}
}

static void flush(struct image_job *job)
{
	struct image_queue *queue = job->queue;
	struct image_piece *piece = take_piece(queue);

	if (!piece) {
		job->result = -ENOMEM;
		return;
	}
	piece->job = job;
	piece->child.operation = BLOCK_FLUSH;
	piece->child.length = 0;
	job->pending++;
	submit_child(piece, queue->file);
}

void image_submit(struct block_queue *block_queue, struct block_request *request)
{
	struct image_job *job = (struct image_job *)request->backend_area;

	job->queue = container_of(block_queue, struct image_queue, queue);
	job->request = request;
	job->pending = 1;
	job->result = 0;
	if (request->operation == BLOCK_FLUSH)
		flush(job);
	else if (request->operation != BLOCK_READ && block_queue->disk->geometry.read_only)
		job->result = -EROFS;
	else
		split(job);
	put_job(job, 0);
}

static void free_queue(struct image_queue *queue)
{
	struct image_piece *piece;

	if (queue->parent)
		queue->parent->disk->backend->detach(queue->parent);
	if (queue->file)
		queue->file->disk->backend->detach(queue->file);
	list_for_each(piece, &queue->free_pieces, node) free(piece);
	free(queue);
}

int image_attach(struct block_disk *disk, struct io_thread *thread, struct block_queue **out)
{
	struct image *image = container_of(disk, struct image, disk);
	struct image_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->queue.disk = disk;
	queue->image = image;
	queue->thread = thread;
	list_init(&queue->free_pieces);
	r = image->file->backend->attach(image->file, thread, &queue->file);
	if (r == 0 && image->parent)
		r = image_attach(&image->parent->disk, thread, &queue->parent);
	if (r == 0)
		r = image_commit_init(queue);
	if (r < 0) {
		free_queue(queue);
		return r;
	}
	*out = &queue->queue;
	return 0;
}

void image_detach(struct block_queue *block_queue)
{
	struct image_queue *queue = container_of(block_queue, struct image_queue, queue);

	image_commit_cleanup(queue);
	free_queue(queue);
}
