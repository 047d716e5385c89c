/*
 * The tap backend on taps of a network namespace of our own, with packet sockets on their host
 * side.  Passes without looking where the host lets us make neither.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/wire.h"
#include "net_rig.h"

#define TAP	     "bh-test"
#define QUEUES	     2
#define BUFFER_BYTES (NET_FRAME_MAX + 1)
/* Of the frames that we send: no protocol that the host's stack knows. */
#define PROTOCOL     0x88b5

static struct rig rig;
static bool there;
static int control; /* any socket, for ioctls on interfaces */
static int packets; /* the host's side */

static bool own_network(void)
{
	return !unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static int open_queue(void)
{
	struct ifreq request = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)};
	int header = sizeof(struct virtio_net_hdr);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	strcpy(request.ifr_name, TAP);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		return -1;
	ck_assert_int_eq(ioctl(fd, TUNSETVNETHDRSZ, &header), 0);
	return fd;
}

static void set_up_or_down(bool up)
{
	struct ifreq request = {.ifr_flags = up ? IFF_UP | IFF_NOARP : IFF_NOARP};

	strcpy(request.ifr_name, TAP);
	ck_assert_int_eq(ioctl(control, SIOCSIFFLAGS, &request), 0);
}

static int open_packets(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(PROTOCOL),
				      .sll_ifindex = (int)if_nametoindex(TAP)};

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void setup(void)
{
	int fds[QUEUES];

	there = own_network();
	for (unsigned int i = 0; there && i < QUEUES; i++) {
		fds[i] = open_queue();
		there = fds[i] >= 0;
	}
	if (!there)
		return;
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(control, 0);
	rig_open(&rig, "tap",
		 json_pack("{s:[i, i], s:i, s:s}", "fds", fds[0], fds[1], "mtu", 1500, "name",
			   "a tap"),
		 BUFFER_BYTES);
	rig.without_ipv6 = true;
	set_up_or_down(true);
	packets = open_packets();
}

static void teardown(void)
{
	if (!there)
		return;
	rig_close(&rig);
	close(packets);
	close(control);
}

#define NEED_TAP                                                                                   \
	if (!there)                                                                                \
	return

static void make_frame(uint8_t *frame, uint32_t bytes, uint8_t number)
{
	memset(frame, 0xff, ETH_ALEN);
	memset(frame + ETH_ALEN, 2, ETH_ALEN);
	put_be16(frame + 2 * ETH_ALEN, PROTOCOL);
	memset(frame + ETH_HLEN, number, bytes - ETH_HLEN);
}

static void send_number(unsigned int queue, uint8_t number, uint32_t bytes,
			struct net_offload offload)
{
	uint8_t frame[2000];

	make_frame(frame, bytes, number);
	rig_send(&rig, queue, frame, bytes, offload);
}

static void host_send(uint8_t number, uint32_t bytes)
{
	uint8_t frame[2000];

	make_frame(frame, bytes, number);
	ck_assert_int_eq(send(packets, frame, bytes, 0), (ssize_t)bytes);
}

START_TEST(frames_reach_the_host)
{
	uint8_t frame[2000];

	NEED_TAP;
	for (unsigned int i = 0; i < 40; i++)
		send_number(i % QUEUES, (uint8_t)i, 60 + i, (struct net_offload){0});
	RIG_WAIT(rig.sent_well == 40);
	for (unsigned int i = 0; i < 40; i++) {
		ck_assert_int_eq(recv(packets, frame, sizeof(frame), 0), (ssize_t)(60 + i));
		ck_assert_uint_eq(frame[ETH_HLEN], i);
	}
}
END_TEST

START_TEST(frames_come_from_the_host)
{
	unsigned int seen = 0;

	NEED_TAP;
	for (unsigned int i = 0; i < 200; i++)
		host_send((uint8_t)i, 60 + i);
	RIG_WAIT(rig.received == 200);
	/* In order within each queue. */
	for (unsigned int queue = 0; queue < QUEUES; queue++) {
		int last = -1;

		for (unsigned int i = 0; i < 200; i++) {
			if (rig.frames[i].queue != queue)
				continue;
			seen++;
			ck_assert_int_gt(rig.frames[i].data[ETH_HLEN], last);
			last = rig.frames[i].data[ETH_HLEN];
			ck_assert_uint_eq(rig.frames[i].bytes, 60 + (unsigned int)last);
		}
	}
	ck_assert_uint_eq(seen, 200);
}
END_TEST

