#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/columns.h"
#include "mgmt/command.h"
#include "mgmt/tree_print.h"
#include "worker/protocol.h"

/* bulkhead vm: the verbs that are one call of the daemon; others are in client_vm_*.c. */

static int set_flag(void *target, const char *value, struct error *err)
{
	*(bool *)target = true;
	return 0;
}

int client_daemon_verb(int argc, char **argv, const char *method,
		       void (*print)(const json_t *reply))
{
	static const struct option options[] = {{"--json", NULL, "print JSON", set_flag}};
	struct error err;
	bool json = false;
	json_t *reply;
	int r;

	if (options_parse(options, 1, argc, argv, NULL, &json, &err))
		return command_fail(err.text, EXIT_USAGE, json);
	r = daemon_call(method, NULL, CLIENT_TIMEOUT_MS, &reply, &err);
	if (r)
		return command_fail(err.text, client_exit(r), json);
	if (json)
		client_print_json(reply);
	else
		print(reply);
	json_decref(reply);
	return 0;
}

static void add_row(json_t *rows, const json_t *vm)
{
	char state[24], age[24], memory[24], processors[24];

	client_state(vm, state, sizeof(state));
	client_age(json_integer_value(json_object_get(vm, "since")), age, sizeof(age));
	client_size(json_integer_value(json_object_get(vm, "memory")), memory, sizeof(memory));
	snprintf(processors, sizeof(processors), "%" JSON_INTEGER_FORMAT,
		 json_integer_value(json_object_get(vm, "processors")));
	json_array_append_new(rows, json_pack("[s, s, s, s, s, s]", guest_text(vm, "name"), state,
					      age, processors, memory, guest_text(vm, "reason")));
}

/* Of a VM that is missed here: beside the list, which others may read. */
static void tell_unread(json_int_t count)
{
	if (count == 1)
		fputs("bulkhead: 1 file defines no VM, though it was meant to; `bulkhead host "
		      "show` tells why\n",
		      stderr);
	else if (count > 1)
		fprintf(stderr,
			"bulkhead: %" JSON_INTEGER_FORMAT " files define no VM, though they were "
			"meant to; `bulkhead host show` tells why\n",
			count);
}

static void print_list(const json_t *reply)
{
	static const char *const titles[] = {"NAME", "STATE", "FOR", "CPUS", "MEMORY", "REASON"};
	json_t *rows = json_array();
	size_t index;
	json_t *vm;

	json_array_foreach(json_object_get(reply, "vms"), index, vm) add_row(rows, vm);
	columns_print(titles, ARRAY_LENGTH(titles), rows);
	json_decref(rows);
	tell_unread(json_integer_value(json_object_get(reply, "unread")));
}

int command_vm_list(int argc, char **argv)
{
	return client_daemon_verb(argc, argv, "ListVMs", print_list);
}

int command_vm_start(int argc, char **argv)
{
	static const struct guest_verb verb = {VM_PLAIN_VERB("StartVM"),
					       .print = guest_print_nothing};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_pause(int argc, char **argv)
{
	static const struct guest_verb verb = {VM_PLAIN_VERB("PauseVM"),
					       .print = guest_print_nothing};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_resume(int argc, char **argv)
{
	static const struct guest_verb verb = {VM_PLAIN_VERB("ResumeVM"),
					       .print = guest_print_nothing};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_remove(int argc, char **argv)
{
	static const struct guest_verb verb = {VM_PLAIN_VERB("RemoveVM"),
					       .print = guest_print_nothing};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_rename(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("RenameVM", " and its NEW name", guest_plain_options, CLIENT_LONG_MS),
		.words = {"name"},
		.print = guest_print_nothing,
	};

	return guest_verb_run(argc, argv, &verb);
}
