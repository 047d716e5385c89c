#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/guid.h"
#include "base/state.h"
#include "devices/vsp/scsi.h"

/* A disk or DVD drive that a controller has, with the image behind it.  Main loop, and no task or
 * request of the unit's in hand. */

struct scsi_unit {
	struct block_disk *disk; /* NULL in an empty drive */
	struct scsi_disk scsi;
	struct scsi_drive drive; /* of a DVD drive */
	char *name;		 /* of the disk or medium */
	bool borrowed;		 /* the image is another unit's */
};

/*
 * Opens what config describes (devices/block/configured.h): a disk, or, where its "type" is
 * "cdrom", a drive, which is empty if there is neither "fd" nor "backend".  The unit is made anew;
 * max_transfer_bytes and identifier are the caller's to set afterwards.  -errno with
 * a sentence.
 */
int scsi_unit_open(struct scsi_unit *unit, const json_t *config, struct error *err);
/* The same disk for another controller: the image stays of, which is a disk and no drive and
 * outlives unit.  -ENOMEM. */
int scsi_unit_borrow(struct scsi_unit *unit, const struct scsi_unit *of);
/* Gives it its identity: the same for the same controller and LUN, always. */
void scsi_unit_identify(struct scsi_unit *unit, const struct guid *instance, uint8_t lun);
/* Closes the image; harmless where there is none.  Its queues must be gone. */
void scsi_unit_close(struct scsi_unit *unit);

/* A drive that has the medium which config describes, or none; for scsi_unit_swap. */
int scsi_unit_open_medium(struct scsi_unit *unit, const json_t *config, struct error *err);
/* Exchanges the media of two drives; the guest is not told. */
void scsi_unit_swap(struct scsi_unit *a, struct scsi_unit *b);

/* What a drive remembers, in a node that is open.  Restore wants the medium that was in it, or
 * none. */
void scsi_unit_save_drive(const struct scsi_unit *unit, struct state_writer *writer);
int scsi_unit_restore_drive(struct scsi_unit *unit, const struct state_node *node);
/* What it is. */
void scsi_unit_inspect(const struct scsi_unit *unit, struct state_writer *writer);
