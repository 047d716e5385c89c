#pragma once

#include <jansson.h>

#include "base/error.h"

/*
 * What VMs can have on this host: a worker without a VM tries it, with what this process may open.
 * A new reference, as `bulkhead doctor --json` prints it.  Takes a moment, and blocks; any thread.
 * -errno with err.
 */
int doctor_findings(json_t **findings, struct error *err);
