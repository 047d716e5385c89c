/*
 * A stream between the software guest and the host over hv_sock, against the same stream through a
 * plain pair of local sockets:
 *   vsc_hvsock [-r RING_PAGES] -t SECONDS plain|to-host|to-guest
 * RING_PAGES is each ring's, its header included; Linux has 7, or as many as 65 where a program
 * asks for larger buffers.  Prints MB a second, and the CPU time that the I/O thread spent on each
 * MB.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vsc_hvsock.h"

#define CHUNK	   65536u
#define RING_PAGES 7u
#define OWN_PORT   1025u
#define PORT	   22u

struct options {
	uint32_t ring_pages;
	double seconds;
	const char *way;
};

/* The host's program, on a thread of its own: writes, or reads, until the other end is closed. */
struct peer {
	int fd;
	bool writes;
	unsigned int place;
	pthread_t thread;
};

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void read_cpu_time(void *context)
{
	*(double *)context = now(CLOCK_THREAD_CPUTIME_ID);
}

/*
 * Each of our threads has a CPU of its own as far as there are enough; on two the programs at both
 * ends share one, and the I/O thread has the other.  Left to itself the scheduler now puts two that
 * wait for each other on one CPU, and now not: threefold apart from run to run.
 */
enum place {
	PLACE_GUEST = 0,
	PLACE_IO = 1,
	PLACE_PEER = 2,
};

static void take_place(unsigned int place)
{
	cpu_set_t all, one;
	unsigned int number = 0, count;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return;
	count = (unsigned int)CPU_COUNT(&all);
	CPU_ZERO(&one);
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && number++ == place % count)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void place_io_thread(void *context)
{
	take_place(PLACE_IO);
}

static void *peer_main(void *context)
{
	struct peer *peer = context;
	static uint8_t data[CHUNK];
	ssize_t r;

	take_place(peer->place);
	do
		r = peer->writes ? send(peer->fd, data, sizeof(data), MSG_NOSIGNAL)
				 : read(peer->fd, data, sizeof(data));
	while (r > 0);
	close(peer->fd);
	return NULL;
}

static void start_peer(struct peer *peer, int fd, bool writes, unsigned int place)
{
	*peer = (struct peer){.fd = fd, .writes = writes, .place = place};
	if (fd < 0 || pthread_create(&peer->thread, NULL, peer_main, peer)) {
		fprintf(stderr, "vsc_hvsock: no peer\n");
		exit(1);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: vsc_hvsock [-r RING_PAGES] -t SECONDS plain|to-host|to-guest\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *options)
{
	int letter;

	*options = (struct options){.ring_pages = RING_PAGES, .seconds = 1};
	while ((letter = getopt(argc, argv, "r:t:")) != -1) {
		switch (letter) {
		case 'r':
			options->ring_pages = (uint32_t)atoi(optarg);
			break;
		case 't':
			options->seconds = atof(optarg);
			break;
		default:
			return usage();
		}
	}
	if (optind != argc - 1 || options->ring_pages < 3)
		return usage();
	options->way = argv[optind];
	return strcmp(options->way, "plain") && strcmp(options->way, "to-host") &&
			       strcmp(options->way, "to-guest")
		       ? usage()
		       : 0;
}

static void measure_plain(const struct options *options)
{
	static uint8_t data[CHUNK];
	uint64_t bytes = 0;
	struct peer peer;
	double start;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		exit(1);
	start_peer(&peer, ends[1], false, PLACE_IO);
	take_place(PLACE_GUEST);
	start = now(CLOCK_MONOTONIC);
	do {
		ssize_t r = write(ends[0], data, sizeof(data));

		bytes += r > 0 ? (uint64_t)r : 0;
	} while (now(CLOCK_MONOTONIC) - start < options->seconds);
	printf("MB/s %.0f cpu 0 us\n", (double)bytes / 1e6 / (now(CLOCK_MONOTONIC) - start));
	close(ends[0]);
	pthread_join(peer.thread, NULL);
}

/* Bytes that went through the guest's end meanwhile. */
static uint64_t stream(struct vsc_socket *socket, bool to_host, double end)
{
	static uint8_t data[CHUNK];
	const uint8_t *place;
	uint64_t bytes = 0;

	do {
		for (int i = 0; i < 16; i++) {
			if (to_host)
				vsc_socket_send(socket, data, sizeof(data), true);
			bytes += to_host ? sizeof(data)
					 : vsc_socket_look(socket, &place, sizeof(data));
		}
	} while (now(CLOCK_MONOTONIC) < end);
	return bytes;
}

static void measure(const struct options *options)
{
	bool to_host = !strcmp(options->way, "to-host");
	double start, cpu_start, cpu_end;
	static struct vsc_hvsock hvsock;
	struct vsc_socket socket;
	uint64_t bytes;
	struct peer peer;

	vsc_hvsock_start(&hvsock, 1);
	vsc_hvsock_ask(&hvsock, OWN_PORT, PORT);
	start_peer(&peer, vsc_hvsock_accept(&hvsock), !to_host, PLACE_PEER);
	vsc_socket_open(&hvsock, PORT, options->ring_pages, &socket);
	io_thread_call(hvsock.io_threads[0], place_io_thread, NULL);
	take_place(PLACE_GUEST);
	io_thread_call(hvsock.io_threads[0], read_cpu_time, &cpu_start);
	start = now(CLOCK_MONOTONIC);
	bytes = stream(&socket, to_host, start + options->seconds);
	printf("MB/s %.0f", (double)bytes / 1e6 / (now(CLOCK_MONOTONIC) - start));
	io_thread_call(hvsock.io_threads[0], read_cpu_time, &cpu_end);
	printf(" cpu %.0f us\n", (cpu_end - cpu_start) * 1e12 / (double)bytes);
	vsc_unload(hvsock.vsc);
	vsc_socket_forget(&socket);
	vsc_hvsock_stop(&hvsock);
	pthread_join(peer.thread, NULL);
}

int main(int argc, char **argv)
{
	struct options options;

	if (parse(argc, argv, &options) != 0)
		return 2;
	if (!strcmp(options.way, "plain"))
		measure_plain(&options);
	else
		measure(&options);
	return 0;
}
