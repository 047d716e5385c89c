#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/error.h"

/*
 * Varlink interface definitions (https://varlink.org/Interface-Definition): the text of a .varlink
 * file, parsed once, and values held against it.  One that is parsed does not change: any thread.
 *
 * An int is a whole number of 64 bits, a float any number, an object any JSON object.  A member
 * that is null is one that is missing.
 */

#define VARLINK_PATH_MAX 256

struct varlink_idl;

/* -EINVAL for a text that is no interface definition, or refers to what it does not define: err
 * says where.  -ENOMEM. */
int varlink_idl_parse(const char *text, struct varlink_idl **out, struct error *err);
void varlink_idl_free(struct varlink_idl *idl);

/* Whether its name is this one. */
bool varlink_idl_is(const struct varlink_idl *idl, const char *name);

/* Whether it has a method of that name, which is without the interface's. */
bool varlink_idl_has_method(const struct varlink_idl *idl, const char *method);

/*
 * Whether parameters, an object, are what the method takes: 0, and members that are null are taken
 * out of them, so that nobody else need know of null.  -EINVAL, with the path of the first wrong
 * one, as "settings.disks[2].kind", in path (VARLINK_PATH_MAX bytes): unknown, missing, or not of
 * its type.  -ENOENT: no such method.
 */
int varlink_idl_check_call(const struct varlink_idl *idl, const char *method, json_t *parameters,
			   char *path);

/* The same for what the method replies, and for the parameters of an error of that name; these stay
 * as they are. */
int varlink_idl_check_reply(const struct varlink_idl *idl, const char *method,
			    const json_t *parameters, char *path);
int varlink_idl_check_error(const struct varlink_idl *idl, const char *error,
			    const json_t *parameters, char *path);
