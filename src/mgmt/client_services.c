#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "mgmt/guest_verb.h"
#include "mgmt/progress.h"
#include "mgmt/run_options.h"

/* The verbs that ask the guest's integration services for something; client_kvp.c has its items. */

/* The guest writes back its caches first. */
#define VSS_TIMEOUT_MS 300000

static int set_seconds(void *target, const char *value, struct error *err)
{
	struct guest_command *command = target;
	uint64_t seconds;

	if (parse_u64(value, 1, INT_MAX, &seconds))
		return error_set(err, EINVAL, "--timeout %.40s: give a number of seconds", value);
	json_object_set_new(command->parameters, "timeout", json_integer((json_int_t)seconds));
	return 0;
}

static int set_restart(void *target, const char *value, struct error *err)
{
	return guest_set_text(target, "action", "restart", err);
}

static int set_hibernate(void *target, const char *value, struct error *err)
{
	return guest_set_text(target, "action", "hibernate", err);
}

static int set_force(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "force");
}

static int set_message(void *target, const char *value, struct error *err)
{
	return guest_set_text(target, "message", value, err);
}

static int set_hold(void *target, const char *value, struct error *err)
{
	((struct guest_command *)target)->hold = true;
	return 0;
}

static int set_overwrite(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "overwrite");
}

static int set_create_path(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "create_path");
}

static const struct option shutdown_options[] = {
	{"--restart", NULL, "start it again afterwards", set_restart},
	{"--hibernate", NULL, "have it hibernate", set_hibernate},
	{"--force", NULL, "do not let its programs object", set_force},
	{"--message", "TEXT", "what its users are told", set_message},
	{"--timeout", "SECONDS", "how long it may take (default: 300)", set_seconds},
	{"--json", NULL, "print JSON", guest_set_json},
};

static const struct option freeze_options[] = {
	{"--timeout", "SECONDS", "when it is thawed again in any case (default: 60)", set_seconds},
	{"--hold", NULL, "stay, and thaw it when this command ends or is killed", set_hold},
	{"--json", NULL, "print JSON", guest_set_json},
};

static const struct option copy_options[] = {
	{"--overwrite", NULL, "replace a file that is there", set_overwrite},
	{"--create-path", NULL, "make the directories that are missing", set_create_path},
	{"--json", NULL, "print JSON", guest_set_json},
};

const struct option_set command_shutdown_options = OPTION_SET(shutdown_options);
const struct option_set command_vss_freeze_options = OPTION_SET(freeze_options);
const struct option_set command_copy_file_options = OPTION_SET(copy_options);

/* The supervisor may be in another directory. */
static int resolve_source(struct guest_command *command, struct error *err)
{
	const char *given = json_string_value(json_object_get(command->parameters, "source"));
	CLEANUP_FREE char *path = realpath(given, NULL);

	if (!path)
		return error_set(err, errno, "%.300s: %s; check the path", given, strerror(errno));
	json_object_set_new(command->parameters, "source", text_json(path));
	return 0;
}

/* What a service says beyond its state. */
static void print_details(json_t *service)
{
	static const char *const shown[] = {"name", "state", "version", "framework"};
	const char *key, *separator = "  ";
	json_t *value;

	json_object_foreach(service, key, value)
	{
		bool skip = json_is_integer(value) && json_integer_value(value) == 0;

		for (size_t i = 0; i < ARRAY_LENGTH(shown); i++)
			skip = skip || strcmp(shown[i], key) == 0;
		if (skip)
			continue;
		if (json_is_integer(value))
			printf("%s%s %" JSON_INTEGER_FORMAT, separator, key,
			       json_integer_value(value));
		else
			printf("%s%s %s", separator, key, json_string_value(value));
		separator = ", ";
	}
}

static void print_services(const json_t *reply)
{
	json_t *service;
	size_t index;

	json_array_foreach(json_object_get(reply, "services"), index, service)
	{
		printf("%-10s %-17s %-4s", guest_text(service, "name"),
		       guest_text(service, "state"), guest_text(service, "version"));
		print_details(service);
		putchar('\n');
	}
}

