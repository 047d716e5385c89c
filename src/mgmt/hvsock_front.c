#include "mgmt/hvsock_front.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "mgmt/hvsock_line.h"

#define DEVICE	    "hvsock"
/* That may be saying where they want to go at a time; others wait to be accepted. */
#define CLIENTS_MAX 64
/* How long one may take to say so. */
#define LINE_NS	    10000000000ull
/* Until the worker has probably taken the socket that was passed before. */
#define RETRY_NS    2000000u

/* Somebody who has not said yet where to go. */
struct client {
	struct list node;
	struct hvsock_front *front;
	int fd;
	struct event_source *source;
	struct event_source *timer;
	char line[HVSOCK_LINE_MAX];
	size_t length;
};

/* A call of the device that waits for those before it. */
struct transfer {
	struct list node;
	const char *verb;
	json_t *parameters;
	int fd; /* -1 for none */
};

struct hvsock_front {
	const char *path;
	struct unix_listener listener;
	struct supervisor *supervisor;
	struct event_loop *loop;
	struct event_source *listen_source;
	struct event_source *retry;
	struct list clients;
	unsigned int client_count;
	struct list transfers;
};

static void transfer_free(struct transfer *transfer)
{
	list_remove(&transfer->node);
	json_decref(transfer->parameters);
	if (transfer->fd >= 0)
		close(transfer->fd);
	free(transfer);
}

/* Only one message with descriptors may wait for the worker at a time. */
static void send_transfers(struct hvsock_front *front)
{
	struct transfer *transfer;

	list_for_each(transfer, &front->transfers, node)
	{
		int r = supervisor_call_device(front->supervisor, DEVICE, transfer->verb,
					       json_incref(transfer->parameters), &transfer->fd,
					       transfer->fd >= 0 ? 1 : 0, NULL, NULL);

		if (r == -EBUSY) {
			event_timer_arm(front->retry, RETRY_NS, 0);
			return;
		}
		transfer_free(transfer);
	}
}

static void watch_listener(struct hvsock_front *front)
{
	if (front->listen_source)
		event_source_change(front->listen_source,
				    front->client_count < CLIENTS_MAX ? EPOLLIN : 0);
}

static void on_retry(void *context, uint32_t events)
{
	send_transfers(context);
	watch_listener(context);
}

/* Takes over both. */
static void call_device(struct hvsock_front *front, const char *verb, json_t *parameters, int fd)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer || !parameters) {
		free(transfer);
		json_decref(parameters);
		if (fd >= 0)
			close(fd);
		return;
	}
	*transfer = (struct transfer){.verb = verb, .parameters = parameters, .fd = fd};
	list_append(&front->transfers, &transfer->node);
	send_transfers(front);
}

/* Its socket was passed on, or is closed. */
static void client_free(struct client *client)
{
	struct hvsock_front *front = client->front;

	event_source_remove(client->source);
	event_source_remove(client->timer);
	if (client->fd >= 0)
		close(client->fd);
	list_remove(&client->node);
	free(client);
	front->client_count--;
	watch_listener(front);
}

static void on_line(struct client *client)
{
	struct hvsock_front *front = client->front;
	uint32_t port;

	if (!hvsock_line_parse(client->line, client->length, &port)) {
		event_source_remove(client->source);
		client->source = NULL;
		call_device(front, "connect",
			    json_pack("{s:I, s:i}", "port", (json_int_t)port, "fd", 0),
			    TAKE_FD(client->fd));
	}
	client_free(client);
}

/* Byte by byte: what follows the line is the guest's. */
static void on_client(void *context, uint32_t events)
{
	struct client *client = context;

	for (;;) {
		ssize_t r = recv(client->fd, client->line + client->length, 1, MSG_DONTWAIT);

		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r <= 0) {
			client_free(client);
			return;
		}
		client->length++;
		if (client->line[client->length - 1] == '\n' || client->length == HVSOCK_LINE_MAX) {
			on_line(client);
			return;
		}
	}
}

static void on_slow_client(void *context, uint32_t events)
{
	client_free(context);
}

static int watch_client(struct client *client)
{
	struct event_loop *loop = client->front->loop;
	int r = event_loop_timer(loop, on_slow_client, client, &client->timer);

	if (!r)
		r = event_timer_arm(client->timer, LINE_NS, 0);
	if (!r)
		r = event_loop_watch(loop, client->fd, EPOLLIN, on_client, client, &client->source);
	return r;
}

