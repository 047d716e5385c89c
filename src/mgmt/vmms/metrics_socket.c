#include "mgmt/vmms/metrics_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/list.h"
#include "base/unix_socket.h"
#include "mgmt/vmms/access.h"
#include "mgmt/vmms/metrics_address.h"
#include "mgmt/vmms/metrics_connection.h"
#include "mgmt/vmms/public_socket.h"
#include "mgmt/vmms/vmms.h"

#define NS_A_SECOND 1000000000ull
#define BACKLOG	    64

struct metrics_socket {
	struct vmms *vmms;
	struct unix_listener listener;
	char *path; /* NULL: it is an address */
	struct event_source *source;
	struct event_source *again; /* accepts after a lack of descriptors */
	struct metrics_service service;
};

/* The host is out of descriptors, say. */
static void accept_later(struct metrics_socket *metrics)
{
	event_source_change(metrics->source, 0);
	event_timer_arm(metrics->again, NS_A_SECOND, 0);
}

static void on_again(void *context, uint32_t events)
{
	struct metrics_socket *metrics = context;

	event_source_change(metrics->source, EPOLLIN);
}

/* With all places taken that one goes which has yet to say what it wants, for the longest time. */
static void serve(struct metrics_socket *metrics, int fd)
{
	if ((metrics->service.count == METRICS_SOCKET_CONNECTIONS_MAX &&
	     !metrics_connection_drop_oldest(&metrics->service)) ||
	    metrics_connection_new(&metrics->service, fd))
		close(fd);
}

static void accept_all(void *context, uint32_t events)
{
	struct metrics_socket *metrics = context;

	for (;;) {
		int fd = accept4(metrics->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			accept_later(metrics);
		if (fd < 0)
			return;
		serve(metrics, fd);
	}
}

static int listen_at_path(struct metrics_socket *metrics, const char *path)
{
	int r;

	metrics->path = strdup(path);
	if (!metrics->path)
		return -ENOMEM;
	r = public_socket_listen(path, metrics->vmms->rootless ? 0600 : 0660, &metrics->listener);
	if (!r)
		access_give_socket(metrics->vmms->access, path);
	return r;
}

static int listen_at_address(struct metrics_socket *metrics, const struct metrics_address *address)
{
	int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0)
		return -errno;
	metrics->listener.fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address->address, address->size) ||
	    listen(fd, BACKLOG))
		return -errno;
	return 0;
}

static int start(struct metrics_socket *metrics, const struct metrics_address *address)
{
	struct event_loop *loop = metrics->vmms->loop;
	int r = address->path ? listen_at_path(metrics, address->path)
			      : listen_at_address(metrics, address);

	metrics->service.vmms = metrics->vmms;
	metrics->service.local_names = !address->path;
	list_init(&metrics->service.connections);
	if (!r)
		r = event_loop_timer(loop, on_again, metrics, &metrics->again);
	if (!r)
		r = event_loop_watch(loop, metrics->listener.fd, EPOLLIN, accept_all, metrics,
				     &metrics->source);
	return r;
}

int metrics_socket_open(struct vmms *vmms, const char *where, struct metrics_socket **out,
			struct error *err)
{
	struct metrics_socket *metrics = calloc(1, sizeof(*metrics));
	struct metrics_address address;
	int r;

	if (!metrics)
		return error_memory(err, "a socket");
	metrics->vmms = vmms;
	metrics->listener.fd = -1;
	list_init(&metrics->service.connections);
	r = metrics_address_parse(where, &address, err);
	if (!r) {
		r = start(metrics, &address);
		if (r)
			error_set(err, -r, "cannot serve metrics at %.200s: %s; %s", where,
				  strerror(-r), error_remedy(-r, "choose another place"));
	}
	if (r) {
		metrics_socket_close(metrics);
		return r;
	}
	*out = metrics;
	return 0;
}

void metrics_socket_close(struct metrics_socket *metrics)
{
	if (!metrics)
		return;
	event_source_remove(metrics->source);
	event_source_remove(metrics->again);
	metrics_connections_free(&metrics->service);
	if (metrics->path && metrics->listener.fd >= 0)
		unix_listener_close(&metrics->listener, metrics->path);
	else if (metrics->listener.fd >= 0)
		close(metrics->listener.fd);
	free(metrics->path);
	free(metrics);
}
