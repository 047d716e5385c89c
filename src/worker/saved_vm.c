#include "worker/saved_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sparse_copy.h"

/* A parent that hears nothing for long takes us for hung, and the last sync would take so long. */
#define STEPS_A_SYNC 8

void saved_files_close(const struct saved_files *files)
{
	if (files->state_fd >= 0)
		close(files->state_fd);
	if (files->memory_fd >= 0)
		close(files->memory_fd);
}

struct saving {
	struct vm *vm;
	struct saved_files files;
	struct event_source *timer; /* fires at once, for each step */
	struct sparse_copy copies[VM_MEMORY_FILES_MAX];
	unsigned int count;
	unsigned int current;
	unsigned int steps;
	void (*done)(void *context, const char *error);
	void *context;
};

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t written = pwrite(fd, bytes + done, size - done, (off_t)done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		done += (size_t)written;
	}
	return fdatasync(fd) ? -errno : 0;
}

/* Last: what is asked of the devices meanwhile is in it. */
static int write_state(const struct saving *saving)
{
	struct state_writer *writer = state_writer_new();
	CLEANUP_FREE void *tree = NULL;
	size_t size;
	int r;

	if (!writer)
		return -ENOMEM;
	r = vm_save(saving->vm, writer);
	if (!r)
		r = state_finish(writer, &tree, &size);
	state_writer_free(writer);
	return r ? r : write_all(saving->files.state_fd, tree, size);
}

/* 1 while there is more. */
static int step(struct saving *saving)
{
	int r = sparse_copy_step(&saving->copies[saving->current]);

	if (r < 0)
		return r;
	if (r == 0)
		saving->current++;
	if (++saving->steps % STEPS_A_SYNC == 0 || saving->current == saving->count)
		r = fdatasync(saving->files.memory_fd) ? -errno : 0;
	if (r < 0 || saving->current < saving->count)
		return r < 0 ? r : 1;
	return write_state(saving);
}

static int cannot_write(int errnum, struct error *err)
{
	return error_set(err, errnum, "its state cannot be written: %s; %s", strerror(errnum),
			 error_remedy(errnum, "free some space there, or choose another place"));
}

static void on_step(void *context, uint32_t events)
{
	struct saving *saving = context;
	struct error err;
	int r = step(saving);

	if (r > 0 && !event_timer_arm(saving->timer, 1, 0))
		return;
	if (r)
		cannot_write(r < 0 ? -r : EIO, &err);
	saving->done(saving->context, r ? err.text : NULL);
}

/* The memory file has its size at once: what is not written of it is zero. */
static int lay_out(struct saving *saving)
{
	struct vm_memory_file files[VM_MEMORY_FILES_MAX];
	uint64_t offset = 0;

	saving->count = vm_memory_files(saving->vm, files);
	for (unsigned int i = 0; i < saving->count; i++) {
		saving->copies[i] = (struct sparse_copy){.from = files[i].fd,
							 .to = saving->files.memory_fd,
							 .to_offset = offset,
							 .left = files[i].size};
		offset += files[i].size;
	}
	return ftruncate(saving->files.memory_fd, (off_t)offset) ? -errno : 0;
}

int saving_new(struct event_loop *loop, struct vm *vm, const struct saved_files *files,
	       void (*done)(void *context, const char *error), void *context, struct saving **out,
	       struct error *err)
{
	struct saving *saving = calloc(1, sizeof(*saving));
	int r;

	if (!saving) {
		saved_files_close(files);
		return error_memory(err, "the state");
	}
	*saving = (struct saving){.vm = vm, .files = *files, .done = done, .context = context};
	vm_begin_save(vm);
	r = event_loop_timer(loop, on_step, saving, &saving->timer);
	if (!r)
		r = lay_out(saving);
	if (!r)
		r = event_timer_arm(saving->timer, 1, 0);
	if (r) {
		saving_free(saving);
		return cannot_write(-r, err);
	}
	*out = saving;
	return 0;
}

void saving_free(struct saving *saving)
{
	if (!saving)
		return;
	event_source_remove(saving->timer);
	saved_files_close(&saving->files);
	vm_end_save(saving->vm);
	free(saving);
}
