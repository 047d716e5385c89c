#include "mgmt/vmms/settings_arguments.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/display_options.h"
#include "mgmt/vmms/settings.h"

/* Words as they come; one failure is remembered until the end. */
struct words {
	char **list;
	size_t count;
	size_t room; /* of list, without the NULL */
	bool failed;
};

/* Takes over word. */
static void add_word(struct words *words, char *word)
{
	if (words->count == words->room) {
		size_t room = words->room ? 2 * words->room : 64;
		char **list = reallocarray(words->list, room + 1, sizeof(*list));

		if (!list) {
			words->failed = true;
			free(word);
			return;
		}
		words->list = list;
		words->room = room;
	}
	words->failed |= !word;
	words->list[words->count] = word;
	words->count += word != NULL;
	words->list[words->count] = NULL;
}

__attribute__((format(printf, 3, 4))) static void
add_option(struct words *words, const char *option, const char *format, ...)
{
	va_list arguments;
	char *value;

	va_start(arguments, format);
	if (vasprintf(&value, format, arguments) < 0)
		value = NULL;
	va_end(arguments);
	add_word(words, strdup(option));
	add_word(words, value);
}

/* A value that grows by words with commas between them. */
struct value {
	char *text;
	size_t length;
	FILE *stream; /* NULL: no memory */
};

static void value_begin(struct value *value)
{
	*value = (struct value){.text = NULL};
	value->stream = open_memstream(&value->text, &value->length);
}

/* The text; NULL where there was no memory for all. */
static char *value_end(struct value *value)
{
	bool failed = !value->stream || ferror(value->stream);

	if (value->stream)
		failed |= fclose(value->stream) != 0;
	if (!failed)
		return value->text;
	free(value->text);
	return NULL;
}

__attribute__((format(printf, 2, 3))) static void value_add(struct value *value, const char *format,
							    ...)
{
	va_list arguments;

	if (!value->stream)
		return;
	va_start(arguments, format);
	vfprintf(value->stream, format, arguments);
	va_end(arguments);
}

/* A comma that belongs to the path is written twice. */
static void value_add_path(struct value *value, const char *path)
{
	for (; value->stream && *path; path++) {
		if (*path == ',')
			fputc(',', value->stream);
		fputc(*path, value->stream);
	}
}

static const char *text(const json_t *object, const char *member)
{
	return json_string_value(json_object_get(object, member));
}

static bool flag(const json_t *object, const char *member)
{
	return json_is_true(json_object_get(object, member));
}

static void value_add_number(struct value *value, const json_t *object, const char *member)
{
	const json_t *number = json_object_get(object, member);

	if (number)
		value_add(value, ",%s=%lld", member, (long long)json_integer_value(number));
}

static void add_memory(struct words *words, const json_t *memory)
{
	static const struct {
		const char *member, *word;
	} limits[] = {
		{"minimum", "min"}, {"maximum", "max"}, {"buffer", "buffer"}, {"weight", "weight"}};
	long long startup = json_integer_value(json_object_get(memory, "startup"));
	struct value value;

	if (!json_object_get(memory, "minimum") && !json_object_get(memory, "maximum")) {
		add_option(words, "--memory", "%lld", startup);
		return;
	}
	value_begin(&value);
	value_add(&value, "startup=%lld", startup);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const json_t *number = json_object_get(memory, limits[i].member);

		if (number)
			value_add(&value, ",%s=%lld", limits[i].word,
				  (long long)json_integer_value(number));
	}
	add_word(words, strdup("--memory"));
	add_word(words, value_end(&value));
}

static void add_boot(struct words *words, const json_t *boot)
{
	static const struct {
		const char *member, *option;
	} options[] = {
		{"kernel", "--kernel"},
		{"initrd", "--initrd"},
		{"command_line", "--append"},
		{"vmbus_max_version", "--vmbus-max-version"},
		{"order", "--boot-order"},
		{"firmware", "--firmware"},
		{"firmware_log", "--firmware-log"},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (text(boot, options[i].member))
			add_option(words, options[i].option, "%s", text(boot, options[i].member));
	}
	if (json_object_get(boot, "menu"))
		add_option(words, "--boot-menu", "%lld",
			   (long long)json_integer_value(json_object_get(boot, "menu")));
	if (flag(boot, "stimer"))
		add_option(words, "--stimer", "on");
	if (flag(boot, "device_tree"))
		add_word(words, strdup("--dtb"));
}

static void add_disk(struct words *words, const json_t *disk)
{
	char option[16];
	const char *path = text(disk, "path");
	struct value value;

	snprintf(option, sizeof(option), "--%s", text(disk, "kind"));
	value_begin(&value);
	value_add_path(&value, path ? path : "none");
	if (flag(disk, "read_only"))
		value_add(&value, ",ro");
	if (flag(disk, "direct"))
		value_add(&value, ",direct");
	if (text(disk, "format"))
		value_add(&value, ",format=%s", text(disk, "format"));
	value_add_number(&value, disk, "lun");
	if (text(disk, "controller"))
		value_add(&value, ",controller=%s", text(disk, "controller"));
	value_add_number(&value, disk, "iops");
	value_add_number(&value, disk, "bandwidth");
	value_add_number(&value, disk, "timeout");
	add_word(words, strdup(option));
	add_word(words, value_end(&value));
}

