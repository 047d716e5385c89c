/* The 21140A by a small driver of its own: rings, filters, interrupts; its host is a null NIC. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/tulip_internal.h"
#include "machine_fixture.h"
#include "suite.h"

#define SLOT	0x0a
#define PORTS	0xc000
#define MEMORY	0xfc000000u
#define RAM	(4u << 20)
#define RX_RING 0x10000u
#define TX_RING 0x20000u
#define BUFFERS 0x100000u
#define BUFFER	2048u
#define OUTSIDE 0x80000000u
#define OWN	0x80000000u
#define WRAP	0x02000000u
#define CHAINED 0x01000000u
#define SEND	0xe0000000u /* whole frame, and an interrupt */
#define SETUP	(0x88000000u | 192)
#define LINE	10u

/* Modes: MII at 100 Mb/s, inner loopback. */
#define MII	       0x00040000u
#define LOOPBACK       0x00000400u
#define START	       (TULIP_MODE_TRANSMIT | TULIP_MODE_RECEIVE)
#define ALL_INTERRUPTS 0x0001ebefu

static const uint8_t mac[NET_MAC_BYTES] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static struct machine machine;
static struct io_thread *thread;
static struct gpa_space *gpa;
static struct tulip *tulip;

static int route(void *context, unsigned int pirq)
{
	return LINE;
}

static uint32_t csr(unsigned int number)
{
	return (uint32_t)machine_in(&machine, (uint16_t)(PORTS + 8 * number), 4);
}

static void set(unsigned int number, uint32_t value)
{
	machine_out(&machine, (uint16_t)(PORTS + 8 * number), 4, value);
}

static void nothing(void *context)
{
}

/* All that was asked of the chip is done: a call behind it on its thread, twice, for what it puts
 * off to the end of a batch. */
static void settle(void)
{
	io_thread_call(thread, nothing, NULL);
	io_thread_call(thread, nothing, NULL);
}

static bool interrupted(void)
{
	return irq_gsi_asserted(machine.env.irq, LINE);
}

static void put_descriptor(uint32_t ring, unsigned int index, uint32_t control, uint32_t buffer1,
			   uint32_t buffer2)
{
	uint32_t words[4] = {0, htole32(control), htole32(buffer1), htole32(buffer2)};
	uint32_t own = htole32(OWN);

	ck_assert_int_eq(gpa_write(gpa, ring + 16 * index, words, sizeof(words)), 0);
	ck_assert_int_eq(gpa_write(gpa, ring + 16 * index, &own, sizeof(own)), 0);
}

static uint32_t status_of(uint32_t ring, unsigned int index)
{
	uint32_t status;

	ck_assert_int_eq(gpa_read(gpa, ring + 16 * index, &status, sizeof(status)), 0);
	return le32toh(status);
}

/* A receive ring of count whole buffers. */
static void give_receive_ring(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		put_descriptor(RX_RING, i, 1536 | (i + 1 == count ? WRAP : 0), BUFFERS + i * BUFFER,
			       0);
	ck_assert_int_eq(gpa_fill(gpa, RX_RING + 16 * count, 0, 16), 0);
	set(3, RX_RING);
}

static void switch_on(uint32_t mode)
{
	set(4, TX_RING);
	set(5, UINT32_MAX);
	set(7, ALL_INTERRUPTS);
	set(6, mode | MII);
	settle();
}

static void make_frame(uint8_t *frame, const uint8_t *to, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)i;
	memcpy(frame, to, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, mac, NET_MAC_BYTES);
	put_be16(frame + 12, 0x88b5);
}

#define TX_BUFFER (BUFFERS + 0x80000u)

static uint8_t sent[2048];

/* Puts one on the transmit ring. */
static void send_to(const uint8_t *to, unsigned int index, uint32_t bytes)
{
	make_frame(sent, to, bytes);
	ck_assert_int_eq(gpa_write(gpa, TX_BUFFER + index * BUFFER, sent, bytes), 0);
	put_descriptor(TX_RING, index, SEND | bytes, TX_BUFFER + index * BUFFER, 0);
	set(1, 0);
	settle();
}

static void send_setup(unsigned int index, const uint8_t *setup, uint32_t flags)
{
	ck_assert_int_eq(gpa_write(gpa, TX_BUFFER + index * BUFFER, setup, 192), 0);
	put_descriptor(TX_RING, index, SETUP | flags, TX_BUFFER + index * BUFFER, 0);
	set(1, 0);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, index), 0x7fffffff);
}

