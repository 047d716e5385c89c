#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/latency.h"
#include "base/throttle.h"
#include "devices/device.h"
#include "devices/net/frame.h"
#include "devices/net/net.h"
#include "devices/net/toeplitz.h"
#include "devices/vsp/nvsp_wire.h"
#include "devices/vsp/rndis_wire.h"
#include "vmbus/vsp.h"
#include "vmbus/wire.h"

/*
 * What the parts of the network VSP share:
 *
 *   netvsp.c            the device: configuration, creation, pauses
 *   netvsp_lane.c       the port's queues, each on its I/O thread, and their receive buffers
 *   netvsp_channel.c    channels: opened, closed, served, and packets answered
 *   netvsp_nvsp.c       versions, buffers, sub-channels
 *   netvsp_control.c    RNDIS messages but packets;  netvsp_oid.c what they ask and set
 *   netvsp_transmit.c   packets from the guest
 *   netvsp_receive.c    frames to the guest
 *   netvsp_limits.c     how fast it may be
 *   netvsp_area.c       the guest's receive and send buffers
 *   netvsp_capture.c    frames for a capture file
 *   netvsp_state.c      save, restore, inspect
 *
 * Threads: a lane is a queue of the port with its I/O thread; a channel belongs to one lane, and
 * runs on its thread.  The NVSP and RNDIS protocols run on the primary channel, so on lane 0's.
 * A frame may be for a channel of another lane: it is then handed over.  The device belongs to
 * the main loop, which reaches a lane by io_thread_call.
 *
 * Locks, all leaves: netvsp.lock (settings that lanes copy), lane.lock (sections given back) and
 * channel.inbox_lock (frames handed over).
 */

#define NETVSP_CHANNELS_MAX  64u
/* Frames on their way from one channel to the backend. */
#define NETVSP_TRANSMITS     512u
/* What one packet from the guest may need of them at most. */
#define NETVSP_MESSAGES_MAX  32u
#define NETVSP_SEGMENTS_MAX  128u
#define NETVSP_RESERVE	     (NETVSP_MESSAGES_MAX + NETVSP_SEGMENTS_MAX)
/* Pieces of guest memory in one packet. */
#define NETVSP_PIECES_MAX    96u
/* The largest control message. */
#define NETVSP_CONTROL_MAX   2048u
#define NETVSP_RESPONSE_MAX  512u
#define NETVSP_ANSWER_MAX    448u
#define NETVSP_RESPONSES     8u
#define NETVSP_AREA_MAX	     (32u << 20)
#define NETVSP_SEND_SECTION  6144u
/* In a section of the receive buffer, before the frame: RNDIS header and per-packet information. */
#define NETVSP_ROOM	     128u
#define NETVSP_BUFFERS	     64u
/* For the largest frame in the smallest sections. */
#define NETVSP_BUFFER_PIECES 40u
#define NETVSP_RANGES_MAX    128u
#define NETVSP_TABLE_ENTRIES 128u
#define NETVSP_MULTICAST_MAX 64u
#define NETVSP_SECTION_NONE  UINT32_MAX
/* Of the first lane's, that frames leave to answers. */
#define NETVSP_KEPT_SECTIONS 4u
#define NETVSP_NAME_MAX	     64u

struct netvsp;
struct netvsp_channel;
struct netvsp_lane;

/* How far the guest has come with NVSP. */
enum netvsp_phase {
	NETVSP_BEGIN, /* wants INIT */
	NETVSP_READY, /* a version is agreed */
	NETVSP_PHASES,
};

/* A buffer of the guest's, found by page. */
struct netvsp_area {
	uint8_t **pages;
	uint32_t bytes;
	uint32_t gpadl;
	uint16_t id;
};

/* A section of the receive buffer.  Belongs to one thread at a time, but for sent_on. */
struct netvsp_section {
	uint32_t next;	     /* of the frame, the packet, or those free */
	uint32_t next_frame; /* of the first one of a frame: of a queue of frames */
	uint32_t frame_bytes;
	uint16_t bytes; /* for the guest to see */
	bool held;	/* not free */
	/* Of the first one of a packet, whose number is the transaction: 1 + the channel that it
	 * was sent on.  A guest may complete any transaction on any channel. */
	_Atomic uint8_t sent_on;
};

