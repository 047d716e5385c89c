/* A host that has no room for what a disk is to hold. */
#include <errno.h>

#include "base/event_loop.h"
#include "ide_offered_rig.h"

/* What the device has said; the loop does not run, so the test looks for it there. */
static struct {
	unsigned int count;
	char id[32];
	char disk[64];
	json_int_t lun;
} said;

static int say(void *context, const char *id, json_t *event)
{
	said.count++;
	snprintf(said.id, sizeof(said.id), "%s", id);
	snprintf(said.disk, sizeof(said.disk), "%s",
		 json_string_value(json_object_get(event, "full")));
	said.lun = json_integer_value(json_object_get(event, "lun"));
	json_decref(event);
	event_loop_stop(parent.loop, 0);
	return 0;
}

static const struct device_events events = {.say = say};

static void setup_full(void)
{
	memset(&said, 0, sizeof(said));
	ck_assert_int_eq(event_loop_new(&parent.loop), 0);
	parent.events = &events;
	parent.on_full = "pause";
	setup();
	make_ready(VSTOR_VERSION_WIN10);
}

static void teardown_full(void)
{
	teardown();
	event_loop_free(parent.loop);
	parent.loop = NULL;
	parent.events = NULL;
	parent.on_full = "report";
}

static void hear_of(unsigned int count, const char *id, const char *disk, json_int_t lun)
{
	while (said.count < count)
		event_loop_run(parent.loop);
	ck_assert_uint_eq(said.count, count);
	ck_assert_str_eq(said.id, id);
	ck_assert_str_eq(said.disk, disk);
	ck_assert_int_eq(said.lun, lun);
}

static void hear(unsigned int count)
{
	hear_of(count, "scsi", "disk", 0);
}

static void await_submitted(unsigned int count)
{
	for (;;) {
		bool there;

		pthread_mutex_lock(&backend.lock);
		there = backend.submitted >= count;
		pthread_mutex_unlock(&backend.lock);
		if (there)
			return;
		usleep(100);
	}
}

static void send_srb(struct srb srb)
{
	struct fake_packet packet = srb_packet(&srb);

	send(&channels[0], &packet);
}

/* Pauses and resumes as the parent does. */
static void resume_after_pause(void)
{
	storvsp_device.quiesce(device);
	storvsp_device.unquiesce(device);
}

static const int no_room[] = {-ENOSPC, -EDQUOT};

START_TEST(a_write_without_room_waits_for_the_resume)
{
	send_srb(write_4k(3));
	answer_held(&channels[0], no_room[_i]);
	hear(1);
	expect_silence(&channels[0]);
	storvsp_device.quiesce(device);
	expect_silence(&channels[0]);
	ck_assert_uint_eq(backend.submitted, 1);
	storvsp_device.unquiesce(device);
	await_submitted(2);
	ck_assert_uint_eq(backend.held[0]->operation, BLOCK_WRITE);
	ck_assert_uint_eq(backend.held[0]->offset, 3 * 512);
	ck_assert_uint_eq(backend.held[0]->length, 4096);
	ck_assert_ptr_eq(backend.held[0]->iov[0].iov_base, buffer);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1003), SRB_STATUS_SUCCESS, 0, 4096);
}
END_TEST

START_TEST(several_are_told_once_and_tried_in_their_order)
{
	for (uint8_t i = 0; i < 3; i++)
		send_srb(write_4k((uint8_t)(8 * i)));
	for (int i = 0; i < 3; i++)
		answer_held(&channels[0], -ENOSPC);
	hear(1);
	resume_after_pause();
	await_submitted(6);
	for (uint64_t i = 0; i < 3; i++)
		ck_assert_uint_eq(backend.held[i]->offset, 4096 * i);
	/* There is still no room for two of them: that is told anew. */
	answer_held(&channels[0], 0);
	take_srb(&channels[0], 1000);
	answer_held(&channels[0], -ENOSPC);
	answer_held(&channels[0], -ENOSPC);
	hear(2);
	resume_after_pause();
	await_submitted(8);
	answer_held(&channels[0], 0);
	answer_held(&channels[0], 0);
	take_srb(&channels[0], 1008);
	take_srb(&channels[0], 1016);
	expect_silence(&channels[0]);
}
END_TEST

