#include "devices/vsp/mouse.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define STATE_VERSION	 1
#define HID_DESCRIPTOR	 0x21
#define HID_REPORT	 0x22
#define HID_VERSION	 0x0111
#define VERSION_MAJOR(v) ((v) >> 16)

/* As Linux's driver looks for it. */
#define VENDOR	0x045e
#define PRODUCT 0x0621

/* HID 1.11, 6.2.2; usages of HID Usage Tables: generic desktop, buttons, consumer. */
static const uint8_t report_descriptor[] = {
	0x05, 0x01,	  /* usage page: generic desktop */
	0x09, 0x02,	  /* usage: mouse */
	0xa1, 0x01,	  /* collection: application */
	0x09, 0x01,	  /*  usage: pointer */
	0xa1, 0x00,	  /*  collection: physical */
	0x05, 0x09,	  /*   usage page: buttons */
	0x19, 0x01,	  /*   the first of them */
	0x29, 0x05,	  /*   to the fifth */
	0x15, 0x00,	  /*   from 0 */
	0x25, 0x01,	  /*   to 1 */
	0x75, 0x01,	  /*   one bit */
	0x95, 0x05,	  /*   five times */
	0x81, 0x02,	  /*   input: variable, absolute */
	0x75, 0x03,	  /*   three bits */
	0x95, 0x01,	  /*   once */
	0x81, 0x03,	  /*   input: constant */
	0x05, 0x01,	  /*   usage page: generic desktop */
	0x09, 0x30,	  /*   usage: X */
	0x09, 0x31,	  /*   usage: Y */
	0x15, 0x00,	  /*   from 0 */
	0x26, 0xff, 0x7f, /*   to 32767 */
	0x75, 0x10,	  /*   16 bits */
	0x95, 0x02,	  /*   twice */
	0x81, 0x02,	  /*   input: variable, absolute */
	0x09, 0x38,	  /*   usage: wheel */
	0x15, 0x81,	  /*   from -127 */
	0x25, 0x7f,	  /*   to 127 */
	0x75, 0x08,	  /*   8 bits */
	0x95, 0x01,	  /*   once */
	0x81, 0x06,	  /*   input: variable, relative */
	0x05, 0x0c,	  /*   usage page: consumer */
	0x0a, 0x38, 0x02, /*   usage: AC pan */
	0x95, 0x01,	  /*   once */
	0x81, 0x06,	  /*   input: variable, relative */
	0xc0, 0xc0,	  /* ends of both collections */
};

/* Which state may follow which. */
static const uint8_t transitions[MOUSE_STATES] = {
	[MOUSE_CLOSED] = 1 << MOUSE_OFFERED,
	[MOUSE_OFFERED] = 1 << MOUSE_DESCRIBED | 1 << MOUSE_CLOSED,
	[MOUSE_DESCRIBED] = 1 << MOUSE_READY | 1 << MOUSE_CLOSED,
	[MOUSE_READY] = 1 << MOUSE_CLOSED,
};

static void set_state(struct mouse *mouse, enum mouse_state state)
{
	assert(transitions[mouse->state] & 1 << state);
	mouse->state = state;
}

static struct mouse *from_synth(struct synth *synth)
{
	return container_of(synth, struct mouse, synth);
}

static void describe(struct mouse *mouse)
{
	struct {
		struct mouse_device_info info;
		uint8_t report[sizeof(report_descriptor)];
	} __attribute__((packed)) message = {
		.info =
			{
				.header = {MOUSE_DEVICE_INFO,
					   sizeof(message) - sizeof(struct mouse_header)},
				.size = 32,
				.vendor = VENDOR,
				.product = PRODUCT,
				.version = 2,
				.length = 9,
				.descriptor_type = HID_DESCRIPTOR,
				.hid_version = HID_VERSION,
				.descriptor_count = 1,
				.report_type = HID_REPORT,
				.report_length = sizeof(report_descriptor),
			},
	};

	memcpy(message.report, report_descriptor, sizeof(report_descriptor));
	if (synth_send(&mouse->synth, &message, sizeof(message), true) == 0)
		set_state(mouse, MOUSE_DESCRIBED);
}

static void answer_request(struct mouse *mouse, const uint8_t *data)
{
	struct mouse_protocol_request request;
	struct mouse_protocol_response response = {
		.header = {MOUSE_PROTOCOL_RESPONSE, sizeof(response) - sizeof(response.header)},
	};

	memcpy(&request, data, sizeof(request));
	response.version = request.version;
	response.approved = VERSION_MAJOR(request.version) == 2;
	if (synth_send(&mouse->synth, &response, sizeof(response), true) == 0 && response.approved)
		describe(mouse);
}

