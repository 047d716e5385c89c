#pragma once

#include <stdint.h>
#include <sys/types.h>

/* What a process has used, as /proc/PID/stat tells it. */
struct process_usage {
	double cpu_seconds;	 /* all threads, user and system; a guest's time is user's */
	uint64_t resident_bytes; /* a guest's memory that it touched is in it */
};

/* -ESRCH where there is no such process, or another -errno.  Any thread. */
int process_usage_read(pid_t pid, struct process_usage *out);
