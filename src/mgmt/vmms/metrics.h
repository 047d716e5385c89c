#pragma once

#include <stddef.h>

struct vmms;

/*
 * The figures of the daemon and its VMs as Prometheus' text; docs/metrics.md tells what each means.
 * How many samples a VM has is bounded by its settings, for nothing that a worker says becomes a
 * label unless it is known here.  Loop thread.
 */

/* Within figures_asker.done.  The text is for free(); -ENOMEM. */
int metrics_write(const struct vmms *vmms, char **text, size_t *size);
