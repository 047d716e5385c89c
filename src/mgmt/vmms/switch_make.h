#pragma once

#include <limits.h>

#include "mgmt/vmms/switch.h"
#include "mgmt/vmms/switch_dhcp.h"
#include "mgmt/vmms/switch_link.h"
#include "mgmt/vmms/switch_nat.h"
#include "mgmt/vmms/switch_record.h"
#include "mgmt/vmms/switch_watch.h"

/* The one switch that there is, and how it is made and undone.  Internal to switch*.c. */

#define SWITCH_MARK	 "bulkhead:" SWITCH_DEFAULT ":" /* and 16 digits: the state directory */
#define SWITCH_MARK_SIZE 48

struct switches {
	struct event_loop *loop;
	switch_notice notice;
	void *context;
	char mark[SWITCH_MARK_SIZE]; /* "bulkhead:default:HASH", of all that is made */
	uint8_t mac[SWITCH_MAC_BYTES];
	char directory[PATH_MAX]; /* in the runtime directory */
	char record_path[PATH_MAX];
	char leases_path[PATH_MAX];
	char subnet_directory[PATH_MAX]; /* in the state directory */
	char subnet_path[PATH_MAX];
	struct switch_netlink netlink;
	struct switch_nat *nat;
	struct switch_dhcp *dhcp;
	struct switch_watch *watch;  /* NULL: there is no switch */
	struct switch_record record; /* as the file has it */
	int name;		     /* that tells others that we live; -1: none */
	int index;		     /* of the bridge; 0: there is none */
	struct error nat_trouble;    /* "": none */
	struct error dhcp_trouble;
};

/* Finds our bridge, and whoever is on it. */
struct switch_found {
	const char *mark;
	const uint8_t *mac;
	struct switch_link bridge; /* index 0: there is none */
	unsigned int taps;	   /* of ours, wherever they are */
	unsigned int others;	   /* ports of the bridge that are not ours */
};

/* -errno with err. */
int switch_find(struct switches *switches, struct switch_found *found, struct error *err);

/* Makes what looks after the packet filter and dnsmasq; -errno. */
int switch_make_parts(struct switches *switches);

/*
 * Makes all of the switch that is missing, and keeps what is there.  -errno with err; what was made
 * is undone then, unless somebody is on it.
 */
int switch_make(struct switches *switches, struct error *err);

/* Takes all of it off the host, whatever of it there is. */
void switch_undo(struct switches *switches);

/* Tells the notice, where there is one. */
void switch_tell(struct switches *switches, const char *sentence);
