#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "mgmt/options.h"

/* The verbs of the CLI: one table (commands.c), from which help, completion and manual pages come.
 */

#define COMMAND_ARGUMENTS_MAX 3u

/* What a word behind a verb is, for completion. */
enum argument {
	ARGUMENT_NONE,
	ARGUMENT_VM,
	ARGUMENT_FILE,
	ARGUMENT_DISK, /* of the VM before it */
	ARGUMENT_NIC,
	ARGUMENT_VERB, /* of the CLI */
	ARGUMENT_TEXT,
};

struct command {
	const char *noun; /* the group a verb belongs to, or NULL */
	const char *verb;
	const char *usage;   /* what follows the verb */
	const char *summary; /* one line */
	const struct option_set *options;
	enum argument arguments[COMMAND_ARGUMENTS_MAX]; /* up to the first ARGUMENT_NONE */
	/* argv[0] is the first word after the verb.  Returns the exit code. */
	int (*run)(int argc, char **argv);
	/* Prints what there is to say below the options; may be NULL. */
	void (*text)(FILE *stream);
	bool hidden; /* not for people */
};

/* Exit codes of all verbs but `run`, which has some of its own (worker/protocol.h); 0 is done. */
enum command_exit {
	EXIT_NOT_FOUND = 5,   /* no such VM, disk or NIC */
	EXIT_WRONG_STATE = 6, /* the VM's state does not allow it */
	EXIT_CONFLICT = 7,    /* taken already, or changed meanwhile */
	EXIT_DENIED = 8,      /* the caller may not */
	EXIT_TIMEOUT = 9,
	EXIT_NO_DAEMON = 10,
};

/* The table. */
const struct command *commands_list(size_t *count);

/* The command that argv begins with, and how many words named it; or NULL. */
const struct command *commands_find(int argc, char **argv, int *used);

/* Whether verbs begin with that word. */
bool commands_noun(const char *word);

/* An exit code, what --json calls it (NULL: no failure, or one of `run` alone), and its meaning. */
struct exit_meaning {
	int code;
	const char *reason;
	const char *meaning;
};

/* All there are but those of signals, in order. */
const struct exit_meaning *command_exits(size_t *count);

/* What --json calls an exit code. */
const char *command_reason(int code);

/*
 * Prints sentence as the CLI prints every failure, "bulkhead: ..." on standard error, and, with
 * json, {"exit", "reason", "message"} on standard output (docs/json.md).  Returns code.
 */
int command_fail(const char *sentence, int code, bool json);

/* Prints a command's usage with its options and text to standard output. */
void command_usage(const struct command *command);

/* Prints all verbs, or those of one noun. */
void command_overview(void);

/* Fails where nothing begins like argv[0..argc), which has at least one word; the exit code. */
int command_unknown(int argc, char **argv);

int command_help(int argc, char **argv);
int command_version(int argc, char **argv);

extern const struct option_set command_plain_options; /* only --json */
extern const struct option_set command_measure_options;
extern const struct option_set command_run_options;
extern const struct option_set command_doctor_options;
extern const struct option_set command_nmi_options;
extern const struct option_set command_disk_options;
extern const struct option_set command_disk_create_options;
extern const struct option_set command_disk_convert_options;
extern const struct option_set command_disk_attach_options;
extern const struct option_set command_disk_detach_options;
extern const struct option_set command_disk_set_options;
extern const struct option_set command_nic_set_options;
extern const struct option_set command_memory_set_options;
extern const struct option_set command_shutdown_options;
extern const struct option_set command_kvp_options;
extern const struct option_set command_kvp_set_options;
extern const struct option_set command_kvp_set_ip_options;
extern const struct option_set command_vss_freeze_options;
extern const struct option_set command_copy_file_options;
extern const struct option_set command_trace_start_options;
extern const struct option_set command_trace_show_options;
extern const struct option_set command_screenshot_options;
extern const struct option_set command_send_key_options;
extern const struct option_set command_create_options;
extern const struct option_set command_vm_set_options;
extern const struct option_set command_stop_options;
extern const struct option_set command_wait_options;
extern const struct option_set command_console_options;
extern const struct option_set command_events_options;

int command_run(int argc, char **argv);
void command_run_text(FILE *stream);
int command_doctor(int argc, char **argv);
void command_doctor_text(FILE *stream);
int command_inspect(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_save(int argc, char **argv);
int command_counters(int argc, char **argv);
int command_nmi(int argc, char **argv);
int command_button(int argc, char **argv);
int command_disk_create(int argc, char **argv);
int command_disk_info(int argc, char **argv);
int command_disk_check(int argc, char **argv);
int command_disk_convert(int argc, char **argv);
int command_disk_resize(int argc, char **argv);
int command_disk_compact(int argc, char **argv);
void command_disk_text(FILE *stream);
int command_disk_list(int argc, char **argv);
int command_nic_list(int argc, char **argv);
int command_disk_attach(int argc, char **argv);
int command_disk_detach(int argc, char **argv);
int command_nic_attach(int argc, char **argv);
int command_nic_detach(int argc, char **argv);
int command_controller_attach(int argc, char **argv);
int command_controller_detach(int argc, char **argv);
int command_disk_set(int argc, char **argv);
int command_nic_set(int argc, char **argv);
int command_disk_insert(int argc, char **argv);
int command_disk_eject(int argc, char **argv);
int command_memory_show(int argc, char **argv);
int command_memory_set(int argc, char **argv);
int command_service(int argc, char **argv);
int command_shutdown(int argc, char **argv);
int command_kvp_get(int argc, char **argv);
int command_kvp_set(int argc, char **argv);
int command_kvp_remove(int argc, char **argv);
int command_kvp_list(int argc, char **argv);
void command_kvp_text(FILE *stream);
int command_kvp_get_ip(int argc, char **argv);
int command_kvp_set_ip(int argc, char **argv);
int command_vss_freeze(int argc, char **argv);
int command_vss_thaw(int argc, char **argv);
int command_trace_start(int argc, char **argv);
int command_trace_stop(int argc, char **argv);
int command_trace_show(int argc, char **argv);
int command_copy_file(int argc, char **argv);
int command_screenshot(int argc, char **argv);
int command_send_key(int argc, char **argv);
void command_send_key_text(FILE *stream);

/* Of VMs that the daemon keeps. */
int command_vm_create(int argc, char **argv);
void command_vm_create_text(FILE *stream);
int command_vm_list(int argc, char **argv);
int command_vm_show(int argc, char **argv);
int command_vm_set(int argc, char **argv);
void command_vm_set_text(FILE *stream);
int command_vm_start(int argc, char **argv);
int command_vm_stop(int argc, char **argv);
int command_vm_restart(int argc, char **argv);
int command_vm_pause(int argc, char **argv);
int command_vm_resume(int argc, char **argv);
int command_vm_save(int argc, char **argv);
int command_vm_discard(int argc, char **argv);
int command_vm_remove(int argc, char **argv);
int command_vm_rename(int argc, char **argv);
int command_vm_wait(int argc, char **argv);
int command_vm_nmi(int argc, char **argv);
int command_vm_console(int argc, char **argv);
void command_vm_console_text(FILE *stream);
int command_vm_screenshot(int argc, char **argv);
int command_vm_inspect(int argc, char **argv);
int command_vm_counters(int argc, char **argv);
int command_vm_measure(int argc, char **argv);
int command_vm_type(int argc, char **argv);
int command_host_show(int argc, char **argv);
int command_events(int argc, char **argv);
int command_metrics(int argc, char **argv);
int command_complete(int argc, char **argv);
