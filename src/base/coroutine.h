#pragma once

#include <stdbool.h>

/*
 * A function on a stack of its own, which can wait for completions in the middle of straight-line
 * code: it yields, and is resumed where it was.  Everything happens on one thread, the one that
 * runs it.
 */

struct coroutine;

/* function(context) will run when it is first resumed.  -ENOMEM or another errno. */
int coroutine_new(void (*function)(void *context), void *context, struct coroutine **out);
/* It has not begun, or its function has returned. */
void coroutine_free(struct coroutine *coroutine);

/* Runs it until it yields or returns.  When it had returned, its function is begun anew.  Not from
 * within itself. */
void coroutine_resume(struct coroutine *coroutine);
/* Goes back to whoever resumed it; returns at the next coroutine_resume.  From within it. */
void coroutine_yield(struct coroutine *coroutine);
