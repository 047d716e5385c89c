#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "mgmt/options.h"
#include "mgmt/run_options.h"
#include "mgmt/tree_print.h"

/* The verbs that are one call on a running VM, and print what it answers. */

struct client_options {
	const char *name;
	bool json;
	uint64_t vp; /* of nmi */
};

static int set_vp(void *target, const char *value, struct error *err)
{
	struct client_options *options = target;

	if (parse_u64(value, 0, PROTOCOL_CPUS_MAX - 1, &options->vp))
		return error_set(err, EINVAL, "--vp %.40s: give the number of a processor, 0 to %d",
				 value, PROTOCOL_CPUS_MAX - 1);
	return 0;
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct client_options *)target)->json = true;
	return 0;
}

static int set_name(void *target, const char *word, struct error *err)
{
	struct client_options *options = target;

	if (options->name)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"; give one NAME", word);
	if (!run_name_valid(word))
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
	options->name = word;
	return 0;
}

/* What all verbs know, and first what only nmi does. */
static const struct option options_table[] = {
	{"--vp", "N", "the processor", set_vp},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_plain_options = {options_table + 1, 1, NULL};
const struct option_set command_nmi_options = OPTION_SET(options_table);

static int parse(int argc, char **argv, bool with_vp, struct client_options *options,
		 struct error *err)
{
	int r = options_parse(options_table + !with_vp, ARRAY_LENGTH(options_table) - !with_vp,
			      argc, argv, set_name, options, err);

	if (!r && !options->name)
		return error_set(err, EINVAL, "the NAME of a running VM is missing");
	return r;
}

int client_verb(int argc, char **argv, const char *method,
		void (*print)(const json_t *reply, bool json))
{
	struct client_options options = {0};
	struct error err;
	json_t *reply;
	int r;

	if (parse(argc, argv, false, &options, &err))
		return command_fail(err.text, EXIT_USAGE, options.json);
	r = client_call(options.name, method, NULL, CLIENT_TIMEOUT_MS, &reply, &err);
	if (r)
		return command_fail(err.text, client_exit(r), options.json);
	print(reply, options.json);
	json_decref(reply);
	return 0;
}

void client_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
}

static void print_tree(const json_t *reply, bool json)
{
	const json_t *tree = json_object_get(reply, "tree");

	if (json)
		client_print_json(tree);
	else
		tree_print(tree, stdout);
}

static void print_done(const json_t *reply, bool json)
{
	if (json)
		client_print_json(reply);
}

int command_inspect(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.Inspect", print_tree);
}

int command_pause(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.Pause", print_done);
}

int command_resume(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.Resume", print_done);
}

static int nmi(int argc, char **argv, const char *method)
{
	struct client_options options = {0};
	json_t *parameters, *reply;
	struct error err;
	int r;

	if (parse(argc, argv, true, &options, &err))
		return command_fail(err.text, EXIT_USAGE, options.json);
	parameters = json_pack("{s:I}", "vp", (json_int_t)options.vp);
	r = client_call(options.name, method, parameters, CLIENT_TIMEOUT_MS, &reply, &err);
	json_decref(parameters);
	if (r)
		return command_fail(err.text, client_exit(r), options.json);
	print_done(reply, options.json);
	json_decref(reply);
	return 0;
}

int command_nmi(int argc, char **argv)
{
	return nmi(argc, argv, "io.bulkhead.VM.Nmi");
}

int command_vm_nmi(int argc, char **argv)
{
	return nmi(argc, argv, "io.bulkhead.VMMS.Nmi");
}

int command_vm_inspect(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VMMS.Inspect", print_tree);
}

int command_button(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.PowerButton", print_done);
}
