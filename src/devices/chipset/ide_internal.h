#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "devices/block/figures.h"
#include "devices/block/full.h"
#include "devices/block/limit.h"
#include "devices/chipset/ata_codes.h"
#include "devices/device.h"
#include "devices/vsp/scsi_unit.h"

/*
 * What the parts of the IDE controller share: piix4_ide.c (the device and its PCI function),
 * ide_channel.c (task file registers), ide_master.c (bus master), ide_io.c (requests on the I/O
 * thread), ata.c (commands), ata_identify.c, ata_transfer.c (sectors), ata_trim.c, atapi.c
 * (packets), ide_units.c (disks and media), ide_handover.c (disks on the
 * bus), ide_state.c.
 *
 * A channel is a state machine of one command at a time.  Its lock guards all of it; VP threads
 * hold it for the time of a register access, and hand what takes longer (IDE_WORK) to the channel's
 * I/O thread, which holds it between two requests to a backend, but not while it submits one.
 * Meanwhile the guest sees BSY.  Under the lock no other is taken but leaves: those of interrupts,
 * of PCI, and of posts to the I/O thread and the main loop.
 *
 * A write for which the host has no room (devices/block/full.h) stays such a step, which is taken
 * anew when the VM goes on: here, or where its saved state is restored.
 */

#define IDE_CHANNELS	    2u
#define IDE_DEVICES	    2u /* on a channel */
#define IDE_SECTOR	    512u
#define IDE_BUFFER_BYTES    (64u << 10)
/* What one request to a backend moves by DMA. */
#define IDE_CHUNK_BYTES	    (1u << 20)
/* Descriptors may be as small as a word, and two slots of RAM may meet in a sector of them. */
#define IDE_IOV_MAX	    1024u
#define IDE_MULTIPLE_MAX    16u
#define IDE_TRIM_BLOCKS_MAX 8u /* of ranges */
#define IDE_STATE_VERSION   1

/* How far the command in hand is. */
enum ide_phase {
	IDE_IDLE,
	IDE_DATA_IN,  /* DRQ: the guest reads the buffer */
	IDE_DATA_OUT, /* DRQ: it fills the buffer */
	IDE_DMA_WAIT, /* DRQ: for the bus master to go on */
	IDE_WORK,     /* BSY: for the I/O thread */
	IDE_PHASES,
};

/* Registers that the host writes twice for a 48-bit command. */
struct ide_taskfile {
	uint8_t features;
	uint8_t count;
	uint8_t low;
	uint8_t mid;
	uint8_t high;
};

struct ata_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors; /* a track */
};

/* A disk or drive.  The channel's lock, but for what says otherwise. */
struct ide_unit {
	bool present;
	struct scsi_unit scsi;		  /* changes while the channel rests */
	struct block_limiter limiter;	  /* the offered disk's, too; changes while both rest */
	struct block_queue *queue;	  /* the I/O thread's, made by its first request */
	struct block_limit_queue *limits; /* the same */
	uint64_t sectors;		  /* of a disk */

	struct ide_taskfile current;
	struct ide_taskfile previous;
	uint8_t error;
	uint8_t status; /* while no command is in hand */
	struct ata_geometry translation;
	uint8_t multiple; /* sectors a DRQ block of READ MULTIPLE; 0: not set */
	uint8_t mode;	  /* of transfer, as SET FEATURES had it */
	bool write_cache;
	bool revert;		 /* to defaults by a software reset */
	struct scsi_sense sense; /* a drive's, for REQUEST SENSE */

	struct block_counters counters;
	struct block_latencies latencies;
};

/* Where the bus master is in its table. */
struct ide_cursor {
	uint32_t next;	  /* the descriptor to be read */
	uint32_t address; /* of what is left of the one before */
	uint32_t left;
	bool last; /* that was the table's last */
};

/* "Programming Interface for Bus Master IDE Controller", revision 1.0. */
struct ide_master {
	uint8_t command;
	uint8_t status;
	uint32_t table;
	struct ide_cursor cursor;
};

/* The command in hand; what is saved of it. */
struct ide_command {
	enum ide_phase phase;
	uint8_t device;
	uint8_t code;
	uint8_t stage;	 /* the command's own */
	bool failed;	 /* behind what is in the buffer */
	uint32_t filled; /* bytes in the buffer */
	uint32_t at;	 /* where the data register is in it */
	uint32_t end;	 /* of the DRQ block */
	uint32_t moved;	 /* bytes of it that a backend has taken */
	uint64_t next;	 /* sector (of a drive: byte) for the next request */
	uint64_t left;	 /* sectors, or bytes, for those to come */
	uint32_t alone;	 /* sectors to be tried one by one, since one of them failed */
	bool dma;	 /* of a packet command */
	bool held;	 /* the host had no room for its write; not saved: a restore tries it */
	uint32_t limit;	 /* of a DRQ block, in bytes: a packet command's */
};

struct ide;

