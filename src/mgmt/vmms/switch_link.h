#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmms/switch_netlink.h"

/* The host's network interfaces and their addresses, by rtnetlink. */

#define SWITCH_MAC_BYTES  6
#define SWITCH_ALIAS_SIZE 256 /* IFALIASZ */

struct switch_link {
	int index;
	int master; /* index of the bridge that it is a port of; 0: none */
	bool up;
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge", "tun" ... */
	char alias[SWITCH_ALIAS_SIZE];
	uint8_t mac[SWITCH_MAC_BYTES];
};

/* The interface with that index; -ENODEV, or another -errno. */
int switch_link_get(struct switch_netlink *netlink, int index, struct switch_link *out);

/* Calls each for every interface.  0 or -errno. */
int switch_link_list(struct switch_netlink *netlink,
		     void (*each)(void *context, const struct switch_link *link), void *context);

/* -EEXIST, or another -errno.  It is down and has no alias yet. */
int switch_link_make_bridge(struct switch_netlink *netlink, const char *name,
			    const uint8_t mac[SWITCH_MAC_BYTES]);

struct switch_link_change {
	const char *alias; /* NULL: stays */
	int master;	   /* 0: stays */
	bool up;	   /* false: stays */
};

int switch_link_set(struct switch_netlink *netlink, int index,
		    const struct switch_link_change *change);

int switch_link_remove(struct switch_netlink *netlink, int index);

/* An IPv4 address or the destination of a route, in the host's byte order. */
struct switch_prefix {
	uint32_t address;
	unsigned int length;
	int index; /* of the interface; 0: of none alone */
};

typedef void (*switch_prefix_each)(void *context, const struct switch_prefix *prefix);

/* Every IPv4 address of the host; every IPv4 unicast route but the local ones.  0 or -errno. */
int switch_address_list(struct switch_netlink *netlink, switch_prefix_each each, void *context);
int switch_route_list(struct switch_netlink *netlink, switch_prefix_each each, void *context);

/* Gives the interface an address; one that it has already is no error. */
int switch_address_add(struct switch_netlink *netlink, const struct switch_prefix *prefix);
