#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "mgmt/guest_verb.h"

/* What the verbs of `bulkhead vm` share. */

#define CLIENT_LONG_MS 600000 /* for what may take a guest or a host its time */

/* A struct guest_verb for a method of io.bulkhead.VMMS: words behind the NAME, and what they are
 * called in the sentence for them, options and time-out. */
#define VM_VERB(name, words_named, table, milliseconds)                                            \
	.method = "io.bulkhead.VMMS." name, .missing = "give the NAME of a VM" words_named,        \
	GUEST_OPTIONS(table), .timeout_ms = (milliseconds)
#define VM_PLAIN_VERB(name) VM_VERB(name, "", guest_plain_options, CLIENT_LONG_MS)

/* "running", or "off-after-crash": a state as people write it. */
void client_state(const json_t *vm, char *text, size_t size);

/* "2026-11-21 14:05:09" of microseconds since 1970, in local time. */
void client_time(json_int_t microseconds, char *text, size_t size);

/* How long ago that was: "5s", "12m", "3h", "9d". */
void client_age(json_int_t microseconds, char *text, size_t size);

/* "512M", "4G": bytes as options have them. */
void client_size(json_int_t bytes, char *text, size_t size);

/* Whether a setting, as "memory.startup", is a size in bytes. */
bool client_is_size(const char *setting);

/* Runs a verb of the form [--json] that is one call of the daemon without parameters; the exit
 * code. */
int client_daemon_verb(int argc, char **argv, const char *method,
		       void (*print)(const json_t *reply));
