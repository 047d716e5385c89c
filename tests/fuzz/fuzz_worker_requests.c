#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "worker/config.h"
#include "worker/control.h"
#include "worker/descriptors.h"
#include "worker/protocol.h"

/*
 * What a worker's parent sends, from its configuration on, with as many descriptors along as the
 * first byte says.  Each request that has a number is answered once, and no descriptor is left.
 */

#define PARENT_MAX (64u << 10) /* bytes that fit a socket at once */
#define FDS_SEEN   256

struct rig {
	struct event_loop *loop;
	struct control control;
	bool gone;
};

static int pause_request(void *context, json_t **reply, struct error *err)
{
	return error_set(err, EBUSY, "it is busy");
}

static int tree_request(void *context, json_t **reply, struct error *err)
{
	*reply = json_pack("{s:{}}", "tree");
	return 0;
}

static void device_request(void *context, const json_t *message, struct device_call *call)
{
	descriptors_close((json_t *)message);
	call->reply(call, NULL);
}

static const struct control_request requests[] = {
	{PROTOCOL_PAUSE, .handle = pause_request},
	{PROTOCOL_INSPECT, .handle = tree_request},
	{PROTOCOL_DEVICE, .handle_call = device_request},
	{NULL},
};

static void on_gone(void *context)
{
	struct rig *rig = context;

	rig->gone = true;
	event_loop_stop(rig->loop, 0);
}

/* All of it at once, with descriptors, and then the end. */
static void send_all(int fd, const uint8_t *data, size_t size, int along, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 8)];
	} control = {0};
	struct iovec iov = {(void *)data, size};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[8];

	for (unsigned int i = 0; i < count; i++)
		fds[i] = along;
	if (count) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int) * count)};
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * count);
	}
	if (size)
		require(sendmsg(fd, &header, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(fd, SHUT_WR);
}

static void serve(struct json_link *link)
{
	struct rig rig = {0};

	require(!event_loop_new(&rig.loop));
	require(!control_init(&rig.control, link, rig.loop, requests, on_gone, &rig));
	require(!event_loop_run(rig.loop) && rig.gone);
	event_source_remove(rig.control.source);
	event_loop_free(rig.loop);
}

static unsigned int count_open(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < FDS_SEEN; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct json_link_limits limits = {.message_max = PARENT_MAX, .fds_max = 8};
	struct worker_config config = {0};
	struct json_link *link;
	struct error err = {""};
	unsigned int before = count_open();
	int ends[2], null, r;

	if (!size || size > PARENT_MAX)
		return 0;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
	require(!json_link_new(ends[1], &limits, &link));
	send_all(ends[0], data + 1, size - 1, null, data[0] % 9);
	r = worker_config_receive(link, &config, &err);
	require(r == 0 || err.text[0]);
	if (r == 0) {
		serve(link);
		descriptors_close(config.root);
	}
	worker_config_clear(&config);
	json_link_free(link);
	close(ends[0]);
	if (r) /* a worker that refuses its configuration exits with what came */
		close_range((unsigned int)null, (unsigned int)null + 16, 0);
	else
		close(null);
	require(r || count_open() == before);
	return 0;
}
