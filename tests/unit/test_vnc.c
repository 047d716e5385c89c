#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/vsp/input_wire.h"
#include "suite.h"
#include "tools/vnc.h"
#include "worker/sandbox_filter.h"

static struct vnc_screen screen;
static uint32_t *vram;
static struct vnc_area area;

static void setup(void)
{
	vram = calloc(1, DISPLAY_FILE_BYTES);
	ck_assert_int_eq(vnc_screen_init(&screen, vram), 0);
}

static void teardown(void)
{
	free(screen.pixels);
	free(vram);
}

static int tell(uint32_t type, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e)
{
	const struct display_message message = {type, {a, b, c, d, e}};
	uint32_t *old = NULL;
	int r = vnc_screen_message(&screen, &message, sizeof(message), &old);

	free(old);
	return r;
}

START_TEST(a_mode_shows_what_is_there)
{
	vram[0] = 0x112233;
	vram[1024 + 7] = 0x445566; /* line 1 of a pitch of 4096 bytes, behind the offset */
	ck_assert_int_eq(tell(DISPLAY_MODE, 800, 600, 32, 4096, 0), VNC_PICTURE);
	ck_assert_uint_eq(screen.width, 800);
	ck_assert_uint_eq(screen.pixels[0], 0x112233);
	ck_assert_uint_eq(screen.pixels[800 + 7], 0x445566);
	/* What comes later shows when it is told of, and only there. */
	vram[5] = vram[6] = 0x778899;
	ck_assert_uint_eq(screen.pixels[5], 0);
	ck_assert(!vnc_screen_refresh(&screen, &area));
	ck_assert_int_eq(tell(DISPLAY_DIRT, 5, 0, 1, 1, 0), VNC_NOTHING);
	ck_assert(vnc_screen_refresh(&screen, &area));
	ck_assert_uint_eq(area.x, 5);
	ck_assert_uint_eq(screen.pixels[5], 0x778899);
	ck_assert_uint_eq(screen.pixels[6], 0);
	/* Off: black, and as large as before. */
	ck_assert_int_eq(tell(DISPLAY_MODE, 0, 0, 0, 0, 0), VNC_PICTURE);
	ck_assert_uint_eq(screen.width, 800);
	ck_assert_uint_eq(screen.pixels[0], 0);
	vram[0] = 0x112233;
	ck_assert_int_eq(tell(DISPLAY_DIRT, 0, 0, 1, 1, 0), VNC_NOTHING);
	ck_assert(!vnc_screen_refresh(&screen, &area));
}
END_TEST

START_TEST(changes_are_copied_once)
{
	ck_assert_int_eq(tell(DISPLAY_MODE, 640, 480, 32, 2560, 0), VNC_PICTURE);
	vram[2 * 640 + 3] = 1;
	vram[9 * 640 + 30] = 2;
	tell(DISPLAY_DIRT, 30, 9, 2, 1, 0);
	tell(DISPLAY_DIRT, 0, 0, 0, 0, 0);
	tell(DISPLAY_DIRT, 3, 2, 1, 4, 0);
	ck_assert_uint_eq(screen.pixels[2 * 640 + 3], 0);
	ck_assert(vnc_screen_refresh(&screen, &area));
	ck_assert_uint_eq(area.x, 3);
	ck_assert_uint_eq(area.y, 2);
	ck_assert_uint_eq(area.width, 29);
	ck_assert_uint_eq(area.height, 8);
	ck_assert_uint_eq(screen.pixels[2 * 640 + 3], 1);
	ck_assert_uint_eq(screen.pixels[9 * 640 + 30], 2);
	ck_assert(!vnc_screen_refresh(&screen, &area));
	/* Another picture is a copy of all. */
	tell(DISPLAY_DIRT, 600, 400, 1, 1, 0);
	tell(DISPLAY_MODE, 320, 200, 32, 2560, 0);
	ck_assert(!vnc_screen_refresh(&screen, &area));
}
END_TEST

