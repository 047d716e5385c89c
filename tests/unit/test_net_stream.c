/* The stream backend, with a socketpair's other end as the peer. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/state.h"
#include "base/wire.h"
#include "net_rig.h"

#define BUFFER_BYTES 1600
#define BIG	     60000

static struct rig rig;
static int peer;

static void setup(void)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer = pair[1];
	rig_open(&rig, "stream", json_pack("{s:[i]}", "fds", pair[0]), BUFFER_BYTES);
}

static void teardown(void)
{
	rig_close(&rig);
	if (peer >= 0)
		close(peer);
}

/* A frame whose bytes tell its number and length. */
static void make_frame(uint8_t *frame, uint32_t bytes, unsigned int number)
{
	for (uint32_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)(number * 31 + i);
}

static void check_frame(const uint8_t *frame, uint32_t bytes, unsigned int number)
{
	for (uint32_t i = 0; i < bytes; i++)
		ck_assert_uint_eq(frame[i], (uint8_t)(number * 31 + i));
}

static void send_number(unsigned int number, uint32_t bytes)
{
	uint8_t *frame = malloc(bytes);

	make_frame(frame, bytes, number);
	rig_send(&rig, 0, frame, bytes, (struct net_offload){0});
	free(frame);
}

static void peer_read(void *data, size_t bytes)
{
	ck_assert_int_eq(recv(peer, data, bytes, MSG_WAITALL), (ssize_t)bytes);
}

/* The next frame that the peer gets; its length. */
static uint32_t peer_frame(uint8_t *frame, uint32_t room)
{
	uint8_t length[4];

	peer_read(length, sizeof(length));
	ck_assert_uint_le(get_be32(length), room);
	peer_read(frame, get_be32(length));
	return get_be32(length);
}

/* Writes what the peer says for a frame into data; how many bytes that is. */
static uint32_t say_frame(uint8_t *data, unsigned int number, uint32_t bytes)
{
	put_be32(data, bytes);
	make_frame(data + 4, bytes, number);
	return bytes + 4;
}

static void peer_write(const void *data, size_t bytes)
{
	ck_assert_int_eq(send(peer, data, bytes, 0), (ssize_t)bytes);
}

START_TEST(sends_lengths_and_frames_in_order)
{
	static const uint32_t sizes[] = {14, 60, 1514, BIG, 61};
	uint8_t frame[BIG];

	for (unsigned int i = 0; i < ARRAY_LENGTH(sizes); i++)
		send_number(i, sizes[i]);
	for (unsigned int i = 0; i < ARRAY_LENGTH(sizes); i++) {
		ck_assert_uint_eq(peer_frame(frame, sizeof(frame)), sizes[i]);
		check_frame(frame, sizes[i], i);
	}
	RIG_WAIT(rig.sent_well == ARRAY_LENGTH(sizes));
}
END_TEST

/* Whole, byte by byte, and in pieces that begin and end anywhere. */
START_TEST(receives_frames_however_they_come)
{
	static const uint32_t pieces[] = {100000, 1, 7, 1000};
	static uint8_t said[200000];
	uint32_t length = 0;

	for (unsigned int i = 0; i < 40; i++)
		length += say_frame(said + length, i, 14 + i * 37);
	for (uint32_t at = 0; at < length; at += pieces[_i])
		peer_write(said + at, MIN(pieces[_i], length - at));
	RIG_WAIT(rig.received == 40);
	for (unsigned int i = 0; i < 40; i++) {
		ck_assert_uint_eq(rig.frames[i].bytes, 14 + i * 37);
		check_frame(rig.frames[i].data, rig.frames[i].bytes, i);
	}
}
END_TEST

