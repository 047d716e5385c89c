#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"
#include "vmbus/ring.h"
#include "vsc_ring.h"

#define RAM_BYTES  (1u << 20)
#define RING_PAGES 4u

/* Both sides of two rings over scattered guest pages. */
struct pair {
	struct gpa_space *gpa;
	uint64_t up[RING_PAGES], down[RING_PAGES];
	struct vsc_ring guest_out, guest_in;
	struct ring_incoming in;
	struct ring_outgoing out;
};

static struct pair p;

static void set_up(void)
{
	ck_assert_int_eq(gpa_space_new(RAM_BYTES, &p.gpa, NULL), 0);
	for (unsigned int i = 0; i < RING_PAGES; i++) {
		p.up[i] = 90 - 7 * i;
		p.down[i] = 100 + 3 * i;
	}
	ck_assert_int_eq(vsc_ring_init(&p.guest_out, p.gpa, p.up, RING_PAGES), 0);
	ck_assert_int_eq(vsc_ring_init(&p.guest_in, p.gpa, p.down, RING_PAGES), 0);
	ck_assert_int_eq(ring_incoming_init(&p.in, p.gpa, p.up, RING_PAGES), 0);
	ck_assert_int_eq(ring_outgoing_init(&p.out, p.gpa, p.down, RING_PAGES), 0);
}

static void tear_down(void)
{
	ring_incoming_cleanup(&p.in);
	ring_outgoing_cleanup(&p.out);
	vsc_ring_cleanup(&p.guest_out);
	vsc_ring_cleanup(&p.guest_in);
	gpa_space_free(p.gpa);
}

static void pattern(uint8_t *data, uint32_t size, uint32_t seed)
{
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static bool guest_sends(uint64_t id, uint32_t size)
{
	static uint8_t payload[VSC_PACKET_MAX], packet[VSC_PACKET_MAX];
	uint32_t bytes;
	bool signal;

	pattern(payload, size, (uint32_t)id);
	bytes = vsc_packet_inband(packet, PACKET_DATA_INBAND, id, true, payload, size);
	ck_assert_int_eq(vsc_ring_send(&p.guest_out, packet, bytes, &signal), 0);
	return signal;
}

/* Every size at every place of the ring, wraps included, arrives as it was sent. */
START_TEST(receives_what_was_sent)
{
	struct packet packet;

	for (uint32_t i = 0; i < 4000; i++) {
		uint32_t size = i * 13 % 9000 / 8 * 8;
		uint8_t expected[9000];

		guest_sends(i, size);
		ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
		ck_assert_int_eq(packet.type, PACKET_DATA_INBAND);
		ck_assert_uint_eq(packet.flags, PACKET_FLAG_COMPLETION_REQUESTED);
		ck_assert_uint_eq(packet.transaction_id, i);
		ck_assert_uint_eq(packet.payload_size, size);
		pattern(expected, size, i);
		ck_assert_mem_eq(packet.payload, expected, size);
		ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 0);
		ring_incoming_publish(&p.in);
	}
}
END_TEST

START_TEST(sends_what_the_guest_reads)
{
	for (uint32_t i = 0; i < 4000; i++) {
		uint8_t packet[12000], payload[9000];
		uint32_t size = i * 17 % 9000, found;
		bool signal;

		pattern(payload, size, i);
		ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_COMPLETION, 0, i, payload, size),
				 0);
		ck_assert_int_eq(vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal), 0);
		ck_assert(ring_outgoing_publish(&p.out));
		ck_assert_int_gt(vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal), 0);
		ck_assert_mem_eq(vsc_packet_payload(packet, &found), payload, size);
		ck_assert_uint_eq(found, (size + 7) / 8 * 8);
	}
}
END_TEST

