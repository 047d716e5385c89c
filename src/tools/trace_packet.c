#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/hvsock_wire.h"
#include "devices/vsp/ic_wire.h"
#include "devices/vsp/nvsp_wire.h"
#include "devices/vsp/rndis_wire.h"
#include "devices/vsp/scsi_codes.h"
#include "devices/vsp/storvsp_wire.h"
#include "tools/trace.h"
#include "vmbus/vsp.h"

/* The protocols of the devices, by the names that their specifications and Linux have for them. */

static const char *const vstor_names[VSTOR_OPERATIONS] = {
	[VSTOR_COMPLETE_IO] = "VSTOR_OPERATION_COMPLETE_IO",
	[VSTOR_REMOVE_DEVICE] = "VSTOR_OPERATION_REMOVE_DEVICE",
	[VSTOR_EXECUTE_SRB] = "VSTOR_OPERATION_EXECUTE_SRB",
	[VSTOR_RESET_LUN] = "VSTOR_OPERATION_RESET_LUN",
	[VSTOR_RESET_ADAPTER] = "VSTOR_OPERATION_RESET_ADAPTER",
	[VSTOR_RESET_BUS] = "VSTOR_OPERATION_RESET_BUS",
	[VSTOR_BEGIN_INITIALIZATION] = "VSTOR_OPERATION_BEGIN_INITIALIZATION",
	[VSTOR_END_INITIALIZATION] = "VSTOR_OPERATION_END_INITIALIZATION",
	[VSTOR_QUERY_PROTOCOL_VERSION] = "VSTOR_OPERATION_QUERY_PROTOCOL_VERSION",
	[VSTOR_QUERY_PROPERTIES] = "VSTOR_OPERATION_QUERY_PROPERTIES",
	[VSTOR_ENUMERATE_BUS] = "VSTOR_OPERATION_ENUMERATE_BUS",
	[VSTOR_FCHBA_DATA] = "VSTOR_OPERATION_FCHBA_DATA",
	[VSTOR_CREATE_SUB_CHANNELS] = "VSTOR_OPERATION_CREATE_SUB_CHANNELS",
};

static const char *const cdb_names[] = {
	[SCSI_TEST_UNIT_READY] = "TEST UNIT READY",
	[SCSI_REQUEST_SENSE] = "REQUEST SENSE",
	[SCSI_READ_6] = "READ(6)",
	[SCSI_WRITE_6] = "WRITE(6)",
	[SCSI_INQUIRY] = "INQUIRY",
	[SCSI_MODE_SENSE_6] = "MODE SENSE(6)",
	[SCSI_START_STOP_UNIT] = "START STOP UNIT",
	[SCSI_PREVENT_ALLOW_REMOVAL] = "PREVENT ALLOW MEDIUM REMOVAL",
	[SCSI_READ_CAPACITY_10] = "READ CAPACITY(10)",
	[SCSI_READ_10] = "READ(10)",
	[SCSI_WRITE_10] = "WRITE(10)",
	[SCSI_SYNCHRONIZE_CACHE_10] = "SYNCHRONIZE CACHE(10)",
	[SCSI_WRITE_SAME_10] = "WRITE SAME(10)",
	[SCSI_UNMAP] = "UNMAP",
	[SCSI_READ_TOC] = "READ TOC",
	[SCSI_GET_CONFIGURATION] = "GET CONFIGURATION",
	[SCSI_GET_EVENT_STATUS] = "GET EVENT STATUS NOTIFICATION",
	[SCSI_MODE_SENSE_10] = "MODE SENSE(10)",
	[SCSI_READ_16] = "READ(16)",
	[SCSI_WRITE_16] = "WRITE(16)",
	[SCSI_SYNCHRONIZE_CACHE_16] = "SYNCHRONIZE CACHE(16)",
	[SCSI_WRITE_SAME_16] = "WRITE SAME(16)",
	[SCSI_SERVICE_ACTION_IN_16] = "SERVICE ACTION IN(16)",
	[SCSI_REPORT_LUNS] = "REPORT LUNS",
	[SCSI_READ_12] = "READ(12)",
	[SCSI_WRITE_12] = "WRITE(12)",
};

