/* The storage VSP on a stand-in for the bus, with a backend that does what each test says. */
#include "storvsp_rig.h"

START_TEST(every_version_is_agreed_to)
{
	static const uint16_t versions[] = {VSTOR_VERSION_WIN8, VSTOR_VERSION_WIN8_1,
					    VSTOR_VERSION_WIN10};

	make_ready(versions[_i]);
	ck_assert_uint_eq(device->version, versions[_i]);
}
END_TEST

START_TEST(other_versions_are_refused_until_one_fits)
{
	struct vstor_packet answer;

	control(&channels[0], VSTOR_BEGIN_INITIALIZATION, 0, &answer);
	ck_assert_uint_eq(control(&channels[0], VSTOR_QUERY_PROTOCOL_VERSION, 0x0702, &answer),
			  VSTOR_STATUS_REVISION_MISMATCH);
	ck_assert_uint_eq(control(&channels[0], VSTOR_QUERY_PROTOCOL_VERSION, 0x0402, &answer),
			  VSTOR_STATUS_REVISION_MISMATCH);
	ck_assert_uint_eq(control(&channels[0], VSTOR_QUERY_PROTOCOL_VERSION, 0x0602, &answer), 0);
}
END_TEST

START_TEST(only_the_next_step_is_allowed)
{
	static const uint32_t steps[] = {VSTOR_BEGIN_INITIALIZATION, VSTOR_QUERY_PROTOCOL_VERSION,
					 VSTOR_QUERY_PROPERTIES, VSTOR_END_INITIALIZATION};
	struct vstor_packet answer;

	for (unsigned int at = 0; at <= ARRAY_LENGTH(steps); at++) {
		for (unsigned int i = 0; i < ARRAY_LENGTH(steps); i++)
			if (i != at)
				ck_assert_uint_eq(control(&channels[0], steps[i], 0x0602, &answer),
						  VSTOR_STATUS_INVALID_DEVICE_STATE);
		if (at < ARRAY_LENGTH(steps)) {
			ck_assert_uint_eq(
				control(&channels[0], VSTOR_CREATE_SUB_CHANNELS, 1, &answer),
				VSTOR_STATUS_INVALID_DEVICE_STATE);
			ck_assert_uint_eq(control(&channels[0], steps[at], 0x0602, &answer), 0);
		}
	}
}
END_TEST

START_TEST(unknown_operations_are_refused)
{
	static const uint32_t unknown[] = {0,	VSTOR_COMPLETE_IO, VSTOR_REMOVE_DEVICE,
					   11,	VSTOR_FCHBA_DATA,  14,
					   255, 0xffffffff};
	struct vstor_packet answer;

	make_ready(VSTOR_VERSION_WIN10);
	for (unsigned int i = 0; i < ARRAY_LENGTH(unknown); i++)
		ck_assert_uint_eq(control(&channels[0], unknown[i], 0, &answer),
				  VSTOR_STATUS_INVALID_PARAMETER);
}
END_TEST

START_TEST(commands_before_the_end_of_initialization_are_refused)
{
	const struct srb srb = read_4k(0);

	expect_srb(execute(&srb), SRB_STATUS_INVALID_REQUEST, 0, 0);
	ck_assert_uint_eq(backend.submitted, 0);
}
END_TEST

