#include "devices/vsp/storvsp_ide.h"

#include <stdio.h>
#include <stdlib.h>

#include "devices/table.h"
#include "devices/vsp/storvsp_internal.h"

static int borrow_disk(struct storvsp *storvsp, const struct scsi_unit *unit,
		       struct block_limiter *limiter)
{
	struct storvsp_lun *lun = &storvsp->luns[0];
	int r = scsi_unit_borrow(&lun->unit, unit);

	if (r < 0)
		return r;
	lun->unit.scsi.max_transfer_bytes = STORVSP_TRANSFER_MAX;
	lun->limiter = limiter;
	storvsp->lun_mask = 1;
	return 0;
}

int storvsp_ide_new(const struct device_env *env, unsigned int place, const struct scsi_unit *unit,
		    struct block_limiter *limiter, bool pause_when_full, void **device,
		    struct error *err)
{
	static const struct guid class_id = STORVSP_CLASS_IDE;
	struct storvsp *storvsp = calloc(1, sizeof(*storvsp));
	char label[16];
	int r;

	if (!storvsp)
		return error_memory(err, "an IDE disk on the bus");
	storvsp->env = *env;
	/* Its place on IDE is in the instance: the channel, then the device, then always the same
	 * (Linux drivers/scsi/storvsc_drv.c reads the device from there). */
	storvsp->instance =
		(struct guid)GUID_INIT(place / 2, place % 2, 0x8899, 0, 0, 0, 0, 0, 0, 0, 0);
	storvsp->target = (uint8_t)(place % 2);
	storvsp->full.pause = pause_when_full;
	snprintf(storvsp->id, sizeof(storvsp->id), "%s", ide_device.name);
	storvsp->place = place;
	snprintf(label, sizeof(label), "ide%u", place);
	r = borrow_disk(storvsp, unit, limiter) < 0
		    ? error_memory(err, "an IDE disk on the bus")
		    : storvsp_finish(storvsp, &class_id, label, err);
	if (r < 0) {
		storvsp_free(storvsp);
		return r;
	}
	*device = storvsp;
	return 0;
}

int storvsp_ide_set_limits(void *device, const struct block_limits *limits)
{
	struct storvsp *storvsp = device;
	bool was_quiesced = storvsp_begin_change(storvsp);
	int r = storvsp_set_limits(storvsp, 0, limits);

	storvsp_end_change(storvsp, was_quiesced);
	return r;
}
