#include "base/event_loop.h"
#include "ide_rig.h"

/* A host that has no room for what a guest writes by the emulated controller. */

#define READY (ATA_DRDY | ATA_DSC)

/* What the controller has said; the loop does not run, so the test looks for it there. */
static struct {
	unsigned int count;
	char id[32];
	char disk[64];
	json_int_t place;
} said;

static struct event_loop *heard_by;
static uint8_t data[1 << 18];

static int say(void *context, const char *id, json_t *event)
{
	(void)context;
	said.count++;
	snprintf(said.id, sizeof(said.id), "%s", id);
	snprintf(said.disk, sizeof(said.disk), "%s",
		 json_string_value(json_object_get(event, "full")));
	said.place = json_integer_value(json_object_get(event, "lun"));
	json_decref(event);
	event_loop_stop(heard_by, 0);
	return 0;
}

static const struct device_events listening = {.say = say};

static void setup_policy(const char *config)
{
	memset(&said, 0, sizeof(said));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 5 + i / 300);
	events = &listening;
	configuration = config;
	setup();
	heard_by = machine.env.loop;
	store.full = -ENOSPC;
}

static void setup_pause(void)
{
	setup_policy("{\"on_full\": \"pause\", \"disks\": [{\"backend\": \"store\", \"name\": "
		     "\"boot\", \"bytes\": 10240000}]}");
}

static void setup_report(void)
{
	setup_policy("{\"disks\": [{\"backend\": \"store\", \"bytes\": 10240000}]}");
}

/* The channel's I/O thread has nothing to do. */
static void nothing(void *context)
{
	(void)context;
}

static void hear(unsigned int count)
{
	while (said.count < count)
		event_loop_run(machine.env.loop);
	ck_assert_uint_eq(said.count, count);
	ck_assert_str_eq(said.id, "ide");
	ck_assert_str_eq(said.disk, "boot");
	ck_assert_int_eq(said.place, 0);
	io_thread_call(thread, nothing, NULL);
}

static void make_room(void)
{
	pthread_mutex_lock(&store.lock);
	store.full = 0;
	pthread_mutex_unlock(&store.lock);
}

static unsigned int requests(void)
{
	unsigned int count;

	io_thread_call(thread, nothing, NULL);
	pthread_mutex_lock(&store.lock);
	count = store.requests;
	pthread_mutex_unlock(&store.lock);
	return count;
}

/* Pauses and resumes as the parent does. */
static void resume_after_pause(void)
{
	ide_device.quiesce(ide);
	ide_device.unquiesce(ide);
}

static void begin_pio(void)
{
	lba28(ATA_WRITE_SECTORS, 40, 3);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(settle(PRIMARY), READY | ATA_DRQ);
		give_words(PRIMARY, data + 512 * i, 512);
	}
}

static void expect_pio_done(void)
{
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_uint_eq(sector_of(PRIMARY, false), 42);
	ck_assert_mem_eq(data, store.bytes + 40 * 512, 3 * 512);
}

static void begin_dma(void)
{
	ck_assert_int_eq(gpa_write(machine.env.gpa, DATA, data, sizeof(data)), 0);
	for (unsigned int i = 0; i < 4; i++)
		descriptor(i, DATA + i * 65536, 0, i == 3);
	lba48(ATA_WRITE_DMA_EXT, 100, 512);
	start_master(PRIMARY, false);
}

