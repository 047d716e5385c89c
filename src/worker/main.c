#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/json_link.h"
#include "base/standard_fds.h"
#include "worker/config.h"
#include "worker/control.h"
#include "worker/probe.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

/*
 * bulkhead-vmwp: the worker process of one VM.  Started by bulkhead with the control socket as
 * descriptor 3; with --probe it instead tries out what the host can run.
 */

static int fail(struct json_link *link, const struct error *err)
{
	struct control control = {.link = link};

	control_say_end(&control, PROTOCOL_END_FAILED, EXIT_VMM_ERROR, err->text);
	control_finish(&control);
	return EXIT_VMM_ERROR;
}

/* uid: as text, who to become, or NULL. */
static int serve(struct json_link *link, const char *uid)
{
	struct worker_config config;
	struct sandbox sandbox;
	struct error err;
	uid_t number = uid ? (uid_t)strtoul(uid, NULL, 10) : 0;
	int code;

	if (sandbox_begin(&sandbox, PROTOCOL_CONTROL_FD, number, &err) ||
	    worker_config_receive(link, &config, &err))
		return fail(link, &err);
	code = worker_run(link, &config, &sandbox);
	worker_config_clear(&config);
	return code;
}

/* Whether somebody gave us a control socket. */
static bool has_control(void)
{
	struct stat status;

	return !fstat(PROTOCOL_CONTROL_FD, &status) && S_ISSOCK(status.st_mode);
}

int main(int argc, char **argv)
{
	static const struct json_link_limits limits = {.message_max = PROTOCOL_MESSAGE_MAX,
						       .fds_max = PROTOCOL_FDS_MAX};
	struct json_link *link;
	size_t seed;
	int code;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	/* A console's reader that leaves, and the limit of a file's size, are errors of a write. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Else jansson would look for a random file, and the sandbox has none. */
	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
		json_object_seed(seed);
	/* One small heap: many threads that allocate seldom need no arena each. */
	mallopt(M_ARENA_MAX, 1);
	if (!has_control()) {
		fprintf(stderr,
			"bulkhead-vmwp: it has no control socket; `bulkhead run` starts it, "
			"see `bulkhead help run`\n");
		return EXIT_USAGE;
	}
	if (json_link_new(PROTOCOL_CONTROL_FD, &limits, &link))
		return EXIT_VMM_ERROR;
	if (argc == 2 && !strcmp(argv[1], "--probe"))
		code = probe_serve(link);
	else
		code = serve(link, argc > 2 ? argv[2] : NULL);
	json_link_free(link);
	return code;
}
