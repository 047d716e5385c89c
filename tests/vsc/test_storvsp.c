/* The storage VSP as a guest sees it: real rings, guest memory and a disk image. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "suite.h"
#include "vmbus/bus_internal.h"
#include "vsc_state.h"
#include "vsc_stor.h"

#define DISK_BYTES (16u << 20)
#define VPS	   4u

static struct vsc_stor stor;
static char path[64];
static int image;

static json_t *disks(bool read_only)
{
	int fd = open(path, read_only ? O_RDONLY : O_RDWR);

	ck_assert_int_ge(fd, 0);
	return json_pack("{s:[{s:i,s:s,s:b}]}", "disks", "fd", fd, "name", path, "read_only",
			 read_only);
}

static void make_image(void)
{
	strcpy(path, "/tmp/test_storvsp.XXXXXX");
	image = mkstemp(path);
	ck_assert_int_ge(image, 0);
	ck_assert_int_eq(ftruncate(image, DISK_BYTES), 0);
}

static void setup(void)
{
	make_image();
	vsc_stor_start(&stor, VPS, 2, disks(false));
	vsc_stor_open(&stor, 0, 32, &stor.channel);
}

static void setup_ready(void)
{
	setup();
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
}

static void teardown(void)
{
	vsc_stor_stop(&stor);
	close(image);
	unlink(path);
}

static uint8_t *memory(uint64_t gpa, size_t bytes)
{
	return vsc_pointer(stor.vsc, gpa, bytes);
}

static void fill(uint8_t *data, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 9));
}

static void expect_file(uint64_t offset, const uint8_t *data, size_t bytes)
{
	uint8_t *found = malloc(bytes);

	ck_assert_int_eq(pread(image, found, bytes, (off_t)offset), (ssize_t)bytes);
	ck_assert(memcmp(found, data, bytes) == 0);
	free(found);
}

static void good(struct vmscsi_request answer, uint32_t bytes)
{
	ck_assert_uint_eq(answer.srb_status, SRB_STATUS_SUCCESS);
	ck_assert_uint_eq(answer.scsi_status, 0);
	ck_assert_uint_eq(answer.data_transfer_length, bytes);
}

static struct vmscsi_request transfer(bool write, uint64_t offset, uint64_t gpa, uint32_t bytes)
{
	const struct vsc_stor_command command = vsc_stor_transfer(write, offset, gpa, bytes, 42);

	return vsc_stor_execute(&stor, &command);
}

static struct vmscsi_request command(uint8_t opcode, uint8_t second, uint8_t length)
{
	struct vsc_stor_command command = {
		.cdb = {opcode, second}, .cdb_length = length, .direction = 2, .transaction_id = 3};

	return vsc_stor_execute(&stor, &command);
}

START_TEST(every_protocol_version_works)
{
	static const uint16_t versions[] = {VSTOR_VERSION_WIN8, VSTOR_VERSION_WIN8_1,
					    VSTOR_VERSION_WIN10};
	struct vsc_stor_command inquiry = {.cdb = {0x12, 0, 0, 0, 96},
					   .cdb_length = 6,
					   .direction = VMSCSI_READ,
					   .bytes = 96,
					   .transaction_id = 9};
	uint64_t gpa = vsc_pages(stor.vsc, 4);

	ck_assert_uint_ne(vsc_stor_control(&stor, VSTOR_END_INITIALIZATION, 0).status, 0);
	vsc_stor_initialize(&stor, versions[_i]);
	inquiry.gpa = gpa;
	good(vsc_stor_execute(&stor, &inquiry), 36);
	ck_assert_mem_eq(memory(gpa, 36) + 8, "Msft    Virtual Disk    ", 24);
	fill(memory(gpa, 8192), 8192, 1);
	good(transfer(true, 4096, gpa, 8192), 8192);
	expect_file(4096, memory(gpa, 8192), 8192);
	good(transfer(false, 8192, gpa + 8192, 4096), 4096);
	ck_assert_mem_eq(memory(gpa + 8192, 4096), memory(gpa + 4096, 4096), 4096);
	good(command(0x35, 0, 10), 0);
}
END_TEST

START_TEST(buffers_may_lie_anywhere)
{
	uint64_t gpa = vsc_pages(stor.vsc, 300);
	static const uint32_t sizes[] = {512, 1024, 4096, 65536, 1 << 20};

	for (unsigned int i = 0; i < ARRAY_LENGTH(sizes); i++) {
		uint64_t at = gpa + 512 * (i + 1);

		fill(memory(at, sizes[i]), sizes[i], i);
		good(transfer(true, 1 << 20, at, sizes[i]), sizes[i]);
		expect_file(1 << 20, memory(at, sizes[i]), sizes[i]);
		memset(memory(at, sizes[i]), 0, sizes[i]);
		good(transfer(false, 1 << 20, at, sizes[i]), sizes[i]);
		expect_file(1 << 20, memory(at, sizes[i]), sizes[i]);
	}
}
END_TEST

/* Has count transfers of a block each in flight on a channel, or as many as fit on its ring, and
 * notes which were answered. */
