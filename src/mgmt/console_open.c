#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "mgmt/console_internal.h"

/* The console's ends, of whichever kind it is. */

static int open_file(struct console *console, const struct run_options *options,
		     const struct vm_files *files, struct error *err)
{
	int r = console_file_open(options, files, &console->file, err);

	if (r)
		return r;
	console->theirs = fcntl(console->file.fd, F_DUPFD_CLOEXEC, 0);
	if (console->theirs < 0)
		return console_path_failed("file", console->path, errno, err);
	return 0;
}

static int open_line(struct console *console, struct error *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return error_host(err, errno, "cannot make the console's socket");
	console->ours = pair[0];
	console->theirs = pair[1];
	return 0;
}

static int open_listener(struct console *console, struct error *err)
{
	int r = unix_listen(console->path, 0600, &console->listener);

	if (r)
		return console_path_failed("unix", console->path, -r, err);
	return open_line(console, err);
}

static int open_stdio(struct console *console, struct error *err)
{
	console->in_fd = STDIN_FILENO;
	console->out_fd = STDOUT_FILENO;
	/* A background job must not take the terminal from its shell. */
	console->is_terminal = isatty(STDIN_FILENO);
	if (console->is_terminal && !console_in_foreground())
		console->in_fd = -1;
	return open_line(console, err);
}

static int open_ring(struct console *console, struct error *err)
{
	if (console_ring_new(console_on_ring_input, console, &console->ring))
		return error_memory(err, "the console");
	return open_line(console, err);
}

static int open_kind(struct console *console, const struct run_options *options,
		     const struct vm_files *files, struct error *err)
{
	switch (console->kind) {
	case RUN_CONSOLE_STDIO:
		return open_stdio(console, err);
	case RUN_CONSOLE_FILE:
		return open_file(console, options, files, err);
	case RUN_CONSOLE_UNIX:
		return open_listener(console, err);
	case RUN_CONSOLE_RING:
		return open_ring(console, err);
	case RUN_CONSOLE_NONE:
		break;
	}
	return 0;
}

int console_open(const struct run_options *options, const struct vm_files *files,
		 struct console **out, struct error *err)
{
	struct console *console = calloc(1, sizeof(*console));
	int r;

	if (!console)
		return error_memory(err, "the console");
	console->kind = options->console;
	console->path = options->console_path;
	console->ours = console->theirs = console->in_fd = console->out_fd = -1;
	console->listener.fd = console->file.fd = -1;
	console->last = '\n';
	r = open_kind(console, options, files, err);
	if (r) {
		console_free(console);
		return r;
	}
	*out = console;
	return 0;
}

int console_worker_fd(const struct console *console)
{
	return console->theirs;
}

bool console_write_only(const struct console *console)
{
	return console->kind == RUN_CONSOLE_FILE;
}

void console_close_worker_end(struct console *console)
{
	if (console->theirs >= 0)
		close(console->theirs);
	console->theirs = -1;
}