static void put_address(uint8_t *setup, unsigned int entry, const uint8_t *address)
{
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++)
		setup[12 * entry + 4 * (i / 2) + i % 2] = address[i];
}

/* Ours in the last entry, broadcasts in all others. */
static void send_perfect(unsigned int index)
{
	uint8_t setup[192];

	memset(setup, 0xff, sizeof(setup));
	put_address(setup, 15, mac);
	send_setup(index, setup, 0);
}

static void make(const char *backend)
{
	char config[160];

	snprintf(config, sizeof(config), "{\"mac\":\"52:54:00:12:34:56\",\"backend\":\"null\"%s}",
		 backend);
	tulip = machine_add(&machine, "tulip", config);
	machine_pci_write(&machine, SLOT, 0, PCI_BAR0, 4, PORTS);
	machine_pci_write(&machine, SLOT, 0, PCI_BAR0 + 4, 4, MEMORY);
	machine_pci_write(&machine, SLOT, 0, PCI_COMMAND, 2, 7);
	settle();
}

static void make_machine(struct machine *into)
{
	machine_init(into);
	into->env.gpa = gpa;
	into->env.io_threads = &thread;
	into->env.io_thread_count = 1;
	machine_add_pci(into);
	pci_route_set(into->env.pci, route, NULL);
}

static void set_up(void)
{
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(io_thread_new("nic", 16, &thread), 0);
	ck_assert_int_eq(io_thread_start(thread, NULL, NULL), 0);
	make_machine(&machine);
}

static void tear_down(void)
{
	device_find("tulip")->destroy(tulip);
	io_thread_free(thread);
	machine_fini(&machine);
	gpa_space_free(gpa);
}

START_TEST(registers_after_power_on)
{
	static const uint32_t values[] = {0xfe000000, 0xffffffff, 0xffffffff, 0,
					  0,	      0xfc000000, 0x32000040, 0xf3fe0000,
					  0xe0000000, 0xfffc83ff, 0xffffffff, 0xfffe0000,
					  0xfffffeff, 0xffffffff, 0xffffffff, 0xfffffec8};

	make("");
	ck_assert_uint_eq(machine_pci_read(&machine, SLOT, 0, 0, 4), 0x00091011);
	ck_assert_uint_eq(machine_pci_read(&machine, SLOT, 0, 8, 4), 0x02000020);
	ck_assert_uint_eq(machine_pci_read(&machine, SLOT, 0, 0x2c, 4), 0x21140a00);
	for (unsigned int i = 0; i < 16; i++)
		ck_assert_uint_eq(csr(i), values[i]);
	/* The same by memory, and by parts. */
	struct io_access access = {.address = MEMORY + 8 * 6, .size = 4};
	io_bus_dispatch(machine.env.mmio, &access);
	ck_assert_uint_eq(access.value, 0x32000040);
	ck_assert_uint_eq(machine_in(&machine, PORTS + 8 * 6 + 3, 1), 0x32);
	machine_out(&machine, PORTS + 8 * 6, 1, 0);
	ck_assert_uint_eq(csr(6), 0x32000040);
	ck_assert_uint_eq(machine_in(&machine, PORTS + 8 * 6 + 4, 4), 0xffffffff);
}
END_TEST

START_TEST(frames_go_out_and_are_told)
{
	make("");
	switch_on(START);
	/* The ring is empty. */
	ck_assert_uint_eq(csr(5) & 0x00700000, 0x00600000);
	set(5, UINT32_MAX);
	ck_assert(!interrupted());
	send_to((uint8_t[6]){2, 0, 0, 0, 0, 1}, 0, 100);
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(csr(5) & 0x1ffff,
			  TULIP_INT_TRANSMIT | TULIP_INT_TRANSMIT_NO_BUF | TULIP_INT_NORMAL);
	ck_assert(interrupted());
	set(7, 0);
	ck_assert(!interrupted());
	ck_assert_uint_eq(csr(5) & TULIP_INT_NORMAL, 0);
	set(7, ALL_INTERRUPTS);
	ck_assert(interrupted());
	set(5, TULIP_INT_TRANSMIT | TULIP_INT_TRANSMIT_NO_BUF);
	ck_assert(!interrupted());
	ck_assert_uint_eq(tulip->sent.frames, 1);
	ck_assert_uint_eq(tulip->sent.bytes, 100);
}
END_TEST