START_TEST(sends_transfer_pages)
{
	static uint8_t packet[VSC_PACKET_MAX];
	struct vmbus_transfer_range ranges[300];
	struct vmbus_transfer_header header;
	const uint8_t *payload;
	uint32_t size;
	bool signal;

	for (uint32_t i = 0; i < 300; i++)
		ranges[i] = (struct vmbus_transfer_range){i + 1, i * 1728};
	for (uint32_t count = 0; count <= 300; count += 7) {
		ck_assert_int_eq(ring_outgoing_send_transfer(&p.out, 1, 0xabc, 0xcafe, ranges,
							     count, "a payload of 21 bytes", 21),
				 0);
		ring_outgoing_publish(&p.out);
		ck_assert_int_gt(vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal), 0);
		ck_assert_uint_eq(packet[0], PACKET_TRANSFER_PAGES);
		ck_assert_uint_eq(packet[6], 1);
		payload = vsc_packet_payload(packet, &size);
		ck_assert_uint_eq(size, 24);
		ck_assert_mem_eq(payload, "a payload of 21 bytes\0\0\0", 24);
		memcpy(&header, packet + 16, sizeof(header));
		ck_assert_uint_eq(header.page_set, 0xcafe);
		ck_assert_uint_eq(header.range_count, count);
		ck_assert_ptr_eq(packet + 24 + count * sizeof(ranges[0]), payload);
		ck_assert(memcmp(packet + 24, ranges, count * sizeof(ranges[0])) == 0);
	}
	ck_assert_int_eq(ring_outgoing_send_transfer(&p.out, 1, 1, 1, ranges, UINT32_MAX, "", 0),
			 -EMSGSIZE);
}
END_TEST

START_TEST(takes_ranges_apart)
{
	struct vsc_range ranges[] = {{0x1010, 5000}, {0x9000, 512}};
	uint8_t buffer[512];
	struct packet packet;
	bool signal;
	uint32_t bytes = vsc_packet_gpa_direct(buffer, 5, ranges, 2, "requests", 8);

	ck_assert_int_eq(vsc_ring_send(&p.guest_out, buffer, bytes, &signal), 0);
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
	ck_assert_int_eq(packet.type, PACKET_GPA_DIRECT);
	ck_assert_uint_eq(packet.range_count, 2);
	ck_assert_uint_eq(packet.ranges_size, 8 + 2 * 8 + 8 + 8);
	ck_assert_uint_eq(packet.payload_size, 8);
	ck_assert_mem_eq(packet.payload, "requests", 8);
}
END_TEST

START_TEST(masks_while_at_work)
{
	struct packet packet;

	ck_assert(guest_sends(1, 8));
	ring_incoming_mask(&p.in);
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
	ring_incoming_publish(&p.in);
	ck_assert(!guest_sends(2, 8));
	ck_assert(ring_incoming_ready(&p.in));
	/* What came while we were masked is seen on the way out. */
	ck_assert_int_eq(ring_incoming_unmask(&p.in), 1);
	ck_assert_uint_eq(p.guest_out.header->interrupt_mask, 1);
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
	ring_incoming_publish(&p.in);
	ck_assert_int_eq(ring_incoming_unmask(&p.in), 0);
	ck_assert(!ring_incoming_ready(&p.in));
	ck_assert(guest_sends(3, 8));
	ck_assert(ring_incoming_ready(&p.in));
}
END_TEST

START_TEST(interrupts_only_out_of_empty)
{
	uint8_t packet[64];
	bool signal;

	ck_assert(!ring_outgoing_publish(&p.out));
	ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 1, "12345678", 8);
	ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 2, "12345678", 8);
	ck_assert(ring_outgoing_publish(&p.out));
	ck_assert(!ring_outgoing_publish(&p.out));
	ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 3, "12345678", 8);
	ck_assert(!ring_outgoing_publish(&p.out));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal),
				 24);
	vsc_ring_mask(&p.guest_in);
	ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 4, "12345678", 8);
	ck_assert(!ring_outgoing_publish(&p.out));
	ck_assert(vsc_ring_unmask(&p.guest_in));
}
END_TEST

