#include "base/json_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

#define READ_SIZE	4096
#define KEPT_SIZE	(64u << 10) /* that an empty queue keeps for what comes next, at most */
#define RECEIVE_FDS_MAX 253	    /* SCM_MAX_FD: the kernel never passes more at once */

struct byte_queue {
	char *data;
	size_t start; /* what lies before it is used up */
	size_t end;
	size_t capacity;
};

struct json_link {
	int fd;
	struct json_link_limits limits;
	struct byte_queue in;
	size_t scanned; /* bytes of in, from its start, that hold no NUL */
	struct byte_queue out;
	int out_fds[JSON_LINK_FDS_MAX];
	unsigned int out_fd_count;
	size_t out_fds_at; /* where in out, from its start, the descriptors go */
	int *in_fds;
	unsigned int in_fd_count;
};

static size_t queue_length(const struct byte_queue *queue)
{
	return queue->end - queue->start;
}

static void queue_consume(struct byte_queue *queue, size_t count)
{
	queue->start += count;
	if (queue->start != queue->end)
		return;
	queue->start = queue->end = 0;
	if (queue->capacity <= KEPT_SIZE)
		return;
	free(queue->data);
	*queue = (struct byte_queue){NULL};
}

/* Room for size more bytes at the end. */
static int queue_reserve(struct byte_queue *queue, size_t size)
{
	size_t used = queue_length(queue);
	size_t capacity = queue->capacity ? queue->capacity : READ_SIZE;
	char *data;

	if (queue->capacity - queue->end >= size)
		return 0;
	while (capacity - used < size) {
		if (capacity > SIZE_MAX / 2)
			return -ENOMEM;
		capacity *= 2;
	}
	data = malloc(capacity);
	if (!data)
		return -ENOMEM;
	if (used)
		memcpy(data, queue->data + queue->start, used);
	free(queue->data);
	*queue = (struct byte_queue){.data = data, .end = used, .capacity = capacity};
	return 0;
}

static int queue_append(struct byte_queue *queue, const char *data, size_t size)
{
	int r = queue_reserve(queue, size);

	if (r)
		return r;
	memcpy(queue->data + queue->end, data, size);
	queue->end += size;
	return 0;
}

static void close_all(int *fds, unsigned int *count)
{
	for (unsigned int i = 0; i < *count; i++)
		close(fds[i]);
	*count = 0;
}

int json_link_new(int fd, const struct json_link_limits *limits, struct json_link **out)
{
	struct json_link *link = calloc(1, sizeof(*link));

	if (!link)
		return -ENOMEM;
	link->fd = fd;
	link->limits = *limits;
	if (limits->fds_max) {
		link->in_fds = calloc(limits->fds_max, sizeof(*link->in_fds));
		if (!link->in_fds) {
			free(link);
			return -ENOMEM;
		}
	}
	*out = link;
	return 0;
}

void json_link_free(struct json_link *link)
{
	if (!link)
		return;
	close_all(link->out_fds, &link->out_fd_count);
	close_all(link->in_fds, &link->in_fd_count);
	free(link->in_fds);
	free(link->in.data);
	free(link->out.data);
	close(link->fd);
	free(link);
}

int json_link_fd(const struct json_link *link)
{
	return link->fd;
}

size_t json_link_queued(const struct json_link *link)
{
	return queue_length(&link->out);
}

static int keep_fds(struct json_link *link, const int *fds, unsigned int count)
{
	if (count > JSON_LINK_FDS_MAX)
		return -E2BIG;
	if (count && link->out_fd_count)
		return -EBUSY;
	for (unsigned int i = 0; i < count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int r = -errno;

			close_all(link->out_fds, &link->out_fd_count);
			return r;
		}
		link->out_fds[link->out_fd_count++] = fd;
	}
	if (count)
		link->out_fds_at = queue_length(&link->out);
	return 0;
}

int json_link_send(struct json_link *link, const json_t *message, const int *fds,
		   unsigned int count)
{
	CLEANUP_FREE char *text = json_dumps(message, JSON_COMPACT);
	int r;

	if (!text)
		return -ENOMEM;
	r = keep_fds(link, fds, count);
	if (r)
		return r;
	r = queue_append(&link->out, text, strlen(text) + 1);
	if (r) {
		if (count)
			close_all(link->out_fds, &link->out_fd_count);
		return r;
	}
	return json_link_flush(link);
}

