#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libnbd.h>

#include "base/checked.h"
#include "base/json_link.h"
#include "base/parse.h"
#include "base/standard_fds.h"
#include "base/text.h"
#include "devices/block/remote_wire.h"
#include "tools/nbd.h"
#include "tools/nbd_connect.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"

#define CONNECT_SECONDS	  5u
#define HANDSHAKE_SECONDS 10u
#define SECONDS_MAX	  3600u
#define REPLY_TIMEOUT_MS  10000
#define BLOCK_SMALL	  512u
#define BLOCK_LARGE	  4096u

struct lane;

/* A request that the server has. */
struct slot {
	struct lane *lane;
	uint32_t index;
	bool used;
};

struct lane {
	struct client *client;
	int fd; /* -1: closed */
	uint8_t *memory;
	struct slot slots[REMOTE_SLOTS];
	uint8_t in[REMOTE_SLOTS * sizeof(struct remote_request)];
	size_t in_bytes;
	struct remote_answer out[REMOTE_SLOTS];
	size_t out_bytes;
};

struct client {
	struct nbd_handle *nbd;
	unsigned int lane_count;
	unsigned int seconds; /* that the server may be silent while it has something to do */
	unsigned int in_flight;
	struct timespec heard; /* when it answered last, or had nothing to do */
	char why[200];	       /* what libnbd said last of a connection that it gave up */
	struct lane lanes[REMOTE_LANES_MAX];
};

/* The last word, which the supervisor passes on. */
static int fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return EXIT_VMM_ERROR;
}

static void hear(struct client *client)
{
	clock_gettime(CLOCK_MONOTONIC, &client->heard);
}

