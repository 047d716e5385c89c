#pragma once

#include <jansson.h>

#include "base/error.h"

struct settings_step;
struct vm;

/* error: NULL, or a sentence. */
typedef void (*change_step_done)(void *context, const char *error);

/*
 * Does one thing to a VM that runs, which must be one that settings_live found.  done is called
 * once, later.  -errno with err where it cannot even be tried; done is not called then.  Loop
 * thread.
 */
int change_step_begin(struct vm *vm, const struct settings_step *step, change_step_done done,
		      void *context, struct error *err);

/* What the note on a run (run_note.h) says of a step that begins; NULL: no memory. */
json_t *change_step_note(const struct settings_step *step);

/*
 * The step that makes certain what became of the one that such a note is about, which may have been
 * done or not: a disk or NIC is taken away, anything else is done again.  -EINVAL for what is no
 * note on a step, -ENOMEM.  Release by change_step_clear.
 */
int change_step_settle(const json_t *note, struct settings_step *step);
void change_step_clear(struct settings_step *step);
