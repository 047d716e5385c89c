#pragma once

#include "base/error.h"

/*
 * Makes a NoCloud seed (cloud-init's documentation, "NoCloud") out of a directory that has
 * user-data and meta-data: an ISO image called "cidata", in memory, of SEED_BYTES_MAX at most.
 * Needs xorriso, and waits for it.  The descriptor, read-only, or a negative errno with err: -EFBIG
 * for a directory that makes a larger one.
 */
#define SEED_BYTES_MAX (64u << 20)

int seed_make(const char *directory, struct error *err);