static void *fail_late(void *context)
{
	usleep(20000);
	answer_held(context, -ENOSPC);
	return NULL;
}

START_TEST(a_pause_does_not_wait_for_room)
{
	pthread_t helper;

	send_srb(write_4k(0));
	pthread_create(&helper, NULL, fail_late, &channels[0]);
	storvsp_device.quiesce(device); /* waits for what is in flight */
	ck_assert_uint_eq(backend.count, 0);
	pthread_join(helper, NULL);
	storvsp_device.unquiesce(device);
	hear(1);
	await_submitted(2);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_SUCCESS, 0, 4096);
}
END_TEST

/* What a flush failed on may be gone: the guest is told, and may write it again. */
START_TEST(all_else_fails_as_ever)
{
	struct srb flush = {.cdb = {0x35}, .cdb_length = 10, .transaction_id = 5};

	send_srb(flush);
	answer_held(&channels[0], -ENOSPC);
	ck_assert_uint_ne(take_srb(&channels[0], 5).srb_status, SRB_STATUS_SUCCESS);
	send_srb(read_4k(0));
	answer_held(&channels[0], -ENOSPC);
	ck_assert_uint_ne(take_srb(&channels[0], 1000).srb_status, SRB_STATUS_SUCCESS);
	send_srb(write_4k(0));
	answer_held(&channels[0], -EIO);
	ck_assert_uint_ne(take_srb(&channels[0], 1000).srb_status, SRB_STATUS_SUCCESS);
	ck_assert_uint_eq(said.count, 0);
}
END_TEST

START_TEST(without_the_wish_the_write_fails)
{
	device->full.pause = false;
	send_srb(write_4k(0));
	answer_held(&channels[0], -ENOSPC);
	expect_sense(take_srb(&channels[0], 1000), SCSI_DATA_PROTECT,
		     SCSI_ASC_SPACE_ALLOCATION_FAILED);
	ck_assert_uint_eq(said.count, 0);
}
END_TEST

/* A reset ends what came before it: the guest tries that again, if it still wants to. */
START_TEST(a_reset_gives_the_held_back)
{
	struct fake_packet packet = control_packet(VSTOR_RESET_BUS, NULL, 0);

	send_srb(write_4k(0));
	send_srb(write_4k(8));
	answer_held(&channels[0], -ENOSPC);
	send(&channels[0], &packet);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_BUSY, SCSI_BUSY, 0);
	expect_silence(&channels[0]);
	answer_held(&channels[0], -ENOSPC);
	expect_srb(take_srb(&channels[0], 1008), SRB_STATUS_BUSY, SCSI_BUSY, 0);
	take(&channels[0], &packet);
	ck_assert_uint_eq(packet.transaction_id, 77);
	hear(1);
	resume_after_pause();
	expect_silence(&channels[0]);
	ck_assert_uint_eq(backend.submitted, 2);
}
END_TEST

START_TEST(a_saved_state_has_the_guest_try_again)
{
	struct state_node root, node;
	size_t size;
	void *tree;

	send_srb(write_4k(0));
	answer_held(&channels[0], -ENOSPC);
	hear(1);
	storvsp_device.quiesce(device);
	tree = save(device, &size);
	/* The one that was saved goes on as if nothing had been. */
	storvsp_device.unquiesce(device);
	await_submitted(2);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_SUCCESS, 0, 4096);
	storvsp_vsp.close(device, &channels[0]);
	storvsp_device.destroy(device);

	device = make_device();
	storvsp_device.quiesce(device);
	fake_channel_clear(&channels[0]);
	open_channel(0);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "scsi", 2, &node), 0);
	ck_assert_int_eq(storvsp_device.restore(device, &node), 0);
	storvsp_device.unquiesce(device);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_BUSY, SCSI_BUSY, 0);
	ck_assert_uint_eq(backend.submitted, 2);
	free(tree);
}
END_TEST

