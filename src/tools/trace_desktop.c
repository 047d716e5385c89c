#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/dynmem_wire.h"
#include "devices/vsp/input_wire.h"
#include "devices/vsp/video_wire.h"
#include "tools/trace.h"

/* Dynamic memory, keyboard, mouse and video, by the names that Linux has for their messages. */

static const char *const dynmem_names[] = {
	[DYNMEM_ERROR] = "DM_ERROR",
	[DYNMEM_VERSION_REQUEST] = "DM_VERSION_REQUEST",
	[DYNMEM_VERSION_RESPONSE] = "DM_VERSION_RESPONSE",
	[DYNMEM_CAPABILITIES_REPORT] = "DM_CAPABILITIES_REPORT",
	[DYNMEM_CAPABILITIES_RESPONSE] = "DM_CAPABILITIES_RESPONSE",
	[DYNMEM_STATUS_REPORT] = "DM_STATUS_REPORT",
	[DYNMEM_BALLOON_REQUEST] = "DM_BALLOON_REQUEST",
	[DYNMEM_BALLOON_RESPONSE] = "DM_BALLOON_RESPONSE",
	[DYNMEM_UNBALLOON_REQUEST] = "DM_UNBALLOON_REQUEST",
	[DYNMEM_UNBALLOON_RESPONSE] = "DM_UNBALLOON_RESPONSE",
	[DYNMEM_HOT_ADD_REQUEST] = "DM_MEM_HOT_ADD_REQUEST",
	[DYNMEM_HOT_ADD_RESPONSE] = "DM_MEM_HOT_ADD_RESPONSE",
};

static const char *const keyboard_names[] = {
	[KEYBOARD_PROTOCOL_REQUEST] = "SYNTH_KBD_PROTOCOL_REQUEST",
	[KEYBOARD_PROTOCOL_RESPONSE] = "SYNTH_KBD_PROTOCOL_RESPONSE",
	[KEYBOARD_EVENT] = "SYNTH_KBD_EVENT",
	[KEYBOARD_LED_INDICATORS] = "SYNTH_KBD_LED_INDICATORS",
};

static const char *const mouse_names[] = {
	[MOUSE_PROTOCOL_REQUEST] = "SYNTH_HID_PROTOCOL_REQUEST",
	[MOUSE_PROTOCOL_RESPONSE] = "SYNTH_HID_PROTOCOL_RESPONSE",
	[MOUSE_DEVICE_INFO] = "SYNTH_HID_INITIAL_DEVICE_INFO",
	[MOUSE_DEVICE_INFO_ACK] = "SYNTH_HID_INITIAL_DEVICE_INFO_ACK",
	[MOUSE_INPUT_REPORT] = "SYNTH_HID_INPUT_REPORT",
};

static const char *const video_names[] = {
	[VIDEO_VERSION_REQUEST] = "SYNTHVID_VERSION_REQUEST",
	[VIDEO_VERSION_RESPONSE] = "SYNTHVID_VERSION_RESPONSE",
	[VIDEO_VRAM_LOCATION] = "SYNTHVID_VRAM_LOCATION",
	[VIDEO_VRAM_LOCATION_ACK] = "SYNTHVID_VRAM_LOCATION_ACK",
	[VIDEO_SITUATION_UPDATE] = "SYNTHVID_SITUATION_UPDATE",
	[VIDEO_SITUATION_UPDATE_ACK] = "SYNTHVID_SITUATION_UPDATE_ACK",
	[VIDEO_POINTER_POSITION] = "SYNTHVID_POINTER_POSITION",
	[VIDEO_POINTER_SHAPE] = "SYNTHVID_POINTER_SHAPE",
	[VIDEO_FEATURE_CHANGE] = "SYNTHVID_FEATURE_CHANGE",
	[VIDEO_DIRT] = "SYNTHVID_DIRT",
	[VIDEO_RESOLUTION_REQUEST] = "SYNTHVID_RESOLUTION_REQUEST",
	[VIDEO_RESOLUTION_RESPONSE] = "SYNTHVID_RESOLUTION_RESPONSE",
};

void trace_decode_dynmem(const struct trace_payload *payload, struct trace_event *event)
{
	struct dynmem_header header;

	if (payload->size < sizeof(header))
		return;
	memcpy(&header, payload->data, sizeof(header));
	trace_name(&event->name, dynmem_names, ARRAY_LENGTH(dynmem_names), header.type);
	trace_print(&event->details, "number %" PRIu32, header.transaction_id);
}

void trace_decode_keyboard(const struct trace_payload *payload, struct trace_event *event)
{
	if (payload->size >= 4)
		trace_name(&event->name, keyboard_names, ARRAY_LENGTH(keyboard_names),
			   get_le32(payload->data));
}

/* Behind the pipe's header. */
void trace_decode_mouse(const struct trace_payload *payload, struct trace_event *event)
{
	if (payload->size >= sizeof(struct pipe_header) + 4)
		trace_name(&event->name, mouse_names, ARRAY_LENGTH(mouse_names),
			   get_le32(payload->data + sizeof(struct pipe_header)));
}

void trace_decode_video(const struct trace_payload *payload, struct trace_event *event)
{
	if (payload->size >= sizeof(struct pipe_header) + 4)
		trace_name(&event->name, video_names, ARRAY_LENGTH(video_names),
			   get_le32(payload->data + sizeof(struct pipe_header)));
}