START_TEST(sub_channels_are_counted_and_served)
{
	struct vstor_packet answer;
	const struct srb srb = {
		.cdb = {0x00}, .cdb_length = 6, .lun = 5, .direction = 2, .transaction_id = 9};
	struct fake_packet packet = srb_packet(&srb);

	make_ready(VSTOR_VERSION_WIN10);
	ck_assert_uint_eq(control(&channels[0], VSTOR_CREATE_SUB_CHANNELS, 4, &answer),
			  VSTOR_STATUS_INVALID_PARAMETER);
	ck_assert_uint_eq(control(&channels[0], VSTOR_CREATE_SUB_CHANNELS, 3, &answer), 0);
	for (unsigned int i = 1; i < ARRAY_LENGTH(channels); i++) {
		open_channel(i);
		send(&channels[i], &packet);
		expect_srb(take_srb(&channels[i], 9), SRB_STATUS_SUCCESS, 0, 0);
		ck_assert_uint_eq(control(&channels[i], VSTOR_QUERY_PROPERTIES, 0, &answer),
				  VSTOR_STATUS_INVALID_DEVICE_STATE);
		ck_assert_uint_eq(control(&channels[i], VSTOR_CREATE_SUB_CHANNELS, 1, &answer),
				  VSTOR_STATUS_INVALID_DEVICE_STATE);
		ck_assert_uint_eq(control(&channels[i], VSTOR_RESET_LUN, 0, &answer), 0);
	}
}
END_TEST

START_TEST(reads_and_writes_reach_the_backend)
{
	const struct srb read = read_4k(16);
	struct srb write = write_4k(32);
	struct fake_packet packet = srb_packet(&read);
	const struct block_request *block;

	make_ready(VSTOR_VERSION_WIN10);
	send(&channels[0], &packet);
	block = backend.held[0];
	ck_assert_int_eq(block->operation, BLOCK_READ);
	ck_assert_uint_eq(block->offset, 16 * 512);
	ck_assert_uint_eq(block->length, 4096);
	ck_assert_uint_eq(block->iov_count, 2);
	ck_assert_ptr_eq(block->iov[1].iov_base, buffer + 2048);
	expect_silence(&channels[0]);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1016), SRB_STATUS_SUCCESS, 0, 4096);
	/* Less than the buffer holds, and stable. */
	write.bytes = 8192;
	write.cdb[1] = 0x08;
	write.cdb[8] = 5;
	packet = srb_packet(&write);
	send(&channels[0], &packet);
	block = backend.held[0];
	ck_assert_int_eq(block->operation, BLOCK_WRITE);
	ck_assert(block->force_unit_access);
	ck_assert_uint_eq(block->length, 2560);
	ck_assert_uint_eq(block->iov_count, 1);
	ck_assert_uint_eq(block->iov[0].iov_len, 2560);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 1032), SRB_STATUS_SUCCESS, 0, 2560);
}
END_TEST

