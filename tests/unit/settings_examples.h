#pragma once

#include <check.h>
#include <jansson.h>

#include "mgmt/vmms/settings.h"

/* Definitions for tests, in a JSON whose strings may be between single quotes. */

#define MINIMAL                                                                                    \
	"'version':1,'name':'a','processors':{'count':1},'memory':{'startup':67108864},"           \
	"'boot':{'kernel':'/k'}"

/* A Generation 1 VM. */
#define PC(more)                                                                                   \
	"{'version':1,'name':'a','generation':1,'processors':{'count':1},'memory':{'startup':"     \
	"67108864}," more "}"

static inline json_t *json_of(const char *text)
{
	char copy[8192];
	json_error_t why;
	json_t *json;
	size_t length = strlen(text);

	ck_assert_uint_lt(length, sizeof(copy));
	for (size_t i = 0; i <= length; i++)
		copy[i] = text[i] == '\'' ? '"' : text[i];
	json = json_loads(copy, JSON_DECODE_ANY, &why);
	ck_assert_msg(json, "%s in %s", why.text, text);
	return json;
}

static inline struct settings *settings_of(const char *text)
{
	json_t *json = json_of(text);
	struct settings *settings;
	struct error err;

	ck_assert_msg(!settings_parse(json, &settings, &err), "%s", err.text);
	json_decref(json);
	return settings;
}