struct netvsp_receive {
	struct netvsp_area area;
	uint32_t section_bytes;
	uint32_t section_count;
	struct netvsp_section *sections;
};

struct netvsp_counters {
	uint64_t frames;
	uint64_t bytes;
	uint64_t dropped;
	uint64_t invalid;
};

/* Figures are written by one thread and read by others. */
static inline void netvsp_count(uint64_t *counter, uint64_t add)
{
	__atomic_store_n(counter, *counter + add, __ATOMIC_RELAXED);
}

/* What the guest has set, and received frames are treated by.  Each lane has a copy. */
struct netvsp_settings {
	uint32_t filter;
	uint8_t mac[NET_MAC_BYTES];
	uint32_t multicast_count;
	uint8_t multicast[NETVSP_MULTICAST_MAX][NET_MAC_BYTES];
	bool strip_vlan;
	bool rsc; /* negotiated, for either IP */
	bool rsc_ip4;
	bool rsc_ip6;
	/* RSS */
	uint32_t hash_types; /* 0: off */
	uint32_t table_entries;
	uint8_t table[NETVSP_TABLE_ENTRIES]; /* channels */
	uint8_t key[TOEPLITZ_KEY_BYTES];
};

/* A buffer that the backend holds. */
struct netvsp_buffer {
	struct net_buffer buffer;
	struct netvsp_buffer *next; /* of those unused */
	uint32_t first;		    /* section; NETVSP_SECTION_NONE: its content is dropped */
	struct iovec iov[NETVSP_BUFFER_PIECES];
};

struct netvsp_lane {
	struct netvsp *netvsp;
	unsigned int index;
	struct io_thread *thread;
	struct net_queue *queue;
	/* The thread's. */
	bool running; /* resumed */
	bool suspending;
	bool waited; /* the main loop waits for it; otherwise it resumes at once */
	const struct netvsp_receive *seen; /* what its buffers are for */
	struct netvsp_buffer *buffers;
	struct netvsp_buffer *unused;
	uint8_t *scratch; /* where what nobody wants is read to */
	uint32_t free_first;
	uint32_t free_count;
	uint32_t generation; /* of settings */
	struct netvsp_settings settings;
	struct toeplitz toeplitz;
	sem_t suspended;
	struct io_timer *timer; /* NULL while the NIC has never had a limit */
	uint64_t wake_at;	/* what it is set to; 0: nothing */
	bool receive_held;	/* the backend got no buffer for the limit's sake */
	/* Guarded by lock. */
	pthread_mutex_t lock;
	uint32_t returned_first;
	uint32_t returned_count;
	bool hungry; /* the backend asked for a buffer in vain */
	bool wake_posted;
	struct io_post wake;
	/* netvsp_count */
	uint64_t filtered;
	uint64_t no_buffer;
	uint64_t malformed;
	uint64_t limit_waits;
};

/* A VMBus packet with RNDIS messages, until all its frames are sent. */
struct netvsp_packet {
	struct netvsp_packet *next;
	uint64_t transaction_id;
	uint32_t outstanding;
	bool answer_wanted;
	uint8_t answer_bytes;
	struct nvsp_message answer;
};

struct netvsp_transmit {
	struct net_transmit transmit;
	struct netvsp_channel *channel;
	struct netvsp_packet *packet;
	struct netvsp_transmit *next;
	uint64_t taken; /* off the ring, ns */
	uint8_t header[FRAME_HEADER_MAX + FRAME_VLAN_BYTES];
	struct iovec iov[2 + NETVSP_PIECES_MAX];
};

/* Frames that are timed together. */
#define NETVSP_TIMED_MAX 256u

