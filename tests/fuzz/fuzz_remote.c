#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/block/block.h"
#include "devices/block/remote_wire.h"
#include "fuzz.h"

/*
 * A helper that answers what it likes, in pieces, to requests that it may not even have read: each
 * request ends once, and data is only taken where it was asked for.
 */

#define REQUESTS   48u
#define DISK_BYTES (64u << 20)
#define READ_BYTES 4096u

enum step {
	ASK,
	ANSWER,
	ANSWER_WILDLY,
	SAY,
	STEPS,
};

static struct request {
	struct block_request block;
	struct iovec iov;
	uint8_t data[READ_BYTES];
	bool busy;
} requests[REQUESTS];

static struct io_thread *thread;
static const struct block_backend *backend;
static struct block_disk *disk;
static struct block_queue *queue;
static int memory;
static unsigned int asked;
static sem_t ended;

static void done(struct block_request *block, int result)
{
	struct request *request = container_of(block, struct request, block);

	if (!request->busy || result > 0)
		abort();
	request->busy = false;
	sem_post(&ended);
}

static void attach(void *unused)
{
	if (backend->attach(disk, thread, &queue))
		abort();
}

static void detach(void *unused)
{
	backend->detach(queue);
}

static void submit(void *argument)
{
	struct request *request = &requests[asked];
	uint8_t kind = *(uint8_t *)argument;

	request->iov = (struct iovec){request->data, READ_BYTES};
	request->block = (struct block_request){
		.operation = kind % 5,
		.offset = kind * 512ull,
		.length = kind % 5 < BLOCK_FLUSH ? READ_BYTES : 512ull << (kind % 16),
		.iov = &request->iov,
		.iov_count = 1,
		.force_unit_access = kind & 0x80,
		.done = done,
	};
	request->busy = true;
	backend->submit(queue, &request->block);
}

static void say(int peer, const void *data, size_t bytes)
{
	/* Nobody may listen any more. */
	if (send(peer, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

/* A slot that probably has a request. */
static void give_answer(int peer, uint8_t argument, uint32_t error)
{
	const struct remote_answer answer = {argument % REMOTE_SLOTS, error};

	say(peer, &answer, sizeof(answer));
}

static void run_step(int peer, struct fuzz_input *input)
{
	uint8_t step = fuzz_u8(input), argument = fuzz_u8(input);
	struct remote_answer wild;
	struct remote_request read_back;
	uint8_t data[256];

	switch ((enum step)(step % STEPS)) {
	case ASK:
		if (asked == REQUESTS)
			break;
		io_thread_call(thread, submit, &argument);
		asked++;
		break;
	case ANSWER:
		if (recv(peer, &read_back, sizeof(read_back), MSG_DONTWAIT) > 0)
			give_answer(peer, (uint8_t)read_back.slot, argument & 1);
		else
			give_answer(peer, argument, 0);
		break;
	case ANSWER_WILDLY:
		fuzz_take(input, &wild, sizeof(wild));
		say(peer, &wild, sizeof(wild));
		break;
	case SAY:
		fuzz_take(input, data, argument);
		say(peer, data, argument);
		break;
	case STEPS:
		break;
	}
}

static void set_up(void)
{
	if (io_thread_new("disk", 64, &thread) || io_thread_start(thread, NULL, NULL))
		abort();
	signal(SIGPIPE, SIG_IGN);
	backend = block_backend_find("nbd");
	memory = memfd_create("disk", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, REMOTE_LANES_MAX * REMOTE_LANE_BYTES))
		abort();
	sem_init(&ended, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct error err;
	json_t *config;
	int pair[2];

	if (!thread)
		set_up();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	config = json_pack("{s:i, s:i, s:[i], s:b, s:b, s:b, s:b}", "bytes", DISK_BYTES, "block",
			   512, "fds", pair[0], "flush", size & 1, "fua", size & 2, "trim", 1,
			   "zero", size & 4);
	if (backend->open(dup(memory), config, &disk, &err))
		abort();
	json_decref(config);
	close(pair[0]);
	asked = 0;
	io_thread_call(thread, attach, NULL);
	while (input.size)
		run_step(pair[1], &input);
	shutdown(pair[1], SHUT_RDWR);
	for (unsigned int i = 0; i < asked; i++)
		sem_wait(&ended);
	io_thread_call(thread, detach, NULL);
	backend->close(disk);
	close(pair[1]);
	return 0;
}
