#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

/* Where figures are served: a path, or an address of this host's own. */
struct metrics_address {
	const char *path; /* in the given text, or NULL */
	struct sockaddr_storage address;
	socklen_t size;
};

/* "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT".  -EINVAL with a sentence, also for an address that
 * others than this host's users would reach. */
int metrics_address_parse(const char *text, struct metrics_address *out, struct error *err);
