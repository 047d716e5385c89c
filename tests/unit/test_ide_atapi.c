#include "ide_rig.h"

/* A DVD drive by packets. */

#define READY (ATA_DRDY | ATA_DSC)

static uint8_t data[1 << 18];

static void begin_packet(const uint8_t *cdb, bool dma, uint16_t limit)
{
	uint8_t packet[12] = {0};

	memcpy(packet, cdb, 12);
	command(SECONDARY, &(struct taskfile){.code = ATA_PACKET,
					      .features = dma,
					      .sector = (uint64_t)limit << 8,
					      .device = 0xa0});
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_COUNT), ATA_REASON_COMMAND);
	give_words(SECONDARY, packet, 12);
}

/* Runs it by PIO; how many bytes came, or the error register, negative. */
static int packet(const uint8_t *cdb, uint16_t limit)
{
	int got = 0;
	uint8_t status;

	begin_packet(cdb, false, limit);
	for (;;) {
		unsigned int bytes;

		await_interrupt(SECONDARY);
		status = settle(SECONDARY);
		if (!(status & ATA_DRQ))
			break;
		ck_assert_uint_eq(in(SECONDARY + ATA_REG_COUNT), ATA_REASON_IN);
		bytes = in(SECONDARY + ATA_REG_MID) | in(SECONDARY + ATA_REG_HIGH) << 8;
		ck_assert_uint_gt(bytes, 0);
		ck_assert_uint_le(bytes, limit ? MAX(limit, 2u) : 65534);
		take_words(SECONDARY, data + got, bytes);
		got += (int)bytes;
	}
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_COUNT), ATA_REASON_COMMAND | ATA_REASON_IN);
	return status & ATA_ERR ? -in(SECONDARY + ATA_REG_ERROR) : got;
}

#define CDB(...) ((const uint8_t[12]){__VA_ARGS__})

/* The drive's first word is that it has a new medium. */
static void hear_news(void)
{
	ck_assert_int_eq(packet(CDB(SCSI_TEST_UNIT_READY), 0), -(SCSI_UNIT_ATTENTION << 4));
	ck_assert_int_eq(packet(CDB(SCSI_REQUEST_SENSE, 0, 0, 0, 18), 18), 18);
	ck_assert_uint_eq(data[2], SCSI_UNIT_ATTENTION);
	ck_assert_uint_eq(get_be16(data + 12), SCSI_ASC_MEDIUM_MAY_HAVE_CHANGED);
	/* Once. */
	ck_assert_int_eq(packet(CDB(SCSI_REQUEST_SENSE, 0, 0, 0, 18), 18), 18);
	ck_assert_uint_eq(data[2], 0);
	ck_assert_int_eq(packet(CDB(SCSI_TEST_UNIT_READY), 0), 0);
}

static void setup_heard(void)
{
	struct scsi_drive *drive;

	setup();
	drive = &ide->channels[1].units[0].scsi.drive;
	scsi_drive_load(drive, true);
	hear_news();
}

START_TEST(a_drive_says_what_it_is)
{
	command(SECONDARY, &(struct taskfile){.code = ATA_IDENTIFY, .device = 0xa0});
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_ERR);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_MID), 0x14);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_HIGH), 0xeb);
	command(SECONDARY, &(struct taskfile){.code = ATA_IDENTIFY_PACKET, .device = 0xa0});
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
	take_words(SECONDARY, data, 512);
	ck_assert_uint_eq(get_le16(data), 0x85c0);
	ck_assert_uint_eq(settle(SECONDARY), READY);
	ck_assert_int_eq(packet(CDB(SCSI_INQUIRY, 0, 0, 0, 36), 36), 36);
	ck_assert_uint_eq(data[0], 5);
}
END_TEST

static const uint16_t limits[] = {2048, 0, 0xffff, 100, 2049, 1, 63488};

START_TEST(reads_by_pio)
{
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 7, 0, 0, 40), limits[_i]), 40 * 2048);
	ck_assert_mem_eq(data, store.bytes + 7 * 2048, 40 * 2048);
}
END_TEST

static void start_dma(uint32_t bytes)
{
	unsigned int n = 0;

	for (uint32_t at = 0; at < bytes; at += 10000, n++)
		descriptor(n, DATA + at, (uint16_t)MIN(10000u, bytes - at), at + 10000 >= bytes);
	start_master(SECONDARY, true);
}

