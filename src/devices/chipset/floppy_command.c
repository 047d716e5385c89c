#include <string.h>

#include "base/checked.h"
#include "devices/chipset/floppy_internal.h"

/* Commands, by the opcode's five bits; where the bits above are more than options, whole. */

#define HEAD_SELECT	  0x04
#define DRIVE_SELECT	  0x03
#define CHIP_VERSION	  0x90 /* an 82077AA, or better than a 765 */
#define LOCK_BIT	  0x80
#define LOCK_SHOWN	  0x10
#define STEP_INWARDS	  0x40
#define TRACK_MAX	  83 /* where the heads come to their stop */
#define RECALIBRATE_STEPS 79

#define ST3_PROTECTED 0x40
#define ST3_READY     0x20 /* both lines of the drive that always read so */
#define ST3_TRACK_0   0x10
#define ST3_TWO_SIDES 0x08

void floppy_no_result(struct floppy *floppy)
{
	floppy->phase = FLOPPY_COMMAND;
	floppy->command_count = floppy->result_count = floppy->result_at = 0;
}

void floppy_give_result(struct floppy *floppy, const uint8_t *bytes, uint32_t count, bool interrupt)
{
	memcpy(floppy->result, bytes, count);
	floppy->result_count = count;
	floppy->result_at = 0;
	floppy->phase = FLOPPY_RESULT;
	if (interrupt)
		floppy_set_interrupt(floppy, true);
}

/* The line that tells of a changed medium goes with the first step over a medium. */
void floppy_step(struct floppy *floppy, unsigned int drive, uint8_t track)
{
	if (drive == 0 && floppy->disk && floppy->track[drive] != track)
		floppy->changed = false;
	floppy->track[drive] = track;
}

static void tell_seek(struct floppy *floppy, uint8_t status)
{
	floppy_no_result(floppy);
	if (floppy->sense_count < FLOPPY_DRIVES)
		floppy->sense[floppy->sense_count++] = status;
	floppy_set_interrupt(floppy, true);
}

static void specify(struct floppy *floppy)
{
	memcpy(floppy->specify, floppy->command + 1, 2);
	floppy_no_result(floppy);
}

static void sense_drive(struct floppy *floppy)
{
	uint8_t drive = floppy->command[1] & DRIVE_SELECT;
	uint8_t st3 =
		(floppy->command[1] & (HEAD_SELECT | DRIVE_SELECT)) | ST3_READY | ST3_TWO_SIDES;

	if (floppy->track[drive] == 0 && drive == 0)
		st3 |= ST3_TRACK_0;
	if (drive == 0 && floppy->disk && floppy->disk->geometry.read_only)
		st3 |= ST3_PROTECTED;
	floppy_give_result(floppy, &st3, 1, false);
}

/* A drive that is not there never finds its first track. */
static void recalibrate(struct floppy *floppy)
{
	uint8_t drive = floppy->command[1] & DRIVE_SELECT, from = floppy->track[drive];
	uint8_t to = from > RECALIBRATE_STEPS ? from - RECALIBRATE_STEPS : 0;

	floppy_step(floppy, drive, to);
	tell_seek(floppy,
		  (uint8_t)(FLOPPY_ST0_SEEK_END | drive |
			    (drive || to ? FLOPPY_ST0_ABNORMAL | FLOPPY_ST0_EQUIPMENT : 0)));
}

static void sense_interrupt(struct floppy *floppy)
{
	uint8_t result[2] = {FLOPPY_ST0_INVALID};

	floppy_set_interrupt(floppy, false);
	if (floppy->sense_count == 0) {
		floppy_give_result(floppy, result, 1, false);
		return;
	}
	result[0] = floppy->sense[0];
	result[1] = floppy->track[result[0] & DRIVE_SELECT];
	floppy->sense_count--;
	memmove(floppy->sense, floppy->sense + 1, floppy->sense_count);
	floppy_give_result(floppy, result, 2, false);
}

/* Relative: by so many tracks, outwards or inwards. */
static void seek(struct floppy *floppy)
{
	uint8_t drive = floppy->command[1] & DRIVE_SELECT, to = floppy->command[2];
	unsigned int from = floppy->track[drive];

	if (floppy->command[0] & FLOPPY_MULTITRACK && floppy->command[0] & STEP_INWARDS)
		to = (uint8_t)MIN(from + to, 255u);
	else if (floppy->command[0] & FLOPPY_MULTITRACK)
		to = (uint8_t)(from - MIN(from, (unsigned int)to));
	floppy_step(floppy, drive, (uint8_t)MIN(to, TRACK_MAX));
	/* It counts steps, and cannot know that the heads have come to a stop. */
	floppy->track[drive] = to;
	tell_seek(floppy, (uint8_t)(FLOPPY_ST0_SEEK_END |
				    (floppy->command[1] & (HEAD_SELECT | DRIVE_SELECT))));
}

