#include "mgmt/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "mgmt/console_internal.h"
#include "mgmt/message.h"

#define LEAVE_CHARACTER 0x1d /* Ctrl-] */
#define MESSAGE_SIZE	8192
#define FINISH_MS	5000	      /* how long a reader that does not read may hold up the end */
#define FOREGROUND_NS	1000000000ull /* between two looks whether the terminal is ours */

static void rewatch(struct console *console);

/* The writer's bytes go to the worker as it takes them. */
static void fill_input(struct console *console)
{
	size_t room = CONSOLE_INPUT_SIZE - console->input_length;

	if (console->ring)
		console->input_length += console_ring_take(
			console->ring, console->input + console->input_length, room);
}

void console_on_ring_input(void *context)
{
	rewatch(context);
}

static void set_raw(struct console *console)
{
	struct termios raw;

	if (!console->is_terminal || console->in_fd < 0 || tcgetattr(STDIN_FILENO, &console->saved))
		return;
	raw = console->saved;
	cfmakeraw(&raw);
	console->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static void restore_terminal(struct console *console)
{
	if (console->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &console->saved);
	console->raw = false;
}

/* Nobody takes the output: with a socket that is the user's choice. */
static void lose_output(struct console *console)
{
	if (console->kind == RUN_CONSOLE_STDIO)
		console->lost += console->output_length;
	console->output_length = 0;
}

static void note_error(struct console *console, int errnum)
{
	if (console->kind == RUN_CONSOLE_STDIO && !console->error)
		console->error = errnum;
}

/* The user's side is gone: for a socket, the next client may come. */
static void drop_user(struct console *console)
{
	event_source_remove(console->in_source);
	event_source_remove(console->out_source);
	console->in_source = console->out_source = NULL;
	if (console->kind == RUN_CONSOLE_UNIX && console->in_fd >= 0)
		close(console->in_fd);
	if (console->kind == RUN_CONSOLE_UNIX && console->out_fd >= 0)
		close(console->out_fd);
	console->in_fd = console->out_fd = -1;
	lose_output(console);
}

/* No more input, but the user still reads. */
static void end_input(struct console *console)
{
	if (console->kind == RUN_CONSOLE_UNIX) {
		drop_user(console);
		return;
	}
	event_source_remove(console->in_source);
	console->in_source = NULL;
	console->in_fd = -1;
}

static void consume(char *buffer, size_t *length, size_t count)
{
	*length -= count;
	memmove(buffer, buffer + count, *length);
}

/* Writes what there is of a buffer, its last byte to *last; false when the descriptor is dead. */
static bool write_buffer(int fd, char *buffer, size_t *length, char *last)
{
	ssize_t count;

	if (!*length)
		return true;
	count = write(fd, buffer, *length);
	if (count > 0) {
		*last = buffer[count - 1];
		consume(buffer, length, (size_t)count);
	}
	return count >= 0 || errno == EAGAIN || errno == EINTR;
}

static void write_input(struct console *console)
{
	char last;

	fill_input(console);
	write_buffer(console->ours, console->input, &console->input_length, &last);
}

/* Looks for Ctrl-] among new characters of a terminal. */
static bool wants_to_leave(const struct console *console, const char *text, size_t count)
{
	return console->is_terminal && memchr(text, LEAVE_CHARACTER, count);
}

/* From a terminal, what the guest does not take is dropped, so that Ctrl-] always gets through. */
static void read_input(struct console *console)
{
	char text[CONSOLE_INPUT_SIZE];
	size_t room = CONSOLE_INPUT_SIZE - console->input_length;
	ssize_t count;

	if (!room && !console->is_terminal)
		return;
	count = read(console->in_fd, text, console->is_terminal ? CONSOLE_INPUT_SIZE : room);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0) {
		end_input(console);
		return;
	}
	if (wants_to_leave(console, text, (size_t)count)) {
		console->leave(console->context);
		return;
	}
	if ((size_t)count < room)
		room = (size_t)count;
	memcpy(console->input + console->input_length, text, room);
	console->input_length += room;
}

