#include "mgmt/vm_life.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/console.h"
#include "mgmt/display.h"
#include "mgmt/generation1.h"
#include "mgmt/hotplug.h"
#include "mgmt/hvsock_front.h"
#include "mgmt/nics.h"
#include "mgmt/run_config.h"
#include "mgmt/saved_state.h"
#include "mgmt/trace_files.h"
#include "mgmt/vm_files.h"
#include "mgmt/vm_socket.h"
#include "mgmt/worker_spawn.h"

/* What is opened before the worker takes over.  It is too large for the smaller stacks. */
struct vm_life {
	const struct run_options *options;
	const struct vm_life_given *given;
	struct vm_files files;
	struct nics nics;
	struct remote_disks remotes;
	struct trace_files traces;
	struct display display;
	bool restored;			/* it goes on from a saved state */
	int saved_directory;		/* -1 for none */
	struct saved_state_files saved; /* that it goes on from */
	struct hvsock_front *hvsock;	/* NULL for none */
	struct console *console;
	struct unix_listener listener; /* of our own socket */
	char *socket_path;
	char worker_path[PATH_MAX];
};

/* Pages come as the guest touches them, so nothing else would say so before the host is full. */
static int check_memory(const struct run_options *options, struct error *err)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);

	if (options->memory.maximum <= host)
		return 0;
	return error_set(err, ENOMEM,
			 "--memory: %" PRIu64 " MiB is more than this host has, which is %" PRIu64
			 " MiB; give the VM less",
			 options->memory.maximum >> 20, host >> 20);
}

static int open_remotes(struct vm_life *life, struct error *err)
{
	struct remote_disk *remote;
	int r = 0;

	life->remotes.cpus = life->options->cpus;
	for (unsigned int i = 0; !r && i < life->options->disk_count; i++) {
		const struct run_disk *disk = &life->options->disks[i];

		if (disk->path && run_disk_is_remote(disk->path))
			r = remote_disks_open(&life->remotes, disk,
					      generation1_ide_place(life->options, i) >= 0, &remote,
					      err);
	}
	return r;
}

/* Of a VM that a daemon looks after, the daemon has made the socket. */
static int open_socket(struct vm_life *life, struct error *err)
{
	const char *name = life->options->name;
	int r;

	if (life->given->listen_fd >= 0)
		return 0;
	r = vm_socket_path(name, &life->socket_path, err);
	return r ? r : vm_socket_listen(name, life->socket_path, &life->listener, err);
}

/* Where the VM is saved: what the daemon gave, or what the user says. */
static int open_saved(struct vm_life *life, struct error *err)
{
	const char *path = life->options->restore;
	struct error why;
	int r;

	if (path) {
		life->saved_directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (life->saved_directory < 0)
			return error_set(err, errno,
					 "--restore %.200s: %s; give the directory that a VM was "
					 "saved to",
					 path, strerror(errno));
	} else {
		life->saved_directory = life->given->saved_directory;
		if (life->saved_directory < 0 || !saved_state_exists(life->saved_directory))
			return 0;
	}
	r = saved_state_open(life->saved_directory, &life->saved, &why);
	if (!r || !path)
		return r ? error_set(err, -r, "%s", why.text) : 0;
	return error_set(err, -r, "--restore %.200s: %s", path, why.text);
}

static int open_all(struct vm_life *life, struct error *err)
{
	const struct run_options *options = life->options;
	int r = vm_files_open(options, life->given->kvm_fd, &life->files, err);

	if (!r)
		r = open_socket(life, err);
	if (!r)
		r = nics_open(options, &life->nics, err);
	if (!r)
		r = open_remotes(life, err);
	if (!r && options->hvsock_path)
		r = hvsock_front_open(options->hvsock_path, &life->hvsock, err);
	if (!r)
		r = display_open(&options->display, &life->display, err);
	if (!r)
		r = open_saved(life, err);
	if (!r) /* last: files are created */
		r = trace_files_open(options, &life->files, &life->traces, err);
	if (!r)
		r = console_open(options, &life->files, &life->console, err);
	return r;
}