START_TEST(waits_for_the_guest_to_make_room)
{
	uint8_t packet[4096], payload[1000] = {0};
	uint32_t pending;
	bool signal, woken = false;

	while (ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000) == 0)
		;
	/* A full ring shows itself to the guest, and says what it waits for. */
	pending = p.guest_in.header->pending_send_size;
	ck_assert_uint_eq(pending, 16 + 1000 + 8);
	ck_assert(ring_outgoing_publish(&p.out));
	while (vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal) > 0)
		woken |= signal;
	ck_assert(woken);
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000), 0);
	ck_assert_uint_eq(p.guest_in.header->pending_send_size, 0);
}
END_TEST

START_TEST(sees_the_room_that_a_send_waits_for)
{
	uint8_t packet[4096], payload[1000] = {0};
	bool signal;

	while (ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000) == 0)
		ck_assert(!ring_outgoing_ready(&p.out));
	p.guest_in.header->read_index = p.guest_in.header->write_index - 4;
	ck_assert(!ring_outgoing_ready(&p.out));
	p.guest_in.header->read_index = p.guest_in.index;
	ck_assert(!ring_outgoing_ready(&p.out));
	ck_assert_int_gt(vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal), 0);
	ck_assert(ring_outgoing_ready(&p.out));
	ring_outgoing_look(&p.out);
	ck_assert(!ring_outgoing_ready(&p.out));
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000), 0);
	ck_assert(!ring_outgoing_ready(&p.out));
}
END_TEST

START_TEST(a_small_packet_does_not_speak_for_a_large_one)
{
	uint8_t packet[4096], payload[1000] = {0};
	bool signal, woken = false;

	while (ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000) == 0)
		;
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 8), 0);
	ck_assert_uint_eq(p.guest_in.header->pending_send_size, 16 + 1000 + 8);
	while (ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 8) == 0)
		;
	ck_assert_uint_eq(p.guest_in.header->pending_send_size, 16 + 1000 + 8);
	ring_outgoing_publish(&p.out);
	while (vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal) > 0)
		woken |= signal;
	ck_assert(woken);
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 7, payload, 1000), 0);
	ck_assert_uint_eq(p.guest_in.header->pending_send_size, 0);
}
END_TEST

START_TEST(wakes_a_guest_that_waits_for_room)
{
	struct packet packet;
	unsigned int sent = 0, woken = 0;

	while (vsc_ring_room(&p.guest_out) > 1024) {
		guest_sends(sent++, 1000);
	}
	vsc_ring_wait_room(&p.guest_out, 3000);
	for (unsigned int i = 0; i < sent; i++) {
		ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
		woken += ring_incoming_publish(&p.in);
	}
	ck_assert_uint_eq(woken, 1);
	vsc_ring_wait_room(&p.guest_out, 0);
	guest_sends(1, 8);
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), 1);
	ck_assert(!ring_incoming_publish(&p.in));
}
END_TEST

START_TEST(refuses_what_can_never_fit)
{
	static uint8_t payload[RING_PAGES * 4096];

	ck_assert_int_eq(
		ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 1, payload, 3 * 4096 - 16 - 8),
		-EMSGSIZE);
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 1, payload, UINT32_MAX),
			 -EMSGSIZE);
	ck_assert_int_eq(
		ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 1, payload, 3 * 4096 - 16 - 16),
		0);
}
END_TEST

/* Indices that no driver would write. */
static const uint32_t bad_indices[] = {3 * 4096, 3 * 4096 + 8, 4, 1, UINT32_MAX, UINT32_MAX - 7};

START_TEST(breaks_on_bad_indices)
{
	uint32_t bad = bad_indices[_i];
	struct packet packet;

	p.guest_out.header->write_index = bad;
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), -EPROTO);
	ck_assert_int_eq(ring_incoming_unmask(&p.in), -EPROTO);
	p.guest_in.header->read_index = bad;
	ck_assert_int_eq(ring_outgoing_send(&p.out, PACKET_DATA_INBAND, 0, 1, "", 0), -EPROTO);
}
END_TEST

