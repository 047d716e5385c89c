#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A bar on standard error for work that takes its time.  Where that is no terminal, there is none.
 */
struct progress {
	const char *title;
	bool terminal;
	bool drawn;
};

void progress_begin(struct progress *progress, const char *title);

/* done of total bytes; a total of 0 is not known. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total);

/* Takes the bar away, so that what is said next has the line to itself. */
void progress_end(struct progress *progress);
