#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "mgmt/command.h"
#include "worker/protocol.h"

/* What the CLI says of itself, and of what failed. */

#define NO_VERB	    "no verb \"%.80s\"; `bulkhead help` lists them"
#define HALF_A_VERB "no such verb; `bulkhead help %.80s` lists those there are"

static const struct exit_meaning exits[] = {
	{EXIT_POWERED_OFF, NULL, "done; of a VM: the guest powered off"},
	{EXIT_VMM_ERROR, PROTOCOL_END_FAILED, "it failed; one sentence on standard error says why"},
	{EXIT_USAGE, PROTOCOL_END_USAGE, "wrong usage, or settings that cannot be"},
	{EXIT_GUEST_RESET, NULL, "of run alone: the guest reset, with --on-reset exit"},
	{EXIT_GUEST_CRASH, NULL, "of run alone: the guest crashed"},
	{EXIT_NOT_FOUND, "not-found", "there is no such VM, disk or NIC"},
	{EXIT_WRONG_STATE, "wrong-state", "the VM's state does not allow it"},
	{EXIT_CONFLICT, "conflict", "the name is taken, or something changed meanwhile"},
	{EXIT_DENIED, "denied", "the user may not do that"},
	{EXIT_TIMEOUT, "timeout", "it took longer than it was allowed, or there was no answer"},
	{EXIT_NO_DAEMON, "no-daemon", "no daemon runs"},
};

const struct exit_meaning *command_exits(size_t *count)
{
	*count = ARRAY_LENGTH(exits);
	return exits;
}

const char *command_reason(int code)
{
	for (size_t i = 0; i < ARRAY_LENGTH(exits); i++) {
		if (exits[i].code == code && exits[i].reason)
			return exits[i].reason;
	}
	return PROTOCOL_END_FAILED;
}

int command_fail(const char *sentence, int code, bool json)
{
	if (json) {
		json_t *object = json_pack("{s:i, s:s, s:o}", "exit", code, "reason",
					   command_reason(code), "message", text_json(sentence));

		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	}
	fprintf(stderr, "bulkhead: %s\n", sentence);
	return code;
}

/* word is the wrong one of argv[0..argc). */
static int fail_usage(int argc, char **argv, const char *format, const char *word)
{
	char sentence[256];

	snprintf(sentence, sizeof(sentence), format, word);
	return command_fail(sentence, EXIT_USAGE, options_name(argc, argv, "--json"));
}

int command_unknown(int argc, char **argv)
{
	return fail_usage(argc, argv, commands_noun(argv[0]) ? HALF_A_VERB : NO_VERB, argv[0]);
}

void command_usage(const struct command *command)
{
	printf("usage: bulkhead %s%s%s %s\n%s\n", command->noun ? command->noun : "",
	       command->noun ? " " : "", command->verb, command->usage, command->summary);
	if (command->options)
		printf("\nOptions:\n");
	options_help_set(command->options);
	if (command->text) {
		printf("\n");
		command->text(stdout);
	}
}

/* noun: list only its verbs; NULL: all there are. */
static void print_verbs(const char *noun)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	for (size_t i = 0; i < count; i++) {
		const struct command *command = &commands[i];
		char words[128];

		if (command->hidden ||
		    (noun && (!command->noun || strcmp(command->noun, noun) != 0)))
			continue;
		snprintf(words, sizeof(words), "%s%s%s %s", command->noun ? command->noun : "",
			 command->noun ? " " : "", command->verb, command->usage);
		if (strlen(words) > 32)
			printf("  %s\n%36s%s\n", words, "", command->summary);
		else
			printf("  %-32s  %s\n", words, command->summary);
	}
}

void command_overview(void)
{
	printf("usage: bulkhead [--socket PATH] VERB [ARGUMENT]...\n\n");
	print_verbs(NULL);
	printf("\n--socket PATH (or $BULKHEAD_SOCKET) says where the daemon, bulkhead-vmms, "
	       "listens.\n\nExit codes:\n");
	for (size_t i = 0; i < ARRAY_LENGTH(exits); i++)
		printf("  %3d  %s\n", exits[i].code, exits[i].meaning);
	printf("128+N  ended by signal N\n");
}

int command_help(int argc, char **argv)
{
	const struct command *command;
	int used;

	if (argc < 1) {
		command_overview();
		return 0;
	}
	if (argc == 1 && commands_noun(argv[0])) {
		print_verbs(argv[0]);
		return 0;
	}
	command = commands_find(argc, argv, &used);
	if (!command)
		return command_unknown(argc, argv);
	if (argc > used)
		return fail_usage(argc, argv, "unexpected word \"%.80s\"; give one VERB",
				  argv[used]);
	command_usage(command);
	return 0;
}

static int set_flag(void *target, const char *value, struct error *err)
{
	*(bool *)target = true;
	return 0;
}

int command_version(int argc, char **argv)
{
	static const struct option options[] = {{"--json", NULL, "print JSON", set_flag}};
	struct error err;
	bool json = false;

	if (options_parse(options, ARRAY_LENGTH(options), argc, argv, NULL, &json, &err))
		return command_fail(err.text, EXIT_USAGE, json);
	if (json)
		printf("{\"version\":\"%s\"}\n", BULKHEAD_VERSION);
	else
		printf("bulkhead %s\n", BULKHEAD_VERSION);
	return 0;
}
