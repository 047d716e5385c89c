#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"
#include "devices/vsp/scsi_codes.h"

/*
 * A SCSI disk (SPC-4, SBC-3) or DVD-ROM drive (MMC-6) as pure decisions: which answer, block
 * operation or sense follows from a command.  It moves no data of the guest's and does no I/O;
 * whoever carries the commands does, step by step.  One task belongs to one thread at a time;
 * nothing here is shared.
 */

#define SCSI_CDB_MAX	     16
#define SCSI_SENSE_SIZE	     18
#define SCSI_DATA_MAX	     4096
/* The identity of a disk: an NAA identifier. */
#define SCSI_IDENTIFIER_SIZE 8

/* The block of a DVD. */
#define SCSI_CDROM_BLOCK 2048

/* What has happened to a drive's medium (MMC-6 6.6.2.5). */
enum scsi_drive_event {
	SCSI_DRIVE_NO_EVENT = 0,
	SCSI_DRIVE_NEW_MEDIUM = 2,
	SCSI_DRIVE_REMOVED = 3,
};

/* A drive for removable media: what changes while the guest runs.  Any thread, save loaded, which
 * changes while no task is in hand. */
struct scsi_drive {
	bool loaded;
	atomic_bool open;      /* the guest opened the tray */
	atomic_bool locked;    /* it keeps its own programs from doing so; the host may */
	atomic_bool attention; /* it has not been told yet that the medium changed */
	atomic_uint event;     /* enum scsi_drive_event, that it has not asked for yet */
};

/* A medium was put in, or taken out.  No task is in hand. */
void scsi_drive_load(struct scsi_drive *drive, bool loaded);
/* As at power-on, with the medium that is in it.  No task is in hand. */
void scsi_drive_reset(struct scsi_drive *drive);

/* What commands on one logical unit are judged by. */
struct scsi_disk {
	struct scsi_drive *drive;	/* NULL for a disk */
	struct block_geometry geometry; /* logical_block <= SCSI_DATA_MAX */
	uint32_t max_transfer_bytes;
	uint8_t identifier[SCSI_IDENTIFIER_SIZE];
};

struct scsi_sense {
	uint8_t key;  /* enum scsi_sense_key */
	uint16_t asc; /* enum scsi_asc */
};

/* What is to be done next for a task. */
enum scsi_step {
	/* Nothing: status and sense are the outcome. */
	SCSI_STEP_FINISHED,
	/* Finished well, and the first length bytes of data go to the guest, as far as its
	 * buffer reaches. */
	SCSI_STEP_ANSWER,
	/* Copy length bytes of the guest's buffer (it has that many) to data, then scsi_fetched. */
	SCSI_STEP_FETCH,
	/* Run operation (READ or WRITE) on the first length bytes of the guest's buffer (it has
	 * that many), then scsi_block_done. */
	SCSI_STEP_TRANSFER,
	/* Write length bytes that repeat all SCSI_DATA_MAX of data, then scsi_block_done. */
	SCSI_STEP_PATTERN,
	/* Run operation, which moves no data, then scsi_block_done. */
	SCSI_STEP_BLOCK,
};

struct scsi_task {
	/* To be set before scsi_begin. */
	const struct scsi_disk *disk;
	uint8_t cdb[SCSI_CDB_MAX];
	uint8_t cdb_length;
	uint32_t buffer_bytes; /* how much the guest's buffer holds */

	/* What a step needs. */
	enum block_operation operation;
	uint64_t offset; /* in bytes on the disk */
	uint64_t length; /* in bytes */
	bool force_unit_access;
	bool may_unmap;

	/* The outcome. */
	uint8_t status; /* enum scsi_status */
	struct scsi_sense sense;

	/* The target's own: what of UNMAP and WRITE SAME is still to be done. */
	uint64_t pattern_left;
	uint32_t unmap_next;
	uint32_t unmap_count;

	uint8_t data[SCSI_DATA_MAX];
};

/* Each returns the next step.  result: as block_request's done gives it. */
enum scsi_step scsi_begin(struct scsi_task *task);
enum scsi_step scsi_fetched(struct scsi_task *task);
enum scsi_step scsi_block_done(struct scsi_task *task, int result);

/* Answers for a place without a disk (task->disk is not looked at): INQUIRY says so, anything
 * else is refused with LOGICAL UNIT NOT SUPPORTED. */
enum scsi_step scsi_begin_absent(struct scsi_task *task);

/* REPORT LUNS: luns has a bit for each logical unit that is there. */
enum scsi_step scsi_report_luns(struct scsi_task *task, uint64_t luns);

/* Sets CHECK CONDITION with that sense, and is the step that follows. */
enum scsi_step scsi_refuse(struct scsi_task *task, enum scsi_sense_key key, enum scsi_asc asc);

/* Writes the sense in the fixed format (SPC-4 4.5.3). */
void scsi_format_sense(const struct scsi_sense *sense, uint8_t data[SCSI_SENSE_SIZE]);
