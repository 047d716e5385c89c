#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"

/* Calls on a VM, for the verbs of the CLI: on the socket of one that `bulkhead run` runs, or
 * through the daemon on one that it keeps. */

#define CLIENT_TIMEOUT_MS 30000

/* Who has the VM of a name. */
enum client_owner {
	CLIENT_RUN,    /* a `bulkhead run` */
	CLIENT_DAEMON, /* bulkhead-vmms */
};

/* Finds out: the daemon, if it keeps one of that name, else a `bulkhead run`, which may not be
 * there; -EEXIST if both have one. */
int client_find(const char *name, enum client_owner *owner, struct error *err);

/*
 * Calls method with parameters (an object, borrowed; NULL: none) and waits up to timeout_ms for the
 * reply's parameters, a new reference.  A method of io.bulkhead.VM is called on whoever has the VM,
 * in its form of io.bulkhead.VMMS on the daemon; one of io.bulkhead.VMMS only there.  A negative
 * errno, whose exit code client_exit has, comes with a sentence that names the VM.
 */
int client_call(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		json_t **reply, struct error *err);
/* The same as varlink_call_more has it. */
int client_call_more(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		     void (*each)(void *context, const json_t *reply), void *context,
		     json_t **reply, struct error *err);

/* Runs a whole verb of the form NAME [--json]; print gets the reply's parameters.  The exit code.
 */
int client_verb(int argc, char **argv, const char *method,
		void (*print)(const json_t *reply, bool json));

/* The same, where a descriptor may come along: *fd, else -1. */
int client_call_fd(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		   json_t **reply, int *fd, struct error *err);

/* Prints json, indented, as --json wants it. */
void client_print_json(const json_t *json);
