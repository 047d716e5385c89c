#pragma once

#include "base/io_thread.h"
#include "devices/device.h"
#include "devices/vsp/nvsp_wire.h"
#include "devices/vsp/rndis_wire.h"
#include "vsc_bus.h"

/*
 * The network driver of the software guest: a VM with one NIC, and frames sent and received over
 * its rings as Linux's hv_netvsc does.  What must not fail ends the program by a sentence.
 */

#define VSC_NET_IO_THREADS_MAX 4
#define VSC_NET_CHANNELS_MAX   8
#define VSC_NET_FRAME_MAX      66000u

/* A frame that came, with what was said of it. */
struct vsc_net_frame {
	struct vsc_net_frame *next;
	uint32_t bytes;
	uint32_t parts; /* RNDIS messages that it came in */
	bool has_checksum, has_hash, has_vlan;
	uint32_t checksum, hash, vlan;
	uint8_t data[VSC_NET_FRAME_MAX];
};

/* How a frame is to be sent; all 0: plain, as a packet of its own in a section. */
struct vsc_net_send {
	uint32_t checksum;   /* RNDIS_INFO_CHECKSUM, if not 0 */
	uint32_t large_send; /* RNDIS_INFO_LARGE_SEND, likewise */
	uint32_t vlan;
	bool has_vlan;
	bool direct;	  /* by GPA-direct ranges */
	bool half_direct; /* RNDIS header in a section, the frame by GPA-direct */
	uint32_t copies;  /* so many messages in the packet, if not 0 */
};

struct vsc_net_channel {
	struct vsc_channel channel;
	uint8_t *packet;	       /* being built or received */
	struct vsc_net_frame *frames;  /* that came; the oldest first */
	struct vsc_net_frame *last;    /* that receive gave out */
	struct vsc_net_frame *partial; /* that more fragments belong to */
	uint64_t transaction;
	uint64_t request;	/* guest memory for frames sent by GPA-direct */
	unsigned int completed; /* packets; and how many by other than success */
	unsigned int refused;
	uint32_t status; /* of the last one */
	bool hold;	 /* received packets are not completed */
	uint64_t held[4096];
	unsigned int held_count;
};

struct vsc_net {
	struct vsc *vsc;
	const struct device_ops *ops;
	void *device;
	struct io_thread *io_threads[VSC_NET_IO_THREADS_MAX];
	unsigned int io_thread_count;
	unsigned int vp_count;
	struct vsc_net_channel channels[VSC_NET_CHANNELS_MAX]; /* 0: the primary */
	uint64_t receive_buffer, send_buffer, request;	       /* guest addresses */
	uint32_t receive_gpadl, send_gpadl;
	uint32_t section_bytes, section_count; /* of the receive buffer */
	uint32_t send_section_bytes;
	uint32_t request_id;
	/* On the primary: */
	struct nvsp_message answer; /* the last of NVSP's */
	bool answered;
	uint8_t control[4096]; /* the last control message */
	uint32_t control_bytes;
	uint32_t table[NVSP_TABLE_ENTRIES]; /* the send indirection table */
	unsigned int tables;		    /* that came */
};

/* Makes the machine, its I/O threads and the NIC that config (JSON, taken over) describes, and
 * connects to the bus.  The channel is not open yet. */
void vsc_net_start(struct vsc_net *net, unsigned int vp_count, unsigned int io_thread_count,
		   json_t *config);
void vsc_net_stop(struct vsc_net *net);
void vsc_net_create(struct vsc_net *net, json_t *config);
void vsc_net_destroy(struct vsc_net *net);
void vsc_net_call(struct vsc_net *net, void (*function)(void *device));
/* Calls a verb of the device on the main loop, with parameters (taken over); whether it did not
 * refuse. */
bool vsc_net_verb(struct vsc_net *net, const char *name, json_t *parameters);

/* Opens the primary channel, or the sub-channel of that index once it is offered. */
void vsc_net_open(struct vsc_net *net, unsigned int index);
/* Asks for a version: the status of the answer. */
uint32_t vsc_net_version(struct vsc_net *net, uint32_t version);
/* All of NVSP's initialization in that version, then RNDIS's. */
void vsc_net_initialize(struct vsc_net *net, uint32_t version, uint32_t mtu);
/* Sends an NVSP message and waits for the answer. */
struct nvsp_message vsc_net_nvsp(struct vsc_net *net, const struct nvsp_message *message,
				 uint32_t bytes);
/* Without an answer. */
void vsc_net_tell(struct vsc_net *net, const struct nvsp_message *message, uint32_t bytes);
/* RNDIS requests: the status.  answer: what came, *bytes of it; room for so many. */
uint32_t vsc_net_query(struct vsc_net *net, uint32_t oid, const void *info, uint32_t info_bytes,
		       void *answer, uint32_t *bytes);
uint32_t vsc_net_set(struct vsc_net *net, uint32_t oid, const void *info, uint32_t info_bytes);
/* Sends any RNDIS control message: the status of the packet's completion. */
uint32_t vsc_net_control(struct vsc_net *net, const void *message, uint32_t bytes);
/* Waits for the next control message, in net->control. */
void vsc_net_wait_control(struct vsc_net *net);
/* RSS with that key (40 bytes) and a table of count channels. */
uint32_t vsc_net_rss(struct vsc_net *net, const uint8_t *key, const uint32_t *table, uint32_t count,
		     uint32_t flags);

/* Sends a frame on the channel; -EAGAIN.  NULL: the one in the channel's memory that was sent
 * directly before.  One thread a channel. */
int vsc_net_send(struct vsc_net *net, unsigned int index, const void *frame, uint32_t bytes,
		 const struct vsc_net_send *how);
/* Waits until the host has completed so many packets in all that were sent on the channel. */
void vsc_net_wait_sent(struct vsc_net *net, unsigned int index, unsigned int completed);
/* Handles some of what has come on the channel; with wait true, at least one packet. */
void vsc_net_poll(struct vsc_net *net, unsigned int index, bool wait);
/* The next frame on the channel; with wait false, NULL if there is none.  Good until the next. */
const struct vsc_net_frame *vsc_net_receive(struct vsc_net *net, unsigned int index, bool wait);
/* Completes what was held. */
void vsc_net_release(struct vsc_net *net, unsigned int index);
