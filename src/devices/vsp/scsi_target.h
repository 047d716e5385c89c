#pragma once

#include "devices/vsp/scsi.h"

/* The commands of a disk, one function each, as scsi_target.c's table lists them. */

/* How much one UNMAP or WRITE SAME may cover, so that none keeps a disk busy for long. */
#define SCSI_UNMAP_DESCRIPTORS_MAX ((SCSI_DATA_MAX - 8) / 16)
#define SCSI_ZERO_BYTES_MAX	   (2ull << 30)
/* The piece in which a WRITE SAME of other data is written. */
#define SCSI_PATTERN_PIECE	   (256u << 10)

/* scsi_cdrom.c: all commands of a drive. */
enum scsi_step scsi_cdrom_begin(struct scsi_task *task);
/* The guest is to find another medium. */
void scsi_drive_changed(struct scsi_drive *drive);
/* scsi_target.c */
enum scsi_step scsi_request_sense(struct scsi_task *task);
/* True where the CDB is whole and asks for no control that we lack. */
bool scsi_cdb_sound(const struct scsi_task *task);
/* scsi_inquiry.c */
enum scsi_step scsi_inquiry(struct scsi_task *task);
/* scsi_mode.c */
enum scsi_step scsi_mode_sense_6(struct scsi_task *task);
enum scsi_step scsi_mode_sense_10(struct scsi_task *task);
/* scsi_io.c: data in and out */
enum scsi_step scsi_read_6(struct scsi_task *task);
enum scsi_step scsi_read_10(struct scsi_task *task);
enum scsi_step scsi_read_12(struct scsi_task *task);
enum scsi_step scsi_read_16(struct scsi_task *task);
enum scsi_step scsi_write_6(struct scsi_task *task);
enum scsi_step scsi_write_10(struct scsi_task *task);
enum scsi_step scsi_write_12(struct scsi_task *task);
enum scsi_step scsi_write_16(struct scsi_task *task);
enum scsi_step scsi_synchronize_cache_10(struct scsi_task *task);
enum scsi_step scsi_synchronize_cache_16(struct scsi_task *task);
/* scsi_zero.c: UNMAP and WRITE SAME */
enum scsi_step scsi_unmap(struct scsi_task *task);
enum scsi_step scsi_unmap_fetched(struct scsi_task *task);
enum scsi_step scsi_unmap_next(struct scsi_task *task);
enum scsi_step scsi_write_same_10(struct scsi_task *task);
enum scsi_step scsi_write_same_16(struct scsi_task *task);
enum scsi_step scsi_write_same_fetched(struct scsi_task *task);
enum scsi_step scsi_write_same_next(struct scsi_task *task);

/* Ends the task well, without or with length bytes of data (cut to the allocation length). */
enum scsi_step scsi_good(struct scsi_task *task);
enum scsi_step scsi_answer(struct scsi_task *task, uint32_t length, uint32_t allocation);
/* The refusals that every command needs. */
enum scsi_step scsi_invalid_field(struct scsi_task *task);
enum scsi_step scsi_out_of_range(struct scsi_task *task);

/* Turns blocks into bytes in task->offset and length; false where they leave the disk. */
bool scsi_set_range(struct scsi_task *task, uint64_t lba, uint64_t blocks);
