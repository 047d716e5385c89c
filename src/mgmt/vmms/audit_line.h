#pragma once

#include <stdint.h>
#include <time.h>

#include "mgmt/vmms/audit.h"

#define AUDIT_LINE_MAX 8192

/*
 * The line of a record, without its end; NULL: no memory.  missing: lines before it that were lost.
 * What guests and keyboards are told (values of KVP, keys) is left out.  The caller frees it.  Any
 * thread.
 */
char *audit_line(const struct audit_record *record, const struct timespec *when, uint64_t missing);