START_TEST(a_frame_comes_back_whole)
{
	uint8_t got[104];

	make(",\"echo\":true");
	give_receive_ring(4);
	switch_on(START);
	send_perfect(0);
	send_to(mac, 1, 100);
	ck_assert_uint_eq(status_of(RX_RING, 0), 104u << 16 | 0x320);
	ck_assert_int_eq(gpa_read(gpa, BUFFERS, got, sizeof(got)), 0);
	ck_assert_mem_eq(got, sent, 100);
	ck_assert_uint_eq(csr(5) & TULIP_INT_RECEIVE, TULIP_INT_RECEIVE);
	/* A short one is padded. */
	send_to(mac, 2, 20);
	ck_assert_uint_eq(status_of(RX_RING, 1), 64u << 16 | 0x320);
	/* One for somebody else. */
	send_to((uint8_t[6]){2, 0, 0, 0, 0, 1}, 3, 100);
	ck_assert_uint_eq(status_of(RX_RING, 2), OWN);
	ck_assert_uint_eq(tulip->received.frames, 2);
}
END_TEST

START_TEST(pieces_and_chains)
{
	uint8_t got[300];
	uint32_t second = TX_RING + 0x100;

	make(",\"echo\":true");
	/* Received into two buffers of one, then on to a chained one. */
	put_descriptor(RX_RING, 0, 64 | 32 << 11, BUFFERS, BUFFERS + BUFFER);
	put_descriptor(RX_RING, 1, 512 | CHAINED, BUFFERS + 2 * BUFFER, RX_RING);
	set(3, RX_RING);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	make_frame(sent, mac, 300);
	ck_assert_int_eq(gpa_write(gpa, TX_BUFFER, sent, 300), 0);
	put_descriptor(second, 0, 0x40000000 | 150, TX_BUFFER + 150, 0);
	put_descriptor(TX_RING, 0, 0x20000000 | CHAINED | 150, TX_BUFFER, second);
	set(1, 0);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(status_of(second, 0), 0);
	ck_assert_uint_eq(status_of(RX_RING, 0), 0x200);
	ck_assert_uint_eq(status_of(RX_RING, 1), 304u << 16 | 0x120);
	ck_assert_int_eq(gpa_read(gpa, BUFFERS, got, 64), 0);
	ck_assert_int_eq(gpa_read(gpa, BUFFERS + BUFFER, got + 64, 32), 0);
	ck_assert_int_eq(gpa_read(gpa, BUFFERS + 2 * BUFFER, got + 96, 204), 0);
	ck_assert_mem_eq(got, sent, 300);
}
END_TEST

START_TEST(descriptors_lie_apart_as_told)
{
	make("");
	set(0, 4 << 2);
	ck_assert_int_eq(gpa_write(gpa, TX_BUFFER, sent, 64), 0);
	put_descriptor(TX_RING, 0, SEND | 64, TX_BUFFER, 0);
	put_descriptor(TX_RING, 2, SEND | WRAP | 64, TX_BUFFER, 0);
	switch_on(START);
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(status_of(TX_RING, 2), 0);
	/* And around. */
	send_to(mac, 0, 64);
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(tulip->sent.frames, 3);
}
END_TEST

START_TEST(a_truncated_frame_says_so)
{
	make(",\"echo\":true");
	put_descriptor(RX_RING, 0, 64, BUFFERS, 0);
	ck_assert_int_eq(gpa_fill(gpa, RX_RING + 16, 0, 16), 0);
	set(3, RX_RING);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	send_to(mac, 0, 200);
	ck_assert_uint_eq(status_of(RX_RING, 0), 204u << 16 | 0xc320);
}
END_TEST

/* A frame of so many bytes comes, as tun gives it: cut to what there is room for. */
static void hear(void *context)
{
	static const struct net_offload none;
	struct net_buffer *buffer = tulip_receive_buffer(tulip);
	uint32_t bytes = MIN(*(const uint32_t *)context, buffer->bytes);

	make_frame(buffer->iov[1].iov_base, mac, bytes);
	tulip_receive_frame(tulip, buffer, bytes, &none);
}

