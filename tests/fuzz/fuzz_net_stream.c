#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/net.h"
#include "fuzz.h"

/*
 * A peer that says what it likes, in pieces and between pauses: whatever of it are frames comes, in
 * order and unchanged, and nothing else does.
 */

#define BUFFERS	     3u
#define BUFFER_BYTES 300u
#define SAID_MAX     70000u
#define FRAME_MIN    14u

enum step {
	SAY,
	SAY_LENGTH,
	SAY_MUCH,
	PAUSE,
	ATTACH_ANEW,
	SEND,
	BUFFER_COUNT,
	STEPS,
};

static struct {
	struct net_buffer buffer;
	struct iovec iov[3];
	uint8_t data[BUFFER_BYTES];
	bool lent;
} buffers[BUFFERS];

struct sent {
	struct net_transmit transmit;
	struct iovec iov[2];
	uint8_t data[256];
};

static struct io_thread *thread;
static const struct net_backend *backend;
static struct net_port *port;
static struct net_queue *queue;
static unsigned int allowed; /* buffers */
static uint8_t said[SAID_MAX];
static uint32_t said_length;
static uint32_t checked; /* of what was said: a frame's start */
static bool lost;
static sem_t suspended, gone;

/* The next of the peer's words that should come as a frame; its length, 0 for none. */
static uint32_t next_frame(void)
{
	while (checked + 4 <= said_length) {
		uint32_t bytes = get_be32(said + checked);

		if (!bytes || bytes > NET_FRAME_MAX || bytes > said_length - checked - 4)
			return 0;
		checked += 4 + bytes;
		if (bytes >= FRAME_MIN && bytes <= BUFFER_BYTES)
			return bytes;
	}
	return 0;
}

static struct net_buffer *give_buffer(void *context)
{
	for (unsigned int i = 0; i < allowed; i++) {
		if (buffers[i].lent)
			continue;
		buffers[i].lent = true;
		return &buffers[i].buffer;
	}
	return NULL;
}

static void take_frame(void *context, struct net_buffer *buffer, uint32_t bytes,
		       const struct net_offload *offload)
{
	size_t i = 0;

	while (&buffers[i].buffer != buffer)
		i++;
	if (!buffers[i].lent)
		abort();
	buffers[i].lent = false;
	if (!bytes)
		return;
	if (lost || bytes != next_frame() ||
	    memcmp(buffers[i].data, said + checked - bytes, bytes) != 0)
		abort();
}

static void note_suspended(void *context)
{
	sem_post(&suspended);
}

static void note_link(void *context, bool up)
{
	if (!lost)
		sem_post(&gone);
	lost = true;
}

static const struct net_queue_events events = {.buffer = give_buffer,
					       .received = take_frame,
					       .suspended = note_suspended,
					       .link = note_link};

static void attach(void *unused)
{
	if (backend->attach(port, 0, thread, &events, NULL, &queue))
		abort();
}

static void resume(void *unused)
{
	backend->resume(queue);
}

static void suspend(void *unused)
{
	backend->suspend(queue);
}

static void detach(void *unused)
{
	backend->detach(queue);
}

static void pause_queue(void)
{
	io_thread_call(thread, suspend, NULL);
	sem_wait(&suspended);
	for (unsigned int i = 0; i < BUFFERS; i++)
		if (buffers[i].lent)
			abort();
}

static void set_allowed(void *count)
{
	allowed = *(unsigned int *)count;
	backend->receive(queue);
}

static void allow(unsigned int count)
{
	io_thread_call(thread, set_allowed, &count);
}

static void free_sent(struct net_transmit *transmit, int result)
{
	free(container_of(transmit, struct sent, transmit));
}

static void send_frame(void *context)
{
	struct sent *sent = calloc(1, sizeof(*sent));
	uint32_t bytes = FRAME_MIN + *(uint8_t *)context % (sizeof(sent->data) - FRAME_MIN);

	sent->iov[1] = (struct iovec){sent->data, bytes};
	sent->transmit = (struct net_transmit){
		.iov = sent->iov, .iov_count = 2, .bytes = bytes, .done = free_sent};
	backend->transmit(queue, &sent->transmit);
}

/* What the input has of it; without waiting, for nobody may listen any more. */
static void say(int peer, const void *data, uint32_t bytes)
{
	ssize_t length;

	bytes = MIN(bytes, SAID_MAX - said_length);
	memcpy(said + said_length, data, bytes);
	/* Counted first: the other thread may have it before we return. */
	said_length += bytes;
	length = send(peer, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (length == (ssize_t)bytes)
		return;
	said_length -= bytes - (length > 0 ? (uint32_t)length : 0);
	shutdown(peer, SHUT_WR);
}

static void say_part(int peer, struct fuzz_input *input, uint32_t bytes)
{
	static uint8_t data[2 * 256];

	bytes = MIN(bytes, (uint32_t)sizeof(data));
	fuzz_take(input, data, bytes);
	say(peer, data, bytes);
}

static void run_step(int peer, struct fuzz_input *input)
{
	static const uint8_t zeroes[NET_FRAME_MAX];
	uint8_t argument = fuzz_u8(input);
	uint8_t length[4] = {0, 0, 0, FRAME_MIN};

	switch ((enum step)(fuzz_u8(input) % STEPS)) {
	case SAY:
		say_part(peer, input, argument);
		break;
	case SAY_LENGTH:
		put_be32(length, FRAME_MIN + argument);
		say(peer, length, sizeof(length));
		say_part(peer, input, FRAME_MIN + argument);
		break;
	case SAY_MUCH:
		put_be32(length, NET_FRAME_MAX - argument);
		say(peer, length, sizeof(length));
		say(peer, zeroes, NET_FRAME_MAX - argument);
		break;
	case PAUSE:
		pause_queue();
		io_thread_call(thread, resume, NULL);
		break;
	case ATTACH_ANEW:
		pause_queue();
		io_thread_call(thread, detach, NULL);
		io_thread_call(thread, attach, NULL);
		io_thread_call(thread, resume, NULL);
		break;
	case SEND:
		io_thread_call(thread, send_frame, &argument);
		break;
	case BUFFER_COUNT:
		allow(argument % (BUFFERS + 1));
		break;
	case STEPS:
		break;
	}
}

static void set_up(void)
{
	if (io_thread_new("nic", 64, &thread) || io_thread_start(thread, NULL, NULL))
		abort();
	signal(SIGPIPE, SIG_IGN);
	backend = net_backend_find("stream");
	sem_init(&suspended, 0, 0);
	sem_init(&gone, 0, 0);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		buffers[i].iov[1] = (struct iovec){buffers[i].data, 11};
		buffers[i].iov[2] = (struct iovec){buffers[i].data + 11, BUFFER_BYTES - 11};
		buffers[i].buffer = (struct net_buffer){
			.iov = buffers[i].iov, .iov_count = 3, .bytes = BUFFER_BYTES};
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	json_t *config;
	int pair[2];

	if (!thread)
		set_up();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	config = json_pack("{s:[i]}", "fds", pair[0]);
	if (backend->open(config, &port, NULL))
		abort();
	json_decref(config);
	said_length = checked = 0;
	lost = false;
	allowed = BUFFERS;
	io_thread_call(thread, attach, NULL);
	io_thread_call(thread, resume, NULL);
	while (input.size)
		run_step(pair[1], &input);
	shutdown(pair[1], SHUT_WR);
	allow(BUFFERS);
	sem_wait(&gone);
	pause_queue();
	if (next_frame())
		abort();
	io_thread_call(thread, detach, NULL);
	backend->close(port);
	close(pair[1]);
	return 0;
}
