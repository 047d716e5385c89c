#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/client_vm_options.h"
#include "mgmt/command.h"
#include "worker/protocol.h"

/* bulkhead vm create and set. */

#define CALL_MS	       60000
#define VERSION	       1 /* of the settings */
#define DEFAULT_MEMORY (512ll << 20)

static int set_file(void *target, const char *value, struct error *err)
{
	((struct vm_options *)target)->file = value;
	return *value ? 0 : error_set(err, EINVAL, "--file needs the path of a file, or -");
}

static int set_no_nic(void *target, const char *value, struct error *err)
{
	((struct vm_options *)target)->no_nic = true;
	return 0;
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct vm_options *)target)->json = true;
	return 0;
}

static int set_revision(void *target, const char *value, struct error *err)
{
	struct vm_options *options = target;
	uint64_t revision;

	if (parse_u64(value, 1, INT32_MAX, &revision))
		return error_set(err, EINVAL, "--revision %.40s: give the number that show has",
				 value);
	json_decref(options->revision);
	options->revision = json_integer((json_int_t)revision);
	return 0;
}

static const struct option create_options[] = {
	{"--file", "FILE|-", "the settings as JSON, which the options then change", set_file},
	{"--no-nic", NULL, "without --nic, no NIC either", set_no_nic},
	{"--json", NULL, "print JSON", set_json},
};

static const struct option set_options[] = {
	{"--revision", "N", "fail if it is not at that revision any more", set_revision},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_create_options =
	OPTION_SET_AND(create_options, &vm_settings_options);
const struct option_set command_vm_set_options = OPTION_SET_AND(set_options, &vm_settings_options);

void command_vm_create_text(FILE *stream)
{
	static const char text[] =
		"The options are those of `bulkhead run`; relative paths are from the present\n"
		"directory on.  The files are opened as the user who gave them.  Without --nic "
		"the\n"
		"VM gets one NIC on the daemon's switch, or by passt where the daemon can make no\n"
		"switch.  A file of settings holds what `bulkhead vm show NAME --json` prints as\n"
		"\"settings\".\n";

	fputs(text, stream);
}

void command_vm_set_text(FILE *stream)
{
	static const char text[] =
		"KEY is what `bulkhead vm show` calls a setting, like start_action.delay; VALUE "
		"is\n"
		"JSON, a size like 2G, or a text, and nothing gives it its default back.  What a\n"
		"running VM gets only with its next start is said.  Disks and NICs are changed by\n"
		"the verbs of `bulkhead disk` and `bulkhead nic`.\n";

	fputs(text, stream);
}

static int set_name(void *target, const char *word, struct error *err)
{
	struct vm_options *options = target;

	if (options->name)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"; give one NAME", word);
	if (!run_name_valid(word))
		return error_set(err, EINVAL,
				 "\"%.80s\" cannot be the name of a VM: use 1 to %d letters, "
				 "digits, '.', '_' or '-', beginning with a letter or digit",
				 word, RUN_NAME_SIZE - 1);
	options->name = word;
	return 0;
}

/* The object that path, whose last name is left in *last, leads to; made on the way. */
static json_t *walk(json_t *object, char *path, const char **last)
{
	char *name = strsep(&path, ".");

	while (path && object) {
		json_t *next = json_object_get(object, name);

		if (!json_is_object(next)) {
			next = json_object();
			json_object_set_new(object, name, next);
		}
		object = next;
		name = strsep(&path, ".");
	}
	*last = name;
	return object;
}

/* What is no JSON is a text, so that notes need no quotes; but a size is as options have it. */
static json_t *read_value(const char *key, const char *text)
{
	uint64_t bytes;
	json_t *value;

	if (!*text)
		return json_null();
	if (client_is_size(key) && !parse_size(text, &bytes) && bytes <= INT64_MAX)
		return json_integer((json_int_t)bytes);
	value = json_loads(text, JSON_DECODE_ANY, NULL);
	return value ? value : text_json(text);
}

static int add_change(struct vm_options *options, const char *word, struct error *err)
{
	const char *equals = strchr(word, '=');
	char path[128], key[128];
	const char *last;
	json_t *object;

	if (!equals || equals == word || (size_t)(equals - word) >= sizeof(path))
		return error_set(err, EINVAL, "\"%.80s\" is not KEY=VALUE, like notes=text", word);
	snprintf(path, sizeof(path), "%.*s", (int)(equals - word), word);
	strcpy(key, path); /* the walk cuts the path */
	if (!options->change)
		options->change = json_object();
	object = walk(options->change, path, &last);
	if (!*last || json_object_set_new(object, last, read_value(key, equals + 1)))
		return error_set(err, EINVAL, "\"%.80s\" is not KEY=VALUE, like notes=text", word);
	return 0;
}

static int set_change(void *target, const char *word, struct error *err)
{
	struct vm_options *options = target;

	return options->name ? add_change(options, word, err) : set_name(options, word, err);
}

static int read_file(const char *path, json_t **settings, struct error *err)
{
	json_error_t fault;
	json_t *json = strcmp(path, "-") ? json_load_file(path, JSON_REJECT_DUPLICATES, &fault)
					 : json_loadf(stdin, JSON_REJECT_DUPLICATES, &fault);

	if (json_is_object(json)) {
		*settings = json;
		return 0;
	}
	if (json) {
		json_decref(json);
		return error_set(err, EINVAL,
				 "--file %.200s: it is no object; give settings as one", path);
	}
	if (fault.line < 0)
		return error_set(err, EINVAL, "--file %.200s: %.120s; check the path", path,
				 fault.text);
	return error_set(err, EINVAL, "--file %.200s: line %d: %.120s; give settings as JSON", path,
			 fault.line, fault.text);
}

