#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/net/link_event.h"
#include "devices/vsp/netvsp_internal.h"

/* RNDIS as the primary channel carries it: every request gets an answer of its own, a message in
 * the receive buffer. */

#define RNDIS_MAJOR	1u
#define RNDIS_MINOR	0u
/* Linux puts so many frames into one packet at most. */
#define MAX_PACKETS	8u
#define ALIGNMENT_SHIFT 3u
#define MAX_TRANSFER	0x4000u

void netvsp_settings_changed(struct netvsp *netvsp)
{
	pthread_mutex_lock(&netvsp->lock);
	netvsp->published = netvsp->settings;
	if (netvsp->retiring)
		netvsp->published.filter = 0;
	netvsp->generation++;
	pthread_mutex_unlock(&netvsp->lock);
}

void netvsp_settings_reset(struct netvsp *netvsp)
{
	bool strip_vlan = netvsp->settings.strip_vlan;

	if (netvsp->settings.rsc)
		netvsp->port->backend->set_offloads(netvsp->port, 0);
	netvsp->settings = (struct netvsp_settings){.strip_vlan = strip_vlan};
	memcpy(netvsp->settings.mac, netvsp->permanent_mac, NET_MAC_BYTES);
	netvsp_settings_changed(netvsp);
}

static void send_first(struct netvsp *netvsp, bool *sent)
{
	const struct netvsp_response *response = &netvsp->responses[0];

	*sent = netvsp_send_control(netvsp, response->data, response->bytes) != -EAGAIN;
	if (!*sent)
		return;
	netvsp->response_count--;
	memmove(&netvsp->responses[0], &netvsp->responses[1],
		netvsp->response_count * sizeof(netvsp->responses[0]));
}

static void send_link(struct netvsp *netvsp)
{
	struct {
		struct rndis_header header;
		struct rndis_indicate indicate;
	} message = {
		.header = {RNDIS_INDICATE, sizeof(message)},
		.indicate.status = netvsp->link_up ? RNDIS_STATUS_MEDIA_CONNECT
						   : RNDIS_STATUS_MEDIA_DISCONNECT,
	};

	if (netvsp_send_control(netvsp, &message, sizeof(message)) != -EAGAIN)
		netvsp->link_told = netvsp->link_up;
}

void netvsp_send_responses(struct netvsp *netvsp)
{
	bool sent = true;

	while (netvsp->response_count > 0 && sent)
		send_first(netvsp, &sent);
	if (sent && netvsp->rndis_initialized && netvsp->link_told != netvsp->link_up)
		send_link(netvsp);
}

void netvsp_link_changed(struct netvsp *netvsp, bool up)
{
	struct netvsp_channel *primary = &netvsp->channels[0];

	netvsp->carrier = up;
	if (netvsp->link_up && !up)
		link_event_down(&netvsp->env, netvsp->id, netvsp->port);
	netvsp->link_up = up && !netvsp->retiring;
	if (primary->open)
		io_thread_batch_end(primary->lane->thread, &primary->batch);
}

struct retire_call {
	struct netvsp *netvsp;
	bool heard; /* by the guest, which has begun to listen */
};

/* On lane 0's thread. */
static void take_link_down(void *context)
{
	struct retire_call *call = context;
	struct netvsp *netvsp = call->netvsp;

	if (!netvsp->retiring) {
		netvsp->retiring = true;
		netvsp_settings_changed(netvsp);
		netvsp->link_up = false;
		io_thread_batch_end(netvsp->lanes[0].thread, &netvsp->channels[0].batch);
	}
	call->heard = netvsp->rndis_initialized && !netvsp->link_told;
}

/*
 * A driver that is told of a rescind listens to the channel no more, and waits for ever for what it
 * has sent (Linux drivers/net/hyperv/rndis_filter.c, rndis_filter_halt_device).  Without a link it
 * sends nothing.
 */
bool netvsp_retire(void *device)
{
	struct netvsp *netvsp = device;
	struct retire_call call = {.netvsp = netvsp};

	if (!netvsp->primary_open)
		return true;
	if (netvsp->quiesced)
		return false;
	io_thread_call(netvsp->lanes[0].thread, take_link_down, &call);
	return vmbus_offer_silent(netvsp->offer, &netvsp->silence) && call.heard;
}

/* A new message to the guest with size bytes behind the header, zeroed. */
static void *new_response(struct netvsp *netvsp, uint32_t type, uint32_t size)
{
	struct netvsp_response *response = &netvsp->responses[netvsp->response_count++];
	struct rndis_header header = {type | RNDIS_COMPLETION, (uint32_t)sizeof(header) + size};

	memset(response->data, 0, sizeof(response->data));
	memcpy(response->data, &header, sizeof(header));
	response->bytes = header.length;
	return response->data + sizeof(header);
}