static void on_input(void *context, uint32_t events)
{
	struct console *console = context;

	read_input(console);
	write_input(console);
	rewatch(console);
}

/* With no user there is nobody to wait for: the output is dropped. */
static void write_output(struct console *console)
{
	if (console->ring) {
		console_ring_put(console->ring, console->output, console->output_length);
		console->output_length = 0;
	} else if (console->out_fd < 0) {
		lose_output(console);
	} else if (!write_buffer(console->out_fd, console->output, &console->output_length,
				 &console->last)) {
		note_error(console, errno);
		drop_user(console);
	}
}

static void on_output(void *context, uint32_t events)
{
	struct console *console = context;

	if (events & (EPOLLERR | EPOLLHUP)) {
		note_error(console, EPIPE);
		drop_user(console);
	} else {
		write_output(console);
	}
	rewatch(console);
}

/* Reads the worker's output into an empty buffer; 0 at its end, -1 for nothing yet. */
static ssize_t read_line(struct console *console)
{
	ssize_t count = read(console->ours, console->output, CONSOLE_OUTPUT_SIZE);

	if (count > 0)
		console->output_length = (size_t)count;
	return count;
}

static void on_line(void *context, uint32_t events)
{
	struct console *console = context;

	if (events & EPOLLHUP) { /* the worker is gone; console_finish takes what it left */
		event_source_remove(console->line_source);
		console->line_source = NULL;
		return;
	}
	if (events & EPOLLIN && !console->output_length)
		read_line(console);
	/* A descriptor that can be polled waits for its turn, so that a write seldom blocks. */
	if (!console->out_source)
		write_output(console);
	write_input(console);
	if (!console->in_pollable && console->in_fd >= 0 && !console->input_length)
		read_input(console);
	rewatch(console);
}

/* Input that the guest does not take is not watched: a closed pipe would wake us for ever. */
static void rewatch_input(struct console *console)
{
	bool wanted = console->in_fd >= 0 && console->in_pollable &&
		      (console->is_terminal || console->input_length < CONSOLE_INPUT_SIZE);

	if (wanted && !console->in_source) {
		event_loop_watch(console->loop, console->in_fd, EPOLLIN, on_input, console,
				 &console->in_source);
	} else if (!wanted) {
		event_source_remove(console->in_source);
		console->in_source = NULL;
	}
}

static void rewatch(struct console *console)
{
	bool input_waits = console->input_length ||
			   (!console->in_pollable && console->in_fd >= 0) ||
			   (console->ring && console_ring_has_input(console->ring));

	if (console->line_source)
		event_source_change(console->line_source, (console->output_length ? 0 : EPOLLIN) |
								  (input_waits ? EPOLLOUT : 0));
	if (console->out_source)
		event_source_change(console->out_source, console->output_length ? EPOLLOUT : 0);
	rewatch_input(console);
}

/* epoll refuses regular files: they are always ready instead. */
static int start_user(struct console *console)
{
	int r = 0;

	if (console->in_fd >= 0) {
		r = event_loop_watch(console->loop, console->in_fd, EPOLLIN, on_input, console,
				     &console->in_source);
		console->in_pollable = !r;
	}
	if (!r || r == -EPERM)
		r = event_loop_watch(console->loop, console->out_fd, 0, on_output, console,
				     &console->out_source);
	return r == -EPERM ? 0 : r;
}

static void on_foreground_timer(void *context, uint32_t events)
{
	struct console *console = context;

	if (!console_in_foreground())
		return;
	event_source_remove(console->foreground_timer);
	console->foreground_timer = NULL;
	console->in_fd = STDIN_FILENO;
	console->in_pollable = true;
	set_raw(console);
	rewatch(console);
}

