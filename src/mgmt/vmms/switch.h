#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"

/*
 * The daemon's virtual switches.  There is one, "default": a Linux bridge of the host's with a
 * subnet of its own, NAT to wherever the host reaches, DHCP and DNS.  It is made when the first VM
 * asks for a port, so that a host without such VMs is left as it is, and undone with the last one.
 * Everything that is made carries a mark with the daemon's state directory; nothing without it is
 * ever changed.  docs/switch.md says what is made and why.
 *
 * Everything here runs on the thread of the daemon's loop.
 */

#define SWITCH_DEFAULT	  "default"
#define SWITCH_QUEUES_MAX 16u

struct switches;

/* What an administrator should know, as one sentence: dnsmasq ended, a firewall drops the guests'
 * traffic ...  Runs on the loop. */
typedef void (*switch_notice)(void *context, const char *switch_name, const char *sentence);

/*
 * state and runtime are the daemon's two directories.  The subnet is remembered in state, what was
 * changed on the host and the leases are in runtime.  Changes nothing on the host.  -ENOMEM with
 * err; notice may be NULL.
 */
int switches_new(struct event_loop *loop, const char *state, const char *runtime,
		 switch_notice notice, void *context, struct switches **out, struct error *err);

/*
 * When the daemon starts: finds the switch that a former one left and takes it over: what is
 * missing of it is made again, a dnsmasq that still runs is kept and watched.  Does nothing where
 * there is none.  Fails with a sentence; the daemon can run on, and VMs that are on the switch stay
 * on it.
 */
int switches_adopt(struct switches *switches, struct error *err);

/*
 * Frees all of it.  keep leaves the switch to the VMs that are on it and to the next daemon;
 * otherwise it is taken off the host, unless interfaces of others are on its bridge, after up to a
 * second for taps that are going.  NULL is allowed.
 */
void switches_free(struct switches *switches, bool keep);

/* "switch" where this process may make one (CAP_NET_ADMIN), else "user" (passt): the kind of the
 * one NIC that a VM gets for which none was given. */
const char *switch_default_nic_kind(void);

/* Whose port it is, which its interface says to people (`ip link`): the VM's UUID and the NIC's
 * name. */
struct switch_port {
	const char *vm;
	const char *nic;
	unsigned int queues; /* 1 to SWITCH_QUEUES_MAX */
};

/*
 * Makes the switch if it is not there yet, and a tap on it: fds gets port->queues descriptors
 * (close-on-exec, not blocking), one for each queue, every frame with a struct virtio_net_hdr
 * before it and no offload asked for.  The tap goes with the last copy of them.  interface
 * (IFNAMSIZ bytes, or NULL) gets its name.  -ENOENT for a switch that there is not, -EPERM, or
 * another -errno, each with a sentence; nothing is open then.
 */
int switch_open_tap(struct switches *switches, const char *switch_name,
		    const struct switch_port *port, int *fds, char *interface, struct error *err);

/*
 * What is known of each, an array: {name, state: "absent"|"ready"|"faulty", bridge, subnet,
 * address, message}; bridge and what follows only where there is one, message where it is faulty.
 * A new reference, or NULL without memory.
 */
json_t *switches_show(const struct switches *switches);
