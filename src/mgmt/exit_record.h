#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * How a VM ended, for a daemon that was not there: a file that it makes before the VM starts, as
 * long as it will ever be, so that neither a full disk nor a full /run can lose the last word.
 *
 *   0   8  "BHEXIT1\n"
 *   8   4  length of the text, little-endian
 *   12  4  CRC-32C of the text
 *   16     the text: {"reason", "code", "message", "crash", "time"}, a JSON object
 *
 * reason and code are those of `bulkhead run` (docs/json.md), time is in microseconds since 1970.
 * Long sentences are cut.  A file of zeroes, or one whose text does not fit its CRC, is no record:
 * whoever was to write it was killed.
 */

#define EXIT_RECORD_SIZE 4096

struct supervisor_outcome;

/* Gives the empty file fd its size, with blocks of the disk behind it; -errno. */
int exit_record_prepare(int fd);

/* Writes the record at once and waits until the disk has it; -errno. */
int exit_record_write(int fd, const struct supervisor_outcome *outcome);

/* A new object, as above; -ENODATA where the file holds no whole record, or another -errno. */
int exit_record_read(int fd, json_t **out);
