#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * A saved VM on the disk: a directory with a file of its memory and one of its state, which gets
 * its name last and loses it first, so that whatever ends us in between, the directory holds a
 * whole VM or none.  Functions take a descriptor of the directory.  Any thread.
 */

struct saved_state_files {
	int state; /* -1 for none */
	int memory;
};

#define SAVED_STATE_NO_FILES ((struct saved_state_files){-1, -1})

void saved_state_close(struct saved_state_files *files);

/* Makes the directory, or takes one that is empty, and says which: its descriptor, or -errno with a
 * sentence. */
int saved_state_make_directory(const char *path, bool *made, struct error *err);

/* Whether the directory holds a VM. */
bool saved_state_exists(int directory);

/* Empty files to write one into, in place of any that was not finished; -EEXIST where one is there.
 * -errno with a sentence. */
int saved_state_create(int directory, struct saved_state_files *files, struct error *err);
/* What was written, and synced, is a saved VM from now on; -errno with a sentence, and it is none.
 */
int saved_state_keep(int directory, struct error *err);

/* Opens them to be read. */
int saved_state_open(int directory, struct saved_state_files *files, struct error *err);

/* Removes it; once 0 is returned, for good.  -errno with a sentence: it is still there, but for
 * -ENOENT: there was none, and what was not finished is removed. */
int saved_state_remove(int directory, struct error *err);