struct netvsp_channel {
	struct netvsp *netvsp;
	unsigned int index;
	struct netvsp_lane *lane;
	struct channel *channel; /* NULL while closed.  Main loop */
	_Atomic bool open;	 /* changed by the lane's thread */
	/* The lane's thread's. */
	bool more; /* packets were left on the ring for later */
	bool held; /* for the limit's sake */
	struct io_batch_work batch;
	/* Those never used are never touched, so that they cost no memory. */
	struct netvsp_transmit *transmits;
	struct netvsp_transmit *free_transmit;
	uint32_t transmits_touched;
	uint32_t transmits_free;
	struct netvsp_packet *packets;
	struct netvsp_packet *free_packet;
	uint32_t packets_touched;
	struct netvsp_packet *answers; /* that found the ring full; the oldest first */
	struct netvsp_packet **answers_end;
	/* Frames to the guest: the packet in the making, then those that found the ring full. */
	struct vmbus_transfer_range ranges[NETVSP_RANGES_MAX];
	uint32_t range_count;
	uint32_t packet_first;
	uint32_t packet_last;
	uint32_t backlog_first;
	uint32_t backlog_last;
	bool ring_full;
	struct netvsp_counters sent;
	struct netvsp_counters received;
	/* When the frames in hand were taken off the ring; 0: the clock has not been read yet. */
	uint64_t clock;
	/* When those were that the host has taken, until they are counted with their batch. */
	uint64_t taken[NETVSP_TIMED_MAX];
	unsigned int taken_count;
	struct latency send_latency;
	/* Guarded by inbox_lock: frames of other lanes' threads. */
	pthread_mutex_t inbox_lock;
	uint32_t inbox_first;
	uint32_t inbox_last;
	bool inbox_posted;
	struct io_post inbox;
};

/* An RNDIS message to the guest. */
struct netvsp_response {
	uint32_t bytes;
	uint8_t data[NETVSP_RESPONSE_MAX];
};

#define NETVSP_ID_MAX 32

struct netvsp {
	struct device_env env;
	struct vmbus_offer *offer;
	struct guid instance;
	struct net_port *port;
	char name[NETVSP_NAME_MAX];
	char id[NETVSP_ID_MAX]; /* of the device; "" for none */
	uint8_t permanent_mac[NET_MAC_BYTES];
	struct capture *capture;    /* of frames; NULL: none */
	uint64_t link_speed;	    /* bits a second */
	unsigned int channel_count; /* at most */
	unsigned int lane_count;
	struct netvsp_lane *lanes;
	struct netvsp_channel *channels;
	_Atomic uint64_t bandwidth; /* bits a second, each way; 0: no limit */
	struct throttle transmit_limit;
	struct throttle receive_limit;
	/* Main loop. */
	bool quiesced;
	bool primary_open;
	struct vmbus_silence silence; /* as netvsp_retire found it */
	/* Lane 0's thread, or with all of it at rest: the protocol. */
	enum netvsp_phase phase;
	uint32_t version;
	uint32_t ndis_version;
	uint64_t capabilities;
	uint32_t mtu; /* that the guest has set */
	bool rndis_initialized;
	unsigned int subchannels;			    /* that the guest asked for */
	struct netvsp_response responses[NETVSP_RESPONSES]; /* that wait; the oldest first */
	uint32_t response_count;
	_Atomic bool link_up;
	bool link_told; /* what the guest was told last */
	bool carrier;	/* of the port */
	bool retiring;	/* the link is down whatever the carrier is, and nothing is received */
	bool table_due; /* the guest is to get a send indirection table */
	/* Set by lane 0's thread, read by all; memory stays until the primary is closed. */
	struct netvsp_receive *_Atomic receive;
	struct netvsp_area *_Atomic send;
	struct netvsp_receive *receive_area;
	struct netvsp_area *send_area;
	_Atomic uint32_t generation;
	struct netvsp_settings settings; /* lane 0's thread's own */
	pthread_mutex_t lock;		 /* of published */
	struct netvsp_settings published;
};

/* netvsp_area.c */

/* The GPADL's memory, which must be whole pages.  -errno.  I/O thread or main loop. */
int netvsp_area_map(struct netvsp_area *area, const struct channel *channel, uint32_t gpadl,
		    uint16_t id);
void netvsp_area_unmap(struct netvsp_area *area);
/* [offset, offset + bytes) lies in the area: its pieces, from entry used on.  -E2BIG. */
int netvsp_area_pieces(const struct netvsp_area *area, uint32_t offset, uint32_t bytes,
		       struct iovec *iov, unsigned int used, unsigned int max);
