#include "hvsock_rig.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct vsc_hvsock hvsock;

static void setup(void)
{
	vsc_hvsock_start(&hvsock, 2);
}

static void teardown(void)
{
	vsc_hvsock_stop(&hvsock);
}

Suite *rig_suite_of(const char *name, TCase **test_case)
{
	Suite *suite = suite_of(name, test_case);

	tcase_add_checked_fixture(*test_case, setup, teardown);
	tcase_set_timeout(*test_case, 60);
	return suite;
}

/* Waits until there is something, or the end. */
static ssize_t host_read(int fd, void *data, size_t max)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	ck_assert_int_eq(poll(&ready, 1, WAIT_MS), 1);
	return read(fd, data, max);
}

void rig_host_expect(int fd, const void *expected, size_t bytes)
{
	uint8_t *data = malloc(bytes);

	for (size_t done = 0; done < bytes;) {
		ssize_t r = host_read(fd, data + done, bytes - done);

		ck_assert_int_gt(r, 0);
		done += (size_t)r;
	}
	ck_assert_mem_eq(data, expected, bytes);
	free(data);
}

void rig_host_expect_end(int fd)
{
	char byte;

	ck_assert_int_eq(host_read(fd, &byte, 1), 0);
}

void rig_host_write(int fd, const void *data, size_t bytes)
{
	ck_assert_int_eq(write(fd, data, bytes), (ssize_t)bytes);
}

void rig_guest_expect(struct vsc_socket *socket, const void *expected, size_t bytes)
{
	uint8_t *data = malloc(bytes);

	for (size_t done = 0; done < bytes;) {
		size_t part = vsc_socket_receive(socket, data + done, bytes - done);

		ck_assert_uint_gt(part, 0);
		done += part;
	}
	ck_assert_mem_eq(data, expected, bytes);
	free(data);
}

void rig_guest_expect_end(struct vsc_socket *socket)
{
	char byte;

	ck_assert_uint_eq(vsc_socket_receive(socket, &byte, 1), 0);
}

unsigned long rig_expect_ok(int fd)
{
	char line[64];
	size_t length = 0;

	do {
		ck_assert_uint_lt(length, sizeof(line) - 1);
		ck_assert_int_eq(host_read(fd, line + length, 1), 1);
	} while (line[length++] != '\n');
	line[length] = '\0';
	ck_assert_msg(!strncmp(line, "OK ", 3), "%s", line);
	return strtoul(line + 3, NULL, 10);
}

int rig_host_to_guest(struct vsc_socket *socket, uint32_t port)
{
	int fd = vsc_hvsock_host_connect(&hvsock, port);

	ck_assert_int_ge(fd, 0);
	vsc_socket_open(&hvsock, port, RING_PAGES, socket);
	rig_expect_ok(fd);
	return fd;
}

int rig_guest_to_host(struct vsc_socket *socket, uint32_t own_port, uint32_t port)
{
	int fd;

	vsc_hvsock_ask(&hvsock, own_port, port);
	ck_assert_uint_eq(hvsock.asked_port, port);
	fd = vsc_hvsock_accept(&hvsock);
	ck_assert_int_ge(fd, 0);
	vsc_socket_open(&hvsock, port, RING_PAGES, socket);
	return fd;
}

int rig_from_host(struct vsc_socket *socket)
{
	return rig_host_to_guest(socket, LISTENER);
}

int rig_from_guest(struct vsc_socket *socket, uint32_t own_port)
{
	return rig_guest_to_host(socket, own_port, SERVER);
}

void rig_expect_none_left(void)
{
	vsc_settle(hvsock.vsc);
	ck_assert_uint_eq(vsc_hvsock_figure(&hvsock, "connections"), 0);
}

void rig_end_both(struct vsc_socket *socket, int fd)
{
	vsc_socket_fin(socket);
	rig_host_expect_end(fd);
	close(fd);
	rig_guest_expect_end(socket);
	vsc_socket_release(socket);
}

uint8_t *rig_make_flood(void)
{
	uint8_t *data = malloc(FLOOD);

	for (size_t i = 0; i < FLOOD; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9) + (i >> 17));
	return data;
}
