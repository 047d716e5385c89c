#include "mgmt/vmms/metrics_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/event_loop.h"
#include "mgmt/vmms/figures.h"
#include "mgmt/vmms/metrics.h"
#include "mgmt/vmms/metrics_http.h"
#include "mgmt/vmms/metrics_socket.h"
#include "mgmt/vmms/metrics_text.h"
#include "mgmt/vmms/vmms.h"

#define NS_A_SECOND 1000000000ull
#define HEAD_MAX    512
/* Of what somebody goes on to say whose answer is sent already. */
#define IDLE_MAX    (1u << 20)

enum phase {
	READING, /* the request */
	WAITING, /* for the VMs' figures */
	WRITING, /* the answer */
	LEAVING, /* the client has it all; its end is waited for, lest the rest be lost */
};

struct connection {
	struct list link;
	struct metrics_service *service;
	int fd;
	enum phase phase;
	bool gone; /* while its figures were waited for */
	struct event_source *source;
	struct event_source *timer;
	struct figures_asker asker;
	char request[METRICS_HTTP_MAX];
	size_t request_size; /* then: what it said after that */
	bool head;
	char *answer;
	size_t answer_size;
	size_t sent;
};

static void connection_free(struct connection *connection)
{
	list_remove(&connection->link);
	connection->service->count--;
	event_source_remove(connection->source);
	event_source_remove(connection->timer);
	close(connection->fd);
	free(connection->answer);
	free(connection);
}

static void allow(struct connection *connection, unsigned int seconds)
{
	event_timer_arm(connection->timer, seconds * NS_A_SECOND, 0);
}

static void leave(struct connection *connection)
{
	shutdown(connection->fd, SHUT_WR);
	connection->phase = LEAVING;
	connection->request_size = 0;
	allow(connection, METRICS_SOCKET_REQUEST_S);
	event_source_change(connection->source, EPOLLIN);
}

/* Ends the connection where that fails. */
static void write_more(struct connection *connection)
{
	while (connection->sent < connection->answer_size) {
		ssize_t size = send(connection->fd, connection->answer + connection->sent,
				    connection->answer_size - connection->sent, MSG_NOSIGNAL);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno == EAGAIN)
			return;
		if (size < 0) {
			connection_free(connection);
			return;
		}
		connection->sent += (size_t)size;
	}
	leave(connection);
}

/* Takes over nothing; body may be NULL. */
static void answer(struct connection *connection, int status, const char *body, size_t size)
{
	const char *reason = metrics_http_reason(status);
	char words[128], head[HEAD_MAX];
	size_t head_size;

	if (!body) {
		size = (size_t)snprintf(words, sizeof(words), "%s\n", reason);
		body = words;
	}
	head_size = (size_t)snprintf(head, sizeof(head),
				     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				     "Cache-Control: no-store\r\nConnection: close\r\n%s%s\r\n",
				     status, reason,
				     status == 200 ? METRICS_CONTENT_TYPE : "text/plain", size,
				     status == 405 ? "Allow: GET, HEAD\r\n" : "",
				     status == 503 ? "Retry-After: 1\r\n" : "");
	size = connection->head ? 0 : size;
	connection->answer = malloc(head_size + size);
	if (!connection->answer) {
		connection_free(connection);
		return;
	}
	memcpy(connection->answer, head, head_size);
	memcpy(connection->answer + head_size, body, size);
	connection->answer_size = head_size + size;
	connection->phase = WRITING;
	allow(connection, METRICS_SOCKET_ANSWER_S);
	event_source_change(connection->source, EPOLLOUT);
	write_more(connection);
}

static void on_figures(struct figures_asker *asker)
{
	struct connection *connection = container_of(asker, struct connection, asker);
	char *text;
	size_t size;

	if (connection->gone) {
		connection_free(connection);
		return;
	}
	if (metrics_write(connection->service->vmms, &text, &size)) {
		answer(connection, 500, NULL, 0);
		return;
	}
	answer(connection, 200, text, size);
	free(text);
}

static void handle(struct connection *connection, const struct metrics_http *request)
{
	struct figures *figures = connection->service->vmms->figures;

	connection->head = request->head;
	if (request->status != 200) {
		answer(connection, request->status, NULL, 0);
	} else if (connection->service->local_names && !metrics_http_is_local(request)) {
		answer(connection, 421, NULL, 0);
	} else if (figures_ask(figures, &connection->asker)) {
		answer(connection, 503, NULL, 0);
	} else {
		connection->phase = WAITING;
		event_timer_arm(connection->timer, 0, 0);
		event_source_change(connection->source, 0);
	}
}

static void read_request(struct connection *connection)
{
	struct metrics_http request;
	ssize_t size = recv(connection->fd, connection->request + connection->request_size,
			    sizeof(connection->request) - connection->request_size, 0);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		connection_free(connection);
		return;
	}
	connection->request_size += (size_t)size;
	metrics_http_read(connection->request, connection->request_size, &request);
	if (request.status)
		handle(connection, &request);
}

static void read_idle(struct connection *connection)
{
	ssize_t size = recv(connection->fd, connection->request, sizeof(connection->request), 0);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	connection->request_size += size > 0 ? (size_t)size : 0;
	if (size <= 0 || connection->request_size > IDLE_MAX)
		connection_free(connection);
}

static void on_event(void *context, uint32_t events)
{
	struct connection *connection = context;

	switch (connection->phase) {
	case READING:
		read_request(connection);
		break;
	case WAITING: /* an end, for nothing else is watched */
		event_source_remove(connection->source);
		connection->source = NULL;
		connection->gone = true;
		break;
	case WRITING:
		write_more(connection);
		break;
	case LEAVING:
		read_idle(connection);
		break;
	}
}

static void on_timer(void *context, uint32_t events)
{
	connection_free(context);
}

int metrics_connection_new(struct metrics_service *service, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int r;

	if (!connection)
		return -ENOMEM;
	connection->service = service;
	connection->asker.done = on_figures;
	r = event_loop_timer(service->vmms->loop, on_timer, connection, &connection->timer);
	if (!r)
		r = event_loop_watch(service->vmms->loop, fd, EPOLLIN, on_event, connection,
				     &connection->source);
	if (r) {
		event_source_remove(connection->timer);
		free(connection);
		return r;
	}
	connection->fd = fd;
	list_append(&service->connections, &connection->link);
	service->count++;
	allow(connection, METRICS_SOCKET_REQUEST_S);
	return 0;
}

bool metrics_connection_drop_oldest(struct metrics_service *service)
{
	struct connection *connection;

	list_for_each(connection, &service->connections, link)
	{
		if (connection->phase != READING && connection->phase != LEAVING)
			continue;
		connection_free(connection);
		return true;
	}
	return false;
}

void metrics_connections_free(struct metrics_service *service)
{
	struct connection *connection;

	list_for_each(connection, &service->connections, link) connection_free(connection);
}
