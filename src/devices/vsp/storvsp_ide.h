#pragma once

#include "devices/block/limit.h"
#include "devices/device.h"
#include "devices/vsp/scsi_unit.h"

/*
 * A disk of the IDE controller as the bus offers it too, which is how an enlightened guest of a
 * Generation 1 VM comes away from the emulated controller: a channel of a class of its own for each
 * disk, whose one LUN is 0 of a target with the disk's number on its IDE channel (Linux
 * drivers/scsi/storvsc_drv.c, storvsc_probe).  It is a storage VSP in all else: every operation but
 * create is storvsp_device's.
 */

/*
 * place: twice the IDE channel and the device on it.  unit and limiter: the disk, and how fast it
 * may be by both ways together; they stay the controller's and outlive the device.
 * pause_when_full: the parent pauses a VM for whose writes the host has no room, and hears of the
 * disk as the controller's, at that place.  -errno with a sentence.  Main loop.
 */
int storvsp_ide_new(const struct device_env *env, unsigned int place, const struct scsi_unit *unit,
		    struct block_limiter *limiter, bool pause_when_full, void **device,
		    struct error *err);

/* How fast the disk may be from now on, by either way: -errno, and there are no limits then.  Main
 * loop, while the controller does nothing with the disk and is attached to no limits. */
int storvsp_ide_set_limits(void *device, const struct block_limits *limits);
