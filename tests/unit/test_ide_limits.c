/* The limits of a disk on IDE, to which there are two ways.  What is over one waits here for
 * minutes, so that a test never depends on the time: a pause lets go of it. */
#include "ide_offered_rig.h"

#define BASE 0x170

static void setup_slow(void)
{
	setup_offered("", "\"bandwidth\": 1", NULL);
}

static void setup_fast(void)
{
	setup_offered("", "", NULL);
}

/* READ SECTORS of one, by the emulated controller. */
static void begin_ata(void)
{
	machine_out(&pc, BASE + ATA_REG_DEVICE, 1, 0xf0);
	machine_out(&pc, BASE + ATA_REG_COUNT, 1, 1);
	machine_out(&pc, BASE + ATA_REG_STATUS, 1, ATA_READ_SECTORS);
}

static void nothing(void *context)
{
	(void)context;
}

/* The threads have done what they could: how many requests came to the backend. */
static unsigned int submitted(void)
{
	unsigned int count;

	for (unsigned int i = 0; i < 2; i++)
		io_thread_call(threads[i], nothing, NULL);
	pthread_mutex_lock(&backend.lock);
	count = backend.submitted;
	pthread_mutex_unlock(&backend.lock);
	return count;
}

static void answer_ata(void)
{
	int result = 0;

	io_thread_call(ide_channel_of(ide, OFFERED_PLACE)->thread, answer_here, &result);
}

static void take_ata(void)
{
	ck_assert_uint_eq(machine_in(&pc, BASE + ATA_REG_STATUS, 1), ATA_DRDY | ATA_DSC | ATA_DRQ);
	for (unsigned int i = 0; i < 256; i++)
		machine_in(&pc, BASE, 2);
}

static void begin_srb(void)
{
	struct srb srb = read_4k(8);
	struct fake_packet packet;

	srb.target = 1;
	packet = srb_packet(&srb);
	send(&channels[0], &packet);
}

static void answer_srb(void)
{
	answer_held(&channels[0], 0);
}

static void take_read(void)
{
	expect_srb(take_srb(&channels[0], 1008), SRB_STATUS_SUCCESS, 0, 4096);
}

static uint64_t ata_waits(void)
{
	return ide_unit(ide, OFFERED_PLACE)->counters.limit_waits;
}

static uint64_t srb_waits(void)
{
	return device->channels[0].counters[0].limit_waits;
}

static const struct way {
	void (*begin)(void);
	void (*answer)(void); /* by the backend */
	void (*take)(void);
	uint64_t (*waits)(void);
} ways[] = {{begin_ata, answer_ata, take_ata, ata_waits},
	    {begin_srb, answer_srb, take_read, srb_waits}};

static void *answer_late(void *context)
{
	const struct way *way = context;

	while (submitted() == 0)
		usleep(100);
	way->answer();
	return NULL;
}

/* A pause has it go to the backend, and waits for its end. */
static void let_go(const struct way *way)
{
	pthread_t helper;

	backend.submitted = 0;
	pthread_create(&helper, NULL, answer_late, (void *)way);
	ide_device.quiesce(ide);
	pthread_join(helper, NULL);
	ide_device.unquiesce(ide);
}

/* A request by one way, and then one by the other. */
static void go_both_ways(unsigned int first, bool waits)
{
	const struct way *one = &ways[first], *other = &ways[!first];

	backend.submitted = 0;
	one->begin();
	ck_assert_uint_eq(submitted(), 1);
	one->answer();
	one->take();
	other->begin();
	ck_assert_uint_eq(submitted(), waits ? 1 : 2);
	ck_assert_uint_eq(one->waits(), 0);
	ck_assert_uint_eq(other->waits(), waits);
	if (waits)
		let_go(other);
	else
		other->answer();
	other->take();
}

static void on_reply(struct device_call *call, json_t *reply)
{
	(void)call;
	json_decref(reply);
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	(void)call;
	ck_abort_msg("%s", sentence);
}

static void set_bandwidth(int bandwidth)
{
	struct device_call call = {.reply = on_reply, .refuse = on_refuse};
	const struct device_verb *verb = ide_verbs;
	json_t *parameters = json_pack("{s:i, s:i}", "lun", OFFERED_PLACE, "bandwidth", bandwidth);

	while (strcmp(verb->name, "set-limits"))
		verb++;
	verb->handle(ide, parameters, &call);
	json_decref(parameters);
}

START_TEST(one_way_waits_for_the_other)
{
	go_both_ways((unsigned int)_i, true);
}
END_TEST

START_TEST(neither_waits_once_it_is_taken_away)
{
	set_bandwidth(0);
	go_both_ways((unsigned int)_i, false);
}
END_TEST

START_TEST(both_wait_once_it_is_set)
{
	go_both_ways((unsigned int)_i, false);
	set_bandwidth(1);
	go_both_ways((unsigned int)_i, true);
}
END_TEST

/* What is saved is restored over another limit. */
static void restore(void)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	size_t size;
	void *tree;

	ide_device.quiesce(ide);
	state_begin(writer, "ide", IDE_STATE_VERSION);
	ide_device.save(ide, writer);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	set_bandwidth(0);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "ide", IDE_STATE_VERSION, &node), 0);
	ck_assert_int_eq(ide_device.restore(ide, &node), 0);
	free(tree);
	ide_device.unquiesce(ide);
}

START_TEST(it_is_saved_for_both)
{
	restore();
	go_both_ways((unsigned int)_i, true);
}
END_TEST

int main(void)
{
	TCase *tests, *fast = tcase_create("fast");
	Suite *suite = suite_of("ide_limits", &tests);

	tcase_add_checked_fixture(tests, setup_slow, teardown_offered);
	tcase_add_loop_test(tests, one_way_waits_for_the_other, 0, 2);
	tcase_add_loop_test(tests, neither_waits_once_it_is_taken_away, 0, 2);
	tcase_add_loop_test(tests, it_is_saved_for_both, 0, 2);
	tcase_add_checked_fixture(fast, setup_fast, teardown_offered);
	tcase_add_loop_test(fast, both_wait_once_it_is_set, 0, 2);
	suite_add_tcase(suite, fast);
	return suite_run(suite);
}
