#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/command.h"
#include "mgmt/generate/generate.h"

/* bulkhead(1) in scdoc's format. */

static const char head[] =
	"bulkhead(1)\n"
	"\n"
	"# NAME\n"
	"\n"
	"bulkhead - run and manage virtual machines that find Hyper-V on Linux's KVM\n"
	"\n"
	"# SYNOPSIS\n"
	"\n"
	"*bulkhead* [*--socket* _PATH_] _VERB_ [_ARGUMENT_]...\n"
	"\n"
	"# DESCRIPTION\n"
	"\n"
	"*bulkhead run* starts a VM and stays with it. All other VMs are kept by a daemon, "
	"*bulkhead-vmms*(8), whose client this is: the verbs of *bulkhead vm* are for those. The "
	"other verbs that take a _NAME_ are for the VMs of both; where a name means one of each, "
	"they say so, and the UUID means the daemon's.\n"
	"\n"
	"Words in brackets may be left out. An option's value may also follow a *=*. *--help* "
	"behind "
	"a verb tells of it. A size is a number of bytes with K, M, G or T, which are powers of "
	"1024.\n"
	"\n"
	"*--socket* _PATH_\n"
	"\tWhere the daemon listens; it stands before the verb.\n"
	"\n"
	"# VERBS\n";

static const char exits_tail[] =
	"\n*128+N*\tEnded by signal N.\n"
	"\n"
	"With *--json* a failure is also an object on standard output: _exit_, the code, _reason_, "
	"one "
	"word that stands for it, and _message_. _docs/json.md_ has the objects of all verbs.\n"
	"\n"
	"# ENVIRONMENT\n"
	"\n"
	"*BULKHEAD\\_SOCKET*\n"
	"\tWhere the daemon listens, unless *--socket* says it.\n"
	"\n"
	"*XDG\\_RUNTIME\\_DIR*\n"
	"\tIn _bulkhead_ there are the sockets of the VMs of *bulkhead run*, and that of the "
	"user's own daemon. Without one the daemon is that of the host.\n"
	"\n"
	"# FILES\n"
	"\n"
	"_/run/bulkhead/vmms.sock_\n"
	"\tThe host's daemon, for root and the members of group _bulkhead_.\n"
	"\n"
	"_/run/bulkhead/public.sock_\n"
	"\tThe same daemon, for users to whom one of its VMs was delegated.\n"
	"\n"
	"_$XDG\\_RUNTIME\\_DIR/bulkhead/vmms.sock_\n"
	"\tA user's own daemon, which comes first where it runs.\n"
	"\n"
	"_$XDG\\_RUNTIME\\_DIR/bulkhead/NAME.sock_, _/run/bulkhead/NAME.sock_\n"
	"\tA VM of *bulkhead run*.\n"
	"\n"
	"# EXAMPLES\n"
	"\n"
	"Make a VM, start it, look at its console, which Ctrl-] leaves, and shut it down:\n"
	"\n"
	"```\n"
	"bulkhead vm create web --memory 1G --kernel vmlinuz --initrd initrd.img --disk root.vhdx\n"
	"bulkhead vm start web\n"
	"bulkhead vm console web\n"
	"bulkhead vm stop web\n"
	"```\n"
	"\n"
	"Give it a disk while it runs, and take it away:\n"
	"\n"
	"```\n"
	"bulkhead disk attach web data.vhdx\n"
	"bulkhead disk detach web data.vhdx\n"
	"```\n"
	"\n"
	"Start it with the host, and again when it has crashed:\n"
	"\n"
	"```\n"
	"bulkhead vm set web --start-action if-ran --on-crash restart\n"
	"```\n"
	"\n"
	"Wait in a script until it is off, an hour at most:\n"
	"\n"
	"```\n"
	"bulkhead vm wait web --timeout 3600 || echo still there\n"
	"```\n"
	"\n"
	"# SEE ALSO\n"
	"\n"
	"*bulkhead-vmms*(8)\n";

static void print_escaped(FILE *stream, const char *text)
{
	for (; *text; text++) {
		if (strchr("\\*_", *text))
			fputc('\\', stream);
		fputc(*text, stream);
	}
}

static void print_option(FILE *stream, const struct option *option)
{
	fprintf(stream, "\n*%s*", option->name);
	if (option->value) {
		fputc(' ', stream);
		print_escaped(stream, option->value);
	}
	fprintf(stream, "\n\t");
	print_escaped(stream, option->help);
	fputc('\n', stream);
}

/* What it prints, as it is. */
static int print_text(FILE *stream, const struct command *command)
{
	char *text = NULL;
	size_t length;
	FILE *memory = open_memstream(&text, &length);

	if (!memory)
		return -ENOMEM;
	command->text(memory);
	if (fclose(memory)) {
		free(text);
		return -ENOMEM;
	}
	fprintf(stream, "\n```\n");
	for (size_t i = 0; i < length; i++)
		fprintf(stream, text[i] == '\\' ? "\\\\" : "%c", text[i]);
	fprintf(stream, "%s```\n", length && text[length - 1] == '\n' ? "" : "\n");
	free(text);
	return 0;
}

static int print_command(FILE *stream, const struct command *command)
{
	fprintf(stream, "\n## bulkhead %s%s%s ", command->noun ? command->noun : "",
		command->noun ? " " : "", command->verb);
	print_escaped(stream, command->usage);
	fprintf(stream, "\n\n");
	print_escaped(stream, command->summary);
	fputc('\n', stream);
	for (const struct option_set *set = command->options; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++)
			print_option(stream, &set->options[i]);
	}
	return command->text ? print_text(stream, command) : 0;
}

static void print_exits(FILE *stream)
{
	size_t count;
	const struct exit_meaning *exits = command_exits(&count);

	fprintf(stream, "\n# EXIT STATUS\n");
	for (size_t i = 0; i < count; i++) {
		fprintf(stream, "\n*%d*\t", exits[i].code);
		print_escaped(stream, exits[i].meaning);
		fprintf(stream, ".\n");
	}
	fputs(exits_tail, stream);
}

int generate_manual(FILE *stream)
{
	size_t count;
	const struct command *commands = commands_list(&count);
	int r = 0;

	fputs(head, stream);
	for (size_t i = 0; !r && i < count; i++) {
		if (!commands[i].hidden)
			r = print_command(stream, &commands[i]);
	}
	print_exits(stream);
	return r;
}
