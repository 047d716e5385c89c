#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "tools/trace.h"
#include "vmbus/class.h"
#include "vmbus/wire.h"

/* The control messages of the bus, by the names that Linux has for them (include/linux/hyperv.h,
 * enum vmbus_channel_message_type). */

static void print_guid(struct trace_text *text, const char *what, const struct guid *guid)
{
	char words[GUID_TEXT_SIZE];

	guid_format(guid, words);
	trace_print(text, " %s %s", what, words);
}

static void print_version(struct trace_text *text, uint32_t version)
{
	trace_print(text, "version %" PRIu32 ".%" PRIu32, version >> 16, version & 0xffff);
}

static void contact(const void *data, struct trace_event *event)
{
	const struct vmbus_initiate_contact *message = data;

	print_version(&event->details, message->version);
	trace_print(&event->details, ", target VP %" PRIu32, message->target_vp);
}

static void version_response(const void *data, struct trace_event *event)
{
	const struct vmbus_version_response *message = data;

	trace_print(&event->details, "%s, state %u, connection %" PRIu32,
		    message->version_supported ? "supported" : "refused", message->connection_state,
		    message->message_connection_id);
}

static void offer(const void *data, struct trace_event *event)
{
	const struct vmbus_offer_channel *message = data;

	event->relid = message->relid;
	event->index = message->subchannel_index;
	trace_print(&event->details, "%s, index %u, flags 0x%x, connection 0x%" PRIx32 ",",
		    vmbus_class_name(&message->class_id), message->subchannel_index, message->flags,
		    message->connection_id);
	print_guid(&event->details, "class", &message->class_id);
	print_guid(&event->details, "instance", &message->instance_id);
}

static void relid_only(const void *data, struct trace_event *event)
{
	event->relid = ((const struct vmbus_relid_message *)data)->relid;
}

static void open_channel(const void *data, struct trace_event *event)
{
	const struct vmbus_open_channel *message = data;

	event->relid = message->relid;
	trace_print(&event->details,
		    "open id %" PRIu32 ", GPADL 0x%" PRIx32 ", target VP %" PRIu32
		    ", ring to the guest from page %" PRIu32,
		    message->open_id, message->ring_gpadl, message->target_vp,
		    message->downstream_page_offset);
}

static void open_result(const void *data, struct trace_event *event)
{
	const struct vmbus_open_result *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "open id %" PRIu32 ", status 0x%" PRIx32, message->open_id,
		    message->status);
}

static void gpadl_header(const void *data, struct trace_event *event)
{
	const struct vmbus_gpadl_header *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "GPADL 0x%" PRIx32 ", %u ranges in %u bytes", message->gpadl,
		    message->range_count, message->range_bytes);
}

static void gpadl_body(const void *data, struct trace_event *event)
{
	const struct vmbus_gpadl_body *message = data;

	trace_print(&event->details, "GPADL 0x%" PRIx32 ", number %" PRIu32, message->gpadl,
		    message->message_number);
}

static void gpadl_created(const void *data, struct trace_event *event)
{
	const struct vmbus_gpadl_created *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "GPADL 0x%" PRIx32 ", status 0x%" PRIx32, message->gpadl,
		    message->status);
}

static void gpadl_teardown(const void *data, struct trace_event *event)
{
	const struct vmbus_gpadl_teardown *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "GPADL 0x%" PRIx32, message->gpadl);
}

static void gpadl_torndown(const void *data, struct trace_event *event)
{
	trace_print(&event->details, "GPADL 0x%" PRIx32,
		    ((const struct vmbus_gpadl_torndown *)data)->gpadl);
}

static void modify(const void *data, struct trace_event *event)
{
	const struct vmbus_modify_channel *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "target VP %" PRIu32, message->target_vp);
}

static void modify_response(const void *data, struct trace_event *event)
{
	const struct vmbus_modify_response *message = data;

	event->relid = message->relid;
	trace_print(&event->details, "status 0x%" PRIx32, message->status);
}

static void tl_connect(const void *data, struct trace_event *event)
{
	const struct vmbus_tl_connect_request *message = data;

	print_guid(&event->details, "endpoint", &message->endpoint_id);
	print_guid(&event->details, "service", &message->service_id);
}

static void tl_result(const void *data, struct trace_event *event)
{
	tl_connect(data, event);
	trace_print(&event->details, " status 0x%" PRIx32,
		    ((const struct vmbus_tl_connect_result *)data)->status);
}

#define HEADER sizeof(struct vmbus_message_header)

