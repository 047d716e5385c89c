#include <string.h>

#include "mgmt/command.h"
#include "mgmt/generate/generate.h"

/* What the script does with what is generated: the words of a command line are gone through once.
 */
static const char logic[] =
	"_bulkhead_offer()\n"
	"{\n"
	"\tlocal kind=$1 current=$2 vm=$3 names=\n"
	"\n"
	"\tcase $kind in\n"
	"\t@file)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	"\t\treturn ;;\n"
	"\t@vm) names=$(\"${_bulkhead_call[@]}\" complete vms 2>/dev/null) ;;\n"
	"\t@disk) names=$(\"${_bulkhead_call[@]}\" complete disks \"$vm\" 2>/dev/null) ;;\n"
	"\t@nic) names=$(\"${_bulkhead_call[@]}\" complete nics \"$vm\" 2>/dev/null) ;;\n"
	"\t@verb)\n"
	"\t\tnames=$_bulkhead_first\n"
	"\t\t[[ $vm ]] && _bulkhead_verbs \"$vm\" && names=$verbs ;;\n"
	"\t@*) ;;\n"
	"\t*) names=${kind//|/ } ;;\n"
	"\tesac\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$names\" -- \"$current\")\n"
	"}\n"
	"\n"
	"_bulkhead_value()\n"
	"{\n"
	"\tlocal entry\n"
	"\n"
	"\tfor entry in $values; do\n"
	"\t\t[[ $entry == \"$1=\"* ]] && kind=${entry#*=} && return 0\n"
	"\tdone\n"
	"\treturn 1\n"
	"}\n"
	"\n"
	"_bulkhead()\n"
	"{\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tlocal options= values= arguments= verbs= kind= first=1 key i socket\n"
	"\tlocal -a operands=() kinds=() _bulkhead_call=(\"${COMP_WORDS[0]}\")\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\t# A \"=\" is a word of its own.\n"
	"\tif [[ $current == = ]]; then\n"
	"\t\tcurrent=\n"
	"\telif [[ $previous == = ]]; then\n"
	"\t\tprevious=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"\tfi\n"
	"\tif [[ ${COMP_WORDS[1]} == --socket ]]; then\n"
	"\t\tsocket=2\n"
	"\t\t[[ ${COMP_WORDS[2]} == = ]] && socket=3\n"
	"\t\t((COMP_CWORD <= socket)) && _bulkhead_offer @file \"$current\" '' && return\n"
	"\t\t_bulkhead_call+=(--socket \"${COMP_WORDS[socket]}\")\n"
	"\t\tfirst=$((socket + 1))\n"
	"\tfi\n"
	"\tif ((COMP_CWORD <= first)); then\n"
	"\t\t_bulkhead_offer \"$_bulkhead_first --socket --help --version\" \"$current\" ''\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tkey=${COMP_WORDS[first]}\n"
	"\t_bulkhead_verbs \"$key\"\n"
	"\tif [[ $verbs ]]; then\n"
	"\t\tfirst=$((first + 1))\n"
	"\t\tif ((COMP_CWORD == first)); then\n"
	"\t\t\t_bulkhead_offer \"$verbs\" \"$current\" ''\n"
	"\t\t\treturn\n"
	"\t\tfi\n"
	"\t\tkey+=\" ${COMP_WORDS[first]}\"\n"
	"\tfi\n"
	"\t_bulkhead_table \"$key\"\n"
	"\tif _bulkhead_value \"$previous\"; then\n"
	"\t\t_bulkhead_offer \"$kind\" \"$current\" ''\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [[ $current == -* ]]; then\n"
	"\t\t_bulkhead_offer \"$options --help\" \"$current\" ''\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tfor ((i = first + 1; i < COMP_CWORD; i++)); do\n"
	"\t\tif [[ ${COMP_WORDS[i]} != -* ]]; then\n"
	"\t\t\toperands+=(\"${COMP_WORDS[i]}\")\n"
	"\t\telif _bulkhead_value \"${COMP_WORDS[i]}\"; then\n"
	"\t\t\t((i++))\n"
	"\t\t\t[[ ${COMP_WORDS[i]} == = ]] && ((i++))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tread -ra kinds <<< \"$arguments\"\n"
	"\t_bulkhead_offer \"${kinds[${#operands[@]}]:-@none}\" \"$current\" \"${operands[0]-}\"\n"
	"}\n"
	"\n"
	"complete -F _bulkhead bulkhead\n";

static void print_value(FILE *stream, const struct option *option)
{
	fprintf(stream, " %s=", option->name);
	generate_value(option->value, stream);
}

static void print_options(FILE *stream, const struct option_set *set)
{
	for (; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++)
			fprintf(stream, " %s", set->options[i].name);
	}
}

static void print_values(FILE *stream, const struct option_set *set)
{
	for (; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++) {
			if (set->options[i].value)
				print_value(stream, &set->options[i]);
		}
	}
}

static void print_arguments(FILE *stream, const struct command *command)
{
	for (size_t i = 0; i < COMMAND_ARGUMENTS_MAX && command->arguments[i]; i++)
		fprintf(stream, " %s", generate_argument(command->arguments[i]));
}

static void print_table(FILE *stream)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	fprintf(stream, "_bulkhead_table()\n{\n\tcase $1 in\n");
	for (size_t i = 0; i < count; i++) {
		const struct command *command = &commands[i];

		fprintf(stream, "\t'%s%s%s')\n\t\toptions='", command->noun ? command->noun : "",
			command->noun ? " " : "", command->verb);
		print_options(stream, command->options);
		fprintf(stream, "'\n\t\tvalues='");
		print_values(stream, command->options);
		fprintf(stream, "'\n\t\targuments='");
		print_arguments(stream, command);
		fprintf(stream, "' ;;\n");
	}
	fprintf(stream, "\tesac\n}\n\n");
}

static void print_verbs(FILE *stream)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	fprintf(stream, "_bulkhead_verbs()\n{\n\tcase $1 in\n");
	for (size_t i = 0; i < count; i++) {
		if (!generate_first_of_noun(&commands[i]))
			continue;
		fprintf(stream, "\t%s) verbs='", commands[i].noun);
		for (size_t j = 0; j < count; j++) {
			if (commands[j].noun && !strcmp(commands[j].noun, commands[i].noun))
				fprintf(stream, " %s", commands[j].verb);
		}
		fprintf(stream, "' ;;\n");
	}
	fprintf(stream, "\tesac\n}\n\n_bulkhead_first='");
	for (size_t i = 0; i < count; i++) {
		if (generate_first_of_noun(&commands[i]))
			fprintf(stream, " %s", commands[i].noun);
		else if (!commands[i].noun && !commands[i].hidden)
			fprintf(stream, " %s", commands[i].verb);
	}
	fprintf(stream, "'\n\n");
}

void generate_bash(FILE *stream)
{
	fprintf(stream, "# bash completion for bulkhead(1), generated\n\n");
	print_verbs(stream);
	print_table(stream);
	fputs(logic, stream);
}
