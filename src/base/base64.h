#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes as text: base64 (RFC 4648, section 4), with padding and without line breaks. */

/* The text's length for so many bytes, without its NUL. */
#define BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

/* Writes the text and a NUL: BASE64_LENGTH(length) + 1 bytes. */
void base64_encode(const void *data, size_t length, char *text);

/*
 * Writes at most size bytes; *length is how many.  -EINVAL for what is no base64, -E2BIG where it
 * is more than size.  Whatever is written before a failure means nothing.
 */
int base64_decode(const char *text, void *data, size_t size, size_t *length);