START_TEST(a_frame_that_is_cut_is_dropped)
{
	uint32_t bytes = 3000;

	make("");
	give_receive_ring(2);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	io_thread_call(thread, hear, &bytes);
	ck_assert_uint_eq(status_of(RX_RING, 0), OWN);
	ck_assert_uint_eq(tulip->received.frames, 0);
	bytes = TULIP_FRAME_MAX;
	io_thread_call(thread, hear, &bytes);
	ck_assert_uint_eq(status_of(RX_RING, 0) & OWN, 0);
	ck_assert_uint_eq(tulip->received.frames, 1);
}
END_TEST

START_TEST(a_full_ring_is_told_and_what_waits_comes)
{
	make(",\"echo\":true");
	give_receive_ring(1);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	send_to(mac, 0, 80);
	set(5, UINT32_MAX);
	send_to(mac, 1, 90);
	ck_assert_uint_eq(csr(5) & 0xe0000, 0x80000);
	ck_assert_uint_eq(csr(5) & TULIP_INT_RECEIVE_NO_BUF, TULIP_INT_RECEIVE_NO_BUF);
	ck_assert_uint_eq(csr(5) & TULIP_INT_ABNORMAL, TULIP_INT_ABNORMAL);
	put_descriptor(RX_RING, 0, 1536 | WRAP, BUFFERS, 0);
	set(2, 0);
	settle();
	ck_assert_uint_eq(status_of(RX_RING, 0), 94u << 16 | 0x320);
	/* Without a demand: when the guest has seen to its interrupts. */
	send_to(mac, 2, 100);
	put_descriptor(RX_RING, 0, 1536 | WRAP, BUFFERS, 0);
	set(5, UINT32_MAX);
	settle();
	ck_assert_uint_eq(status_of(RX_RING, 0), 104u << 16 | 0x320);
}
END_TEST

START_TEST(missed_frames_are_counted)
{
	make(",\"echo\":true");
	give_receive_ring(1);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	for (unsigned int i = 0; i < 1 + TULIP_WAITING_MAX + 3; i++)
		send_to(mac, i, 80);
	ck_assert_uint_eq(csr(8), 0xe0000003);
	ck_assert_uint_eq(csr(8), 0xe0000000);
	/* One more goes in first, as soon as there is room. */
	put_descriptor(RX_RING, 0, 1536 | WRAP, BUFFERS, 0);
	send_to(mac, 70, 80);
	ck_assert_uint_eq(csr(8), 0xe0000000);
}
END_TEST

START_TEST(filters)
{
	static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 1};
	uint8_t setup[192] = {0};
	uint32_t bit = tulip_crc(group, sizeof(group)) & 511;
	struct tulip_filter filter;

	put_address(setup, 3, mac);
	tulip_filter_set(&filter, setup, 0);
	ck_assert(tulip_filter_passes(&filter, 0, mac));
	ck_assert(!tulip_filter_passes(&filter, 0, broadcast));
	ck_assert(!tulip_filter_passes(&filter, 0, other));
	ck_assert(tulip_filter_passes(&filter, TULIP_MODE_PROMISCUOUS, other));
	ck_assert(tulip_filter_passes(&filter, TULIP_MODE_ALL_MULTICAST, group));
	ck_assert(!tulip_filter_passes(&filter, TULIP_MODE_ALL_MULTICAST, other));
	tulip_filter_set(&filter, setup, TULIP_MODE_INVERSE);
	ck_assert(!tulip_filter_passes(&filter, 0, mac));
	ck_assert(tulip_filter_passes(&filter, 0, other));
	/* A hash for groups, and one address; bit 255 is that of broadcasts. */
	memset(setup, 0, sizeof(setup));
	put_address(setup, 13, mac);
	setup[4 * (bit / 16) + bit % 16 / 8] = (uint8_t)(1 << bit % 8);
	setup[4 * 15 + 1] = 0x80;
	tulip_filter_set(&filter, setup, TULIP_MODE_HASH_PERFECT);
	ck_assert(tulip_filter_passes(&filter, 0, mac));
	ck_assert(tulip_filter_passes(&filter, 0, group));
	ck_assert(tulip_filter_passes(&filter, 0, broadcast));
	ck_assert(!tulip_filter_passes(&filter, 0, other));
	tulip_filter_set(&filter, setup, TULIP_MODE_HASH_PERFECT | TULIP_MODE_HASH_ONLY);
	ck_assert(!tulip_filter_passes(&filter, 0, mac));
	ck_assert(tulip_filter_passes(&filter, 0, group));
}
END_TEST