START_TEST(storage_errors_reach_the_guest)
{
	struct fake_packet packet;
	struct srb srb = write_4k(0);

	make_ready(VSTOR_VERSION_WIN10);
	packet = srb_packet(&srb);
	send(&channels[0], &packet);
	answer_held(&channels[0], -ENOSPC);
	expect_sense(take_srb(&channels[0], 1000), SCSI_DATA_PROTECT,
		     SCSI_ASC_SPACE_ALLOCATION_FAILED);
	srb = read_4k(1);
	packet = srb_packet(&srb);
	send(&channels[0], &packet);
	answer_held(&channels[0], -EIO);
	expect_sense(take_srb(&channels[0], 1001), SCSI_MEDIUM_ERROR,
		     SCSI_ASC_UNRECOVERED_READ_ERROR);
	srb = (struct srb){.cdb = {0x35}, .cdb_length = 10, .direction = 2, .transaction_id = 3};
	packet = srb_packet(&srb);
	send(&channels[0], &packet);
	ck_assert_int_eq(backend.held[0]->operation, BLOCK_FLUSH);
	answer_held(&channels[0], -EIO);
	expect_sense(take_srb(&channels[0], 3), SCSI_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
}
END_TEST

START_TEST(answers_are_cut_to_the_buffer)
{
	struct srb srb = {.cdb = {0x12, 0, 0, 0, 255},
			  .cdb_length = 6,
			  .direction = VMSCSI_READ,
			  .bytes = 8,
			  .transaction_id = 5};

	make_ready(VSTOR_VERSION_WIN10);
	memset(buffer, 0xee, 64);
	expect_srb(execute(&srb), SRB_STATUS_SUCCESS, 0, 8);
	ck_assert_uint_eq(buffer[7], 0x02);
	ck_assert_uint_eq(buffer[8], 0xee);
	srb.bytes = 256;
	expect_srb(execute(&srb), SRB_STATUS_SUCCESS, 0, 36);
	ck_assert_mem_eq(buffer + 8, "Msft    Virtual Disk    1.0 ", 28);
	ck_assert_uint_eq(buffer[36], 0xee);
	srb.bytes = 0;
	expect_srb(execute(&srb), SRB_STATUS_SUCCESS, 0, 0);
}
END_TEST

START_TEST(places_without_a_disk)
{
	struct srb tur = {.cdb = {0x00}, .cdb_length = 6, .direction = 2, .transaction_id = 5};
	struct srb inquiry = {.cdb = {0x12, 0, 0, 0, 36},
			      .cdb_length = 6,
			      .direction = VMSCSI_READ,
			      .bytes = 36,
			      .transaction_id = 5};
	struct srb luns = {.cdb = {0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
			   .cdb_length = 12,
			   .direction = VMSCSI_READ,
			   .bytes = 256,
			   .transaction_id = 5};
	struct vmscsi_request answer;

	make_ready(VSTOR_VERSION_WIN10);
	tur.lun = inquiry.lun = _i == 0 ? 1 : _i == 1 ? 200 : 0;
	tur.target = inquiry.target = _i == 2;
	tur.path = inquiry.path = _i == 3;
	answer = execute(&tur);
	expect_srb(answer, SRB_STATUS_INVALID_LUN | SRB_STATUS_AUTOSENSE_VALID,
		   SCSI_CHECK_CONDITION, 0);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), SCSI_ASC_LUN_NOT_SUPPORTED);
	memset(buffer, 0, 36);
	expect_srb(execute(&inquiry), SRB_STATUS_SUCCESS, 0, 36);
	ck_assert_uint_eq(buffer[0], SCSI_NO_LOGICAL_UNIT);
	luns.target = tur.target;
	luns.path = tur.path;
	luns.lun = tur.lun;
	expect_srb(execute(&luns), SRB_STATUS_SUCCESS, 0, _i < 2 ? 24 : 8);
	ck_assert_uint_eq(get_be32(buffer), _i < 2 ? 16 : 0);
	if (_i < 2)
		ck_assert_uint_eq(buffer[17], 5);
}
END_TEST

START_TEST(data_that_goes_the_wrong_way_is_refused)
{
	struct srb read = read_4k(0), write = write_4k(0);
	struct srb inquiry = {.cdb = {0x12, 0, 0, 0, 36},
			      .cdb_length = 6,
			      .direction = VMSCSI_WRITE,
			      .bytes = 36};

	make_ready(VSTOR_VERSION_WIN10);
	read.direction = VMSCSI_WRITE;
	write.direction = VMSCSI_READ;
	expect_srb(execute(&read), SRB_STATUS_INVALID_REQUEST, 0, 0);
	expect_srb(execute(&write), SRB_STATUS_INVALID_REQUEST, 0, 0);
	memset(buffer, 0xee, 36);
	expect_srb(execute(&inquiry), SRB_STATUS_INVALID_REQUEST, 0, 0);
	ck_assert_uint_eq(buffer[0], 0xee);
	ck_assert_uint_eq(backend.submitted, 0);
}
END_TEST

