#pragma once

#include <jansson.h>

#include "base/json_link.h"

/* Descriptors that came along with a message of the control socket (worker/protocol.h). */

/*
 * Takes at most max of those that the link holds, the oldest first, and puts each in the place of
 * its index, under the keys "fd" and "..._fd", and in lists under
 * "fds".  -EINVAL for an index that has no
 * descriptor, or one used twice; all that were taken are then closed, as are those that no key
 * names.  Main loop.
 */
int descriptors_bind(json_t *message, struct json_link *link, unsigned int max);

/* Closes every descriptor that the message names.  Main loop. */
void descriptors_close(json_t *message);
