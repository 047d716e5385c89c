#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/vsp/netvsp_internal.h"

/* Of a guest's buffers in one packet; a guest that chains more gets them copied by itself. */
#define MAX_MDL_CHAIN 34u
#define MTU_MIN	      68u

static const uint32_t versions[] = {
	NVSP_VERSION_61, NVSP_VERSION_6, NVSP_VERSION_5,
	NVSP_VERSION_4,	 NVSP_VERSION_2, NVSP_VERSION_1,
};

bool netvsp_version_known(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++)
		if (versions[i] == version)
			return true;
	return false;
}

static uint32_t on_init(struct netvsp *netvsp, const struct nvsp_message *message,
			struct nvsp_message *answer)
{
	uint32_t status = NVSP_STATUS_TOO_OLD;

	answer->type = NVSP_INIT_COMPLETE;
	answer->init_complete.max_mdl_chain = MAX_MDL_CHAIN;
	for (size_t i = 0; netvsp->phase == NETVSP_BEGIN && i < ARRAY_LENGTH(versions); i++) {
		if (versions[i] > message->init.max_version)
			continue;
		if (versions[i] < message->init.min_version)
			status = NVSP_STATUS_TOO_NEW;
		if (versions[i] < message->init.min_version)
			break;
		netvsp->version = versions[i];
		netvsp->phase = NETVSP_READY;
		status = NVSP_STATUS_SUCCESS;
	}
	if (status == NVSP_STATUS_SUCCESS)
		answer->init_complete.version = netvsp->version;
	answer->init_complete.status = status;
	return sizeof(*answer);
}

static uint32_t on_ndis_version(struct netvsp *netvsp, const struct nvsp_message *message,
				struct nvsp_message *answer)
{
	netvsp->ndis_version =
		message->ndis_version.major << 16 | (message->ndis_version.minor & 0xffff);
	return 0;
}

/* SR-IOV is what we have not; the guest learns it by never being given a function. */
static uint32_t on_ndis_config(struct netvsp *netvsp, const struct nvsp_message *message,
			       struct nvsp_message *answer)
{
	uint32_t mtu = message->ndis_config.mtu;

	netvsp->capabilities = message->ndis_config.capabilities & ~NVSP_CAPABILITY_SRIOV;
	if (range_within(FRAME_ETHERNET_BYTES + MTU_MIN, 0, mtu) &&
	    mtu - FRAME_ETHERNET_BYTES <= NET_MTU_MAX)
		netvsp->mtu = mtu - FRAME_ETHERNET_BYTES;
	netvsp->settings.strip_vlan = netvsp->capabilities & NVSP_CAPABILITY_VLAN;
	netvsp_settings_changed(netvsp);
	return 0;
}

static int make_receive(struct netvsp *netvsp, const struct nvsp_buffer *buffer)
{
	struct netvsp_area area;
	int r;

	/* One for each time the channel is opened: others may still look at the old. */
	if (netvsp->receive_area)
		return -EEXIST;
	r = netvsp_area_map(&area, netvsp->channels[0].channel, buffer->gpadl, buffer->id);
	if (r < 0)
		return r;
	r = netvsp_receive_new(&area, netvsp->mtu, &netvsp->receive_area);
	if (r < 0) {
		netvsp_area_unmap(&area);
		return r;
	}
	netvsp_sections_deal(netvsp);
	netvsp->receive = netvsp->receive_area;
	netvsp_lanes_recycle(netvsp);
	return 0;
}

static uint32_t on_receive_buffer(struct netvsp *netvsp, const struct nvsp_message *message,
				  struct nvsp_message *answer)
{
	struct nvsp_receive_buffer_complete *complete = &answer->receive_buffer_complete;
	const struct netvsp_receive *receive;

	answer->type = NVSP_RECEIVE_BUFFER_COMPLETE;
	if (make_receive(netvsp, &message->buffer) < 0) {
		complete->status = NVSP_STATUS_FAIL;
		return sizeof(*answer);
	}
	receive = netvsp->receive_area;
	complete->status = NVSP_STATUS_SUCCESS;
	complete->part_count = 1;
	complete->part.section_size = receive->section_bytes;
	complete->part.section_count = receive->section_count;
	complete->part.end_offset = receive->section_bytes * receive->section_count;
	return sizeof(*answer);
}

/* What the backend has in hand at this moment may still be written; lanes renew their buffers. */
static uint32_t on_revoke_receive(struct netvsp *netvsp, const struct nvsp_message *message,
				  struct nvsp_message *answer)
{
	if (netvsp->receive && message->revoke.id == netvsp->receive_area->area.id) {
		netvsp->receive = NULL;
		netvsp_lanes_recycle(netvsp);
	}
	return 0;
}

static int make_send(struct netvsp *netvsp, const struct nvsp_buffer *buffer)
{
	struct netvsp_area *area;
	int r;

	if (netvsp->send_area)
		return -EEXIST;
	area = calloc(1, sizeof(*area));
	if (!area)
		return -ENOMEM;
	r = netvsp_area_map(area, netvsp->channels[0].channel, buffer->gpadl, buffer->id);
	if (r == 0 && area->bytes < NETVSP_SEND_SECTION) {
		netvsp_area_unmap(area);
		r = -EINVAL;
	}
	if (r < 0) {
		free(area);
		return r;
	}
	netvsp->send = netvsp->send_area = area;
	return 0;
}

static uint32_t on_send_buffer(struct netvsp *netvsp, const struct nvsp_message *message,
			       struct nvsp_message *answer)
{
	answer->type = NVSP_SEND_BUFFER_COMPLETE;
	answer->send_buffer_complete.status = NVSP_STATUS_FAIL;
	if (make_send(netvsp, &message->buffer) == 0) {
		answer->send_buffer_complete.status = NVSP_STATUS_SUCCESS;
		answer->send_buffer_complete.section_size = NETVSP_SEND_SECTION;
	}
	return sizeof(*answer);
}

