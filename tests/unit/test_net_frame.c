/* Frames taken apart, summed and cut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/net/offload_software.h"
#include "suite.h"

#define IP4_TCP_HEADERS (14 + 20 + 32)
#define IP6_TCP_HEADERS (14 + 40 + 8 + 20)

static uint8_t packet[FRAME_HEADER_MAX];

static uint8_t *ethernet(uint16_t type, bool vlan)
{
	memset(packet, 0, sizeof(packet));
	memset(packet, 0x02, 12);
	if (vlan) {
		put_be16(packet + 12, 0x8100);
		put_be16(packet + 14, 0x6005);
		put_be16(packet + 16, type);
		return packet + 18;
	}
	put_be16(packet + 12, type);
	return packet + 14;
}

static void tcp_header(uint8_t *tcp, uint8_t words)
{
	put_be16(tcp, 1234);
	put_be16(tcp + 2, 80);
	put_be32(tcp + 4, 0xfffff000);
	tcp[12] = (uint8_t)(words << 4);
	tcp[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
}

static void make_ip4(uint8_t protocol, bool vlan)
{
	uint8_t *ip = ethernet(0x0800, vlan);

	ip[0] = 0x45;
	put_be16(ip + 4, 0xffff);
	ip[8] = 64;
	ip[9] = protocol;
	put_be32(ip + 12, 0x0a000001);
	put_be32(ip + 16, 0x0a000002);
	tcp_header(ip + 20, 8);
}

/* With one destination option. */
static void make_ip6(void)
{
	uint8_t *ip = ethernet(0x86dd, false);

	ip[0] = 0x60;
	ip[6] = 60;
	ip[8] = 0xfe;
	ip[24] = 0xfd;
	ip[40] = FRAME_PROTOCOL_TCP;
	tcp_header(ip + 48, 5);
}

START_TEST(finds_the_headers)
{
	struct frame frame;

	make_ip4(FRAME_PROTOCOL_TCP, false);
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert_int_eq(frame.ip, FRAME_IPV4);
	ck_assert_uint_eq(frame.transport, 34);
	ck_assert_uint_eq(frame.payload, IP4_TCP_HEADERS);
	make_ip4(FRAME_PROTOCOL_UDP, true);
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert(frame.vlan);
	ck_assert_uint_eq(frame.vlan_tag, 0x6005);
	ck_assert_uint_eq(frame.ip_offset, 18);
	ck_assert_uint_eq(frame.payload, 18 + 20 + 8);
	make_ip6();
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert_int_eq(frame.ip, FRAME_IPV6);
	ck_assert_uint_eq(frame.protocol, FRAME_PROTOCOL_TCP);
	ck_assert_uint_eq(frame.payload, IP6_TCP_HEADERS);
}
END_TEST

START_TEST(sees_fragments)
{
	struct frame frame;

	make_ip4(FRAME_PROTOCOL_UDP, false);
	put_be16(packet + 20, 0x2000);
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert(frame.fragment);
	ck_assert_uint_eq(frame.transport, 0);
	make_ip6();
	packet[20] = 44;
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert(frame.fragment);
	ck_assert_uint_eq(frame.transport, 0);
}
END_TEST

/* Whatever is cut off or wrong, nothing beyond the end is named; a copy on the heap lets a
 * sanitizer see it. */
START_TEST(survives_any_length_and_bytes)
{
	struct frame frame;

	for (unsigned int kind = 0; kind < 3; kind++) {
		for (size_t size = 0; size < 128; size++) {
			for (unsigned int change = 0; change < 64; change++) {
				uint8_t *copy = malloc(size + 1);

				if (kind == 2)
					make_ip6();
				else
					make_ip4(FRAME_PROTOCOL_TCP, kind);
				memcpy(copy, packet, size);
				if (change < size)
					copy[change] ^= (uint8_t)(change * 37 + size);
				frame_parse(copy, size, &frame);
				ck_assert_uint_le(frame.payload, size);
				ck_assert_uint_le(frame.transport, size);
				free(copy);
			}
		}
	}
}
END_TEST

/* Word by word, as RFC 1071 has it. */
static uint16_t plain_sum(const uint8_t *data, size_t size, uint32_t sum)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

START_TEST(sums_in_any_pieces)
{
	uint8_t data[301];
	uint64_t sum;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 89 + 200);
	for (size_t first = 0; first < 9; first++) {
		for (size_t second = 0; second < 9; second++) {
			size_t rest = first + second;

			sum = net_checksum_add(0, data, first, false);
			sum = net_checksum_add(sum, data + first, second, first & 1);
			sum = net_checksum_add(sum, data + rest, sizeof(data) - rest, rest & 1);
			ck_assert_uint_eq(net_checksum_fold(sum), plain_sum(data, sizeof(data), 0));
		}
	}
}
END_TEST

/* The TCP checksum of a frame that lies in one piece, its field included: right if all ones. */
static uint16_t verify_tcp(const uint8_t *data, const struct frame *frame, uint32_t bytes)
{
	const uint8_t *ip = data + frame->ip_offset;
	uint32_t size = bytes - frame->transport;
	uint32_t sum = FRAME_PROTOCOL_TCP + size;

	sum += frame->ip == FRAME_IPV4 ? plain_sum(ip + 12, 8, 0) : plain_sum(ip + 8, 32, 0);
	return plain_sum(data + frame->transport, size, sum);
}

