#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/client_vm.h"
#include "mgmt/columns.h"
#include "mgmt/command.h"

/* bulkhead vm show: how a VM is, then each of its settings, called as `vm set` has them. */

#define NAME_SIZE 160
#define TEXT_SIZE 512

/* Name and value of each line. */
struct lines {
	json_t *list;
	size_t width; /* of the longest name */
};

static void add_line(struct lines *lines, const char *name, const char *text)
{
	size_t width = strlen(name);

	if (!*text)
		return;
	json_array_append_new(lines->list, json_pack("[s, s]", name, text));
	lines->width = width > lines->width ? width : lines->width;
}

/* As `vm set` takes it; what a size comes to is said, too. */
static void describe_value(const char *name, const json_t *value, char *text, size_t size)
{
	char amount[24];

	if (json_is_string(value)) {
		snprintf(text, size, "%s", json_string_value(value));
	} else if (json_is_boolean(value)) {
		snprintf(text, size, "%s", json_is_true(value) ? "true" : "false");
	} else if (json_is_integer(value) && client_is_size(name)) {
		client_size(json_integer_value(value), amount, sizeof(amount));
		snprintf(text, size, "%" JSON_INTEGER_FORMAT " (%s)", json_integer_value(value),
			 amount);
	} else if (json_is_integer(value)) {
		snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else {
		snprintf(text, size, "none");
	}
}

/* A disk or the like in one line; its name is that of the line. */
static void describe_item(const json_t *item, char *text, size_t size)
{
	char word[TEXT_SIZE];
	size_t length = 0;
	const char *key;
	json_t *value;

	text[0] = '\0';
	json_object_foreach((json_t *)item, key, value)
	{
		if (!strcmp(key, "name"))
			continue;
		describe_value(key, value, word, sizeof(word));
		snprintf(text + length, size - length, "%s%s %s", length ? ", " : "", key, word);
		length = strlen(text);
	}
}

static void add_list(struct lines *lines, const char *path, const json_t *list)
{
	char name[NAME_SIZE], text[2 * TEXT_SIZE];
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		if (*guest_text(item, "name"))
			snprintf(name, sizeof(name), "%s.%s", path, guest_text(item, "name"));
		else
			snprintf(name, sizeof(name), "%s.%zu", path, index);
		describe_item(item, text, sizeof(text));
		add_line(lines, name, text);
	}
}

static void add_settings(struct lines *lines, const json_t *settings)
{
	char name[NAME_SIZE], text[TEXT_SIZE];
	const char *key, *member;
	json_t *value, *inner;

	json_object_foreach((json_t *)settings, key, value)
	{
		if (!strcmp(key, "name") || !strcmp(key, "uuid") || !strcmp(key, "version"))
			continue;
		if (json_is_array(value)) {
			add_list(lines, key, value);
		} else if (!json_is_object(value)) {
			describe_value(key, value, text, sizeof(text));
			add_line(lines, key, text);
		}
		json_object_foreach(value, member, inner)
		{
			snprintf(name, sizeof(name), "%s.%s", key, member);
			describe_value(name, inner, text, sizeof(text));
			add_line(lines, name, text);
		}
	}
}

static void add_process(struct lines *lines, const json_t *vm, const char *name)
{
	json_int_t pid = json_integer_value(json_object_get(vm, name));
	char text[32] = "";

	if (pid > 0)
		snprintf(text, sizeof(text), "process %" JSON_INTEGER_FORMAT, pid);
	add_line(lines, name, text);
}

static void add_waiting(struct lines *lines, const json_t *waiting)
{
	char text[TEXT_SIZE] = "";
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)waiting, index, item)
	{
		size_t length = strlen(text);

		snprintf(text + length, sizeof(text) - length, "%s%s", length ? ", " : "",
			 json_string_value(item));
	}
	add_line(lines, "next start", text);
}

static void add_state(struct lines *lines, const json_t *vm)
{
	json_int_t moment = json_integer_value(json_object_get(vm, "since"));
	char state[24], since[32], text[80];

	client_state(vm, state, sizeof(state));
	client_time(moment, since, sizeof(since));
	snprintf(text, sizeof(text), "%s since %s", state, since);
	add_line(lines, "name", guest_text(vm, "name"));
	add_line(lines, "uuid", guest_text(vm, "uuid"));
	add_line(lines, "state", moment > 0 ? text : state);
	add_line(lines, "reason", guest_text(vm, "reason"));
	add_process(lines, vm, "supervisor");
	add_process(lines, vm, "worker");
	add_waiting(lines, json_object_get(vm, "waiting"));
}

static void print_vm(const json_t *reply)
{
	const json_t *vm = json_object_get(reply, "vm");
	struct lines lines = {.list = json_array()};
	size_t index;
	json_t *line;

	add_state(&lines, vm);
	add_settings(&lines, json_object_get(vm, "settings"));
	json_array_foreach(lines.list, index, line)
	{
		printf("%-*s  ", (int)lines.width, json_string_value(json_array_get(line, 0)));
		columns_text(json_string_value(json_array_get(line, 1)), 0);
		putchar('\n');
	}
	json_decref(lines.list);
}

int command_vm_show(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_PLAIN_VERB("GetVM"),
		.print = print_vm,
	};

	return guest_verb_run(argc, argv, &verb);
}
