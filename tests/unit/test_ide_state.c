#include "ide_rig.h"

/* The state of a controller with a command in hand goes on in another one. */

#define READY (ATA_DRDY | ATA_DSC)

static struct machine other;
static struct ide *second;
static uint8_t data[1 << 18], expected[1 << 18];

static void setup_two(void)
{
	setup();
	make_ide(&other, &second);
}

static void teardown_two(void)
{
	free_ide(&other, second);
	teardown();
}

/* From here on the test's registers are those of the second controller. */
static void move(void)
{
	struct machine was = machine;
	struct ide *first = ide;
	uint8_t *ram = malloc(RAM_BYTES);

	ide_device.quiesce(ide);
	ide_device.quiesce(second);
	machine_copy_state("ide", ide, second);
	ck_assert_int_eq(gpa_read(machine.env.gpa, 0, ram, RAM_BYTES), 0);
	ck_assert_int_eq(gpa_write(other.env.gpa, 0, ram, RAM_BYTES), 0);
	free(ram);
	machine = other;
	ide = second;
	other = was;
	second = first;
	ide_device.unquiesce(ide);
}

START_TEST(idle)
{
	command(PRIMARY, &(struct taskfile){ATA_SET_FEATURES, 3, 0x42, 0, 0xa0});
	command(PRIMARY, &(struct taskfile){ATA_INITIALIZE_PARAMETERS, 0, 63, 0, 0xaf});
	lba28(ATA_SET_MULTIPLE, 0, 4);
	out(PRIMARY + ATA_REG_HIGH, 0x5a);
	machine_out(&machine, MASTER + 4, 4, 0x12340);
	ck_assert(asserted(PRIMARY));
	move();
	ck_assert(asserted(PRIMARY));
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_HIGH), 0x5a);
	ck_assert_uint_eq(machine_in(&machine, MASTER + 4, 4), 0x12340);
	ck_assert_uint_eq(ide->channels[0].units[0].translation.heads, 16);
	ck_assert_uint_eq(ide->channels[0].units[0].mode, 0x42);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	move(); /* and back */
	ck_assert(!asserted(PRIMARY));
}
END_TEST

START_TEST(in_a_pio_read)
{
	lba48(ATA_READ_SECTORS_EXT, 50, 200);
	for (unsigned int i = 0; i < 200; i++) {
		await_interrupt(PRIMARY);
		if (i % 50 == 7)
			move();
		ck_assert_uint_eq(settle(PRIMARY), READY | ATA_DRQ);
		take_words(PRIMARY, data + 512 * i, 100);
		if (i % 64 == 9)
			move();
		take_words(PRIMARY, data + 512 * i + 100, 412);
	}
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_mem_eq(data, store.bytes + 50 * 512, 200 * 512);
}
END_TEST

START_TEST(in_a_pio_write)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 5 + i / 300);
	lba48(ATA_WRITE_SECTORS_EXT, 50, 200);
	for (unsigned int i = 0; i < 200; i++) {
		ck_assert_uint_eq(settle(PRIMARY), READY | ATA_DRQ);
		give_words(PRIMARY, data + 512 * i, 100);
		if (i % 64 == 9)
			move();
		give_words(PRIMARY, data + 512 * i + 100, 412);
	}
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_mem_eq(data, store.bytes + 50 * 512, 200 * 512);
}
END_TEST

/* Lets go of it once the pause has begun. */
static void *let_go(void *context)
{
	struct ide_channel *channel = context;
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

/* A pause waits for the request in flight, and not for those that are to follow. */
START_TEST(in_dma)
{
	pthread_t helper;

	for (unsigned int i = 0; i < 48; i++)
		descriptor(i, DATA + i * 65536, 0, i == 47);
	store.hold = true;
	lba48(ATA_READ_DMA_EXT, 7, 6144);
	start_master(PRIMARY, true);
	await_held();
	pthread_create(&helper, NULL, let_go, &ide->channels[0]);
	move();
	pthread_join(helper, NULL);
	ck_assert(second->channels[0].command.phase == IDE_WORK);
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(in(MASTER + 2) & 7, 4);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	for (unsigned int i = 0; i < 12; i++) {
		uint32_t at = i << 18;

		ck_assert_int_eq(gpa_read(machine.env.gpa, DATA + at, expected, 1 << 18), 0);
		ck_assert_mem_eq(expected, store.bytes + 7 * 512 + at, 1 << 18);
	}
}
END_TEST

START_TEST(before_dma_begins)
{
	descriptor(0, DATA, 512, true);
	lba28(ATA_READ_DMA, 9, 1);
	move();
	ck_assert_uint_eq(alternate(PRIMARY), READY | ATA_DRQ);
	start_master(PRIMARY, true);
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_int_eq(gpa_read(machine.env.gpa, DATA, data, 512), 0);
	ck_assert_mem_eq(data, store.bytes + 9 * 512, 512);
}
END_TEST

START_TEST(in_a_packet)
{
	static const uint8_t cdb[12] = {SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 100};
	unsigned int got = 0;

	/* The news of the medium. */
	atomic_store(&ide->channels[1].units[0].scsi.drive.attention, false);
	command(SECONDARY,
		&(struct taskfile){.code = ATA_PACKET, .sector = 2048 << 8, .device = 0xa0});
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
	give_words(SECONDARY, cdb, 6);
	move();
	give_words(SECONDARY, cdb + 6, 6);
	for (unsigned int i = 0; i < 100; i++) {
		await_interrupt(SECONDARY);
		if (i % 20 == 3)
			move();
		ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
		take_words(SECONDARY, data + got, 2048);
		got += 2048;
	}
	await_interrupt(SECONDARY);
	ck_assert_uint_eq(settle(SECONDARY), READY);
	ck_assert_mem_eq(data, store.bytes + 9 * 2048, 100 * 2048);
}
END_TEST

/* The state with another command in the channel's hand. */
static int restore_with(struct ide_channel *channel, struct ide_command changed)
{
	struct ide_command was = channel->command;
	struct state_node root, node;
	size_t size;
	void *tree;
	int r;

	channel->command = changed;
	tree = machine_save("ide", ide, &size);
	channel->command = was;
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "ide", 1, &node), 0);
	r = ide_device.restore(second, &node);
	free(tree);
	return r;
}