static void run_transfers(struct vsc_channel *channel, bool write, uint64_t gpa, uint64_t base,
			  unsigned int count)
{
	bool *seen = calloc(count, sizeof(*seen));
	struct vstor_packet answer;

	for (unsigned int sent = 0, done = 0; done < count; done++) {
		int64_t id;

		for (; sent < count; sent++) {
			/* Scattered over the disk. */
			const struct vsc_stor_command next =
				vsc_stor_transfer(write, base + sent * 7919ull % count * 4096,
						  gpa + sent * 4096ull, 4096, sent + 1);

			if (vsc_stor_send(channel, stor.packet, &next) < 0)
				break;
		}
		id = vsc_stor_receive(channel, stor.packet, true, &answer);
		ck_assert_int_ge(id, 1);
		ck_assert_int_le(id, count);
		ck_assert(!seen[id - 1]);
		seen[id - 1] = true;
		good(answer.srb, 4096);
	}
	free(seen);
}

/* Writes count blocks, reads them back, and compares memory and file. */
static void write_and_read(struct vsc_channel *channel, uint64_t gpa, uint64_t base,
			   unsigned int count)
{
	uint8_t expected[4096];

	for (unsigned int i = 0; i < count; i++)
		fill(memory(gpa + i * 4096ull, 4096), 4096, i);
	run_transfers(channel, true, gpa, base, count);
	memset(memory(gpa, count * 4096ull), 0, count * 4096ull);
	run_transfers(channel, false, gpa, base, count);
	for (unsigned int i = 0; i < count; i++) {
		fill(expected, sizeof(expected), i);
		ck_assert_mem_eq(memory(gpa + i * 4096ull, 4096), expected, 4096);
		expect_file(base + i * 7919ull % count * 4096, expected, sizeof(expected));
	}
}

START_TEST(many_in_flight)
{
	write_and_read(&stor.channel, vsc_pages(stor.vsc, 500), 0, 500);
}
END_TEST

