#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct vm;
struct vm_run;
struct vmms;

/*
 * run.json: who looks after a VM that runs, for the next daemon.  It is written before the guest
 * runs, read by whoever takes the VM over, and removed when the VM has ended:
 *
 *   {"version": 1, "uuid", "name", "supervisor_pid", "supervisor_start" (field 22 of
 *    /proc/PID/stat), "boot_id", "started" (microseconds since 1970), "settings_revision",
 *    "settings" (those in force), "change"}
 *
 * change is there while one is under way (change_step.h): {} between its steps, else the step of
 * which nobody can tell yet whether it was done.
 *
 * worker.json: {"version": 1, "worker_pid", "worker_start", "boot_id"} of its worker, which ends by
 * itself where its supervisor does, but not while it is stopped (SIGSTOP) or hangs.  Written by the
 * daemon that started the VM, once it knows.
 *
 * A newer daemon reads what an older one wrote, and an older one what it knows of a newer one's:
 * members are added, none changes.  Loop thread.
 */

/* A process: its number may be another's by now. */
struct run_process {
	pid_t pid;
	uint64_t start;
	char boot_id[64];
};

struct run_note {
	bool newer; /* than this daemon */
	struct run_process supervisor;
	json_int_t started_us;
	json_t *settings; /* or NULL */
	json_t *change;	  /* or NULL */
};

/* change is borrowed; NULL for none.  -errno with err. */
int run_note_write(const struct vm *vm, const struct vm_run *run, json_t *change,
		   struct error *err);

/* -ENOENT where there is none, -EINVAL for what is none, or another -errno.  run_note_clear it
 * after success. */
int run_note_read(const char *path, struct run_note *note);
void run_note_clear(struct run_note *note);

/* Writes worker.json. */
int run_note_write_worker(const struct vm *vm, const struct run_process *worker, struct error *err);

/* A pidfd of a process that a note is about, close-on-exec; -ESRCH where it is gone, its number
 * another's or of another boot of the host, or another -errno. */
int run_note_find(const struct vmms *vmms, const struct run_process *process);
/* The same of the worker that the worker.json of a VM names. */
int run_note_find_worker(const struct vmms *vmms, const char *uuid, struct run_process *worker);
