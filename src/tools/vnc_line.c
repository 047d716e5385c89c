#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "tools/vnc.h"

/* What viewers may say, and how it begins (RFC 6143, 7.5; SetDesktopSize is of the extended
 * desktop size). */
#define RFB_SET_PIXEL_FORMAT 0
#define RFB_SET_ENCODINGS    2
#define RFB_UPDATE_REQUEST   3
#define RFB_KEY		     4
#define RFB_POINTER	     5
#define RFB_CUT_TEXT	     6
#define RFB_SET_DESKTOP_SIZE 251
#define HEADER_MAX	     8u

static uint32_t get_be(const uint8_t *data, unsigned int bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value = value << 8 | data[i];
	return value;
}

/* Of a message whose header is there. */
static ssize_t size_of(const uint8_t *header)
{
	switch (header[0]) {
	case RFB_SET_ENCODINGS:
		return 4 + 4 * (ssize_t)get_be(header + 2, 2);
	case RFB_SET_DESKTOP_SIZE:
		return 8 + 16 * (ssize_t)header[6];
	default:
		return -EPROTO;
	}
}

static ssize_t message_size(const uint8_t *data, size_t count)
{
	static const struct {
		uint8_t size, header; /* size 0: the header tells it */
	} kinds[256] = {
		[RFB_SET_PIXEL_FORMAT] = {20, 1}, [RFB_SET_ENCODINGS] = {0, 4},
		[RFB_UPDATE_REQUEST] = {10, 1},	  [RFB_KEY] = {8, 1},
		[RFB_POINTER] = {6, 1},		  [RFB_SET_DESKTOP_SIZE] = {0, 8},
	};
	ssize_t size;

	if (count == 0)
		return 0;
	if (kinds[data[0]].header == 0)
		return -EPROTO;
	if (count < kinds[data[0]].header)
		return 0;
	size = kinds[data[0]].size ? kinds[data[0]].size : size_of(data);
	if (size < 0 || size > (ssize_t)VNC_IN_BYTES)
		return -EPROTO;
	return (size_t)size <= count ? size : 0;
}

void vnc_line_receive(struct vnc_line *line)
{
	ssize_t got;

	if (line->in_count == sizeof(line->in))
		return;
	got = recv(line->fd, line->in + line->in_count, sizeof(line->in) - line->in_count,
		   MSG_DONTWAIT);
	if (got > 0)
		line->in_count += (size_t)got;
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		line->ended = true;
}

void vnc_line_taken(struct vnc_line *line, size_t size)
{
	line->in_count -= size;
	memmove(line->in, line->in + size, line->in_count);
}

/* There is no clipboard: a text, of any length, is dropped as it comes. */
static void drop_text(struct vnc_line *line)
{
	size_t now;

	while (line->in_count > 0) {
		now = MIN(line->in_count, (size_t)line->skip);
		vnc_line_taken(line, now);
		line->skip -= (uint32_t)now;
		if (line->in_count < HEADER_MAX || line->in[0] != RFB_CUT_TEXT)
			return;
		/* A length below 0 is one of the extended clipboard. */
		line->skip = get_be(line->in + 4, 4);
		if (line->skip > INT32_MAX)
			line->skip = -line->skip;
		vnc_line_taken(line, HEADER_MAX);
	}
}

ssize_t vnc_line_message(struct vnc_line *line, size_t fixed)
{
	if (fixed)
		return line->in_count >= fixed ? (ssize_t)fixed : 0;
	drop_text(line);
	if (line->in_count > 0 && line->in[0] == RFB_CUT_TEXT)
		return 0;
	return message_size(line->in, line->in_count);
}

uint8_t *vnc_line_room(struct vnc_line *line, size_t size)
{
	size_t waiting = line->out_size - line->out_sent;
	uint8_t *more;

	if (size > VNC_OUT_BYTES - MIN(waiting, (size_t)VNC_OUT_BYTES))
		return NULL;
	/* What was sent makes room; no more is moved than that. */
	if (line->out_sent > waiting) {
		memcpy(line->out, line->out + line->out_sent, waiting);
		line->out_sent = 0;
		line->out_size = waiting;
	}
	more = realloc(line->out, line->out_size + size);
	if (!more)
		return NULL;
	line->out = more;
	line->out_size += size;
	return more + line->out_size - size;
}

bool vnc_line_answered(struct vnc_line *line, size_t size)
{
	line->unread += size;
	if (line->unread > VNC_ANSWERS_MAX)
		vnc_line_send(line);
	return line->unread <= VNC_ANSWERS_MAX;
}

void vnc_line_send(struct vnc_line *line)
{
	while (vnc_line_waits(line)) {
		ssize_t sent = send(line->fd, line->out + line->out_sent,
				    line->out_size - line->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			line->ended |= errno != EAGAIN;
			return;
		}
		line->out_sent += (size_t)sent;
	}
	vnc_line_drop(line);
}

bool vnc_line_waits(const struct vnc_line *line)
{
	return line->out_sent < line->out_size;
}

uint64_t vnc_line_patience(const struct vnc_line *line, uint64_t now)
{
	uint64_t silent = now > line->heard ? now - line->heard : 0;

	return VNC_SILENCE_NS - MIN(silent, VNC_SILENCE_NS);
}

void vnc_line_drop(struct vnc_line *line)
{
	free(line->out);
	line->out = NULL;
	line->out_size = line->out_sent = line->unread = 0;
}