START_TEST(broken_requests_are_refused)
{
	struct srb srb = read_4k(0);
	struct fake_packet packet;

	make_ready(VSTOR_VERSION_WIN10);
	srb.cdb_length = 17;
	expect_srb(execute(&srb), SRB_STATUS_INVALID_REQUEST, 0, 0);
	srb.cdb_length = 0;
	expect_srb(execute(&srb), SRB_STATUS_INVALID_REQUEST, 0, 0);
	srb = read_4k(0);
	packet = srb_packet(&srb);
	packet.buffer_error = -EFAULT;
	send(&channels[0], &packet);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_INVALID_REQUEST, 0, 0);
	packet = srb_packet(&srb);
	packet.range_count = 2;
	send(&channels[0], &packet);
	expect_srb(take_srb(&channels[0], 1000), SRB_STATUS_INVALID_REQUEST, 0, 0);
	/* Says itself that less is to be moved than the CDB does. */
	packet = srb_packet(&srb);
	packet.buffer.iov_len = 8192;
	put_le32(packet.payload + VSTOR_HEADER_SIZE + 12, 512);
	send(&channels[0], &packet);
	expect_sense(take_srb(&channels[0], 1000), SCSI_ILLEGAL_REQUEST,
		     SCSI_ASC_INVALID_FIELD_IN_CDB);
	ck_assert_uint_eq(backend.submitted, 0);
}
END_TEST

START_TEST(packets_of_any_size_are_answered)
{
	struct fake_packet packet, answer;

	for (uint32_t size = 0; size <= FAKE_PAYLOAD_MAX; size += 4) {
		packet = control_packet(VSTOR_BEGIN_INITIALIZATION, NULL, 0);
		packet.payload_size = size;
		send(&channels[0], &packet);
		take(&channels[0], &answer);
		ck_assert_uint_eq(answer.payload_size, size < 48   ? 48
						       : size < 64 ? size / 8 * 8
								   : 64);
	}
}
END_TEST

START_TEST(unwanted_answers_are_not_sent)
{
	struct fake_packet packet = control_packet(VSTOR_BEGIN_INITIALIZATION, NULL, 0);

	packet.flags = 0;
	send(&channels[0], &packet);
	packet.type = PACKET_COMPLETION;
	send(&channels[0], &packet);
	packet.type = (enum packet_type)99;
	send(&channels[0], &packet);
	expect_silence(&channels[0]);
	ck_assert_int_eq(device->phase, STORVSP_VERSION);
}
END_TEST

START_TEST(write_same_goes_on_piece_by_piece)
{
	const struct srb srb = {.cdb = {0x93, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 4, 1},
				.cdb_length = 16,
				.direction = VMSCSI_WRITE,
				.bytes = 512,
				.transaction_id = 4};
	struct fake_packet packet = srb_packet(&srb);

	make_ready(VSTOR_VERSION_WIN10);
	memset(buffer, 0x5a, 512);
	send(&channels[0], &packet);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_eq(backend.held[0]->length, 256 << 10);
		ck_assert_uint_eq(backend.held[0]->iov_count, 64);
		ck_assert_uint_eq(*(uint8_t *)backend.held[0]->iov[63].iov_base, 0x5a);
		answer_held(&channels[0], 0);
	}
	ck_assert_uint_eq(backend.held[0]->length, 512);
	answer_held(&channels[0], 0);
	expect_srb(take_srb(&channels[0], 4), SRB_STATUS_SUCCESS, 0, 512);
	/* All of it at once from a backend that is never busy. */
	packet.payload[VSTOR_HEADER_SIZE + 7] = 5;
	send(&channels[0], &packet);
	expect_srb(take_srb(&channels[0], 4), SRB_STATUS_SUCCESS, 0, 512);
}
END_TEST

struct space {
	struct channel *channel;
	unsigned int space;
};

static void set_space(void *context)
{
	struct space *space = context;

	space->channel->space = space->space;
	if (space->space)
		storvsp_vsp.service(device, space->channel);
}

static void limit_space(struct channel *channel, unsigned int space)
{
	struct space context = {channel, space};

	io_thread_call(thread_of(channel), set_space, &context);
}

