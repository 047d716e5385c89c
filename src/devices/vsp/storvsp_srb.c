#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/iov.h"
#include "devices/vsp/storvsp_internal.h"

/* Cuts the vector to length bytes, of which it has at least that many. */
static unsigned int trim(struct iovec *iov, unsigned int count, uint64_t length)
{
	for (unsigned int i = 0; i < count; i++) {
		if (iov[i].iov_len >= length) {
			iov[i].iov_len = (size_t)length;
			return i + 1;
		}
		length -= iov[i].iov_len;
	}
	return count;
}

static void fill_answer(struct vstor_packet *packet, uint8_t srb_status, uint8_t scsi_status,
			uint32_t moved)
{
	packet->operation = VSTOR_COMPLETE_IO;
	packet->flags = 0;
	packet->status = srb_status == SRB_STATUS_SUCCESS ? VSTOR_STATUS_SUCCESS
							  : VSTOR_STATUS_IO_DEVICE_ERROR;
	packet->srb.srb_status = srb_status;
	packet->srb.scsi_status = scsi_status;
	packet->srb.data_transfer_length = moved;
}

static void answer(struct storvsp_request *request, uint8_t srb_status, uint8_t scsi_status)
{
	fill_answer(&request->packet, srb_status, scsi_status, request->moved);
	storvsp_time_end(request);
	storvsp_answer(request);
}

void storvsp_fill_busy(struct vstor_packet *packet)
{
	fill_answer(packet, SRB_STATUS_BUSY, SCSI_BUSY, 0);
}

/* The request cannot be carried to any disk. */
static void answer_invalid(struct storvsp_request *request)
{
	request->moved = 0;
	answer(request, SRB_STATUS_INVALID_REQUEST, SCSI_GOOD);
}

static void answer_finished(struct storvsp_request *request, uint8_t failed_status)
{
	struct vmscsi_request *srb = &request->packet.srb;
	const struct scsi_task *task = &request->task;

	if (task->status == SCSI_GOOD) {
		answer(request, SRB_STATUS_SUCCESS, SCSI_GOOD);
		return;
	}
	request->channel->counters[request->lun].errors++;
	request->moved = 0;
	memset(srb->sense_data, 0, sizeof(srb->sense_data));
	scsi_format_sense(&task->sense, srb->sense_data);
	srb->sense_info_length = SCSI_SENSE_SIZE;
	answer(request, failed_status | SRB_STATUS_AUTOSENSE_VALID, task->status);
}

/* The pattern's pieces, each a view of the same bytes. */
static void build_pattern(struct storvsp_request *request)
{
	struct scsi_task *task = &request->task;
	uint64_t left = task->length;

	for (request->iov_count = 0; left > 0; request->iov_count++) {
		struct iovec *piece = &request->iov[request->iov_count];

		piece->iov_base = task->data;
		piece->iov_len = MIN(left, (uint64_t)SCSI_DATA_MAX);
		left -= piece->iov_len;
	}
}

/* True when it is done already, with its result in early_result. */
static bool hand_over(struct storvsp_request *request)
{
	struct storvsp_channel *channel = request->channel;
	struct block_request *block = &request->block;
	const struct scsi_task *task = &request->task;
	struct block_queue *queue = channel->thread->queues[request->lun];
	struct block_limit_queue *limits = channel->thread->limits[request->lun];

	if (!queue) { /* it could not be attached here */
		request->early_result = -EIO;
		return true;
	}
	block->operation = task->operation;
	block->offset = task->offset;
	block->length = task->length;
	block->iov = request->iov;
	block->iov_count = request->iov_count;
	block->force_unit_access = task->force_unit_access;
	block->may_unmap = task->may_unmap;
	channel->in_flight++;
	request->submitting = true;
	request->done_early = false;
	if (limits)
		channel->counters[request->lun].limit_waits +=
			block_limit_submit(limits, queue, block, channel->paused);
	else
		queue->disk->backend->submit(queue, block);
	request->submitting = false;
	return request->done_early;
}

static bool submit(struct storvsp_request *request)
{
	block_count(&request->channel->counters[request->lun], request->task.operation,
		    request->task.length);
	storvsp_time_begin(request);
	return hand_over(request);
}

/* The guest said which way data goes; a command that wants the other way is not sound. */
static bool direction_fits(const struct storvsp_request *request, enum scsi_step step)
{
	const struct scsi_task *task = &request->task;
	uint8_t direction = request->packet.srb.data_in;

	switch (step) {
	case SCSI_STEP_ANSWER:
		return task->length == 0 || direction != VMSCSI_WRITE || task->buffer_bytes == 0;
	case SCSI_STEP_FETCH:
		return direction != VMSCSI_READ;
	case SCSI_STEP_TRANSFER:
		return direction != (task->operation == BLOCK_READ ? VMSCSI_WRITE : VMSCSI_READ);
	default:
		return true;
	}
}

static void give_answer(struct storvsp_request *request)
{
	struct scsi_task *task = &request->task;

	request->moved = (uint32_t)MIN(task->length, (uint64_t)task->buffer_bytes);
	iov_put(request->iov, 0, task->data, request->moved);
	answer(request, SRB_STATUS_SUCCESS, SCSI_GOOD);
}

