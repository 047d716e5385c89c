#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/block/configured.h"
#include "devices/table.h"
#include "devices/vsp/storvsp_internal.h"
#include "vmbus/wire.h"

/*
 * The storage VSP: a SCSI controller whose disks are block backends.  Its configuration:
 *   {"instance": GUID (optional), "on_full": "report" | "pause" (report), "disks": [{"lun": 0..63,
 * "backend": "raw", "fd": N, "name": PATH, "read_only": false, "direct": false, "type": "disk",
 *    "iops": N, "bandwidth": bytes a second}, ...]}
 * where the LUN is by default the disk's place in the list, and the backend raw.  Of type "cdrom"
 * it is a DVD drive, which is empty where there is no descriptor. Restore wants the same disks, the
 * bus restored before it, and quiesce called before that: no packet may be looked at until the
 * state is complete.
 */

/* Where the configuration names no other: the instance of a VM's first controller. */
#define DEFAULT_INSTANCE                                                                           \
	GUID_INIT(0xf8b3781a, 0x1e82, 0x4818, 0xa1, 0xc3, 0x63, 0xd8, 0x06, 0xec, 0x15, 0xbb)

static void close_given(const json_t *config)
{
	const json_t *disks = json_object_get(config, "disks");
	size_t index;
	json_t *disk;

	json_array_foreach((json_t *)disks, index, disk) block_close_given(disk);
}

static int add_disks(struct storvsp *storvsp, const json_t *config, struct error *err)
{
	const json_t *disks = json_object_get(config, "disks");
	size_t index;
	json_t *disk;

	json_array_foreach((json_t *)disks, index, disk)
	{
		int r = storvsp_open_disk(storvsp, disk, index, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_instance(struct storvsp *storvsp, const json_t *config, struct error *err)
{
	static const struct guid default_instance = DEFAULT_INSTANCE;
	const json_t *text = json_object_get(config, "instance");

	storvsp->instance = default_instance;
	if (text &&
	    (!json_is_string(text) || guid_parse(json_string_value(text), &storvsp->instance) < 0))
		return error_set(err, EINVAL, "the controller's instance is not a GUID");
	return 0;
}

/* For "pause" the parent listens: the event {"full": the disk's name, "lun"} asks it for that. */
static int read_on_full(struct storvsp *storvsp, const json_t *config, struct error *err)
{
	const char *id = json_string_value(json_object_get(config, "id"));

	snprintf(storvsp->id, sizeof(storvsp->id), "%s", id ? id : storvsp_device.name);
	return block_read_on_full(config, &storvsp->full.pause, err);
}

static int make_channels(struct storvsp *storvsp)
{
	unsigned int count = 1 + storvsp->subchannels_max;

	storvsp->channels = calloc(count, sizeof(*storvsp->channels));
	storvsp->threads = calloc(storvsp->env.io_thread_count, sizeof(*storvsp->threads));
	if (!storvsp->channels || !storvsp->threads)
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++) {
		storvsp->channels[i].storvsp = storvsp;
		sem_init(&storvsp->channels[i].drained, 0, 0);
	}
	for (unsigned int i = 0; i < storvsp->env.io_thread_count; i++)
		storvsp->threads[i].thread = storvsp->env.io_threads[i];
	return 0;
}

int storvsp_finish(struct storvsp *storvsp, const struct guid *class_id, const char *label,
		   struct error *err)
{
	struct vmbus_offer_config offer = {
		.class_id = *class_id,
		.instance_id = storvsp->instance,
		.label = label,
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE,
		.max_subchannels = storvsp->subchannels_max,
		.ops = &storvsp_vsp,
		.context = storvsp,
	};
	int r = make_channels(storvsp);

	if (r < 0)
		return error_memory(err, "a storage controller");
	r = vmbus_offer_new(storvsp->env.bus, &offer, &storvsp->offer);
	if (r < 0)
		return error_host(err, -r, "the storage controller cannot be offered");
	return 0;
}

void storvsp_free(struct storvsp *storvsp)
{
	for (unsigned int lun = 0; lun < STORVSP_LUNS_MAX; lun++)
		storvsp_close_disk(storvsp, lun);
	free(storvsp->threads);
	free(storvsp->channels);
	free(storvsp);
}

static int storvsp_create(const struct device_env *env, const json_t *config, void **device,
			  struct error *err)
{
	static const struct guid class_id = STORVSP_CLASS_SCSI;
	struct storvsp *storvsp = calloc(1, sizeof(*storvsp));
	int r;

	if (!storvsp)
		return error_memory(err, "a storage controller");
	storvsp->env = *env;
	storvsp->subchannels_max = env->vp_count - 1;
	r = read_instance(storvsp, config, err);
	if (r == 0)
		r = read_on_full(storvsp, config, err);
	if (r == 0)
		r = add_disks(storvsp, config, err);
	if (r == 0)
		r = storvsp_finish(storvsp, &class_id,
				   json_string_value(json_object_get(config, "id")), err);
	if (r < 0) {
		storvsp_free(storvsp);
		return r;
	}
	close_given(config);
	*device = storvsp;
	return 0;
}

static void storvsp_destroy(void *device)
{
	struct storvsp *storvsp = device;

	vmbus_offer_rescind(storvsp->offer);
	storvsp_free(storvsp);
}

/* The bus has closed the channels; a guest that starts again begins the protocol anew. */
static void storvsp_reset(void *device)
{
	struct storvsp *storvsp = device;

	storvsp_set_phase(storvsp, STORVSP_BEGIN);
	storvsp->in_use = false;
	for (unsigned int lun = 0; lun < STORVSP_LUNS_MAX; lun++) {
		if (storvsp->luns[lun].unit.scsi.drive)
			scsi_drive_reset(&storvsp->luns[lun].unit.drive);
	}
}

void storvsp_quiesce(void *device)
{
	struct storvsp *storvsp = device;

	storvsp->quiesced = true;
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++)
		if (storvsp->channels[i].channel)
			storvsp_channel_pause(&storvsp->channels[i]);
}

void storvsp_unquiesce(void *device)
{
	struct storvsp *storvsp = device;

	storvsp->quiesced = false;
	block_full_go_on(&storvsp->full);
	for (unsigned int i = 0; i <= storvsp->subchannels_max; i++)
		if (storvsp->channels[i].channel)
			storvsp_channel_resume(&storvsp->channels[i]);
}

const struct device_ops storvsp_device = {
	.name = "scsi",
	.state_version = STORVSP_STATE_VERSION,
	.hot_pluggable = true,
	.create = storvsp_create,
	.destroy = storvsp_destroy,
	.retire = storvsp_retire,
	.reset = storvsp_reset,
	.save = storvsp_save,
	.restore = storvsp_restore,
	.inspect = storvsp_inspect,
	.quiesce = storvsp_quiesce,
	.unquiesce = storvsp_unquiesce,
	.verbs = storvsp_verbs,
};
