#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "devices/vsp/storvsp_internal.h"
#include "vmbus/vsp.h"

/* Where each phase may go; BEGIN can always be returned to, by an open. */
static const uint8_t transitions[STORVSP_PHASES] = {
	[STORVSP_BEGIN] = 1u << STORVSP_VERSION,
	[STORVSP_VERSION] = 1u << STORVSP_PROPERTIES,
	[STORVSP_PROPERTIES] = 1u << STORVSP_END,
	[STORVSP_END] = 1u << STORVSP_READY,
	[STORVSP_READY] = 0,
};

void storvsp_set_phase(struct storvsp *storvsp, enum storvsp_phase phase)
{
	assert(phase == STORVSP_BEGIN || transitions[storvsp->phase] & 1u << phase);
	storvsp->phase = phase;
}

static uint32_t begin_initialization(struct storvsp *storvsp, struct vstor_packet *packet)
{
	storvsp_set_phase(storvsp, STORVSP_VERSION);
	return VSTOR_STATUS_SUCCESS;
}

static uint32_t query_protocol_version(struct storvsp *storvsp, struct vstor_packet *packet)
{
	switch (packet->version.major_minor) {
	case VSTOR_VERSION_WIN8:
	case VSTOR_VERSION_WIN8_1:
	case VSTOR_VERSION_WIN10:
		storvsp->version = packet->version.major_minor;
		storvsp_set_phase(storvsp, STORVSP_PROPERTIES);
		return VSTOR_STATUS_SUCCESS;
	default:
		return VSTOR_STATUS_REVISION_MISMATCH;
	}
}

static uint32_t query_properties(struct storvsp *storvsp, struct vstor_packet *packet)
{
	packet->properties = (struct vstor_properties){
		.max_channel_count = (uint16_t)storvsp->subchannels_max,
		.flags = storvsp->subchannels_max > 0 ? VSTOR_PROPERTIES_MULTI_CHANNEL : 0,
		.max_transfer_bytes = STORVSP_TRANSFER_MAX,
	};
	storvsp_set_phase(storvsp, STORVSP_END);
	return VSTOR_STATUS_SUCCESS;
}

static uint32_t end_initialization(struct storvsp *storvsp, struct vstor_packet *packet)
{
	storvsp_set_phase(storvsp, STORVSP_READY);
	return VSTOR_STATUS_SUCCESS;
}

static uint32_t create_sub_channels(struct storvsp *storvsp, struct vstor_packet *packet)
{
	switch (vmbus_offer_subchannels(storvsp->offer, packet->sub_channel_count)) {
	case 0:
		return VSTOR_STATUS_SUCCESS;
	case -ENOSPC:
		return VSTOR_STATUS_INVALID_PARAMETER;
	default:
		return VSTOR_STATUS_INSUFFICIENT_RESOURCES;
	}
}

/* What was in flight before has ended already; that is all a reset means to a virtual disk. */
static uint32_t reset(struct storvsp *storvsp, struct vstor_packet *packet)
{
	return VSTOR_STATUS_SUCCESS;
}

struct control {
	uint32_t (*handle)(struct storvsp *storvsp, struct vstor_packet *packet);
	enum storvsp_phase phase; /* in which alone it is allowed */
	uint32_t payload_min;
	bool any_channel;
};

static const struct control controls[VSTOR_OPERATIONS] = {
	[VSTOR_RESET_LUN] = {reset, STORVSP_READY, VSTOR_HEADER_SIZE, .any_channel = true},
	[VSTOR_RESET_ADAPTER] = {reset, STORVSP_READY, VSTOR_HEADER_SIZE, .any_channel = true},
	[VSTOR_RESET_BUS] = {reset, STORVSP_READY, VSTOR_HEADER_SIZE, .any_channel = true},
	[VSTOR_BEGIN_INITIALIZATION] = {begin_initialization, STORVSP_BEGIN, VSTOR_HEADER_SIZE},
	[VSTOR_END_INITIALIZATION] = {end_initialization, STORVSP_END, VSTOR_HEADER_SIZE},
	[VSTOR_QUERY_PROTOCOL_VERSION] = {query_protocol_version, STORVSP_VERSION,
					  VSTOR_HEADER_SIZE + sizeof(struct vstor_version)},
	[VSTOR_QUERY_PROPERTIES] = {query_properties, STORVSP_PROPERTIES, VSTOR_HEADER_SIZE},
	[VSTOR_CREATE_SUB_CHANNELS] = {create_sub_channels, STORVSP_READY,
				       VSTOR_HEADER_SIZE + sizeof(uint16_t)},
};

static uint32_t control(const struct storvsp_channel *channel, struct vstor_packet *packet,
			uint32_t payload_size)
{
	struct storvsp *storvsp = channel->storvsp;
	const struct control *found;

	if (packet->operation >= ARRAY_LENGTH(controls) || !controls[packet->operation].handle)
		return VSTOR_STATUS_INVALID_PARAMETER;
	found = &controls[packet->operation];
	if (payload_size < found->payload_min)
		return VSTOR_STATUS_INVALID_PARAMETER;
	if (storvsp->phase != found->phase)
		return VSTOR_STATUS_INVALID_DEVICE_STATE;
	if (channel != &storvsp->channels[0] && !found->any_channel)
		return VSTOR_STATUS_INVALID_DEVICE_STATE;
	return found->handle(storvsp, packet);
}

void storvsp_control(struct storvsp_request *request, uint32_t payload_size)
{
	struct vstor_packet *packet = &request->packet;

	packet->status = control(request->channel, packet, payload_size);
	packet->operation = VSTOR_COMPLETE_IO;
	packet->flags = 0;
	storvsp_answer(request);
}
