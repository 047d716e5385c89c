#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/checked.h"
#include "base/error.h"
#include "mgmt/options.h"

/* Verbs of the CLI that are one call of the VM's interface: words and options become its
 * parameters. */

#define GUEST_WORDS_MAX	 4u
#define GUEST_TIMEOUT_MS 120000

struct guest_command;

struct guest_verb {
	const char *method;
	const char *words[GUEST_WORDS_MAX]; /* the parameters that words are, after the NAME */
	const char *missing;		    /* the sentence when there are too few */
	const struct option *options;
	size_t option_count;
	int timeout_ms;
	void (*print)(const json_t *reply);
	/* Makes the call and prints what came of it, the exit code; NULL: guest_verb_call. */
	int (*call)(struct guest_command *command);
	/* Looks at all parameters once they are read; may be NULL. */
	int (*complete)(struct guest_command *command, struct error *err);
};

struct guest_command {
	const struct guest_verb *verb;
	const char *name;
	unsigned int word_count;
	json_t *parameters;
	bool json;
	bool hold; /* of vss freeze: stay, as long as the guest shall be frozen */
};

/* Only --json. */
extern const struct option guest_plain_options[1];

/* The member of a struct guest_verb for a table of options. */
#define GUEST_OPTIONS(table) .options = (table), .option_count = ARRAY_LENGTH(table)

/* Setters of options; target is the command. Each sets the parameter key; -EINVAL with a sentence
 * for what is no UTF-8. */
int guest_set_json(void *target, const char *value, struct error *err);
int guest_set_text(void *target, const char *key, const char *value, struct error *err);
int guest_set_true(void *target, const char *key);
/* To a list of texts. */
int guest_append_text(void *target, const char *key, const char *value, struct error *err);

/* The text of a member of an object, "" if there is none. */
const char *guest_text(const json_t *object, const char *key);

/* For verbs whose reply says nothing. */
void guest_print_nothing(const json_t *reply);

/* The call of most verbs: prints the reply, as JSON where that is wanted; the exit code. */
int guest_verb_call(struct guest_command *command);

/* Parses the words behind the verb and makes its call; the exit code. */
int guest_verb_run(int argc, char **argv, const struct guest_verb *verb);
