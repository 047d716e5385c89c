#pragma once

#include <semaphore.h>
#include <stdatomic.h>

#include "devices/block/figures.h"
#include "devices/block/full.h"
#include "devices/block/limit.h"
#include "devices/device.h"
#include "devices/vsp/scsi_unit.h"
#include "devices/vsp/storvsp_wire.h"

/*
 * What the parts of the storage VSP share: storvsp.c (the device), storvsp_channel.c (channels
 * and their requests), storvsp_disks.c (the disks), storvsp_limits.c (how fast they may be),
 * storvsp_full.c (a host without room), storvsp_protocol.c (initialization),
 * storvsp_srb.c (SCSI commands), storvsp_ide.c (the same for a disk of IDE's), storvsp_state.c
 * (save, restore, inspect).
 *
 * A channel and its requests belong to its I/O thread; the device belongs to the main loop, which
 * reaches a channel by io_thread_call.  Nothing on a request's path takes a lock.
 */

#define STORVSP_LUNS_MAX     64
/* What one request may move; the guest learns it from the properties. */
#define STORVSP_TRANSFER_MAX (1u << 20)
/* A transfer in pages, and one more as it may start inside a page. */
#define STORVSP_IOV_MAX	     (STORVSP_TRANSFER_MAX / 4096 + 1)
/* In flight on one channel; what more a guest sends waits on its ring. */
#define STORVSP_REQUESTS_MAX 256

/* How far the guest has come with the protocol. */
enum storvsp_phase {
	STORVSP_BEGIN,	    /* wants BEGIN_INITIALIZATION */
	STORVSP_VERSION,    /* wants QUERY_PROTOCOL_VERSION, until one is agreed */
	STORVSP_PROPERTIES, /* wants QUERY_PROPERTIES */
	STORVSP_END,	    /* wants END_INITIALIZATION */
	STORVSP_READY,
	STORVSP_PHASES,
};

/* A timed request that has come to its end, and will be counted with the others of its batch. */
struct storvsp_finished {
	uint64_t taken; /* off the ring, ns */
	uint8_t lun;
	uint8_t timed;
};

/* There where the controller's lun_mask has its bit. */
struct storvsp_lun {
	struct scsi_unit unit;
	struct block_limiter own;
	struct block_limiter *limiter; /* that one, or the IDE controller's for the same disk */
};

/* An I/O thread's queues, by LUN; made when the first channel opens there. */
struct storvsp_thread {
	struct io_thread *thread;
	bool attached;
	struct block_queue *queues[STORVSP_LUNS_MAX];
	struct block_limit_queue *limits[STORVSP_LUNS_MAX]; /* where the LUN has limits */
};

struct storvsp_channel;

struct storvsp_request {
	struct storvsp_channel *channel;
	struct storvsp_request *next; /* in the free list, or those that wait to be answered */
	uint64_t transaction_id;
	bool answer_wanted;
	/* Between submit and its return: a done that comes meanwhile is left to the submitter. */
	bool submitting;
	bool done_early;
	int early_result;
	uint8_t lun;
	uint8_t timed;	/* an index of block_latencies, or BLOCK_TIMED: it is not */
	uint64_t taken; /* off the ring, ns, where it is */
	uint16_t answer_size;
	unsigned int iov_count;
	uint32_t moved;		    /* bytes put into, or taken from, the guest's buffer */
	struct vstor_packet packet; /* the request, then the answer */
	struct block_request block;
	struct iovec iov[STORVSP_IOV_MAX]; /* the guest's buffer, or a pattern's pieces */
	struct scsi_task task;
};

struct storvsp_request_list {
	struct storvsp_request *first;
	struct storvsp_request **end;
};

