#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "mgmt/client.h"
#include "mgmt/client_vm.h"
#include "mgmt/command.h"

/* bulkhead vm measure: what a VM has used. */

static int set_reset(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "reset");
}

static const struct option measure_options[] = {
	{"--reset", NULL, "begin to count anew, and print nothing", set_reset},
	{"--json", NULL, "print JSON", guest_set_json},
};

const struct option_set command_measure_options = OPTION_SET(measure_options);

/* In the order in which they are printed. */
static const struct {
	const char *title;
	const char *key;
} rows[] = {
	{"seconds", "seconds"},
	{"CPU seconds", "cpu_seconds"},
	{"CPU percent", "cpu_percent"},
	{"memory, average", "memory_average"},
	{"memory, minimum", "memory_minimum"},
	{"memory, maximum", "memory_maximum"},
	{"disk reads", "disk_reads"},
	{"disk writes", "disk_writes"},
	{"disk bytes read", "disk_bytes_read"},
	{"disk bytes written", "disk_bytes_written"},
	{"disk IOPS", "disk_iops"},
	{"frames sent", "net_frames_sent"},
	{"frames received", "net_frames_received"},
	{"bytes sent", "net_bytes_sent"},
	{"bytes received", "net_bytes_received"},
};

static void print_value(const json_t *usage, const char *key)
{
	const json_t *value = json_object_get(usage, key);

	if (json_is_integer(value))
		printf(" %18" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (value)
		printf(" %18.2f", json_number_value(value));
}

static void print_measure(const json_t *reply)
{
	const json_t *measure = json_object_get(reply, "measure");
	const json_t *start = json_object_get(measure, "since_start");
	const json_t *reset = json_object_get(measure, "since_reset");

	printf("%-18s %18s%s\n", "", "SINCE START", reset ? "        SINCE RESET" : "");
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		printf("%-18s", rows[i].title);
		print_value(start, rows[i].key);
		print_value(reset, rows[i].key);
		putchar('\n');
	}
}

/* A reset is a method of its own. */
static int call_measure(struct guest_command *command)
{
	static const struct guest_verb reset = {VM_PLAIN_VERB("ResetMeasureVM"),
						.print = guest_print_nothing};

	if (!json_object_del(command->parameters, "reset"))
		command->verb = &reset;
	return guest_verb_call(command);
}

int command_vm_measure(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("MeasureVM", "", measure_options, CLIENT_LONG_MS),
		.print = print_measure,
		.call = call_measure,
	};

	return guest_verb_run(argc, argv, &verb);
}
