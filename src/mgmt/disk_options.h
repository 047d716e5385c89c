#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "mgmt/options.h"

/* The command line of `bulkhead disk create`, info, check, convert, resize and compact. */

struct disk_command {
	const char *words[2];
	unsigned int word_count;
	uint64_t size;
	uint64_t block_bytes;
	uint64_t logical, physical;
	const char *format;
	const char *source_format;
	const char *parent;
	bool fixed;
	bool json;
};

/* Fills what is 0 yet, by the options of the verb (command.h); usage names its words.  -EINVAL with
 * err. */
int disk_options_parse(int argc, char **argv, const struct option_set *options, unsigned int words,
		       const char *usage, struct disk_command *command, struct error *err);

/* A size that is not 0, in bytes; flag is what gave it, for the sentence.  -EINVAL with err. */
int disk_options_bytes(uint64_t *bytes, const char *flag, const char *value, struct error *err);
