#pragma once

#include <termios.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "mgmt/console.h"
#include "mgmt/console_file.h"
#include "mgmt/console_ring.h"

/* What console_open.c makes and console.c moves bytes through. */

#define CONSOLE_INPUT_SIZE  1024
#define CONSOLE_OUTPUT_SIZE 4096

/*
 * Bytes on their way: input from the user to the worker, output from the worker to the user.
 * A descriptor that cannot be polled (a regular file) has no source and is always ready.
 */
struct console {
	enum run_console kind;
	int ours;   /* our end of the serial line; -1 where the worker writes by itself */
	int theirs; /* the worker's end */
	int in_fd;  /* the user's side; -1 when there is no user (any more) */
	int out_fd;
	bool is_terminal;
	bool in_pollable;
	bool raw;
	struct termios saved;
	struct unix_listener listener;
	struct console_file file;
	struct console_ring *ring; /* NULL for other kinds */
	const char *path;

	struct event_loop *loop;
	struct event_source *line_source;
	struct event_source *in_source;
	struct event_source *out_source;
	struct event_source *listen_source;
	struct event_source *foreground_timer; /* while the terminal is somebody else's */
	void (*leave)(void *context);
	void *context;

	char input[CONSOLE_INPUT_SIZE];
	size_t input_length;
	char output[CONSOLE_OUTPUT_SIZE];
	size_t output_length;
	char last;     /* byte that went out, '\n' before any did */
	uint64_t lost; /* bytes that a user who must be there did not take */
	int error;     /* errno of the first write that failed */
};

/* Whether the terminal is not another job's. */
static inline bool console_in_foreground(void)
{
	return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* The writer of the ring has typed: context is the console. */
void console_on_ring_input(void *context);
