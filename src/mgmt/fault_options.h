#pragma once

#include "base/error.h"

/* --fault FILE|SPEC: the text of the faults, checked, malloc'ed.  What has a colon or a "=" is the
 * faults themselves, all else a file with them.  -EINVAL and the like, with a sentence. */
int fault_options_read(const char *value, char **faults, struct error *err);