START_TEST(refuses_rings_that_start_with_bad_indices)
{
	struct ring_incoming in;
	struct ring_outgoing out;

	p.guest_out.header->read_index = bad_indices[_i];
	ck_assert_int_eq(ring_incoming_init(&in, p.gpa, p.up, RING_PAGES), -EPROTO);
	p.guest_in.header->write_index = bad_indices[_i];
	ck_assert_int_eq(ring_outgoing_init(&out, p.gpa, p.down, RING_PAGES), -EPROTO);
	/* Saved ones are judged alike; the header's do not count then. */
	ck_assert_int_eq(ring_incoming_restore(&in, p.gpa, p.up, RING_PAGES, bad_indices[_i]),
			 -EINVAL);
	ck_assert_int_eq(ring_outgoing_restore(&out, p.gpa, p.down, RING_PAGES, bad_indices[_i], 0),
			 -EINVAL);
	ck_assert_int_eq(ring_incoming_restore(&in, p.gpa, p.up, RING_PAGES, 8), 0);
	ck_assert_int_eq(ring_outgoing_restore(&out, p.gpa, p.down, RING_PAGES, 8, 0), 0);
	ck_assert_int_eq(ring_outgoing_restore(&out, p.gpa, p.down, RING_PAGES, 8, UINT32_MAX),
			 -EINVAL);
	ring_incoming_cleanup(&in);
	ring_outgoing_cleanup(&out);
}
END_TEST

/* A packet header's offset and length, in 8 bytes, on a ring that holds 64 bytes. */
static const struct {
	uint16_t offset8, length8;
	bool good;
} headers[] = {
	{2, 2, true},  {2, 7, true},	       {7, 7, true},	       {2, 8, false},
	{2, 1, false}, {2, 0, false},	       {1, 7, false},	       {0, 7, false},
	{8, 7, false}, {UINT16_MAX, 7, false}, {2, UINT16_MAX, false}, {3, 2, false},
};

START_TEST(breaks_on_bad_packet_headers)
{
	struct vmbus_packet_header header = {
		.type = PACKET_DATA_INBAND,
		.offset8 = headers[_i].offset8,
		.length8 = headers[_i].length8,
	};
	struct packet packet;

	memcpy(p.guest_out.pages[0], &header, sizeof(header));
	p.guest_out.header->write_index = 64;
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), headers[_i].good ? 1 : -EPROTO);
}
END_TEST

START_TEST(breaks_on_less_than_a_packet)
{
	struct packet packet;

	p.guest_out.header->write_index = 16;
	ck_assert_int_eq(ring_incoming_receive(&p.in, &packet), -EPROTO);
}
END_TEST

START_TEST(refuses_rings_of_no_size_or_memory)
{
	uint64_t frames[] = {1, 2, RAM_BYTES / 4096, 3}, far[] = {UINT64_MAX, 1};
	struct ring_incoming in;
	struct ring_outgoing out;

	ck_assert_int_eq(ring_incoming_init(&in, p.gpa, frames, 1), -EINVAL);
	ck_assert_int_eq(ring_incoming_init(&in, p.gpa, frames, 0), -EINVAL);
	ck_assert_int_eq(ring_outgoing_init(&out, p.gpa, frames, 1), -EINVAL);
	ck_assert_int_eq(ring_incoming_init(&in, p.gpa, frames, 4), -EFAULT);
	ck_assert_int_eq(ring_outgoing_init(&out, p.gpa, far, 2), -EFAULT);
	ck_assert_int_eq(ring_incoming_init(&in, p.gpa, frames, 2), 0);
	ring_incoming_cleanup(&in);
}
END_TEST

/* Two threads that sleep whenever there is nothing to do: a lost wake-up hangs the test. */
#define EXCHANGES 30000u

static int to_host, to_guest;

