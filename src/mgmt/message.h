#pragma once

#include <stddef.h>

/*
 * Writes text to a descriptor that belongs to others too (so it stays in blocking mode) without
 * waiting more than patience_ms for its reader at each step; what does not go out is dropped.
 * For standard error: a reader that does not read must not hold up a VM.
 */
void message_write(int fd, const char *text, size_t length, int patience_ms);

/*
 * Copies text for a log or a terminal, cut to size: no control characters, and lines after the
 * first begin with end and MESSAGE_CONTINUED, so that no guest's words look like a line of ours.
 */
#define MESSAGE_CONTINUED "bulkhead: | "
void message_clean(char *out, size_t size, const char *text, const char *end);
