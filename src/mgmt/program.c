#include "mgmt/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

static int set_up_files(posix_spawn_file_actions_t *actions, const struct program_file *files,
			size_t count)
{
	int r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (!r)
		r = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
						     0);
	for (size_t i = 0; i < count && !r; i++)
		r = posix_spawn_file_actions_adddup2(actions, files[i].fd, files[i].as);
	return r;
}

/* Those that we read from a signalfd are blocked here, which the program would inherit. */
static int set_up_signals(posix_spawnattr_t *attributes)
{
	sigset_t none;
	sigset_t all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setsigmask(attributes, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (!r)
		r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
								 POSIX_SPAWN_SETSIGDEF |
								 POSIX_SPAWN_SETSID);
	return r;
}

int program_start(const char *program, const char *const *arguments, char *const *environment,
		  const struct program_file *files, size_t file_count, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	r = set_up_files(&actions, files, file_count);
	if (!r)
		r = set_up_signals(&attributes);
	if (!r)
		r = posix_spawnp(pid, program, &actions, &attributes, (char *const *)arguments,
				 environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}