static void close_all(struct vm_life *life)
{
	console_free(life->console);
	nics_close(&life->nics);
	display_close(&life->display);
	remote_disks_close(&life->remotes);
	hvsock_front_close(life->hvsock);
	vm_files_close(&life->files);
	trace_files_close(&life->traces);
	saved_state_close(&life->saved);
	if (life->saved_directory >= 0)
		close(life->saved_directory);
	if (life->listener.fd >= 0)
		unix_listener_close(&life->listener, life->socket_path);
	free(life->socket_path);
}

static int supervise(struct vm_life *life, struct spawned_worker *worker,
		     struct supervisor_outcome *outcome, struct error *err)
{
	const struct vm_life_given *given = life->given;
	struct hotplug hotplug = {.nics = &life->nics,
				  .remotes = &life->remotes,
				  .pause_when_full = life->options->pause_when_full};
	struct supervisor_part parts[4];
	struct supervisor_config config = {
		.name = life->options->name,
		.worker = worker,
		.console = TAKE_POINTER(life->console),
		.listen_fd = given->listen_fd >= 0 ? given->listen_fd : life->listener.fd,
		.parts = parts,
		.hotplug = &hotplug,
		.saved_directory = life->saved_directory,
		.restored = life->restored,
		.managed = given->managed,
		.pulse_ms = given->pulse_ms,
		.ended = given->ended,
		.context = given->context,
	};

	for (unsigned int i = 1; i < life->options->controllers; i++)
		hotplug.controllers[i] = true;
	nics_part(&life->nics, &parts[config.part_count++]);
	remote_disks_part(&life->remotes, &parts[config.part_count++]);
	if (life->hvsock)
		hvsock_front_part(life->hvsock, &parts[config.part_count++]);
	if (life->options->display.wanted)
		display_part(&life->display, &parts[config.part_count++]);
	return supervisor_run(&config, outcome, err);
}

/* The worker gets itself ready while we look at the files: nothing of it shows if those fail. */
static int start_worker(struct vm_life *life, struct spawned_worker *worker, struct error *err)
{
	const char *const arguments[] = {life->options->name, life->given->uid, NULL};
	int r = check_memory(life->options, err);

	if (!r)
		r = worker_find(life->worker_path, sizeof(life->worker_path), err);
	return r ? r : spawn_worker(life->worker_path, arguments, worker, err);
}

static int configure(struct vm_life *life, struct spawned_worker *worker, struct error *err)
{
	int r = life->given->begun ? life->given->begun(life->given->context, err) : 0;

	if (!r)
		r = open_all(life, err);
	if (!r)
		r = run_config_send(worker->link, life->options, &life->files, &life->nics,
				    &life->remotes, &life->display, life->console, &life->traces,
				    &life->saved, err);
	if (r)
		return r;
	vm_files_close(&life->files);
	trace_files_close(&life->traces);
	life->restored = life->saved.state >= 0;
	saved_state_close(&life->saved);
	nics_close_worker_ends(&life->nics);
	display_close_worker_ends(&life->display);
	remote_disks_close_worker_ends(&life->remotes);
	console_close_worker_end(life->console);
	return 0;
}

static int run(struct vm_life *life, struct supervisor_outcome *outcome, struct error *err)
{
	struct spawned_worker worker;
	int r = start_worker(life, &worker, err);

	if (r)
		return r;
	r = configure(life, &worker, err);
	if (r) {
		spawned_worker_abandon(&worker);
		return r;
	}
	return supervise(life, &worker, outcome, err);
}

int vm_life_run(const struct run_options *options, const struct vm_life_given *given,
		struct supervisor_outcome *outcome, struct error *err)
{
	struct vm_life *life = calloc(1, sizeof(*life));
	int r;

	if (!life)
		return error_memory(err, "the VM");
	life->options = options;
	life->given = given;
	life->files = VM_FILES_NONE;
	life->display = (struct display)DISPLAY_INIT;
	life->listener.fd = -1;
	life->saved_directory = -1;
	life->saved = SAVED_STATE_NO_FILES;
	life->traces = (struct trace_files)TRACE_FILES_NONE;
	r = run(life, outcome, err);
	close_all(life);
	free(life);
	return r;
}
