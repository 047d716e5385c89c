/* Connections of hv_sock, the host's and the guest's: who connects, who refuses, how many there can
 * be. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "hvsock_rig.h"

START_TEST(the_host_connects)
{
	struct vsc_socket socket;
	int fd = vsc_hvsock_host_connect(&hvsock, LISTENER);

	ck_assert_int_ge(fd, 0);
	/* Sent before the guest has accepted. */
	rig_host_write(fd, "early", 5);
	vsc_socket_open(&hvsock, LISTENER, RING_PAGES, &socket);
	ck_assert_uint_ge(rig_expect_ok(fd), 1u << 30);
	rig_guest_expect(&socket, "early", 5);
	ck_assert(vsc_socket_send(&socket, "hello", 5, true));
	rig_host_expect(fd, "hello", 5);
	rig_end_both(&socket, fd);
	rig_expect_none_left();
}
END_TEST

START_TEST(the_guest_connects)
{
	struct vsc_socket socket;
	int fd = rig_from_guest(&socket, OWN_PORT);

	ck_assert(vsc_socket_send(&socket, "hello", 5, true));
	rig_host_expect(fd, "hello", 5);
	rig_host_write(fd, "world", 5);
	rig_guest_expect(&socket, "world", 5);
	rig_end_both(&socket, fd);
	rig_expect_none_left();
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "bytes-to-guest"), 5);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "bytes-to-host"), 5);
}
END_TEST

START_TEST(the_offer_says_who_connects)
{
	const struct vmbus_offer_channel *offer;
	struct guid listener = HVSOCK_ID_TEMPLATE, server = HVSOCK_ID_TEMPLATE;
	int fds[2];

	listener.bytes[0] = LISTENER & 0xff;
	listener.bytes[1] = LISTENER >> 8;
	server.bytes[0] = SERVER;
	fds[0] = vsc_hvsock_host_connect(&hvsock, LISTENER);
	offer = vsc_find_offer(hvsock.vsc, &listener, 0);
	ck_assert_uint_eq(offer->user_defined[4], 1);
	ck_assert_uint_eq(offer->flags, VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER);
	vsc_hvsock_ask(&hvsock, OWN_PORT, SERVER);
	fds[1] = vsc_hvsock_accept(&hvsock);
	offer = vsc_find_offer(hvsock.vsc, &server, 0);
	ck_assert_uint_eq(offer->user_defined[4], 0);
	ck_assert_uint_eq(offer->instance_id.bytes[0], OWN_PORT & 0xff);
	ck_assert_uint_eq(offer->instance_id.bytes[1], OWN_PORT >> 8);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(the_host_refuses)
{
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_tl_connect_result *result = (void *)message;
	json_t *reply;

	vsc_hvsock_ask(&hvsock, OWN_PORT, SERVER);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 1);
	reply = vsc_hvsock_call(&hvsock, "refuse",
				json_pack("{s:I}", "token", (json_int_t)hvsock.asked_token));
	ck_assert_ptr_nonnull(reply);
	json_decref(reply);
	vsc_wait_message(hvsock.vsc, VMBUS_MESSAGE_TL_CONNECT_RESULT, message);
	ck_assert_uint_ne(result->status, 0);
	ck_assert_uint_eq(result->endpoint_id.bytes[0], OWN_PORT & 0xff);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 0);
	/* An answer to nothing. */
	ck_assert_int_lt(vsc_hvsock_accept(&hvsock), 0);
	/* A parent that cannot be asked says no. */
	hvsock.deaf = true;
	vsc_hvsock_ask(&hvsock, OWN_PORT, SERVER);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 0);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "refused"), 2);
}
END_TEST