START_TEST(reads_by_dma)
{
	begin_packet(CDB(SCSI_READ_12, 0, 0, 0, 0, 9, 0, 0, 0, 100), true, 0);
	start_dma(100 * 2048);
	await_interrupt(SECONDARY);
	ck_assert_uint_eq(in(MASTER + 8 + 2) & 7, 4);
	ck_assert_uint_eq(settle(SECONDARY), READY);
	ck_assert_int_eq(gpa_read(machine.env.gpa, DATA, data, 100 * 2048), 0);
	ck_assert_mem_eq(data, store.bytes + 9 * 2048, 100 * 2048);
	stop_master(SECONDARY);
	/* An answer that is shorter than the table. */
	begin_packet(CDB(SCSI_READ_CAPACITY_10), true, 0);
	start_dma(2048);
	await_interrupt(SECONDARY);
	ck_assert_uint_eq(in(MASTER + 8 + 2) & 7, 5);
	ck_assert_uint_eq(settle(SECONDARY), READY);
	ck_assert_int_eq(gpa_read(machine.env.gpa, DATA, data, 8), 0);
	ck_assert_uint_eq(get_be32(data), DISK_BYTES / 2048 - 1);
}
END_TEST

START_TEST(dma_to_no_memory)
{
	begin_packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 1), true, 0);
	descriptor(0, RAM_BYTES - 1024, 2048, true);
	start_master(SECONDARY, true);
	await_interrupt(SECONDARY);
	ck_assert_uint_eq(in(MASTER + 8 + 2) & 7, 6);
	ck_assert_uint_eq(settle(SECONDARY), READY | ATA_ERR);
}
END_TEST

START_TEST(errors_have_sense)
{
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0x20, 0, 0, 0, 1), 2048),
			 -(SCSI_ILLEGAL_REQUEST << 4 | ATA_ABRT));
	ck_assert_int_eq(packet(CDB(SCSI_INQUIRY, 0, 0, 0, 36), 36), 36); /* leaves it */
	ck_assert_int_eq(packet(CDB(SCSI_REQUEST_SENSE, 0, 0, 0, 18), 18), 18);
	ck_assert_uint_eq(get_be16(data + 12), SCSI_ASC_LBA_OUT_OF_RANGE);
	ck_assert_int_eq(packet(CDB(SCSI_WRITE_10, 0, 0, 0, 0, 0, 0, 0, 1), 2048),
			 -(SCSI_ILLEGAL_REQUEST << 4 | ATA_ABRT));
	store.bad = 4 * 9 + 1;
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 8, 0, 0, 3), 2048),
			 -(SCSI_MEDIUM_ERROR << 4));
}
END_TEST

/* Nothing is asked in between that would have an outcome of its own. */
START_TEST(a_failure_is_not_the_next_read_s)
{
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0x20, 0, 0, 0, 1), 2048),
			 -(SCSI_ILLEGAL_REQUEST << 4 | ATA_ABRT));
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 2), 2048), 2 * 2048);
	ck_assert_mem_eq(data, store.bytes + 9 * 2048, 2 * 2048);
	ck_assert_int_eq(packet(CDB(SCSI_REQUEST_SENSE, 0, 0, 0, 18), 18), 18);
	ck_assert_uint_eq(data[2], SCSI_NO_SENSE);
}
END_TEST

START_TEST(a_device_reset_ends_a_packet)
{
	begin_packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 2), false, 2048);
	await_interrupt(SECONDARY);
	out(SECONDARY + ATA_REG_STATUS, ATA_DEVICE_RESET);
	ck_assert_uint_eq(settle(SECONDARY), 0);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_MID), 0x14);
	store.hold = true;
	begin_packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 2), false, 2048);
	await_held();
	out(SECONDARY + ATA_REG_STATUS, ATA_DEVICE_RESET);
	ck_assert_uint_eq(alternate(SECONDARY), ATA_BSY);
	release_held();
	ck_assert_uint_eq(settle(SECONDARY), 0);
	ck_assert(!asserted(SECONDARY));
}
END_TEST

/* What a verb answered. */
struct answer {
	struct device_call call;
	bool refused;
	char sentence[256];
	json_t *reply;
};