static void use_buffers(void *context)
{
	rig.buffers_allowed = *(unsigned int *)context;
	for (unsigned int i = 0; i < QUEUES; i++)
		rig.backend->receive(rig.queues[i].queue);
}

START_TEST(frames_wait_for_buffers)
{
	unsigned int count = 0;

	NEED_TAP;
	rig_suspend(&rig);
	io_thread_call(rig.thread, use_buffers, &count);
	io_thread_call(rig.thread, rig_do_resume, &rig);
	for (unsigned int i = 0; i < 50; i++)
		host_send((uint8_t)i, 60);
	/* Each queue keeps one while it waits; the host chooses in which the frames are. */
	count = QUEUES;
	io_thread_call(rig.thread, use_buffers, &count);
	RIG_WAIT(rig.received >= 1);
	count = RIG_BUFFERS;
	io_thread_call(rig.thread, use_buffers, &count);
	RIG_WAIT(rig.received == 50);
}
END_TEST

START_TEST(a_pause_keeps_what_comes)
{
	NEED_TAP;
	for (unsigned int i = 0; i < 20; i++) {
		rig_suspend(&rig);
		host_send((uint8_t)i, 60);
		io_thread_call(rig.thread, rig_do_resume, &rig);
	}
	RIG_WAIT(rig.received == 20);
}
END_TEST

/* What the host cannot make sense of harms that frame alone. */
START_TEST(offloads_beyond_the_frame_are_refused)
{
	uint8_t frame[2000];

	NEED_TAP;
	send_number(0, 1, 60, (struct net_offload){.needs_csum = true, .csum_start = 5000});
	RIG_WAIT(rig.sent_badly == 1);
	send_number(0, 2, 60,
		    (struct net_offload){
			    .needs_csum = true, .csum_start = ETH_HLEN + 20, .csum_offset = 65535});
	RIG_WAIT(rig.sent_badly == 2);
	send_number(0, 3, 60,
		    (struct net_offload){.gso = NET_GSO_TCP4,
					 .gso_size = 0,
					 .needs_csum = true,
					 .csum_start = 34,
					 .csum_offset = 16});
	RIG_WAIT(rig.sent_badly == 3);
	send_number(0, 4, 60, (struct net_offload){0});
	ck_assert_int_eq(recv(packets, frame, sizeof(frame), 0), 60);
	ck_assert_uint_eq(frame[ETH_HLEN], 4);
	ck_assert_uint_eq(rig.links_lost, 0);
}
END_TEST

static void set_address(const char *text, unsigned long request_code)
{
	struct ifreq request = {.ifr_addr.sa_family = AF_INET};
	struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;

	strcpy(request.ifr_name, TAP);
	ck_assert_int_eq(inet_pton(AF_INET, text, &address->sin_addr), 1);
	ck_assert_int_eq(ioctl(control, request_code, &request), 0);
}

/* A datagram from the host's own stack; its frame's number. */
static unsigned int host_datagram(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	unsigned int before = rig.received;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t data[100] = {1, 2, 3};

	inet_pton(AF_INET, "192.0.2.7", &to.sin_addr);
	ck_assert_int_eq(sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(data));
	close(fd);
	RIG_WAIT(rig.received == before + 1);
	return before;
}

static uint32_t sum(const uint8_t *data, uint32_t bytes)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < bytes; i++)
		total += (uint32_t)data[i] << (i % 2 ? 0 : 8);
	return total;
}

/* Over the pseudo header too: 0xffff where the checksum is right. */
static uint32_t udp_sum(const uint8_t *frame)
{
	const uint8_t *ip = frame + ETH_HLEN;
	uint32_t bytes = get_be16(ip + 20 + 4);
	uint32_t total = sum(ip + 12, 8) + IPPROTO_UDP + bytes + sum(ip + 20, bytes);

	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

START_TEST(checksums_are_made_unless_the_guest_makes_them)
{
	const struct rig_frame *frame;

	NEED_TAP;
	set_address("192.0.2.1", SIOCSIFADDR);
	set_address("255.255.255.0", SIOCSIFNETMASK);
	frame = &rig.frames[host_datagram()];
	ck_assert(!frame->offload.needs_csum);
	ck_assert_uint_eq(udp_sum(frame->data), 0xffff);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, NET_OFFLOAD_CSUM), 0);
	frame = &rig.frames[host_datagram()];
	ck_assert(frame->offload.needs_csum);
	ck_assert_uint_eq(frame->offload.csum_start, ETH_HLEN + 20);
	ck_assert_uint_eq(frame->offload.csum_offset, 6);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, 0), 0);
	frame = &rig.frames[host_datagram()];
	ck_assert(!frame->offload.needs_csum);
}
END_TEST