static const char *const nvsp_names[] = {
	[NVSP_INIT] = "NVSP_MSG_TYPE_INIT",
	[NVSP_INIT_COMPLETE] = "NVSP_MSG_TYPE_INIT_COMPLETE",
	[NVSP_NDIS_VERSION] = "NVSP_MSG1_TYPE_SEND_NDIS_VER",
	[NVSP_RECEIVE_BUFFER] = "NVSP_MSG1_TYPE_SEND_RECV_BUF",
	[NVSP_RECEIVE_BUFFER_COMPLETE] = "NVSP_MSG1_TYPE_SEND_RECV_BUF_COMPLETE",
	[NVSP_REVOKE_RECEIVE_BUFFER] = "NVSP_MSG1_TYPE_REVOKE_RECV_BUF",
	[NVSP_SEND_BUFFER] = "NVSP_MSG1_TYPE_SEND_SEND_BUF",
	[NVSP_SEND_BUFFER_COMPLETE] = "NVSP_MSG1_TYPE_SEND_SEND_BUF_COMPLETE",
	[NVSP_REVOKE_SEND_BUFFER] = "NVSP_MSG1_TYPE_REVOKE_SEND_BUF",
	[NVSP_RNDIS] = "NVSP_MSG1_TYPE_SEND_RNDIS_PKT",
	[NVSP_RNDIS_COMPLETE] = "NVSP_MSG1_TYPE_SEND_RNDIS_PKT_COMPLETE",
	[NVSP_NDIS_CONFIG] = "NVSP_MSG2_TYPE_SEND_NDIS_CONFIG",
	[NVSP_VF_ASSOCIATION] = "NVSP_MSG4_TYPE_SEND_VF_ASSOCIATION",
	[NVSP_SWITCH_DATA_PATH] = "NVSP_MSG4_TYPE_SWITCH_DATA_PATH",
	[NVSP_OID_QUERY_EX] = "NVSP_MSG5_TYPE_OID_QUERY_EX",
	[NVSP_SUBCHANNEL] = "NVSP_MSG5_TYPE_SUBCHANNEL",
	[NVSP_INDIRECTION_TABLE] = "NVSP_MSG5_TYPE_SEND_INDIRECTION_TABLE",
};

static const char *const rndis_names[] = {
	[RNDIS_PACKET] = "RNDIS_MSG_PACKET",	 [RNDIS_INITIALIZE] = "RNDIS_MSG_INIT",
	[RNDIS_HALT] = "RNDIS_MSG_HALT",	 [RNDIS_QUERY] = "RNDIS_MSG_QUERY",
	[RNDIS_SET] = "RNDIS_MSG_SET",		 [RNDIS_RESET] = "RNDIS_MSG_RESET",
	[RNDIS_INDICATE] = "RNDIS_MSG_INDICATE", [RNDIS_KEEPALIVE] = "RNDIS_MSG_KEEPALIVE",
};

static const char *const ic_names[] = {
	[IC_NEGOTIATE] = "ICMSGTYPE_NEGOTIATE", [IC_HEARTBEAT] = "ICMSGTYPE_HEARTBEAT",
	[IC_KVP] = "ICMSGTYPE_KVPEXCHANGE",	[IC_SHUTDOWN] = "ICMSGTYPE_SHUTDOWN",
	[IC_TIMESYNC] = "ICMSGTYPE_TIMESYNC",	[IC_VSS] = "ICMSGTYPE_VSS",
	[IC_FCOPY] = "ICMSGTYPE_FCOPY",
};

