/* A guest whose dynamic memory messages make no sense, or no room. */
#include "balloon_rig.h"
#include "vsc_machine.h"

START_TEST(ranges_that_cannot_be_are_dropped)
{
	const uint64_t bad[] = {
		DYNMEM_RANGE(4096, 0),			    /* nothing */
		DYNMEM_RANGE(RAM / PAGE, 1),		    /* beyond */
		DYNMEM_RANGE(RAM / PAGE - 1, 2),	    /* half beyond */
		DYNMEM_RANGE(0xffffffffffull, 1),	    /* as far as it gets */
		DYNMEM_RANGE(0xffffffffffull, 1024),	    /* and further */
		DYNMEM_RANGE(GPA_ROOM_ALIGN * 2 / PAGE, 1), /* in the room */
		DYNMEM_RANGE(4096, 1025),		    /* more than was asked for */
		DYNMEM_RANGE(4096, DYNMEM_RANGE_MAX),
	};
	const uint64_t once = DYNMEM_RANGE(5000, 10), twice = DYNMEM_RANGE(5009, 4);
	const uint64_t rest[] = {DYNMEM_RANGE(6000, 1000), DYNMEM_RANGE(7000, 15)};

	ck_assert_int_eq(gpa_fill(vsc_gpa(vsc), 16 * MIB, 0x5a, 16 * MIB), 0);
	rig_set_target(RAM - 4 * MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 1024);
	rig_send_ranges(bad, ARRAY_LENGTH(bad), true);
	rig_wait_number("rejected", ARRAY_LENGTH(bad));
	ck_assert_int_eq(rig_number("ballooned"), 0);
	ck_assert_uint_eq(rig_byte_at(4096 * PAGE), 0x5a);
	rig_send_ranges(&once, 1, true);
	rig_send_ranges(&twice, 1, true);
	rig_wait_number("rejected", ARRAY_LENGTH(bad) + 1);
	ck_assert_int_eq(rig_number("ballooned"), 10 * PAGE);
	ck_assert_uint_eq(rig_byte_at(5010 * PAGE), 0x5a);
	/* The second is one page more than is left. */
	rig_send_ranges(rest, 2, true);
	rig_wait_number("rejected", ARRAY_LENGTH(bad) + 2);
	ck_assert_int_eq(rig_number("ballooned"), 1010 * PAGE);
	ck_assert_uint_eq(rig_byte_at(7000 * PAGE), 0x5a);
}
END_TEST

START_TEST(messages_that_make_no_sense_are_dropped)
{
	struct {
		struct dynmem_balloon_response response;
		uint64_t range;
	} message = {{{DYNMEM_BALLOON_RESPONSE, sizeof(message), 0}, 0, 2}, DYNMEM_RANGE(4096, 1)};
	struct dynmem_hot_add_response added = {
		.header = {DYNMEM_HOT_ADD_RESPONSE, sizeof(added), 0}, .pages = 1, .done = 1};
	struct dynmem_header header = {DYNMEM_UNBALLOON_RESPONSE, sizeof(header), 0};
	uint8_t large[BALLOON_PACKET_MAX + 8] = {0};

	/* Nobody asked. */
	rig_send(&message, sizeof(message));
	rig_send(&added, sizeof(added));
	rig_send(&header, sizeof(header));
	rig_wait_number("unexpected", 3);
	/* Headers that lie, of every kind of message. */
	for (uint16_t type = 0; type <= DYNMEM_INFO + 1; type++) {
		header = (struct dynmem_header){type, 4, 0};
		rig_send(&header, sizeof(header));
		header.size = 0xffff;
		rig_send(&header, sizeof(header));
	}
	rig_wait_number("unexpected", 3 + 2 * (DYNMEM_INFO + 2));
	for (uint16_t type = 0; type <= DYNMEM_INFO + 1; type++) {
		header = (struct dynmem_header){type, sizeof(header), 0};
		rig_send(&header, sizeof(header));
	}
	rig_send(large, sizeof(large));
	rig_send(large, 4);
	rig_wait_number("unexpected", 3 + 3 * (DYNMEM_INFO + 2) + 2);
	/* A count of ranges beyond the message's end, then its half of a range. */
	rig_set_target(RAM - MIB);
	ck_assert_uint_eq(rig_expect_balloon(), 256);
	message.response.more_and_count = ~0u;
	rig_send(&message, sizeof(message));
	rig_wait_number("rejected", INT32_MAX - 1);
	ck_assert_int_eq(rig_number("ballooned"), PAGE);
	message.response.header.size -= 4;
	message.response.more_and_count = 3;
	rig_send(&message, sizeof(message));
	rig_wait_number("rejected", INT32_MAX);
	ck_assert_int_eq(rig_number("ballooned"), PAGE);
	ck_assert_int_eq(rig_number("assigned"), RAM - PAGE);
}
END_TEST

/* Who asks without end and reads no answer makes nobody hold them. */
START_TEST(answers_wait_in_the_ring)
{
	const struct dynmem_version_request request = {
		.header = {DYNMEM_VERSION_REQUEST, sizeof(request), 7}, .version = 1};
	unsigned int sent = 0, answers = 0;
	struct vsc_wait wait = {0};

	rig_make_machine();
	rig_start(NULL);
	rig_open_channel();
	/* Of more than 500 some wait in the ring to the host, for the other has room for fewer. */
	while (sent < 2000) {
		if (rig_try_send(&request, sizeof(request)) == 0)
			sent++;
		else if (sent - answers > 500 &&
			 vsc_channel_receive(&channel, packet, VSC_PACKET_MAX) > 0)
			answers++;
		else
			vsc_pause(&wait, "neither room nor an answer");
	}
	/* And each has its answer, for all that. */
	for (; answers < sent; answers++)
		ck_assert_int_gt(vsc_channel_wait(&channel, packet, VSC_PACKET_MAX), 0);
	vsc_channel_close(&channel);
	rig_open_channel();
	ck_assert(rig_propose(DYNMEM_VERSION_3, false));
	rig_tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon_hostile");
	TCase *alone = tcase_create("alone"), *ready = tcase_create("ready");

	suite_add_tcase(suite, alone);
	suite_add_tcase(suite, ready);
	tcase_add_checked_fixture(ready, rig_set_up, rig_tear_down);
	tcase_add_test(ready, ranges_that_cannot_be_are_dropped);
	tcase_add_test(ready, messages_that_make_no_sense_are_dropped);
	tcase_add_test(alone, answers_wait_in_the_ring);
	return suite_run(suite);
}