static void expect_dma_done(void)
{
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(in(MASTER + 2) & 7, 4); /* the table was as long as the command */
	stop_master(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_mem_eq(data, store.bytes + 100 * 512, sizeof(data));
}

static const struct {
	void (*begin)(void);
	void (*expect_done)(void);
} ways[] = {{begin_pio, expect_pio_done}, {begin_dma, expect_dma_done}};

START_TEST(a_write_without_room_waits_for_the_resume)
{
	struct block_counters *counters = &ide->channels[0].units[0].counters;

	store.full = _i & 2 ? -EDQUOT : -ENOSPC;
	ways[_i & 1].begin();
	hear(1);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	ck_assert(!asserted(PRIMARY));
	ide_device.quiesce(ide);
	ck_assert_uint_eq(requests(), 1);
	/* There is no more room than before: that is told anew. */
	ide_device.unquiesce(ide);
	hear(2);
	ck_assert_uint_eq(requests(), 2);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	make_room();
	resume_after_pause();
	ways[_i & 1].expect_done();
	ck_assert_uint_eq(requests(), 3);
	ck_assert_uint_eq(said.count, 2);
	ck_assert_uint_eq(counters->writes, 1);
	ck_assert_uint_eq(counters->errors, 0);
}
END_TEST

START_TEST(a_saved_state_has_it_in_hand)
{
	struct machine other;
	struct ide *second;

	ways[_i].begin();
	hear(1);
	make_ide(&other, &second);
	ide_device.quiesce(ide);
	ide_device.quiesce(second);
	machine_copy_state("ide", ide, second);
	/* DATA and TABLE are the guest's memory, which goes along. */
	for (uint32_t at = TABLE; at < DATA + sizeof(data); at += 4096) {
		static uint8_t page[4096];

		ck_assert_int_eq(gpa_read(machine.env.gpa, at, page, 4096), 0);
		ck_assert_int_eq(gpa_write(other.env.gpa, at, page, 4096), 0);
	}
	free_ide(&machine, ide);
	machine = other;
	ide = second;
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	ck_assert_uint_eq(requests(), 1);
	make_room();
	ide_device.unquiesce(ide);
	ways[_i].expect_done();
	ck_assert_uint_eq(requests(), 2);
}
END_TEST

/* The guest has given it up: the resume tries nothing, and what comes next is served at once. */
START_TEST(a_reset_gives_it_up)
{
	ways[_i].begin();
	hear(1);
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	ck_assert_uint_eq(alternate(PRIMARY), READY);
	stop_master(PRIMARY);
	resume_after_pause();
	ck_assert_uint_eq(requests(), 1);
	make_room();
	ways[1 - _i].begin();
	ways[1 - _i].expect_done();
	ck_assert_uint_eq(said.count, 1);
}
END_TEST

START_TEST(after_a_reset_the_next_need_not_wait_for_the_resume)
{
	begin_pio();
	hear(1);
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	make_room();
	begin_dma();
	expect_dma_done();
}
END_TEST

/* What the guest has reset fails when it may: nobody waits for it. */
START_TEST(a_reset_before_the_end_leaves_nothing_to_wait_for)
{
	store.hold = true;
	begin_pio();
	await_held();
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	release_held();
	ck_assert_uint_eq(settle(PRIMARY), READY);
	make_room();
	begin_pio();
	expect_pio_done();
	ck_assert_uint_eq(said.count, 0);
}
END_TEST

static void *fail_late(void *context)
{
	struct ide_channel *channel = &ide->channels[0];
	bool paused = false;

	while (!paused) {
		usleep(50);
		pthread_mutex_lock(&channel->lock);
		paused = channel->paused;
		pthread_mutex_unlock(&channel->lock);
	}
	release_held();
	return context;
}

START_TEST(a_pause_does_not_wait_for_room)
{
	pthread_t helper;

	store.hold = true;
	begin_dma();
	await_held();
	pthread_create(&helper, NULL, fail_late, NULL);
	ide_device.quiesce(ide); /* waits for what is in flight */
	pthread_join(helper, NULL);
	hear(1);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	make_room();
	ide_device.unquiesce(ide);
	expect_dma_done();
}
END_TEST

/* What a flush failed on may be gone: the guest is told, and may write it again. */
START_TEST(all_else_fails_as_ever)
{
	store.flush_fails = true;
	lba28(ATA_FLUSH_CACHE, 0, 0);
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	store.full = -EIO;
	begin_pio();
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(said.count, 0);
}
END_TEST

START_TEST(without_the_wish_the_write_fails)
{
	begin_pio();
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	ck_assert_uint_eq(sector_of(PRIMARY, false), 40);
	begin_dma();
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(said.count, 0);
}
END_TEST

int main(void)
{
	TCase *tests, *report = tcase_create("report");
	Suite *suite = suite_of("ide_full", &tests);

	tcase_add_checked_fixture(tests, setup_pause, teardown);
	tcase_add_loop_test(tests, a_write_without_room_waits_for_the_resume, 0, 4);
	tcase_add_loop_test(tests, a_saved_state_has_it_in_hand, 0, 2);
	tcase_add_loop_test(tests, a_reset_gives_it_up, 0, 2);
	tcase_add_test(tests, after_a_reset_the_next_need_not_wait_for_the_resume);
	tcase_add_test(tests, a_reset_before_the_end_leaves_nothing_to_wait_for);
	tcase_add_test(tests, a_pause_does_not_wait_for_room);
	tcase_add_test(tests, all_else_fails_as_ever);
	tcase_add_checked_fixture(report, setup_report, teardown);
	tcase_add_test(report, without_the_wish_the_write_fails);
	suite_add_tcase(suite, report);
	return suite_run(suite);
}
