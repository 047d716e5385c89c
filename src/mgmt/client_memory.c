#include <errno.h>
#include <stdio.h>

#include "base/parse.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "mgmt/options.h"
#include "mgmt/run_options.h"

/* `bulkhead memory show` and `memory set`. */

struct memory_command {
	const char *name;
	json_t *parameters;
	bool json;
};

static int set_json(void *target, const char *value, struct error *err)
{
	((struct memory_command *)target)->json = true;
	return 0;
}

static void set_number(struct memory_command *command, const char *key, uint64_t value)
{
	json_object_set_new(command->parameters, key, json_integer((json_int_t)value));
}

static int set_size(void *target, const char *key, const char *value, struct error *err)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) || bytes > PROTOCOL_MEMORY_MAX)
		return error_set(err, EINVAL, "--%s %.80s: give a size, like 512M or 4G", key,
				 value);
	set_number(target, key, bytes);
	return 0;
}

static int set_target(void *target, const char *value, struct error *err)
{
	return set_size(target, "target", value, err);
}

static int set_minimum(void *target, const char *value, struct error *err)
{
	return set_size(target, "minimum", value, err);
}

static int set_maximum(void *target, const char *value, struct error *err)
{
	return set_size(target, "maximum", value, err);
}

static int set_auto(void *target, const char *value, struct error *err)
{
	struct memory_command *command = target;

	json_object_set_new(command->parameters, "automatic", json_true());
	return 0;
}

static int set_buffer(void *target, const char *value, struct error *err)
{
	uint64_t percent;

	if (parse_u64(value, 5, 2000, &percent))
		return error_set(err, EINVAL, "--buffer %.80s: give a percentage, 5 to 2000",
				 value);
	set_number(target, "buffer", percent);
	return 0;
}

static int set_weight(void *target, const char *value, struct error *err)
{
	uint64_t weight;

	if (parse_u64(value, 0, 10000, &weight))
		return error_set(err, EINVAL, "--weight %.80s: give a number, 0 to 10000", value);
	set_number(target, "weight", weight);
	return 0;
}

static const struct option show_options[] = {{"--json", NULL, "print JSON", set_json}};

static const struct option set_options[] = {
	{"--target", "SIZE", "have the guest keep so much, whatever it reports", set_target},
	{"--auto", NULL, "go by what the guest reports again", set_auto},
	{"--minimum", "SIZE", "the least that it keeps, at most what it began with", set_minimum},
	{"--maximum", "SIZE", "the most it may have, at most what that was at its start",
	 set_maximum},
	{"--buffer", "PCT", "what it has beyond its need, in percent of that", set_buffer},
	{"--weight", "N", "its weight among VMs, 0 to 10000", set_weight},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_memory_set_options = OPTION_SET(set_options);

static int set_word(void *target, const char *word, struct error *err)
{
	struct memory_command *command = target;

	if (command->name)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"; give the NAME of one VM",
				 word);
	if (!run_name_valid(word))
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
	command->name = word;
	return 0;
}

static double mib(const json_t *reply, const char *key)
{
	return (double)json_integer_value(json_object_get(reply, key)) / (1 << 20);
}

static void print_size(const json_t *reply, const char *key)
{
	printf("%-10s %.0f MiB\n", key, mib(reply, key));
}

static void print(const json_t *reply)
{
	static const char *const sizes[] = {"startup", "minimum",   "maximum",	 "ballooned",
					    "added",   "committed", "available", "discarded"};
	const char *version = json_string_value(json_object_get(reply, "version"));

	printf("%-10s %s%s%s\n", "state", json_string_value(json_object_get(reply, "state")),
	       version ? ", version " : "", version ? version : "");
	print_size(reply, "assigned");
	print_size(reply, "held");
	printf("%-10s %.0f MiB, %s\n", "target", mib(reply, "target"),
	       json_is_true(json_object_get(reply, "automatic")) ? "automatic" : "set");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		print_size(reply, sizes[i]);
	printf("%-10s %" JSON_INTEGER_FORMAT " %%\n", "buffer",
	       json_integer_value(json_object_get(reply, "buffer")));
	printf("%-10s %" JSON_INTEGER_FORMAT "\n", "weight",
	       json_integer_value(json_object_get(reply, "weight")));
}

static int call(const struct memory_command *command, const char *method)
{
	struct error err;
	json_t *reply;
	int r = client_call(command->name, method, command->parameters, CLIENT_TIMEOUT_MS, &reply,
			    &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json)
		client_print_json(reply);
	else
		print(reply);
	json_decref(reply);
	return 0;
}

static int run(int argc, char **argv, const struct option *options, size_t count,
	       const char *method)
{
	struct memory_command command = {.parameters = json_object()};
	struct error err;
	int code, r = options_parse(options, count, argc, argv, set_word, &command, &err);

	if (r == 0 && !command.name)
		r = error_set(&err, EINVAL, "give the NAME of a running VM");
	if (r == 0 && count > 1 && json_object_size(command.parameters) == 0)
		r = error_set(
			&err, EINVAL,
			"give what to set: --target SIZE, --auto, --minimum SIZE, --maximum SIZE, "
			"--buffer PCT or --weight N");
	code = r ? command_fail(err.text, EXIT_USAGE, command.json) : call(&command, method);
	json_decref(command.parameters);
	return code;
}

#define OPTIONS(table) (table), sizeof(table) / sizeof((table)[0])

int command_memory_show(int argc, char **argv)
{
	return run(argc, argv, OPTIONS(show_options), "io.bulkhead.VM.Memory");
}

int command_memory_set(int argc, char **argv)
{
	return run(argc, argv, OPTIONS(set_options), "io.bulkhead.VM.SetMemory");
}