static void print_freeze(const json_t *reply)
{
	printf("frozen; thaws by itself in %" JSON_INTEGER_FORMAT " seconds\n",
	       json_integer_value(json_object_get(reply, "timeout")));
}

static void show_copied(void *context, const json_t *reply)
{
	json_int_t bytes = json_integer_value(json_object_get(reply, "bytes"));
	json_int_t size = json_integer_value(json_object_get(reply, "size"));

	progress_update(context, (uint64_t)bytes, (uint64_t)size);
}

static void print_copy(const json_t *reply)
{
	printf("%" JSON_INTEGER_FORMAT " bytes copied\n",
	       json_integer_value(json_object_get(reply, "bytes")));
}

static void print_held(void *context, const json_t *reply)
{
	const struct guest_command *command = context;

	if (command->json)
		client_print_json(reply);
	else
		printf("frozen; thaws when this command ends, or in %" JSON_INTEGER_FORMAT
		       " seconds\n",
		       json_integer_value(json_object_get(reply, "timeout")));
	fflush(stdout);
}

/* Whoever wanted the guest frozen shall know when it was not, any more, to the end. */
static int hold_freeze(struct guest_command *command)
{
	struct error err;
	json_t *last;
	bool thawed;
	int r = client_call_more(command->name, command->verb->method, command->parameters,
				 command->verb->timeout_ms, print_held, command, &last, &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	thawed = strcmp(guest_text(last, "over"), "thawed") == 0;
	if (!thawed) {
		error_set(&err, ETIMEDOUT, "%s: the freeze has %s; freeze it again", command->name,
			  strcmp(guest_text(last, "over"), "expired") == 0
				  ? "come to its time-out"
				  : "ended with the guest's restart");
		command_fail(err.text, EXIT_VMM_ERROR, command->json);
	} else if (command->json) {
		client_print_json(last);
	}
	json_decref(last);
	return thawed ? 0 : EXIT_VMM_ERROR;
}

static int call_copy(struct guest_command *command)
{
	struct progress progress;
	struct error err;
	json_t *last;
	int r;

	progress_begin(&progress, command->name);
	r = client_call_more(command->name, command->verb->method, command->parameters,
			     command->verb->timeout_ms, show_copied, &progress, &last, &err);
	progress_end(&progress);
	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json)
		client_print_json(last);
	else
		print_copy(last);
	json_decref(last);
	return 0;
}

static int call_freeze(struct guest_command *command)
{
	return command->hold ? hold_freeze(command) : guest_verb_call(command);
}

int command_service(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.Services",
		.missing = "give the NAME of a running VM",
		GUEST_OPTIONS(guest_plain_options),
		.timeout_ms = CLIENT_TIMEOUT_MS,
		.print = print_services,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_shutdown(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.Shutdown",
		.missing = "give the NAME of a running VM",
		GUEST_OPTIONS(shutdown_options),
		.timeout_ms = GUEST_TIMEOUT_MS,
		.print = guest_print_nothing,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_vss_freeze(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.Freeze",
		.missing = "give the NAME of a running VM",
		GUEST_OPTIONS(freeze_options),
		.timeout_ms = VSS_TIMEOUT_MS,
		.print = print_freeze,
		.call = call_freeze,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_vss_thaw(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.Thaw",
		.missing = "give the NAME of a running VM",
		GUEST_OPTIONS(guest_plain_options),
		.timeout_ms = VSS_TIMEOUT_MS,
		.print = guest_print_nothing,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_copy_file(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.CopyFile",
		.words = {"source", "path"},
		.missing = "give the NAME of a running VM, a file, and where it goes there",
		GUEST_OPTIONS(copy_options),
		.timeout_ms = -1,
		.call = call_copy,
		.complete = resolve_source,
	};

	return guest_verb_run(argc, argv, &verb);
}
