#include "devices/vsp/keyboard.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define STATE_VERSION	 1
#define ALL_LEDS	 (KEYBOARD_LED_SCROLL | KEYBOARD_LED_NUM | KEYBOARD_LED_CAPS)
#define VERSION_MAJOR(v) ((v) >> 16)

static struct keyboard *from_synth(struct synth *synth)
{
	return container_of(synth, struct keyboard, synth);
}

/* As many as the queue has room for. */
static void pump(struct synth *synth)
{
	struct keyboard *keyboard = from_synth(synth);
	const struct keyboard_stroke *stroke;

	while (keyboard->accepted && (stroke = strokes_next(&keyboard->strokes))) {
		const struct keyboard_event event = {
			.type = KEYBOARD_EVENT,
			.make_code = stroke->make_code,
			.info = stroke->info,
		};

		if (synth_send(synth, &event, sizeof(event), false) < 0)
			return;
		strokes_taken(&keyboard->strokes);
	}
}

int keyboard_type(struct keyboard *keyboard, const struct keyboard_stroke *strokes,
		  unsigned int count)
{
	int r;

	for (unsigned int i = 0; i < count; i++) {
		if (!keyboard_stroke_valid(&strokes[i]))
			return -EINVAL;
	}
	if (!keyboard->accepted)
		return -ENOTCONN;
	r = strokes_put(&keyboard->strokes, strokes, count);
	if (r == 0)
		pump(&keyboard->synth);
	return r;
}

static void answer_request(struct keyboard *keyboard, const uint8_t *data)
{
	struct keyboard_protocol_request request;
	struct keyboard_protocol_response response = {.type = KEYBOARD_PROTOCOL_RESPONSE};

	memcpy(&request, data, sizeof(request));
	keyboard->accepted = VERSION_MAJOR(request.version) == 1;
	if (keyboard->accepted)
		response.status = KEYBOARD_ACCEPTED;
	synth_send(&keyboard->synth, &response, sizeof(response), true);
}

static void set_leds(struct keyboard *keyboard, const uint8_t *data)
{
	struct keyboard_leds leds;

	memcpy(&leds, data, sizeof(leds));
	keyboard->leds = leds.leds & ALL_LEDS;
	if (keyboard->on_leds)
		keyboard->on_leds(keyboard->context, keyboard->leds);
}

static void received(struct synth *synth, const uint8_t *data, uint32_t size)
{
	uint32_t type = 0;

	if (size >= sizeof(struct keyboard_protocol_request))
		memcpy(&type, data, sizeof(type));
	switch (type) {
	case KEYBOARD_PROTOCOL_REQUEST:
		answer_request(from_synth(synth), data);
		return;
	case KEYBOARD_LED_INDICATORS:
		set_leds(from_synth(synth), data);
		return;
	default:
		synth->malformed++;
	}
}

/* A driver that comes anew knows of no key that was pressed. */
static void forget(struct synth *synth)
{
	struct keyboard *keyboard = from_synth(synth);

	keyboard->accepted = false;
	strokes_clear(&keyboard->strokes);
	keyboard->leds = 0;
}

const struct synth_ops keyboard_ops = {
	.name = "keyboard",
	.class_id = GUID_INIT(0xf912ad6d, 0x2b17, 0x48ea, 0xbd, 0x65, 0xf9, 0x27, 0xa6, 0x1c, 0x76,
			      0x84),
	.instance_id = GUID_INIT(0xd34b2567, 0xb9b6, 0x42b9, 0x87, 0x78, 0x0a, 0x4e, 0xc0, 0xb9,
				 0x55, 0xbf),
	.received = received,
	.room = pump,
	.opened = forget,
	.closed = forget,
};

void keyboard_save(struct keyboard *keyboard, struct state_writer *writer)
{
	state_begin(writer, keyboard_ops.name, STATE_VERSION);
	state_put_u32(writer, "accepted", keyboard->accepted);
	state_put_u32(writer, "leds", keyboard->leds);
	state_put_u64(writer, "dropped", keyboard->strokes.dropped);
	strokes_save(&keyboard->strokes, writer);
	synth_save(&keyboard->synth, writer);
	state_end(writer);
}

int keyboard_restore(struct keyboard *keyboard, const struct state_node *parent)
{
	uint32_t accepted, leds;
	uint64_t dropped;
	struct state_node node;
	int r = state_child(parent, keyboard_ops.name, STATE_VERSION, &node);

	if (r == 0)
		r = state_get_u32(&node, "accepted", &accepted);
	if (r == 0)
		r = state_get_u32(&node, "leds", &leds);
	if (r == 0)
		r = state_get_u64(&node, "dropped", &dropped);
	if (r == 0)
		r = synth_restore(&keyboard->synth, &node);
	if (r == 0)
		r = strokes_restore(&keyboard->strokes, &node);
	if (r < 0)
		return r;
	keyboard->accepted = accepted;
	keyboard->leds = leds & ALL_LEDS;
	keyboard->strokes.dropped = dropped;
	return 0;
}
