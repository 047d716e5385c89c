#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "mgmt/vmms/caller.h"

/*
 * Who did what: a line for each call that changes something, done or refused.  It goes to the
 * system's journal, by the protocol of its socket (systemd.io/JOURNAL_NATIVE_PROTOCOL), or, where
 * that does not take it, to a file of our own.  No call waits for it or fails because of it: what
 * can be written nowhere is counted, and the next line says how many are missing.
 *
 * Anybody can be refused as often as they like.  Of refused calls of those who are no
 * administrators AUDIT_STRANGERS have their lines at once, then one each ten seconds, and the
 * others count as missing: or they would drive everybody else's lines out, and in a journal have
 * ours dropped.
 *
 * A line is a JSON object in ASCII, so that nothing that a caller sends begins another.  Loop
 * thread.
 */

#define AUDIT_JOURNAL	 "/run/systemd/journal/socket"
#define AUDIT_FILE_MAX	 (8u << 20)
#define AUDIT_STRANGERS	 128
#define AUDIT_FILES_KEPT 4 /* besides the one that is written: FILE.1 is the youngest */

struct audit;

struct audit_options {
	const char *journal; /* its socket; NULL: only the file */
	const char *file;
	size_t file_max; /* bytes, after which it becomes FILE.1 */
};

struct audit_record {
	const struct caller *caller;
	const char *method;	  /* without its interface */
	const json_t *parameters; /* NULL: none */
	const char *vm;		  /* its name, or as the caller wrote it; NULL: none */
	const char *uuid;	  /* NULL: none, or unknown */
	const char *error;	  /* as "Denied"; NULL: done */
	const char *message;	  /* of the error; NULL: none */
	bool stranger;		  /* the caller is no administrator */
};

/* Copies options.  Opens nothing yet.  -ENOMEM. */
int audit_new(const struct audit_options *options, struct audit **out);

/* NULL is allowed. */
void audit_free(struct audit *audit);

void audit_write(struct audit *audit, const struct audit_record *record);

/* Lines that are missing, since it began. */
uint64_t audit_lost(const struct audit *audit);