/* A saved tree of which one number is another. */
static int restore_changed(const char *key, uint64_t value)
{
	struct ide_command changed = ide->channels[0].command;

	if (strcmp(key, "end") == 0)
		changed.end = (uint32_t)value;
	else if (strcmp(key, "at") == 0)
		changed.at = (uint32_t)value;
	else if (strcmp(key, "next") == 0)
		changed.next = value;
	else if (strcmp(key, "code") == 0)
		changed.code = (uint8_t)value;
	else if (strcmp(key, "left") == 0)
		changed.left = value;
	else
		changed.device = (uint8_t)value;
	return restore_with(&ide->channels[0], changed);
}

START_TEST(what_cannot_be_is_refused)
{
	lba28(ATA_READ_SECTORS, 40, 255);
	await_interrupt(PRIMARY);
	ide_device.quiesce(ide);
	ide_device.quiesce(second);
	ck_assert_int_eq(restore_changed("end", 512), 0);
	ck_assert_int_eq(restore_changed("end", 1 << 20), -EINVAL);
	ck_assert_int_eq(restore_changed("end", 0), -EINVAL);
	ck_assert_int_eq(restore_changed("at", 513), -EINVAL);
	ck_assert_int_eq(restore_changed("next", DISK_SECTORS - 10), -EINVAL);
	ck_assert_int_eq(restore_changed("left", 1 << 30), -EINVAL);
	ck_assert_int_eq(restore_changed("code", ATA_PACKET), -EINVAL);
	ck_assert_int_eq(restore_changed("code", ATA_SEEK), -EINVAL);
	ck_assert_int_eq(restore_changed("device", 1), -EINVAL);
	ide_device.unquiesce(ide);
}
END_TEST

START_TEST(a_packet_that_cannot_be_is_refused)
{
	static const uint8_t cdb[12] = {SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 2};
	struct ide_channel *channel = &ide->channels[1];
	struct ide_command giving, reading;

	atomic_store(&channel->units[0].scsi.drive.attention, false);
	command(SECONDARY, &(struct taskfile){.code = ATA_PACKET, .features = 1, .device = 0xa0});
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
	give_words(SECONDARY, cdb, 12);
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
	ide_device.quiesce(ide);
	ide_device.quiesce(second);
	/* It has been read, and waits for the bus master. */
	giving = channel->command;
	ck_assert_uint_eq(giving.phase, IDE_DMA_WAIT);
	ck_assert_uint_eq(giving.filled, 2 * 2048);
	for (unsigned int i = 0; i < 2; i++) {
		giving.at = giving.filled;
		ck_assert_int_eq(restore_with(channel, giving), 0);
		giving.at = giving.filled + 1;
		ck_assert_int_eq(restore_with(channel, giving), -EINVAL);
		giving.phase = IDE_WORK;
	}
	reading = channel->command;
	reading.phase = IDE_WORK;
	reading.stage--;
	reading.left = 2048;
	ck_assert_int_eq(restore_with(channel, reading), 0);
	reading.left = 0;
	ck_assert_int_eq(restore_with(channel, reading), -EINVAL);
	/* Only what is given waits for the bus master. */
	reading.left = 2048;
	reading.phase = IDE_DMA_WAIT;
	ck_assert_int_eq(restore_with(channel, reading), -EINVAL);
	reading.stage--;
	ck_assert_int_eq(restore_with(channel, reading), -EINVAL);
	ide_device.unquiesce(ide);
}
END_TEST

START_TEST(figures)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	uint64_t number;
	void *tree;
	size_t size;

	lba28(ATA_READ_SECTORS, 40, 1);
	await_interrupt(PRIMARY);
	ide_device.inspect(ide, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "lun@0", 1, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "bytes-read", &number), 0);
	ck_assert_uint_eq(number, 512);
	ck_assert_str_eq(state_get_string(&node, "type"), "disk");
	ck_assert_int_eq(state_child(&root, "lun@2", 1, &node), 0);
	ck_assert_str_eq(state_get_string(&node, "type"), "cdrom");
	ck_assert_int_eq(state_child(&root, "lun@1", 1, &node), -ENOENT);
	free(tree);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ide_state", &test_case);

	tcase_add_checked_fixture(test_case, setup_two, teardown_two);
	tcase_add_test(test_case, idle);
	tcase_add_test(test_case, in_a_pio_read);
	tcase_add_test(test_case, in_a_pio_write);
	tcase_add_test(test_case, in_dma);
	tcase_add_test(test_case, before_dma_begins);
	tcase_add_test(test_case, in_a_packet);
	tcase_add_test(test_case, what_cannot_be_is_refused);
	tcase_add_test(test_case, a_packet_that_cannot_be_is_refused);
	tcase_add_test(test_case, figures);
	return suite_run(suite);
}