/* The picture stays, and what is drawn in the new one is not for it. */
START_TEST(a_picture_without_memory_is_none)
{
	struct rlimit before;

	if (SANDBOX_SANITIZED) /* whose allocator has no way on without memory */
		return;
	ck_assert_int_eq(tell(DISPLAY_MODE, 640, 480, 32, 2560, 0), VNC_PICTURE);
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){0, before.rlim_max}), 0);
	ck_assert_int_eq(tell(DISPLAY_MODE, 2048, 2048, 32, 8192, 0), VNC_NOTHING);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
	ck_assert_uint_eq(screen.width, 640);
	ck_assert_int_eq(tell(DISPLAY_DIRT, 1000, 1000, 1, 1, 0), VNC_NOTHING);
	ck_assert(!vnc_screen_refresh(&screen, &area));
	ck_assert_int_eq(tell(DISPLAY_MODE, 640, 480, 32, 2560, 0), VNC_PICTURE);
}
END_TEST

START_TEST(sixteen_bits_are_made_more)
{
	static const uint16_t colours[] = {0xf800, 0x07e0, 0x001f, 0xffff, 0x8410};
	static const uint32_t wanted[] = {0xff0000, 0x00ff00, 0x0000ff, 0xffffff, 0x838183};

	memcpy(vram + 2, colours, sizeof(colours));
	ck_assert_int_eq(tell(DISPLAY_MODE, 640, 480, 16, 1280, 8), VNC_PICTURE);
	for (size_t i = 0; i < ARRAY_LENGTH(colours); i++)
		ck_assert_uint_eq(screen.pixels[i], wanted[i]);
}
END_TEST

START_TEST(messages_that_make_no_sense_change_nothing)
{
	static const uint32_t wrong[][6] = {
		{DISPLAY_MODE, 4097, 10, 32, 16400, 0},
		{DISPLAY_MODE, 10, 4097, 32, 40, 0},
		{DISPLAY_MODE, 640, 480, 24, 2560, 0},
		{DISPLAY_MODE, 640, 480, 32, 2559, 0},
		{DISPLAY_MODE, 640, 0, 32, 2560, 0},
		{DISPLAY_MODE, 640, 480, 32, 1 << 20, 0},
		{DISPLAY_MODE, 640, 480, 32, 2560, 1 << 25},
		{DISPLAY_DIRT, 0, 0, 641, 1, 0},
		{DISPLAY_DIRT, 640, 0, 1, 1, 0},
		{DISPLAY_DIRT, 0, 479, 1, 2, 0},
		{DISPLAY_DIRT, 0xffffffff, 0, 2, 1, 0},
		{DISPLAY_KEY, 1, 0, 0, 0, 0},
		{0, 0, 0, 0, 0, 0},
	};
	const struct vnc_screen *now = &screen;
	struct vnc_screen before;
	uint32_t *old = NULL;

	ck_assert_int_eq(tell(DISPLAY_MODE, 640, 480, 32, 2560, 0), VNC_PICTURE);
	before = screen;
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
		ck_assert_msg(tell(wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3], wrong[i][4],
				   wrong[i][5]) == -EPROTO,
			      "message %zu", i);
	ck_assert_int_eq(vnc_screen_message(&screen, wrong, 23, &old), -EPROTO);
	ck_assert_mem_eq(now, &before, sizeof(before));
	ck_assert_int_eq(tell(DISPLAY_LEDS, 0xfd, 0, 0, 0, 0), VNC_NOTHING);
	ck_assert_uint_eq(screen.leds, 5);
}
END_TEST

START_TEST(keys_become_strokes)
{
	struct vnc_input input = {.buttons = 0};
	struct display_message message;

	ck_assert(vnc_key(&input, 'A', true, &message));
	ck_assert_uint_eq(message.type, DISPLAY_KEY);
	ck_assert_uint_eq(message.values[0], 0x1e);
	ck_assert_uint_eq(message.values[1], 0);
	ck_assert(vnc_key(&input, 0xff52, true, &message));
	ck_assert_uint_eq(message.values[0], 0x48);
	ck_assert_uint_eq(message.values[1], KEYBOARD_E0);
	ck_assert(vnc_key(&input, 'a', false, &message));
	ck_assert_uint_eq(message.values[1], KEYBOARD_BREAK);
	/* It is not down any more, and the next was never. */
	ck_assert(!vnc_key(&input, 'a', false, &message));
	ck_assert(!vnc_key(&input, 0x20ac, true, &message));
	/* What is held when the client goes. */
	ck_assert(vnc_release(&input, &message));
	ck_assert_uint_eq(message.values[0], 0x48);
	ck_assert_uint_eq(message.values[1], KEYBOARD_E0 | KEYBOARD_BREAK);
	ck_assert(!vnc_release(&input, &message));
}
END_TEST

