#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * Writes a small file of the run directory, whole or not at all: what it held stays until the new
 * one has its name.  Nothing is flushed, for /run is lost with the host.  err names path (at most
 * VM_PATH_MAX bytes with its NUL) and the remedy.  Main loop.
 */
int run_file_write(const char *path, const json_t *object, struct error *err);
