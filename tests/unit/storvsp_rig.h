#pragma once

/* The storage VSP on a stand-in for the bus, with a backend that does what each test says. */

#include "base/checked.h"
#include "base/wire.h"
#include "devices/block/backends.h"
#include "devices/table.h"
#include "devices/vsp/storvsp_internal.h"
#include "fake_channel.h"
#include "suite.h"
#include <pthread.h>
#include <unistd.h>

#define DISK_BYTES (1u << 24)

/* A backend that holds its requests until the test answers them. */

#define HELD_MAX 1024

static struct {
	pthread_mutex_t lock;
	struct block_request *held[HELD_MAX];
	unsigned int count;
	unsigned int submitted;
} backend = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline int held_open(int fd, const json_t *config, struct block_disk **out,
			    struct error *err)
{
	int r = block_null.open(fd, config, out, err);

	if (r == 0)
		(*out)->backend = block_backend_find("held");
	return r;
}

static inline void held_close(struct block_disk *disk)
{
	block_null.close(disk);
}

static inline int held_attach(struct block_disk *disk, struct io_thread *thread,
			      struct block_queue **out)
{
	return block_null.attach(disk, thread, out);
}

static inline void held_detach(struct block_queue *queue)
{
	block_null.detach(queue);
}

static inline void held_submit(struct block_queue *queue, struct block_request *request)
{
	pthread_mutex_lock(&backend.lock);
	ck_assert_uint_lt(backend.count, HELD_MAX);
	backend.held[backend.count++] = request;
	backend.submitted++;
	pthread_mutex_unlock(&backend.lock);
}

static const struct block_backend held = {
	.name = "held",
	.open = held_open,
	.close = held_close,
	.attach = held_attach,
	.detach = held_detach,
	.submit = held_submit,
};

const struct block_backend *block_backend_find(const char *name)
{
	if (strcmp(name, "held") == 0)
		return &held;
	return strcmp(name, "null") == 0 ? &block_null : NULL;
}

static struct io_thread *threads[2];
static struct storvsp *device;
static struct channel channels[4];
static uint8_t buffer[1 << 20];

/* Where it is to have something to say: to whom, and on which loop. */
static struct {
	struct event_loop *loop;
	const struct device_events *events;
	void *context;
	const char *on_full;
} parent = {.on_full = "report"};

static inline struct storvsp *make_device(void)
{
	const struct device_env env = {
		.io_threads = threads,
		.io_thread_count = 2,
		.vp_count = ARRAY_LENGTH(channels),
		.loop = parent.loop,
		.events = parent.events,
		.context = parent.context,
	};
	json_t *config = json_pack("{s:s, s:[{s:s,s:i}, {s:i,s:s,s:i}]}", "on_full", parent.on_full,
				   "disks", "backend", "held", "bytes", DISK_BYTES, "lun", 5,
				   "backend", "null", "bytes", DISK_BYTES);
	void *made = NULL;
	struct error err;

	ck_assert_msg(storvsp_device.create(&env, config, &made, &err) == 0, "%s", err.text);
	json_decref(config);
	return made;
}

static inline void open_channel(unsigned int index)
{
	channels[index].index = index;
	channels[index].space = 1000;
	ck_assert(fake_channel_open(&channels[index], &storvsp_vsp, device));
}

static inline void setup(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(io_thread_new("disk", 8, &threads[i]), 0);
		ck_assert_int_eq(io_thread_start(threads[i], NULL, NULL), 0);
	}
	backend.count = backend.submitted = 0;
	device = make_device();
	open_channel(0);
}

static inline void teardown(void)
{
	for (unsigned int i = 0; i < ARRAY_LENGTH(channels); i++) {
		if (device->channels[i].channel)
			storvsp_vsp.close(device, &channels[i]);
		fake_channel_clear(&channels[i]);
	}
	storvsp_device.destroy(device);
	for (unsigned int i = 0; i < 2; i++)
		io_thread_free(threads[i]);
}

static inline struct io_thread *thread_of(const struct channel *channel)
{
	return channel->thread;
}

struct sending {
	struct channel *channel;
	const struct fake_packet *packet;
};

static inline void send_here(void *context)
{
	struct sending *sending = context;

	fake_put(&sending->channel->to_vsp, sending->packet);
	storvsp_vsp.service(device, sending->channel);
}

static inline void send(struct channel *channel, const struct fake_packet *packet)
{
	struct sending sending = {channel, packet};

	io_thread_call(thread_of(channel), send_here, &sending);
}

struct taking {
	struct channel *channel;
	struct fake_packet packet;
	bool there;
};

static inline void take_here(void *context)
{
	struct taking *taking = context;
	const struct fake_packet *packet = fake_take(&taking->channel->to_vsc);

	taking->there = packet;
	if (packet)
		taking->packet = *packet;
}

static inline bool try_take(struct channel *channel, struct fake_packet *packet)
{
	struct taking taking = {.channel = channel};

	io_thread_call(thread_of(channel), take_here, &taking);
	*packet = taking.packet;
	return taking.there;
}

static inline void take(struct channel *channel, struct fake_packet *packet)
{
	while (!try_take(channel, packet))
		usleep(100);
	ck_assert_int_eq(packet->type, PACKET_COMPLETION);
}

static inline void expect_silence(struct channel *channel)
{
	struct fake_packet packet;

	usleep(2000);
	ck_assert(!try_take(channel, &packet));
}

/* Answers the oldest request that the backend holds. */
static inline void answer_here(void *context)
{
	struct block_request *request;

	pthread_mutex_lock(&backend.lock);
	ck_assert_uint_gt(backend.count, 0);
	request = backend.held[0];
	memmove(backend.held, backend.held + 1, --backend.count * sizeof(backend.held[0]));
	pthread_mutex_unlock(&backend.lock);
	request->done(request, *(int *)context);
}