/* Takes the task through its steps until it is finished or waits for a backend. */
static void advance(struct storvsp_request *request, enum scsi_step step)
{
	struct scsi_task *task = &request->task;

	for (;;) {
		if (!direction_fits(request, step)) {
			answer_invalid(request);
			return;
		}
		switch (step) {
		case SCSI_STEP_FINISHED:
			answer_finished(request, SRB_STATUS_ERROR);
			return;
		case SCSI_STEP_ANSWER:
			give_answer(request);
			return;
		case SCSI_STEP_FETCH:
			request->moved = (uint32_t)task->length;
			iov_take(request->iov, 0, task->data, task->length);
			step = scsi_fetched(task);
			continue;
		case SCSI_STEP_TRANSFER:
			request->moved = (uint32_t)task->length;
			request->iov_count = trim(request->iov, request->iov_count, task->length);
			break;
		case SCSI_STEP_PATTERN:
			build_pattern(request);
			break;
		case SCSI_STEP_BLOCK:
			request->iov_count = 0;
			break;
		}
		if (!submit(request) || storvsp_hold(request, request->early_result))
			return;
		step = scsi_block_done(task, request->early_result);
	}
}

static void block_done(struct block_request *block, int result)
{
	struct storvsp_request *request = container_of(block, struct storvsp_request, block);

	request->channel->in_flight--;
	if (request->submitting) {
		request->done_early = true;
		request->early_result = result;
		return;
	}
	if (!storvsp_hold(request, result))
		advance(request, scsi_block_done(&request->task, result));
}

void storvsp_retry(struct storvsp_request *request)
{
	if (hand_over(request) && !storvsp_hold(request, request->early_result))
		advance(request, scsi_block_done(&request->task, request->early_result));
}

/* The guest's buffer: at most one range, and of it no more than the request speaks of. */
static bool resolve_buffer(struct storvsp_request *request, const struct packet *packet)
{
	const struct vmscsi_request *srb = &request->packet.srb;
	enum gpa_access access = srb->data_in == VMSCSI_WRITE ? GPA_READ : GPA_WRITE;
	uint32_t bytes;
	int r;

	request->iov_count = 0;
	request->task.buffer_bytes = 0;
	if (packet->type != PACKET_GPA_DIRECT)
		return true;
	if (packet->range_count != 1)
		return false;
	r = packet_buffers(request->channel->channel, packet, 0, access, request->iov,
			   STORVSP_IOV_MAX, &bytes);
	if (r < 0)
		return false;
	request->iov_count = (unsigned int)r;
	request->task.buffer_bytes = MIN(bytes, srb->data_transfer_length);
	return true;
}

static void begin_task(struct storvsp_request *request)
{
	const struct vmscsi_request *srb = &request->packet.srb;
	struct scsi_task *task = &request->task;

	memcpy(task->cdb, srb->cdb, sizeof(task->cdb));
	task->cdb_length = srb->cdb_length;
	task->force_unit_access = false;
	task->may_unmap = false;
	request->lun = srb->lun;
	request->moved = 0;
	request->block.done = block_done;
}

/* Commands to a place where no disk is. */
static void execute_absent(struct storvsp_request *request)
{
	enum scsi_step step = scsi_begin_absent(&request->task);

	request->lun = 0;
	if (step == SCSI_STEP_FINISHED) {
		request->channel->storvsp->retirement.refused++;
		answer_finished(request, SRB_STATUS_INVALID_LUN);
	} else {
		advance(request, step);
	}
}

void storvsp_execute(struct storvsp_request *request, const struct packet *packet)
{
	struct storvsp *storvsp = request->channel->storvsp;
	const struct vmscsi_request *srb = &request->packet.srb;
	bool target = srb->path_id == 0 && srb->target_id == storvsp->target &&
		      !storvsp->retirement.begun;
	struct storvsp_lun *lun;

	request->timed = BLOCK_TIMED;
	if (packet->payload_size < VSTOR_PACKET_MIN || storvsp->phase != STORVSP_READY ||
	    srb->cdb_length == 0 || srb->cdb_length > VMSCSI_CDB_MAX ||
	    !resolve_buffer(request, packet)) {
		answer_invalid(request);
		return;
	}
	if (!storvsp->in_use)
		storvsp->in_use = true;
	begin_task(request);
	/* Any place has a list of units, if an empty one: a guest asks before it looks. */
	if (srb->cdb[0] == SCSI_REPORT_LUNS) {
		request->lun = 0;
		advance(request, scsi_report_luns(&request->task, target ? storvsp->lun_mask : 0));
		return;
	}
	if (!target || srb->lun >= STORVSP_LUNS_MAX || !(storvsp->lun_mask >> srb->lun & 1)) {
		execute_absent(request);
		return;
	}
	lun = &storvsp->luns[srb->lun];
	request->task.disk = &lun->unit.scsi;
	advance(request, scsi_begin(&request->task));
}