START_TEST(a_guest_may_ask_for_so_much_at_a_time)
{
	for (unsigned int i = 0; i < 64; i++)
		vsc_hvsock_ask(&hvsock, OWN_PORT + i, SERVER);
	ck_assert_uint_ne(hvsock.asked_token, 0);
	vsc_hvsock_ask(&hvsock, OWN_PORT + 64, SERVER);
	ck_assert_uint_eq(hvsock.asked_token, 0);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 64);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "refused"), 1);
	/* The same once more. */
	vsc_hvsock_do(&hvsock, hvsock.ops->reset);
	vsc_hvsock_ask(&hvsock, OWN_PORT, SERVER);
	vsc_hvsock_ask(&hvsock, OWN_PORT, SERVER);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "requests"), 1);
}
END_TEST

/* A request's ids are ports; all else is another program's. */
START_TEST(only_ports_are_asked_for)
{
	struct vmbus_tl_connect_request request = {
		.header.type = VMBUS_MESSAGE_TL_CONNECT_REQUEST,
		.endpoint_id = HVSOCK_ID_TEMPLATE,
		.service_id = HVSOCK_ID_TEMPLATE,
	};

	if (_i)
		request.endpoint_id.bytes[15] ^= 1;
	else
		request.service_id.bytes[4] ^= 1;
	vsc_send(hvsock.vsc, &request, sizeof(request));
	vsc_settle(hvsock.vsc);
	ck_assert_uint_eq(hvsock.asked_token, 0);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "refused"), 1);
}
END_TEST

START_TEST(nobody_listens_in_the_guest)
{
	int fd = vsc_hvsock_host_connect(&hvsock, LISTENER);
	struct guid listener = HVSOCK_ID_TEMPLATE;
	uint32_t relid;

	listener.bytes[0] = LISTENER & 0xff;
	listener.bytes[1] = LISTENER >> 8;
	relid = vsc_find_offer(hvsock.vsc, &listener, 0)->relid;
	rig_host_expect_end(fd);
	close(fd);
	vsc_wait_rescind(hvsock.vsc, relid);
	vsc_release(hvsock.vsc, relid);
	rig_expect_none_left();
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "unanswered"), 1);
}
END_TEST

START_TEST(a_guest_without_the_bus_is_not_connected)
{
	vsc_unload(hvsock.vsc);
	ck_assert_int_lt(vsc_hvsock_host_connect(&hvsock, LISTENER), 0);
	vsc_connect(hvsock.vsc, VMBUS_VERSION(3, 0));
	ck_assert_int_lt(vsc_hvsock_host_connect(&hvsock, LISTENER), 0);
	vsc_connect(hvsock.vsc, VMBUS_VERSION(4, 0));
	ck_assert_int_ge(vsc_hvsock_host_connect(&hvsock, LISTENER), 0);
}
END_TEST

START_TEST(only_sockets_are_taken)
{
	int fd = open("/dev/null", O_RDWR);
	json_t *reply = vsc_hvsock_call(&hvsock, "connect",
					json_pack("{s:i, s:i}", "port", (int)LISTENER, "fd", fd));

	ck_assert_ptr_null(reply);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_ptr_null(
		vsc_hvsock_call(&hvsock, "connect", json_pack("{s:i}", "port", (int)LISTENER)));
}
END_TEST

START_TEST(relids_are_used_again)
{
	for (unsigned int i = 0; i < 1000; i++) {
		struct vsc_socket socket;
		int fd = i % 2 ? rig_from_host(&socket) : rig_from_guest(&socket, OWN_PORT + i);

		ck_assert_uint_eq(socket.channel.relid, 1);
		ck_assert(vsc_socket_send(&socket, &i, sizeof(i), true));
		rig_host_expect(fd, &i, sizeof(i));
		rig_end_both(&socket, fd);
	}
	rig_expect_none_left();
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "opened"), 1000);
}
END_TEST

#define AT_ONCE 64

