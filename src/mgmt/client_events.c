#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json_link.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/columns.h"
#include "mgmt/command.h"
#include "worker/protocol.h"

/* bulkhead events, metrics and host show: what the daemon tells of itself and its VMs. */

#define HISTORY_DEFAULT 100 /* without --follow */
#define HISTORY_MAX	1024

struct events_command {
	json_t *parameters;
	bool follow;
	bool json;
};

static int set_follow(void *target, const char *value, struct error *err)
{
	((struct events_command *)target)->follow = true;
	return 0;
}

static int set_history(void *target, const char *value, struct error *err)
{
	struct events_command *command = target;
	uint64_t count;

	if (parse_u64(value, 0, HISTORY_MAX, &count))
		return error_set(err, EINVAL, "--history %.40s: give a number, 0 to %d", value,
				 HISTORY_MAX);
	json_object_set_new(command->parameters, "history", json_integer((json_int_t)count));
	return 0;
}

static int set_vm(void *target, const char *value, struct error *err)
{
	struct events_command *command = target;

	json_object_set_new(command->parameters, "vm", text_json(value));
	return 0;
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct events_command *)target)->json = true;
	return 0;
}

static const struct option events_options[] = {
	{"--follow", NULL, "go on as they happen, until the daemon ends", set_follow},
	{"--history", "N", "first so many of the past (default: 100, with --follow none)",
	 set_history},
	{"--vm", "VM", "only those of one VM", set_vm},
	{"--json", NULL, "as without it", set_json},
};

const struct option_set command_events_options = OPTION_SET(events_options);

/* A line each, out at once: whoever reads may wait for just that one. */
static void print_event(void *context, const json_t *event)
{
	json_dumpf(event, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

/* Prints what has come: 1 after the last, 0 to go on. */
static int take_events(struct json_link *link, struct error *err)
{
	json_t *message;
	int r;

	while ((r = json_link_receive(link, &message)) == 1) {
		bool last = !json_is_true(json_object_get(message, "continues"));
		bool failed = json_object_get(message, "error");

		r = failed ? daemon_error(message, err) : last;
		if (!failed)
			print_event(NULL, json_object_get(message, "parameters"));
		json_decref(message);
		if (r)
			return r;
	}
	if (r < 0)
		return error_set(err, EREMOTEIO,
				 "the daemon ended, or cut this client off; VMs run on, and their "
				 "next events come from the next daemon");
	return 0;
}

/* Until the daemon ends, or nobody reads any more, which no event need show first. */
static int follow(struct json_link *link, struct error *err)
{
	struct pollfd fds[] = {{.fd = json_link_fd(link), .events = POLLIN}, {.fd = STDOUT_FILENO}};
	int r = take_events(link, err);

	while (!r && !(fds[1].revents & (POLLERR | POLLHUP))) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return error_host(err, errno, "cannot wait for events");
		r = take_events(link, err);
	}
	return r < 0 ? r : 0;
}

static int watch_on(struct events_command *command)
{
	struct json_link *link;
	struct error err;
	int r = daemon_connect(&link, &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	r = daemon_send(link, "WatchEvents", json_incref(command->parameters), true);
	if (!r)
		r = json_link_drain(link, CLIENT_TIMEOUT_MS);
	r = r ? error_set(&err, EREMOTEIO, "the daemon ended, or has too many clients; try again")
	      : follow(link, &err);
	json_link_free(link);
	return r ? command_fail(err.text, client_exit(r), command->json) : 0;
}

static int watch(struct events_command *command)
{
	struct error err;
	json_t *last;
	int r;

	if (command->follow)
		return watch_on(command);
	json_object_set_new(command->parameters, "follow", json_false());
	if (!json_object_get(command->parameters, "history"))
		json_object_set_new(command->parameters, "history", json_integer(HISTORY_DEFAULT));
	r = daemon_call_more("WatchEvents", command->parameters, CLIENT_TIMEOUT_MS, print_event,
			     NULL, &last, &err);
	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	json_decref(last);
	return 0;
}

int command_events(int argc, char **argv)
{
	struct events_command command = {.parameters = json_object()};
	struct error err;
	int code = options_parse_set(&command_events_options, argc, argv, NULL, &command, &err);

	code = code ? command_fail(err.text, EXIT_USAGE, command.json) : watch(&command);
	json_decref(command.parameters);
	return code;
}

static void print_metrics(const json_t *reply)
{
	fputs(guest_text(reply, "text"), stdout);
}

int command_metrics(int argc, char **argv)
{
	return client_daemon_verb(argc, argv, "GetMetrics", print_metrics);
}

static void print_member(const char *name, const json_t *value)
{
	if (json_is_string(value)) {
		printf("%-11s ", name);
		columns_text(json_string_value(value), 0);
		putchar('\n');
	} else if (json_is_integer(value)) {
		printf("%-11s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
	} else if (json_is_boolean(value)) {
		printf("%-11s %s\n", name, json_is_true(value) ? "yes" : "no");
	}
}

static void print_host(const json_t *reply)
{
	char memory[32];
	const char *name;
	json_t *value, *check;
	size_t index;

	json_object_foreach((json_t *)reply, name, value)
	{
		if (!strcmp(name, "memory")) {
			snprintf(memory, sizeof(memory), "%" JSON_INTEGER_FORMAT " MiB",
				 json_integer_value(value) >> 20);
			printf("%-11s %s\n", name, memory);
		} else if (!strcmp(name, "uptime")) {
			printf("%-11s %" JSON_INTEGER_FORMAT " s\n", name,
			       json_integer_value(value));
		} else if (!json_is_array(value)) {
			print_member(name, value);
		}
		json_array_foreach(value, index, check) print_member("check", check);
	}
}

int command_host_show(int argc, char **argv)
{
	return client_daemon_verb(argc, argv, "ShowHost", print_host);
}