START_TEST(places_and_buttons_are_translated)
{
	struct vnc_input input = {.buttons = 0};
	struct display_message message;

	message = vnc_pointer(&input, &screen, 639, 479, 0x01);
	ck_assert_uint_eq(message.values[0], 32767);
	ck_assert_uint_eq(message.values[1], 32767);
	ck_assert_uint_eq(message.values[2], 1);
	message = vnc_pointer(&input, &screen, -5, 100000, 0x02);
	ck_assert_uint_eq(message.values[0], 0);
	ck_assert_uint_eq(message.values[1], 32767);
	ck_assert_uint_eq(message.values[2], 4);
	message = vnc_pointer(&input, &screen, 320, 0, 0x04 | 0x08);
	ck_assert_uint_eq(message.values[0], 320u * 32767 / 639);
	ck_assert_uint_eq(message.values[2], 2);
	ck_assert_int_eq((int)message.values[3], 1);
	/* A notch is one press of its button, however long. */
	message = vnc_pointer(&input, &screen, 320, 0, 0x08 | 0x20);
	ck_assert_int_eq((int)message.values[3], 0);
	ck_assert_int_eq((int)message.values[4], -1);
	message = vnc_pointer(&input, &screen, 320, 0, 0x10);
	ck_assert_int_eq((int)message.values[3], -1);
	/* What is held when the client goes. */
	ck_assert(vnc_release_buttons(&input, &message));
	ck_assert_uint_eq(message.type, DISPLAY_POINTER);
	ck_assert_uint_eq(message.values[0], 320u * 32767 / 639);
	ck_assert_uint_eq(message.values[2], 0);
	ck_assert(!vnc_release_buttons(&input, &message));
}
END_TEST

static struct display_message key_stroke(uint32_t code, uint32_t info)
{
	return (struct display_message){DISPLAY_KEY, {code, info}};
}

START_TEST(what_lets_go_is_owed)
{
	const struct display_message pointers[] = {{DISPLAY_POINTER, {1, 2, 1, 1, 1}},
						   {DISPLAY_POINTER, {3, 4, 0, 1, 1}}};
	const struct display_message press = key_stroke(0x1e, 0);
	const struct display_message releases[] = {key_stroke(0x1d, KEYBOARD_E0 | KEYBOARD_BREAK),
						   key_stroke(0x1e, KEYBOARD_BREAK)};
	struct vnc_debts debts = {.key_count = 0};
	struct display_message message;

	ck_assert(!vnc_debt(&debts, &message));
	vnc_owe(&debts, &press);
	ck_assert(!vnc_debt(&debts, &message));
	vnc_owe(&debts, &pointers[0]);
	vnc_owe(&debts, &releases[0]);
	vnc_owe(&debts, &releases[1]);
	vnc_owe(&debts, &releases[1]);
	vnc_owe(&debts, &pointers[1]);
	for (int i = 1; i >= 0; i--) {
		ck_assert(vnc_debt(&debts, &message));
		ck_assert(vnc_debt(&debts, &message)); /* until it is paid */
		ck_assert_mem_eq(&message, &releases[i], sizeof(message));
		vnc_paid(&debts, &message);
	}
	/* The last place, and no wheel. */
	ck_assert(vnc_debt(&debts, &message));
	ck_assert_uint_eq(message.type, DISPLAY_POINTER);
	ck_assert_uint_eq(message.values[0], 3);
	ck_assert_uint_eq(message.values[2], 0);
	ck_assert_uint_eq(message.values[3] | message.values[4], 0);
	vnc_paid(&debts, &message);
	ck_assert(!vnc_debt(&debts, &message));
}
END_TEST

static struct vnc_line line;

static ssize_t hear(const void *data, size_t size)
{
	memcpy(line.in + line.in_count, data, size);
	line.in_count += size;
	return vnc_line_message(&line, 0);
}

static void setup_line(void)
{
	line = (struct vnc_line){.fd = -1};
}

