#include <stdio.h>
#include <unistd.h>

#include "mgmt/command.h"
#include "mgmt/disk_job.h"
#include "mgmt/disk_options.h"
#include "mgmt/progress.h"
#include "worker/protocol.h"

/* bulkhead disk create, info, check, convert, resize and compact: images that no VM uses. */

static void show_progress(void *context, uint64_t done, uint64_t total)
{
	progress_update(context, done, total);
}

/* A line for each member that has one value. */
static void print_members(const json_t *reply)
{
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)reply, key, value)
	{
		if (json_is_integer(value))
			printf("%-16s %lld\n", key, (long long)json_integer_value(value));
		else if (json_is_string(value))
			printf("%-16s %s\n", key, json_string_value(value));
		else if (json_is_boolean(value))
			printf("%-16s %s\n", key, json_is_true(value) ? "yes" : "no");
	}
}

static void print_list(const json_t *reply, const char *key, const char *word)
{
	const json_t *item;
	size_t index;

	json_array_foreach(json_object_get(reply, key), index, item)
		printf("%-16s %s\n", word, json_string_value(item));
}

static void print_reply(const struct disk_command *command, const json_t *reply)
{
	if (command->json) {
		json_dumpf(reply, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	print_members(reply);
	print_list(reply, "parents", "parent");
	print_list(reply, "damages", "damage");
	print_list(reply, "notes", "note");
}

/* With a bar where somebody looks. */
static int run_job(const struct disk_job *job, json_t **reply, struct error *err)
{
	struct progress progress;
	struct disk_tool tool = {.progress = NULL};
	int r = disk_tool_start(&tool, err);

	if (r)
		return r;
	tool.progress = show_progress;
	tool.context = &progress;
	progress_begin(&progress, job->target);
	r = disk_job_run(job, &tool, reply, err);
	progress_end(&progress);
	disk_tool_stop(&tool);
	return r;
}

static int fill_job(const struct disk_command *command, enum disk_verb verb, struct disk_job *job,
		    struct error *err)
{
	*job = (struct disk_job){
		.verb = verb,
		.path = command->words[0],
		.target = verb == DISK_CONVERT ? command->words[1] : NULL,
		.parent = command->parent,
		.format = command->format,
		.source_format = command->source_format,
		.bytes = command->size,
		.block_bytes = command->block_bytes,
		.logical = command->logical,
		.physical = command->physical,
		.fixed = command->fixed,
		.progress = verb == DISK_CONVERT && isatty(STDERR_FILENO),
		.mode = 0666,
	};
	return verb == DISK_RESIZE ? disk_options_bytes(&job->bytes, "size", command->words[1], err)
				   : 0;
}

static int run_verb(int argc, char **argv, enum disk_verb verb, const struct option_set *options,
		    unsigned int words, const char *usage)
{
	struct disk_command command = {.word_count = 0};
	struct disk_job job;
	json_t *reply = NULL;
	struct error err;
	int code = EXIT_POWERED_OFF;
	int r = disk_options_parse(argc, argv, options, words, usage, &command, &err);

	if (r)
		return command_fail(err.text, EXIT_USAGE, command.json);
	r = fill_job(&command, verb, &job, &err);
	if (!r)
		r = run_job(&job, &reply, &err);
	if (r)
		return command_fail(err.text, EXIT_VMM_ERROR, command.json);
	print_reply(&command, reply);
	if (json_array_size(json_object_get(reply, "damages")) > 0)
		code = EXIT_VMM_ERROR;
	json_decref(reply);
	return code;
}

int command_disk_create(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_CREATE, &command_disk_create_options, 1,
			"the PATH of the new image");
}

int command_disk_info(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_INFO, &command_disk_options, 1, "the PATH of an image");
}

int command_disk_check(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_CHECK, &command_disk_options, 1, "the PATH of an image");
}

int command_disk_convert(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_CONVERT, &command_disk_convert_options, 2,
			"the PATHs of an image and of the new one");
}

int command_disk_resize(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_RESIZE, &command_disk_options, 2,
			"the PATH of an image and the new SIZE");
}

int command_disk_compact(int argc, char **argv)
{
	return run_verb(argc, argv, DISK_COMPACT, &command_disk_options, 1, "the PATH of an image");
}