START_TEST(drops_what_nobody_can_use)
{
	static uint8_t said[100000];
	uint32_t length = say_frame(said, 0, 1);

	length += say_frame(said + length, 1, 13);
	length += say_frame(said + length, 2, BUFFER_BYTES + 1);
	length += say_frame(said + length, 3, NET_FRAME_MAX);
	length += say_frame(said + length, 4, BUFFER_BYTES);
	peer_write(said, length);
	RIG_WAIT(rig.received == 1);
	ck_assert_uint_eq(rig.frames[0].bytes, BUFFER_BYTES);
	check_frame(rig.frames[0].data, BUFFER_BYTES, 4);
}
END_TEST

static void expect_link_lost(const char *why)
{
	RIG_WAIT(rig.links_lost == 1);
	ck_assert_ptr_nonnull(strstr(atomic_load(&rig.port->down), why));
	send_number(0, 60);
	ck_assert_uint_eq(rig.sent_badly, 1);
	ck_assert_int_eq(rig.last_error, -ENETDOWN);
}

START_TEST(a_length_that_cannot_be_ends_the_link)
{
	static const uint32_t lengths[] = {0, NET_FRAME_MAX + 1, 0x80000000, 0xffffffff};
	uint8_t said[200];
	uint32_t length = say_frame(said, 0, 60);

	put_be32(said + length, lengths[_i]);
	peer_write(said, length + 4);
	expect_link_lost("no frame");
	ck_assert_uint_eq(rig.received, 1);
}
END_TEST

START_TEST(a_peer_that_closes_ends_the_link)
{
	uint8_t said[200];

	peer_write(said, say_frame(said, 0, 60) - 1);
	close(peer);
	peer = -1;
	expect_link_lost("closed");
	ck_assert_uint_eq(rig.received, 0);
}
END_TEST

/* Also when nothing is read, for want of buffers. */
START_TEST(a_peer_that_closes_fails_what_is_sent)
{
	for (unsigned int i = 0; i < 20; i++)
		send_number(i, BIG);
	close(peer);
	peer = -1;
	RIG_WAIT(rig.sent_well + rig.sent_badly == 20);
	ck_assert_uint_ge(rig.sent_badly, 1);
	RIG_WAIT(rig.links_lost == 1);
}
END_TEST

static void allow_buffers(void *context)
{
	rig.buffers_allowed = *(unsigned int *)context;
	rig.backend->receive(rig.queues[0].queue);
}

START_TEST(a_guest_without_buffers_holds_up_the_peer)
{
	static uint8_t said[2000];
	unsigned int allowed = 0;
	unsigned int written = 0;

	io_thread_call(rig.thread, allow_buffers, &allowed);
	ck_assert_int_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
	/* The socket's room, and what the backend reads ahead. */
	for (unsigned int idle = 0; idle < 20; idle++) {
		uint32_t length = say_frame(said, written, 1000);

		if (send(peer, said, length, 0) == (ssize_t)length) {
			written++;
			idle = 0;
		} else {
			usleep(1000);
		}
	}
	ck_assert_uint_eq(rig.received, 0);
	ck_assert_uint_lt(written, 2000);
	allowed = RIG_BUFFERS;
	io_thread_call(rig.thread, allow_buffers, &allowed);
	RIG_WAIT(rig.received == written);
	for (unsigned int i = 0; i < MIN(written, RIG_KEPT); i++)
		check_frame(rig.frames[i].data, 1000, i);
}
END_TEST

/* Reads all that there is and checks that it is whole frames, in order; how many. */
static unsigned int read_well_formed(unsigned int *next)
{
	uint8_t frame[BIG];
	unsigned int count = 0;
	uint8_t byte;

	while (recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
		uint32_t bytes = peer_frame(frame, sizeof(frame));
		unsigned int number = *next;

		while (number < 1000 && frame[0] != (uint8_t)(number * 31))
			number++;
		check_frame(frame, bytes, number);
		*next = number + 1;
		count++;
	}
	return count;
}

