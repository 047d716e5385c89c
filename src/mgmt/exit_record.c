#include "mgmt/exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "base/wire.h"
#include "mgmt/supervisor.h"

#define LENGTH_AT   8
#define CRC_AT	    12
#define TEXT_AT	    16
#define TEXT_MAX    (EXIT_RECORD_SIZE - TEXT_AT)
/* As JSON a byte takes up to six. */
#define MESSAGE_MAX 400
#define CRASH_MAX   160

static const char magic[LENGTH_AT + 1] = "BHEXIT1\n";

int exit_record_prepare(int fd)
{
	return -posix_fallocate(fd, 0, EXIT_RECORD_SIZE);
}

/* As much of a sentence as there is room for in any case. */
static json_t *cut(const char *text, size_t size)
{
	char part[1024];

	snprintf(part, size < sizeof(part) ? size : sizeof(part), "%s", text);
	text_trim(part);
	return text_json(part);
}

static json_t *describe(const struct supervisor_outcome *outcome, size_t message, size_t crash)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return json_pack("{s:s, s:i, s:b, s:o, s:o, s:I}", "reason", outcome->reason, "code",
			 outcome->code, "started", outcome->started, "message",
			 cut(outcome->message, message), "crash", cut(outcome->crash, crash),
			 "time", (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

/* The text's length, or 0 where it has no room. */
static size_t put_text(uint8_t *record, json_t *object)
{
	size_t length = json_dumpb(object, (char *)record + TEXT_AT, TEXT_MAX, JSON_COMPACT);

	json_decref(object);
	return length <= TEXT_MAX ? length : 0;
}

int exit_record_write(int fd, const struct supervisor_outcome *outcome)
{
	uint8_t record[EXIT_RECORD_SIZE] = {0};
	size_t length = put_text(record, describe(outcome, 1024, 1024));
	ssize_t written;

	if (!length)
		length = put_text(record, describe(outcome, MESSAGE_MAX, CRASH_MAX));
	if (!length)
		return -ENOMEM;
	memset(record + TEXT_AT + length, 0, TEXT_MAX - length);
	memcpy(record, magic, LENGTH_AT);
	put_le32(record + LENGTH_AT, (uint32_t)length);
	put_le32(record + CRC_AT, crc32c(0, record + TEXT_AT, length));
	written = pwrite(fd, record, sizeof(record), 0);
	if (written != sizeof(record))
		return written < 0 ? -errno : -ENOSPC;
	return fdatasync(fd) ? -errno : 0;
}

int exit_record_read(int fd, json_t **out)
{
	uint8_t record[EXIT_RECORD_SIZE];
	ssize_t got = pread(fd, record, sizeof(record), 0);
	uint32_t length;
	json_t *object;

	if (got < 0)
		return -errno;
	if (got < TEXT_AT || memcmp(record, magic, LENGTH_AT) != 0)
		return -ENODATA;
	length = get_le32(record + LENGTH_AT);
	if (length > (size_t)got - TEXT_AT ||
	    get_le32(record + CRC_AT) != crc32c(0, record + TEXT_AT, length))
		return -ENODATA;
	object = json_loadb((const char *)record + TEXT_AT, length, 0, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return -ENODATA;
	}
	*out = object;
	return 0;
}
