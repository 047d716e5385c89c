#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Command line options by table: --name VALUE, --name=VALUE, and --name alone. */

struct option {
	const char *name;  /* "--cpus" */
	const char *value; /* what help calls the value; NULL for an option that takes none */
	const char *help;
	/* Stores value (NULL where none is taken) into target; fills err on failure. */
	int (*set)(void *target, const char *value, struct error *err);
};

/* Tables of options that go together. */
struct option_set {
	const struct option *options;
	size_t count;
	const struct option_set *more; /* those after them, or NULL */
};

#define OPTION_SET(table)                                                                          \
	{                                                                                          \
		(table), sizeof(table) / sizeof((table)[0]), NULL                                  \
	}
#define OPTION_SET_AND(table, others)                                                              \
	{                                                                                          \
		(table), sizeof(table) / sizeof((table)[0]), (others)                              \
	}

/*
 * Runs the table over argv[0..argc).  Words that are no options go to operand, in order (NULL:
 * there may be none); "--" ends the options.  -EINVAL with err for what the table does not have.
 * After a failure the rest is gone through all the same, so that target knows how the user wants to
 * be told (--json); err has the first one.
 */
int options_parse(const struct option *table, size_t count, int argc, char **argv,
		  int (*operand)(void *target, const char *word, struct error *err), void *target,
		  struct error *err);

/* The same with the options of a set. */
int options_parse_set(const struct option_set *set, int argc, char **argv,
		      int (*operand)(void *target, const char *word, struct error *err),
		      void *target, struct error *err);

/* Whether name stands among the options of a command line that no table reads. */
bool options_name(int argc, char **argv, const char *name);

/* Prints the set, one option a line, to standard output; NULL has none. */
void options_help_set(const struct option_set *set);