START_TEST(setup_frames_show_in_the_mode)
{
	uint8_t setup[192] = {0};

	make("");
	switch_on(START);
	send_setup(0, setup, 1u << 22);
	ck_assert_uint_eq(csr(6) & TULIP_MODE_FILTERS, TULIP_MODE_HASH_PERFECT);
	send_setup(1, setup, 1u << 28);
	ck_assert_uint_eq(csr(6) & TULIP_MODE_FILTERS, TULIP_MODE_INVERSE);
	send_setup(2, setup, 1u << 28 | 1u << 22);
	ck_assert_uint_eq(csr(6) & TULIP_MODE_FILTERS,
			  TULIP_MODE_HASH_PERFECT | TULIP_MODE_HASH_ONLY);
	/* A descriptor without a frame is passed over. */
	put_descriptor(TX_RING, 3, 0, 0, 0);
	set(1, 0);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, 3), 0);
}
END_TEST

START_TEST(loopback_stays_inside)
{
	make("");
	give_receive_ring(2);
	switch_on(START | LOOPBACK);
	send_perfect(0);
	send_to(mac, 1, 100);
	ck_assert_uint_eq(status_of(RX_RING, 0), 104u << 16 | 0x320);
	ck_assert_uint_eq(tulip->sent.frames, 0);
}
END_TEST

START_TEST(receiving_all_marks_strangers)
{
	make(",\"echo\":true");
	give_receive_ring(2);
	switch_on(START | TULIP_MODE_RECEIVE_ALL);
	send_perfect(0);
	send_to((uint8_t[6]){3, 0, 0, 0, 0, 1}, 1, 100);
	ck_assert_uint_eq(status_of(RX_RING, 0), 0x40000000 | 104u << 16 | 0x720);
}
END_TEST

START_TEST(stopping_is_done_when_it_returns)
{
	make(",\"echo\":true");
	give_receive_ring(4);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	set(5, UINT32_MAX);
	set(6, MII);
	ck_assert_uint_eq(csr(5) & 0x007e0000, 0);
	ck_assert_uint_eq(csr(5) & 0x1ffff, TULIP_INT_TRANSMIT_STOPPED | TULIP_INT_RECEIVE_STOPPED |
						    TULIP_INT_ABNORMAL);
	send_to(mac, 0, 80);
	ck_assert_uint_eq(status_of(TX_RING, 0), OWN);
	/* Where it was, it goes on. */
	set(6, START | TULIP_MODE_PROMISCUOUS | MII);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(status_of(RX_RING, 0) & OWN, 0);
}
END_TEST

static void expect_bus_error(void)
{
	settle();
	ck_assert_uint_eq(csr(5) & TULIP_INT_BUS_ERROR, TULIP_INT_BUS_ERROR);
	ck_assert_uint_eq(csr(5) & 0x03fe0000, 0x00800000);
	ck_assert(interrupted());
	/* Nothing but a reset helps. */
	set(6, MII);
	set(6, START | MII);
	set(1, 0);
	settle();
	ck_assert_uint_eq(csr(5) & 0x007e0000, 0);
	set(0, 1);
	ck_assert_uint_eq(csr(5), 0xfc000000);
	ck_assert(!interrupted());
	ck_assert_uint_eq(csr(6), 0x32000040 | MII);
}

START_TEST(rings_outside_ram_stop_the_chip)
{
	make("");
	set(3, RX_RING);
	set(4, _i ? UINT32_MAX - 3 : OUTSIDE);
	set(7, ALL_INTERRUPTS);
	set(6, START | MII);
	expect_bus_error();
}
END_TEST

START_TEST(buffers_outside_ram_stop_the_chip)
{
	make(",\"echo\":true");
	put_descriptor(RX_RING, 0, 1536, OUTSIDE, 0);
	set(3, RX_RING);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	if (_i == 0) {
		send_to(mac, 0, 100);
	} else {
		put_descriptor(TX_RING, 0, _i == 1 ? SEND | 100 : SETUP, RAM - 50, 0);
		set(1, 0);
	}
	expect_bus_error();
}
END_TEST

