#include "mgmt/client_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PART_SIZE 256 /* what a descriptor that is ready takes without waiting */

static void set_raw(struct terminal *terminal)
{
	struct termios raw = terminal->saved;

	cfmakeraw(&raw);
	terminal->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static int open_signals(struct error *err)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGPIPE};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return error_host(err, errno, "cannot watch for signals");
	sigprocmask(SIG_BLOCK, &set, NULL);
	return fd;
}

int terminal_open(struct terminal *terminal, struct error *err)
{
	*terminal = (struct terminal){.signals = open_signals(err)};
	if (terminal->signals < 0)
		return terminal->signals;
	/* A background job must not take the terminal from its shell. */
	terminal->is_terminal = isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
				!tcgetattr(STDIN_FILENO, &terminal->saved);
	if (terminal->is_terminal)
		set_raw(terminal);
	return 0;
}

void terminal_close(struct terminal *terminal)
{
	if (terminal->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->saved);
	terminal->raw = false;
	if (terminal->signals >= 0)
		close(terminal->signals);
	terminal->signals = -1;
}

int terminal_signal(struct terminal *terminal)
{
	struct signalfd_siginfo info;

	while (read(terminal->signals, &info, sizeof(info)) == sizeof(info)) {
		int number = (int)info.ssi_signo;

		/* The shell has had the terminal meanwhile. */
		if (number == SIGCONT && terminal->is_terminal)
			set_raw(terminal);
		if (number != SIGCONT && number != SIGTSTP && number != SIGPIPE)
			return number;
	}
	return 0;
}

int terminal_write(struct terminal *terminal, const char *data, size_t length)
{
	while (length > 0) {
		struct pollfd fds[] = {{.fd = STDOUT_FILENO, .events = POLLOUT},
				       {.fd = terminal->signals, .events = POLLIN}};
		int number =
			poll(fds, 2, -1) < 0 && errno != EINTR ? -errno : terminal_signal(terminal);
		ssize_t count;

		if (number)
			return number;
		if (!fds[0].revents)
			continue;
		count = write(STDOUT_FILENO, data, length < PART_SIZE ? length : PART_SIZE);
		if (count < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		data += count > 0 ? count : 0;
		length -= count > 0 ? (size_t)count : 0;
	}
	return 0;
}

void terminal_say(const struct terminal *terminal, const char *format, ...)
{
	char text[768];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "%sbulkhead: %s%s\n", terminal->raw ? "\r\n" : "", text,
		terminal->raw ? "\r" : "");
}
