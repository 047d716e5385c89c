#pragma once

#define SWITCH_LEASES_OPTION	"--dhcp-leasefile="
#define SWITCH_INTERFACE_OPTION "--interface="
#define SWITCH_DOMAIN_OPTION	"--domain="
#define SWITCH_DOMAIN		"bulkhead"

/* Whom dnsmasq becomes once it has its sockets: its package's own user, of no group that may
 * anything.  Empty, it stays who it is.  A static string. */
const char *switch_dhcp_user(void);

/* Kills every dnsmasq that keeps its leases in this file and runs as ours do, and waits for that,
 * for a second at most for all of them. */
void switch_dhcp_kill_unknown(const char *leases);

/*
 * Kills every dnsmasq that serves this bridge of the host's network and runs as ours do, and waits
 * for that as above.  After each, killed is told the path that it gave of its leases: its word
 * alone, of which the host's user "nobody", say, may make any.
 */
void switch_dhcp_kill_of(const char *bridge,
			 void (*killed)(const char *bridge, const char *leases));
