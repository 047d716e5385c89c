#pragma once

#include <net/if.h>

#include "base/error.h"

/*
 * Makes a tap that goes with the last descriptor of it: fds gets one for each queue (close-on-exec,
 * not blocking), with a struct virtio_net_hdr before every frame and no offload asked for.  It is
 * down, and a port of nothing yet.  -errno with err; nothing is open then.
 */
int switch_tap_make(unsigned int queues, int *fds, char interface[IFNAMSIZ], struct error *err);
