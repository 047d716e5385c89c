#include "mgmt/vmms/switch_netlink.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

int switch_netlink_open(struct switch_netlink *netlink)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;

		mnl_socket_close(socket);
		return r;
	}
	*netlink = (struct switch_netlink){.socket = socket};
	return 0;
}

void switch_netlink_close(struct switch_netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

struct nlmsghdr *switch_netlink_begin(char *buffer, int type, int flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = (uint16_t)type;
	request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return request;
}

int switch_netlink_get(struct switch_netlink *netlink, struct nlmsghdr *request, mnl_cb_t each,
		       void *context)
{
	char buffer[32768]; /* the kernel fills as much with one part of a list */
	unsigned int port = mnl_socket_get_portid(netlink->socket);
	int r;

	assert(!netlink->busy);
	request->nlmsg_seq = ++netlink->sequence;
	if (mnl_socket_sendto(netlink->socket, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t length = mnl_socket_recvfrom(netlink->socket, buffer, sizeof(buffer));

		if (length < 0)
			return -errno;
		netlink->busy = true;
		r = mnl_cb_run(buffer, (size_t)length, netlink->sequence, port, each, context);
		netlink->busy = false;
		/* What is left of an earlier answer that was not wanted to its end. */
		if (r < 0 && errno == EPROTO)
			r = MNL_CB_OK;
	} while (r > 0);
	return r < 0 ? -errno : 0;
}

int switch_netlink_do(struct switch_netlink *netlink, struct nlmsghdr *request)
{
	request->nlmsg_flags |= NLM_F_ACK;
	return switch_netlink_get(netlink, request, NULL, NULL);
}
