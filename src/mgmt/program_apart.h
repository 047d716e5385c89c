#pragma once

#include "mgmt/program.h"

/*
 * As program_start, of a program of ours that confines itself (worker/sandbox.h), at a path: it
 * begins as the first process of a PID namespace, so it sees and signals none but its own, and
 * signals of others that it has no handler for do not reach it, save SIGKILL.  Where we may not
 * make namespaces, it has a user namespace too, with what it takes to make its others in there.
 * Where that is not permitted either, it starts without.
 */
int program_start_apart(const char *path, const char *const *arguments, char *const *environment,
			const struct program_file *files, size_t file_count, pid_t *pid);
