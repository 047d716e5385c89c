#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/generate/generate.h"

static bool is_word(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) &&
		    text[i] != '-')
			return false;
	}
	return length > 0;
}

void generate_choices(const char *value,
		      void (*each)(FILE *stream, const char *word, size_t length), FILE *stream)
{
	const char *at = value;

	while (*at) {
		size_t length = strcspn(at, "|[");

		if (is_word(at, length))
			each(stream, at, length);
		at += length;
		if (*at != '|')
			break;
		at++;
	}
}

/* Whether there is a word that stands for itself. */
static bool has_choices(const char *value)
{
	size_t length = strcspn(value, "|[");

	if (is_word(value, length))
		return true;
	return value[length] == '|' && has_choices(value + length + 1);
}

enum generate_kind generate_kind_of_value(const char *value)
{
	static const char *const files[] = {"FILE", "PATH", "DIR", "ISO"};

	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		if (!strncmp(value, files[i], strlen(files[i])))
			return GENERATE_FILE;
	}
	if (!strcmp(value, "VM"))
		return GENERATE_VM;
	return has_choices(value) ? GENERATE_CHOICES : GENERATE_NOTHING;
}

static void print_choice(FILE *stream, const char *word, size_t length)
{
	fprintf(stream, "%.*s|", (int)length, word);
}

void generate_value(const char *value, FILE *stream)
{
	enum generate_kind kind = generate_kind_of_value(value);

	if (kind == GENERATE_CHOICES)
		generate_choices(value, print_choice, stream);
	else
		fprintf(stream, "%s",
			kind == GENERATE_FILE ? "@file"
			: kind == GENERATE_VM ? "@vm"
					      : "@none");
}

const char *generate_argument(enum argument argument)
{
	switch (argument) {
	case ARGUMENT_VM:
		return "@vm";
	case ARGUMENT_FILE:
		return "@file";
	case ARGUMENT_DISK:
		return "@disk";
	case ARGUMENT_NIC:
		return "@nic";
	case ARGUMENT_VERB:
		return "@verb";
	case ARGUMENT_NONE:
	case ARGUMENT_TEXT:
		break;
	}
	return "@none";
}

bool generate_first_of_noun(const struct command *command)
{
	size_t count;
	const struct command *commands = commands_list(&count);

	for (size_t i = 0; command->noun && i < count; i++) {
		if (commands[i].noun && !strcmp(commands[i].noun, command->noun))
			return &commands[i] == command;
	}
	return false;
}
