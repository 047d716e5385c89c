#pragma once

#include "base/varlink.h"

/* The method Freeze.  For a client that takes more than one reply the guest stays frozen only as
 * long as that is there; the last reply says how it ended.  The context is the supervisor. */
void freeze_guest(void *context, struct varlink_call *call, const json_t *parameters);
