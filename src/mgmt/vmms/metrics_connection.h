#pragma once

#include <stdbool.h>

#include "base/list.h"

struct vmms;

/* The connections at the metrics socket, each with one request and its answer.  Loop thread. */

struct metrics_service {
	struct vmms *vmms;
	struct list connections; /* the oldest first */
	unsigned int count;
	bool local_names; /* the host must be named as metrics_http_is_local has it */
};

/* Takes over fd, which does not block, on success.  -errno. */
int metrics_connection_new(struct metrics_service *service, int fd);

/* Ends the oldest whose request is not whole yet; false where there is none. */
bool metrics_connection_drop_oldest(struct metrics_service *service);

/* Ends all.  Nobody waits for figures any more, by figures_free. */
void metrics_connections_free(struct metrics_service *service);
