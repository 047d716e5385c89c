#include <string.h>

#include "mgmt/command.h"
#include "mgmt/generate/generate.h"

static const char logic[] =
	"_bulkhead_offer()\n"
	"{\n"
	"\tlocal kind=$1 vm=$2\n"
	"\n"
	"\tcase $kind in\n"
	"\t@file) _files ;;\n"
	"\t@vm) compadd -- ${(f)\"$($call complete vms 2>/dev/null)\"} ;;\n"
	"\t@disk) compadd -- ${(f)\"$($call complete disks $vm 2>/dev/null)\"} ;;\n"
	"\t@nic) compadd -- ${(f)\"$($call complete nics $vm 2>/dev/null)\"} ;;\n"
	"\t@verb)\n"
	"\t\tif [[ -z $vm ]]; then _bulkhead_first\n"
	"\t\telif _bulkhead_noun $vm; then _bulkhead_verbs $vm\n"
	"\t\tfi ;;\n"
	"\t@*) ;;\n"
	"\t*) compadd -- ${(s:|:)kind} ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"_bulkhead()\n"
	"{\n"
	"\tlocal -a options arguments operands call\n"
	"\tlocal -A values\n"
	"\tlocal first=2 key i\n"
	"\n"
	"\tcall=(${words[1]})\n"
	"\tif [[ ${words[2]} == --socket=* ]]; then\n"
	"\t\tif ((CURRENT == 2)); then compset -P '*='; _files; return; fi\n"
	"\t\tcall+=(${words[2]})\n"
	"\t\tfirst=3\n"
	"\telif [[ ${words[2]} == --socket ]]; then\n"
	"\t\tif ((CURRENT == 3)); then _files; return; fi\n"
	"\t\tcall+=(--socket ${words[3]})\n"
	"\t\tfirst=4\n"
	"\tfi\n"
	"\tif ((CURRENT <= first)); then _bulkhead_first; return; fi\n"
	"\tkey=${words[first]}\n"
	"\tif _bulkhead_noun $key; then\n"
	"\t\t((first++))\n"
	"\t\tif ((CURRENT == first)); then _bulkhead_verbs $key; return; fi\n"
	"\t\tkey+=\" ${words[first]}\"\n"
	"\tfi\n"
	"\t_bulkhead_table $key\n"
	"\tif [[ ${words[CURRENT]} == --*=* ]] && compset -P '*='; then\n"
	"\t\t_bulkhead_offer ${values[${IPREFIX%=}]:-@none} ''\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif ((${+values[${words[CURRENT - 1]}]})); then\n"
	"\t\t_bulkhead_offer ${values[${words[CURRENT - 1]}]} ''\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [[ ${words[CURRENT]} == -* ]]; then _describe option options; return; fi\n"
	"\tfor ((i = first + 1; i < CURRENT; i++)); do\n"
	"\t\tif [[ ${words[i]} != -* ]]; then\n"
	"\t\t\toperands+=(${words[i]})\n"
	"\t\telif ((${+values[${words[i]}]})); then\n"
	"\t\t\t((i++))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\t_bulkhead_offer ${arguments[$#operands + 1]:-@none} ${operands[1]}\n"
	"}\n"
	"\n"
	"_bulkhead \"$@\"\n";

/* Within single quotes, where a colon ends a word. */
static void print_text(FILE *stream, const char *text, bool colons)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stream);
		else if (*text == ':' && colons)
			fputs("\\:", stream);
		else
			fputc(*text, stream);
	}
}

static void print_described(FILE *stream, const char *word, const char *text)
{
	fprintf(stream, " '%s:", word);
	print_text(stream, text, true);
	fprintf(stream, "'");
}

static void print_value(FILE *stream, const struct option *option)
{
	fprintf(stream, " %s '", option->name);
	generate_value(option->value, stream);
	fprintf(stream, "'");
}

static void print_command(FILE *stream, const struct command *command)
{
	fprintf(stream, "\t'%s%s%s')\n\t\toptions=(", command->noun ? command->noun : "",
		command->noun ? " " : "", command->verb);
	for (const struct option_set *set = command->options; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++)
			print_described(stream, set->options[i].name, set->options[i].help);
	}
	fprintf(stream, ")\n\t\tvalues=(");
	for (const struct option_set *set = command->options; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++) {
			if (set->options[i].value)
				print_value(stream, &set->options[i]);
		}
	}
	fprintf(stream, ")\n\t\targuments=(");
	for (size_t i = 0; i < COMMAND_ARGUMENTS_MAX && command->arguments[i]; i++)
		fprintf(stream, " %s", generate_argument(command->arguments[i]));
	fprintf(stream, ") ;;\n");
}

static void print_verbs(FILE *stream, const struct command *commands, size_t count)
{
	fprintf(stream, "_bulkhead_verbs()\n{\n\tlocal -a verbs\n\n\tcase $1 in\n");
	for (size_t i = 0; i < count; i++) {
		if (!generate_first_of_noun(&commands[i]))
			continue;
		fprintf(stream, "\t%s) verbs=(", commands[i].noun);
		for (size_t j = 0; j < count; j++) {
			if (commands[j].noun && !strcmp(commands[j].noun, commands[i].noun))
				print_described(stream, commands[j].verb, commands[j].summary);
		}
		fprintf(stream, ") ;;\n");
	}
	fprintf(stream, "\tesac\n\t_describe verb verbs\n}\n\n_bulkhead_noun()\n{\n\t[[ $1 == (");
	for (size_t i = 0, found = 0; i < count; i++) {
		if (generate_first_of_noun(&commands[i]))
			fprintf(stream, "%s%s", found++ ? "|" : "", commands[i].noun);
	}
	fprintf(stream, ") ]]\n}\n\n");
}

static void print_first(FILE *stream, const struct command *commands, size_t count)
{
	fprintf(stream, "_bulkhead_first()\n{\n\tlocal -a verbs\n\n\tverbs=(");
	for (size_t i = 0; i < count; i++) {
		if (generate_first_of_noun(&commands[i]))
			fprintf(stream, " %s", commands[i].noun);
		else if (!commands[i].noun && !commands[i].hidden)
			print_described(stream, commands[i].verb, commands[i].summary);
	}
	fprintf(stream, ")\n\t_describe verb verbs\n}\n\n");
}

void generate_zsh(FILE *stream)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	fprintf(stream, "#compdef bulkhead\n# zsh completion for bulkhead(1), generated\n\n");
	print_first(stream, commands, count);
	print_verbs(stream, commands, count);
	fprintf(stream, "_bulkhead_table()\n{\n\tcase $1 in\n");
	for (size_t i = 0; i < count; i++)
		print_command(stream, &commands[i]);
	fprintf(stream, "\tesac\n}\n\n");
	fputs(logic, stream);
}
