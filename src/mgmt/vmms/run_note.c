#include "mgmt/vmms/run_note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/vmms/run_file.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

#define NOTE_VERSION 1
#define NOTE_MAX     (4u << 20)

static json_t *describe(const struct vm *vm, const struct vm_run *run, json_t *change)
{
	return json_pack("{s:i, s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:o, s:O*}", "version",
			 NOTE_VERSION, "uuid", vm_uuid(vm), "name", vm_name(vm), "supervisor_pid",
			 (int)run->pid, "supervisor_start", (json_int_t)run->start, "boot_id",
			 vm->vmms->boot_id, "started", run->started_us, "settings_revision",
			 (json_int_t)settings_revision(vm->launched), "settings",
			 settings_json(vm->launched), "change", change);
}

int run_note_write(const struct vm *vm, const struct vm_run *run, json_t *change, struct error *err)
{
	json_t *object = describe(vm, run, change);
	char path[VM_PATH_MAX];
	int r;

	vm_path_note(vm, path);
	r = object ? run_file_write(path, object, err) : error_memory(err, "the note of a run");
	json_decref(object);
	return r;
}

int run_note_write_worker(const struct vm *vm, const struct run_process *worker, struct error *err)
{
	json_t *object = json_pack("{s:i, s:i, s:I, s:s}", "version", NOTE_VERSION, "worker_pid",
				   (int)worker->pid, "worker_start", (json_int_t)worker->start,
				   "boot_id", worker->boot_id);
	char path[VM_PATH_MAX];
	int r;

	vm_path_worker(vm, path);
	r = object ? run_file_write(path, object, err) : error_memory(err, "the note of a worker");
	json_decref(object);
	return r;
}

static int take_process(const json_t *object, const char *pid_key, const char *start_key,
			struct run_process *process)
{
	const char *boot_id = json_string_value(json_object_get(object, "boot_id"));
	json_int_t pid = json_integer_value(json_object_get(object, pid_key));
	json_int_t start = json_integer_value(json_object_get(object, start_key));

	if (!boot_id || pid <= 0 || pid > INT32_MAX || start < 0)
		return -EINVAL;
	*process = (struct run_process){.pid = (pid_t)pid, .start = (uint64_t)start};
	snprintf(process->boot_id, sizeof(process->boot_id), "%s", boot_id);
	return 0;
}

static int take(const json_t *object, struct run_note *note)
{
	struct run_process supervisor;
	int r = take_process(object, "supervisor_pid", "supervisor_start", &supervisor);

	if (r)
		return r;
	*note = (struct run_note){
		.newer = json_integer_value(json_object_get(object, "version")) > NOTE_VERSION,
		.supervisor = supervisor,
		.started_us = json_integer_value(json_object_get(object, "started")),
		.settings = json_incref(json_object_get(object, "settings")),
		.change = json_incref(json_object_get(object, "change")),
	};
	return 0;
}

/* json_loadfd asks the kernel for each byte by itself. */
static size_t feed(void *buffer, size_t size, void *context)
{
	ssize_t got;

	do {
		got = read(*(const int *)context, buffer, size);
	} while (got < 0 && errno == EINTR);
	return (size_t)got;
}

static int read_object(const char *path, json_t **object)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) > NOTE_MAX || lseek(fd, 0, SEEK_SET))
		return -EINVAL;
	*object = json_load_callback(feed, &fd, 0, NULL);
	return *object ? 0 : -EINVAL;
}

int run_note_read(const char *path, struct run_note *note)
{
	json_t *object;
	int r = read_object(path, &object);

	if (r)
		return r;
	r = take(object, note);
	json_decref(object);
	return r;
}

int run_note_find(const struct vmms *vmms, const struct run_process *process)
{
	uint64_t start;
	int pidfd;

	if (strcmp(process->boot_id, vmms->boot_id) != 0)
		return -ESRCH;
	pidfd = pidfd_open(process->pid, 0);
	if (pidfd < 0)
		return -errno;
	/* After the open: whoever has the number now keeps it as long as we look. */
	if (vm_run_start_time(process->pid, &start) || start != process->start) {
		close(pidfd);
		return -ESRCH;
	}
	return pidfd;
}

int run_note_find_worker(const struct vmms *vmms, const char *uuid, struct run_process *worker)
{
	char path[VM_PATH_MAX + 64];
	json_t *object;
	int r;

	snprintf(path, sizeof(path), "%s/%s/worker.json", vmms->runtime_path, uuid);
	r = read_object(path, &object);
	if (r)
		return r;
	r = take_process(object, "worker_pid", "worker_start", worker);
	json_decref(object);
	return r ? r : run_note_find(vmms, worker);
}

void run_note_clear(struct run_note *note)
{
	json_decref(note->settings);
	json_decref(note->change);
	note->settings = note->change = NULL;
}
