#pragma once

#include "base/guid.h"

/* The classes of VMBus devices (Linux include/linux/hyperv.h, HV_*_GUID). */

/* A short name of the class, as traces, faults and counters call it: "scsi", "nic", "kvp" ...;
 * "hvsock" for a port of hv_sock, "unknown" for what we have never heard of.  Any thread. */
const char *vmbus_class_name(const struct guid *class_id);
