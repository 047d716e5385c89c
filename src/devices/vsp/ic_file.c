#include "devices/vsp/ic_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"

/* What is being read.  Its memory is its own, as the kernel may write there long after everybody
 * has lost interest. */
struct ic_file_piece {
	struct uring_request request;
	struct iovec iov;
	int wakeup;
	bool left; /* I/O thread: nobody will take it */
	int32_t result;
	_Atomic bool done;
	uint8_t data[];
};

struct file_call {
	struct ic_file *file;
	int fd;
	uint64_t offset;
};

/* These four on the I/O thread. */
static void add_file(void *context)
{
	struct file_call *call = context;

	call->file->slot = uring_add_file(io_thread_uring(call->file->thread), call->fd);
}

static void remove_file(void *context)
{
	struct file_call *call = context;
	struct ic_file_piece *piece = call->file->piece;

	uring_remove_file(io_thread_uring(call->file->thread), call->file->slot);
	if (piece && piece->done)
		free(piece);
	else if (piece)
		piece->left = true;
}

static void read_file(void *context)
{
	struct file_call *call = context;
	struct ic_file *file = call->file;

	uring_readv(io_thread_uring(file->thread), &file->piece->request, file->slot,
		    &file->piece->iov, 1, call->offset);
}

static void on_read(struct uring_request *request, int32_t result)
{
	struct ic_file_piece *piece = container_of(request, struct ic_file_piece, request);

	if (piece->left) {
		free(piece);
		return;
	}
	piece->result = result;
	piece->done = true;
	eventfd_write(piece->wakeup, 1);
}

int ic_file_open(struct ic_file *file, struct io_thread *thread, int fd, int wakeup)
{
	struct file_call call = {.file = file, .fd = fd};

	memset(file, 0, sizeof(*file));
	file->thread = thread;
	file->wakeup = wakeup;
	io_thread_call(thread, add_file, &call);
	close(fd);
	if (file->slot < 0) {
		file->thread = NULL;
		return file->slot;
	}
	return 0;
}

void ic_file_close(struct ic_file *file)
{
	struct file_call call = {.file = file};

	if (!file->thread)
		return;
	io_thread_call(file->thread, remove_file, &call);
	file->piece = NULL;
	file->thread = NULL;
}

int ic_file_read(struct ic_file *file, uint32_t size, uint64_t offset)
{
	struct file_call call = {.file = file, .offset = offset};

	file->piece = calloc(1, sizeof(*file->piece) + size);
	if (!file->piece)
		return -ENOMEM;
	file->piece->request.done = on_read;
	file->piece->iov = (struct iovec){file->piece->data, size};
	file->piece->wakeup = file->wakeup;
	io_thread_call(file->thread, read_file, &call);
	return 0;
}

bool ic_file_take(struct ic_file *file, void *buffer, int32_t *result)
{
	struct ic_file_piece *piece = file->piece;

	if (!piece || !piece->done)
		return false;
	*result = piece->result;
	if (*result > 0)
		memcpy(buffer, piece->data, (size_t)*result);
	file->piece = NULL;
	free(piece);
	return true;
}