static void teardown_line(void)
{
	vnc_line_drop(&line);
}

START_TEST(messages_are_heard_when_they_are_whole)
{
	static const struct {
		uint8_t start[8];
		ssize_t size;
	} whole[] = {
		{{0}, 20},
		{{2, 0, 0, 3}, 16},
		{{3}, 10},
		{{4}, 8},
		{{5}, 6},
		{{2, 0, 0, 0}, 4},
		{{251, 0, 0, 0, 0, 0, 2, 0}, 40},
		{{2, 0, 7, 255}, 8192},
	};
	static const uint8_t zeroes[VNC_IN_BYTES];

	for (unsigned int i = 0; i < ARRAY_LENGTH(whole); i++) {
		size_t start = MIN((size_t)whole[i].size, sizeof(whole[i].start));

		for (size_t at = 0; at < start; at++)
			ck_assert_int_eq(hear(&whole[i].start[at], 1),
					 (ssize_t)at + 1 == whole[i].size ? whole[i].size : 0);
		if ((size_t)whole[i].size > start)
			ck_assert_int_eq(hear(zeroes, (size_t)whole[i].size - start),
					 whole[i].size);
		vnc_line_taken(&line, (size_t)whole[i].size);
		ck_assert_uint_eq(line.in_count, 0);
	}
	/* Those of a handshake have the size that they have there. */
	ck_assert_int_eq(hear(&whole[3].start, 1), 0);
	ck_assert_int_eq(vnc_line_message(&line, 1), 1);
	ck_assert_int_eq(vnc_line_message(&line, 12), 0);
}
END_TEST

START_TEST(what_is_not_spoken_is_refused)
{
	static const uint8_t unknown[] = {1, 7, 8, 9, 10, 11, 12, 15, 150, 250, 255};
	static const uint8_t many[] = {2, 0, 8, 0}; /* encodings */

	for (unsigned int i = 0; i < ARRAY_LENGTH(unknown); i++) {
		ck_assert_int_eq(hear(&unknown[i], 1), -EPROTO);
		vnc_line_taken(&line, 1);
	}
	ck_assert_int_eq(hear(many, sizeof(many)), -EPROTO);
}
END_TEST

/* Whatever its length is, and between other messages. */
START_TEST(texts_are_dropped)
{
	static const uint8_t empty[] = {6, 0, 0, 0, 0, 0, 0, 0}, some[] = {6, 0, 0, 0, 0, 1, 0, 3},
			     extended[] = {6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfd}, key[8] = {4};
	uint8_t text[8192];

	memset(text, 4, sizeof(text));
	ck_assert_int_eq(hear(empty, 5), 0);
	ck_assert_int_eq(hear(empty + 5, 3), 0);
	ck_assert_int_eq(hear(some, sizeof(some)), 0);
	for (unsigned int i = 0; i < 8; i++)
		ck_assert_int_eq(hear(text, sizeof(text)), 0);
	ck_assert_int_eq(hear(text, 3), 0);
	ck_assert_uint_eq(line.in_count, 0);
	hear(extended, sizeof(extended));
	ck_assert_int_eq(hear(text, 2), 0);
	hear(text, 1);
	hear(empty, sizeof(empty));
	ck_assert_int_eq(hear(key, sizeof(key)), 8);
}
END_TEST

/* A viewer takes it when it likes. */
START_TEST(what_is_sent_waits)
{
	uint8_t *room = vnc_line_room(&line, 1 << 20), got[4096];
	size_t taken = 0;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	line.fd = pair[0];
	memset(room, 1, 1 << 20);
	vnc_line_send(&line);
	ck_assert(vnc_line_waits(&line));
	room = vnc_line_room(&line, 1);
	*room = 2;
	ck_assert_ptr_null(vnc_line_room(&line, VNC_OUT_BYTES));
	while (taken < (1 << 20) + 1) {
		ssize_t now = recv(pair[1], got, sizeof(got), 0);

		ck_assert_int_gt(now, 0);
		taken += (size_t)now;
		ck_assert_uint_eq(got[now - 1], taken == (1 << 20) + 1 ? 2 : 1);
		vnc_line_send(&line);
	}
	ck_assert(!vnc_line_waits(&line));
	close(pair[1]);
	*vnc_line_room(&line, 1) = 3;
	vnc_line_send(&line);
	ck_assert(line.ended);
	close(pair[0]);
}
END_TEST