START_TEST(many_at_once)
{
	static struct vsc_socket sockets[AT_ONCE];
	int fds[AT_ONCE];

	for (unsigned int i = 0; i < AT_ONCE; i++)
		fds[i] = i % 2 ? rig_host_to_guest(&sockets[i], LISTENER + i)
			       : rig_guest_to_host(&sockets[i], OWN_PORT + i, SERVER + i);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "open"), AT_ONCE);
	for (unsigned int i = 0; i < AT_ONCE; i++) {
		ck_assert(vsc_socket_send(&sockets[i], &i, sizeof(i), true));
		rig_host_write(fds[i], &i, sizeof(i));
	}
	for (unsigned int i = 0; i < AT_ONCE; i++) {
		rig_host_expect(fds[i], &i, sizeof(i));
		rig_guest_expect(&sockets[i], &i, sizeof(i));
	}
	for (unsigned int i = 0; i < AT_ONCE; i++)
		rig_end_both(&sockets[i], fds[i]);
	rig_expect_none_left();
}
END_TEST

/* So many that the guest holds, though the host has let go of all. */
START_TEST(a_guest_may_hold_so_many)
{
	int fd;

	for (unsigned int i = 0; i < 256; i++) {
		fd = vsc_hvsock_host_connect(&hvsock, LISTENER);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	ck_assert_int_lt(vsc_hvsock_host_connect(&hvsock, LISTENER), 0);
	vsc_unload(hvsock.vsc);
	vsc_connect(hvsock.vsc, VMBUS_VERSION_WIN10_V5_3);
	fd = vsc_hvsock_host_connect(&hvsock, LISTENER);
	close(fd);
}
END_TEST

/* Connections that the guest has closed, and does not say so, while the host had more to send: dead
 * when the host has closed its end, too. */
START_TEST(the_dead_make_room)
{
	static struct vsc_socket sockets[192];
	uint8_t *flood = rig_make_flood();
	int fds[ARRAY_LENGTH(sockets)], fd;

	for (unsigned int i = 0; i < ARRAY_LENGTH(sockets); i++) {
		fds[i] = rig_guest_to_host(&sockets[i], OWN_PORT + i, SERVER + i);
		vsc_socket_fin(&sockets[i]);
		rig_host_expect_end(fds[i]);
	}
	for (int i = 1; i < 3; i++)
		while (send(fds[i], flood, FLOOD, MSG_DONTWAIT) > 0)
			sched_yield();
	close(fds[1]);
	close(fds[2]);
	/* The first is not dead, and of the others one is enough. */
	fd = vsc_hvsock_host_connect(&hvsock, LISTENER);
	ck_assert_int_ge(fd, 0);
	vsc_socket_release(&sockets[1]);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "open"), ARRAY_LENGTH(sockets) - 1);
	vsc_unload(hvsock.vsc);
	for (unsigned int i = 0; i < ARRAY_LENGTH(sockets); i++) {
		if (i == 1)
			continue;
		vsc_socket_forget(&sockets[i]);
		if (i != 2)
			close(fds[i]);
	}
	close(fd);
	free(flood);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = rig_suite_of("vsc_hvsock", &test_case);

	tcase_add_test(test_case, the_host_connects);
	tcase_add_test(test_case, the_guest_connects);
	tcase_add_test(test_case, the_offer_says_who_connects);
	tcase_add_test(test_case, the_host_refuses);
	tcase_add_test(test_case, a_guest_may_ask_for_so_much_at_a_time);
	tcase_add_loop_test(test_case, only_ports_are_asked_for, 0, 2);
	tcase_add_test(test_case, nobody_listens_in_the_guest);
	tcase_add_test(test_case, a_guest_without_the_bus_is_not_connected);
	tcase_add_test(test_case, only_sockets_are_taken);
	tcase_add_test(test_case, relids_are_used_again);
	tcase_add_test(test_case, many_at_once);
	tcase_add_test(test_case, a_guest_may_hold_so_many);
	tcase_add_test(test_case, the_dead_make_room);
	return suite_run(suite);
}
