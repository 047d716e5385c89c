#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * The value of --integration: "all", "none", or the services' names with commas between them, each
 * perhaps with the highest version that it is offered in (kvp=3.0).  *device is the worker's
 * configuration of them, a new reference, or NULL for none.  -EINVAL with err.
 */
int integration_options_parse(const char *text, json_t **device, struct error *err);