START_TEST(a_small_ring_loses_nothing)
{
	enum { COUNT = 400 };
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	struct vstor_packet answer;
	unsigned int sent = 0, done = 0;

	vsc_channel_close(&stor.channel);
	vsc_stor_open(&stor, 0, 2, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	while (done < COUNT) {
		/* As many as go in, before any answer is taken. */
		for (; sent < COUNT; sent++) {
			const struct vsc_stor_command next =
				vsc_stor_transfer(false, 0, gpa, 512, sent + 1);

			if (vsc_stor_send(&stor.channel, stor.packet, &next) < 0)
				break;
		}
		vsc_stor_receive(&stor.channel, stor.packet, true, &answer);
		good(answer.srb, 512);
		done++;
	}
}
END_TEST

/* The next answer, as a driver takes it that never signals for the room that it makes. */
static int receive_silently(void *packet)
{
	struct vsc_channel *channel = &stor.channel;
	bool signal;
	int r;

	while ((r = vsc_ring_receive(&channel->in, packet, VSC_PACKET_MAX, &signal)) == 0) {
		while (!vsc_take_event(stor.vsc, channel->target_vp, channel->relid))
			sched_yield();
	}
	return r;
}

START_TEST(a_guest_that_does_not_tell_of_room_gets_all)
{
	enum { COUNT = 200 };
	uint64_t gpa = vsc_pages(stor.vsc, 1);

	vsc_channel_close(&stor.channel);
	vsc_stor_open(&stor, 0, 2, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	stor.channel.out.header->feature_bits = 0;
	for (unsigned int sent = 0; sent < COUNT;) {
		const struct vsc_stor_command next =
			vsc_stor_transfer(false, 0, gpa, 512, sent + 1);

		if (vsc_stor_send(&stor.channel, stor.packet, &next) == 0)
			sent++;
		else
			sched_yield();
	}
	/* From here on the host hears nothing of us. */
	while (!__atomic_load_n(&stor.channel.in.header->pending_send_size, __ATOMIC_ACQUIRE))
		sched_yield();
	for (unsigned int i = 0; i < COUNT; i++)
		ck_assert_int_gt(receive_silently(stor.packet), 0);
}
END_TEST

static void dawdle(unsigned int turns)
{
	for (unsigned int turn = 0; turn < turns; turn++)
		__builtin_ia32_pause();
}

/* The next command comes while the I/O thread still looks at the ring, just as it switches the
 * doorbell on, or after: whichever it is, it is served. */
START_TEST(commands_may_come_at_any_time_after_an_answer)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	unsigned int sent = 0, done = 0;
	struct vstor_packet answer;

	while (done < 20000) {
		const unsigned int depth = 1 + done % 3;

		for (; sent < done + depth; sent++) {
			const struct vsc_stor_command next =
				vsc_stor_transfer(false, 0, gpa, 512, sent + 1);

			ck_assert_int_eq(vsc_stor_send(&stor.channel, stor.packet, &next), 0);
			dawdle(sent % 11);
		}
		ck_assert_int_gt(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 0);
		done++;
		dawdle(done % 1009);
	}
}
END_TEST

START_TEST(sub_channels_share_the_disk)
{
	uint64_t gpa = vsc_pages(stor.vsc, 100);
	struct vsc_channel channels[VPS];

	ck_assert_uint_ne(vsc_stor_control(&stor, VSTOR_CREATE_SUB_CHANNELS, VPS).status, 0);
	ck_assert_uint_eq(vsc_stor_control(&stor, VSTOR_CREATE_SUB_CHANNELS, VPS - 1).status, 0);
	for (unsigned int i = 1; i < VPS; i++) {
		vsc_stor_open(&stor, i, 16, &channels[i]);
		write_and_read(&channels[i], gpa, (uint64_t)i << 20, 100);
		write_and_read(&stor.channel, gpa, 0, 100);
	}
	for (unsigned int i = 1; i < VPS; i++)
		vsc_channel_close(&channels[i]);
	write_and_read(&stor.channel, gpa, 0, 10);
}
END_TEST

START_TEST(unmapped_and_zeroed_blocks_read_as_zero)
{
	uint64_t gpa = vsc_pages(stor.vsc, 17);
	struct vsc_stor_command unmap = {.cdb = {0x42, 0, 0, 0, 0, 0, 0, 0, 24},
					 .cdb_length = 10,
					 .direction = VMSCSI_WRITE,
					 .gpa = gpa + 65536,
					 .bytes = 24,
					 .transaction_id = 1};
	struct vsc_stor_command same = {.cdb = {0x93, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 16},
					.cdb_length = 16,
					.direction = VMSCSI_WRITE,
					.gpa = gpa + 65536,
					.bytes = 512,
					.transaction_id = 1};
	uint8_t *data = memory(gpa, 65536), *list = memory(gpa + 65536, 4096);
	struct vmscsi_request answer;

	fill(data, 65536, 3);
	good(transfer(true, 0, gpa, 65536), 65536);
	put_be16(list, 22);
	put_be16(list + 2, 16);
	put_be64(list + 8, 8);
	put_be32(list + 16, 16);
	answer = vsc_stor_execute(&stor, &unmap);
	/* Where the file system cannot punch holes, the command is not there. */
	if (answer.srb_status == SRB_STATUS_SUCCESS)
		memset(data + 4096, 0, 8192);
	expect_file(0, data, 65536);
	memset(list, 0, 512);
	good(vsc_stor_execute(&stor, &same), 512);
	memset(data + 32768, 0, 8192);
	expect_file(0, data, 65536);
	memset(list, 0xa5, 512);
	good(vsc_stor_execute(&stor, &same), 512);
	memset(data + 32768, 0xa5, 8192);
	expect_file(0, data, 65536);
}
END_TEST

START_TEST(errors_carry_sense)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	struct vmscsi_request answer = transfer(false, DISK_BYTES, gpa, 512);

	ck_assert_uint_eq(answer.srb_status, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
	ck_assert_uint_eq(answer.scsi_status, 2);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), 0x2100);
	/* The file is cut short under the disk: an error, and no invented data. */
	memset(memory(gpa, 512), 0xee, 512);
	ck_assert_int_eq(ftruncate(image, DISK_BYTES / 2), 0);
	answer = transfer(false, DISK_BYTES / 2, gpa, 512);
	ck_assert_uint_eq(answer.srb_status, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
	ck_assert_uint_eq(answer.sense_data[2], 3);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), 0x1100);
	ck_assert_uint_eq(*memory(gpa, 1), 0xee);
	/* No such unit. */
	ck_assert_uint_eq(transfer(true, 0, gpa, 512).srb_status, SRB_STATUS_SUCCESS);
	ck_assert_uint_eq(command(0x5f, 0, 10).sense_data[2], 5);
}
END_TEST

