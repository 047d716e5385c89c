#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "devices/vsp/storvsp_internal.h"

/* As a waiting answer is saved: transaction, size, packet. */
#define SAVED_ANSWER_SIZE (8 + 4 + sizeof(struct vstor_packet))

static void save_answer(const struct storvsp_request *request, bool busy, uint8_t *data)
{
	struct vstor_packet packet = request->packet;

	if (busy)
		storvsp_fill_busy(&packet);
	put_le64(data, request->transaction_id);
	put_le32(data + 8, request->answer_size);
	memcpy(data + 12, &packet, sizeof(packet));
}

static size_t count_requests(const struct storvsp_request *request)
{
	size_t count = 0;

	for (; request; request = request->next)
		count++;
	return count;
}

/* What is held lies in memory as this process has it: where the state is restored, the guest has to
 * try it again. */
static void save_answers(const struct storvsp_channel *channel, struct state_writer *writer)
{
	size_t count = count_requests(channel->answers.first) + count_requests(channel->held.first);
	const struct storvsp_request *request;
	uint8_t *data, *next;

	data = next = calloc(count + 1, SAVED_ANSWER_SIZE);
	for (request = channel->answers.first; data && request; request = request->next) {
		save_answer(request, false, next);
		next += SAVED_ANSWER_SIZE;
	}
	for (request = channel->held.first; data && request; request = request->next) {
		if (!request->answer_wanted)
			continue;
		save_answer(request, true, next);
		next += SAVED_ANSWER_SIZE;
	}
	/* Without data it is the writer that reports the lack of memory. */
	state_put_bytes(writer, "answers", data, data ? (size_t)(next - data) : SIZE_MAX);
	free(data);
}

static void size_name(unsigned int lun, char name[32])
{
	snprintf(name, 32, "disk-bytes-%u", lun);
}

/* A guest that finds another disk in the place of its own would spoil it. */
static void save_sizes(const struct storvsp *storvsp, struct state_writer *writer)
{
	char name[32];

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++) {
		if (!(storvsp->lun_mask >> i & 1) || storvsp->luns[i].unit.scsi.drive)
			continue;
		size_name(i, name);
		state_put_u64(writer, name, storvsp->luns[i].unit.scsi.geometry.bytes);
	}
}

static int check_sizes(const struct storvsp *storvsp, const struct state_node *node)
{
	char name[32];
	uint64_t bytes;

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++) {
		size_name(i, name);
		if (state_get_u64(node, name, &bytes) == 0 &&
		    bytes != storvsp->luns[i].unit.scsi.geometry.bytes)
			return -ENXIO;
	}
	return 0;
}

static void save_drives(const struct storvsp *storvsp, struct state_writer *writer)
{
	char name[32];

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++) {
		const struct scsi_unit *unit = &storvsp->luns[i].unit;

		if (!unit->scsi.drive)
			continue;
		snprintf(name, sizeof(name), "drive@%u", i);
		state_begin(writer, name, STORVSP_STATE_VERSION);
		scsi_unit_save_drive(unit, writer);
		state_end(writer);
	}
}

void storvsp_save(void *device, struct state_writer *writer)
{
	const struct storvsp *storvsp = device;
	char name[32];

	state_put_u32(writer, "phase", storvsp->phase);
	state_put_u32(writer, "protocol-version", storvsp->version);
	state_put_u64(writer, "luns", storvsp->lun_mask);
	state_put_u32(writer, "in-use", storvsp->in_use);
	/* One that is leaving has its disks again where it comes back. */
	state_put_u32(writer, "enumeration-due",
		      storvsp->enumeration_due || storvsp->retirement.begun);
	save_sizes(storvsp, writer);
	storvsp_save_limits(storvsp, writer);
	save_drives(storvsp, writer);
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++) {
		if (!storvsp->channels[i].channel)
			continue;
		snprintf(name, sizeof(name), "channel@%u", i);
		state_begin(writer, name, STORVSP_STATE_VERSION);
		save_answers(&storvsp->channels[i], writer);
		state_end(writer);
	}
}

static int restore_answers(struct storvsp_channel *channel, const struct state_node *node)
{
	size_t size;
	const uint8_t *data = state_find_bytes(node, "answers", &size);

	if (!data || size % SAVED_ANSWER_SIZE != 0)
		return -EINVAL;
	for (; size > 0; size -= SAVED_ANSWER_SIZE, data += SAVED_ANSWER_SIZE) {
		struct storvsp_request *request = storvsp_request_take(channel);

		if (!request || get_le32(data + 8) > sizeof(request->packet))
			return -EINVAL;
		request->transaction_id = get_le64(data);
		request->answer_size = (uint16_t)get_le32(data + 8);
		memcpy(&request->packet, data + 12, sizeof(request->packet));
		storvsp_answer_later(request);
	}
	return 0;
}

static int restore_drives(struct storvsp *storvsp, const struct state_node *node)
{
	struct state_node child;
	char name[32];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < STORVSP_LUNS_MAX; i++) {
		if (!storvsp->luns[i].unit.scsi.drive)
			continue;
		snprintf(name, sizeof(name), "drive@%u", i);
		r = state_child(node, name, STORVSP_STATE_VERSION, &child);
		if (r == 0)
			r = scsi_unit_restore_drive(&storvsp->luns[i].unit, &child);
	}
	return r;
}

