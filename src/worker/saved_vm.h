#pragma once

#include "base/error.h"
#include "base/event_loop.h"
#include "devices/device.h"
#include "worker/config.h"
#include "worker/vm.h"

/*
 * A saved VM, which is two files: its state, a tree (base/state.h), and its memory, that of each of
 * vm_memory_files behind the one before, with holes where it is zero.  Main loop.
 */

void saved_files_close(const struct saved_files *files);

/* A VM that is being written. */
struct saving;

/*
 * Writes vm, which rests until then, into two empty files, a piece at a time, so that the loop goes
 * on; done(context, NULL) once both are on the disk, or a sentence.  It is not called from within.
 * The descriptors are taken over in any case.  -errno with err.
 */
int saving_new(struct event_loop *loop, struct vm *vm, const struct saved_files *files,
	       void (*done)(void *context, const char *error), void *context, struct saving **out,
	       struct error *err);
/* Gives up one that is under way, and says nothing.  NULL is allowed. */
void saving_free(struct saving *saving);

/* Reads what was written into vm, as vm_restore; the descriptors stay. */
int saved_vm_load(struct vm *vm, const struct saved_files *files, struct error *err);