struct ide_channel {
	struct ide *ide;
	unsigned int index;
	struct io_thread *thread;
	pthread_mutex_t lock;
	struct irq_level *irq;
	struct ide_unit units[IDE_DEVICES];
	uint8_t device;	 /* register */
	uint8_t control; /* register */
	bool interrupt;	 /* INTRQ, of which nIEN may keep the host from seeing */
	struct ide_master master;
	struct ide_command command;
	uint8_t buffer[IDE_BUFFER_BYTES];
	uint8_t resetting; /* devices that are reset once the request in flight has ended */

	/* The I/O thread's side. */
	struct io_post post;
	struct io_post release_post; /* of what limits keep waiting */
	bool posted, release_posted;
	bool in_flight; /* a request is the backend's */
	bool stepping;	/* the I/O thread has the lock, and looks for more to do when it lets go */
	bool paused;
	bool draining;
	sem_t drained;
	bool submitting; /* as in storvsp_request */
	bool done_early;
	int early_result;
	uint64_t begun_ns;
	struct ide_cursor chunk_start;
	uint32_t chunk_sectors;
	unsigned int iov_count;
	struct iovec iov[IDE_IOV_MAX];
	struct block_request request;
	struct scsi_task task;
};

struct pci_function;

struct ide {
	struct device_env env;
	struct pci_function *function; /* NULL where there is no PCI bus: then there is no DMA */
	unsigned int regions;	       /* of ports that were added */
	bool quiesced;
	atomic_bool decoded[IDE_CHANNELS]; /* the channel's ports, by the guest's will */
	struct guid instance;
	struct ide_channel channels[IDE_CHANNELS];
	void *offered[IDE_CHANNELS * IDE_DEVICES]; /* a storvsp_device of each disk, or NULL */
	struct block_full full;
};

/* A command of the set: each function holds the channel's lock. */
struct ata_command {
	/* VP thread. */
	void (*begin)(struct ide_channel *channel);
	/* VP thread: the DRQ block is through.  NULL for commands without data. */
	void (*moved)(struct ide_channel *channel);
	/* I/O thread, phase IDE_WORK: fills channel->request, or goes on without one and returns
	 * false.  NULL for commands that need no I/O. */
	bool (*step)(struct ide_channel *channel);
	/* I/O thread: the request has ended; a phase still IDE_WORK asks for the next step. */
	void (*done)(struct ide_channel *channel, int result);
	uint8_t flags;
};

enum ata_command_flags {
	ATA_FOR_DISK = 0x01,
	ATA_FOR_DRIVE = 0x02,
	ATA_EXT = 0x04, /* 48-bit address */
	ATA_WRITES = 0x08,
	ATA_BY_DMA = 0x10,
	ATA_MULTIPLE = 0x20,
	ATA_FUA = 0x40,
};

static inline struct ide_unit *ide_selected(struct ide_channel *channel)
{
	return &channel->units[channel->device & ATA_DEVICE_1 ? 1 : 0];
}

/* Whose command is in hand. */
static inline struct ide_unit *ide_unit_in_hand(struct ide_channel *channel)
{
	return &channel->units[channel->command.device];
}

/* piix4_ide.c: whether the guest lets the controller do DMA. */
bool ide_may_master(const struct ide *ide);
/* What the guest's configuration says has changed; without locks. */
void ide_configured(struct ide *ide);
/* Device_ops.  Main loop. */
void ide_quiesce(void *device);
void ide_unquiesce(void *device);

/* ide_channel.c.  The channel's lock is the callee's to take in the handlers; it is held for all
 * others. */
void ide_command_block(void *context, struct io_access *access);
void ide_control_block(void *context, struct io_access *access);
void ide_set_interrupt(struct ide_channel *channel, bool asserted);
/* Puts its level onto the wire, as far as the host lets it. */
void ide_show_interrupt(struct ide_channel *channel);
/* The command is over: with DRDY, and ERR where error is not 0; and an interrupt. */
void ide_finish(struct ide_channel *channel, uint8_t error);
/* The same without an interrupt, as PIO reads end. */
void ide_finish_silently(struct ide_channel *channel);
/* A DRQ block of the buffer from at to end. */
void ide_data(struct ide_channel *channel, enum ide_phase phase, uint32_t end, bool interrupt);
/* Registers of a device as its reset leaves them. */
void ide_signature(struct ide_unit *unit);
/* All of the channel as at power-on.  Nothing is in flight. */
void ide_channel_reset(struct ide_channel *channel);
/* What resets wait for has ended. */
void ide_complete_reset(struct ide_channel *channel);

/* ide_io.c.  Has the I/O thread take the next step, with BSY until then.  Lock held. */
void ide_work(struct ide_channel *channel);
/* Has it hand over what limits keep waiting.  Lock held. */
void ide_hurry(struct ide_channel *channel);
void ide_io_init(struct ide_channel *channel);
void ide_io_fini(struct ide_channel *channel);
/* Nothing is in flight, and no step is taken, until the resume.  Main loop, without the lock. */
void ide_pause(struct ide_channel *channel);
void ide_resume(struct ide_channel *channel);
/* Takes the unit's queues away from the I/O thread.  Main loop, paused. */
void ide_detach(struct ide_channel *channel, struct ide_unit *unit);

