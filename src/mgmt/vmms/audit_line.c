#include "mgmt/vmms/audit_line.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define PARAMETERS_MAX 2048
#define NAME_MAX_BYTES 256 /* of what callers write */

/* What may be a secret. */
static const char *const hidden[] = {"value", "strokes", "data"};

static json_t *clean_parameters(const json_t *parameters)
{
	json_t *copy = json_deep_copy(parameters);
	char *text;

	json_object_del(copy, "vm");
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		if (json_object_get(copy, hidden[i]))
			json_object_set_new(copy, hidden[i], json_string("..."));
	}
	text = json_dumps(copy, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text || strlen(text) > PARAMETERS_MAX) {
		json_decref(copy);
		copy = json_string("too long");
	}
	free(text);
	return copy;
}

static json_t *cut_text(const char *text)
{
	char cut[NAME_MAX_BYTES];

	snprintf(cut, sizeof(cut), "%s", text);
	text_trim(cut);
	return text_json(cut);
}

static json_t *user_name(uid_t uid)
{
	struct passwd entry, *found = NULL;
	char buffer[4096];

	getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found);
	return found ? cut_text(found->pw_name) : json_null();
}

static json_t *time_text(const struct timespec *when)
{
	struct tm parts;
	char text[64];

	gmtime_r(&when->tv_sec, &parts);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", parts.tm_year + 1900,
		 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
		 when->tv_nsec / 1000);
	return json_string(text);
}

static void set_text(json_t *line, const char *key, const char *text)
{
	if (text && text[0])
		json_object_set_new(line, key, cut_text(text));
}

/* The one control character that JSON leaves as it is. */
static void mask_delete(char *text)
{
	for (; text && *text; text++) {
		if (*text == 0x7f)
			*text = '?';
	}
}

char *audit_line(const struct audit_record *record, const struct timespec *when, uint64_t missing)
{
	const struct caller *caller = record->caller;
	json_t *line = json_object();
	char *text;

	json_object_set_new(line, "time", time_text(when));
	json_object_set_new(line, "uid", json_integer(caller->uid));
	json_object_set_new(line, "pid", json_integer(caller->pid));
	json_object_set_new(line, "user", user_name(caller->uid));
	set_text(line, "method", record->method);
	set_text(line, "vm", record->vm);
	set_text(line, "uuid", record->uuid);
	if (record->parameters)
		json_object_set_new(line, "parameters", clean_parameters(record->parameters));
	set_text(line, "result", record->error ? record->error : "done");
	set_text(line, "message", record->message);
	if (missing)
		json_object_set_new(line, "missing", json_integer((json_int_t)missing));
	text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(line);
	mask_delete(text);
	return text;
}
