#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "mgmt/options.h"
#include "mgmt/run_options.h"
#include "mgmt/worker_spawn.h"

/* bulkhead trace: start and stop a trace of a VM's bus, and show one. */

struct trace_command {
	const char *word; /* the VM's name, or the file */
	const char *path;
	const char *channel;
	bool json;
};

static int set_json(void *target, const char *value, struct error *err)
{
	((struct trace_command *)target)->json = true;
	return 0;
}

static int set_path(void *target, const char *value, struct error *err)
{
	((struct trace_command *)target)->path = value;
	return 0;
}

static int set_channel(void *target, const char *value, struct error *err)
{
	uint64_t relid;

	if (parse_u64(value, 0, UINT32_MAX, &relid))
		return error_set(err, EINVAL, "--channel %.40s: give the relid of a channel",
				 value);
	((struct trace_command *)target)->channel = value;
	return 0;
}

static int set_word(void *target, const char *word, struct error *err)
{
	struct trace_command *command = target;

	if (command->word)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"", word);
	command->word = word;
	return 0;
}

static const struct option start_options[] = {
	{"--vmbus", "FILE", "where to", set_path},
	{"--json", NULL, "print JSON", set_json},
};

static const struct option show_options[] = {
	{"--channel", "N", "only what is of that channel", set_channel},
	{"--json", NULL, "print one JSON object a line", set_json},
};

const struct option_set command_trace_start_options = OPTION_SET(start_options);
const struct option_set command_trace_show_options = OPTION_SET(show_options);

/* The supervisor may be in another directory, and the file need not be there yet. */
static json_t *absolute(const char *path, struct error *err)
{
	char directory[PATH_MAX], text[2 * PATH_MAX];

	if (path[0] == '/')
		return text_json(path);
	if (!getcwd(directory, sizeof(directory))) {
		error_set(err, errno, "%.200s: %s; give its whole path", path, strerror(errno));
		return NULL;
	}
	snprintf(text, sizeof(text), "%s/%s", directory, path);
	return text_json(text);
}

static int parse_start(int argc, char **argv, struct trace_command *command, json_t **parameters,
		       struct error *err)
{
	int r = options_parse(start_options, ARRAY_LENGTH(start_options), argc, argv, set_word,
			      command, err);
	json_t *path;

	if (!r && (!command->word || !run_name_valid(command->word)))
		r = error_set(err, EINVAL, "give the NAME of a running VM");
	if (!r && !command->path)
		r = error_set(err, EINVAL, "--vmbus FILE is missing");
	if (r)
		return r;
	path = absolute(command->path, err);
	if (!path)
		return -errno;
	*parameters = json_pack("{s:o}", "path", path);
	return 0;
}

int command_trace_start(int argc, char **argv)
{
	struct trace_command command = {.word = NULL};
	json_t *parameters = NULL, *reply;
	struct error err;
	int r;

	if (parse_start(argc, argv, &command, &parameters, &err))
		return command_fail(err.text, EXIT_USAGE, command.json);
	r = client_call(command.word, "io.bulkhead.VM.StartTrace", parameters, CLIENT_TIMEOUT_MS,
			&reply, &err);
	json_decref(parameters);
	if (r)
		return command_fail(err.text, client_exit(r), command.json);
	if (command.json)
		client_print_json(reply);
	json_decref(reply);
	return 0;
}

static void print_stopped(const json_t *reply, bool json)
{
	if (json)
		client_print_json(reply);
	else
		printf("%" JSON_INTEGER_FORMAT " packets, %" JSON_INTEGER_FORMAT
		       " of them dropped\n",
		       json_integer_value(json_object_get(reply, "packets")),
		       json_integer_value(json_object_get(reply, "dropped")));
}

int command_trace_stop(int argc, char **argv)
{
	return client_verb(argc, argv, "io.bulkhead.VM.StopTrace", print_stopped);
}

/* Becomes bulkhead-trace, with the file as its standard input: it parses that in a sandbox. */
static int become_decoder(const struct trace_command *command, struct error *err)
{
	char *arguments[6] = {"bulkhead-trace"};
	CLEANUP_CLOSE int fd = open(command->word, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char path[PATH_MAX];
	unsigned int count = 1;
	int r;

	if (fd < 0)
		return error_set(err, errno, "%.200s: %s; check the path", command->word,
				 strerror(errno));
	r = trace_tool_find(path, sizeof(path), err);
	if (r)
		return r;
	if (command->json)
		arguments[count++] = "--json";
	if (command->channel) {
		arguments[count++] = "--channel";
		arguments[count++] = (char *)command->channel;
	}
	arguments[count] = (char *)command->word;
	if (dup2(fd, STDIN_FILENO) >= 0)
		execv(path, arguments);
	return error_set(err, errno, "%.200s: %s; install it anew", path, strerror(errno));
}

int command_trace_show(int argc, char **argv)
{
	struct trace_command command = {.word = NULL};
	struct error err;
	int r = options_parse(show_options, ARRAY_LENGTH(show_options), argc, argv, set_word,
			      &command, &err);

	if (!r && !command.word)
		r = error_set(&err, EINVAL, "give the FILE of a trace");
	if (r)
		return command_fail(err.text, EXIT_USAGE, command.json);
	become_decoder(&command, &err);
	return command_fail(err.text, EXIT_VMM_ERROR, command.json);
}
