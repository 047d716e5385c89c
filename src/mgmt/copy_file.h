#pragma once

#include "base/varlink.h"

/* The method CopyFile: reads the file here, with the rights of the VM's user, and passes on a pipe
 * that it comes through.  The context is the supervisor. */
void copy_file(void *context, struct varlink_call *call, const json_t *parameters);