/* ide_master.c.  io_handler of both channels' registers; context: the ide. */
#define IDE_MASTER_BYTES 16u
void ide_master_access(void *context, struct io_access *access);
/* The channel's interrupt has risen.  Lock held. */
void ide_master_interrupt(struct ide_channel *channel);
/* The guest changed what it lets the controller do.  Without the lock. */
void ide_master_kick(struct ide_channel *channel);
bool ide_master_runs(const struct ide_channel *channel);
/*
 * Takes guest memory for at most bytes bytes from the table to channel->iov, in whole sectors: how
 * many bytes; 0 where the table ends before; -EFAULT for what is no RAM.  I/O thread.
 */
int64_t ide_master_take(struct ide_channel *channel, uint64_t bytes, enum gpa_access access);
/* Copies between data and guest memory from the table; *done: how much, whatever comes of it.
 * -ENODATA where the table ends before, -EFAULT as above.  I/O thread. */
int ide_master_copy(struct ide_channel *channel, uint8_t *data, uint32_t bytes,
		    enum gpa_access access, uint32_t *done);
/* The table names what is no RAM. */
void ide_master_fail(struct ide_channel *channel);
/* It has ended, and the command wants more: stands still until the guest starts it anew. */
void ide_master_stall(struct ide_channel *channel);
/* The command has what it wants. */
void ide_master_finish(struct ide_channel *channel);

/* ata.c: the command of that code, or NULL where there is none for the unit. */
const struct ata_command *ata_command_find(const struct ide_unit *unit, uint8_t code);
/* The flags of the command in hand. */
uint8_t ata_flags(const struct ide_channel *channel);

/* ata_identify.c: IDENTIFY (PACKET) DEVICE's data, IDE_SECTOR bytes.  alone: no other device. */
void ata_identify(const struct ide_unit *unit, unsigned int device, bool alone, uint8_t *data);
/* The geometry of a disk as it is delivered. */
struct ata_geometry ata_default_geometry(uint64_t sectors);

/* ata_transfer.c and its like: the functions of struct ata_command. */
void ata_transfer_begin(struct ide_channel *channel);
void ata_transfer_moved(struct ide_channel *channel);
bool ata_transfer_step(struct ide_channel *channel);
/* What a step took is there again for the next one. */
void ata_transfer_undo(struct ide_channel *channel);
void ata_transfer_done(struct ide_channel *channel, int result);
/* Whether the places of a command that moves sectors are sound, for restore. */
bool ata_transfer_sound(const struct ide_unit *unit, const struct ata_command *functions,
			const struct ide_command *command);
void ata_verify_begin(struct ide_channel *channel);
bool ata_verify_step(struct ide_channel *channel);
void ata_verify_done(struct ide_channel *channel, int result);
void ata_seek_begin(struct ide_channel *channel);
void ata_trim_begin(struct ide_channel *channel);
bool ata_trim_step(struct ide_channel *channel);
void ata_trim_done(struct ide_channel *channel, int result);
void atapi_begin(struct ide_channel *channel);
void atapi_moved(struct ide_channel *channel);
bool atapi_step(struct ide_channel *channel);
void atapi_done(struct ide_channel *channel, int result);
/* Another medium is in the drive: what the command in hand had still to read is not there.  Lock
 * held, channel at rest. */
void atapi_medium_changed(struct ide_channel *channel);
/* Whether the command's stage and places are such as packet commands have, for restore. */
bool atapi_sound(const struct ide_channel *channel, const struct ide_command *command);

/* ide_units.c.  Main loop, channels at rest. */
int ide_open_units(struct ide *ide, const json_t *config, struct error *err);
void ide_close_units(struct ide *ide);
extern const struct device_verb ide_verbs[];
/* The unit of that number: two a channel. */
#define IDE_UNITS (IDE_CHANNELS * IDE_DEVICES)
static inline struct ide_unit *ide_unit(struct ide *ide, unsigned int number)
{
	return &ide->channels[number / IDE_DEVICES].units[number % IDE_DEVICES];
}
static inline struct ide_channel *ide_channel_of(struct ide *ide, unsigned int number)
{
	return &ide->channels[number / IDE_DEVICES];
}

/* ide_handover.c.  Main loop.  Nothing where there is no bus. */
int ide_offer_disks(struct ide *ide, struct error *err);
void ide_withdraw_disks(struct ide *ide);
/* For one of storvsp_device's operations. */
void ide_each_offered(struct ide *ide, void (*operation)(void *device));
/* How fast that disk may be, by both ways together: -errno, and there are no limits then.  The
 * channel is at rest, the unit detached. */
int ide_limit(struct ide *ide, unsigned int place, const struct block_limits *limits);
void ide_save_offered(const struct ide *ide, struct state_writer *writer);
int ide_restore_offered(struct ide *ide, const struct state_node *node);
void ide_inspect_offered(const struct ide *ide, unsigned int place, struct state_writer *writer);

/* ide_state.c: of device_ops. */
void ide_save(void *device, struct state_writer *writer);
int ide_restore(void *device, const struct state_node *node);
void ide_inspect(void *device, struct state_writer *writer);