static void srb_request(const struct vmscsi_request *srb, struct trace_event *event)
{
	trace_print(&event->details, "LUN %u, ", srb->lun);
	trace_name(&event->details, cdb_names, ARRAY_LENGTH(cdb_names), srb->cdb[0]);
	switch (srb->cdb[0]) {
	case SCSI_READ_10:
	case SCSI_WRITE_10:
		trace_print(&event->details, " block %" PRIu32 ", %u blocks",
			    get_be32(srb->cdb + 2), get_be16(srb->cdb + 7));
		break;
	case SCSI_READ_16:
	case SCSI_WRITE_16:
		trace_print(&event->details, " block %" PRIu64 ", %" PRIu32 " blocks",
			    get_be64(srb->cdb + 2), get_be32(srb->cdb + 10));
		break;
	}
	trace_print(&event->details, ", %" PRIu32 " bytes %s", srb->data_transfer_length,
		    srb->data_in == VMSCSI_READ ? "in" : "out");
}

static void srb_outcome(const struct vmscsi_request *srb, struct trace_event *event)
{
	trace_print(&event->details,
		    ", LUN %u, SRB status 0x%02x, SCSI status 0x%02x, %" PRIu32 " bytes", srb->lun,
		    srb->srb_status, srb->scsi_status, srb->data_transfer_length);
	if (srb->srb_status & SRB_STATUS_AUTOSENSE_VALID && srb->sense_info_length >= 14)
		trace_print(&event->details, ", sense %x/%02x/%02x", srb->sense_data[2] & 0xf,
			    srb->sense_data[12], srb->sense_data[13]);
}

static void decode_vstor(const struct trace_payload *payload, struct trace_event *event)
{
	struct vstor_packet packet = {0};

	if (payload->size < VSTOR_HEADER_SIZE)
		return;
	memcpy(&packet, payload->data, MIN(payload->size, sizeof(packet)));
	trace_name(&event->name, vstor_names, ARRAY_LENGTH(vstor_names), packet.operation);
	switch (packet.operation) {
	case VSTOR_EXECUTE_SRB:
		srb_request(&packet.srb, event);
		break;
	case VSTOR_COMPLETE_IO:
		trace_print(&event->details, "status 0x%" PRIx32, packet.status);
		/* Of initialization it has no request. */
		if (packet.srb.length == sizeof(packet.srb))
			srb_outcome(&packet.srb, event);
		break;
	case VSTOR_QUERY_PROTOCOL_VERSION:
		trace_print(&event->details, "version %u.%u", packet.version.major_minor >> 8,
			    packet.version.major_minor & 0xff);
		break;
	case VSTOR_CREATE_SUB_CHANNELS:
		trace_print(&event->details, "%u sub-channels", packet.sub_channel_count);
		break;
	}
}

static void decode_nvsp(const struct trace_payload *payload, struct trace_event *event)
{
	uint32_t words[5] = {0};

	if (payload->size < sizeof(words[0]))
		return;
	memcpy(words, payload->data, MIN(payload->size, sizeof(words)));
	trace_name(&event->name, nvsp_names, ARRAY_LENGTH(nvsp_names), words[0]);
	switch (words[0]) {
	case NVSP_INIT:
		trace_print(&event->details, "versions 0x%" PRIx32 " to 0x%" PRIx32, words[1],
			    words[2]);
		break;
	case NVSP_INIT_COMPLETE:
		trace_print(&event->details, "version 0x%" PRIx32 ", status %" PRIu32, words[1],
			    words[3]);
		break;
	case NVSP_RNDIS:
		trace_print(&event->details, "%s",
			    words[1] == NVSP_CHANNEL_CONTROL ? "control" : "data");
		if (words[2] != NVSP_NO_SECTION)
			trace_print(&event->details, ", section %" PRIu32 " with %" PRIu32 " bytes",
				    words[2], words[3]);
		break;
	case NVSP_RNDIS_COMPLETE:
	case NVSP_RECEIVE_BUFFER_COMPLETE:
	case NVSP_SEND_BUFFER_COMPLETE:
		trace_print(&event->details, "status %" PRIu32, words[1]);
		break;
	case NVSP_SUBCHANNEL:
		trace_print(&event->details,
			    "operation or status %" PRIu32 ", %" PRIu32 " sub-channels", words[1],
			    words[2]);
		break;
	}
}