/* One sendmsg, which ends before the byte that carries descriptors or begins with it. */
static ssize_t send_some(struct json_link *link)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * JSON_LINK_FDS_MAX)];
	} control = {0};
	struct iovec iov = {.iov_base = link->out.data + link->out.start,
			    .iov_len = queue_length(&link->out)};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (link->out_fd_count && link->out_fds_at) {
		iov.iov_len = link->out_fds_at;
	} else if (link->out_fd_count) {
		size_t size = sizeof(int) * link->out_fd_count;

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(size);
		control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(size)};
		memcpy(CMSG_DATA(&control.align), link->out_fds, size);
	}
	return sendmsg(link->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int json_link_flush(struct json_link *link)
{
	while (queue_length(&link->out)) {
		ssize_t sent = send_some(link);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (link->out_fd_count && !link->out_fds_at)
			close_all(link->out_fds, &link->out_fd_count);
		else if (link->out_fd_count)
			link->out_fds_at -= (size_t)sent;
		queue_consume(&link->out, (size_t)sent);
	}
	return 0;
}

/*
 * Keeps the descriptors that came, or none of them: too many is the peer's fault.  Fewer than we
 * had room for, and yet cut off, are more than this process may have open.
 */
static int accept_fds(struct json_link *link, const struct msghdr *header)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
	int fds[RECEIVE_FDS_MAX];
	unsigned int count;
	bool cut = link->limits.fds_max && header->msg_flags & MSG_CTRUNC;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return cut ? -EMFILE : 0;
	count = (unsigned int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
	if (count > link->limits.fds_max - link->in_fd_count || cut) {
		bool short_of_fds = cut && count < RECEIVE_FDS_MAX;

		close_all(fds, &count);
		return short_of_fds ? -EMFILE : -E2BIG;
	}
	memcpy(link->in_fds + link->in_fd_count, fds, count * sizeof(int));
	link->in_fd_count += count;
	return 0;
}

/* Reads once: the count of bytes, 0 for none yet, -ENODATA at the end, -errno. */
static ssize_t receive_some(struct json_link *link)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * RECEIVE_FDS_MAX)];
	} control;
	struct msghdr header = {.msg_iovlen = 1};
	struct iovec iov;
	ssize_t count;
	int r = queue_reserve(&link->in, READ_SIZE);

	if (r)
		return r;
	iov.iov_base = link->in.data + link->in.end;
	iov.iov_len = link->in.capacity - link->in.end;
	header.msg_iov = &iov;
	if (link->limits.fds_max) {
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	do {
		count = recvmsg(link->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (count < 0 && errno == EINTR);
	if (count < 0)
		return errno == EAGAIN ? 0 : -errno;
	r = link->limits.fds_max ? accept_fds(link, &header) : 0;
	if (r)
		return r;
	if (count == 0)
		return -ENODATA;
	link->in.end += (size_t)count;
	return count;
}

/* Whoever walks a message may do so by recursion, and each value of it takes memory: 0, or why it
 * is not to be read. */
static int check_shape(const char *text, size_t length)
{
	unsigned int depth = 0;
	size_t values = 0;
	bool in_string = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && depth)
			depth--;
		values += !in_string && (c == '{' || c == '[' || c == ',');
		if (depth > JSON_LINK_DEPTH_MAX)
			return -ELOOP;
		if (values > JSON_LINK_VALUES_MAX)
			return -EOVERFLOW;
	}
	return 0;
}

static int parse_text(const char *text, size_t length, json_t **message)
{
	json_error_t error;
	json_t *object;
	int r = check_shape(text, length);

	if (r)
		return r;
	object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(object)) {
		bool out_of_range =
			!object && json_error_code(&error) == json_error_numeric_overflow;

		json_decref(object);
		return out_of_range ? -ERANGE : -EPROTO;
	}
	*message = object;
	return 1;
}

/* Takes a whole message off the buffer: 1, 0 if its end has not come yet, or -errno. */
static int parse_buffered(struct json_link *link, json_t **message)
{
	size_t length = queue_length(&link->in);
	const char *start = length ? link->in.data + link->in.start : NULL;
	const char *end = NULL;
	int r;

	if (length > link->scanned)
		end = memchr(start + link->scanned, '\0', length - link->scanned);
	if ((end ? (size_t)(end - start) : length) > link->limits.message_max)
		return -E2BIG;
	if (!end) {
		link->scanned = length;
		return 0;
	}
	r = parse_text(start, (size_t)(end - start), message);
	link->scanned = 0;
	queue_consume(&link->in, (size_t)(end - start) + 1);
	return r;
}

int json_link_receive(struct json_link *link, json_t **message)
{
	for (;;) {
		int r = parse_buffered(link, message);
		ssize_t count;

		if (r)
			return r;
		count = receive_some(link);
		if (count <= 0)
			return (int)count;
	}
}

size_t json_link_held(const struct json_link *link)
{
	return queue_length(&link->in);
}

void json_link_discard(struct json_link *link)
{
	queue_consume(&link->in, queue_length(&link->in));
	link->scanned = 0;
}

int json_link_take_fd(struct json_link *link)
{
	int fd;

	if (!link->in_fd_count)
		return -1;
	fd = link->in_fds[0];
	link->in_fd_count--;
	memmove(link->in_fds, link->in_fds + 1, link->in_fd_count * sizeof(int));
	return fd;
}

static int wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	int r = poll(&pollfd, 1, timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r ? 0 : -ETIMEDOUT;
}

int json_link_wait(struct json_link *link, int timeout_ms, json_t **message)
{
	for (;;) {
		int r = json_link_receive(link, message);

		if (r)
			return r;
		r = wait_for(link->fd, POLLIN, timeout_ms);
		if (r)
			return r;
	}
}

int json_link_drain(struct json_link *link, int timeout_ms)
{
	for (;;) {
		int r = json_link_flush(link);

		if (r || !json_link_queued(link))
			return r;
		r = wait_for(link->fd, POLLOUT, timeout_ms);
		if (r)
			return r;
	}
}
