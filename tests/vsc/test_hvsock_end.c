/* How connections of hv_sock end: by halves, by a fault, with the bus, with the machine. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hvsock_rig.h"
#include "vsc_state.h"

/* Each half by itself, the host's first or the guest's. */
START_TEST(halves_end_one_by_one)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	if (_i) {
		rig_host_write(fd, "last", 4);
		shutdown(fd, SHUT_WR);
		rig_guest_expect(&socket, "last", 4);
		rig_guest_expect_end(&socket);
		ck_assert(vsc_socket_send(&socket, "still", 5, true));
		rig_host_expect(fd, "still", 5);
		vsc_socket_fin(&socket);
		rig_host_expect_end(fd);
	} else {
		ck_assert(vsc_socket_send(&socket, "last", 4, true));
		vsc_socket_fin(&socket);
		rig_host_expect(fd, "last", 4);
		rig_host_expect_end(fd);
		rig_host_write(fd, "still", 5);
		rig_guest_expect(&socket, "still", 5);
		shutdown(fd, SHUT_WR);
		rig_guest_expect_end(&socket);
	}
	vsc_socket_release(&socket);
	close(fd);
	rig_expect_none_left();
}
END_TEST

/* The peer is gone: the guest gets what it had sent, and the end. */
START_TEST(a_dead_peer_ends_the_connection)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	rig_host_write(fd, "last", 4);
	close(fd);
	vsc_wait_rescind(hvsock.vsc, socket.channel.relid);
	rig_guest_expect(&socket, "last", 4);
	rig_guest_expect_end(&socket);
	vsc_socket_release(&socket);
	rig_expect_none_left();
}
END_TEST

/* With bytes unread, which makes it a reset. */
START_TEST(a_peer_that_does_not_read_ends_the_connection)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	ck_assert(vsc_socket_send(&socket, "unread", 6, true));
	ck_assert_int_eq(poll(&ready, 1, WAIT_MS), 1);
	close(fd);
	vsc_socket_release(&socket);
	rig_expect_none_left();
}
END_TEST

/* What the peer said before it went is the guest's, though the guest writes meanwhile. */
START_TEST(last_words_outlive_a_guest_that_writes)
{
	static uint8_t words[100000];
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	for (size_t i = 0; i < sizeof(words); i++)
		words[i] = (uint8_t)(i * 11 + (i >> 8));
	rig_host_write(fd, words, sizeof(words));
	close(fd);
	while (vsc_socket_send(&socket, words, 1000, false) && socket.left == 0) {
		uint8_t first;

		ck_assert_uint_eq(vsc_socket_receive(&socket, &first, 1), 1);
		ck_assert_uint_eq(first, words[0]);
	}
	rig_guest_expect(&socket, words + 1, sizeof(words) - 1);
	rig_guest_expect_end(&socket);
	vsc_socket_release(&socket);
	rig_expect_none_left();
}
END_TEST

/* What no driver sends: header, data, and the kind of packet. */
static uint32_t hostile_packet(int number, uint8_t *packet)
{
	static const struct {
		uint16_t kind;
		uint32_t type, data_size, bytes;
	} cases[] = {
		{PACKET_DATA_INBAND, 2, 4, 12},	       {PACKET_DATA_INBAND, 1, 5, 12},
		{PACKET_DATA_INBAND, 1, 16392, 16400}, {PACKET_DATA_INBAND, 1, UINT32_MAX, 16},
		{PACKET_DATA_INBAND, 1, 0, 4},	       {PACKET_DATA_INBAND, 0, 0, 0},
		{PACKET_COMPLETION, 1, 4, 12},	       {77, 1, 4, 12},
	};
	uint8_t payload[16400] = {0};
	const struct hvsock_header header = {cases[number].type, cases[number].data_size};

	memcpy(payload, &header, sizeof(header));
	return vsc_packet_inband(packet, cases[number].kind, 0, false, payload,
				 (uint32_t)align_down(cases[number].bytes, 8));
}

START_TEST(a_malformed_packet_ends_only_its_connection)
{
	struct vsc_socket socket, other;
	int fd = rig_from_guest(&socket, OWN_PORT), other_fd = rig_from_host(&other);
	uint32_t bytes = hostile_packet(_i, socket.packet);

	ck_assert_int_eq(vsc_channel_send(&socket.channel, socket.packet, bytes), 0);
	rig_host_expect_end(fd);
	vsc_socket_release(&socket);
	close(fd);
	ck_assert(vsc_socket_send(&other, "fine", 4, true));
	rig_host_expect(other_fd, "fine", 4);
	rig_end_both(&other, other_fd);
	rig_expect_none_left();
}
END_TEST

START_TEST(nothing_may_follow_the_end)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	vsc_socket_fin(&socket);
	rig_host_expect_end(fd);
	ck_assert(vsc_socket_send(&socket, "more", 4, true));
	vsc_socket_release(&socket);
	close(fd);
	rig_expect_none_left();
}
END_TEST

START_TEST(a_broken_ring_ends_the_connection)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	socket.channel.out.header->write_index = 3;
	vsc_channel_signal(&socket.channel);
	rig_host_expect_end(fd);
	vsc_socket_release(&socket);
	close(fd);
	rig_expect_none_left();
}
END_TEST

