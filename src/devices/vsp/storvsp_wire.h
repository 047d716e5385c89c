#pragma once

#include <assert.h>
#include <stdint.h>

#include "base/guid.h"

/*
 * The storage protocol of VMBus as the guest speaks it (Linux drivers/scsi/storvsc_drv.c).
 * All numbers are little-endian, CDB and sense data as SCSI has them.
 */

/* Class ba6163d9-04a1-4d29-b605-72e2ffb1dc7f, a SCSI controller. */
/* Of one disk on IDE (Linux include/linux/hyperv.h, HV_IDE_GUID). */
#define STORVSP_CLASS_IDE                                                                          \
	GUID_INIT(0x32412632, 0x86cb, 0x44a2, 0x9b, 0x5c, 0x50, 0xd1, 0x41, 0x73, 0x54, 0xf5)
#define STORVSP_CLASS_SCSI                                                                         \
	GUID_INIT(0xba6163d9, 0x04a1, 0x4d29, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f)

enum vstor_operation {
	VSTOR_COMPLETE_IO = 1,
	VSTOR_REMOVE_DEVICE = 2,
	VSTOR_EXECUTE_SRB = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN_INITIALIZATION = 7,
	VSTOR_END_INITIALIZATION = 8,
	VSTOR_QUERY_PROTOCOL_VERSION = 9,
	VSTOR_QUERY_PROPERTIES = 10,
	VSTOR_ENUMERATE_BUS = 11,
	VSTOR_FCHBA_DATA = 12,
	VSTOR_CREATE_SUB_CHANNELS = 13,
	VSTOR_OPERATIONS,
};

/* Protocol versions, major << 8 | minor. */
#define VSTOR_VERSION_WIN8   0x0501
#define VSTOR_VERSION_WIN8_1 0x0600
#define VSTOR_VERSION_WIN10  0x0602

/* NTSTATUS values of a packet's status. */
#define VSTOR_STATUS_SUCCESS		    0u
#define VSTOR_STATUS_INVALID_PARAMETER	    0xc000000du
#define VSTOR_STATUS_REVISION_MISMATCH	    0xc0000059u
#define VSTOR_STATUS_INVALID_DEVICE_STATE   0xc0000184u
#define VSTOR_STATUS_IO_DEVICE_ERROR	    0xc0000185u
#define VSTOR_STATUS_INSUFFICIENT_RESOURCES 0xc000009au

/* The low six bits of srb_status, and its flag that sense data is there. */
#define SRB_STATUS_SUCCESS	   0x01
#define SRB_STATUS_ERROR	   0x04
#define SRB_STATUS_BUSY		   0x05
#define SRB_STATUS_INVALID_REQUEST 0x06
#define SRB_STATUS_INVALID_LUN	   0x20
#define SRB_STATUS_AUTOSENSE_VALID 0x80

#define VMSCSI_CDB_MAX	  16
#define VMSCSI_SENSE_SIZE 20

enum vmscsi_direction {
	VMSCSI_WRITE = 0,
	VMSCSI_READ = 1,
	VMSCSI_UNSPECIFIED = 2,
};

struct vmscsi_request {
	uint16_t length;
	uint8_t srb_status;
	uint8_t scsi_status;
	uint8_t port_number;
	uint8_t path_id;
	uint8_t target_id;
	uint8_t lun;
	uint8_t cdb_length;
	uint8_t sense_info_length;
	uint8_t data_in; /* enum vmscsi_direction */
	uint8_t reserved;
	uint32_t data_transfer_length;
	union {
		uint8_t cdb[VMSCSI_CDB_MAX];
		uint8_t sense_data[VMSCSI_SENSE_SIZE];
	};
	/* From Windows 8 on. */
	uint16_t reserved2;
	uint8_t queue_tag;
	uint8_t queue_action;
	uint32_t srb_flags;
	uint32_t time_out_value;
	uint32_t queue_sort_key;
} __attribute__((packed));
static_assert(sizeof(struct vmscsi_request) == 52, "wire layout");

struct vstor_properties {
	uint32_t reserved;
	uint16_t max_channel_count; /* of sub-channels */
	uint16_t reserved1;
	uint32_t flags;
	uint32_t max_transfer_bytes;
	uint64_t reserved2;
} __attribute__((packed));
static_assert(sizeof(struct vstor_properties) == 24, "wire layout");

#define VSTOR_PROPERTIES_MULTI_CHANNEL 0x1

struct vstor_version {
	uint16_t major_minor;
	uint16_t revision;
} __attribute__((packed));

struct vstor_packet {
	uint32_t operation;
	uint32_t flags;
	uint32_t status;
	union {
		struct vmscsi_request srb;
		struct vstor_properties properties;
		struct vstor_version version;
		uint16_t sub_channel_count;
		uint8_t bytes[52];
	};
} __attribute__((packed));
static_assert(sizeof(struct vstor_packet) == 64, "wire layout");

#define VSTOR_HEADER_SIZE 12
/* A packet without what Windows 8 added to a request. */
#define VSTOR_PACKET_MIN  48