START_TEST(a_full_ring_keeps_answers_in_order)
{
	struct fake_packet packet;

	make_ready(VSTOR_VERSION_WIN10);
	limit_space(&channels[0], 0);
	for (uint8_t i = 0; i < 10; i++) {
		struct srb srb = read_4k(i);

		srb.lun = 5;
		packet = srb_packet(&srb);
		send(&channels[0], &packet);
	}
	expect_silence(&channels[0]);
	limit_space(&channels[0], 4);
	for (unsigned int i = 0; i < 4; i++)
		take_srb(&channels[0], 1000 + i);
	expect_silence(&channels[0]);
	limit_space(&channels[0], 100);
	for (unsigned int i = 4; i < 10; i++)
		take_srb(&channels[0], 1000 + i);
}
END_TEST

START_TEST(more_than_fit_wait_on_the_ring)
{
	enum { REQUESTS = STORVSP_REQUESTS_MAX + 50 };
	struct srb srb = read_4k(0);
	struct fake_packet packet = srb_packet(&srb);

	make_ready(VSTOR_VERSION_WIN10);
	for (unsigned int i = 0; i < REQUESTS; i++)
		send(&channels[0], &packet);
	ck_assert_uint_eq(backend.submitted, STORVSP_REQUESTS_MAX);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		while (backend.count == 0)
			usleep(100);
		answer_held(&channels[0], 0);
		take_srb(&channels[0], 1000);
	}
	ck_assert_uint_eq(backend.submitted, REQUESTS);
}
END_TEST

START_TEST(a_reset_waits_for_what_was_in_flight)
{
	struct srb srb = read_4k(0);
	struct fake_packet packet = srb_packet(&srb);

	make_ready(VSTOR_VERSION_WIN10);
	send(&channels[0], &packet);
	send(&channels[0], &packet);
	packet = control_packet(VSTOR_RESET_BUS, NULL, 0);
	send(&channels[0], &packet);
	answer_held(&channels[0], 0);
	take_srb(&channels[0], 1000);
	expect_silence(&channels[0]);
	answer_held(&channels[0], 0);
	take_srb(&channels[0], 1000);
	take(&channels[0], &packet);
	ck_assert_uint_eq(packet.transaction_id, 77);
	ck_assert_uint_eq(get_le32(packet.payload + 8), VSTOR_STATUS_SUCCESS);
}
END_TEST

static void *answer_late(void *context)
{
	usleep(20000);
	answer_held(context, 0);
	return NULL;
}

START_TEST(a_close_waits_for_what_is_in_flight)
{
	struct srb srb = read_4k(0);
	struct fake_packet packet = srb_packet(&srb);
	pthread_t helper;

	make_ready(VSTOR_VERSION_WIN10);
	send(&channels[0], &packet);
	pthread_create(&helper, NULL, answer_late, &channels[0]);
	storvsp_vsp.close(device, &channels[0]);
	ck_assert_uint_eq(backend.count, 0);
	pthread_join(helper, NULL);
	/* Nothing went to a ring that is no longer ours. */
	ck_assert(!try_take(&channels[0], &packet));
	/* And the protocol begins anew. */
	open_channel(0);
	make_ready(VSTOR_VERSION_WIN8);
}
END_TEST

START_TEST(quiesce_drains_and_stops)
{
	struct srb srb = read_4k(0);
	struct fake_packet packet = srb_packet(&srb);
	pthread_t helper;

	make_ready(VSTOR_VERSION_WIN10);
	send(&channels[0], &packet);
	pthread_create(&helper, NULL, answer_late, &channels[0]);
	storvsp_device.quiesce(device);
	ck_assert_uint_eq(backend.count, 0);
	pthread_join(helper, NULL);
	take_srb(&channels[0], 1000);
	send(&channels[0], &packet);
	expect_silence(&channels[0]);
	ck_assert_uint_eq(backend.submitted, 1);
	storvsp_device.unquiesce(device);
	while (backend.count == 0)
		usleep(100);
	answer_held(&channels[0], 0);
	take_srb(&channels[0], 1000);
}
END_TEST

static void dawdle(struct io_batch_work *work)
{
	usleep(50000);
}

