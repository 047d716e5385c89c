#include "mgmt/vmms/switch_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define LIST_TRIES 5 /* for a list that changes while it is read */

/* The kind of an interface lies one level deeper than the rest. */
static void read_kind(const struct nlattr *info, struct switch_link *link)
{
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, info)
	{
		if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND &&
		    !mnl_attr_validate(attribute, MNL_TYPE_STRING))
			snprintf(link->kind, sizeof(link->kind), "%.*s",
				 mnl_attr_get_payload_len(attribute), mnl_attr_get_str(attribute));
	}
}

static void read_attribute(const struct nlattr *attribute, struct switch_link *link)
{
	unsigned int length = mnl_attr_get_payload_len(attribute);

	switch (mnl_attr_get_type(attribute)) {
	case IFLA_IFNAME:
		snprintf(link->name, sizeof(link->name), "%.*s", length,
			 mnl_attr_get_str(attribute));
		break;
	case IFLA_IFALIAS:
		snprintf(link->alias, sizeof(link->alias), "%.*s", length,
			 mnl_attr_get_str(attribute));
		break;
	case IFLA_MASTER:
		if (length >= sizeof(uint32_t))
			link->master = (int)mnl_attr_get_u32(attribute);
		break;
	case IFLA_ADDRESS:
		if (length == SWITCH_MAC_BYTES)
			memcpy(link->mac, mnl_attr_get_payload(attribute), length);
		break;
	case IFLA_LINKINFO:
		read_kind(attribute, link);
		break;
	default:
		break;
	}
}

static void read_link(const struct nlmsghdr *message, struct switch_link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;

	*link = (struct switch_link){.index = info->ifi_index, .up = info->ifi_flags & IFF_UP};
	mnl_attr_for_each(attribute, message, sizeof(*info)) read_attribute(attribute, link);
}

static int take_link(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type == RTM_NEWLINK)
		read_link(message, context);
	return MNL_CB_OK;
}

static struct nlmsghdr *begin_link(char *buffer, int type, int flags, int index)
{
	struct nlmsghdr *request = switch_netlink_begin(buffer, type, flags);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	return request;
}

int switch_link_get(struct switch_netlink *netlink, int index, struct switch_link *out)
{
	char buffer[SWITCH_REQUEST_BYTES];
	struct nlmsghdr *request = begin_link(buffer, RTM_GETLINK, NLM_F_ACK, index);
	struct switch_link link = {0};
	int r = switch_netlink_get(netlink, request, take_link, &link);

	if (r)
		return r;
	if (!link.index)
		return -ENODEV;
	*out = link;
	return 0;
}

struct link_list {
	void (*each)(void *context, const struct switch_link *link);
	void *context;
};

static int tell_link(const struct nlmsghdr *message, void *context)
{
	const struct link_list *list = context;
	struct switch_link link;

	if (message->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	read_link(message, &link);
	list->each(list->context, &link);
	return MNL_CB_OK;
}

int switch_link_list(struct switch_netlink *netlink,
		     void (*each)(void *context, const struct switch_link *link), void *context)
{
	struct link_list list = {each, context};
	char buffer[SWITCH_REQUEST_BYTES];
	int r = -EINTR;

	for (int i = 0; i < LIST_TRIES && r == -EINTR; i++)
		r = switch_netlink_get(netlink, begin_link(buffer, RTM_GETLINK, NLM_F_DUMP, 0),
				       tell_link, &list);
	return r;
}

int switch_link_make_bridge(struct switch_netlink *netlink, const char *name,
			    const uint8_t mac[SWITCH_MAC_BYTES])
{
	char buffer[SWITCH_REQUEST_BYTES];
	struct nlmsghdr *request = begin_link(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info;

	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	mnl_attr_put(request, IFLA_ADDRESS, SWITCH_MAC_BYTES, mac);
	info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(request, info);
	return switch_netlink_do(netlink, request);
}

int switch_link_set(struct switch_netlink *netlink, int index,
		    const struct switch_link_change *change)
{
	char buffer[SWITCH_REQUEST_BYTES];
	struct nlmsghdr *request = begin_link(buffer, RTM_NEWLINK, 0, index);
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);

	if (change->up) {
		info->ifi_flags = IFF_UP;
		info->ifi_change = IFF_UP;
	}
	if (change->alias)
		mnl_attr_put_str(request, IFLA_IFALIAS, change->alias);
	if (change->master)
		mnl_attr_put_u32(request, IFLA_MASTER, (uint32_t)change->master);
	return switch_netlink_do(netlink, request);
}

int switch_link_remove(struct switch_netlink *netlink, int index)
{
	char buffer[SWITCH_REQUEST_BYTES];

	return switch_netlink_do(netlink, begin_link(buffer, RTM_DELLINK, 0, index));
}

struct prefix_list {
	switch_prefix_each each;
	void *context;
};

static int tell_address(const struct nlmsghdr *message, void *context)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	struct switch_prefix prefix = {.length = info->ifa_prefixlen,
				       .index = (int)info->ifa_index};
	const struct prefix_list *list = context;
	const struct nlattr *attribute;
	bool local = false;

	if (message->nlmsg_type != RTM_NEWADDR || info->ifa_family != AF_INET)
		return MNL_CB_OK;
	mnl_attr_for_each(attribute, message, sizeof(*info))
	{
		int type = mnl_attr_get_type(attribute);

		/* With a peer the other one is the peer's. */
		if (type == IFA_LOCAL || (type == IFA_ADDRESS && !local))
			prefix.address = ntohl(mnl_attr_get_u32(attribute));
		local |= type == IFA_LOCAL;
	}
	list->each(list->context, &prefix);
	return MNL_CB_OK;
}

