#include <string.h>

#include "mgmt/command.h"
#include "mgmt/generate/generate.h"

static const char logic[] =
	"# The words after the program and its own option.\n"
	"function __bulkhead_line\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -e words[1]\n"
	"\tif test \"$words[1]\" = --socket\n"
	"\t\tset -e words[1..2]\n"
	"\telse if string match -q -- '--socket=*' \"$words[1]\"\n"
	"\t\tset -e words[1]\n"
	"\tend\n"
	"\tfor word in $words\n"
	"\t\techo $word\n"
	"\tend\n"
	"end\n"
	"\n"
	"# Those of them that are no options, nor values of options.\n"
	"function __bulkhead_words\n"
	"\tset -l words (__bulkhead_line)\n"
	"\tset -l valued (__bulkhead_valued $words)\n"
	"\tset -l skip 0\n"
	"\tfor word in $words\n"
	"\t\tif test $skip = 1\n"
	"\t\t\tset skip 0\n"
	"\t\telse if contains -- $word $valued\n"
	"\t\t\tset skip 1\n"
	"\t\telse if not string match -q -- '-*' $word\n"
	"\t\t\techo $word\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"\n"
	"# Whether these begin with those.\n"
	"function __bulkhead_is\n"
	"\tset -l words (__bulkhead_words)\n"
	"\tset -l count (count $argv)\n"
	"\ttest $count -eq 0; and return 0\n"
	"\ttest (count $words) -ge $count; and test \"$words[1..$count]\" = \"$argv\"\n"
	"end\n"
	"\n"
	"# Whether they are those, and so many more.\n"
	"function __bulkhead_at\n"
	"\tset -l words (__bulkhead_words)\n"
	"\tset -l more $argv[1]\n"
	"\tset -e argv[1]\n"
	"\ttest (count $words) -eq (math (count $argv) + $more); and __bulkhead_is $argv\n"
	"end\n"
	"\n"
	"# What the daemon of this command line has.\n"
	"function __bulkhead_ask\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l call bulkhead\n"
	"\tif test \"$words[2]\" = --socket\n"
	"\t\tset call $call $words[2..3]\n"
	"\telse if string match -q -- '--socket=*' \"$words[2]\"\n"
	"\t\tset call $call $words[2]\n"
	"\tend\n"
	"\t$call complete $argv 2>/dev/null\n"
	"end\n"
	"\n"
	"function __bulkhead_vm\n"
	"\tset -l words (__bulkhead_words)\n"
	"\techo $words[3]\n"
	"end\n"
	"\n"
	"complete -c bulkhead -f\n"
	"complete -c bulkhead -n '__bulkhead_at 0' -l socket -r -F "
	"-d 'where the daemon listens'\n";

static void print_text(FILE *stream, const char *text)
{
	fputc('\'', stream);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', stream);
		fputc(*text, stream);
	}
	fputc('\'', stream);
}

static void print_words(FILE *stream, const struct command *command)
{
	fprintf(stream, "%s%s%s", command->noun ? command->noun : "", command->noun ? " " : "",
		command->verb);
}

static void print_choice(FILE *stream, const char *word, size_t length)
{
	fprintf(stream, "%.*s ", (int)length, word);
}

static void print_option(FILE *stream, const struct command *command, const struct option *option)
{
	enum generate_kind kind =
		option->value ? generate_kind_of_value(option->value) : GENERATE_NOTHING;

	fprintf(stream, "complete -c bulkhead -n '__bulkhead_is ");
	print_words(stream, command);
	fprintf(stream, "' -l %s", option->name + 2);
	if (kind == GENERATE_FILE) {
		fprintf(stream, " -r -F");
	} else if (kind == GENERATE_VM) {
		fprintf(stream, " -x -a '(__bulkhead_ask vms)'");
	} else if (option->value) {
		fprintf(stream, " -x -a '");
		if (kind == GENERATE_CHOICES)
			generate_choices(option->value, print_choice, stream);
		fprintf(stream, "'");
	}
	fprintf(stream, " -d ");
	print_text(stream, option->help);
	fprintf(stream, "\n");
}

static const char *argument_words(enum argument argument)
{
	switch (argument) {
	case ARGUMENT_VM:
		return " -a '(__bulkhead_ask vms)'";
	case ARGUMENT_DISK:
		return " -a '(__bulkhead_ask disks (__bulkhead_vm))'";
	case ARGUMENT_NIC:
		return " -a '(__bulkhead_ask nics (__bulkhead_vm))'";
	case ARGUMENT_FILE:
		return " -F";
	case ARGUMENT_VERB:
	case ARGUMENT_NONE:
	case ARGUMENT_TEXT:
		break;
	}
	return NULL;
}

static void print_command(FILE *stream, const struct command *command)
{
	for (size_t i = 0; i < COMMAND_ARGUMENTS_MAX && command->arguments[i]; i++) {
		const char *words = argument_words(command->arguments[i]);

		if (!words)
			continue;
		fprintf(stream, "complete -c bulkhead -n '__bulkhead_at %zu ", i);
		print_words(stream, command);
		fprintf(stream, "'%s\n", words);
	}
	for (const struct option_set *set = command->options; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++)
			print_option(stream, command, &set->options[i]);
	}
}

static void print_verb(FILE *stream, const struct command *command)
{
	if (generate_first_of_noun(command))
		fprintf(stream, "complete -c bulkhead -n '__bulkhead_at 0' -a %s\n", command->noun);
	fprintf(stream, "complete -c bulkhead -n '__bulkhead_at 0%s%s' -a %s -d ",
		command->noun ? " " : "", command->noun ? command->noun : "", command->verb);
	print_text(stream, command->summary);
	fprintf(stream, "\n");
}

/* The options of the verb that words begin with which have a value. */
static void print_valued(FILE *stream, const struct command *commands, size_t count)
{
	fprintf(stream, "function __bulkhead_valued\n\tswitch \"$argv[1..2] \"\n");
	for (size_t i = 0; i < count; i++) {
		fprintf(stream, "\t\tcase '");
		print_words(stream, &commands[i]);
		fprintf(stream, " *'\n\t\t\tprintf '%%s\\n'");
		for (const struct option_set *set = commands[i].options; set; set = set->more) {
			for (size_t j = 0; j < set->count; j++)
				if (set->options[j].value)
					fprintf(stream, " %s", set->options[j].name);
		}
		fprintf(stream, "\n");
	}
	fprintf(stream, "\tend\nend\n\n");
}

/* What help can be asked about. */
static void print_help(FILE *stream, const struct command *commands, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *noun = commands[i].noun;

		if (commands[i].hidden)
			continue;
		if (generate_first_of_noun(&commands[i]))
			fprintf(stream, "complete -c bulkhead -n '__bulkhead_at 0 help' -a %s\n",
				noun);
		fprintf(stream, "complete -c bulkhead -n '__bulkhead_at 0 help%s%s' -a %s\n",
			noun ? " " : "", noun ? noun : "", commands[i].verb);
	}
}

void generate_fish(FILE *stream)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	fprintf(stream, "# fish completion for bulkhead(1), generated\n\n");
	print_valued(stream, commands, count);
	fputs(logic, stream);
	print_help(stream, commands, count);
	for (size_t i = 0; i < count; i++) {
		if (commands[i].hidden)
			continue;
		print_verb(stream, &commands[i]);
		print_command(stream, &commands[i]);
	}
}
