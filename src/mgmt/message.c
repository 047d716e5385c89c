#include "mgmt/message.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/checked.h"

void message_write(int fd, const char *text, size_t length, int patience_ms)
{
	while (length) {
		struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
		ssize_t count;

		if (poll(&pollfd, 1, patience_ms) <= 0)
			return;
		/* A pipe that is ready has room for so many. */
		count = write(fd, text, MIN(length, (size_t)PIPE_BUF));
		if (count < 0 && errno != EINTR)
			return;
		if (count > 0) {
			text += count;
			length -= (size_t)count;
		}
	}
}

void message_clean(char *out, size_t size, const char *text, const char *end)
{
	for (; *text && size > 1; text++) {
		unsigned char byte = (unsigned char)*text;
		int length = byte == '\n' ? snprintf(out, size, "%s%s", end, MESSAGE_CONTINUED)
					  : snprintf(out, size, "%c",
						     byte < ' ' || byte == 0x7f ? '?' : byte);

		length = (int)MIN((size_t)length, size - 1);
		out += length;
		size -= (size_t)length;
	}
	if (size)
		*out = '\0';
}