/* A shell that moves a running job to the foreground gives it no sign: it has to look. */
static int await_foreground(struct console *console)
{
	int r;

	if (!console->is_terminal || console->in_fd >= 0)
		return 0;
	r = event_loop_timer(console->loop, on_foreground_timer, console,
			     &console->foreground_timer);
	return r ? r : event_timer_arm(console->foreground_timer, FOREGROUND_NS, FOREGROUND_NS);
}

static void on_listen(void *context, uint32_t events)
{
	struct console *console = context;
	int fd = accept4(console->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (console->in_fd >= 0) { /* one at a time */
		close(fd);
		return;
	}
	console->in_fd = fd;
	console->out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* epoll wants a number of its own */
	if (console->out_fd < 0 || start_user(console))
		drop_user(console);
	rewatch(console);
}

int console_start(struct console *console, struct event_loop *loop, void (*leave)(void *context),
		  void *context)
{
	int r = 0;

	console->loop = loop;
	console->leave = leave;
	console->context = context;
	if (console->ours < 0)
		return 0;
	r = event_loop_watch(loop, console->ours, EPOLLIN, on_line, console, &console->line_source);
	if (!r && console->listener.fd >= 0)
		r = event_loop_watch(loop, console->listener.fd, EPOLLIN, on_listen, console,
				     &console->listen_source);
	if (!r && console->kind == RUN_CONSOLE_STDIO)
		r = start_user(console);
	if (!r)
		r = await_foreground(console);
	if (r)
		return r;
	set_raw(console);
	rewatch(console);
	return 0;
}

void console_ready(struct console *console)
{
	int r = console->file.fd < 0 ? 0 : console_file_start(&console->file);

	if (r)
		console_message(console, "--console file:%s: cannot empty it: %s", console->path,
				strerror(-r));
}

/* Writes the whole buffer, waiting for the reader up to a limit. */
static bool flush_output(struct console *console)
{
	if (console->ring)
		write_output(console);
	while (console->output_length && console->out_fd >= 0) {
		struct pollfd pollfd = {.fd = console->out_fd, .events = POLLOUT};

		if (poll(&pollfd, 1, FINISH_MS) <= 0)
			return false;
		write_output(console);
	}
	return console->out_fd >= 0 || console->ring;
}

/* What is still there after the last attempt. */
static void lose_rest(struct console *console)
{
	if (console->output_length)
		note_error(console, ETIMEDOUT);
	do {
		lose_output(console);
	} while (read_line(console) > 0);
}

int console_finish(struct console *console, uint64_t *lost)
{
	if (console->ours >= 0) {
		while (flush_output(console) && read_line(console) > 0)
			;
		lose_rest(console);
	}
	restore_terminal(console);
	*lost = console->lost;
	return console->error;
}

bool console_line_open(const struct console *console)
{
	return console->kind == RUN_CONSOLE_STDIO && console->last != '\n';
}

struct console_ring *console_ring(const struct console *console)
{
	return console->ring;
}

void console_end_clients(struct console *console)
{
	if (console->ring)
		console_ring_end(console->ring);
}

void console_free(struct console *console)
{
	if (!console)
		return;
	restore_terminal(console);
	drop_user(console);
	event_source_remove(console->line_source);
	event_source_remove(console->listen_source);
	event_source_remove(console->foreground_timer);
	console_close_worker_end(console);
	console_file_close(&console->file);
	console_ring_free(console->ring);
	if (console->ours >= 0)
		close(console->ours);
	if (console->listener.fd >= 0)
		unix_listener_close(&console->listener, console->path);
	free(console);
}

void console_message(const struct console *console, const char *format, ...)
{
	const char *end = console->raw ? "\r\n" : "\n";
	char given[MESSAGE_SIZE], text[MESSAGE_SIZE + 1024];
	size_t length;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(given, sizeof(given), format, arguments);
	va_end(arguments);
	length = (size_t)snprintf(text, sizeof(text), "%sbulkhead: ", console->raw ? "\r\n" : "");
	message_clean(text + length, sizeof(text) - length - strlen(end), given, end);
	strcat(text, end);
	message_write(STDERR_FILENO, text, strlen(text), 0);
}