static int restore_channel(struct storvsp *storvsp, unsigned int index,
			   const struct state_node *node)
{
	struct storvsp_channel *channel = &storvsp->channels[index];
	struct state_node child;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "channel@%u", index);
	r = state_child(node, name, STORVSP_STATE_VERSION, &child);
	if (r == -ENOENT)
		return channel->channel ? -EINVAL : 0;
	if (r < 0)
		return r;
	return channel->channel ? restore_answers(channel, &child) : -EINVAL;
}

int storvsp_restore(void *device, const struct state_node *node)
{
	struct storvsp *storvsp = device;
	uint32_t phase, version, in_use, enumeration;
	uint64_t luns;
	int r = state_get_u32(node, "phase", &phase);

	if (r == 0)
		r = state_get_u32(node, "protocol-version", &version);
	if (r == 0)
		r = state_get_u64(node, "luns", &luns);
	if (r == 0)
		r = state_get_u32(node, "in-use", &in_use);
	if (r == 0)
		r = state_get_u32(node, "enumeration-due", &enumeration);
	if (r < 0)
		return r;
	if (phase >= STORVSP_PHASES || version > UINT16_MAX || in_use > 1 || enumeration > 1 ||
	    luns != storvsp->lun_mask)
		return -EINVAL;
	r = check_sizes(storvsp, node);
	if (r == 0)
		r = restore_drives(storvsp, node);
	if (r == 0)
		r = storvsp_restore_limits(storvsp, node);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++) {
		r = restore_channel(storvsp, i, node);
		if (r < 0)
			return r;
	}
	storvsp->phase = phase;
	storvsp->in_use = in_use;
	storvsp->enumeration_due = enumeration;
	storvsp->version = (uint16_t)version;
	return 0;
}

struct reading {
	struct storvsp_channel *channel;
	uint64_t lun_mask;
	struct block_counters counters[STORVSP_LUNS_MAX];
	struct block_latencies *sums; /* of the LUNs, over all channels */
	unsigned int in_flight;
	unsigned int held;
};

static void add_latencies(struct block_latencies *sum, const struct block_latencies *part)
{
	for (unsigned int i = 0; i < BLOCK_TIMED; i++)
		latency_merge(&sum->of[i], &part->of[i]);
}

static void read_channel(void *context)
{
	struct reading *reading = context;

	/* Those that the guest has heard of, though their batch has not ended. */
	storvsp_time_batch(reading->channel);
	memcpy(reading->counters, reading->channel->counters, sizeof(reading->counters));
	for (unsigned int lun = 0; lun < STORVSP_LUNS_MAX; lun++) {
		if (reading->lun_mask >> lun & 1)
			add_latencies(&reading->sums[lun], &reading->channel->latencies[lun]);
	}
	reading->in_flight = reading->channel->in_flight;
	reading->held = (unsigned int)count_requests(reading->channel->held.first);
}

/* Of each LUN, over all channels. */
struct sums {
	struct block_counters counters[STORVSP_LUNS_MAX];
	struct block_latencies latencies[STORVSP_LUNS_MAX];
};

/* One channel's figures, and their share in the sums of the LUNs. */
static void inspect_channel(const struct storvsp *storvsp, unsigned int index, struct sums *luns,
			    struct state_writer *writer)
{
	struct storvsp_channel *channel = &storvsp->channels[index];
	struct reading reading = {
		.channel = channel, .lun_mask = storvsp->lun_mask, .sums = luns->latencies};
	struct block_counters sum = {0};
	char name[32];

	if (!channel->thread)
		return;
	io_thread_call(channel->thread->thread, read_channel, &reading);
	for (unsigned int lun = 0; lun < STORVSP_LUNS_MAX; lun++) {
		block_counters_add(&sum, &reading.counters[lun]);
		block_counters_add(&luns->counters[lun], &reading.counters[lun]);
	}
	snprintf(name, sizeof(name), "channel@%u", index);
	state_begin(writer, name, STORVSP_STATE_VERSION);
	state_put_u32(writer, "open", channel->channel != NULL);
	state_put_u32(writer, "in-flight", reading.in_flight);
	state_put_u32(writer, "held", reading.held);
	block_counters_put(&sum, writer);
	state_end(writer);
}

static void inspect_lun(const struct storvsp *storvsp, unsigned int index, const struct sums *sums,
			struct state_writer *writer)
{
	const struct storvsp_lun *lun = &storvsp->luns[index];
	char name[32];

	snprintf(name, sizeof(name), "lun@%u", index);
	state_begin(writer, name, STORVSP_STATE_VERSION);
	scsi_unit_inspect(&lun->unit, writer);
	block_counters_put(&sums->counters[index], writer);
	block_latencies_put(&sums->latencies[index], writer);
	state_end(writer);
}

void storvsp_inspect(void *device, struct state_writer *writer)
{
	const struct storvsp *storvsp = device;
	struct sums *sums = calloc(1, sizeof(*sums));

	if (!sums)
		return;
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++)
		inspect_channel(storvsp, i, sums, writer);
	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++) {
		if (storvsp->lun_mask >> i & 1)
			inspect_lun(storvsp, i, sums, writer);
	}
	free(sums);
}