START_TEST(endless_and_empty_rings_do_no_harm)
{
	make(",\"echo\":true");
	/* A chain of one without room, and one without an end. */
	put_descriptor(RX_RING, 0, CHAINED, 0, RX_RING);
	set(3, RX_RING);
	put_descriptor(TX_RING, 1, CHAINED, 0, TX_RING + 16);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	send_to(mac, 0, 100);
	ck_assert_uint_eq(status_of(RX_RING, 0) & OWN, 0);
	ck_assert_uint_eq(status_of(TX_RING, 1) & OWN, 0);
	put_descriptor(TX_RING, 1, 0x20000000 | CHAINED, 0, TX_RING + 16);
	set(6, MII);
	set(4, TX_RING + 16);
	set(6, START | MII);
	settle();
	ck_assert_uint_eq(csr(5) & TULIP_INT_TRANSMIT_JABBER, TULIP_INT_TRANSMIT_JABBER);
	ck_assert_uint_eq(status_of(TX_RING, 1), 0xc000);
	ck_assert_uint_eq(csr(5) & 0x00700000, 0);
}
END_TEST

START_TEST(without_bus_mastering_it_waits)
{
	make("");
	machine_pci_write(&machine, SLOT, 0, PCI_COMMAND, 2, 3);
	switch_on(START);
	send_to(mac, 0, 100);
	ck_assert_uint_eq(status_of(TX_RING, 0), OWN);
	machine_pci_write(&machine, SLOT, 0, PCI_COMMAND, 2, 7);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
}
END_TEST

START_TEST(the_timer_comes)
{
	make("");
	switch_on(0);
	ck_assert_uint_eq(csr(11), 0xfffe0000);
	set(11, 3);
	while (!(csr(5) & TULIP_INT_TIMER))
		settle();
	ck_assert(interrupted());
	ck_assert_uint_eq(csr(11), 0xfffe0000);
	set(5, UINT32_MAX);
	set(11, 0x10001);
	for (unsigned int i = 0; i < 3; i++) {
		while (!(csr(5) & TULIP_INT_TIMER))
			settle();
		set(5, TULIP_INT_TIMER);
	}
	set(11, 0);
	settle();
	set(5, UINT32_MAX);
	ck_assert_uint_eq(csr(5) & TULIP_INT_TIMER, 0);
}
END_TEST

START_TEST(it_looks_by_itself_where_told)
{
	make("");
	set(0, 1u << 17);
	switch_on(START);
	set(5, UINT32_MAX);
	put_descriptor(TX_RING, 0, SEND | 64, TX_BUFFER, 0);
	while (status_of(TX_RING, 0) & OWN)
		settle();
	ck_assert_uint_eq(csr(5) & TULIP_INT_TRANSMIT, TULIP_INT_TRANSMIT);
}
END_TEST

START_TEST(frames_are_captured)
{
	int fd = memfd_create("capture", MFD_CLOEXEC), kept = dup(fd);
	struct stat before, after;
	char config[64];

	snprintf(config, sizeof(config), ",\"echo\":true,\"id\":\"nic0\",\"capture_fd\":%d", fd);
	make(config);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(fstat(kept, &before), 0);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	send_to(mac, 0, 500);
	device_find("tulip")->destroy(tulip);
	/* Both ways. */
	ck_assert_int_eq(fstat(kept, &after), 0);
	ck_assert_int_gt(after.st_size, before.st_size + 2 * 500);
	close(kept);
	make("");
}
END_TEST

static bool refused;

static void on_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
	refused = false;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	refused = true;
}

static void call_set_link(json_t *parameters)
{
	struct device_call call = {on_reply, on_refuse};

	refused = true;
	device_find("tulip")->verbs[0].handle(tulip, parameters, &call);
	json_decref(parameters);
}

START_TEST(a_pulled_cable)
{
	make(",\"echo\":true");
	give_receive_ring(2);
	switch_on(START | TULIP_MODE_PROMISCUOUS);
	call_set_link(json_pack("{s:b}", "up", 0));
	ck_assert(!refused);
	send_to(mac, 0, 100);
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
	ck_assert_uint_eq(status_of(RX_RING, 0), OWN);
	call_set_link(json_pack("{s:b}", "up", 1));
	send_to(mac, 1, 100);
	ck_assert_uint_eq(status_of(RX_RING, 0) & OWN, 0);
	call_set_link(json_object());
	ck_assert(refused);
}
END_TEST

