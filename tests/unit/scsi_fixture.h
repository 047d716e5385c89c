#pragma once

#include <string.h>

#include "devices/vsp/scsi.h"
#include "suite.h"

/* One unit and the command that it is given, for tests of the SCSI layer. */
static struct scsi_disk disk;
static struct scsi_task task;

/* Begins a command; the CDB is what follows, its length the array's. */
#define BEGIN(...) begin((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static enum scsi_step begin(const uint8_t *cdb, size_t length)
{
	task.disk = &disk;
	memset(task.cdb, 0, sizeof(task.cdb));
	memcpy(task.cdb, cdb, length);
	task.cdb_length = (uint8_t)length;
	task.buffer_bytes = 1 << 20;
	return scsi_begin(&task);
}

static void good(enum scsi_step step)
{
	ck_assert_int_eq(step, SCSI_STEP_FINISHED);
	ck_assert_int_eq(task.status, SCSI_GOOD);
}

static void answers(enum scsi_step step, uint64_t length)
{
	ck_assert_int_eq(step, SCSI_STEP_ANSWER);
	ck_assert_int_eq(task.status, SCSI_GOOD);
	ck_assert_uint_eq(task.length, length);
}

static void refused(enum scsi_step step, enum scsi_sense_key key, enum scsi_asc asc)
{
	ck_assert_int_eq(step, SCSI_STEP_FINISHED);
	ck_assert_int_eq(task.status, SCSI_CHECK_CONDITION);
	ck_assert_int_eq(task.sense.key, key);
	ck_assert_int_eq(task.sense.asc, asc);
}