static atomic_bool answered;

/* The last answer, in a batch whose end is long in coming. */
static void answer_in_a_slow_batch(void *context)
{
	static struct io_batch_work slow;
	int result = 0;

	io_batch_work_init(&slow, dawdle);
	io_thread_batch_end(thread_of(context), &slow);
	answer_here(&result);
	atomic_store(&answered, true);
	usleep(20000); /* for the pause to come in */
}

static void *run_slow_batch(void *context)
{
	io_thread_call(thread_of(context), answer_in_a_slow_batch, context);
	return NULL;
}

START_TEST(quiesce_waits_for_resets_too)
{
	struct srb srb = read_4k(0);
	struct fake_packet packet = srb_packet(&srb);
	pthread_t helper;

	make_ready(VSTOR_VERSION_WIN10);
	send(&channels[0], &packet);
	packet = control_packet(VSTOR_RESET_BUS, NULL, 0);
	send(&channels[0], &packet);
	ck_assert_ptr_nonnull(device->channels[0].resets.first);
	pthread_create(&helper, NULL, run_slow_batch, &channels[0]);
	while (!atomic_load(&answered))
		usleep(100);
	storvsp_device.quiesce(device);
	ck_assert_ptr_null(device->channels[0].resets.first);
	pthread_join(helper, NULL);
	take_srb(&channels[0], 1000);
	take(&channels[0], &packet);
	ck_assert_uint_eq(packet.transaction_id, 77);
}
END_TEST

START_TEST(saved_state_comes_back)
{
	struct srb srb = read_4k(3);
	struct fake_packet packet;
	struct state_node root, node;
	size_t size, again_size;
	void *tree, *again;

	srb.lun = 5;
	packet = srb_packet(&srb);
	make_ready(VSTOR_VERSION_WIN8_1);
	limit_space(&channels[0], 0);
	send(&channels[0], &packet);
	send(&channels[0], &packet);
	storvsp_device.quiesce(device);
	tree = save(device, &size);
	storvsp_vsp.close(device, &channels[0]);
	storvsp_device.destroy(device);

	device = make_device();
	storvsp_device.quiesce(device);
	fake_channel_clear(&channels[0]);
	open_channel(0);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "scsi", 2, &node), 0);
	ck_assert_int_eq(storvsp_device.restore(device, &node), 0);
	again = save(device, &again_size);
	ck_assert_uint_eq(size, again_size);
	ck_assert_mem_eq(tree, again, size);
	storvsp_device.unquiesce(device);
	for (unsigned int i = 0; i < 2; i++)
		expect_srb(take_srb(&channels[0], 1003), SRB_STATUS_SUCCESS, 0, 4096);
	send(&channels[0], &packet);
	expect_srb(take_srb(&channels[0], 1003), SRB_STATUS_SUCCESS, 0, 4096);
	free(tree);
	free(again);
}
END_TEST

/* How many requests a LUN's histogram has. */
static uint64_t timed(const struct state_node *lun, const char *name)
{
	char key[LATENCY_KEY_MAX];
	struct state_node node;
	uint64_t sum = 0, value;

	ck_assert_int_eq(state_child(lun, name, 1, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "sum-ns", &value), 0);
	for (unsigned int i = 0; i <= LATENCY_BOUNDS; i++) {
		if (!state_get_u64(&node, latency_key(i, key), &value))
			sum += value;
	}
	return sum;
}

