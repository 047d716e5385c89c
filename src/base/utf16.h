#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Text between UTF-8, as everything here has it, and little-endian UTF-16, as Hyper-V's protocols
 * and file formats have it.  Any thread.
 */

/*
 * Writes the NUL-terminated text as UTF-16 with a NUL of its own into size bytes at out, the
 * rest of which is zeroed.  Returns the bytes used, the NUL included; -EILSEQ for what is no UTF-8
 * and -E2BIG for what does not fit: out is then untouched.
 */
int utf16_encode(const char *text, void *out, size_t size);

/*
 * Reads UTF-16 up to its NUL or the end of its size bytes (an odd last byte is passed over), and
 * writes it as NUL-terminated UTF-8 into out.  Half a surrogate pair becomes U+FFFD.  Returns the
 * length without the NUL, or -E2BIG, with out untouched.
 */
int utf16_decode(const void *data, size_t size, char *out, size_t out_size);
/* The room that any size bytes of UTF-16 need there. */
#define UTF16_DECODED_MAX(size) ((size) / 2 * 3 + 1)
