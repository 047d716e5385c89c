#include <errno.h>
#include <string.h>

#include "devices/block/configured.h"
#include "devices/vsp/storvsp_internal.h"

/* The disks of a storage controller: which there are, and how they come and go. */

static int read_lun(const json_t *config, size_t place, struct error *err)
{
	const json_t *number = json_object_get(config, "lun");
	json_int_t index = number ? json_integer_value(number) : (json_int_t)place;

	if ((number && !json_is_integer(number)) || index < 0 || index >= STORVSP_LUNS_MAX)
		return error_set(err, EINVAL, "a disk's LUN must be from 0 to %d",
				 STORVSP_LUNS_MAX - 1);
	return (int)index;
}

int storvsp_open_disk(struct storvsp *storvsp, const json_t *config, size_t place,
		      struct error *err)
{
	int r, index = read_lun(config, place, err);
	struct block_limits limits = {0};
	struct storvsp_lun *lun;

	if (index < 0)
		return index;
	if (storvsp->lun_mask >> index & 1)
		return error_set(err, EEXIST,
				 "LUN %d is given to two disks; give one of them another "
				 ",lun=N",
				 index);
	r = block_read_limits(config, &limits, err);
	if (r < 0)
		return r;
	lun = &storvsp->luns[index];
	*lun = (struct storvsp_lun){.limiter = &lun->own};
	r = scsi_unit_open(&lun->unit, config, err);
	if (r < 0)
		return r;
	lun->unit.scsi.max_transfer_bytes = STORVSP_TRANSFER_MAX;
	scsi_unit_identify(&lun->unit, &storvsp->instance, (uint8_t)index);
	block_limiter_set(lun->limiter, &limits);
	storvsp->lun_mask |= 1ull << index;
	return 0;
}

struct attach {
	struct storvsp *storvsp;
	struct storvsp_thread *thread;
	int result;
};

static void attach_queues(void *context)
{
	struct attach *attach = context;
	struct storvsp_thread *thread = attach->thread;

	for (unsigned int lun = 0; lun < STORVSP_LUNS_MAX && attach->result == 0; lun++) {
		struct block_disk *disk = attach->storvsp->luns[lun].unit.disk;

		if (disk && !thread->queues[lun])
			attach->result =
				disk->backend->attach(disk, thread->thread, &thread->queues[lun]);
	}
	if (attach->result == 0)
		attach->result = storvsp_attach_limits(attach->storvsp, thread);
}

int storvsp_attach_disks(struct storvsp *storvsp, struct storvsp_thread *thread)
{
	struct attach attach = {storvsp, thread};

	io_thread_call(thread->thread, attach_queues, &attach);
	/* A failure takes nothing from a thread that serves the other disks. */
	if (attach.result == 0)
		thread->attached = true;
	return attach.result;
}

struct detach {
	struct storvsp_thread *thread;
	unsigned int lun;
};

static void detach_queue(void *context)
{
	const struct detach *detach = context;
	struct block_queue *queue = detach->thread->queues[detach->lun];

	queue->disk->backend->detach(queue);
	detach->thread->queues[detach->lun] = NULL;
}

static void detach_everywhere(struct storvsp *storvsp, unsigned int index)
{
	for (unsigned int i = 0; storvsp->threads && i < storvsp->env.io_thread_count; i++) {
		struct detach detach = {&storvsp->threads[i], index};

		if (detach.thread->queues[index])
			io_thread_call(detach.thread->thread, detach_queue, &detach);
	}
}

void storvsp_close_disk(struct storvsp *storvsp, unsigned int index)
{
	storvsp_detach_limits(storvsp, index);
	detach_everywhere(storvsp, index);
	scsi_unit_close(&storvsp->luns[index].unit);
	storvsp->lun_mask &= ~(1ull << index);
}

static unsigned int free_lun(const struct storvsp *storvsp)
{
	return storvsp->lun_mask == UINT64_MAX ? STORVSP_LUNS_MAX
					       : (unsigned int)__builtin_ctzll(~storvsp->lun_mask);
}

/* Threads that serve no channel yet get their queues when they do. */
static int attach_everywhere(struct storvsp *storvsp)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < storvsp->env.io_thread_count; i++) {
		if (storvsp->threads[i].attached)
			r = storvsp_attach_disks(storvsp, &storvsp->threads[i]);
	}
	return r;
}

/* Takes a disk into the running controller; *index is its LUN. */
static int insert_disk(struct storvsp *storvsp, const json_t *config, unsigned int *index,
		       struct error *err)
{
	const json_t *number = json_object_get(config, "lun");
	int r;

	*index = json_is_integer(number) ? (unsigned int)json_integer_value(number)
					 : free_lun(storvsp);
	if (!number && *index == STORVSP_LUNS_MAX)
		return error_set(err, ENOSPC, "every LUN of the controller is in use; detach one");
	r = storvsp_open_disk(storvsp, config, *index, err);
	if (r < 0)
		return r;
	r = attach_everywhere(storvsp);
	if (r == 0)
		return 0;
	storvsp_close_disk(storvsp, *index);
	return error_host(err, -r, "the disk's I/O cannot be set up");
}

bool storvsp_begin_change(struct storvsp *storvsp)
{
	bool was_quiesced = storvsp->quiesced;

	if (!was_quiesced)
		storvsp_quiesce(storvsp);
	return was_quiesced;
}

void storvsp_end_change(struct storvsp *storvsp, bool was_quiesced)
{
	if (!was_quiesced)
		storvsp_unquiesce(storvsp);
}

