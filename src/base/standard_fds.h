#pragma once

/*
 * Opens /dev/null in place of each of the descriptors 0 to 2 that is closed (a shell's `>&-`), so
 * that no file opened later is taken for standard input, output or error.  To be called first in
 * main.  -errno.
 */
int standard_fds_open(void);
