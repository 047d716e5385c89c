#pragma once

#include <jansson.h>

#include "mgmt/vmms/metrics_text.h"

/* Writes the samples of a histogram that latency_put put into a VM's tree; none where node is no
 * object.  Every second bound is left out: a sample each costs whoever keeps them. */
void metrics_latency(struct metrics_text *text, const struct metrics_label *labels,
		     const json_t *node);