/* What run has by default, and where no other place gave it. */
static void put_defaults(json_t *settings)
{
	json_t *defaults = json_pack("{s:i, s:{s:i}, s:{s:I}}", "version", VERSION, "processors",
				     "count", 1, "memory", "startup", (json_int_t)DEFAULT_MEMORY);

	json_object_update_missing_new(settings, defaults);
}

static int make_settings(const struct vm_options *options, json_t **out, struct error *err)
{
	json_t *settings = NULL, *given = NULL;
	int r = options->file ? read_file(options->file, &settings, err) : 0;

	if (r)
		return r;
	r = vm_options_settings(options, &given, err);
	if (r) {
		json_decref(settings);
		return r;
	}
	if (!settings)
		settings = json_object();
	json_object_update_recursive(settings, given);
	json_decref(given);
	if (options->name)
		json_object_set_new(settings, "name", text_json(options->name));
	put_defaults(settings);
	*out = settings;
	return 0;
}

/* Which kind of NIC this daemon can give is its to know. */
static int put_nic(json_t *settings, struct error *err)
{
	json_t *reply, *nic;
	int r;

	if (json_object_get(settings, "nics"))
		return 0;
	r = daemon_call("ShowHost", NULL, CALL_MS, &reply, err);
	if (r)
		return r;
	nic = json_pack("[{s:s, s:O*}]", "name", "nic0", "kind",
			json_object_get(reply, "default_nic"));
	json_object_set_new(settings, "nics", nic);
	json_decref(reply);
	return 0;
}

static int check_create(const struct vm_options *options, struct error *err)
{
	if (options->file)
		return 0;
	if (!options->name)
		return error_set(err, EINVAL, "give the NAME that the VM is to have");
	if (!options->run.kernel && !options->run.generation1)
		return error_set(err, EINVAL,
				 "--kernel is missing: give the kernel to boot, --kernel FILE, or "
				 "--generation 1 to boot from a disk");
	return 0;
}

static void print_created(const json_t *reply, bool json)
{
	const json_t *vm = json_object_get(reply, "vm");

	if (json)
		client_print_json(reply);
	else
		printf("%s\n", json_string_value(json_object_get(vm, "uuid")));
}

static int create(const struct vm_options *options)
{
	json_t *settings, *parameters, *reply;
	struct error err;
	int r = make_settings(options, &settings, &err);

	if (r)
		return command_fail(err.text, client_exit(r), options->json);
	parameters = json_pack("{s:o}", "settings", settings);
	r = options->no_nic ? 0 : put_nic(settings, &err);
	if (!r)
		r = daemon_call("CreateVM", parameters, CALL_MS, &reply, &err);
	json_decref(parameters);
	if (r)
		return command_fail(err.text, client_exit(r), options->json);
	print_created(reply, options->json);
	json_decref(reply);
	return 0;
}

int command_vm_create(int argc, char **argv)
{
	struct vm_options options;
	struct error err;
	int r = vm_options_init(&options, &err);

	if (!r)
		r = options_parse_set(&command_create_options, argc, argv, set_name, &options,
				      &err);
	if (!r)
		r = check_create(&options, &err);
	r = r ? command_fail(err.text, EXIT_USAGE, options.json) : create(&options);
	vm_options_clear(&options);
	return r;
}

static int check_set(const struct vm_options *options, struct error *err)
{
	if (!options->name)
		return error_set(err, EINVAL, "give the NAME of a VM and what to change");
	if (options->run.disk_count)
		return error_set(err, EINVAL,
				 "%s: a VM's disks are changed by `bulkhead disk attach`, detach, "
				 "insert and eject",
				 options->run.disks[0].flag);
	if (options->run.nic_count)
		return error_set(err, EINVAL,
				 "--nic: a VM's NICs are changed by `bulkhead nic attach` and "
				 "detach");
	return 0;
}

static void print_each(const json_t *list, const char *what)
{
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
		printf("%s: %s\n", json_string_value(item), what);
}

static void print_set(const json_t *reply, bool json)
{
	if (json) {
		client_print_json(reply);
		return;
	}
	print_each(json_object_get(reply, "applied"), "in force");
	print_each(json_object_get(reply, "waiting"), "waits for the VM's next start");
}

static int call_set(const struct vm_options *options)
{
	json_t *change, *parameters, *reply;
	struct error err;
	int r = vm_options_settings(options, &change, &err);

	if (!r && options->change)
		json_object_update_recursive(change, options->change);
	if (!r && json_object_size(change) == 0) {
		json_decref(change);
		r = error_set(&err, EINVAL, "give what to change: KEY=VALUE, or an option");
	}
	if (r)
		return command_fail(err.text, client_exit(r), options->json);
	parameters = json_pack("{s:o, s:O*}", "change", change, "revision", options->revision);
	r = client_call(options->name, DAEMON_INTERFACE ".SetVM", parameters, CALL_MS, &reply,
			&err);
	json_decref(parameters);
	if (r)
		return command_fail(err.text, client_exit(r), options->json);
	print_set(reply, options->json);
	json_decref(reply);
	return 0;
}

int command_vm_set(int argc, char **argv)
{
	struct vm_options options;
	struct error err;
	int r = vm_options_init(&options, &err);

	if (!r)
		r = options_parse_set(&command_vm_set_options, argc, argv, set_change, &options,
				      &err);
	if (!r)
		r = check_set(&options, &err);
	r = r ? command_fail(err.text, EXIT_USAGE, options.json) : call_set(&options);
	vm_options_clear(&options);
	return r;
}
