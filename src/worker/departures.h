#pragma once

#include "base/event_loop.h"
#include "devices/device.h"
#include "worker/vm.h"

/*
 * Devices that leave a running VM in order: the guest is told first, and the device goes when the
 * guest is through with it, or has been looked at VMBUS_LOOKS_MAX times.  The time of a pause does
 * not count.  Main loop.
 */

struct departures;

/* look_ns: between two looks, VMBUS_LOOK_NS but in tests.  -errno.  loop and vm outlive it. */
int departures_new(struct event_loop *loop, struct vm *vm, uint64_t look_ns,
		   struct departures **out);

/* Refuses those that are under way.  NULL is allowed. */
void departures_free(struct departures *departures);

/* Whether a device is leaving. */
bool departures_any(const struct departures *departures);

/* Takes the device of that id away, and answers the call then; refuses what vm_detach would, and a
 * device that is leaving already. */
void departures_begin(struct departures *departures, const char *id, struct device_call *call);
