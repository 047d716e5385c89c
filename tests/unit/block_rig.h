#pragma once

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/block/block.h"
#include "suite.h"

/* One queue of a disk on an I/O thread, and requests to it. */

struct rig {
	struct io_thread *thread;
	struct block_disk *disk;
	struct block_queue *queue;
};

struct job {
	struct rig *rig;
	struct block_request request;
	struct iovec iov;
	int result;
	sem_t ended;
};

static inline void rig_attach_here(void *context)
{
	struct rig *rig = context;

	ck_assert_int_eq(rig->disk->backend->attach(rig->disk, rig->thread, &rig->queue), 0);
}

static inline void rig_detach_here(void *context)
{
	struct rig *rig = context;

	rig->disk->backend->detach(rig->queue);
}

static inline void rig_start(struct rig *rig, struct block_disk *disk)
{
	rig->disk = disk;
	ck_assert_int_eq(io_thread_new("disk", 64, &rig->thread), 0);
	ck_assert_int_eq(io_thread_start(rig->thread, NULL, NULL), 0);
	io_thread_call(rig->thread, rig_attach_here, rig);
}

static inline void rig_stop(struct rig *rig)
{
	io_thread_call(rig->thread, rig_detach_here, rig);
	io_thread_free(rig->thread);
	rig->disk->backend->close(rig->disk);
}

static inline void job_done(struct block_request *request, int result)
{
	struct job *job = container_of(request, struct job, request);

	job->result = result;
	sem_post(&job->ended);
}

static inline void job_submit_here(void *context)
{
	struct job *job = context;

	job->rig->disk->backend->submit(job->rig->queue, &job->request);
}

/* data: of that length, NULL for what moves none. */
static inline void job_begin(struct rig *rig, struct job *job, enum block_operation operation,
			     uint64_t offset, void *data, uint64_t length)
{
	*job = (struct job){.rig = rig,
			    .iov = {data, data ? length : 0},
			    .request = {.operation = operation,
					.offset = offset,
					.length = length,
					.iov_count = data != NULL,
					.force_unit_access = job->request.force_unit_access,
					.may_unmap = job->request.may_unmap,
					.done = job_done}};
	job->request.iov = &job->iov;
	sem_init(&job->ended, 0, 0);
	io_thread_call(rig->thread, job_submit_here, job);
}

static inline int job_end(struct job *job)
{
	while (sem_wait(&job->ended) < 0)
		;
	return job->result;
}

static inline int job_run(struct rig *rig, enum block_operation operation, uint64_t offset,
			  void *data, uint64_t length)
{
	struct job job = {.result = 1};

	job_begin(rig, &job, operation, offset, data, length);
	return job_end(&job);
}
