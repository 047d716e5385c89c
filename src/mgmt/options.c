#include "mgmt/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_COLUMNS 26

/* The option that word names, with what follows its "=" in *value (NULL if there is none). */
static const struct option *find_option(const struct option_set *set, const char *word,
					const char **value)
{
	size_t length = strcspn(word, "=");

	*value = word[length] ? word + length + 1 : NULL;
	for (; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++) {
			const char *name = set->options[i].name;

			if (strlen(name) == length && !memcmp(name, word, length))
				return &set->options[i];
		}
	}
	return NULL;
}

struct parser {
	const struct option_set *set;
	int argc;
	char **argv;
	int next; /* word of argv */
	bool only_operands;
	int (*operand)(void *target, const char *word, struct error *err);
	void *target;
};

static int parse_operand(struct parser *parser, const char *word, struct error *err)
{
	if (!parser->operand)
		return error_set(err, EINVAL, "unexpected word \"%s\"", word);
	return parser->operand(parser->target, word, err);
}

/* Takes one option with its value, or one operand. */
static int parse_next(struct parser *parser, struct error *err)
{
	const char *word = parser->argv[parser->next++];
	const struct option *option;
	const char *value;

	if (!parser->only_operands && !strcmp(word, "--")) {
		parser->only_operands = true;
		return 0;
	}
	if (parser->only_operands || word[0] != '-')
		return parse_operand(parser, word, err);
	option = find_option(parser->set, word, &value);
	if (!option)
		return error_set(err, EINVAL, "unknown option %s; --help lists them", word);
	if (!option->value && value)
		return error_set(err, EINVAL, "%s takes no value", option->name);
	if (option->value && !value && parser->next < parser->argc)
		value = parser->argv[parser->next++];
	if (option->value && !value)
		return error_set(err, EINVAL, "%s needs a value: %s %s", option->name, option->name,
				 option->value);
	return option->set(parser->target, value, err);
}

int options_parse_set(const struct option_set *set, int argc, char **argv,
		      int (*operand)(void *target, const char *word, struct error *err),
		      void *target, struct error *err)
{
	struct parser parser = {
		.set = set,
		.argc = argc,
		.argv = argv,
		.operand = operand,
		.target = target,
	};
	int r = 0;

	while (parser.next < argc) {
		struct error another;
		int failure = parse_next(&parser, r ? &another : err);

		if (!r)
			r = failure;
	}
	return r;
}

int options_parse(const struct option *table, size_t count, int argc, char **argv,
		  int (*operand)(void *target, const char *word, struct error *err), void *target,
		  struct error *err)
{
	const struct option_set set = {table, count, NULL};

	return options_parse_set(&set, argc, argv, operand, target, err);
}

bool options_name(int argc, char **argv, const char *name)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return false;
}

static void print_option(const struct option *option)
{
	const char *value = option->value ? option->value : "";
	char name[64];
	int length = snprintf(name, sizeof(name), "%s%s%s", option->name, *value ? " " : "", value);

	if (length > NAME_COLUMNS)
		printf("  %s%s%s\n  %-*s  %s\n", option->name, *value ? " " : "", value,
		       NAME_COLUMNS, "", option->help);
	else
		printf("  %-*s  %s\n", NAME_COLUMNS, name, option->help);
}

void options_help_set(const struct option_set *set)
{
	for (; set; set = set->more) {
		for (size_t i = 0; i < set->count; i++)
			print_option(&set->options[i]);
	}
}
