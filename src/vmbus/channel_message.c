#include <errno.h>

#include "vmbus/bus_internal.h"

/* The control messages about channels: Linux drivers/hv/channel.c shows the guest's side. */

#define VERSION_4_1 VMBUS_VERSION(4, 1)
#define VERSION_5_3 VMBUS_VERSION(5, 3)

static uint32_t status_of(int error)
{
	switch (error) {
	case 0:
		return VMBUS_STATUS_SUCCESS;
	case -ENOMEM:
	case -ENOSPC:
		return VMBUS_STATUS_NO_RESOURCES;
	case -EINVAL:
	case -ENOENT:
	case -EFAULT:
	case -EEXIST:
		return VMBUS_STATUS_INVALID;
	default:
		return VMBUS_STATUS_UNSUCCESSFUL;
	}
}

int channel_on_open(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_open_channel *request = message;
	struct channel *channel = channel_find(bus, request->relid);
	struct vmbus_open_result result = {
		.header.type = VMBUS_MESSAGE_OPEN_RESULT,
		.relid = request->relid,
		.open_id = request->open_id,
	};
	int r = -ENOENT;

	if (channel && channel->state == CHANNEL_OFFERED)
		r = channel_start(channel, request, NULL);
	if (!r)
		channel_set_state(channel, CHANNEL_OPEN);
	result.status = status_of(r);
	bus_send(bus, &result, sizeof(result));
	return 0;
}

int channel_on_close(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_relid_message *request = message;
	struct channel *channel = channel_find(bus, request->relid);

	if (channel)
		channel_close(channel);
	return 0;
}

/* Only from 5.3 on it is answered. */
int channel_on_modify(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_modify_channel *request = message;
	struct channel *channel = channel_find(bus, request->relid);
	struct vmbus_modify_response response = {
		.header.type = VMBUS_MESSAGE_MODIFY_RESPONSE,
		.relid = request->relid,
	};
	int r = -ENOENT;

	if (bus->version < VERSION_4_1)
		return 0;
	if (channel)
		r = channel_retarget(channel, request->target_vp);
	response.status = status_of(r);
	if (bus->version >= VERSION_5_3)
		bus_send(bus, &response, sizeof(response));
	return 0;
}

/* The guest lets go of a relid, after a rescind or of its own accord. */
int channel_on_released(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_relid_message *request = message;
	struct channel *channel = channel_find(bus, request->relid);

	if (!channel)
		return 0;
	channel_close(channel);
	gpadl_remove_channel(&bus->gpadls, channel->relid);
	if (channel->state == CHANNEL_OFFERED && channel->index == 0)
		channel_set_state(channel, CHANNEL_RELEASED);
	else
		channel_free(channel);
	return 0;
}

static void send_gpadl_created(struct vmbus *bus, uint32_t relid, uint32_t gpadl, int error)
{
	const struct vmbus_gpadl_created created = {
		.header.type = VMBUS_MESSAGE_GPADL_CREATED,
		.relid = relid,
		.gpadl = gpadl,
		.status = status_of(error),
	};

	if (error != -EINPROGRESS)
		bus_send(bus, &created, sizeof(created));
}

static bool may_share(const struct channel *channel)
{
	return channel && channel->state != CHANNEL_RESCINDING &&
	       channel->state != CHANNEL_RESCINDED;
}

int channel_on_gpadl_header(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_gpadl_header *header = message;
	int r = -ENOENT;

	if (may_share(channel_find(bus, header->relid)))
		r = gpadl_create(&bus->gpadls, header, header + 1, size - sizeof(*header));
	send_gpadl_created(bus, header->relid, header->gpadl, r);
	return 0;
}

int channel_on_gpadl_body(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_gpadl_body *body = message;
	uint32_t relid;
	int r = gpadl_append(&bus->gpadls, body->gpadl, body + 1, size - sizeof(*body), &relid);

	if (r != -ENOENT)
		send_gpadl_created(bus, relid, body->gpadl, r);
	return 0;
}

/* A guest that takes back the pages of an open channel's rings has closed it thereby. */
int channel_on_gpadl_teardown(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_gpadl_teardown *request = message;
	struct channel *channel = channel_find(bus, request->relid);
	const struct vmbus_gpadl_torndown torndown = {
		.header.type = VMBUS_MESSAGE_GPADL_TORNDOWN,
		.gpadl = request->gpadl,
	};

	if (!channel)
		return 0;
	if (channel->state == CHANNEL_OPEN && channel->request.ring_gpadl == request->gpadl)
		channel_close(channel);
	if (gpadl_remove(&bus->gpadls, request->relid, request->gpadl) == 0)
		bus_send(bus, &torndown, sizeof(torndown));
	return 0;
}
