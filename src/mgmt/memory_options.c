#include "mgmt/memory_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "worker/protocol.h"

static const char *const protocols[] = {"0.3", "1.0", "2.0"};

struct memory_options memory_options_static(uint64_t bytes)
{
	return (struct memory_options){
		.startup = bytes,
		.minimum = bytes,
		.maximum = bytes,
		.buffer = MEMORY_BUFFER_DEFAULT,
		.weight = MEMORY_WEIGHT_DEFAULT,
	};
}

static int parse_bytes(const char *key, const char *value, uint64_t *out, struct error *err)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) || bytes < PROTOCOL_MEMORY_MIN ||
	    bytes > PROTOCOL_MEMORY_MAX || !is_aligned(bytes, PROTOCOL_MEMORY_ALIGN))
		return error_set(err, EINVAL,
				 "--memory %s%.80s: give a size from %lluM to %lluG in whole 4 KiB "
				 "pages, like 512M or 4G",
				 key, value, PROTOCOL_MEMORY_MIN >> 20, PROTOCOL_MEMORY_MAX >> 30);
	*out = bytes;
	return 0;
}

static int set_startup(struct memory_options *options, const char *value, struct error *err)
{
	return parse_bytes("startup=", value, &options->startup, err);
}

static int set_min(struct memory_options *options, const char *value, struct error *err)
{
	return parse_bytes("min=", value, &options->minimum, err);
}

static int set_max(struct memory_options *options, const char *value, struct error *err)
{
	return parse_bytes("max=", value, &options->maximum, err);
}

static int set_buffer(struct memory_options *options, const char *value, struct error *err)
{
	uint64_t percent;

	if (parse_u64(value, MEMORY_BUFFER_MIN, MEMORY_BUFFER_MAX, &percent))
		return error_set(err, EINVAL, "--memory buffer=%.80s: give a percentage, %d to %d",
				 value, MEMORY_BUFFER_MIN, MEMORY_BUFFER_MAX);
	options->buffer = (unsigned int)percent;
	return 0;
}

static int set_weight(struct memory_options *options, const char *value, struct error *err)
{
	uint64_t weight;

	if (parse_u64(value, 0, MEMORY_WEIGHT_MAX, &weight))
		return error_set(err, EINVAL, "--memory weight=%.80s: give a number, 0 to %d",
				 value, MEMORY_WEIGHT_MAX);
	options->weight = (unsigned int)weight;
	return 0;
}

static int set_reporting(struct memory_options *options, const char *value, struct error *err)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return error_set(err, EINVAL, "--memory reporting=%.80s: give on or off", value);
	options->reporting = strcmp(value, "on") == 0;
	return 0;
}

static int set_protocol(struct memory_options *options, const char *value, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LENGTH(protocols); i++) {
		if (strcmp(protocols[i], value) == 0) {
			options->protocol = protocols[i];
			return 0;
		}
	}
	return error_set(err, EINVAL, "--memory protocol=%.80s: give 0.3, 1.0 or 2.0", value);
}

static const struct {
	const char *name;
	int (*set)(struct memory_options *options, const char *value, struct error *err);
} keys[] = {
	{"startup", set_startup},   {"min", set_min},	    {"max", set_max},
	{"buffer", set_buffer},	    {"weight", set_weight}, {"reporting", set_reporting},
	{"protocol", set_protocol},
};

/* word is cut up. */
static int set_key(struct memory_options *options, char *word, struct error *err)
{
	char *key = strsep(&word, "=");

	for (size_t i = 0; word && i < ARRAY_LENGTH(keys); i++) {
		if (strcmp(keys[i].name, key) == 0)
			return keys[i].set(options, word, err);
	}
	return error_set(err, EINVAL,
			 "--memory %.80s: give a size, or startup=SIZE and with it min=, max=, "
			 "buffer=, weight=, reporting= and protocol=",
			 key);
}

static int check(struct memory_options *options, struct error *err)
{
	if (!options->startup)
		return error_set(err, EINVAL,
				 "--memory: dynamic memory begins with startup=SIZE; give it");
	if (!options->minimum)
		options->minimum = options->startup;
	if (!options->maximum)
		options->maximum = options->startup;
	if (options->minimum > options->startup || options->startup > options->maximum)
		return error_set(err, EINVAL,
				 "--memory: min is no more than startup, and startup no more than "
				 "max; change one of them");
	return 0;
}

int memory_options_parse(const char *text, struct memory_options *options, struct error *err)
{
	struct memory_options parsed = memory_options_static(0);
	CLEANUP_FREE char *copy = strdup(text);
	char *next = copy, *word;
	int r = 0;

	if (!copy)
		return error_memory(err, "the command line");
	if (!strchr(text, '=')) {
		uint64_t bytes = 0;

		r = parse_bytes("", text, &bytes, err);
		if (r == 0)
			*options = memory_options_static(bytes);
		return r;
	}
	parsed.dynamic = parsed.reporting = true;
	while (r == 0 && (word = strsep(&next, ",")))
		r = set_key(&parsed, word, err);
	if (r == 0)
		r = check(&parsed, err);
	if (r == 0)
		*options = parsed;
	return r;
}

json_t *memory_options_device(const struct memory_options *options)
{
	json_t *device = json_pack("{s:s, s:b, s:I, s:I, s:i, s:i}", "device", "memory", "dynamic",
				   options->dynamic, "minimum", (json_int_t)options->minimum,
				   "maximum", (json_int_t)options->maximum, "buffer",
				   (int)options->buffer, "weight", (int)options->weight);

	if (options->protocol)
		json_object_set_new(device, "max_version", json_string(options->protocol));
	return device;
}