static const struct {
	const char *name;
	size_t size; /* at least */
	void (*decode)(const void *data, struct trace_event *event);
} messages[VMBUS_MESSAGE_TYPES] = {
	[VMBUS_MESSAGE_OFFER_CHANNEL] = {"CHANNELMSG_OFFERCHANNEL",
					 sizeof(struct vmbus_offer_channel), offer},
	[VMBUS_MESSAGE_RESCIND_OFFER] = {"CHANNELMSG_RESCIND_CHANNELOFFER",
					 sizeof(struct vmbus_relid_message), relid_only},
	[VMBUS_MESSAGE_REQUEST_OFFERS] = {"CHANNELMSG_REQUESTOFFERS", HEADER, NULL},
	[VMBUS_MESSAGE_ALL_OFFERS_DELIVERED] = {"CHANNELMSG_ALLOFFERS_DELIVERED", HEADER, NULL},
	[VMBUS_MESSAGE_OPEN_CHANNEL] = {"CHANNELMSG_OPENCHANNEL", sizeof(struct vmbus_open_channel),
					open_channel},
	[VMBUS_MESSAGE_OPEN_RESULT] = {"CHANNELMSG_OPENCHANNEL_RESULT",
				       sizeof(struct vmbus_open_result), open_result},
	[VMBUS_MESSAGE_CLOSE_CHANNEL] = {"CHANNELMSG_CLOSECHANNEL",
					 sizeof(struct vmbus_relid_message), relid_only},
	[VMBUS_MESSAGE_GPADL_HEADER] = {"CHANNELMSG_GPADL_HEADER",
					sizeof(struct vmbus_gpadl_header), gpadl_header},
	[VMBUS_MESSAGE_GPADL_BODY] = {"CHANNELMSG_GPADL_BODY", sizeof(struct vmbus_gpadl_body),
				      gpadl_body},
	[VMBUS_MESSAGE_GPADL_CREATED] = {"CHANNELMSG_GPADL_CREATED",
					 sizeof(struct vmbus_gpadl_created), gpadl_created},
	[VMBUS_MESSAGE_GPADL_TEARDOWN] = {"CHANNELMSG_GPADL_TEARDOWN",
					  sizeof(struct vmbus_gpadl_teardown), gpadl_teardown},
	[VMBUS_MESSAGE_GPADL_TORNDOWN] = {"CHANNELMSG_GPADL_TORNDOWN",
					  sizeof(struct vmbus_gpadl_torndown), gpadl_torndown},
	[VMBUS_MESSAGE_RELID_RELEASED] = {"CHANNELMSG_RELID_RELEASED",
					  sizeof(struct vmbus_relid_message), relid_only},
	[VMBUS_MESSAGE_INITIATE_CONTACT] = {"CHANNELMSG_INITIATE_CONTACT",
					    sizeof(struct vmbus_initiate_contact), contact},
	[VMBUS_MESSAGE_VERSION_RESPONSE] = {"CHANNELMSG_VERSION_RESPONSE",
					    sizeof(struct vmbus_version_response),
					    version_response},
	[VMBUS_MESSAGE_UNLOAD] = {"CHANNELMSG_UNLOAD", HEADER, NULL},
	[VMBUS_MESSAGE_UNLOAD_RESPONSE] = {"CHANNELMSG_UNLOAD_RESPONSE", HEADER, NULL},
	[VMBUS_MESSAGE_TL_CONNECT_REQUEST] = {"CHANNELMSG_TL_CONNECT_REQUEST",
					      sizeof(struct vmbus_tl_connect_request), tl_connect},
	[VMBUS_MESSAGE_MODIFY_CHANNEL] = {"CHANNELMSG_MODIFYCHANNEL",
					  sizeof(struct vmbus_modify_channel), modify},
	[VMBUS_MESSAGE_TL_CONNECT_RESULT] = {"CHANNELMSG_TL_CONNECT_RESULT",
					     sizeof(struct vmbus_tl_connect_result), tl_result},
	[VMBUS_MESSAGE_MODIFY_RESPONSE] = {"CHANNELMSG_MODIFYCHANNEL_RESPONSE",
					   sizeof(struct vmbus_modify_response), modify_response},
};

int trace_decode_message(const uint8_t *data, size_t size, struct trace_event *event)
{
	uint8_t message[VMBUS_MESSAGE_MAX] __attribute__((aligned(8))) = {0};
	uint32_t type;

	event->kind = "message";
	if (size < HEADER || size > sizeof(message))
		return -EBADMSG;
	memcpy(message, data, size);
	type = ((const struct vmbus_message_header *)message)->type;
	if (type >= ARRAY_LENGTH(messages) || !messages[type].name) {
		trace_print(&event->name, "CHANNELMSG_unknown-%" PRIu32, type);
		trace_print(&event->details, "%zu bytes", size);
		return 0;
	}
	trace_print(&event->name, "%s", messages[type].name);
	if (size < messages[type].size)
		trace_print(&event->details, "too short: %zu bytes", size);
	else if (messages[type].decode)
		messages[type].decode(message, event);
	return 0;
}
