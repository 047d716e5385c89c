#pragma once

#include <stdbool.h>

#include <libmnl/libmnl.h>

/*
 * A socket of rtnetlink (linux/rtnetlink.h) for requests: the kernel answers each at once, so that
 * nothing here waits for anybody else.  One thread at a time.
 */
struct switch_netlink {
	struct mnl_socket *socket; /* NULL: not open */
	unsigned int sequence;
	bool busy; /* an answer is being told */
};

#define SWITCH_REQUEST_BYTES 1024 /* room for every request that we make */

/* -errno; close is harmless for one that was zeroed. */
int switch_netlink_open(struct switch_netlink *netlink);
void switch_netlink_close(struct switch_netlink *netlink);

/* Begins a request in buffer, which has SWITCH_REQUEST_BYTES bytes. */
struct nlmsghdr *switch_netlink_begin(char *buffer, int type, int flags);

/* Sends it and waits for the acknowledgement: what the kernel said, 0 or -errno. */
int switch_netlink_do(struct switch_netlink *netlink, struct nlmsghdr *request);

/*
 * Sends a request for a list, or for one thing with its acknowledgement, and calls each for every
 * message of the answer, until it returns less than 1.
 * each makes no request of its own.  -EINTR: the list changed meanwhile, and
 * not all was told.
 */
int switch_netlink_get(struct switch_netlink *netlink, struct nlmsghdr *request, mnl_cb_t each,
		       void *context);