static void on_reply(struct device_call *call, json_t *reply)
{
	container_of(call, struct answer, call)->reply = reply;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	struct answer *answer = container_of(call, struct answer, call);

	answer->refused = true;
	snprintf(answer->sentence, sizeof(answer->sentence), "%s", sentence);
}

static struct answer run_verb(const char *name, const char *parameters)
{
	struct answer answer = {.call = {.reply = on_reply, .refuse = on_refuse}};
	json_t *json = json_loads(parameters, 0, NULL);

	for (const struct device_verb *verb = ide_device.verbs; verb->name; verb++)
		if (strcmp(verb->name, name) == 0)
			verb->handle(ide, json, &answer.call);
	json_decref(json);
	json_decref(answer.reply);
	return answer;
}

START_TEST(media_come_and_go)
{
	ck_assert(!run_verb("change-medium", "{\"lun\": 2}").refused);
	ck_assert_int_eq(packet(CDB(SCSI_TEST_UNIT_READY), 0), -(SCSI_NOT_READY << 4));
	ck_assert(
		!run_verb("change-medium", "{\"lun\": 2, \"backend\": \"store\", \"bytes\": 4096}")
			 .refused);
	hear_news();
	ck_assert_int_eq(packet(CDB(SCSI_READ_CAPACITY_10), 8), 8);
	ck_assert_uint_eq(get_be32(data), 1);
	ck_assert(run_verb("change-medium", "{\"lun\": 0}").refused);
	ck_assert(run_verb("change-medium", "{\"lun\": 4}").refused);
	ck_assert(run_verb("change-medium", "{\"lun\": 2, \"backend\": \"teapot\"}").refused);
	ck_assert_int_eq(packet(CDB(SCSI_TEST_UNIT_READY), 0), 0);
}
END_TEST

START_TEST(a_medium_that_changes_ends_what_reads_it)
{
	uint8_t status;

	begin_packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 100), false, 32768);
	await_interrupt(SECONDARY);
	ck_assert(
		!run_verb("change-medium", "{\"lun\": 2, \"backend\": \"store\", \"bytes\": 4096}")
			 .refused);
	for (unsigned int i = 0; i < 2; i++) {
		await_interrupt(SECONDARY);
		ck_assert_uint_eq(settle(SECONDARY), READY | ATA_DRQ);
		take_words(SECONDARY, data, 32768);
	}
	await_interrupt(SECONDARY);
	status = settle(SECONDARY);
	ck_assert_uint_eq(status, READY | ATA_ERR);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_ERROR), SCSI_UNIT_ATTENTION << 4);
}
END_TEST

START_TEST(limits_hold_requests_back)
{
	struct answer answer = run_verb("set-limits", "{\"lun\": 2, \"iops\": 1}");

	ck_assert(!answer.refused);
	ck_assert_uint_eq(ide->channels[1].units[0].limiter.limits.iops, 1);
	/* The second of these waits for a second, or for a reset. */
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 1), 2048), 2048);
	for (unsigned int i = 0; i < 100; i++) {
		begin_packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 1), false, 2048);
		out(SECONDARY + ATA_REG_STATUS, ATA_DEVICE_RESET);
		ck_assert_uint_eq(settle(SECONDARY), 0);
	}
	ck_assert(!run_verb("set-limits", "{\"lun\": 2, \"iops\": 0}").refused);
	ck_assert(run_verb("set-limits", "{\"lun\": 1, \"iops\": 0}").refused);
	ck_assert_int_eq(packet(CDB(SCSI_READ_10, 0, 0, 0, 0, 9, 0, 0, 1), 2048), 2048);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ide_atapi", &test_case);

	tcase_add_checked_fixture(test_case, setup_heard, teardown);
	tcase_add_test(test_case, a_drive_says_what_it_is);
	tcase_add_loop_test(test_case, reads_by_pio, 0, ARRAY_LENGTH(limits));
	tcase_add_test(test_case, reads_by_dma);
	tcase_add_test(test_case, dma_to_no_memory);
	tcase_add_test(test_case, errors_have_sense);
	tcase_add_test(test_case, a_failure_is_not_the_next_read_s);
	tcase_add_test(test_case, a_device_reset_ends_a_packet);
	tcase_add_test(test_case, media_come_and_go);
	tcase_add_test(test_case, a_medium_that_changes_ends_what_reads_it);
	tcase_add_test(test_case, limits_hold_requests_back);
	return suite_run(suite);
}