static uint32_t on_revoke_send(struct netvsp *netvsp, const struct nvsp_message *message,
			       struct nvsp_message *answer)
{
	if (netvsp->send && message->revoke.id == netvsp->send_area->id)
		netvsp->send = NULL;
	return 0;
}

/* There never is another path. */
static uint32_t on_switch_data_path(struct netvsp *netvsp, const struct nvsp_message *message,
				    struct nvsp_message *answer)
{
	return 0;
}

static uint32_t on_subchannel(struct netvsp *netvsp, const struct nvsp_message *message,
			      struct nvsp_message *answer)
{
	uint32_t count = message->subchannel.count;

	answer->type = NVSP_SUBCHANNEL;
	answer->subchannel.operation = NVSP_STATUS_FAIL;
	if (message->subchannel.operation != NVSP_SUBCHANNEL_ALLOCATE)
		return sizeof(*answer);
	count = MIN(count, netvsp->channel_count - 1 - netvsp->subchannels);
	if (vmbus_offer_subchannels(netvsp->offer, count) < 0)
		return sizeof(*answer);
	netvsp->subchannels += count;
	netvsp->table_due = true;
	answer->subchannel.operation = NVSP_STATUS_SUCCESS;
	answer->subchannel.count = count;
	return sizeof(*answer);
}

struct nvsp_handler {
	uint32_t type;
	uint32_t min_version;
	uint32_t bytes; /* of the message at least, behind the type */
	uint32_t (*handle)(struct netvsp *netvsp, const struct nvsp_message *message,
			   struct nvsp_message *answer); /* returns the answer's size */
};

static const struct nvsp_handler handlers[] = {
	{NVSP_INIT, 0, sizeof(struct nvsp_init), on_init},
	{NVSP_NDIS_VERSION, NVSP_VERSION_1, sizeof(struct nvsp_ndis_version), on_ndis_version},
	{NVSP_NDIS_CONFIG, NVSP_VERSION_2, sizeof(struct nvsp_ndis_config), on_ndis_config},
	{NVSP_RECEIVE_BUFFER, NVSP_VERSION_1, sizeof(struct nvsp_buffer), on_receive_buffer},
	{NVSP_REVOKE_RECEIVE_BUFFER, NVSP_VERSION_1, sizeof(struct nvsp_revoke), on_revoke_receive},
	{NVSP_SEND_BUFFER, NVSP_VERSION_1, sizeof(struct nvsp_buffer), on_send_buffer},
	{NVSP_REVOKE_SEND_BUFFER, NVSP_VERSION_1, sizeof(struct nvsp_revoke), on_revoke_send},
	{NVSP_SWITCH_DATA_PATH, NVSP_VERSION_4, sizeof(uint32_t), on_switch_data_path},
	{NVSP_SUBCHANNEL, NVSP_VERSION_5, sizeof(struct nvsp_subchannel), on_subchannel},
};

void netvsp_handle_nvsp(struct netvsp *netvsp, const struct nvsp_message *message, uint32_t bytes,
			struct netvsp_packet *packet)
{
	struct nvsp_message answer = {0};

	packet->answer_bytes = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(handlers); i++) {
		const struct nvsp_handler *handler = &handlers[i];

		if (handler->type != message->type ||
		    bytes < sizeof(message->type) + handler->bytes ||
		    netvsp->version < handler->min_version)
			continue;
		packet->answer_bytes = (uint8_t)handler->handle(netvsp, message, &answer);
		packet->answer = answer;
		return;
	}
}

void netvsp_send_table(struct netvsp *netvsp)
{
	struct {
		struct nvsp_message message;
		uint32_t entries[NVSP_TABLE_ENTRIES];
	} table = {.message = {.type = NVSP_INDIRECTION_TABLE}};

	if (!netvsp->table_due)
		return;
	table.message.indirection_table.count = NVSP_TABLE_ENTRIES;
	table.message.indirection_table.offset = sizeof(table.message);
	for (unsigned int i = 0; i < NVSP_TABLE_ENTRIES; i++)
		table.entries[i] = i % (netvsp->subchannels + 1);
	netvsp->table_due = channel_send(netvsp->channels[0].channel, PACKET_DATA_INBAND, 0, 0,
					 &table, sizeof(table)) == -EAGAIN;
}

static void reset_here(void *context)
{
	struct netvsp *netvsp = context;

	netvsp->receive = NULL;
	netvsp->send = NULL;
	netvsp_receive_free(netvsp->receive_area);
	netvsp->receive_area = NULL;
	if (netvsp->send_area)
		netvsp_area_unmap(netvsp->send_area);
	free(netvsp->send_area);
	netvsp->send_area = NULL;
	netvsp->phase = NETVSP_BEGIN;
	netvsp->version = netvsp->ndis_version = 0;
	netvsp->capabilities = 0;
	netvsp->mtu = netvsp->port->mtu;
	netvsp->rndis_initialized = false;
	netvsp->subchannels = 0;
	netvsp->response_count = 0;
	netvsp->retiring = false;
	netvsp->link_up = netvsp->carrier;
	netvsp->link_told = netvsp->carrier;
	netvsp->table_due = false;
	netvsp->settings.strip_vlan = false;
	netvsp_settings_reset(netvsp);
}

void netvsp_protocol_reset(struct netvsp *netvsp)
{
	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		netvsp_lane_forget(&netvsp->lanes[i]);
	io_thread_call(netvsp->lanes[0].thread, reset_here, netvsp);
}
