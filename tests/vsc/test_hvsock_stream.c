/* What goes through a connection of hv_sock, when rings and sockets fill and VMs pause: all. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "hvsock_rig.h"

/* Writes until nothing more goes in. */
static size_t fill_socket(int fd, const uint8_t *data, size_t max)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	size_t done = 0;

	while (done < max && poll(&ready, 1, 200) == 1) {
		ssize_t r = send(fd, data + done, max - done, MSG_DONTWAIT);

		if (r > 0)
			done += (size_t)r;
	}
	return done;
}

/* The guest has something to read while the host writes on. */
static void expect_several_packets(const struct vsc_socket *socket)
{
	const struct vsc_ring *ring = &socket->channel.in;
	struct timespec pause = {.tv_nsec = 1000000};
	uint32_t bytes = 0;

	for (int turns = 0; turns < WAIT_MS && bytes <= ring->size / 4 * 3; turns++) {
		nanosleep(&pause, NULL);
		bytes = __atomic_load_n(&ring->header->write_index, __ATOMIC_ACQUIRE);
	}
	ck_assert_uint_gt(bytes, ring->size / 4 * 3);
}

START_TEST(a_full_ring_stops_the_host)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);
	uint8_t *flood = rig_make_flood();
	size_t sent = fill_socket(fd, flood, FLOOD);

	ck_assert_uint_lt(sent, FLOOD);
	ck_assert_uint_gt(sent, 0);
	expect_several_packets(&socket);
	rig_guest_expect(&socket, flood, sent);
	shutdown(fd, SHUT_WR);
	rig_guest_expect_end(&socket);
	vsc_socket_fin(&socket);
	vsc_socket_release(&socket);
	close(fd);
	free(flood);
}
END_TEST

START_TEST(a_full_socket_stops_the_guest)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);
	struct timespec pause = {.tv_nsec = 20000000};
	uint8_t *flood = rig_make_flood();
	size_t sent = 0;

	/* Full when it stays so. */
	for (int turns = 0; turns < 20 && sent < FLOOD; turns++) {
		while (sent < FLOOD && vsc_socket_send(&socket, flood + sent, 4000, false)) {
			sent += 4000;
			turns = 0;
		}
		nanosleep(&pause, NULL);
	}
	ck_assert_uint_lt(sent, FLOOD);
	rig_host_expect(fd, flood, sent);
	ck_assert(vsc_socket_send(&socket, "more", 4, true));
	rig_host_expect(fd, "more", 4);
	rig_end_both(&socket, fd);
	free(flood);
}
END_TEST

/* No more of the guest's memory is touched until the VM goes on, and then nothing is missing. */
START_TEST(a_pause_loses_nothing)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	vsc_hvsock_do(&hvsock, hvsock.ops->quiesce);
	rig_host_write(fd, "paused", 6);
	ck_assert(vsc_socket_send(&socket, "waiting", 7, true));
	vsc_settle(hvsock.vsc);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "bytes-to-guest"), 0);
	vsc_hvsock_do(&hvsock, hvsock.ops->unquiesce);
	rig_guest_expect(&socket, "paused", 6);
	rig_host_expect(fd, "waiting", 7);
	rig_end_both(&socket, fd);
}
END_TEST

#define STREAM_BYTES (64u << 20)

struct pattern {
	uint64_t state;
};

/* xorshift64: every place of the stream has its own byte. */
static void fill(struct pattern *pattern, uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		pattern->state ^= pattern->state << 13;
		pattern->state ^= pattern->state >> 7;
		pattern->state ^= pattern->state << 17;
		data[i] = (uint8_t)pattern->state;
	}
}

struct host_end {
	int fd;
	bool writes;
	size_t bytes; /* moved */
	bool wrong;
};

static void *host_main(void *context)
{
	struct host_end *end = context;
	struct pattern pattern = {1};
	uint8_t data[30000], expected[30000];

	while (end->bytes < STREAM_BYTES) {
		size_t part = MIN(sizeof(data), STREAM_BYTES - end->bytes);
		ssize_t r;

		if (end->writes) {
			fill(&pattern, data, part);
			r = send(end->fd, data, part, MSG_WAITALL);
		} else {
			r = read(end->fd, data, part);
		}
		if (r <= 0)
			break;
		if (!end->writes) {
			fill(&pattern, expected, (size_t)r);
			end->wrong |= memcmp(data, expected, (size_t)r) != 0;
		}
		end->bytes += (size_t)r;
	}
	return NULL;
}

#define PAUSES 100

/* Pauses the device now and then. */
static void *pause_main(void *context)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < PAUSES; i++) {
		vsc_hvsock_do(&hvsock, hvsock.ops->quiesce);
		nanosleep(&moment, NULL);
		vsc_hvsock_do(&hvsock, hvsock.ops->unquiesce);
		nanosleep(&moment, NULL);
	}
	return NULL;
}

/* To the host or from it; in the second round with pauses. */
START_TEST(a_long_stream_arrives_whole)
{
	struct vsc_socket socket;
	struct host_end end = {.fd = rig_from_guest(&socket, OWN_PORT), .writes = _i & 1};
	struct pattern pattern = {1};
	uint8_t data[20000], expected[20000];
	pthread_t thread, pauses;

	ck_assert_int_eq(pthread_create(&thread, NULL, host_main, &end), 0);
	if (_i & 2)
		ck_assert_int_eq(pthread_create(&pauses, NULL, pause_main, NULL), 0);
	for (size_t done = 0; done < STREAM_BYTES;) {
		size_t part = MIN(sizeof(data), STREAM_BYTES - done);

		if (end.writes) {
			part = vsc_socket_receive(&socket, data, part);
			ck_assert_uint_gt(part, 0);
			fill(&pattern, expected, part);
			ck_assert(memcmp(data, expected, part) == 0);
		} else {
			fill(&pattern, data, part);
			ck_assert(vsc_socket_send(&socket, data, part, true));
		}
		done += part;
	}
	pthread_join(thread, NULL);
	if (_i & 2)
		pthread_join(pauses, NULL);
	ck_assert_uint_eq(end.bytes, STREAM_BYTES);
	ck_assert(!end.wrong);
	rig_end_both(&socket, end.fd);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = rig_suite_of("vsc_hvsock_stream", &test_case);

	tcase_add_test(test_case, a_full_ring_stops_the_host);
	tcase_add_test(test_case, a_full_socket_stops_the_guest);
	tcase_add_test(test_case, a_pause_loses_nothing);
	tcase_add_loop_test(test_case, a_long_stream_arrives_whole, 0, 4);
	return suite_run(suite);
}
