#pragma once

#include <stddef.h>
#include <stdint.h>

/* The longest line that a client of --hvsock begins with, its end included. */
#define HVSOCK_LINE_MAX 32

/*
 * Reads "CONNECT PORT\n", as other VMMs have it: either case, blanks as one likes, no more than
 * that.  line has length bytes, the last of which is the newline.  0 with *port, or -EINVAL.
 */
int hvsock_line_parse(const char *line, size_t length, uint32_t *port);
