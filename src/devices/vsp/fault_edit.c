#include "devices/vsp/fault_edit.h"

#include <string.h>

#include "devices/vsp/nvsp_wire.h"
#include "devices/vsp/scsi_codes.h"
#include "devices/vsp/storvsp_wire.h"

#define SENSE_FIXED	 0x70
#define SENSE_BYTES	 18
#define SENSE_ABORTED	 0xb
#define ASC_READ_ERROR	 0x11
#define SCSI_STATUS_BUSY 0x08

static void put_sense(struct vmscsi_request *srb, uint8_t key, uint8_t asc)
{
	memset(srb->sense_data, 0, sizeof(srb->sense_data));
	srb->sense_data[0] = SENSE_FIXED;
	srb->sense_data[2] = key;
	srb->sense_data[7] = SENSE_BYTES - 8;
	srb->sense_data[12] = asc;
	srb->sense_info_length = SENSE_BYTES;
	srb->srb_status = SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID;
	srb->scsi_status = SCSI_CHECK_CONDITION;
}

static bool moves_data(const struct vmscsi_request *srb)
{
	switch (srb->cdb[0]) {
	case SCSI_READ_6:
	case SCSI_WRITE_6:
	case SCSI_READ_10:
	case SCSI_WRITE_10:
	case SCSI_READ_12:
	case SCSI_WRITE_12:
	case SCSI_READ_16:
	case SCSI_WRITE_16:
		return true;
	default:
		return false;
	}
}

/* Only what a disk was asked and did; the answers to the protocol stay.  Where it did well, the
 * command is still in the packet: only reads and writes meet a bad medium. */
static bool fail_storage(uint8_t *payload, uint32_t size, enum fault_status status)
{
	struct vstor_packet packet = {0};

	if (size < VSTOR_PACKET_MIN || size > sizeof(packet))
		return false;
	memcpy(&packet, payload, size);
	if (packet.operation != VSTOR_COMPLETE_IO || packet.srb.length == 0 ||
	    packet.srb.srb_status != SRB_STATUS_SUCCESS)
		return false;
	if (status == FAULT_STATUS_MEDIUM && !moves_data(&packet.srb))
		return false;
	packet.status = VSTOR_STATUS_IO_DEVICE_ERROR;
	packet.srb.data_transfer_length = 0;
	switch (status) {
	case FAULT_STATUS_BUSY:
		packet.srb.srb_status = SRB_STATUS_BUSY;
		packet.srb.scsi_status = SCSI_STATUS_BUSY;
		break;
	case FAULT_STATUS_ABORTED:
		put_sense(&packet.srb, SENSE_ABORTED, 0);
		break;
	case FAULT_STATUS_MEDIUM:
		put_sense(&packet.srb, SCSI_MEDIUM_ERROR, ASC_READ_ERROR);
		break;
	}
	memcpy(payload, &packet, size);
	return true;
}

static bool fail_network(uint8_t *payload, uint32_t size, enum fault_status status)
{
	const uint32_t failed = NVSP_STATUS_FAIL;
	uint32_t type;

	if (size < 2 * sizeof(type))
		return false;
	memcpy(&type, payload, sizeof(type));
	if (type != NVSP_RNDIS_COMPLETE)
		return false;
	memcpy(payload + sizeof(type), &failed, sizeof(failed));
	return true;
}

const struct fault_editor device_fault_editors[] = {
	{"scsi", fail_storage},
	{"nic", fail_network},
	{NULL, NULL},
};