START_TEST(completes_a_checksum)
{
	struct net_offload offload = {
		.needs_csum = true, .csum_start = 34, .csum_offset = FRAME_TCP_CHECKSUM};
	uint8_t whole[IP4_TCP_HEADERS + 111];
	struct iovec iov[2] = {{whole + IP4_TCP_HEADERS, 50}, {whole + IP4_TCP_HEADERS + 50, 61}};
	uint16_t pseudo;
	struct frame frame;

	make_ip4(FRAME_PROTOCOL_TCP, false);
	frame_parse(packet, sizeof(packet), &frame);
	pseudo = net_checksum_fold(
		net_checksum_pseudo(packet, &frame, sizeof(whole) - offload.csum_start));
	put_be16(packet + 50, pseudo);
	for (size_t i = 0; i < 111; i++)
		whole[IP4_TCP_HEADERS + i] = (uint8_t)(3 * i);
	ck_assert_int_eq(net_offload_checksum(packet, IP4_TCP_HEADERS, iov, 2, &offload), 0);
	memcpy(whole, packet, IP4_TCP_HEADERS);
	ck_assert_uint_eq(verify_tcp(whole, &frame, sizeof(whole)), 0xffff);
	offload.csum_start = IP4_TCP_HEADERS;
	ck_assert_int_eq(net_offload_checksum(packet, IP4_TCP_HEADERS, iov, 2, &offload), -EINVAL);
}
END_TEST

/* Gathers a segment in one piece, and checks all that a receiver would. */
static void check_segment(const uint8_t *header, const struct frame *frame, const struct iovec *iov,
			  int count, uint32_t bytes)
{
	static uint8_t whole[4096];
	const uint8_t *ip = whole + frame->ip_offset;
	uint32_t size = frame->payload;

	memcpy(whole, header, size);
	for (int i = 0; i < count; i++) {
		memcpy(whole + size, iov[i].iov_base, iov[i].iov_len);
		size += (uint32_t)iov[i].iov_len;
	}
	ck_assert_uint_eq(size, frame->payload + bytes);
	if (frame->ip == FRAME_IPV4) {
		ck_assert_uint_eq(get_be16(ip + 2), size - 14);
		ck_assert_uint_eq(plain_sum(ip, 20, 0), 0xffff);
	} else {
		ck_assert_uint_eq(get_be16(ip + 4), size - 54);
	}
	ck_assert_uint_eq(verify_tcp(whole, frame, size), 0xffff);
}

START_TEST(cuts_a_large_frame)
{
	enum { PAYLOAD = 4321, SEGMENT = 1000 };
	static uint8_t payload[PAYLOAD];
	struct iovec iov[3] = {{payload, 1}, {payload + 1, 1999}, {payload + 2000, PAYLOAD - 2000}};
	struct net_segmenter segmenter;
	struct iovec out[4];
	uint8_t header[FRAME_HEADER_MAX];
	uint32_t bytes, done = 0;
	struct frame frame;
	int count;

	if (_i)
		make_ip6();
	else
		make_ip4(FRAME_PROTOCOL_TCP, false);
	for (size_t i = 0; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(i * 7 + (i >> 8));
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert_int_eq(net_segmenter_init(&segmenter, packet, &frame, iov, 3, PAYLOAD, SEGMENT),
			 0);
	while ((count = net_segmenter_next(&segmenter, header, out, 4, &bytes)) >= 0) {
		const uint8_t *tcp = header + frame.transport;

		ck_assert_ptr_eq(count > 1 && done == 0 ? out[1].iov_base : out[0].iov_base,
				 payload + (count > 1 && done == 0 ? 1 : done));
		check_segment(header, &frame, out, count, bytes);
		ck_assert_uint_eq(get_be32(tcp + 4), 0xfffff000u + done);
		ck_assert_uint_eq(tcp[13], 0x10 | (done == 0 ? 0x80 : 0) |
						   (done + bytes == PAYLOAD ? 0x09 : 0));
		if (!_i)
			ck_assert_uint_eq(get_be16(header + 18),
					  (uint16_t)(0xffff + done / SEGMENT));
		done += bytes;
	}
	ck_assert_int_eq(count, -ENODATA);
	ck_assert_uint_eq(done, PAYLOAD);
}
END_TEST

START_TEST(refuses_to_cut_what_it_cannot)
{
	struct net_segmenter segmenter;
	struct frame frame;

	make_ip4(FRAME_PROTOCOL_UDP, false);
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert_int_eq(net_segmenter_init(&segmenter, packet, &frame, NULL, 0, 0, 100), -EINVAL);
	make_ip4(FRAME_PROTOCOL_TCP, false);
	frame_parse(packet, sizeof(packet), &frame);
	ck_assert_int_eq(net_segmenter_init(&segmenter, packet, &frame, NULL, 0, 0, 0), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("net_frame", &tcase);

	tcase_add_test(tcase, finds_the_headers);
	tcase_add_test(tcase, sees_fragments);
	tcase_add_test(tcase, survives_any_length_and_bytes);
	tcase_add_test(tcase, sums_in_any_pieces);
	tcase_add_test(tcase, completes_a_checksum);
	tcase_add_loop_test(tcase, cuts_a_large_frame, 0, 2);
	tcase_add_test(tcase, refuses_to_cut_what_it_cannot);
	return suite_run(suite);
}
