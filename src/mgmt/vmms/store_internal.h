#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "mgmt/vmms/store.h"

struct store {
	const struct store_calls *calls;
	int directory; /* the definitions', which is locked */
	char *path;    /* of it */
	json_t *known; /* by the UUID: the definitions that it read or wrote */
};

/* A rename that replaces nothing, also where the file system knows of none; -errno. */
int store_rename_new(const struct store *store, const char *from, const char *to);
bool store_has(const struct store *store, const char *name);

#define STORE_NAME_SIZE 64
