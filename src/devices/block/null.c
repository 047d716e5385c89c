#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/block/backends.h"

#define NULL_SECTOR 512

static int null_open(int fd, const json_t *config, struct block_disk **out, struct error *err)
{
	json_int_t bytes = json_integer_value(json_object_get(config, "bytes"));
	struct block_disk *disk;

	if (bytes <= 0 || bytes % NULL_SECTOR != 0)
		return error_set(err, EINVAL,
				 "a null disk needs \"bytes\", a multiple of %d above 0",
				 NULL_SECTOR);
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return error_memory(err, "a null disk");
	disk->backend = &block_null;
	disk->geometry = (struct block_geometry){
		.bytes = (uint64_t)bytes,
		.logical_block = NULL_SECTOR,
		.physical_block = 4096,
		.read_only = json_is_true(json_object_get(config, "read_only")),
	};
	*out = disk;
	return 0;
}

static void null_close(struct block_disk *disk)
{
	free(disk);
}

static int null_attach(struct block_disk *disk, struct io_thread *thread, struct block_queue **out)
{
	struct block_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	queue->disk = disk;
	*out = queue;
	return 0;
}

static void null_detach(struct block_queue *queue)
{
	free(queue);
}

static void null_submit(struct block_queue *queue, struct block_request *request)
{
	if (request->operation == BLOCK_READ)
		for (unsigned int i = 0; i < request->iov_count; i++)
			memset(request->iov[i].iov_base, 0, request->iov[i].iov_len);
	request->done(request, 0);
}

const struct block_backend block_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.attach = null_attach,
	.detach = null_detach,
	.submit = null_submit,
};
