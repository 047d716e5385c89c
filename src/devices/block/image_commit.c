#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "devices/block/image_queue.h"

static struct image_queue_file *file_of(struct image_file *file)
{
	return container_of(file, struct image_queue_file, file);
}

/* Until all that was submitted has ended. */
static void await(struct image_queue_file *file)
{
	while (file->pending > 0) {
		file->waiting = true;
		coroutine_yield(file->queue->committer);
		file->waiting = false;
	}
}

static void ended(struct image_queue_file *file)
{
	if (--file->pending == 0 && file->waiting)
		coroutine_resume(file->queue->committer);
}

static void call_ended(struct block_request *request, int result)
{
	struct image_queue_call *call = container_of(request, struct image_queue_call, child);

	*call->result = result;
	ended(call->file);
}

static void submit(struct image_queue_file *file, struct block_request *child)
{
	struct block_queue *queue = file->queue->file;

	queue->disk->backend->submit(queue, child);
}

static void submit_write(struct image_queue_file *file, unsigned int index,
			 struct image_write *write)
{
	struct image_queue_call *call = &file->calls[index];

	call->file = file;
	call->result = &write->result;
	call->child = (struct block_request){
		.operation = write->iov ? BLOCK_WRITE : BLOCK_WRITE_ZEROES,
		.offset = write->offset,
		.length = write->length,
		.iov = write->iov,
		.iov_count = write->iov_count,
		.may_unmap = true,
		.done = call_ended,
	};
	submit(file, &call->child);
}

static void queue_file_write(struct image_file *image_file, struct image_write *writes,
			     unsigned int count)
{
	struct image_queue_file *file = file_of(image_file);

	while (count > 0) {
		unsigned int now = MIN(count, (unsigned int)IMAGE_COMMIT_MAX);

		file->pending = now;
		for (unsigned int i = 0; i < now; i++)
			submit_write(file, i, &writes[i]);
		await(file);
		writes += now;
		count -= now;
	}
}

static int call(struct image_queue_file *file, const struct block_request *request)
{
	int result = -EIO;

	file->calls[0] =
		(struct image_queue_call){.file = file, .result = &result, .child = *request};
	file->calls[0].child.done = call_ended;
	file->pending = 1;
	submit(file, &file->calls[0].child);
	await(file);
	return result;
}

static int queue_file_read(struct image_file *file, uint64_t offset, void *data, size_t length)
{
	const struct iovec iov = {.iov_base = data, .iov_len = length};
	const struct block_request request = {.operation = BLOCK_READ,
					      .offset = offset,
					      .length = length,
					      .iov = &iov,
					      .iov_count = 1};

	return call(file_of(file), &request);
}

static int queue_file_flush(struct image_file *file)
{
	const struct block_request request = {.operation = BLOCK_FLUSH};

	return call(file_of(file), &request);
}

/* A ring of ours has no such call; commits do without. */
static int queue_file_truncate(struct image_file *file, uint64_t length)
{
	return -EOPNOTSUPP;
}

static int queue_file_allocate(struct image_file *file, uint64_t offset, uint64_t length)
{
	return -EOPNOTSUPP;
}

static const struct image_file_ops queue_file_ops = {
	.read = queue_file_read,
	.write = queue_file_write,
	.flush = queue_file_flush,
	.truncate = queue_file_truncate,
	.allocate = queue_file_allocate,
};

/* On the piece's own thread. */
static void run_committed(struct io_post *post)
{
	struct image_queue *queue = container_of(post, struct image_queue, post);
	struct list done;

	pthread_mutex_lock(&queue->image->lock);
	queue->posted = false;
	list_take_all(&queue->committed, &done);
	pthread_mutex_unlock(&queue->image->lock);
	while (!list_empty(&done)) {
		struct image_piece *piece = list_entry(done.next, struct image_piece, node);

		list_remove(&piece->node);
		image_piece_done(piece, piece->change.result);
	}
}

static void hand_back(struct image_queue *committer, struct image_piece *piece)
{
	struct image_queue *queue = piece->job->queue;

	if (queue == committer) {
		image_piece_done(piece, piece->change.result);
		return;
	}
	pthread_mutex_lock(&queue->image->lock);
	list_append(&queue->committed, &piece->node);
	if (!queue->posted)
		io_thread_post(queue->thread, &queue->post);
	queue->posted = true;
	pthread_mutex_unlock(&queue->image->lock);
}

/* As many as one commit takes, whoever they are from; with none left, others may commit. */
static unsigned int take_pieces(struct image *image, struct image_piece **pieces)
{
	unsigned int count = 0;

	pthread_mutex_lock(&image->lock);
	while (count < IMAGE_COMMIT_MAX && !list_empty(&image->changes)) {
		pieces[count] = list_entry(image->changes.next, struct image_piece, node);
		list_remove(&pieces[count++]->node);
	}
	if (count == 0)
		image->committing = false;
	pthread_mutex_unlock(&image->lock);
	return count;
}

static void commit_pieces(struct image_queue *queue, struct image_piece **pieces,
			  unsigned int count)
{
	struct image *image = queue->image;
	struct image_change *changes[IMAGE_COMMIT_MAX];

	for (unsigned int i = 0; i < count; i++)
		changes[i] = &pieces[i]->change;
	for (unsigned int done = 0; done < count;) {
		unsigned int made = image->ops->commit(image, &queue->commit_file.file,
						       changes + done, count - done);

		for (; made > 0; made--)
			hand_back(queue, pieces[done++]);
	}
}

/* The coroutine. */
static void commit_all(void *context)
{
	struct image_queue *queue = context;
	struct image_piece *pieces[IMAGE_COMMIT_MAX];
	unsigned int count;

	while ((count = take_pieces(queue->image, pieces)) > 0)
		commit_pieces(queue, pieces, count);
}

/* At the end of a batch, so that what came in together is committed together. */
static void begin_commit(struct io_batch_work *work)
{
	struct image_queue *queue = container_of(work, struct image_queue, begin_commit);
	struct image *image = queue->image;
	bool ours;

	pthread_mutex_lock(&image->lock);
	ours = !image->committing && !list_empty(&image->changes);
	if (ours)
		image->committing = true;
	pthread_mutex_unlock(&image->lock);
	if (ours)
		coroutine_resume(queue->committer);
}

void image_commit_add(struct image_queue *queue, struct image_piece *piece)
{
	pthread_mutex_lock(&queue->image->lock);
	list_append(&queue->image->changes, &piece->node);
	pthread_mutex_unlock(&queue->image->lock);
	io_thread_batch_end(queue->thread, &queue->begin_commit);
}

int image_commit_init(struct image_queue *queue)
{
	queue->commit_file.file.ops = &queue_file_ops;
	queue->commit_file.queue = queue;
	queue->post.run = run_committed;
	list_init(&queue->committed);
	io_batch_work_init(&queue->begin_commit, begin_commit);
	return coroutine_new(commit_all, queue, &queue->committer);
}

void image_commit_cleanup(struct image_queue *queue)
{
	assert(list_empty(&queue->committed));
	io_batch_work_cancel(&queue->begin_commit);
	coroutine_free(queue->committer);
}