/* Neither memory nor descriptors: not again at once. */
static void rest(struct hvsock_front *front)
{
	event_source_change(front->listen_source, 0);
	event_timer_arm(front->retry, RETRY_NS, 0);
}

static void on_listener(void *context, uint32_t events)
{
	struct hvsock_front *front = context;
	CLEANUP_CLOSE int fd = accept4(front->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	struct client *client = fd < 0 ? NULL : calloc(1, sizeof(*client));

	if (!client) {
		rest(front);
		return;
	}
	client->front = front;
	client->fd = TAKE_FD(fd);
	list_append(&front->clients, &client->node);
	front->client_count++;
	if (watch_client(client))
		client_free(client);
	else
		watch_listener(front);
}

/* The guest wants a port of the host's; a listener whose queue is full is as good as none. */
static void on_event(void *context, const json_t *event)
{
	struct hvsock_front *front = context;
	json_int_t port = json_integer_value(json_object_get(event, "connect"));
	json_int_t token = json_integer_value(json_object_get(event, "token"));
	CLEANUP_FREE char *path = NULL;
	int fd;

	if (asprintf(&path, "%s_%" JSON_INTEGER_FORMAT, front->path, port) < 0)
		path = NULL;
	fd = path ? unix_connect_now(path) : -ENOMEM;
	if (fd < 0)
		call_device(front, "refuse", json_pack("{s:I}", "token", token), -1);
	else
		call_device(front, "accept", json_pack("{s:I, s:i}", "token", token, "fd", 0), fd);
}

static int start(void *context, struct supervisor *supervisor, struct event_loop *loop)
{
	struct hvsock_front *front = context;
	int r = event_loop_timer(loop, on_retry, front, &front->retry);

	front->supervisor = supervisor;
	front->loop = loop;
	if (!r)
		r = event_loop_watch(loop, front->listener.fd, EPOLLIN, on_listener, front,
				     &front->listen_source);
	return r;
}

static void stop(void *context)
{
	struct hvsock_front *front = context;
	struct transfer *transfer;
	struct client *client;

	/* Not watched any more, when the last of the clients goes. */
	event_source_remove(front->listen_source);
	front->listen_source = NULL;
	event_source_remove(front->retry);
	front->retry = NULL;
	list_for_each(client, &front->clients, node) client_free(client);
	list_for_each(transfer, &front->transfers, node) transfer_free(transfer);
}

void hvsock_front_part(struct hvsock_front *front, struct supervisor_part *part)
{
	*part = (struct supervisor_part){.device = DEVICE,
					 .start = start,
					 .event = on_event,
					 .stop = stop,
					 .context = front};
}

static int listen_failed(const char *path, int errnum, struct error *err)
{
	switch (errnum) {
	case EADDRINUSE:
		return error_set(err, errnum,
				 "--hvsock unix:%.200s: somebody listens there already; give "
				 "another path",
				 path);
	case EEXIST:
		return error_set(err, errnum,
				 "--hvsock unix:%.200s: there is a file that is no socket; give "
				 "another path",
				 path);
	case EBUSY:
		return error_set(err, errnum,
				 "--hvsock unix:%.200s: another program keeps the directory "
				 "locked; end it, or give another path",
				 path);
	default:
		return error_set(err, errnum,
				 "--hvsock unix:%.200s: cannot listen there: %s; give a path in a "
				 "directory of your own",
				 path, strerror(errnum));
	}
}

int hvsock_front_open(const char *path, struct hvsock_front **out, struct error *err)
{
	struct hvsock_front *front = calloc(1, sizeof(*front));
	int r;

	if (!front)
		return error_memory(err, "the socket of --hvsock");
	front->path = path;
	list_init(&front->clients);
	list_init(&front->transfers);
	r = unix_listen(path, 0600, &front->listener);
	if (r) {
		free(front);
		return listen_failed(path, -r, err);
	}
	*out = front;
	return 0;
}

void hvsock_front_close(struct hvsock_front *front)
{
	if (!front)
		return;
	unix_listener_close(&front->listener, front->path);
	free(front);
}
