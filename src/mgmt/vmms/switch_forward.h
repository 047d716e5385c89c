#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "mgmt/vmms/switch_link.h"
#include "mgmt/vmms/switch_record.h"

/*
 * Forwarding of IPv4 packets, by the host's sysctls, interface by interface.  A host that forwards
 * anyway is left as it is.  Where it does not, those interfaces with an address that did not are
 * told to, and are noted as guarded: the packet filter lets them forward for guests only, and
 * switch_forward_restore turns them back.
 */

/*
 * Sets up the bridge itself: it forwards, and takes no routes from the guests.  -errno with err.
 */
int switch_forward_bridge(const char *bridge, struct error *err);

/* Looks at the other interfaces and brings record->guarded up to date.  *changed: the list has.
 * -errno with err. */
int switch_forward_list(struct switch_netlink *netlink, const char *bridge,
			struct switch_record *record, bool *changed, struct error *err);

/* Lets those forward: once the record is kept, and the packet filter guards them. */
int switch_forward_turn_on(const struct switch_record *record, struct error *err);

/* Turns back what was turned on, unless the host as a whole forwards by now. */
void switch_forward_restore(const struct switch_record *record);
