#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/command.h"

/* bulkhead vm stop, restart and wait: the verbs that say what they wait for. */

static int set_turn_off(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "turn_off");
}

static int set_timeout(void *target, const char *value, struct error *err)
{
	struct guest_command *command = target;
	uint64_t seconds;

	if (parse_u64(value, 1, INT_MAX, &seconds))
		return error_set(err, EINVAL, "--timeout %.40s: give a number of seconds", value);
	json_object_set_new(command->parameters, "timeout", json_integer((json_int_t)seconds));
	return 0;
}

/* "off-after-crash" for people is off_after_crash in the interface. */
static int add_state(void *target, const char *value, struct error *err)
{
	static const char *const states[] = {"off",	 "starting",	    "running", "paused",
					     "stopping", "off-after-crash", "saved"};
	char name[32];

	for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
		if (strcmp(states[i], value) != 0)
			continue;
		snprintf(name, sizeof(name), "%s", value);
		for (char *at = name; *at; at++)
			*at = *at == '-' ? '_' : *at;
		return guest_append_text(target, "states", name, err);
	}
	return error_set(err, EINVAL,
			 "--state %.40s: give off, starting, running, paused, stopping, "
			 "off-after-crash or saved",
			 value);
}

static const struct option stop_options[] = {
	{"--turn-off", NULL, "turn it off at once, as pulling the plug would", set_turn_off},
	{"--timeout", "SECONDS", "how long the guest may take (default: 300)", set_timeout},
	{"--json", NULL, "print JSON", guest_set_json},
};

static const struct option wait_options[] = {
	{"--state", "off|starting|running|paused|stopping|off-after-crash|saved",
	 "wait for that (default: off); may be given again", add_state},
	{"--timeout", "SECONDS", "how long (default: for ever); then the exit code is 9",
	 set_timeout},
	{"--json", NULL, "print JSON", guest_set_json},
};

const struct option_set command_stop_options = OPTION_SET(stop_options);
const struct option_set command_wait_options = OPTION_SET(wait_options);

static void say_waiting(void *context, const json_t *reply)
{
	const struct guest_command *command = context;
	const char *what = guest_text(reply, "waiting_for");

	if (*what)
		fprintf(stderr, "%s: waiting for %s\n", command->name, what);
}

/* Standard output has only the end, so that programs need not sort it out. */
static int call_stop(struct guest_command *command)
{
	struct error err;
	json_t *last;
	int r = client_call_more(command->name, command->verb->method, command->parameters,
				 command->verb->timeout_ms, say_waiting, command, &last, &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json)
		client_print_json(last);
	json_decref(last);
	return 0;
}

int command_vm_stop(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("StopVM", "", stop_options, -1),
		.call = call_stop,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_restart(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("RestartVM", "", stop_options, -1),
		.call = call_stop,
	};

	return guest_verb_run(argc, argv, &verb);
}

static void print_waited(const json_t *reply)
{
	char state[24];

	client_state(json_object_get(reply, "vm"), state, sizeof(state));
	printf("%s\n", state);
}

int command_vm_wait(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("WaitVM", "", wait_options, -1),
		.print = print_waited,
	};

	return guest_verb_run(argc, argv, &verb);
}