START_TEST(inspect_shows_the_figures)
{
	struct state_writer *writer = state_writer_new();
	struct srb srb = write_4k(0);
	struct state_node root, node;
	uint64_t value;
	void *tree;
	size_t size;

	srb.lun = 5;
	make_ready(VSTOR_VERSION_WIN10);
	execute(&srb);
	execute(&srb);
	/* One that is no request took no time, whatever its place was used for before. */
	srb.cdb_length = 0;
	expect_srb(execute(&srb), SRB_STATUS_INVALID_REQUEST, 0, 0);
	storvsp_device.inspect(device, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "lun@5", 2, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "writes", &value), 0);
	ck_assert_uint_eq(value, 2);
	ck_assert_int_eq(state_get_u64(&node, "bytes-written", &value), 0);
	ck_assert_uint_eq(value, 8192);
	ck_assert_uint_eq(timed(&node, "write-latency"), 2);
	ck_assert_uint_eq(timed(&node, "read-latency"), 0);
	ck_assert_uint_eq(timed(&node, "flush-latency"), 0);
	ck_assert_int_eq(state_child(&root, "channel@0", 2, &node), 0);
	ck_assert_int_eq(state_get_u64(&node, "writes", &value), 0);
	ck_assert_uint_eq(value, 2);
	free(tree);
}
END_TEST

START_TEST(broken_configurations_say_why)
{
	static const struct {
		const char *config;
		const char *sentence;
	} cases[] = {
		{"{\"instance\": \"no\"}", "the controller's instance is not a GUID"},
		{"{\"disks\": [{\"lun\": \"a\"}]}", "a disk's LUN must be from 0 to 63"},
		{"{\"disks\": [{\"lun\": 64}]}", "a disk's LUN must be from 0 to 63"},
		{"{\"disks\": [{\"lun\": 0, \"backend\": \"tape\"}]}",
		 "there is no disk backend \"tape\""},
		{"{\"disks\": [{\"lun\": 0, \"backend\": \"null\", \"bytes\": 512},"
		 "{\"lun\": 0, \"backend\": \"null\", \"bytes\": 512}]}",
		 "LUN 0 is given to two disks; give one of them another ,lun=N"},
	};
	const struct device_env env = {.io_threads = threads, .io_thread_count = 2, .vp_count = 1};
	json_t *config = json_loads(cases[_i].config, 0, NULL);
	void *made = NULL;
	struct error err;

	ck_assert_ptr_nonnull(config);
	ck_assert_int_lt(storvsp_device.create(&env, config, &made, &err), 0);
	ck_assert_str_eq(err.text, cases[_i].sentence);
	ck_assert_ptr_null(made);
	json_decref(config);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("storvsp", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, every_version_is_agreed_to, 0, 3);
	tcase_add_test(tests, other_versions_are_refused_until_one_fits);
	tcase_add_test(tests, only_the_next_step_is_allowed);
	tcase_add_test(tests, unknown_operations_are_refused);
	tcase_add_test(tests, commands_before_the_end_of_initialization_are_refused);
	tcase_add_test(tests, sub_channels_are_counted_and_served);
	tcase_add_test(tests, reads_and_writes_reach_the_backend);
	tcase_add_test(tests, storage_errors_reach_the_guest);
	tcase_add_test(tests, answers_are_cut_to_the_buffer);
	tcase_add_loop_test(tests, places_without_a_disk, 0, 4);
	tcase_add_test(tests, data_that_goes_the_wrong_way_is_refused);
	tcase_add_test(tests, broken_requests_are_refused);
	tcase_add_test(tests, packets_of_any_size_are_answered);
	tcase_add_test(tests, unwanted_answers_are_not_sent);
	tcase_add_test(tests, write_same_goes_on_piece_by_piece);
	tcase_add_test(tests, a_full_ring_keeps_answers_in_order);
	tcase_add_test(tests, more_than_fit_wait_on_the_ring);
	tcase_add_test(tests, a_reset_waits_for_what_was_in_flight);
	tcase_add_test(tests, a_close_waits_for_what_is_in_flight);
	tcase_add_test(tests, quiesce_drains_and_stops);
	tcase_add_test(tests, quiesce_waits_for_resets_too);
	tcase_add_test(tests, saved_state_comes_back);
	tcase_add_test(tests, inspect_shows_the_figures);
	tcase_add_loop_test(tests, broken_configurations_say_why, 0, 5);
	return suite_run(suite);
}