/* Copies; as above. */
void netvsp_area_write(const struct netvsp_area *area, uint32_t offset, const void *data,
		       uint32_t bytes);
void netvsp_area_read(const struct netvsp_area *area, uint32_t offset, void *data, uint32_t bytes);
/* Makes the receive buffer of an area: sections for frames of mtu bytes of payload, all held by
 * nobody.  -errno. */
int netvsp_receive_new(const struct netvsp_area *area, uint32_t mtu, struct netvsp_receive **out);
void netvsp_receive_free(struct netvsp_receive *receive);

/* netvsp.c.  Main loop: lanes run while the primary channel is open and the device is not quiesced.
 */
void netvsp_update_lanes(struct netvsp *netvsp);

/* netvsp_lane.c */

int netvsp_lane_init(struct netvsp *netvsp, unsigned int index);
/* Stopped; frees what init made. */
void netvsp_lane_cleanup(struct netvsp_lane *lane);
/* Main loop: attaches the queue, once; -errno. */
int netvsp_lane_attach(struct netvsp_lane *lane);
/* Main loop: has traffic go, and stop: then nothing of the queue is at the backend. */
void netvsp_lane_start(struct netvsp_lane *lane);
void netvsp_lane_stop(struct netvsp_lane *lane);
/* All at rest: it has no sections any more. */
void netvsp_lane_forget(struct netvsp_lane *lane);
/* Has every lane renew its buffers: the receive buffer came or went.  Any I/O thread. */
void netvsp_lanes_recycle(struct netvsp *netvsp);
/* Brings the lane's copy of the settings up to date.  The lane's thread. */
void netvsp_lane_settings(struct netvsp_lane *lane);
/* A chain of count sections; NETVSP_SECTION_NONE if fewer than leave would stay free.  The lane's
 * thread. */
uint32_t netvsp_sections_take(struct netvsp_lane *lane, uint32_t count, uint32_t leave);
/* Gives a chain back to the lanes they belong to.  Any I/O thread. */
void netvsp_sections_return(struct netvsp *netvsp, uint32_t first);
/* Deals out the free sections of the receive buffer anew. */
void netvsp_sections_deal(struct netvsp *netvsp);

/* netvsp_limits.c */

/* Makes what the lane needs for a limit, if there is one; -errno.  The lane's thread. */
int netvsp_lane_limit(struct netvsp_lane *lane);
/* Whether the channel may send, or the lane read, now; otherwise it is served again then.  The
 * lane's thread. */
bool netvsp_may_transmit(struct netvsp_channel *channel);
bool netvsp_may_receive(struct netvsp_lane *lane);
/* So many bytes go by.  The lane's thread. */
void netvsp_book(struct netvsp_lane *lane, struct throttle *limit, uint32_t bytes);
/* Main loop: "bandwidth" of config, where it is given; -EINVAL with a sentence. */
int netvsp_read_limits(const json_t *config, uint64_t *bandwidth, struct error *err);
/* Puts it in force; -errno.  Main loop. */
int netvsp_set_limits(struct netvsp *netvsp, uint64_t bandwidth);
extern const struct device_verb netvsp_verbs[];

/* netvsp_channel.c */

extern const struct vsp_ops netvsp_vsp;
void netvsp_channel_init(struct netvsp *netvsp, unsigned int index);
/* A packet's work in hand, outstanding once; NULL if there is none.  The answer: as yet that of
 * RNDIS. */
struct netvsp_packet *netvsp_packet_take(struct netvsp_channel *channel);
/* One thing less is outstanding; with the last the packet is answered. */
void netvsp_packet_put(struct netvsp_channel *channel, struct netvsp_packet *packet);
/* Has it wait for room on the ring (for a restore). */
void netvsp_packet_wait(struct netvsp_channel *channel, struct netvsp_packet *packet);
/* The host has taken the frame, whose time is counted with that of others. */
void netvsp_transmit_timed(struct netvsp_transmit *transmit);
/* One of those that can_take counted on. */
struct netvsp_transmit *netvsp_transmit_take(struct netvsp_channel *channel);
void netvsp_transmit_give(struct netvsp_transmit *transmit);