static int tell_route(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	struct switch_prefix prefix = {.length = info->rtm_dst_len};
	const struct prefix_list *list = context;
	const struct nlattr *attribute;

	if (message->nlmsg_type != RTM_NEWROUTE || info->rtm_family != AF_INET ||
	    info->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	mnl_attr_for_each(attribute, message, sizeof(*info))
	{
		if (mnl_attr_get_type(attribute) == RTA_DST)
			prefix.address = ntohl(mnl_attr_get_u32(attribute));
		if (mnl_attr_get_type(attribute) == RTA_OIF)
			prefix.index = (int)mnl_attr_get_u32(attribute);
	}
	list->each(list->context, &prefix);
	return MNL_CB_OK;
}

int switch_address_list(struct switch_netlink *netlink, switch_prefix_each each, void *context)
{
	struct prefix_list list = {each, context};
	char buffer[SWITCH_REQUEST_BYTES];
	int r = -EINTR;

	for (int i = 0; i < LIST_TRIES && r == -EINTR; i++) {
		struct nlmsghdr *request = switch_netlink_begin(buffer, RTM_GETADDR, NLM_F_DUMP);
		struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));

		info->ifa_family = AF_INET;
		r = switch_netlink_get(netlink, request, tell_address, &list);
	}
	return r;
}

int switch_route_list(struct switch_netlink *netlink, switch_prefix_each each, void *context)
{
	struct prefix_list list = {each, context};
	char buffer[SWITCH_REQUEST_BYTES];
	int r = -EINTR;

	for (int i = 0; i < LIST_TRIES && r == -EINTR; i++) {
		struct nlmsghdr *request = switch_netlink_begin(buffer, RTM_GETROUTE, NLM_F_DUMP);
		struct rtmsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));

		info->rtm_family = AF_INET;
		r = switch_netlink_get(netlink, request, tell_route, &list);
	}
	return r;
}

int switch_address_add(struct switch_netlink *netlink, const struct switch_prefix *prefix)
{
	char buffer[SWITCH_REQUEST_BYTES];
	struct nlmsghdr *request =
		switch_netlink_begin(buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	uint32_t mask = prefix->length ? ~0u << (32 - prefix->length) : 0;

	info->ifa_family = AF_INET;
	info->ifa_prefixlen = (uint8_t)prefix->length;
	info->ifa_index = (unsigned int)prefix->index;
	mnl_attr_put_u32(request, IFA_LOCAL, htonl(prefix->address));
	mnl_attr_put_u32(request, IFA_ADDRESS, htonl(prefix->address));
	mnl_attr_put_u32(request, IFA_BROADCAST, htonl(prefix->address | ~mask));
	return switch_netlink_do(netlink, request);
}