static inline void storvsp_list_reset(struct storvsp_request_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static inline void storvsp_list_add(struct storvsp_request_list *list,
				    struct storvsp_request *request)
{
	request->next = NULL;
	*list->end = request;
	list->end = &request->next;
}

static inline struct storvsp_request *storvsp_list_take(struct storvsp_request_list *list)
{
	struct storvsp_request *request = list->first;

	if (!request)
		return NULL;
	list->first = request->next;
	if (!list->first)
		list->end = &list->first;
	return request;
}

struct storvsp_channel {
	struct storvsp *storvsp;
	struct channel *channel; /* NULL while closed */
	struct storvsp_thread *thread;
	/* Requests that were never used are never touched, so that they cost no memory. */
	struct storvsp_request *requests;
	unsigned int requests_touched;
	struct storvsp_request *free;
	struct storvsp_request_list answers; /* that found the ring full */
	struct storvsp_request_list resets;  /* that wait for what was in flight before */
	struct storvsp_request_list held;    /* for which the host had no room */
	unsigned int in_flight;		     /* at a backend */
	bool paused;
	bool closing;
	bool more; /* packets were left on the ring for later */
	struct io_batch_work batch;
	bool draining;
	sem_t drained;
	struct block_counters counters[STORVSP_LUNS_MAX];
	/* When the requests in hand were taken off the ring; 0: the clock has not been read yet. */
	uint64_t clock;
	struct storvsp_finished finished[STORVSP_REQUESTS_MAX];
	unsigned int finished_count;
	struct block_latencies latencies[STORVSP_LUNS_MAX]; /* touched by those in use alone */
};

/* How far the guest has let go of a controller that is about to leave; the main loop's, but for
 * refused and begun. */
struct storvsp_retirement {
	bool begun; /* the guest finds no disks; changes while channels rest */
	struct vmbus_silence silence;
	_Atomic uint64_t refused; /* commands to disks, of which there are none any more */
	bool asked;		  /* to look anew, when it had */
	uint64_t asked_packets;	  /* sent, and */
	uint64_t asked_refused;	  /* commands refused */
};

struct storvsp {
	struct device_env env;
	struct vmbus_offer *offer;
	struct guid instance;
	uint8_t target; /* where the LUNs are: 0, but for a disk of IDE's */
	unsigned int subchannels_max;
	bool quiesced;
	char id[32];	    /* as the parent calls the controller */
	unsigned int place; /* what it calls LUN 0: 0, but for a disk of IDE's */
	struct block_full full;
	struct storvsp_retirement retirement;
	/* Changed by the primary channel's thread, read by those of the sub-channels. */
	_Atomic enum storvsp_phase phase;
	/* The guest has sent a SCSI command since its channel was opened.  Any channel's thread. */
	_Atomic bool in_use;
	uint16_t version; /* agreed, VSTOR_VERSION_ */
	struct storvsp_lun luns[STORVSP_LUNS_MAX];
	uint64_t lun_mask;
	bool enumeration_due; /* the guest must look anew; the primary channel's thread */
	struct storvsp_thread *threads;
	struct storvsp_channel *channels; /* 1 + subchannels_max */
};

/* storvsp.c.  Main loop.  Channels, threads and the offer, when all else of the device is there;
 * label may be NULL; -errno with a sentence.  storvsp_free is for a device without an offer. */
int storvsp_finish(struct storvsp *storvsp, const struct guid *class_id, const char *label,
		   struct error *err);
void storvsp_free(struct storvsp *storvsp);
/* Of device_ops. */
void storvsp_quiesce(void *device);
void storvsp_unquiesce(void *device);

/*
 * storvsp_disks.c.  Main loop; no request is in flight.  Opening takes the disk that config
 * describes, at its place in the list where it names no LUN, and leaves its descriptor open;
 * -errno with a sentence.  Closing is harmless where no disk is.
 */
int storvsp_open_disk(struct storvsp *storvsp, const json_t *config, size_t place,
		      struct error *err);
void storvsp_close_disk(struct storvsp *storvsp, unsigned int index);
/* Gives the thread a queue of every disk for which it has none yet; -errno. */
int storvsp_attach_disks(struct storvsp *storvsp, struct storvsp_thread *thread);
extern const struct device_verb storvsp_verbs[];
/* Hides the disks; of device_ops and vsp_ops. */
bool storvsp_retire(void *device);
/* The LUN that parameters give by "lun" or by the disk's "name"; -errno with a sentence. */
int storvsp_find_disk(const struct storvsp *storvsp, const json_t *parameters, struct error *err);
/* Channels rest while the disks change, for their threads read them without a lock; what begin
 * returned is for end. */
bool storvsp_begin_change(struct storvsp *storvsp);
void storvsp_end_change(struct storvsp *storvsp, bool was_quiesced);

/* storvsp_limits.c.  Main loop, no request in flight, by another way to the disk neither. */
/* Puts them in force, on every thread that serves a channel; -errno, and there are none then. */
int storvsp_set_limits(struct storvsp *storvsp, unsigned int lun,
		       const struct block_limits *limits);
/* No thread has to do with them any more. */
void storvsp_detach_limits(struct storvsp *storvsp, unsigned int lun);
/* Gives the thread what it needs for the LUNs that have limits; -errno.  That thread. */
int storvsp_attach_limits(struct storvsp *storvsp, struct storvsp_thread *thread);
/* Ends all waiting on the thread.  That thread. */
void storvsp_release_limits(struct storvsp_thread *thread);
void storvsp_save_limits(const struct storvsp *storvsp, struct state_writer *writer);
int storvsp_restore_limits(struct storvsp *storvsp, const struct state_node *node);
/* Verb "set-limits": {"lun" or "name", "iops", "bandwidth"}. */
void storvsp_verb_set_limits(void *device, const json_t *parameters, struct device_call *call);

/* storvsp_latency.c.  I/O thread: a request goes to a backend for the first time; it has come to
 * its end; and so has the batch, in which the guest hears of it.  The clock is read twice for all
 * requests of a batch. */
void storvsp_time_begin(struct storvsp_request *request);
void storvsp_time_end(struct storvsp_request *request);
void storvsp_time_batch(struct storvsp_channel *channel);

/* storvsp_channel.c */
extern const struct vsp_ops storvsp_vsp;
/* Answers a request with its packet as it stands and lets go of it.  I/O thread. */
void storvsp_answer(struct storvsp_request *request);
/* Takes an unused request; NULL when all are in use.  I/O thread, or with the channel paused. */
struct storvsp_request *storvsp_request_take(struct storvsp_channel *channel);
/* Puts it with those that wait for the ring to have space.  As above. */
void storvsp_answer_later(struct storvsp_request *request);
/* Stops the channel; when it returns, nothing of it touches guest memory.  Main loop. */
void storvsp_channel_pause(struct storvsp_channel *channel);
void storvsp_channel_resume(struct storvsp_channel *channel);
/* Tells the guest that disks have come or gone: soon, or when it runs again.  Main loop. */
void storvsp_enumerate(struct storvsp *storvsp);

/* storvsp_protocol.c: everything but EXECUTE_SRB.  I/O thread. */
void storvsp_control(struct storvsp_request *request, uint32_t payload_size);
/* The one way that the phase changes. */
void storvsp_set_phase(struct storvsp *storvsp, enum storvsp_phase phase);

/* storvsp_state.c: of device_ops.  Main loop. */
#define STORVSP_STATE_VERSION 2
void storvsp_save(void *device, struct state_writer *writer);
int storvsp_restore(void *device, const struct state_node *node);
void storvsp_inspect(void *device, struct state_writer *writer);

/* storvsp_srb.c.  I/O thread. */
void storvsp_execute(struct storvsp_request *request, const struct packet *packet);
/* Hands a request that was held to its backend once more. */
void storvsp_retry(struct storvsp_request *request);
/* Makes a request's packet the answer by which the guest tries it again itself, later. */
void storvsp_fill_busy(struct vstor_packet *packet);

/*
 * storvsp_full.c.  I/O thread: whether a request that failed is held rather than answered, the
 * trying again of those, and the answering of those of a LUN (-1: of all), which the guest then
 * tries again.
 */
bool storvsp_hold(struct storvsp_request *request, int result);
void storvsp_retry_held(struct storvsp_channel *channel);
void storvsp_give_up_held(struct storvsp_channel *channel, int lun);
/* The same on every channel.  Main loop, channels at rest. */
void storvsp_give_up_disk(const struct storvsp *storvsp, int lun);