START_TEST(memory_that_is_not_there_is_refused)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);

	ck_assert_uint_eq(transfer(false, 0, 1ull << 40, 4096).srb_status,
			  SRB_STATUS_INVALID_REQUEST);
	ck_assert_uint_eq(transfer(false, 0, UINT64_MAX - 4095, 4096).srb_status,
			  SRB_STATUS_INVALID_REQUEST);
	good(transfer(false, 0, gpa, 4096), 4096);
}
END_TEST

/* Sends as many reads as fit, up to count. */
static unsigned int send_reads(uint64_t gpa, unsigned int count)
{
	unsigned int sent;

	for (sent = 0; sent < count; sent++) {
		const struct vsc_stor_command next = vsc_stor_transfer(
			false, sent * 65536ull % DISK_BYTES, gpa, 65536, sent + 1);

		if (vsc_stor_send(&stor.channel, stor.packet, &next) < 0)
			break;
	}
	return sent;
}

START_TEST(a_reset_comes_after_what_was_sent_before)
{
	uint64_t gpa = vsc_pages(stor.vsc, 16);
	struct vstor_packet reset = {.operation = VSTOR_RESET_BUS, .flags = 1}, answer;
	unsigned int sent = send_reads(gpa, 64);

	ck_assert_int_eq(vsc_channel_send(&stor.channel, stor.packet,
					  vsc_packet_inband(stor.packet, PACKET_DATA_INBAND, 999,
							    true, &reset, sizeof(reset))),
			 0);
	for (unsigned int i = 0; i < sent; i++)
		ck_assert_int_ne(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 999);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 999);
	ck_assert_uint_eq(answer.status, 0);
	good(transfer(false, 0, gpa, 4096), 4096);
}
END_TEST

START_TEST(nothing_touches_memory_after_a_close)
{
	uint64_t gpa = vsc_pages(stor.vsc, 16);
	uint8_t *data = memory(gpa, 65536);

	for (unsigned int turn = 0; turn < 20; turn++) {
		send_reads(gpa, 64);
		vsc_channel_close(&stor.channel);
		memset(data, 0x77, 65536);
		usleep(2000);
		for (unsigned int i = 0; i < 65536; i++)
			ck_assert_uint_eq(data[i], 0x77);
		vsc_stor_open(&stor, 0, 32, &stor.channel);
		vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	}
	good(transfer(false, 0, gpa, 4096), 4096);
}
END_TEST

START_TEST(garbage_harms_nobody)
{
	uint64_t gpa = vsc_pages(stor.vsc, 1);
	struct vstor_packet answer;
	uint8_t garbage[96];

	srandom(5);
	for (unsigned int i = 0; i < 5000; i++) {
		uint32_t size = (uint32_t)random() % sizeof(garbage) / 8 * 8;

		for (unsigned int j = 0; j < sizeof(garbage); j++)
			garbage[j] = random() & 1 ? (uint8_t)random() : 0;
		put_le32(garbage, (uint32_t)random() % 15);
		if (vsc_channel_send(&stor.channel, stor.packet,
				     vsc_packet_inband(stor.packet, PACKET_DATA_INBAND, 7, true,
						       garbage, size)) == 0)
			vsc_channel_wait(&stor.channel, stor.packet, VSC_PACKET_MAX);
	}
	good(transfer(false, 0, gpa, 4096), 4096);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
}
END_TEST

START_TEST(a_read_only_disk_says_so)
{
	uint64_t gpa;
	struct vmscsi_request answer;

	make_image();
	vsc_stor_start(&stor, 1, 1, disks(true));
	vsc_stor_open(&stor, 0, 0, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	gpa = vsc_pages(stor.vsc, 1);
	answer = transfer(true, 0, gpa, 512);
	ck_assert_uint_eq(answer.sense_data[2], 7);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), 0x2700);
	good(transfer(false, 0, gpa, 512), 512);
	teardown();
}
END_TEST