/* 0 when its time is over; -1 for none. */
static int patience_ms(const struct client *client)
{
	struct timespec now;
	int64_t left;

	if (client->in_flight == 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	left = ((int64_t)client->heard.tv_sec + client->seconds - now.tv_sec) * 1000 +
	       (client->heard.tv_nsec - now.tv_nsec) / 1000000;
	return left > 0 ? (int)left : 0;
}

static void close_lane(struct lane *lane)
{
	close(lane->fd);
	lane->fd = -1;
}

static void send_answers(struct lane *lane)
{
	ssize_t sent;

	if (lane->fd < 0 || lane->out_bytes == 0)
		return;
	sent = send(lane->fd, lane->out, lane->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_lane(lane);
		return;
	}
	lane->out_bytes -= (size_t)sent;
	memmove(lane->out, (uint8_t *)lane->out + sent, lane->out_bytes);
}

static void answer(struct slot *slot, int error)
{
	struct lane *lane = slot->lane;
	const struct remote_answer answer = {.slot = slot->index, .error = (uint32_t)error};

	slot->used = false;
	if (lane->fd < 0)
		return;
	memcpy((uint8_t *)lane->out + lane->out_bytes, &answer, sizeof(answer));
	lane->out_bytes += sizeof(answer);
}

/* Called by libnbd; 1 has it forget the request. */
static int on_done(void *context, int *error)
{
	struct slot *slot = context;
	struct client *client = slot->lane->client;

	client->in_flight--;
	hear(client);
	answer(slot, *error);
	return 1;
}

/* Hands it to libnbd: the request's cookie, or -1. */
static int64_t begin(struct slot *slot, const struct remote_request *request)
{
	struct nbd_handle *nbd = slot->lane->client->nbd;
	uint8_t *data = slot->lane->memory + (size_t)slot->index * REMOTE_SLOT_BYTES;
	nbd_completion_callback done = {.callback = on_done, .user_data = slot};
	uint32_t fua = request->flags & REMOTE_FLAG_FUA ? LIBNBD_CMD_FLAG_FUA : 0;

	switch (request->command) {
	case REMOTE_READ:
		return nbd_aio_pread(nbd, data, request->length, request->offset, done, 0);
	case REMOTE_WRITE:
		return nbd_aio_pwrite(nbd, data, request->length, request->offset, done, fua);
	case REMOTE_FLUSH:
		return nbd_aio_flush(nbd, done, 0);
	case REMOTE_TRIM:
		return nbd_aio_trim(nbd, request->length, request->offset, done, 0);
	case REMOTE_ZERO:
		return nbd_aio_zero(
			nbd, request->length, request->offset, done,
			fua | (request->flags & REMOTE_FLAG_NO_HOLE ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
	default:
		return -1;
	}
}

static bool is_sound(const struct lane *lane, const struct remote_request *request)
{
	bool data = request->command == REMOTE_READ || request->command == REMOTE_WRITE;

	return request->slot < REMOTE_SLOTS && !lane->slots[request->slot].used &&
	       request->length <= (data ? REMOTE_SLOT_BYTES : REMOTE_RANGE_MAX);
}

static void take_request(struct lane *lane, const struct remote_request *request)
{
	struct client *client = lane->client;
	struct slot *slot;

	if (!is_sound(lane, request)) {
		close_lane(lane);
		return;
	}
	slot = &lane->slots[request->slot];
	slot->used = true;
	if (client->in_flight++ == 0)
		hear(client);
	if (begin(slot, request) < 0) {
		client->in_flight--;
		answer(slot, nbd_get_errno() ? nbd_get_errno() : EIO);
	}
}

static void read_lane(struct lane *lane)
{
	struct remote_request request;
	size_t used = 0;
	ssize_t got = recv(lane->fd, lane->in + lane->in_bytes, sizeof(lane->in) - lane->in_bytes,
			   MSG_DONTWAIT);

	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			close_lane(lane);
		return;
	}
	lane->in_bytes += (size_t)got;
	for (; lane->fd >= 0 && lane->in_bytes - used >= sizeof(request); used += sizeof(request)) {
		memcpy(&request, lane->in + used, sizeof(request));
		take_request(lane, &request);
	}
	lane->in_bytes -= used;
	memmove(lane->in, lane->in + used, lane->in_bytes);
}

static short nbd_events(struct nbd_handle *nbd)
{
	unsigned int direction = nbd_aio_get_direction(nbd);

	return (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* Libnbd wants to hear of one at a time, and only what it asked for. */
static void notify(struct client *client, short events)
{
	struct nbd_handle *nbd = client->nbd;
	unsigned int direction = nbd_aio_get_direction(nbd);

	if (events & (POLLIN | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
		nbd_aio_notify_read(nbd);
	else if (events & (POLLOUT | POLLERR) && direction & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_aio_notify_write(nbd);
	if (nbd_get_error())
		snprintf(client->why, sizeof(client->why), "%s", nbd_get_error());
}

static bool is_lost(struct nbd_handle *nbd)
{
	return nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd);
}

/* Takes what there is; the number of lanes that are open, or -errno. */
static int turn(struct client *client)
{
	struct pollfd polled[1 + REMOTE_LANES_MAX];
	int open = 0, patience;

	polled[0] = (struct pollfd){nbd_aio_get_fd(client->nbd), nbd_events(client->nbd), 0};
	for (unsigned int i = 0; i < client->lane_count; i++) {
		const struct lane *lane = &client->lanes[i];

		polled[1 + i] = (struct pollfd){
			lane->fd, (short)(POLLIN | (lane->out_bytes ? POLLOUT : 0)), 0};
		open += lane->fd >= 0;
	}
	if (!open)
		return 0;
	patience = patience_ms(client);
	if (patience == 0)
		return -ETIMEDOUT;
	if (poll(polled, 1 + client->lane_count, patience) < 0)
		return errno == EINTR ? open : -errno;
	if (polled[0].revents)
		notify(client, polled[0].revents);
	for (unsigned int i = 0; i < client->lane_count; i++) {
		if (polled[1 + i].revents & (POLLIN | POLLHUP | POLLERR))
			read_lane(&client->lanes[i]);
	}
	for (unsigned int i = 0; i < client->lane_count; i++)
		send_answers(&client->lanes[i]);
	return is_lost(client->nbd) ? -ENOTCONN : open;
}

static int serve(struct client *client)
{
	char why[256];
	int r;

	while ((r = turn(client)) > 0)
		;
	if (r == 0)
		return 0;
	if (r == -ETIMEDOUT)
		snprintf(why, sizeof(why), "the server has not answered for %u s", client->seconds);
	else
		snprintf(why, sizeof(why), "the server is gone: %s",
			 client->why[0] ? client->why : "it has closed the connection");
	return fail(why);
}

/* The handshake, with what the server says taken inside the sandbox. */
static int shake_hands(struct client *client, int fd, struct error *err)
{
	struct nbd_handle *nbd = client->nbd;

	unsigned int seconds = client->seconds;

	client->seconds = MIN(seconds, HANDSHAKE_SECONDS);
	if (nbd_aio_connect_socket(nbd, fd) < 0)
		goto lost;
	hear(client);
	client->in_flight = 1; /* so that its time is counted */
	while (!nbd_aio_is_ready(nbd)) {
		struct pollfd polled = {nbd_aio_get_fd(nbd), nbd_events(nbd), 0};

		if (is_lost(nbd))
			goto lost;
		if (patience_ms(client) == 0)
			return error_set(err, ETIMEDOUT,
					 "the server does not answer; check that it speaks NBD and "
					 "takes another client");
		if (poll(&polled, 1, patience_ms(client)) > 0)
			notify(client, polled.revents);
	}
	client->in_flight = 0;
	client->seconds = seconds;
	return 0;

lost:
	return error_set(err, EPROTO, "the server refuses it (%.200s); check the export's name",
			 client->why[0] ? client->why : "no word");
}

static int describe(struct nbd_handle *nbd, json_t **report, struct error *err)
{
	int64_t bytes = nbd_get_size(nbd);
	int64_t least = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
	int64_t most = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
	unsigned int block = least > (int64_t)BLOCK_SMALL ? BLOCK_LARGE : BLOCK_SMALL;

	if (least > (int64_t)BLOCK_LARGE || (most > 0 && most < (int64_t)REMOTE_SLOT_BYTES))
		return error_set(err, EINVAL,
				 "the server wants requests of at least %lld and at most %lld "
				 "bytes; it must take 4096 to %u",
				 (long long)least, (long long)most, REMOTE_SLOT_BYTES);
	if (bytes < (int64_t)block)
		return error_set(err, EINVAL, "the export has no block of %u bytes; give another",
				 block);
	*report = json_pack("{s:I, s:i, s:b, s:b, s:b, s:b, s:b}", "bytes",
			    (json_int_t)align_down((uint64_t)bytes, block), "block", (int)block,
			    "read_only", nbd_is_read_only(nbd) != 0, "flush",
			    nbd_can_flush(nbd) > 0, "fua", nbd_can_fua(nbd) > 0, "trim",
			    nbd_can_trim(nbd) > 0, "zero", nbd_can_zero(nbd) > 0);
	return 0;
}

static int join_lanes(struct client *client, struct error *err)
{
	uint8_t *memory = mmap(NULL, REMOTE_LANES_MAX * REMOTE_LANE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED, NBD_MEMORY_FD, 0);

	if (memory == MAP_FAILED)
		return error_host(err, errno, "the shared memory cannot be used");
	for (unsigned int i = 0; i < client->lane_count; i++) {
		struct lane *lane = &client->lanes[i];

		lane->client = client;
		lane->fd = NBD_LANES_FD + (int)i;
		lane->memory = memory + i * REMOTE_LANE_BYTES;
		for (uint32_t slot = 0; slot < REMOTE_SLOTS; slot++)
			lane->slots[slot] = (struct slot){.lane = lane, .index = slot};
	}
	return 0;
}

/* Until here with the rights of the user, from here on with none. */
static int confine(int fd, struct error *err)
{
	static struct sandbox sandbox;
	int r = sandbox_begin(&sandbox, fd, 0, err);

	if (!r)
		r = sandbox_drop(&sandbox, err);
	return r ? r : sandbox_enter_nbd(err);
}

static int make_handle(struct client *client, const struct nbd_place *place, struct error *err)
{
	client->nbd = nbd_create();
	if (!client->nbd || nbd_set_export_name(client->nbd, place->export) < 0)
		return error_set(err, EINVAL, "%.200s; give another name", nbd_get_error());
	nbd_set_pread_initialize(client->nbd, false);
	return 0;
}

/* From a URI to a server that has shaken hands. */
static int open_server(struct client *client, const char *uri, json_t **report, struct error *err)
{
	int fd, r, place_fd = NBD_LANES_FD + (int)client->lane_count;
	struct nbd_place place;

	r = nbd_place_parse(uri, &place, err);
	if (!r)
		r = make_handle(client, &place, err);
	if (r)
		return r;
	fd = nbd_place_connect(&place, CONNECT_SECONDS, err);
	if (fd < 0)
		return fd;
	if (fd != place_fd && dup2(fd, place_fd) < 0)
		return error_host(err, errno, "a descriptor cannot be moved");
	r = confine(place_fd, err);
	if (!r)
		r = join_lanes(client, err);
	if (!r)
		r = shake_hands(client, place_fd, err);
	return r ? r : describe(client->nbd, report, err);
}

static int tell(struct json_link *link, json_t *report, const struct error *err)
{
	json_t *message = report ? report : json_pack("{s:o}", "error", text_json(err->text));
	int r = json_link_send(link, message, NULL, 0);

	if (!r)
		r = json_link_drain(link, REPLY_TIMEOUT_MS);
	json_decref(message);
	json_link_free(link);
	return r;
}

static int run(int argc, char **argv)
{
	static const struct json_link_limits limits = {.message_max = NBD_MESSAGE_MAX};
	static struct client client;
	uint64_t seconds, lanes;
	struct json_link *link;
	json_t *report = NULL;
	struct error err;

	signal(SIGPIPE, SIG_IGN);
	json_object_seed(0); /* opens a file */
	if (standard_fds_open() || argc != 4 || parse_u64(argv[2], 1, SECONDS_MAX, &seconds) ||
	    parse_u64(argv[3], 1, REMOTE_LANES_MAX, &lanes) ||
	    json_link_new(NBD_CONTROL_FD, &limits, &link) < 0) {
		fprintf(stderr, "bulkhead-nbd: bulkhead starts it; use --disk nbd://...\n");
		return EXIT_USAGE;
	}
	client.seconds = (unsigned int)seconds;
	client.lane_count = (unsigned int)lanes;
	if (open_server(&client, argv[1], &report, &err) < 0)
		report = NULL;
	if (!report) {
		tell(link, NULL, &err);
		return fail(err.text);
	}
	return tell(link, report, NULL) < 0 ? EXIT_VMM_ERROR : serve(&client);
}

/* What libraries do at an exit may be more than the filter allows, and there is nothing to tidy. */
int main(int argc, char **argv)
{
	_exit(run(argc, argv));
}