static void received(struct synth *synth, const uint8_t *data, uint32_t size)
{
	struct mouse *mouse = from_synth(synth);
	struct mouse_header header = {.type = UINT32_MAX};

	if (size >= sizeof(header))
		memcpy(&header, data, sizeof(header));
	if (header.type == MOUSE_PROTOCOL_REQUEST &&
	    size >= sizeof(struct mouse_protocol_request) && mouse->state == MOUSE_OFFERED)
		answer_request(mouse, data);
	else if (header.type == MOUSE_DEVICE_INFO_ACK && mouse->state == MOUSE_DESCRIBED)
		set_state(mouse, MOUSE_READY);
	else
		synth->malformed++;
}

/* A mere movement, with nothing of its own to say. */
static bool overtaken(const void *waiting, const void *message)
{
	const struct mouse_input_report *old = waiting, *new = message;

	return old->header.type == MOUSE_INPUT_REPORT && new->header.type == MOUSE_INPUT_REPORT &&
	       old->report.buttons == new->report.buttons && !old->report.wheel && !old->report.pan;
}

/* The last report, or keeps it for later. */
static void send_last(struct mouse *mouse)
{
	const struct mouse_input_report message = {
		.header = {MOUSE_INPUT_REPORT, sizeof(mouse->last)},
		.report = mouse->last,
	};

	mouse->late = !synth_replace(&mouse->synth, &message, sizeof(message), overtaken) &&
		      synth_send(&mouse->synth, &message, sizeof(message), false) < 0;
}

static void room(struct synth *synth)
{
	if (from_synth(synth)->late)
		send_last(from_synth(synth));
}

int mouse_move(struct mouse *mouse, const struct mouse_report *report)
{
	if (report->x > MOUSE_RANGE || report->y > MOUSE_RANGE || report->buttons & ~MOUSE_BUTTONS)
		return -EINVAL;
	if (mouse->state != MOUSE_READY)
		return -ENOTCONN;
	mouse->dropped += mouse->late;
	mouse->last = *report;
	send_last(mouse);
	return 0;
}

static void opened(struct synth *synth)
{
	set_state(from_synth(synth), MOUSE_OFFERED);
}

static void closed(struct synth *synth)
{
	set_state(from_synth(synth), MOUSE_CLOSED);
	from_synth(synth)->late = false;
}

const struct synth_ops mouse_ops = {
	.name = "mouse",
	.class_id = GUID_INIT(0xcfa8b69e, 0x5b4a, 0x4cc0, 0xb9, 0x8b, 0x8b, 0xa1, 0xa1, 0xf3, 0xf9,
			      0x5a),
	.instance_id = GUID_INIT(0x58f75a6d, 0xd949, 0x4320, 0x99, 0xe1, 0xa2, 0xa2, 0x57, 0x6d,
				 0x58, 0x1c),
	.pipe = true,
	.received = received,
	.room = room,
	.opened = opened,
	.closed = closed,
};

void mouse_save(struct mouse *mouse, struct state_writer *writer)
{
	state_begin(writer, mouse_ops.name, STATE_VERSION);
	state_put_u32(writer, "state", mouse->state);
	state_put_u32(writer, "late", mouse->late);
	state_put_bytes(writer, "last", &mouse->last, sizeof(mouse->last));
	state_put_u64(writer, "dropped", mouse->dropped);
	synth_save(&mouse->synth, writer);
	state_end(writer);
}

int mouse_restore(struct mouse *mouse, const struct state_node *parent)
{
	struct mouse_report last;
	uint64_t dropped;
	uint32_t state, late;
	struct state_node node;
	int r = state_child(parent, mouse_ops.name, STATE_VERSION, &node);

	if (r == 0)
		r = state_get_u32(&node, "state", &state);
	if (r == 0)
		r = state_get_u32(&node, "late", &late);
	if (r == 0)
		r = state_get_bytes(&node, "last", &last, sizeof(last));
	if (r == 0)
		r = state_get_u64(&node, "dropped", &dropped);
	if (r == 0 &&
	    (state >= MOUSE_STATES || (state == MOUSE_CLOSED) != (mouse->state == MOUSE_CLOSED)))
		r = -EINVAL;
	if (r == 0)
		r = synth_restore(&mouse->synth, &node);
	if (r < 0)
		return r;
	mouse->state = state;
	mouse->late = late;
	mouse->last = last;
	mouse->dropped = dropped;
	return 0;
}
