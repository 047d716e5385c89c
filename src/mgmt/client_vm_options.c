#include "mgmt/client_vm_options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/options.h"

/* The options that only the daemon has.  Each gives a member of Settings. */

#define DELAY_MAX   86400 /* seconds */
#define LIMIT_MAX   1000  /* restarts an hour */
#define WEIGHT_MAX  10000
#define PERCENT_MAX 409600

/* The object that is the member key of the settings, made where it is not there. */
static json_t *part(struct vm_options *options, const char *key)
{
	json_t *object = json_object_get(options->settings, key);

	if (!object) {
		object = json_object();
		json_object_set_new(options->settings, key, object);
	}
	return object;
}

static void put_word(json_t *object, const char *key, const char *word)
{
	json_t *text = text_json(word);
	char name[32];

	/* "if-ran" for people is if_ran in the interface. */
	if (strlen(word) < sizeof(name) && strcmp(key, "notes") != 0) {
		snprintf(name, sizeof(name), "%s", word);
		for (char *at = name; *at; at++)
			*at = *at == '-' ? '_' : *at;
		json_string_set(text, name);
	}
	json_object_set_new(object, key, text);
}

static int put_number(json_t *object, const char *key, const char *flag, const char *value,
		      uint64_t min, uint64_t max, struct error *err)
{
	uint64_t number;

	if (parse_u64(value, min, max, &number))
		return error_set(err, EINVAL, "%s %.40s: give a number, %llu to %llu", flag, value,
				 (unsigned long long)min, (unsigned long long)max);
	json_object_set_new(object, key, json_integer((json_int_t)number));
	return 0;
}

/* One of words, which end with NULL. */
static int find_word(const char *const *words, const char *flag, const char *value,
		     struct error *err)
{
	char all[160] = "";

	for (size_t i = 0; words[i]; i++) {
		if (!strcmp(words[i], value))
			return 0;
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
			 i ? words[i + 1] ? ", " : " or " : "", words[i]);
	}
	return error_set(err, EINVAL, "%s %.40s: give %s", flag, value, all);
}

static int set_notes(void *target, const char *value, struct error *err)
{
	put_word(((struct vm_options *)target)->settings, "notes", value);
	return 0;
}

static int set_start_action(void *target, const char *value, struct error *err)
{
	static const char *const words[] = {"nothing", "if-ran", "always", NULL};
	CLEANUP_FREE char *copy = strdup(value);
	json_t *action = part(target, "start_action");
	char *rest = copy;
	const char *kind, *word;
	int r;

	if (!copy)
		return error_memory(err, "the options");
	kind = strsep(&rest, ",");
	r = find_word(words, "--start-action", kind, err);
	if (r)
		return r;
	put_word(action, "kind", kind);
	while ((word = strsep(&rest, ","))) {
		if (strncmp(word, "delay=", 6) != 0)
			return error_set(err, EINVAL,
					 "--start-action %.80s: \"%.40s\" is not delay=SECONDS",
					 value, word);
		r = put_number(action, "delay", "--start-action delay=", word + 6, 0, DELAY_MAX,
			       err);
		if (r)
			return r;
	}
	return 0;
}

static int set_stop_action(void *target, const char *value, struct error *err)
{
	static const char *const words[] = {"shut-down", "turn-off", "save", NULL};
	int r = find_word(words, "--stop-action", value, err);

	if (!r)
		put_word(((struct vm_options *)target)->settings, "stop_action", value);
	return r;
}

static int set_on_crash(void *target, const char *value, struct error *err)
{
	static const char *const words[] = {"restart", "stop", NULL};
	CLEANUP_FREE char *copy = strdup(value);
	json_t *action = part(target, "on_crash");
	char *rest = copy;
	const char *kind, *word;
	int r;

	if (!copy)
		return error_memory(err, "the options");
	kind = strsep(&rest, ",");
	r = find_word(words, "--on-crash", kind, err);
	json_object_set_new(action, "restart", json_boolean(!strcmp(kind, "restart")));
	while (!r && (word = strsep(&rest, ","))) {
		if (!strncmp(word, "delay=", 6))
			r = put_number(action, "delay", "--on-crash delay=", word + 6, 0, DELAY_MAX,
				       err);
		else if (!strncmp(word, "limit=", 6))
			r = put_number(action, "limit", "--on-crash limit=", word + 6, 1, LIMIT_MAX,
				       err);
		else
			r = error_set(err, EINVAL,
				      "--on-crash %.80s: \"%.40s\" is not delay=SECONDS or limit=N",
				      value, word);
	}
	return r;
}