char *settings_nic_spec(const json_t *nic, const int *fds, unsigned int count)
{
	const char *kind = text(nic, "kind");
	struct value value;

	value_begin(&value);
	if (!strcmp(kind, "switch")) {
		value_add(&value, "fd=");
		for (unsigned int i = 0; i < count; i++)
			value_add(&value, "%s%d", i ? ":" : "", fds[i]);
	} else if (!strcmp(kind, "tap")) {
		value_add(&value, "tap=%s", text(nic, "interface"));
	} else if (!strcmp(kind, "stream")) {
		value_add(&value, "stream=");
		value_add_path(&value, text(nic, "path"));
	} else {
		value_add(&value, "user");
	}
	value_add(&value, ",mac=%s", text(nic, "mac"));
	if (strcmp(kind, "switch") != 0)
		value_add_number(&value, nic, "queues");
	value_add_number(&value, nic, "bandwidth");
	if (flag(nic, "legacy"))
		value_add(&value, ",legacy");
	return value_end(&value);
}

static int add_nics(struct words *words, const json_t *nics, const struct launch_files *files,
		    struct error *err)
{
	for (size_t i = 0; i < json_array_size(nics); i++) {
		const json_t *nic = json_array_get(nics, i);

		if (!strcmp(text(nic, "kind"), "switch") && !files->nics[i].count)
			return error_set(err, EINVAL,
					 "its NIC %s has no port on the switch %s; start the VM "
					 "again when there is such a switch",
					 text(nic, "name"), text(nic, "switch"));
		add_word(words, strdup("--nic"));
		add_word(words, settings_nic_spec(nic, files->nics[i].fds, files->nics[i].count));
	}
	return 0;
}

static void add_display(struct words *words, const json_t *display)
{
	unsigned int width = DISPLAY_WIDTH_DEFAULT, height = DISPLAY_HEIGHT_DEFAULT;

	if (!display)
		return;
	if (json_object_get(display, "width")) {
		width = (unsigned int)json_integer_value(json_object_get(display, "width"));
		height = (unsigned int)json_integer_value(json_object_get(display, "height"));
	}
	add_option(words, "--video", "%ux%u", width, height);
	if (text(display, "vnc"))
		add_option(words, "--vnc", "%s", text(display, "vnc"));
}

static void add_integration(struct words *words, const json_t *integration)
{
	static const struct {
		const char *member, *word;
	} services[] = {
		{"shutdown", "shutdown"}, {"time", "timesync"}, {"heartbeat", "heartbeat"},
		{"kvp", "kvp"},		  {"vss", "vss"},	{"copy", "file-copy"},
	};
	const char *before = "";
	struct value value;

	value_begin(&value);
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (!flag(integration, services[i].member))
			continue;
		value_add(&value, "%s%s", before, services[i].word);
		before = ",";
	}
	if (!*before)
		value_add(&value, "none");
	add_word(words, strdup("--integration"));
	add_word(words, value_end(&value));
}

static int add_all(struct words *words, const struct settings *settings,
		   const struct launch_files *files, struct error *err)
{
	const json_t *disks = settings_disks(settings);

	add_option(words, "--name", "%s", settings_name(settings));
	add_option(words, "--cpus", "%u", settings_processors(settings));
	add_memory(words, settings_get(settings, "memory"));
	add_option(words, "--generation", "%lld",
		   (long long)json_integer_value(settings_get(settings, "generation")));
	add_boot(words, settings_get(settings, "boot"));
	add_option(words, "--controllers", "%lld",
		   (long long)json_integer_value(settings_get(settings, "controllers")));
	for (size_t i = 0; i < json_array_size(disks); i++)
		add_disk(words, json_array_get(disks, i));
	add_display(words, settings_get(settings, "display"));
	if (settings_get(settings, "hvsock"))
		add_option(words, "--hvsock", "unix:%s",
			   text(settings_get(settings, "hvsock"), "path"));
	add_integration(words, settings_get(settings, "integration"));
	add_option(words, "--console", "%s", text(settings_get(settings, "console"), "kind"));
	add_option(words, "--on-reset", "%s",
		   strcmp(json_string_value(settings_get(settings, "on_reset")), "stop") ? "restart"
											 : "exit");
	return add_nics(words, settings_nics(settings), files, err);
}

int settings_arguments(const struct settings *settings, const struct launch_files *files,
		       char ***arguments, struct error *err)
{
	struct words words = {.list = NULL};
	int r = add_all(&words, settings, files, err);

	if (!r && words.failed)
		r = error_memory(err, "the VM's supervisor");
	if (r)
		settings_arguments_free(words.list);
	else
		*arguments = words.list;
	return r;
}

void settings_arguments_free(char **arguments)
{
	for (char **word = arguments; word && *word; word++)
		free(*word);
	free(arguments);
}
