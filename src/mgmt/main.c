#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/standard_fds.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "worker/protocol.h"

/* Standard output may be a pipe or a full disk: what did not get out is a failure. */
static int finish(int code)
{
	if (fflush(stdout) && errno != EPIPE && code == 0)
		return command_fail("cannot write to standard output", EXIT_VMM_ERROR, false);
	return code;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	}
	return false;
}

/* Takes what stands before the verb: *argc and *argv go on behind it.  0 or an exit code. */
static int read_global(int *argc, char ***argv)
{
	while (*argc > 0 && !strncmp((*argv)[0], "--socket", 8)) {
		const char *word = (*argv)[0];
		const char *value = word[8] == '=' ? word + 9 : *argc > 1 ? (*argv)[1] : "";
		int words = word[8] == '=' ? 1 : 2;

		if ((word[8] && word[8] != '=') || !*value)
			return command_fail("--socket needs the PATH of the daemon's socket",
					    EXIT_USAGE, false);
		if (setenv(DAEMON_SOCKET_VARIABLE, value, 1))
			return command_fail("there is no room for --socket; free some memory",
					    EXIT_VMM_ERROR, false);
		*argc -= words;
		*argv += words;
	}
	return 0;
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;
	int used;

	if (argc < 1) {
		command_overview();
		return EXIT_USAGE;
	}
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))
		return command_help(argc - 1, argv + 1);
	if (!strcmp(argv[0], "--version"))
		return command_version(argc - 1, argv + 1);
	command = commands_find(argc, argv, &used);
	if (!command && argc == 2 && commands_noun(argv[0]) && !strcmp(argv[1], "--help"))
		return command_help(1, argv);
	if (!command)
		return command_unknown(argc, argv);
	if (asks_for_help(argc - used, argv + used)) {
		command_usage(command);
		return 0;
	}
	return command->run(argc - used, argv + used);
}

int main(int argc, char **argv)
{
	int code;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	argc--;
	argv++;
	code = read_global(&argc, &argv);
	return code ? code : finish(dispatch(argc, argv));
}
