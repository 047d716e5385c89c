#pragma once

#include "base/error.h"

/*
 * The shutdown of the host: every VM is stopped as its stop action says, those first that were to
 * be started last (by the delays of their start actions), and those with the same delay together. A
 * guest that does not shut down in time is turned off.
 */

/* Has the daemon at that socket (NULL: the default) do so, and waits: for the host's service
 * manager, which runs `bulkhead-vmms --shutdown`.  0 where no daemon runs; -errno with err. Blocks.
 */
int shutdown_by_client(const char *socket, struct error *err);