static void ring_bell(int fd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static void sleep_on(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t count;

	ck_assert_msg(poll(&poll_fd, 1, 60000) == 1, "a wake-up was lost");
	ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
}

static void host_flush(void)
{
	if (ring_outgoing_publish(&p.out))
		ring_bell(to_guest);
}

static void host_echo(const struct packet *packet)
{
	while (ring_outgoing_send(&p.out, PACKET_COMPLETION, 0, packet->transaction_id,
				  packet->payload, packet->payload_size) == -EAGAIN) {
		host_flush();
		sleep_on(to_host);
	}
}

static void *host(void *unused)
{
	struct packet packet;
	unsigned int done = 0;

	while (done < EXCHANGES) {
		sleep_on(to_host);
		ring_incoming_mask(&p.in);
		do {
			while (ring_incoming_receive(&p.in, &packet) == 1) {
				host_echo(&packet);
				done++;
			}
			host_flush();
			if (ring_incoming_publish(&p.in))
				ring_bell(to_guest);
		} while (ring_incoming_unmask(&p.in) == 1);
	}
	return NULL;
}

/* Sends as long as there is room; asks to be woken where there is none. */
static unsigned int guest_pump(unsigned int sent)
{
	static const uint8_t payload[2048];
	uint8_t packet[2048];
	bool signal;

	while (sent < EXCHANGES) {
		uint32_t size = sent % 100 * 16 + 8;
		uint32_t bytes =
			vsc_packet_inband(packet, PACKET_DATA_INBAND, sent, true, payload, size);

		if (vsc_ring_send(&p.guest_out, packet, bytes, &signal)) {
			vsc_ring_wait_room(&p.guest_out, bytes + 8);
			if (vsc_ring_room(&p.guest_out) <= bytes + 8)
				return sent;
			continue;
		}
		vsc_ring_wait_room(&p.guest_out, 0);
		if (signal)
			ring_bell(to_host);
		sent++;
	}
	return sent;
}

START_TEST(loses_no_wakeup)
{
	unsigned int sent = 0, received = 0;
	uint8_t packet[4096];
	pthread_t thread;
	bool signal;

	to_host = eventfd(0, 0);
	to_guest = eventfd(0, 0);
	pthread_create(&thread, NULL, host, NULL);
	while (received < EXCHANGES) {
		vsc_ring_mask(&p.guest_in);
		sent = guest_pump(sent);
		while (vsc_ring_receive(&p.guest_in, packet, sizeof(packet), &signal) > 0) {
			uint64_t id;

			memcpy(&id, packet + 8, sizeof(id));
			ck_assert_uint_eq(id, received++);
			if (signal)
				ring_bell(to_host);
		}
		if (!vsc_ring_unmask(&p.guest_in) && received < EXCHANGES)
			sleep_on(to_guest);
	}
	pthread_join(thread, NULL);
	close(to_host);
	close(to_guest);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("ring", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, receives_what_was_sent);
	tcase_add_test(tests, sends_what_the_guest_reads);
	tcase_add_test(tests, sends_transfer_pages);
	tcase_add_test(tests, takes_ranges_apart);
	tcase_add_test(tests, masks_while_at_work);
	tcase_add_test(tests, interrupts_only_out_of_empty);
	tcase_add_test(tests, waits_for_the_guest_to_make_room);
	tcase_add_test(tests, sees_the_room_that_a_send_waits_for);
	tcase_add_test(tests, a_small_packet_does_not_speak_for_a_large_one);
	tcase_add_test(tests, wakes_a_guest_that_waits_for_room);
	tcase_add_test(tests, refuses_what_can_never_fit);
	tcase_add_loop_test(tests, breaks_on_bad_indices, 0,
			    sizeof(bad_indices) / sizeof(bad_indices[0]));
	tcase_add_loop_test(tests, refuses_rings_that_start_with_bad_indices, 0,
			    sizeof(bad_indices) / sizeof(bad_indices[0]));
	tcase_add_loop_test(tests, breaks_on_bad_packet_headers, 0,
			    sizeof(headers) / sizeof(headers[0]));
	tcase_add_test(tests, breaks_on_less_than_a_packet);
	tcase_add_test(tests, refuses_rings_of_no_size_or_memory);
	tcase_add_test(tests, loses_no_wakeup);
	return suite_run(suite);
}
