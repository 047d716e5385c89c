#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "base/error.h"

/*
 * The user's terminal, or pipes in its place, while a guest's console is on it.  The signals that
 * end a program are read here rather than taken, so that the terminal is its old self again in
 * every case but SIGKILL.
 */

struct terminal {
	int signals;	  /* a signalfd */
	bool is_terminal; /* standard input is one, and ours */
	bool raw;
	struct termios saved;
};

/* Takes the terminal over. */
int terminal_open(struct terminal *terminal, struct error *err);
/* Restores it; may be called again. */
void terminal_close(struct terminal *terminal);

/* A signal that came and ends the program, or 0.  One that lets it go on is dealt with. */
int terminal_signal(struct terminal *terminal);

/* Writes it all to standard output: 0, -errno, or the number of a signal that ends the program
 * while it waits. */
int terminal_write(struct terminal *terminal, const char *data, size_t length);

/* A line on standard error, whatever mode the terminal is in. */
void terminal_say(const struct terminal *terminal, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