static void answer(size_t size)
{
	memset(vnc_line_room(&line, size), 3, size);
}

/* A picture may be as large as it is; of answers there are few at a time. */
START_TEST(answers_do_not_pile_up)
{
	static uint8_t got[4 << 20];
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	line.fd = pair[0];
	/* One that reads in between may have any number. */
	for (unsigned int i = 0; i < 10; i++) {
		answer(VNC_ANSWERS_MAX);
		ck_assert(vnc_line_answered(&line, VNC_ANSWERS_MAX));
		vnc_line_send(&line);
		ck_assert(!vnc_line_waits(&line));
		ck_assert_int_eq(recv(pair[1], got, VNC_ANSWERS_MAX, MSG_WAITALL), VNC_ANSWERS_MAX);
	}
	memset(vnc_line_room(&line, sizeof(got)), 1, sizeof(got));
	vnc_line_send(&line);
	ck_assert(vnc_line_waits(&line));
	answer(VNC_ANSWERS_MAX);
	ck_assert(vnc_line_answered(&line, VNC_ANSWERS_MAX));
	answer(1);
	ck_assert(!vnc_line_answered(&line, 1));
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* Whatever has been sent in between. */
START_TEST(what_waits_stays_in_order)
{
	size_t sizes[] = {300000, 100000, 7, 500000, 1}, taken = 0, all = 0;
	static uint8_t got[1 << 20];
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	line.fd = pair[0];
	for (unsigned int i = 0; i < ARRAY_LENGTH(sizes); i++) {
		memset(vnc_line_room(&line, sizes[i]), (int)i, sizes[i]);
		all += sizes[i];
		vnc_line_send(&line);
		taken += (size_t)recv(pair[1], got + taken, sizes[i] / 2 + 1, 0);
		vnc_line_send(&line);
	}
	while (taken < all) {
		taken += (size_t)recv(pair[1], got + taken, all - taken, 0);
		vnc_line_send(&line);
	}
	for (unsigned int i = 0, at = 0; i < ARRAY_LENGTH(sizes); i++) {
		for (size_t j = 0; j < sizes[i]; j++)
			ck_assert_uint_eq(got[at++], i);
	}
	ck_assert(!vnc_line_waits(&line));
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(silence_has_an_end)
{
	line.heard = 1000;
	ck_assert_uint_eq(vnc_line_patience(&line, 999), VNC_SILENCE_NS);
	ck_assert_uint_eq(vnc_line_patience(&line, 1000), VNC_SILENCE_NS);
	ck_assert_uint_eq(vnc_line_patience(&line, 1000 + VNC_SILENCE_NS - 1), 1);
	ck_assert_uint_eq(vnc_line_patience(&line, 1000 + VNC_SILENCE_NS), 0);
	ck_assert_uint_eq(vnc_line_patience(&line, UINT64_MAX), 0);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("vnc", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_add_test(test_case, a_mode_shows_what_is_there);
	tcase_add_test(test_case, changes_are_copied_once);
	tcase_add_test(test_case, a_picture_without_memory_is_none);
	tcase_add_test(test_case, sixteen_bits_are_made_more);
	tcase_add_test(test_case, messages_that_make_no_sense_change_nothing);
	tcase_add_test(test_case, keys_become_strokes);
	tcase_add_test(test_case, places_and_buttons_are_translated);
	tcase_add_test(test_case, what_lets_go_is_owed);
	test_case = tcase_create("line");
	tcase_add_checked_fixture(test_case, setup_line, teardown_line);
	tcase_add_test(test_case, messages_are_heard_when_they_are_whole);
	tcase_add_test(test_case, what_is_not_spoken_is_refused);
	tcase_add_test(test_case, texts_are_dropped);
	tcase_add_test(test_case, what_is_sent_waits);
	tcase_add_test(test_case, answers_do_not_pile_up);
	tcase_add_test(test_case, what_waits_stays_in_order);
	tcase_add_test(test_case, silence_has_an_end);
	suite_add_tcase(suite, test_case);
	return suite_run(suite);
}