/* netvsp_nvsp.c.  Lane 0's thread. */
/* The message is one of bytes bytes; its answer is put into packet. */
void netvsp_handle_nvsp(struct netvsp *netvsp, const struct nvsp_message *message, uint32_t bytes,
			struct netvsp_packet *packet);
/* Sends the send indirection table, if it is due. */
void netvsp_send_table(struct netvsp *netvsp);
/* As after power-on; all at rest. */
void netvsp_protocol_reset(struct netvsp *netvsp);
bool netvsp_version_known(uint32_t version);

/* netvsp_control.c.  Lane 0's thread. */

/* An RNDIS message that is no packet: data is a private copy, aligned to 8.  NVSP_STATUS_. */
uint32_t netvsp_handle_control(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes);
/* Sends what waits, as far as there is room. */
void netvsp_send_responses(struct netvsp *netvsp);
void netvsp_link_changed(struct netvsp *netvsp, bool up);
/* Of device_ops: has the link go down for good. */
bool netvsp_retire(void *device);
/* Shows lanes the new settings. */
void netvsp_settings_changed(struct netvsp *netvsp);
/* As after power-on. */
void netvsp_settings_reset(struct netvsp *netvsp);

/* netvsp_oid.c.  Lane 0's thread. */

struct netvsp_query {
	uint32_t oid;
	const uint8_t *info; /* what came with the question, private; NULL for nothing */
	uint32_t info_bytes;
	/* The answer. */
	uint32_t status; /* RNDIS_STATUS_ */
	uint32_t bytes;
	uint8_t data[NETVSP_ANSWER_MAX];
};
void netvsp_answer_query(struct netvsp *netvsp, struct netvsp_query *query);
/* RNDIS_STATUS_; data is private. */
uint32_t netvsp_set(struct netvsp *netvsp, uint32_t oid, const uint8_t *data, uint32_t bytes);

/* Shows the settings to the lanes, and the offloads among them to the backend. */
void netvsp_offloads_changed(struct netvsp *netvsp);

/* netvsp_transmit.c.  The channel's thread. */
/* The RNDIS messages of a packet from the guest. */
void netvsp_transmit_messages(struct netvsp_channel *channel, const struct packet *from,
			      const struct nvsp_rndis *rndis, struct netvsp_packet *packet);

/* netvsp_receive.c */

/* A frame is in the chain of sections, which has room for capacity bytes.  The lane's thread. */
void netvsp_receive_frame(struct netvsp_lane *lane, uint32_t first, uint32_t bytes,
			  uint32_t capacity, const struct net_offload *offload);
/* A control message, on the primary: -EAGAIN while there is no room.  Lane 0's thread. */
int netvsp_send_control(struct netvsp *netvsp, const void *data, uint32_t bytes);
/* Sends what is due, as far as there is room.  The channel's thread. */
void netvsp_frames_flush(struct netvsp_channel *channel);
/* The guest has read the packet of that transaction.  The channel's thread. */
void netvsp_frames_done(struct netvsp_channel *channel, uint64_t transaction_id);
/* Takes back all sections that the guest was given on the channel, or was to be.  The channel's
 * thread, before the receive buffer goes. */
void netvsp_frames_drop(struct netvsp_channel *channel);
void netvsp_frames_init(struct netvsp_channel *channel);
void netvsp_inbox_init(struct netvsp_channel *channel);

/* netvsp_capture.c */

struct capture;
/* Begins a capture where the configuration wants one; -errno.  Main loop, before anything runs. */
int netvsp_capture_open(struct netvsp *netvsp, const json_t *config, struct error *err);
/* There is a capture.  Any I/O thread. */
void netvsp_capture_sent(const struct netvsp *netvsp, const struct netvsp_transmit *transmit);
void netvsp_capture_received(const struct netvsp *netvsp, const struct netvsp_receive *receive,
			     uint32_t first, uint32_t bytes);

/* netvsp_state.c: of device_ops.  Main loop. */
#define NETVSP_STATE_VERSION 1
void netvsp_save(void *device, struct state_writer *writer);
int netvsp_restore(void *device, const struct state_node *node);
void netvsp_inspect(void *device, struct state_writer *writer);