static void decode_ic(const struct trace_payload *payload, struct trace_event *event)
{
	struct ic_header header;

	if (payload->size < sizeof(header))
		return;
	memcpy(&header, payload->data, sizeof(header));
	trace_name(&event->name, ic_names, ARRAY_LENGTH(ic_names), header.type);
	trace_print(&event->details,
		    "%s %u, framework %u.%u, version %u.%u, %u bytes, status 0x%" PRIx32,
		    header.flags & IC_FLAG_RESPONSE ? "answer" : "request", header.transaction_id,
		    header.framework.major, header.framework.minor, header.version.major,
		    header.version.minor, header.size, header.status);
}

static void decode_hvsock(const struct trace_payload *payload, struct trace_event *event)
{
	struct hvsock_header header;

	if (payload->size < sizeof(header))
		return;
	memcpy(&header, payload->data, sizeof(header));
	if (header.type == HVSOCK_TYPE_DATA && header.data_size == 0)
		trace_print(&event->name, "HVSOCK_END");
	else if (header.type == HVSOCK_TYPE_DATA)
		trace_print(&event->name, "HVSOCK_DATA");
	else
		trace_print(&event->name, "HVSOCK_unknown-%" PRIu32, header.type);
	trace_print(&event->details, "%" PRIu32 " bytes of data", header.data_size);
}

static const struct {
	const char *class_name;
	void (*decode)(const struct trace_payload *payload, struct trace_event *event);
} protocols[] = {
	{"scsi", decode_vstor},
	{"ide", decode_vstor},
	{"nic", decode_nvsp},
	{"hvsock", decode_hvsock},
	{"shutdown", decode_ic},
	{"timesync", decode_ic},
	{"heartbeat", decode_ic},
	{"kvp", decode_ic},
	{"vss", decode_ic},
	{"file-copy", decode_ic},
	{"balloon", trace_decode_dynmem},
	{"keyboard", trace_decode_keyboard},
	{"mouse", trace_decode_mouse},
	{"video", trace_decode_video},
};

void trace_decode_payload(const struct trace_payload *payload, struct trace_event *event)
{
	for (size_t i = 0; i < ARRAY_LENGTH(protocols); i++) {
		if (strcmp(protocols[i].class_name, event->class_name) == 0)
			protocols[i].decode(payload, event);
	}
	if (event->name.used == 0)
		trace_print(&event->name,
			    payload->about->type == PACKET_COMPLETION ? "COMPLETION" : "PACKET");
}

void trace_decode_memory(const uint8_t *data, size_t size, struct trace_event *event)
{
	uint32_t type = size >= 4 ? get_le32(data) : 0;

	if (strcmp(event->class_name, "nic") != 0 || size < 12) {
		trace_print(&event->name, "MEMORY");
		trace_print(&event->details, "%zu bytes", size);
		return;
	}
	trace_name(&event->name, rndis_names, ARRAY_LENGTH(rndis_names), type & ~RNDIS_COMPLETION);
	if (type & RNDIS_COMPLETION)
		trace_print(&event->name, "_C");
	trace_print(&event->details, "%" PRIu32 " bytes", get_le32(data + 4));
	if (type == RNDIS_PACKET && size >= 16)
		trace_print(&event->details, ", frame of %" PRIu32, get_le32(data + 12));
	else if ((type == RNDIS_QUERY || type == RNDIS_SET) && size >= 16)
		trace_print(&event->details, ", request %" PRIu32 ", OID 0x%08" PRIx32,
			    get_le32(data + 8), get_le32(data + 12));
	else if (type & RNDIS_COMPLETION && size >= 16)
		trace_print(&event->details, ", request %" PRIu32 ", status 0x%08" PRIx32,
			    get_le32(data + 8), get_le32(data + 12));
	else if (type == RNDIS_INDICATE)
		trace_print(&event->details, ", status 0x%08" PRIx32, get_le32(data + 8));
}