static inline void answer_held(const struct channel *channel, int result)
{
	io_thread_call(thread_of(channel), answer_here, &result);
}

static inline struct fake_packet control_packet(uint32_t operation, const void *body, uint32_t size)
{
	struct fake_packet packet = {
		.type = PACKET_DATA_INBAND,
		.flags = PACKET_FLAG_COMPLETION_REQUESTED,
		.transaction_id = 77,
		.payload_size = sizeof(struct vstor_packet),
	};

	put_le32(packet.payload, operation);
	if (size)
		memcpy(packet.payload + VSTOR_HEADER_SIZE, body, size);
	return packet;
}

static inline uint32_t control(struct channel *channel, uint32_t operation, uint16_t value,
			       struct vstor_packet *answer)
{
	struct fake_packet packet = control_packet(operation, &value, sizeof(value));

	send(channel, &packet);
	take(channel, &packet);
	ck_assert_uint_eq(packet.transaction_id, 77);
	ck_assert_uint_eq(packet.payload_size, sizeof(*answer));
	memcpy(answer, packet.payload, sizeof(*answer));
	ck_assert_uint_eq(answer->operation, VSTOR_COMPLETE_IO);
	return answer->status;
}

static inline void make_ready(uint16_t version)
{
	struct vstor_packet answer;

	ck_assert_uint_eq(control(&channels[0], VSTOR_BEGIN_INITIALIZATION, 0, &answer), 0);
	ck_assert_uint_eq(control(&channels[0], VSTOR_QUERY_PROTOCOL_VERSION, version, &answer), 0);
	ck_assert_uint_eq(control(&channels[0], VSTOR_QUERY_PROPERTIES, 0, &answer), 0);
	ck_assert_uint_eq(answer.properties.max_channel_count, 3);
	ck_assert_uint_eq(answer.properties.flags, VSTOR_PROPERTIES_MULTI_CHANNEL);
	ck_assert_uint_eq(answer.properties.max_transfer_bytes, 1 << 20);
	ck_assert_uint_eq(control(&channels[0], VSTOR_END_INITIALIZATION, 0, &answer), 0);
}

struct srb {
	uint8_t cdb[16];
	uint8_t cdb_length;
	uint8_t direction;
	uint8_t path;
	uint8_t target;
	uint8_t lun;
	uint32_t bytes;
	uint64_t transaction_id;
};

static inline struct fake_packet srb_packet(const struct srb *srb)
{
	struct vmscsi_request body = {
		.length = sizeof(body),
		.path_id = srb->path,
		.target_id = srb->target,
		.lun = srb->lun,
		.cdb_length = srb->cdb_length,
		.sense_info_length = VMSCSI_SENSE_SIZE,
		.data_in = srb->direction,
		.data_transfer_length = srb->bytes,
	};
	struct fake_packet packet;

	memcpy(body.cdb, srb->cdb, sizeof(srb->cdb));
	packet = control_packet(VSTOR_EXECUTE_SRB, &body, sizeof(body));
	packet.transaction_id = srb->transaction_id;
	if (srb->bytes) {
		packet.type = PACKET_GPA_DIRECT;
		packet.range_count = 1;
		packet.buffer = (struct iovec){buffer, srb->bytes};
	}
	return packet;
}

static inline struct vmscsi_request take_srb(struct channel *channel, uint64_t transaction_id)
{
	struct fake_packet packet;
	struct vstor_packet answer;

	take(channel, &packet);
	ck_assert_uint_eq(packet.transaction_id, transaction_id);
	ck_assert_uint_eq(packet.payload_size, sizeof(answer));
	memcpy(&answer, packet.payload, sizeof(answer));
	ck_assert_uint_eq(answer.operation, VSTOR_COMPLETE_IO);
	return answer.srb;
}

static inline struct vmscsi_request execute(const struct srb *srb)
{
	struct fake_packet packet = srb_packet(srb);

	send(&channels[0], &packet);
	return take_srb(&channels[0], srb->transaction_id);
}

static inline void expect_srb(struct vmscsi_request answer, uint8_t srb_status, uint8_t scsi_status,
			      uint32_t moved)
{
	ck_assert_uint_eq(answer.srb_status, srb_status);
	ck_assert_uint_eq(answer.scsi_status, scsi_status);
	ck_assert_uint_eq(answer.data_transfer_length, moved);
}

static inline void expect_sense(struct vmscsi_request answer, uint8_t key, uint16_t asc)
{
	expect_srb(answer, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID, SCSI_CHECK_CONDITION, 0);
	ck_assert_uint_eq(answer.sense_info_length, SCSI_SENSE_SIZE);
	ck_assert_uint_eq(answer.sense_data[0], 0x70);
	ck_assert_uint_eq(answer.sense_data[2], key);
	ck_assert_uint_eq(get_be16(answer.sense_data + 12), asc);
}

/* 4 KiB at a block, from or to the disk that holds its requests. */
static inline struct srb read_4k(uint8_t block)
{
	return (struct srb){.cdb = {0x28, 0, 0, 0, 0, block, 0, 0, 8},
			    .cdb_length = 10,
			    .direction = VMSCSI_READ,
			    .bytes = 4096,
			    .transaction_id = 1000u + block};
}

static inline struct srb write_4k(uint8_t block)
{
	struct srb srb = read_4k(block);

	srb.cdb[0] = 0x2a;
	srb.direction = VMSCSI_WRITE;
	return srb;
}

static inline void *save(void *from, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	state_begin(writer, "scsi", storvsp_device.state_version);
	storvsp_device.save(from, writer);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}