static uint32_t on_initialize(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	struct rndis_initialize request;
	struct rndis_initialize_complete *complete;

	memcpy(&request, body, sizeof(request));
	complete = new_response(netvsp, RNDIS_INITIALIZE, sizeof(*complete));
	*complete = (struct rndis_initialize_complete){
		.request_id = request.request_id,
		.major = RNDIS_MAJOR,
		.minor = RNDIS_MINOR,
		.device_flags = RNDIS_DEVICE_CONNECTIONLESS,
		.medium = RNDIS_MEDIUM_802_3,
		.max_packets = MAX_PACKETS,
		.max_transfer = MAX_TRANSFER,
		.alignment_shift = ALIGNMENT_SHIFT,
	};
	netvsp->rndis_initialized = true;
	netvsp->link_told = netvsp->link_up;
	return NVSP_STATUS_SUCCESS;
}

static uint32_t on_halt(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	netvsp->rndis_initialized = false;
	netvsp->settings.filter = 0;
	netvsp_settings_changed(netvsp);
	return NVSP_STATUS_SUCCESS;
}

/* Where the request's information lies in the body; NULL if it does not. */
static const uint8_t *information(const struct rndis_request *request, const uint8_t *body,
				  uint32_t bytes)
{
	return range_within(request->info_offset, request->info_length, bytes)
		       ? body + request->info_offset
		       : NULL;
}

static uint32_t on_query(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	struct rndis_request request;
	struct netvsp_query query = {0};
	struct rndis_query_complete *complete;

	memcpy(&request, body, sizeof(request));
	query.info = information(&request, body, bytes);
	query.info_bytes = query.info ? request.info_length : 0;
	query.oid = request.oid;
	netvsp_answer_query(netvsp, &query);
	if (!query.info && request.info_length > 0)
		query.status = RNDIS_STATUS_INVALID_DATA;
	if (query.status != RNDIS_STATUS_SUCCESS)
		query.bytes = 0;
	complete = new_response(netvsp, RNDIS_QUERY, (uint32_t)sizeof(*complete) + query.bytes);
	*complete = (struct rndis_query_complete){
		.request_id = request.request_id,
		.status = query.status,
		.info_length = query.bytes,
		.info_offset = sizeof(*complete),
	};
	memcpy(complete + 1, query.data, query.bytes);
	return NVSP_STATUS_SUCCESS;
}

static uint32_t on_set(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	struct rndis_request request;
	struct rndis_status_complete *complete;
	const uint8_t *info;

	memcpy(&request, body, sizeof(request));
	info = information(&request, body, bytes);
	complete = new_response(netvsp, RNDIS_SET, sizeof(*complete));
	complete->request_id = request.request_id;
	complete->status = info ? netvsp_set(netvsp, request.oid, info, request.info_length)
				: RNDIS_STATUS_INVALID_DATA;
	return NVSP_STATUS_SUCCESS;
}

static uint32_t on_reset(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	struct rndis_reset_complete *complete =
		new_response(netvsp, RNDIS_RESET, sizeof(*complete));

	/* The guest is to set its filter and addresses again. */
	complete->addressing_reset = 1;
	netvsp_settings_reset(netvsp);
	return NVSP_STATUS_SUCCESS;
}

static uint32_t on_keepalive(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes)
{
	struct rndis_status_complete *complete =
		new_response(netvsp, RNDIS_KEEPALIVE, sizeof(*complete));

	memcpy(&complete->request_id, body, sizeof(complete->request_id));
	return NVSP_STATUS_SUCCESS;
}

struct control_handler {
	uint32_t type;
	uint32_t bytes; /* of the body at least */
	bool any_time;	/* before INITIALIZE, too */
	uint32_t (*handle)(struct netvsp *netvsp, const uint8_t *body, uint32_t bytes);
};

static const struct control_handler handlers[] = {
	{RNDIS_INITIALIZE, sizeof(struct rndis_initialize), true, on_initialize},
	{RNDIS_HALT, sizeof(uint32_t), true, on_halt},
	{RNDIS_QUERY, sizeof(struct rndis_request), false, on_query},
	{RNDIS_SET, sizeof(struct rndis_request), false, on_set},
	{RNDIS_RESET, sizeof(uint32_t), false, on_reset},
	{RNDIS_KEEPALIVE, sizeof(uint32_t), false, on_keepalive},
};

uint32_t netvsp_handle_control(struct netvsp *netvsp, const uint8_t *data, uint32_t bytes)
{
	struct rndis_header header;

	/* Without a receive buffer nothing can be answered; with all places taken, the guest does
	 * not read. */
	if (bytes < sizeof(header) || !netvsp->receive ||
	    netvsp->response_count == NETVSP_RESPONSES)
		return NVSP_STATUS_FAIL;
	memcpy(&header, data, sizeof(header));
	if (header.length < sizeof(header) || header.length > bytes)
		return NVSP_STATUS_INVALID_PACKET;
	for (size_t i = 0; i < ARRAY_LENGTH(handlers); i++) {
		const struct control_handler *handler = &handlers[i];

		if (handler->type != header.type || header.length < sizeof(header) + handler->bytes)
			continue;
		if (!handler->any_time && !netvsp->rndis_initialized)
			return NVSP_STATUS_FAIL;
		return handler->handle(netvsp, data + sizeof(header),
				       header.length - (uint32_t)sizeof(header));
	}
	return NVSP_STATUS_INVALID_PACKET;
}
