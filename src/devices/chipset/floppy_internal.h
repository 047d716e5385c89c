#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io_thread.h"
#include "devices/block/block.h"
#include "devices/block/full.h"
#include "devices/chipset/isa_dma.h"
#include "devices/device.h"
#include "vmm/irq.h"

/*
 * The floppy controller of a PC/AT, an Intel 82077AA, with one drive; and the ISA DMA controllers,
 * which nothing else uses.  Registers, commands and status bits as Intel's data sheet (290166) has
 * them; Linux's drivers/block/floppy.c and SeaBIOS's src/hw/floppy.c show how they are used.
 *
 *   floppy.c           the device: configuration, media, pauses, verbs
 *   floppy_register.c  the ports
 *   floppy_command.c   commands that need no medium
 *   floppy_transfer.c  those that do
 *   floppy_state.c     save, restore, inspect
 *
 * Threads: VPs change registers and are done; data moves on an I/O thread, and meanwhile the chip
 * is busy.  Media change on the main loop.
 * Locks: floppy.lock, then that of the DMA controllers.
 */

#define FLOPPY_SECTOR	     512u
#define FLOPPY_COMMAND_MAX   9u
#define FLOPPY_RESULT_MAX    10u
#define FLOPPY_DRIVES	     4u /* that the chip knows; the first is there */
/* A cylinder of the largest medium. */
#define FLOPPY_BUFFER	     (2u * 36u * FLOPPY_SECTOR)
#define FLOPPY_DMA_CHANNEL   2u
#define FLOPPY_STATE_VERSION 1

/* Digital output register. */
#define FLOPPY_DOR_DRIVE  0x03
#define FLOPPY_DOR_RUN	  0x04 /* no reset */
#define FLOPPY_DOR_ENABLE 0x08 /* interrupt and DMA */

/* Status registers 0 to 3 of a result. */
#define FLOPPY_ST0_ABNORMAL  0x40
#define FLOPPY_ST0_INVALID   0x80
#define FLOPPY_ST0_POLLED    0xc0
#define FLOPPY_ST0_SEEK_END  0x20
#define FLOPPY_ST0_EQUIPMENT 0x10
#define FLOPPY_ST1_END	     0x80
#define FLOPPY_ST1_DATA	     0x20
#define FLOPPY_ST1_OVERRUN   0x10
#define FLOPPY_ST1_NO_DATA   0x04
#define FLOPPY_ST1_PROTECTED 0x02
#define FLOPPY_ST1_NO_MARK   0x01
#define FLOPPY_ST2_DATA	     0x20
#define FLOPPY_ST2_CYLINDER  0x10

/* Bits of a command's first byte. */
#define FLOPPY_MULTITRACK 0x80
#define FLOPPY_OPCODE	  0x1f

enum floppy_phase {
	FLOPPY_COMMAND, /* takes a command's bytes */
	FLOPPY_EXECUTE, /* data is being moved */
	FLOPPY_TAKE,	/* takes data by the FIFO */
	FLOPPY_GIVE,	/* gives data by the FIFO */
	FLOPPY_RESULT,	/* gives a result's bytes */
	FLOPPY_PHASES,
};

enum floppy_kind { FLOPPY_READ, FLOPPY_WRITE, FLOPPY_FORMAT, FLOPPY_VERIFY, FLOPPY_KINDS };

struct floppy_format {
	uint32_t bytes;
	uint8_t cylinders, heads, sectors;
	uint8_t rates; /* bits of those of the data rate register that it is read with */
};

/* A command's way through a medium. */
struct floppy_transfer {
	uint32_t kind; /* enum floppy_kind */
	uint32_t cylinder, head, sector;
	uint32_t last;	  /* sector of the track that the command goes up to */
	uint32_t sectors; /* that it moves */
	uint32_t bytes;	  /* of data; of a format's list */
	uint32_t end;	  /* ST1 where the count of sectors ends it */
	bool multitrack;
};