static int set_on_reset(void *target, const char *value, struct error *err)
{
	static const char *const words[] = {"restart", "stop", NULL};
	int r = find_word(words, "--on-reset", value, err);

	if (!r)
		put_word(((struct vm_options *)target)->settings, "on_reset", value);
	return r;
}

static int set_console(void *target, const char *value, struct error *err)
{
	static const char *const words[] = {"ring", "none", NULL};
	int r = find_word(words, "--console", value, err);

	if (!r)
		put_word(part(target, "console"), "kind", value);
	return r;
}

static int set_cpu_weight(void *target, const char *value, struct error *err)
{
	return put_number(part(target, "resources"), "cpu_weight", "--cpu-weight", value, 1,
			  WEIGHT_MAX, err);
}

static int set_cpu_cap(void *target, const char *value, struct error *err)
{
	return put_number(part(target, "resources"), "cpu_cap", "--cpu-cap", value, 1, PERCENT_MAX,
			  err);
}

static int set_cpu_reserve(void *target, const char *value, struct error *err)
{
	return put_number(part(target, "resources"), "cpu_reserve", "--cpu-reserve", value, 0,
			  PERCENT_MAX, err);
}

static int set_io_weight(void *target, const char *value, struct error *err)
{
	return put_number(part(target, "resources"), "io_weight", "--io-weight", value, 1,
			  WEIGHT_MAX, err);
}

static int set_memory_max(void *target, const char *value, struct error *err)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) || bytes > INT64_MAX)
		return error_set(err, EINVAL, "--memory-max %.40s: give a size, like 2G", value);
	json_object_set_new(part(target, "resources"), "memory_max",
			    json_integer((json_int_t)bytes));
	return 0;
}

/* user=NAME:RIGHT or group=NAME:RIGHT; a name may have no colon. */
static int add_access(void *target, const char *value, struct error *err)
{
	static const char *const rights[] = {"connect", "operate", "administer", NULL};
	struct vm_options *options = target;
	CLEANUP_FREE char *copy = strdup(value);
	char *right = copy ? strchr(copy, ':') : NULL;
	const char *key = !strncmp(value, "user=", 5)	 ? "user"
			  : !strncmp(value, "group=", 6) ? "group"
							 : NULL;
	json_t *list = json_object_get(options->settings, "access");
	int r;

	if (!copy)
		return error_memory(err, "the options");
	if (!key || !right || right == copy + strlen(key) + 1)
		return error_set(err, EINVAL,
				 "--access %.80s: give user=NAME:RIGHT or group=NAME:RIGHT", value);
	*right++ = '\0';
	r = find_word(rights, "--access NAME:", right, err);
	if (r)
		return r;
	if (!list) {
		list = json_array();
		json_object_set_new(options->settings, "access", list);
	}
	json_array_append_new(list, json_pack("{s:o, s:s}", key, text_json(copy + strlen(key) + 1),
					      "right", right));
	return 0;
}

static const struct option settings_options[] = {
	{"--notes", "TEXT", "what people should know of it", set_notes},
	{"--start-action", "nothing|if-ran|always[,delay=SECONDS]",
	 "when the daemon starts with the host (default: nothing)", set_start_action},
	{"--stop-action", "shut-down|turn-off|save",
	 "when the host shuts down (default: shut-down)", set_stop_action},
	{"--on-crash", "restart|stop[,delay=SECONDS][,limit=N]",
	 "when it crashes (default: stop); after delay, doubled each time; limit times in an hour",
	 set_on_crash},
	{"--on-reset", "restart|stop", "when the guest resets (default: restart)", set_on_reset},
	{"--console", "ring|none", "COM1: for `vm console` (default), or none", set_console},
	{"--cpu-weight", "N", "its share of the host's processors, 1 to 10000", set_cpu_weight},
	{"--cpu-cap", "PERCENT", "so much of one processor at most", set_cpu_cap},
	{"--cpu-reserve", "PERCENT", "so much of one processor at least", set_cpu_reserve},
	{"--memory-max", "SIZE", "what the VM may take of the host's memory, with all it needs",
	 set_memory_max},
	{"--io-weight", "N", "its share of the host's disks, 1 to 10000", set_io_weight},
	{"--access", "user=NAME:RIGHT|group=NAME:RIGHT",
	 "who else may connect, operate or administer it; may be given again", add_access},
};

const struct option_set vm_settings_options = OPTION_SET_AND(settings_options, &run_vm_options);

int vm_options_init(struct vm_options *options, struct error *err)
{
	*options = (struct vm_options){.settings = json_object()};
	return options->settings ? 0 : error_memory(err, "the options");
}

void vm_options_clear(struct vm_options *options)
{
	run_options_clear(&options->run);
	json_decref(options->settings);
	json_decref(options->change);
	json_decref(options->revision);
	options->settings = options->change = options->revision = NULL;
}