START_TEST(offloads_are_those_of_the_port)
{
	NEED_TAP;
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, rig.port->receive_offloads), 0);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, NET_OFFLOAD_TSO4), -EINVAL);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, 1u << 31 | NET_OFFLOAD_CSUM), -EINVAL);
	ck_assert_uint_eq(rig.port->mtu, 1500);
	ck_assert_uint_eq(rig.port->queue_count, QUEUES);
}
END_TEST

/* Down is not gone: frames are lost until it is up again. */
START_TEST(an_interface_that_is_down_comes_back)
{
	uint8_t frame[2000];

	NEED_TAP;
	set_up_or_down(false);
	send_number(0, 1, 60, (struct net_offload){0});
	RIG_WAIT(rig.sent_badly == 1);
	set_up_or_down(true);
	send_number(0, 2, 60, (struct net_offload){0});
	RIG_WAIT(rig.sent_well == 1);
	/* Its socket is told once that it was down. */
	if (recv(packets, frame, sizeof(frame), 0) < 0)
		ck_assert_int_eq(recv(packets, frame, sizeof(frame), 0), 60);
	ck_assert_uint_eq(frame[ETH_HLEN], 2);
	ck_assert_uint_eq(rig.links_lost, 0);
}
END_TEST

static void delete_interface(void)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_DELLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info.ifi_index = (int)if_nametoindex(TAP),
	};
	uint8_t answer[1000];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(fd, &request, sizeof(request), 0), sizeof(request));
	ck_assert_int_gt(recv(fd, answer, sizeof(answer), 0), 0);
	close(fd);
	ck_assert_uint_eq(if_nametoindex(TAP), 0);
}

START_TEST(an_interface_that_is_deleted_takes_the_link_along)
{
	NEED_TAP;
	host_send(1, 60);
	RIG_WAIT(rig.received == 1);
	delete_interface();
	if (_i)
		send_number(1, 1, 60, (struct net_offload){0});
	RIG_WAIT(rig.links_lost == QUEUES);
	ck_assert_ptr_nonnull(strstr(atomic_load(&rig.port->down), "deleted"));
	send_number(0, 1, 60, (struct net_offload){0});
	ck_assert_int_eq(rig.last_error, -ENETDOWN);
	ck_assert_int_eq(rig.backend->set_offloads(rig.port, NET_OFFLOAD_CSUM), 0);
	rig_suspend(&rig);
	io_thread_call(rig.thread, rig_do_detach, &rig);
	io_thread_call(rig.thread, rig_attach, &rig);
	RIG_WAIT(rig.links_lost == 2 * QUEUES);
}
END_TEST

START_TEST(only_taps_are_taken)
{
	const struct net_backend *tap = net_backend_find("tap");
	struct net_port *port;
	struct error err;
	json_t *config = json_pack("{s:[i], s:i, s:s}", "fds", fileno(stdin), "mtu", 1500, "name",
				   "--nic tap=x");

	ck_assert_int_lt(tap->open(config, &port, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "--nic tap=x"));
	json_object_set_new(config, "fds", json_array());
	ck_assert_int_eq(tap->open(config, &port, &err), -EINVAL);
	json_decref(config);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("net_tap", &tcase);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, frames_reach_the_host);
	tcase_add_test(tcase, frames_come_from_the_host);
	tcase_add_test(tcase, frames_wait_for_buffers);
	tcase_add_test(tcase, a_pause_keeps_what_comes);
	tcase_add_test(tcase, offloads_beyond_the_frame_are_refused);
	tcase_add_test(tcase, checksums_are_made_unless_the_guest_makes_them);
	tcase_add_test(tcase, offloads_are_those_of_the_port);
	tcase_add_test(tcase, an_interface_that_is_down_comes_back);
	tcase_add_loop_test(tcase, an_interface_that_is_deleted_takes_the_link_along, 0, 2);
	tcase_add_test(tcase, only_taps_are_taken);
	return suite_run(suite);
}
