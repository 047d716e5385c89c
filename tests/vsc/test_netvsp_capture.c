/* The frames of a NIC in a capture file, as they were sent and given to the guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/wire.h"
#include "suite.h"
#include "vsc_net.h"

#define FRAMES	   20u
#define FILE_BYTES (1u << 20)

static struct vsc_net net;
static uint8_t frame[1500];
static uint8_t file[FILE_BYTES];

static uint32_t frame_bytes(unsigned int number)
{
	return 60 + number * 71;
}

static void make_frame(unsigned int number)
{
	static const uint8_t address[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

	memset(frame, (int)number, sizeof(frame));
	memcpy(frame, address, sizeof(address));
	put_be16(frame + 12, 0x88b5);
}

static void exchange(unsigned int number)
{
	const struct vsc_net_frame *got;

	make_frame(number);
	ck_assert_int_eq(vsc_net_send(&net, 0, frame, frame_bytes(number), NULL), 0);
	got = vsc_net_receive(&net, 0, true);
	ck_assert_uint_eq(got->bytes, frame_bytes(number));
}

static void capture_frames(int fd)
{
	uint8_t filter[4];

	vsc_net_start(&net, 1, 1,
		      json_pack("{s:s, s:s, s:b, s:i}", "mac", "52:54:00:12:34:56", "backend",
				"null", "echo", 1, "capture_fd", fd));
	vsc_net_open(&net, 0);
	vsc_net_initialize(&net, NVSP_VERSION_61, 1500);
	put_le32(filter, NDIS_FILTER_PROMISCUOUS);
	ck_assert_uint_eq(vsc_net_set(&net, OID_GEN_CURRENT_PACKET_FILTER, filter, 4), 0);
	for (unsigned int i = 0; i < FRAMES; i++)
		exchange(i);
	vsc_net_stop(&net);
}

/* The next frame of the file that went that way. */
static const uint8_t *next_packet(size_t size, size_t *at, uint32_t direction, uint32_t *bytes)
{
	while (*at + 12 <= size) {
		const uint8_t *block = file + *at;
		uint32_t length = get_le32(block + 4), captured;

		ck_assert_uint_ge(length, 12);
		*at += length;
		if (get_le32(block) != CAPTURE_PACKET)
			continue;
		captured = get_le32(block + 20);
		if (get_le32(block + 28 + (captured + 3) / 4 * 4 + 4) != direction)
			continue;
		*bytes = captured;
		return block + 28;
	}
	return NULL;
}

static void expect_frames(size_t size, enum capture_direction direction)
{
	size_t at = 0;
	uint32_t bytes;

	for (unsigned int i = 0; i < FRAMES; i++) {
		const uint8_t *data = next_packet(size, &at, direction, &bytes);

		ck_assert_ptr_nonnull(data);
		make_frame(i);
		ck_assert_uint_eq(bytes, frame_bytes(i));
		ck_assert(memcmp(data, frame, bytes) == 0);
	}
	ck_assert_ptr_null(next_packet(size, &at, direction, &bytes));
}

START_TEST(every_frame_is_captured_both_ways)
{
	char path[] = "/tmp/bulkhead-frames-XXXXXX";
	int fd = mkstemp(path);
	int again = dup(fd);
	ssize_t size;

	capture_frames(fd);
	size = pread(again, file, sizeof(file), 0);
	close(again);
	unlink(path);
	ck_assert_int_gt(size, 48);
	/* The interface's link type, behind the section's header. */
	ck_assert_uint_eq(get_le16(file + get_le32(file + 4) + 8), CAPTURE_LINK_ETHERNET);
	expect_frames((size_t)size, CAPTURE_FROM_GUEST);
	expect_frames((size_t)size, CAPTURE_TO_GUEST);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("netvsp_capture", &tests);

	tcase_add_test(tests, every_frame_is_captured_both_ways);
	return suite_run(suite);
}
