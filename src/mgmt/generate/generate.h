#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "mgmt/command.h"

/* What is made of the table of commands when the programs are built. */

void generate_bash(FILE *stream);
void generate_zsh(FILE *stream);
void generate_fish(FILE *stream);
/* bulkhead(1), for scdoc; -errno where there is no memory. */
int generate_manual(FILE *stream);

/* The words that an option's value can be, as "on|off" names them, with a call for each; none where
 * it is anything else. */
void generate_choices(const char *value,
		      void (*each)(FILE *stream, const char *word, size_t length), FILE *stream);

/* What a shell completes for an option's value. */
enum generate_kind {
	GENERATE_NOTHING,
	GENERATE_FILE,
	GENERATE_VM,
	GENERATE_CHOICES,
};

enum generate_kind generate_kind_of_value(const char *value);

/* An option's value as the scripts for bash and zsh have it: "on|off|", "@file", "@vm" or "@none".
 */
void generate_value(const char *value, FILE *stream);

/* "@vm" and so on: what a word is, as the scripts call it. */
const char *generate_argument(enum argument argument);

/* Whether a command is the first in the table with its noun. */
bool generate_first_of_noun(const struct command *command);