START_TEST(a_peer_that_does_not_read_loses_frames_not_the_stream)
{
	unsigned int next = 0;
	unsigned int count = 0;

	for (unsigned int i = 0; i < 40; i++)
		send_number(i, BIG);
	/* Held at first, then given up. */
	RIG_WAIT(rig.sent_well + rig.sent_badly == 40);
	ck_assert_uint_ge(rig.sent_badly, 1);
	ck_assert_int_eq(rig.last_error, -ETIMEDOUT);
	send_number(40, BIG);
	ck_assert_uint_eq(rig.sent_well + rig.sent_badly, 41);
	ck_assert_uint_eq(rig.links_lost, 0);
	/* Then it reads again. */
	while (count < rig.sent_well)
		count += read_well_formed(&next);
	for (unsigned int i = 41; next < 41; i++) {
		send_number(i, 1000);
		count += read_well_formed(&next);
	}
	ck_assert_uint_eq(rig.links_lost, 0);
}
END_TEST

START_TEST(a_pause_in_the_middle_of_a_frame_leaves_the_stream_whole)
{
	unsigned int next = 0;
	unsigned int count = 0;

	for (unsigned int i = 0; i < 40; i++)
		send_number(i, BIG);
	rig_suspend(&rig);
	ck_assert_uint_eq(rig.sent_well + rig.sent_badly, 40);
	ck_assert_int_eq(rig.last_error, -ECANCELED);
	if (_i) {
		io_thread_call(rig.thread, rig_do_detach, &rig);
		io_thread_call(rig.thread, rig_attach, &rig);
	} else {
		io_thread_call(rig.thread, rig_do_resume, &rig);
	}
	while (count < rig.sent_well)
		count += read_well_formed(&next);
	send_number(41, 1000);
	while (next != 42)
		read_well_formed(&next);
}
END_TEST

START_TEST(a_pause_in_the_middle_of_what_comes_loses_nothing)
{
	uint8_t said[2000];
	uint32_t length = say_frame(said, 0, 1500);

	peer_write(said, 700);
	rig_suspend(&rig);
	io_thread_call(rig.thread, rig_do_detach, &rig);
	io_thread_call(rig.thread, rig_attach, &rig);
	peer_write(said + 700, length - 700);
	RIG_WAIT(rig.received == 1);
	check_frame(rig.frames[0].data, 1500, 0);
}
END_TEST

START_TEST(a_link_that_went_stays_down)
{
	close(peer);
	peer = -1;
	RIG_WAIT(rig.links_lost == 1);
	rig_suspend(&rig);
	io_thread_call(rig.thread, rig_do_detach, &rig);
	io_thread_call(rig.thread, rig_attach, &rig);
	RIG_WAIT(rig.links_lost == 2);
	send_number(0, 60);
	ck_assert_int_eq(rig.last_error, -ENETDOWN);
}
END_TEST

START_TEST(asks_for_no_offloads)
{
	ck_assert_uint_eq(rig.port->transmit_offloads, 0);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, 0), 0);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, NET_OFFLOAD_CSUM), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("net_stream", &tcase);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sends_lengths_and_frames_in_order);
	tcase_add_loop_test(tcase, receives_frames_however_they_come, 0, 4);
	tcase_add_test(tcase, drops_what_nobody_can_use);
	tcase_add_loop_test(tcase, a_length_that_cannot_be_ends_the_link, 0, 4);
	tcase_add_test(tcase, a_peer_that_closes_ends_the_link);
	tcase_add_test(tcase, a_peer_that_closes_fails_what_is_sent);
	tcase_add_test(tcase, a_guest_without_buffers_holds_up_the_peer);
	tcase_add_test(tcase, a_peer_that_does_not_read_loses_frames_not_the_stream);
	tcase_add_loop_test(tcase, a_pause_in_the_middle_of_a_frame_leaves_the_stream_whole, 0, 2);
	tcase_add_test(tcase, a_pause_in_the_middle_of_what_comes_loses_nothing);
	tcase_add_test(tcase, a_link_that_went_stays_down);
	tcase_add_test(tcase, asks_for_no_offloads);
	return suite_run(suite);
}
