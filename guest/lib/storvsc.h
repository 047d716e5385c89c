#pragma once
/* A SCSI controller's channel, as Linux's drivers/scsi/storvsc_drv.c drives it. */

#include "lib/vmbus.h"

#define STOR_VERSION_WIN10 0x0602
#define STOR_PACKET_SIZE   64
#define SRB_SUCCESS	   1

struct __attribute__((packed)) stor_srb {
	uint16_t length;
	uint8_t srb_status, scsi_status;
	uint8_t port, path, target, lun;
	uint8_t cdb_length, sense_length, data_in, reserved;
	uint32_t transfer_length;
	uint8_t cdb_or_sense[20];
	uint16_t reserved2;
	uint8_t queue_tag, queue_action;
	uint32_t flags, timeout, sort_key;
};

struct __attribute__((packed)) stor_packet {
	uint32_t operation, flags, status;
	union {
		struct stor_srb srb;
		uint8_t bytes[STOR_PACKET_SIZE - 12];
	};
};

extern const uint8_t stor_class_id[16];

/* Open the controller's channel and go through its initialisation; false if any step fails. */
bool stor_open(struct vmbus *bus, struct vmbus_channel *ch, uint32_t ring_pages);
/* Fill in a request of that CDB; data_in as SCSI has it: 0 out, 1 in, 2 none. */
void stor_fill(struct stor_packet *p, uint8_t lun, const uint8_t *cdb, uint8_t cdb_length,
	       uint8_t data_in, uint32_t length);
/* One request, waiting for its end. buf is page-aligned, or NULL. False without an answer. */
bool stor_scsi(struct vmbus_channel *ch, struct stor_packet *p, void *buf, uint32_t length);
