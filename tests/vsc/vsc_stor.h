#pragma once

#include "base/io_thread.h"
#include "devices/device.h"
#include "devices/vsp/storvsp_wire.h"
#include "vsc_bus.h"

/*
 * The storage driver of the software guest: a VM with one SCSI controller, and commands sent over
 * its rings as Linux's hv_storvsc does.  What must not fail ends the program by a sentence.
 */

#define VSC_STOR_IO_THREADS_MAX 4

struct vsc_stor {
	struct vsc *vsc;
	const struct device_ops *ops;
	struct guid class_id; /* of its channels */
	void *device;
	struct io_thread *io_threads[VSC_STOR_IO_THREADS_MAX];
	unsigned int io_thread_count;
	unsigned int vp_count;
	struct vsc_channel channel; /* the primary */
	uint8_t *packet;	    /* being built or received */
};

/* Makes the machine, its I/O threads and the controller that config (JSON, taken over)
 * describes, and connects to the bus.  The channel is not open yet. */
void vsc_stor_start(struct vsc_stor *stor, unsigned int vp_count, unsigned int io_thread_count,
		    json_t *config);
/* The same for a device that offers storage under another class. */
void vsc_stor_start_device(struct vsc_stor *stor, const struct device_ops *ops,
			   const struct guid *class_id, unsigned int vp_count,
			   unsigned int io_thread_count, json_t *config);
void vsc_stor_stop(struct vsc_stor *stor);

/* Makes or ends the device alone, on the main loop. */
void vsc_stor_create(struct vsc_stor *stor, json_t *config);
void vsc_stor_destroy(struct vsc_stor *stor);
/* Runs one of device_ops' functions on the main loop. */
void vsc_stor_call(struct vsc_stor *stor, void (*function)(void *device));

/* Calls a verb of the device on the main loop, with parameters (taken over), and returns its reply;
 * NULL with the sentence in err when it refuses.  It must answer at once. */
json_t *vsc_stor_verb(struct vsc_stor *stor, const char *name, json_t *parameters,
		      struct error *err);

/* Opens the primary channel, or the sub-channel of that index once it is offered. */
void vsc_stor_open(struct vsc_stor *stor, unsigned int index, uint32_t ring_pages,
		   struct vsc_channel *channel);
/* The whole initialization, in that protocol version, on the primary channel. */
void vsc_stor_initialize(struct vsc_stor *stor, uint16_t version);
/* Sends a control operation on the primary channel and waits for the answer. */
struct vstor_packet vsc_stor_control(struct vsc_stor *stor, uint32_t operation, uint16_t value);

struct vsc_stor_command {
	uint8_t cdb[16];
	uint8_t cdb_length;
	uint8_t direction; /* enum vmscsi_direction */
	uint8_t target;
	uint8_t lun;
	uint64_t gpa; /* of the buffer */
	uint32_t bytes;
	uint64_t transaction_id;
};

/* READ(16) or WRITE(16) of bytes at an offset that is a multiple of 512. */
struct vsc_stor_command vsc_stor_transfer(bool write, uint64_t offset, uint64_t gpa, uint32_t bytes,
					  uint64_t transaction_id);

/* One thread a channel; packet has room for VSC_PACKET_MAX. */
int vsc_stor_send(struct vsc_channel *channel, void *packet,
		  const struct vsc_stor_command *command);
/* The next answer: its transaction id; 0 for the host's wish that the bus be enumerated.  With wait
 * false, -1 if there is none. */
int64_t vsc_stor_receive(struct vsc_channel *channel, void *packet, bool wait,
			 struct vstor_packet *answer);
/* Both, for one command on the primary channel with nothing else in flight. */
struct vmscsi_request vsc_stor_execute(struct vsc_stor *stor,
				       const struct vsc_stor_command *command);
