#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "mgmt/run_options.h"
#include "mgmt/vm_files.h"

/*
 * The guest's COM1 on our side: a terminal or pipes (stdio), a file that the worker writes itself,
 * a socket that one client at a time connects to, or a ring that is kept for clients of the VM's
 * socket.  All on the loop's thread.
 */

struct console;
struct console_ring;

/*
 * Opens or makes what the console needs; the terminal and what a file holds are not touched yet.
 * files: the VM's own, none of which may be the console's too.  -errno with err.
 */
int console_open(const struct run_options *options, const struct vm_files *files,
		 struct console **out, struct error *err);

/*
 * The descriptor for the worker: read and written as the serial line, or, where console_write_only,
 * only written.  -1 for none.  console_close_worker_end closes it once it has been passed.
 */
int console_worker_fd(const struct console *console);
bool console_write_only(const struct console *console);
void console_close_worker_end(struct console *console);

/* Starts to move bytes; leave(context) is called when the user types Ctrl-]. */
int console_start(struct console *console, struct event_loop *loop, void (*leave)(void *context),
		  void *context);

/* The guest is about to start: empties a file.  The worker must not write to it before. */
void console_ready(struct console *console);

/*
 * Writes out all that the worker, which has ended, left behind, and restores the terminal.  Returns
 * the errno of the first write that failed, 0 for none; *lost is how many bytes did not go out.
 */
int console_finish(struct console *console, uint64_t *lost);

/* What serves the clients of --console ring, NULL for the others; and its last words to them. */
struct console_ring *console_ring(const struct console *console);
void console_end_clients(struct console *console);

/* Whether the last that went to standard output was not the end of a line. */
bool console_line_open(const struct console *console);

/* Restores the terminal, closes all; NULL is allowed. */
void console_free(struct console *console);

/*
 * Prints a line to standard error, whatever mode the terminal is in.  Never waits: a line that a
 * reader has no room for is dropped.
 */
void console_message(const struct console *console, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
