#include "fuzz.h"

#include <errno.h>

#include "tools/vnc.h"

/* A VNC viewer that says anything, in pieces of any size: what is heard does not depend on them,
 * and is not more than was said. */

#define HASH_START 5381u

/* What is heard, until an error. */
static uint64_t hear(struct vnc_line *line, uint64_t hash, ssize_t *size)
{
	while ((*size = vnc_line_message(line, 0)) > 0) {
		require((size_t)*size <= line->in_count);
		for (ssize_t i = 0; i < *size; i++)
			hash = hash * 33 + line->in[i];
		hash = hash * 33 + (uint64_t)*size;
		vnc_line_taken(line, (size_t)*size);
	}
	return hash;
}

static uint64_t hear_all(const uint8_t *data, size_t size, size_t piece)
{
	static struct vnc_line line;
	uint64_t hash = HASH_START;
	ssize_t last = 0;

	line = (struct vnc_line){.fd = -1};
	while (size > 0 && last == 0) {
		size_t room = sizeof(line.in) - line.in_count;
		size_t now = piece < size ? piece : size;

		now = now < room ? now : room;
		require(now > 0); /* a whole message always fits */
		memcpy(line.in + line.in_count, data, now);
		line.in_count += now;
		data += now;
		size -= now;
		hash = hear(&line, hash, &last);
	}
	require(last == 0 || last == -EPROTO);
	return hash * 33 + (uint64_t)-last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece;

	if (size < 1)
		return 0;
	piece = data[0] + 1u;
	require(hear_all(data + 1, size - 1, piece) == hear_all(data + 1, size - 1, size));
	return 0;
}
