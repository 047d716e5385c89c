#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "mgmt/command.h"
#include "mgmt/message.h"
#include "mgmt/run_options.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_life.h"

#define MESSAGE_SIZE 8448 /* a name, and the longest outcome */
#define TELL_MS	     5000 /* how long a reader of standard error may take */

void command_run_text(FILE *stream)
{
	fprintf(stream,
		"Ctrl-] on the console turns the VM off.  SIGINT and SIGTERM do so too.\n"
		"\nExit codes:\n"
		"  0        the guest powered off, was turned off with Ctrl-] or Kill, or was "
		"saved\n"
		"  1        Bulkhead failed; one sentence on standard error says why\n"
		"  2        wrong usage\n"
		"  3        the guest reset, with --on-reset exit\n"
		"  4        the guest reported a crash, then reset, powered off or fell silent\n"
		"           (for 10 s, or 60 s if it made way for a crash kernel)\n"
		"  128+N    turned off by signal N (130 for SIGINT, 143 for SIGTERM)\n"
		"  0-255    with --debug-exit: what the guest wrote\n"
		"\nWith --json the last line on standard output is one object, also when the run "
		"fails:\n"
		"  name, exit (the code), reason (power-off, reset, crash, debug-exit, stopped, "
		"saved,\n"
		"  failed or usage), message (the sentence on standard error), crash (the guest's "
		"reports) "
		"and\n"
		"  console_lost (bytes that could not be written)\n");
}

/*
 * The last word is worth a wait, but not one without end.  A name that the user did not choose
 * would only be noise.
 */
static void tell(const struct run_options *options, const char *sentence)
{
	char text[MESSAGE_SIZE];

	snprintf(text, sizeof(text), "bulkhead: %s%s%s\n", options->named ? options->name : "",
		 options->named ? ": " : "", sentence);
	message_write(STDERR_FILENO, text, strlen(text), TELL_MS);
}

/* "--console file:PATH" and the like. */
static const char *console_word(const struct run_options *options)
{
	static const char *const words[] = {
		[RUN_CONSOLE_STDIO] = "stdio", [RUN_CONSOLE_NONE] = "none",
		[RUN_CONSOLE_FILE] = "file:",  [RUN_CONSOLE_UNIX] = "unix:",
		[RUN_CONSOLE_RING] = "ring",
	};

	return words[options->console];
}

static const char *remedy(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return "; free some space";
	case EFBIG:
		return "; raise the limit (ulimit -f)";
	default:
		return "";
	}
}

/* A reader that has closed its end (EPIPE) wanted no more. */
static void tell_lost_output(const struct run_options *options,
			     const struct supervisor_outcome *outcome)
{
	char text[512];
	int errnum = outcome->console_error;

	if (!outcome->console_lost || !errnum || errnum == EPIPE)
		return;
	snprintf(text, sizeof(text),
		 "--console %s%.200s: %" PRIu64 " bytes could not be written: %s%s",
		 console_word(options), options->console_path ? options->console_path : "",
		 outcome->console_lost,
		 errnum == ETIMEDOUT ? "their reader did not take them" : strerror(errnum),
		 remedy(errnum));
	tell(options, text);
}

/* docs/json.md.  The object gets a line of its own, whatever the guest wrote before it. */
static void print_json(const char *name, const struct supervisor_outcome *outcome)
{
	json_t *object = json_pack("{s:s, s:i, s:s, s:o, s:s, s:I}", "name", name, "exit",
				   outcome->code, "reason", outcome->reason, "message",
				   text_json(outcome->message), "crash", outcome->crash,
				   "console_lost", (json_int_t)outcome->console_lost);

	if (outcome->line_open)
		putchar('\n');
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static int report(const struct run_options *options, const struct supervisor_outcome *outcome)
{
	if (outcome->message[0])
		tell(options, outcome->message);
	tell_lost_output(options, outcome);
	if (options->json)
		print_json(options->name, outcome);
	return outcome->code;
}

/* Too large for the smaller stacks. */
struct run {
	struct run_options options;
	struct supervisor_outcome outcome;
};

/* No VM ran. */
static int fail(struct run *run, int code, const char *reason, const struct error *err)
{
	struct supervisor_outcome *outcome = &run->outcome;

	command_fail(err->text, code, false);
	*outcome = (struct supervisor_outcome){.code = code};
	snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason);
	snprintf(outcome->message, sizeof(outcome->message), "%s", err->text);
	if (run->options.json)
		print_json(run->options.name, outcome);
	return code;
}

int command_run(int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	struct error err = {""};
	int code;

	if (!run) {
		error_memory(&err, "the options");
		return command_fail(err.text, EXIT_VMM_ERROR, false);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (run_options_parse(argc, argv, false, &run->options, &err))
		code = fail(run, EXIT_USAGE, PROTOCOL_END_USAGE, &err);
	else if (vm_life_run(&run->options, &VM_LIFE_ALONE, &run->outcome, &err))
		code = fail(run, EXIT_VMM_ERROR, PROTOCOL_END_FAILED, &err);
	else
		code = report(&run->options, &run->outcome);
	run_options_clear(&run->options);
	free(run);
	return code;
}