/* Nothing happens to a chip at rest; what the guest asked meanwhile happens then. */
START_TEST(it_rests_while_quiesced)
{
	const struct device_ops *ops = device_find("tulip");

	make("");
	switch_on(START);
	ops->quiesce(tulip);
	ops->quiesce(tulip);
	send_to(mac, 0, 100);
	ck_assert_uint_eq(status_of(TX_RING, 0), OWN);
	ops->unquiesce(tulip);
	settle();
	ck_assert_uint_eq(status_of(TX_RING, 0), 0);
}
END_TEST

START_TEST(saved_and_restored_it_goes_on)
{
	const struct device_ops *ops = device_find("tulip");
	struct machine other;
	struct tulip *twin;

	make(",\"echo\":true");
	give_receive_ring(4);
	switch_on(START);
	send_perfect(0);
	send_to(mac, 1, 100);
	set(9, 0x4801);
	ops->quiesce(tulip);
	send_to(mac, 2, 120);
	make_machine(&other);
	twin = machine_add(&other, "tulip",
			   "{\"mac\":\"52:54:00:12:34:56\",\"backend\":\"null\",\"echo\":true}");
	ops->quiesce(twin);
	machine_copy_state("tulip", tulip, twin);
	ops->unquiesce(twin);
	settle();
	/* What the first was asked for while it rested, the second does. */
	ck_assert_uint_eq(status_of(TX_RING, 2), 0);
	ck_assert_uint_eq(status_of(RX_RING, 1), 124u << 16 | 0x320);
	ck_assert(irq_gsi_asserted(other.env.irq, LINE));
	ck_assert_uint_eq(machine_in(&other, PORTS + 8 * 3, 4), RX_RING);
	ops->reset(twin);
	ck_assert(!irq_gsi_asserted(other.env.irq, LINE));
	machine_refuses("tulip", twin, "status", UINT32_MAX);
	ops->destroy(twin);
	machine_fini(&other);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	static const char *const configs[] = {
		"{\"backend\":\"null\"}",
		"{\"backend\":\"null\",\"mac\":\"01:00:00:00:00:00\"}",
		"{\"backend\":\"null\",\"mac\":\"02:00:00:00:00\"}",
		"{\"backend\":\"none\",\"mac\":\"52:54:00:12:34:56\"}",
		"{\"backend\":\"null\",\"mac\":\"52:54:00:12:34:56\",\"slot\":32}",
	};
	json_t *config = json_loads(configs[_i], 0, NULL);
	struct error err;
	void *device;

	make("");
	ck_assert_int_lt(device_find("tulip")->create(&machine.env, config, &device, &err), 0);
	json_decref(config);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("tulip", &tcase);

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, registers_after_power_on);
	tcase_add_test(tcase, frames_go_out_and_are_told);
	tcase_add_test(tcase, a_frame_comes_back_whole);
	tcase_add_test(tcase, pieces_and_chains);
	tcase_add_test(tcase, descriptors_lie_apart_as_told);
	tcase_add_test(tcase, a_truncated_frame_says_so);
	tcase_add_test(tcase, a_frame_that_is_cut_is_dropped);
	tcase_add_test(tcase, a_full_ring_is_told_and_what_waits_comes);
	tcase_add_test(tcase, missed_frames_are_counted);
	tcase_add_test(tcase, setup_frames_show_in_the_mode);
	tcase_add_test(tcase, loopback_stays_inside);
	tcase_add_test(tcase, receiving_all_marks_strangers);
	tcase_add_test(tcase, stopping_is_done_when_it_returns);
	tcase_add_loop_test(tcase, rings_outside_ram_stop_the_chip, 0, 2);
	tcase_add_loop_test(tcase, buffers_outside_ram_stop_the_chip, 0, 3);
	tcase_add_test(tcase, endless_and_empty_rings_do_no_harm);
	tcase_add_test(tcase, without_bus_mastering_it_waits);
	tcase_add_test(tcase, the_timer_comes);
	tcase_add_test(tcase, it_looks_by_itself_where_told);
	tcase_add_test(tcase, frames_are_captured);
	tcase_add_test(tcase, a_pulled_cable);
	tcase_add_test(tcase, it_rests_while_quiesced);
	tcase_add_test(tcase, saved_and_restored_it_goes_on);
	tcase_add_loop_test(tcase, nonsense_is_refused, 0, 5);
	tcase = tcase_create("filters");
	tcase_add_test(tcase, filters);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