/* The guest closes the channel, or all of them, without a word. */
START_TEST(an_unloaded_bus_ends_all)
{
	struct vsc_socket sockets[2];
	int fds[2] = {rig_from_guest(&sockets[0], OWN_PORT), rig_from_host(&sockets[1])};
	int waiting = vsc_hvsock_host_connect(&hvsock, LISTENER + 1);

	vsc_unload(hvsock.vsc);
	for (int i = 0; i < 2; i++) {
		rig_host_expect_end(fds[i]);
		close(fds[i]);
		vsc_socket_forget(&sockets[i]);
	}
	rig_host_expect_end(waiting);
	close(waiting);
	vsc_connect(hvsock.vsc, VMBUS_VERSION_WIN10_V5_3);
	rig_expect_none_left();
}
END_TEST

START_TEST(a_channel_that_was_closed_stays_so)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);
	uint32_t relid = socket.channel.relid;

	vsc_channel_close(&socket.channel);
	rig_host_expect_end(fd);
	close(fd);
	free(socket.packet);
	vsc_wait_rescind(hvsock.vsc, relid);
	vsc_release(hvsock.vsc, relid);
	rig_expect_none_left();
}
END_TEST

static void reset_all(void *context)
{
	vmbus_reset(vsc_vmbus(hvsock.vsc));
	hvsock.ops->reset(hvsock.device);
}

START_TEST(a_reset_ends_all)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);
	int waiting = vsc_hvsock_host_connect(&hvsock, LISTENER);

	vsc_hvsock_ask(&hvsock, OWN_PORT + 1, SERVER);
	vsc_main(hvsock.vsc, reset_all, NULL);
	rig_host_expect_end(fd);
	rig_host_expect_end(waiting);
	close(fd);
	close(waiting);
	vsc_socket_forget(&socket);
	vsc_connect(hvsock.vsc, VMBUS_VERSION_WIN10_V5_3);
	ck_assert_uint_eq(vsc_offer_count(hvsock.vsc), 0);
	rig_expect_none_left();
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 0);
	fd = rig_from_guest(&socket, OWN_PORT);
	rig_end_both(&socket, fd);
}
END_TEST

/* The bus of the next life is a new one. */
static void save_and_reset(void *context)
{
	vsc_state_save(context);
	vmbus_reset(vsc_vmbus(hvsock.vsc));
}

/* The guest finds what it knew closed, and makes new connections. */
START_TEST(a_restored_guest_finds_connections_closed)
{
	struct vsc_socket open, new;
	int fd = rig_from_guest(&open, OWN_PORT);
	int offered = vsc_hvsock_host_connect(&hvsock, LISTENER);
	struct guid listener = HVSOCK_ID_TEMPLATE;
	struct vsc_state saved = {
		.ops = hvsock.ops, .device = hvsock.device, .bus = vsc_vmbus(hvsock.vsc)};
	uint32_t relid;

	listener.bytes[0] = LISTENER & 0xff;
	listener.bytes[1] = LISTENER >> 8;
	relid = vsc_find_offer(hvsock.vsc, &listener, 0)->relid;
	vsc_hvsock_ask(&hvsock, OWN_PORT + 1, SERVER);
	vsc_main(hvsock.vsc, save_and_reset, &saved);
	ck_assert_int_eq(saved.result, 0);
	vsc_hvsock_destroy(&hvsock);
	rig_host_expect_end(fd);
	rig_host_expect_end(offered);
	close(fd);
	close(offered);
	vsc_renew_bus(hvsock.vsc);
	vsc_hvsock_create(&hvsock);
	saved.device = hvsock.device;
	saved.bus = vsc_vmbus(hvsock.vsc);
	vsc_main(hvsock.vsc, vsc_state_resume, &saved);
	ck_assert_int_eq(saved.result, 0);
	free(saved.tree);
	vsc_socket_release(&open);
	vsc_wait_rescind(hvsock.vsc, relid);
	vsc_release(hvsock.vsc, relid);
	fd = rig_from_guest(&new, OWN_PORT);
	ck_assert_uint_eq(new.channel.relid, 1);
	rig_end_both(&new, fd);
	rig_expect_none_left();
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = rig_suite_of("vsc_hvsock_end", &test_case);

	tcase_add_loop_test(test_case, halves_end_one_by_one, 0, 2);
	tcase_add_test(test_case, a_dead_peer_ends_the_connection);
	tcase_add_test(test_case, a_peer_that_does_not_read_ends_the_connection);
	tcase_add_test(test_case, last_words_outlive_a_guest_that_writes);
	tcase_add_loop_test(test_case, a_malformed_packet_ends_only_its_connection, 0, 8);
	tcase_add_test(test_case, nothing_may_follow_the_end);
	tcase_add_test(test_case, a_broken_ring_ends_the_connection);
	tcase_add_test(test_case, an_unloaded_bus_ends_all);
	tcase_add_test(test_case, a_channel_that_was_closed_stays_so);
	tcase_add_test(test_case, a_reset_ends_all);
	tcase_add_test(test_case, a_restored_guest_finds_connections_closed);
	return suite_run(suite);
}
