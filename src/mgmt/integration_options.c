#include "mgmt/integration_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

static const char *const names[] = {"shutdown", "timesync", "heartbeat", "kvp", "vss", "file-copy"};

static bool is_name(const char *word)
{
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		if (strcmp(names[i], word) == 0)
			return true;
	}
	return false;
}

/* word is cut up. */
static int add_service(json_t *list, char *word, struct error *err)
{
	char *name = strsep(&word, "=");
	json_t *service;

	if (!is_name(name))
		return error_set(
			err, EINVAL,
			"--integration %.40s: give all, none, or some of shutdown, timesync, "
			"heartbeat, kvp, vss and file-copy, with commas between them",
			name);
	service = json_pack("{s:s}", "name", name);
	if (word)
		json_object_set_new(service, "max_version", json_string(word));
	json_array_append_new(list, service);
	return 0;
}

int integration_options_parse(const char *text, json_t **device, struct error *err)
{
	CLEANUP_FREE char *copy = strdup(text);
	char *next = copy, *word;
	json_t *list;
	int r = 0;

	if (!copy)
		return error_memory(err, "the command line");
	if (strcmp(text, "none") == 0) {
		*device = NULL;
		return 0;
	}
	if (strcmp(text, "all") == 0) {
		*device = json_pack("{s:s}", "device", "integration");
		return 0;
	}
	list = json_array();
	while (r == 0 && (word = strsep(&next, ",")))
		r = add_service(list, word, err);
	if (r == 0)
		*device = json_pack("{s:s, s:O}", "device", "integration", "components", list);
	json_decref(list);
	return r;
}
