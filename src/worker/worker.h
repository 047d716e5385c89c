#pragma once

#include "base/json_link.h"
#include "worker/config.h"
#include "worker/sandbox.h"

/*
 * Runs one VM from its configuration to its end: the requests of the control socket, what the
 * guest asks for, and the last word.  Returns the process's exit code.  The main thread.
 */
int worker_run(struct json_link *link, const struct worker_config *config, struct sandbox *sandbox);
