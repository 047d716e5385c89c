#include "mgmt/vmms/switch_watch.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#define MOMENT_NS 100000000ull

struct switch_watch {
	switch_watch_changed changed;
	void *context;
	char table[IFNAMSIZ];
	struct mnl_socket *routes; /* addresses and forwarding */
	struct mnl_socket *filter; /* tables; NULL where the kernel has none */
	struct event_source *on_routes;
	struct event_source *on_filter;
	struct event_source *moment; /* timer */
};

static int join(struct mnl_socket *socket, int group)
{
	return mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
}

/* -errno. */
static int open_socket(int bus, const int *groups, size_t count, struct mnl_socket **out)
{
	struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r = 0;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
		r = -errno;
	for (size_t i = 0; i < count && !r; i++)
		if (join(socket, groups[i]) < 0)
			r = -errno;
	if (r) {
		mnl_socket_close(socket);
		return r;
	}
	*out = socket;
	return 0;
}

/* Reads all that waits; each decides what matters.  What was lost may have mattered. */
static bool drain(struct mnl_socket *socket, mnl_cb_t each, void *context)
{
	char buffer[32768];
	bool matters = false;

	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0 && errno != ENOBUFS && errno != ENOSPC)
			return matters;
		if (length < 0 ||
		    mnl_cb_run(buffer, (size_t)length, 0, 0, each, context) == MNL_CB_STOP)
			matters = true;
	}
}

static int matters_always(const struct nlmsghdr *message, void *context)
{
	return MNL_CB_STOP;
}

/* Whether the message says that our table was deleted, by itself or with all others. */
static int matters_if_ours(const struct nlmsghdr *message, void *context)
{
	const struct switch_watch *watch = context;
	const struct nlattr *attribute;

	if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE))
		return MNL_CB_OK;
	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME &&
		    !mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) &&
		    !strcmp(mnl_attr_get_str(attribute), watch->table))
			return MNL_CB_STOP;
	}
	return MNL_CB_OK;
}

static void routes_changed(void *context, uint32_t events)
{
	struct switch_watch *watch = context;

	if (drain(watch->routes, matters_always, watch))
		event_timer_arm(watch->moment, MOMENT_NS, 0);
}

static void filter_changed(void *context, uint32_t events)
{
	struct switch_watch *watch = context;

	if (drain(watch->filter, matters_if_ours, watch))
		event_timer_arm(watch->moment, MOMENT_NS, 0);
}

static void moment_is_over(void *context, uint32_t events)
{
	struct switch_watch *watch = context;

	watch->changed(watch->context);
}

static int start(struct switch_watch *watch, struct event_loop *loop)
{
	const int route_groups[] = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_NETCONF};
	const int filter_groups[] = {NFNLGRP_NFTABLES};
	int r = open_socket(NETLINK_ROUTE, route_groups, 2, &watch->routes);

	if (!r)
		r = event_loop_watch(loop, mnl_socket_get_fd(watch->routes), EPOLLIN,
				     routes_changed, watch, &watch->on_routes);
	if (!r && !open_socket(NETLINK_NETFILTER, filter_groups, 1, &watch->filter))
		r = event_loop_watch(loop, mnl_socket_get_fd(watch->filter), EPOLLIN,
				     filter_changed, watch, &watch->on_filter);
	if (!r)
		r = event_loop_timer(loop, moment_is_over, watch, &watch->moment);
	return r;
}

int switch_watch_new(struct event_loop *loop, const char *table, switch_watch_changed changed,
		     void *context, struct switch_watch **out)
{
	struct switch_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return -ENOMEM;
	watch->changed = changed;
	watch->context = context;
	snprintf(watch->table, sizeof(watch->table), "%s", table);
	r = start(watch, loop);
	if (r) {
		switch_watch_free(watch);
		return r;
	}
	*out = watch;
	return 0;
}

void switch_watch_free(struct switch_watch *watch)
{
	if (!watch)
		return;
	event_source_remove(watch->moment);
	event_source_remove(watch->on_filter);
	event_source_remove(watch->on_routes);
	if (watch->filter)
		mnl_socket_close(watch->filter);
	if (watch->routes)
		mnl_socket_close(watch->routes);
	free(watch);
}
