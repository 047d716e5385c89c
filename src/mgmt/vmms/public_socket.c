#include "mgmt/vmms/public_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/unix_socket.h"
#include "base/varlink.h"
#include "mgmt/vmms/interface.h"
#include "mgmt/vmms/vmms.h"

struct public_socket {
	char path[PATH_MAX + 16];
	struct unix_listener listener;
	struct varlink_server *server;
};

int public_socket_listen(const char *path, mode_t mode, struct unix_listener *out)
{
	mode_t mask = umask(0);
	int r = unix_listen(path, mode, out);

	umask(mask);
	return r;
}

static int start(struct vmms *vmms, struct public_socket *public_socket)
{
	int directory = (int)(strrchr(vmms->socket_path, '/') - vmms->socket_path);
	int r;

	snprintf(public_socket->path, sizeof(public_socket->path), "%.*s/public.sock", directory,
		 vmms->socket_path);
	r = public_socket_listen(public_socket->path, 0666, &public_socket->listener);
	if (r)
		return r;
	r = varlink_server_new(vmms->loop, public_socket->listener.fd, vmms_interface(), vmms,
			       &public_socket->server);
	if (r)
		unix_listener_close(&public_socket->listener, public_socket->path);
	else
		varlink_server_limit(public_socket->server, VMMS_CONNECTIONS_MAX,
				     VMMS_CONNECTIONS_SHARE);
	return r;
}

int public_socket_open(struct vmms *vmms, struct public_socket **out, struct error *err)
{
	struct public_socket *public_socket = calloc(1, sizeof(*public_socket));
	int r;

	if (!public_socket)
		return error_memory(err, "a socket");
	r = start(vmms, public_socket);
	if (r) {
		error_set(err, -r, "cannot listen at %.200s: %s; %s", public_socket->path,
			  strerror(-r), error_remedy(-r, "users without the group cannot call"));
		free(public_socket);
		return r;
	}
	*out = public_socket;
	return 0;
}

void public_socket_close(struct public_socket *public_socket)
{
	if (!public_socket)
		return;
	varlink_server_free(public_socket->server);
	unix_listener_close(&public_socket->listener, public_socket->path);
	free(public_socket);
}
