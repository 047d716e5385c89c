#pragma once

#include <stdint.h>

#include "base/error.h"
#include "mgmt/nic_options.h"

/*
 * Opens an existing tap of the host once for each queue, with the virtio header of struct
 * virtio_net_hdr before every frame and no offload asked for.  queues_wanted: how many where the
 * user gave no number and the tap allows several.  *mtu: the interface's.  -errno with err;
 * nothing then stays open.
 */
int nic_tap_open(const struct run_nic *nic, unsigned int queues_wanted, int fds[NIC_QUEUES_MAX],
		 unsigned int *count, uint32_t *mtu, struct error *err);

/*
 * The same of one that we were given, by a descriptor for each queue (close-on-exec), which are
 * ours on success.
 */
int nic_tap_take(const struct run_nic *nic, int fds[NIC_QUEUES_MAX], unsigned int *count,
		 uint32_t *mtu, struct error *err);
