#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A program, ours or of others, that serves a VM beside its worker, joined to it by a socketpair:
 * it ends when the worker's end closes, and is ended with the VM in any case.
 */

#define HELPER_FD 3 /* where the helper finds its socket */

struct helper {
	pid_t pid;  /* 0: none runs */
	int pidfd;  /* readable once it has ended */
	int words;  /* what it writes to standard error: the first few KiB */
	bool apart; /* started by program_start_apart */
};

/*
 * Starts the program, looked for in PATH, or apart from all others (mgmt/program_apart.h) where it
 * is a path to one of ours, in a session of its own with an empty environment, and
 * with nothing but fd, as HELPER_FD.  arguments: with the program's name, NULL-ended.  -ENOENT
 * where it is not there, or another -errno.
 */
int helper_start(const char *const *arguments, int fd, struct helper *helper);
/* The same with up to HELPER_FDS_MAX descriptors, as HELPER_FD and those that follow. */
#define HELPER_FDS_MAX 12u
int helper_start_with(const char *const *arguments, const int *fds, unsigned int count,
		      struct helper *helper);

/*
 * After pidfd became readable: reaps it.  False if it ended as it should; else writes how it ended
 * (a signal, or the last line it wrote), which is no sentence.
 */
bool helper_failed(struct helper *helper, char *text, size_t size);

/* Ends it if it runs and frees what is held.  Harmless for one that was zeroed. */
void helper_stop(struct helper *helper);