START_TEST(a_close_drops_the_held)
{
	struct state_writer *writer = state_writer_new();
	struct fake_packet packet;

	send_srb(write_4k(0));
	answer_held(&channels[0], -ENOSPC);
	hear(1);
	storvsp_vsp.close(device, &channels[0]);
	ck_assert(!try_take(&channels[0], &packet));
	storvsp_device.inspect(device, writer);
	state_writer_free(writer);
	open_channel(0);
	make_ready(VSTOR_VERSION_WIN10);
	ck_assert_uint_eq(backend.submitted, 1);
}
END_TEST

static bool answered_call;

static void on_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
	answered_call = true;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	ck_abort_msg("%s", sentence);
}

START_TEST(a_disk_that_goes_takes_none_along)
{
	struct device_call call = {.reply = on_reply, .refuse = on_refuse};
	json_t *parameters = json_pack("{s:i}", "lun", 0);
	const struct device_verb *verb = storvsp_device.verbs;

	send_srb(write_4k(0));
	answer_held(&channels[0], -ENOSPC);
	hear(1);
	while (strcmp(verb->name, "remove-disk"))
		verb++;
	answered_call = false;
	verb->handle(device, parameters, &call);
	json_decref(parameters);
	ck_assert(answered_call);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_BUSY, SCSI_BUSY, 0);
	ck_assert_uint_eq(backend.submitted, 1);
}
END_TEST

/* A disk that is IDE's secondary slave, and which the bus offers as well. */

static void setup_ide(void)
{
	memset(&said, 0, sizeof(said));
	setup_offered("\"on_full\": \"pause\"", "", &events);
	parent.loop = pc.env.loop;
}

static void teardown_ide(void)
{
	teardown_offered();
	parent.loop = NULL;
}

START_TEST(a_disk_on_ide_waits_as_well)
{
	struct srb srb = write_4k(3);

	srb.target = 1;
	send_srb(srb);
	answer_held(&channels[0], -ENOSPC);
	hear_of(1, "ide", "boot", 3);
	expect_silence(&channels[0]);
	ide_device.quiesce(ide);
	ck_assert_uint_eq(backend.submitted, 1);
	ide_device.unquiesce(ide);
	await_submitted(2);
	ck_assert_uint_eq(backend.held[0]->operation, BLOCK_WRITE);
	ck_assert_uint_eq(backend.held[0]->offset, 3 * 512);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1003), SRB_STATUS_SUCCESS, 0, 4096);
}
END_TEST

int main(void)
{
	TCase *tests, *on_ide = tcase_create("ide");
	Suite *suite = suite_of("storvsp_full", &tests);

	tcase_add_checked_fixture(tests, setup_full, teardown_full);
	tcase_add_loop_test(tests, a_write_without_room_waits_for_the_resume, 0,
			    ARRAY_LENGTH(no_room));
	tcase_add_test(tests, several_are_told_once_and_tried_in_their_order);
	tcase_add_test(tests, a_pause_does_not_wait_for_room);
	tcase_add_test(tests, all_else_fails_as_ever);
	tcase_add_test(tests, without_the_wish_the_write_fails);
	tcase_add_test(tests, a_reset_gives_the_held_back);
	tcase_add_test(tests, a_saved_state_has_the_guest_try_again);
	tcase_add_test(tests, a_close_drops_the_held);
	tcase_add_test(tests, a_disk_that_goes_takes_none_along);
	tcase_add_checked_fixture(on_ide, setup_ide, teardown_ide);
	tcase_add_test(on_ide, a_disk_on_ide_waits_as_well);
	suite_add_tcase(suite, on_ide);
	return suite_run(suite);
}
