#pragma once

struct vm;

/*
 * What becomes of a VM whose supervisor and worker are gone: reads how it ended, clears away what
 * belonged to its run, sets its state, and has it started again where its settings say so.  killed:
 * a sentence where we ended it ourselves, else NULL.  Loop thread.
 */
void vm_ended(struct vm *vm, const char *killed);

/* How a VM that is off ended the last time, as far as a record says: for a daemon that was not
 * there. Sets the state without telling anybody. */
void vm_remember_end(struct vm *vm);