static void dump_registers(struct floppy *floppy)
{
	uint8_t result[10];

	memcpy(result, floppy->track, FLOPPY_DRIVES);
	memcpy(result + 4, floppy->specify, 2);
	result[6] = (uint8_t)floppy->transfer.last;
	result[7] = (uint8_t)((floppy->locked ? LOCK_BIT : 0) | floppy->perpendicular);
	memcpy(result + 8, floppy->config, 2);
	floppy_give_result(floppy, result, sizeof(result), false);
}

static void version(struct floppy *floppy)
{
	static const uint8_t result = CHIP_VERSION;

	floppy_give_result(floppy, &result, 1, false);
}

static void perpendicular(struct floppy *floppy)
{
	floppy->perpendicular = floppy->command[1] & 0x7f;
	floppy_no_result(floppy);
}

static void configure(struct floppy *floppy)
{
	memcpy(floppy->config, floppy->command + 2, 2);
	floppy_no_result(floppy);
}

static void lock(struct floppy *floppy)
{
	uint8_t result;

	floppy->locked = floppy->command[0] & LOCK_BIT;
	result = floppy->locked ? LOCK_SHOWN : 0;
	floppy_give_result(floppy, &result, 1, false);
}

static void read_data(struct floppy *floppy)
{
	floppy_begin(floppy, FLOPPY_READ);
}

static void write_data(struct floppy *floppy)
{
	floppy_begin(floppy, FLOPPY_WRITE);
}

static void format_track(struct floppy *floppy)
{
	floppy_begin(floppy, FLOPPY_FORMAT);
}

static void verify(struct floppy *floppy)
{
	floppy_begin(floppy, FLOPPY_VERIFY);
}

static const struct {
	uint8_t opcode;
	uint8_t options; /* bits that may be set besides */
	uint8_t bytes;
	void (*execute)(struct floppy *floppy);
} commands[] = {
	{0x02, 0x60, 9, read_data}, /* a track, from its first sector on */
	{0x03, 0x00, 3, specify},	 {0x04, 0x00, 2, sense_drive},
	{0x05, 0xc0, 9, write_data},	 {0x06, 0xe0, 9, read_data},
	{0x07, 0x00, 2, recalibrate},	 {0x08, 0x00, 1, sense_interrupt},
	{0x09, 0xc0, 9, write_data}, /* deleted data is as good as any */
	{0x0a, 0x40, 2, floppy_read_id}, {0x0c, 0xe0, 9, read_data},
	{0x0d, 0x40, 6, format_track},	 {0x0e, 0x00, 1, dump_registers},
	{0x0f, 0xc0, 3, seek},		 {0x10, 0x00, 1, version},
	{0x12, 0x00, 2, perpendicular},	 {0x13, 0x00, 4, configure},
	{0x14, 0x80, 1, lock},		 {0x16, 0xe0, 9, verify},
};

static void refuse(struct floppy *floppy)
{
	static const uint8_t result = FLOPPY_ST0_INVALID;

	floppy_give_result(floppy, &result, 1, false);
}

/* The index of the command that begins with that byte; past the last one: there is none. */
static size_t find(uint8_t first)
{
	size_t i = 0;

	while (i < ARRAY_LENGTH(commands) && ((first & FLOPPY_OPCODE) != commands[i].opcode ||
					      first & ~FLOPPY_OPCODE & ~commands[i].options))
		i++;
	return i;
}

uint32_t floppy_command_length(uint8_t first)
{
	size_t i = find(first);

	return i < ARRAY_LENGTH(commands) ? commands[i].bytes : 0;
}

void floppy_command_byte(struct floppy *floppy, uint8_t byte)
{
	size_t i;

	if (floppy->command_count < FLOPPY_COMMAND_MAX)
		floppy->command[floppy->command_count++] = byte;
	i = find(floppy->command[0]);
	if (i == ARRAY_LENGTH(commands))
		refuse(floppy);
	else if (floppy->command_count >= commands[i].bytes)
		commands[i].execute(floppy);
}
