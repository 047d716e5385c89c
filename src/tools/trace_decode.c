#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "tools/trace.h"
#include "vmbus/class.h"
#include "vmbus/vsp.h"

void trace_print(struct trace_text *text, const char *format, ...)
{
	size_t left = sizeof(text->text) - text->used;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->text + text->used, left, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	for (size_t i = text->used; i < text->used + MIN((size_t)length, left - 1); i++) {
		if (!isprint((unsigned char)text->text[i]))
			text->text[i] = '?';
	}
	text->used += MIN((size_t)length, left - 1);
}

void trace_name(struct trace_text *text, const char *const *names, size_t count, uint32_t number)
{
	if (number < count && names[number])
		trace_print(text, "%s", names[number]);
	else
		trace_print(text, "unknown-0x%" PRIx32, number);
}

static const char *packet_type_name(uint16_t type)
{
	switch (type) {
	case PACKET_DATA_INBAND:
		return "in-band";
	case PACKET_TRANSFER_PAGES:
		return "transfer-pages";
	case PACKET_GPA_DIRECT:
		return "gpa-direct";
	case PACKET_COMPLETION:
		return "completion";
	default:
		return "of an unknown type";
	}
}

static void describe_packet(const struct trace_packet *about, struct trace_event *event)
{
	trace_print(&event->details, "%s%s, %" PRIu32 " bytes", event->details.used ? "; " : "",
		    packet_type_name(about->type), about->payload_size);
	if (about->range_count)
		trace_print(&event->details, ", %" PRIu32 " ranges", about->range_count);
	if (about->flags & PACKET_FLAG_COMPLETION_REQUESTED)
		trace_print(&event->details, ", wants a completion");
}

static int decode_packet(const uint8_t *data, size_t size, struct trace_event *event)
{
	struct trace_packet about;
	struct trace_payload payload = {.about = &about};

	if (size < sizeof(about))
		return -EBADMSG;
	memcpy(&about, data, sizeof(about));
	data += sizeof(about);
	size -= sizeof(about);
	if (about.payload_recorded > size || about.ranges_recorded > size - about.payload_recorded)
		return -EBADMSG;
	payload.data = data;
	payload.size = about.payload_recorded;
	payload.ranges = data + about.payload_recorded;
	payload.ranges_size = about.ranges_recorded;
	event->kind = "packet";
	event->transaction_id = about.transaction_id;
	trace_decode_payload(&payload, event);
	describe_packet(&about, event);
	return 0;
}

static int decode_memory(const uint8_t *data, size_t size, struct trace_event *event)
{
	if (size < sizeof(uint64_t))
		return -EBADMSG;
	event->kind = "memory";
	event->transaction_id = get_le64(data);
	trace_decode_memory(data + sizeof(uint64_t), size - sizeof(uint64_t), event);
	return 0;
}

static int decode_fault(const uint8_t *data, size_t size, struct trace_event *event)
{
	event->kind = "fault";
	trace_print(&event->name, "FAULT");
	trace_print(&event->details, "%.*s", (int)MIN(size, (size_t)TRACE_FAULT_MAX),
		    (const char *)data);
	return 0;
}

int trace_decode(const struct trace_record *record, struct trace_event *event)
{
	struct trace_header header;
	const uint8_t *data = record->data + sizeof(header);
	size_t size = record->size - sizeof(header);
	struct trace_text label = {0};

	if (record->size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, record->data, sizeof(header));
	if (header.version != TRACE_VERSION)
		return -EBADMSG;
	memset(event, 0, sizeof(*event));
	event->to_guest = header.direction == TRACE_TO_GUEST;
	event->relid = header.relid;
	event->index = header.index;
	event->vp = header.vp == UINT16_MAX ? -1 : header.vp;
	event->class_name = vmbus_class_name(&header.class_id);
	trace_print(&label, "%.*s", TRACE_LABEL_SIZE, header.label);
	memcpy(event->device, label.text, MIN(label.used, (size_t)TRACE_LABEL_SIZE));
	switch (header.kind) {
	case TRACE_MESSAGE:
		return trace_decode_message(data, size, event);
	case TRACE_PACKET:
		return decode_packet(data, size, event);
	case TRACE_MEMORY:
		return decode_memory(data, size, event);
	case TRACE_FAULT:
		return decode_fault(data, size, event);
	default:
		return -EBADMSG;
	}
}
