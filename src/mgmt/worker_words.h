#pragma once

#include <sys/types.h>

/*
 * What a confined program writes to its standard error: a sanitizer's report, or what a guest that
 * got hold of it would like to see in somebody's log.  It is kept in a file in memory that takes
 * 64 KiB, and told when the program has ended.
 */

/* The file, for the program; -errno. */
int worker_words_new(void);

/* Writes each line there to standard error, with who said it before it, and without control
 * characters.  May wait a second for a reader that is slow. */
void worker_words_tell(int words, pid_t pid);