struct floppy {
	struct device_env env;
	struct io_thread *thread;
	struct irq_level *irq;
	struct isa_dma *dma;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t idle;  /* with busy */
	uint8_t dor, tape, rate, precompensation;
	enum floppy_phase phase;
	uint8_t command[FLOPPY_COMMAND_MAX];
	uint32_t command_count;
	uint8_t result[FLOPPY_RESULT_MAX];
	uint32_t result_count, result_at;
	uint8_t sense[FLOPPY_DRIVES]; /* ST0 that SENSE INTERRUPT is to give, the first first */
	uint32_t sense_count;
	bool interrupt;
	uint8_t specify[2];
	uint8_t config[2]; /* the second and third byte of CONFIGURE */
	uint8_t perpendicular;
	bool locked;
	uint8_t track[FLOPPY_DRIVES];
	uint8_t next_id; /* the sector that READ ID finds next */
	bool changed;	 /* since the heads last stepped over a medium */
	struct floppy_transfer transfer;
	uint32_t data_at; /* in buffer */
	bool busy;	  /* the I/O thread has the transfer */
	bool held; /* the host had no room for what is in buffer: the resume tries it again */
	struct block_full full;
	bool reset_due; /* when it is done with that */

	struct block_disk *disk; /* NULL: there is no medium */
	const struct floppy_format *format;
	struct block_queue *queue; /* the I/O thread's */
	char *name;

	struct io_post start;
	struct block_request request;
	struct iovec iov;
	uint8_t buffer[FLOPPY_BUFFER];
	bool terminal; /* the DMA's count has ended */
	uint64_t reads, writes, errors;
};

/* floppy_register.c */

extern const io_handler floppy_ports, floppy_rate_port;
/* As after power-on.  With the lock held, not busy. */
void floppy_power_on(struct floppy *floppy);
/* Ends a reset by the guest.  With the lock held, not busy. */
void floppy_end_reset(struct floppy *floppy);
/* Brings the interrupt up to date.  With the lock held. */
void floppy_set_interrupt(struct floppy *floppy, bool interrupt);

/* floppy_command.c.  With the lock held. */

/* Bytes of the command that begins with that one; 0: there is none.  Without the lock, too. */
uint32_t floppy_command_length(uint8_t first);
/* A byte of a command; the last one has it executed. */
void floppy_command_byte(struct floppy *floppy, uint8_t byte);
/* What was done needs no result. */
void floppy_no_result(struct floppy *floppy);
void floppy_give_result(struct floppy *floppy, const uint8_t *bytes, uint32_t count,
			bool interrupt);
/* The drive steps to a track. */
void floppy_step(struct floppy *floppy, unsigned int drive, uint8_t track);
static inline bool floppy_by_dma(const struct floppy *floppy)
{
	return !(floppy->specify[1] & 1);
}

/* floppy_transfer.c.  With the lock held. */

void floppy_begin(struct floppy *floppy, enum floppy_kind kind);
void floppy_read_id(struct floppy *floppy);
/* A byte through the FIFO, in the phases for it. */
void floppy_take_byte(struct floppy *floppy, uint8_t byte);
uint8_t floppy_give_byte(struct floppy *floppy);
/* Tries again what is held, or has it fail.  Main loop. */
void floppy_retry(struct floppy *floppy);
void floppy_give_up(struct floppy *floppy);
/* The I/O thread's part of it; without the lock. */
void floppy_start(struct io_post *post);

/* floppy.c */

/* The format of a medium of that size, or NULL. */
const struct floppy_format *floppy_format_of(uint64_t bytes);
/* Waits until the I/O thread has no transfer.  With the lock held; main loop. */
void floppy_wait(struct floppy *floppy);

/* floppy_state.c */

void floppy_save(void *device, struct state_writer *writer);
int floppy_restore(void *device, const struct state_node *node);
void floppy_inspect(void *device, struct state_writer *writer);
