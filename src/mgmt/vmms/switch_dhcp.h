#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/event_loop.h"

/*
 * DHCP and DNS of a switch, by a dnsmasq of its own, which serves that bridge and nothing else.  It
 * outlives the daemon; one that ends is started again after a second, twice as long each time.
 *
 * Everything here runs on the loop's thread.
 */

struct switch_dhcp;

/* Which process it is; pid 0: none runs. */
struct switch_dhcp_process {
	pid_t pid;
	uint64_t start; /* field 22 of /proc/PID/stat */
};

/* Another process serves, or none: then with a sentence.  On the loop. */
typedef void (*switch_dhcp_changed)(void *context, const char *trouble);

/* leases: the path of the file that they are kept in, by which a process of ours is known, too.
 * -errno. */
int switch_dhcp_new(struct event_loop *loop, const char *leases, switch_dhcp_changed changed,
		    void *context, struct switch_dhcp **out);

/* Whom to serve; stays the same while it runs. */
void switch_dhcp_configure(struct switch_dhcp *dhcp, const char *bridge, uint32_t subnet);

/* Starts one.  -ENOENT where dnsmasq is not installed, or another -errno, with err. */
int switch_dhcp_start(struct switch_dhcp *dhcp, struct error *err);

/* Watches one that a former daemon started, if it still runs: whether it does. */
bool switch_dhcp_adopt(struct switch_dhcp *dhcp, const struct switch_dhcp_process *process);

struct switch_dhcp_process switch_dhcp_process(const struct switch_dhcp *dhcp);

/* Ends it if it runs, and waits for that for a second, then kills it; and kills any that a daemon
 * started which did not live to note it. */
void switch_dhcp_stop(struct switch_dhcp *dhcp);

/* Leaves it running.  NULL is allowed. */
void switch_dhcp_free(struct switch_dhcp *dhcp);
