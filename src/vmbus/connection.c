#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "vmbus/bus_internal.h"
#include "vmm/hv_synic.h"

/* Contact, versions and unload: Linux drivers/hv/connection.c shows the guest's side. */

#define VERSION_4_1 VMBUS_VERSION(4, 1)
#define VERSION_5_0 VMBUS_VERSION(5, 0)

static const struct {
	const char *name;
	uint32_t version;
} versions[] = {
	{"2.4", VMBUS_VERSION(2, 4)}, {"3.0", VMBUS_VERSION(3, 0)}, {"4.0", VMBUS_VERSION(4, 0)},
	{"4.1", VMBUS_VERSION(4, 1)}, {"5.0", VMBUS_VERSION(5, 0)}, {"5.1", VMBUS_VERSION(5, 1)},
	{"5.2", VMBUS_VERSION(5, 2)}, {"5.3", VMBUS_VERSION(5, 3)},
};

int vmbus_version_parse(const char *text, uint32_t *version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		if (strcmp(versions[i].name, text) == 0) {
			*version = versions[i].version;
			return 0;
		}
	}
	return -EINVAL;
}

bool connection_version_known(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
		if (versions[i].version == version)
			return true;
	}
	return false;
}

/* Takes the guest's knowledge of a channel away, and with it those that were its alone. */
static void drop_channel(struct channel *channel)
{
	bool gone = channel->state == CHANNEL_RESCINDING || channel->state == CHANNEL_RESCINDED;

	channel_close(channel);
	if (channel->offer && channel->index == 0)
		offer_drop_subchannels(channel->offer);
	if (channel->state != CHANNEL_IDLE)
		channel_set_state(channel, CHANNEL_IDLE);
	if (gone || channel->index > 0)
		channel_free(channel);
}

static void tell_disconnected(struct vmbus *bus)
{
	struct vmbus_offer *offer;

	list_for_each(offer, &bus->offers, node)
	{
		const struct vmbus_offer_config *config = &offer->config;

		if (!offer->rescinded && config->ops->disconnected)
			config->ops->disconnected(config->context);
	}
}

void connection_drop(struct vmbus *bus)
{
	__atomic_store_n(&bus->version, 0, __ATOMIC_RELAXED);
	bus->offers_requested = false;
	bus->offers_end_due = false;
	/* A close may rescind other channels, but frees none that the guest knows. */
	for (uint32_t relid = 1; relid < BUS_RELIDS; relid++) {
		if (bus->channels[relid])
			drop_channel(bus->channels[relid]);
	}
	bus->announce_due = false;
	gpadl_table_clear(&bus->gpadls);
	tell_disconnected(bus);
}

/* The guest ends its connection, and with it what it has not read: a kernel that starts anew could
 * make nothing of it. */
static void disconnect(struct vmbus *bus)
{
	connection_drop(bus);
	hv_synic_discard(hv_partition_vp(bus->config.hv, bus->message_vp), bus->sint);
}

/* Where the answer to a contact goes, and whether we can talk to such a guest at all. */
static bool contact_target(const struct vmbus *bus, const struct vmbus_initiate_contact *contact,
			   unsigned int *vp, unsigned int *sint)
{
	*vp = 0;
	*sint = VMBUS_SINT;
	if (contact->target_vp >= bus->config.vp_count)
		return false;
	*vp = contact->target_vp;
	if (contact->version < VERSION_5_0)
		return true;
	/* There is one virtual trust level. */
	if (contact->message_sint >= HV_SINT_COUNT || contact->message_vtl != 0)
		return false;
	*sint = contact->message_sint;
	return true;
}

/* The monitor pages are not used: no offer has a monitor allocated. */
int connection_contact(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_initiate_contact *contact = message;
	struct vmbus_version_response response = {
		.header.type = VMBUS_MESSAGE_VERSION_RESPONSE,
		.connection_state = VMBUS_CONNECTION_OK,
	};
	unsigned int vp, sint;
	bool reachable = contact_target(bus, contact, &vp, &sint);

	if (!bus_has_room(bus, vp, sint))
		return -EAGAIN;
	disconnect(bus);
	bus->message_vp = vp;
	bus->sint = sint;
	if (!reachable)
		response.connection_state = VMBUS_CONNECTION_FAILED;
	else if (connection_version_known(contact->version) &&
		 contact->version <= bus->config.max_version &&
		 !fault_refuses(bus, contact->version))
		response.version_supported = 1;
	if (response.version_supported) {
		__atomic_store_n(&bus->version, contact->version, __ATOMIC_RELAXED);
		if (contact->version >= VERSION_5_0)
			response.message_connection_id = VMBUS_CONNECTION_MESSAGE_4;
	}
	bus_send(bus, &response, sizeof(response));
	return 0;
}

int connection_unload(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_message_header response = {.type = VMBUS_MESSAGE_UNLOAD_RESPONSE};

	disconnect(bus);
	bus_send(bus, &response, sizeof(response));
	return 0;
}

int connection_request_offers(struct vmbus *bus, const void *message, size_t size)
{
	bus->offers_requested = true;
	bus->offers_end_due = true;
	bus->announce_due = true;
	return 0;
}

void vmbus_on_connect(struct vmbus *bus, vmbus_connect_handler handler, void *context)
{
	bus->on_connect = handler;
	bus->connect_context = context;
}

/* The caller knows that there is room. */
static void send_refusal(struct vmbus *bus, const struct guid *endpoint, const struct guid *service)
{
	const struct vmbus_tl_connect_result result = {
		.header.type = VMBUS_MESSAGE_TL_CONNECT_RESULT,
		.endpoint_id = *endpoint,
		.service_id = *service,
		.status = VMBUS_STATUS_REFUSED,
	};

	if (bus->version >= VERSION_4_1)
		bus_send(bus, &result, sizeof(result));
}

void vmbus_connect_refuse(struct vmbus *bus, const struct guid *endpoint,
			  const struct guid *service)
{
	if (!bus->held && bus_has_room(bus, bus->message_vp, bus->sint))
		send_refusal(bus, endpoint, service);
}

int connection_tl_connect(struct vmbus *bus, const void *message, size_t size)
{
	const struct vmbus_tl_connect_request *request = message;
	struct guid endpoint = request->endpoint_id, service = request->service_id;

	if (!bus->on_connect || bus->on_connect(bus->connect_context, &endpoint, &service) < 0)
		send_refusal(bus, &endpoint, &service);
	return 0;
}