static struct vsc_state state_of(void)
{
	return (struct vsc_state){
		.ops = stor.ops, .device = stor.device, .bus = vsc_vmbus(stor.vsc)};
}

/* On the main loop, which must not tell the guest meanwhile that the controller is gone. */
static void renew(void *context)
{
	vsc_stor_destroy(context);
	vsc_renew_bus(stor.vsc);
}

static void forget_bus(void)
{
	vsc_main(stor.vsc, renew, &stor);
}

START_TEST(a_restored_controller_goes_on)
{
	uint64_t gpa = vsc_pages(stor.vsc, 16);
	struct vstor_packet answer;
	struct vsc_state saved = state_of();
	unsigned int sent = send_reads(gpa, 100);

	vsc_main(stor.vsc, vsc_state_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	forget_bus();
	vsc_stor_create(&stor, disks(false));
	saved.device = stor.device;
	saved.bus = vsc_vmbus(stor.vsc);
	vsc_main(stor.vsc, vsc_state_resume, &saved);
	ck_assert_int_eq(saved.result, 0);
	free(saved.tree);
	/* Every request is answered once, whether it had been begun before or not. */
	for (unsigned int i = 0; i < sent; i++) {
		ck_assert_int_ge(vsc_stor_receive(&stor.channel, stor.packet, true, &answer), 1);
		good(answer.srb, 65536);
	}
	good(transfer(false, 0, gpa, 4096), 4096);
	ck_assert_int_eq(vsc_stor_receive(&stor.channel, stor.packet, false, &answer), -1);
}
END_TEST

/* Here on the main loop, which hears of the broken ring only after us. */
static void break_and_save(void *context)
{
	struct vmbus *bus = vsc_vmbus(stor.vsc);

	__atomic_store_n(&stor.channel.out.header->write_index, UINT32_MAX, __ATOMIC_RELEASE);
	vsc_channel_signal(&stor.channel);
	while (!__atomic_load_n(&bus->ring_broken, __ATOMIC_ACQUIRE))
		sched_yield();
	vsc_state_save(context);
}

START_TEST(a_ring_that_broke_is_saved_so_by_all)
{
	struct vsc_state saved = state_of();

	vsc_main(stor.vsc, break_and_save, &saved);
	ck_assert_int_eq(saved.result, 0);
	forget_bus();
	vsc_stor_create(&stor, disks(false));
	saved.device = stor.device;
	saved.bus = vsc_vmbus(stor.vsc);
	vsc_main(stor.vsc, vsc_state_resume, &saved);
	ck_assert_int_eq(saved.result, 0);
	free(saved.tree);
	vsc_channel_close(&stor.channel);
	vsc_stor_open(&stor, 0, 0, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	good(transfer(false, 0, vsc_pages(stor.vsc, 1), 4096), 4096);
}
END_TEST

int main(void)
{
	TCase *tests, *ready = tcase_create("ready"), *bare = tcase_create("bare");
	Suite *suite = suite_of("storvsp", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, every_protocol_version_works, 0, 3);
	tcase_add_checked_fixture(ready, setup_ready, teardown);
	tcase_set_timeout(ready, 120);
	tcase_add_test(ready, buffers_may_lie_anywhere);
	tcase_add_test(ready, many_in_flight);
	tcase_add_test(ready, a_small_ring_loses_nothing);
	tcase_add_test(ready, a_guest_that_does_not_tell_of_room_gets_all);
	tcase_add_test(ready, commands_may_come_at_any_time_after_an_answer);
	tcase_add_test(ready, sub_channels_share_the_disk);
	tcase_add_test(ready, unmapped_and_zeroed_blocks_read_as_zero);
	tcase_add_test(ready, errors_carry_sense);
	tcase_add_test(ready, memory_that_is_not_there_is_refused);
	tcase_add_test(ready, a_reset_comes_after_what_was_sent_before);
	tcase_add_test(ready, nothing_touches_memory_after_a_close);
	tcase_add_test(ready, garbage_harms_nobody);
	tcase_add_test(ready, a_restored_controller_goes_on);
	tcase_add_test(ready, a_ring_that_broke_is_saved_so_by_all);
	suite_add_tcase(suite, ready);
	tcase_add_test(bare, a_read_only_disk_says_so);
	suite_add_tcase(suite, bare);
	return suite_run(suite);
}