static void verb_add_disk(void *device, const json_t *parameters, struct device_call *call)
{
	struct storvsp *storvsp = device;
	struct error err;
	unsigned int lun;
	bool was_quiesced = storvsp_begin_change(storvsp);
	int r = insert_disk(storvsp, parameters, &lun, &err);

	storvsp_end_change(storvsp, was_quiesced);
	block_close_given(parameters);
	if (r < 0) {
		call->refuse(call, err.text);
		return;
	}
	storvsp_enumerate(storvsp);
	call->reply(call, json_pack("{s:i}", "lun", (int)lun));
}

int storvsp_find_disk(const struct storvsp *storvsp, const json_t *parameters, struct error *err)
{
	const json_t *number = json_object_get(parameters, "lun");
	const char *name = json_string_value(json_object_get(parameters, "name"));
	json_int_t wanted = json_integer_value(number);

	for (int lun = 0; lun < STORVSP_LUNS_MAX; lun++) {
		const char *called = storvsp->luns[lun].unit.name;

		if (storvsp->lun_mask >> lun & 1 &&
		    (json_is_integer(number) ? lun == wanted
					     : name && called && !strcmp(called, name)))
			return lun;
	}
	if (json_is_integer(number))
		return error_set(err, ENOENT, "it has no disk at LUN %lld; inspect shows them",
				 (long long)wanted);
	return error_set(err, ENOENT, "it has no disk called %.200s; inspect shows them",
			 name ? name : "");
}

static void verb_remove_disk(void *device, const json_t *parameters, struct device_call *call)
{
	struct storvsp *storvsp = device;
	struct error err;
	bool was_quiesced;
	int lun = storvsp_find_disk(storvsp, parameters, &err);

	if (lun < 0) {
		call->refuse(call, err.text);
		return;
	}
	was_quiesced = storvsp_begin_change(storvsp);
	storvsp_give_up_disk(storvsp, lun);
	storvsp_close_disk(storvsp, (unsigned int)lun);
	storvsp_end_change(storvsp, was_quiesced);
	storvsp_enumerate(storvsp);
	call->reply(call, json_pack("{s:i}", "lun", lun));
}

static void hide_disks(struct storvsp *storvsp)
{
	bool was_quiesced = storvsp_begin_change(storvsp);

	storvsp->retirement = (struct storvsp_retirement){.begun = true};
	storvsp_end_change(storvsp, was_quiesced);
	storvsp_enumerate(storvsp);
}

/* The guest is silent.  Whether it has looked for disks since it was asked to, and used none. */
static bool has_looked(struct storvsp *storvsp)
{
	struct storvsp_retirement *retirement = &storvsp->retirement;
	uint64_t refused = retirement->refused;

	if (retirement->asked && retirement->asked_packets == retirement->silence.packets)
		return false;
	if (retirement->asked && retirement->asked_refused == refused)
		return true;
	retirement->asked = true;
	retirement->asked_packets = retirement->silence.packets;
	retirement->asked_refused = refused;
	storvsp_enumerate(storvsp);
	return false;
}

/*
 * A driver that is told of a rescind listens to the channel no more, and waits for ever for what it
 * has asked or asks then (Linux drivers/scsi/storvsc_drv.c, storvsc_wait_to_drain and
 * storvsc_queuecommand): the removal of a disk, for one, which ends with a flush.  It removes disks
 * and looks for them on one queue of work.  So when it looks because it was asked to, after a time
 * of silence, and has no command for a disk meanwhile, then it has none left.
 */
bool storvsp_retire(void *device)
{
	struct storvsp *storvsp = device;

	if (!storvsp->channels[0].channel)
		return true;
	if (storvsp->quiesced)
		return false;
	if (!storvsp->retirement.begun)
		hide_disks(storvsp);
	if (!storvsp->in_use) /* it is about to look */
		return false;
	return vmbus_offer_silent(storvsp->offer, &storvsp->retirement.silence) &&
	       has_looked(storvsp);
}

/* A new medium, or none. */
static int change_medium(struct storvsp *storvsp, unsigned int index, const json_t *config,
			 struct error *err)
{
	struct scsi_unit *unit = &storvsp->luns[index].unit;
	struct scsi_unit other;
	int r = scsi_unit_open_medium(&other, config, err);

	if (r < 0)
		return r;
	detach_everywhere(storvsp, index);
	scsi_unit_swap(unit, &other);
	r = attach_everywhere(storvsp);
	if (r < 0) {
		error_host(err, -r, "the medium's I/O cannot be set up");
		detach_everywhere(storvsp, index);
		scsi_unit_swap(unit, &other);
		attach_everywhere(storvsp);
	}
	scsi_unit_close(&other);
	if (r == 0)
		scsi_drive_load(&unit->drive, unit->disk);
	return r;
}

static void verb_change_medium(void *device, const json_t *parameters, struct device_call *call)
{
	struct storvsp *storvsp = device;
	int lun = read_lun(parameters, STORVSP_LUNS_MAX, &(struct error){""});
	struct error err;
	int r;

	if (lun < 0 || !(storvsp->lun_mask >> lun & 1) || !storvsp->luns[lun].unit.scsi.drive) {
		r = error_set(&err, ENOENT, "it has no DVD drive at that LUN; inspect shows them");
	} else {
		bool was_quiesced = storvsp_begin_change(storvsp);

		r = change_medium(storvsp, (unsigned int)lun, parameters, &err);
		storvsp_end_change(storvsp, was_quiesced);
	}
	block_close_given(parameters);
	if (r < 0)
		call->refuse(call, err.text);
	else
		call->reply(call, NULL);
}

const struct device_verb storvsp_verbs[] = {
	{"change-medium", verb_change_medium},
	{"add-disk", verb_add_disk},
	{"remove-disk", verb_remove_disk},
	{"set-limits", storvsp_verb_set_limits},
	{NULL, NULL},
};
