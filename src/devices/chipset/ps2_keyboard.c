#include "devices/chipset/ps2_keyboard.h"

#include <errno.h>

#include "devices/chipset/ps2_scan.h"
#include "devices/vsp/input_wire.h"

#define STATE_VERSION	  1
#define STATE_NAME	  "keyboard"
#define SET_DEFAULT	  2
#define SETS		  3
#define TYPEMATIC_DEFAULT 0x2b /* 10.9 a second, after 500 ms */
#define LEDS_ALL	  7

enum {
	SET_LEDS = 0xed,
	ECHO = 0xee,
	SET_SCAN_CODES = 0xf0,
	IDENTIFY = 0xf2,
	/* Set 3: how keys of one or all kinds repeat and are let go. */
	ALL_KEYS_FIRST = 0xf7,
	ALL_KEYS_LAST = 0xfa,
	KEYS_FIRST = 0xfb,
	KEYS_LAST = 0xfd,
};

#define ID_FIRST   0xab
#define ID_SECOND  0x83
#define BREAK_SET2 0xf0
#define BREAK_SET1 0x80
#define PREFIX_E0  0xe0
#define PREFIX_E1  0xe1

static void set_defaults(struct ps2_keyboard *keyboard)
{
	ps2_clear(&keyboard->codes);
	keyboard->set = SET_DEFAULT;
	keyboard->typematic = TYPEMATIC_DEFAULT;
	keyboard->command = 0;
}

void ps2_keyboard_init(struct ps2_keyboard *keyboard)
{
	ps2_clear(&keyboard->replies);
	set_defaults(keyboard);
	keyboard->scanning = true;
	keyboard->leds = 0;
	keyboard->last = 0;
}

static void answer(struct ps2_keyboard *keyboard, uint8_t byte)
{
	ps2_put(&keyboard->replies, byte);
}

static void reset(struct ps2_keyboard *keyboard)
{
	ps2_keyboard_init(keyboard);
	answer(keyboard, PS2_ACK);
	answer(keyboard, PS2_SELF_TEST_OK);
}

static void identify(struct ps2_keyboard *keyboard)
{
	answer(keyboard, PS2_ACK);
	answer(keyboard, ID_FIRST);
	answer(keyboard, ID_SECOND);
}

/* To be followed by a byte. */
static void await(struct ps2_keyboard *keyboard, uint8_t command)
{
	keyboard->command = command;
	answer(keyboard, PS2_ACK);
}

static void select_set(struct ps2_keyboard *keyboard, uint8_t set)
{
	if (set > SETS) {
		answer(keyboard, PS2_RESEND);
		return;
	}
	answer(keyboard, PS2_ACK);
	if (set == 0)
		answer(keyboard, keyboard->set);
	else
		keyboard->set = set;
}

static void take_parameter(struct ps2_keyboard *keyboard, uint8_t byte)
{
	uint8_t command = keyboard->command;

	keyboard->command = 0;
	if (command == SET_SCAN_CODES) {
		select_set(keyboard, byte);
		return;
	}
	if (command == SET_LEDS)
		keyboard->leds = byte & LEDS_ALL;
	else if (command == PS2_SET_RATE)
		keyboard->typematic = byte & 0x7f;
	else
		keyboard->command = command; /* a list of keys goes on until a command comes */
	answer(keyboard, PS2_ACK);
}

static void set_scanning(struct ps2_keyboard *keyboard, bool scanning)
{
	keyboard->scanning = scanning;
	answer(keyboard, PS2_ACK);
}

static void take_command(struct ps2_keyboard *keyboard, uint8_t byte)
{
	switch (byte) {
	case SET_LEDS:
	case SET_SCAN_CODES:
	case PS2_SET_RATE:
	case KEYS_FIRST ... KEYS_LAST:
		await(keyboard, byte);
		break;
	case ECHO:
		answer(keyboard, ECHO);
		break;
	case IDENTIFY:
		identify(keyboard);
		break;
	case PS2_ENABLE:
		ps2_clear(&keyboard->codes);
		set_scanning(keyboard, true);
		break;
	case PS2_DISABLE:
		set_defaults(keyboard);
		set_scanning(keyboard, false);
		break;
	case PS2_SET_DEFAULTS:
		set_defaults(keyboard);
		answer(keyboard, PS2_ACK);
		break;
	case ALL_KEYS_FIRST ... ALL_KEYS_LAST:
		answer(keyboard, PS2_ACK);
		break;
	case PS2_RESET:
		reset(keyboard);
		break;
	default:
		answer(keyboard, PS2_RESEND);
	}
}

void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte)
{
	/* Parameters are below all commands. */
	if (keyboard->command && byte < SET_LEDS) {
		take_parameter(keyboard, byte);
		return;
	}
	keyboard->command = 0;
	if (byte == PS2_RESEND) {
		answer(keyboard, keyboard->last);
		return;
	}
	ps2_clear(&keyboard->replies);
	take_command(keyboard, byte);
}

bool ps2_keyboard_read(struct ps2_keyboard *keyboard, uint8_t *byte)
{
	if (!ps2_take(&keyboard->replies, byte) && !ps2_take(&keyboard->codes, byte))
		return false;
	keyboard->last = *byte;
	return true;
}

bool ps2_keyboard_ready(const struct ps2_keyboard *keyboard)
{
	return keyboard->scanning && keyboard->codes.count == 0;
}

static void put_set3(struct ps2_keyboard *keyboard, const struct keyboard_stroke *stroke)
{
	uint8_t code = ps2_scan_set3((uint8_t)stroke->make_code, stroke->info & KEYBOARD_E0);

	if (code == 0)
		return;
	if (stroke->info & KEYBOARD_BREAK)
		ps2_put(&keyboard->codes, BREAK_SET2);
	ps2_put(&keyboard->codes, code);
}

void ps2_keyboard_stroke(struct ps2_keyboard *keyboard, const struct keyboard_stroke *stroke)
{
	bool release = stroke->info & KEYBOARD_BREAK;
	uint8_t code = (uint8_t)stroke->make_code;

	if (keyboard->set == 3) {
		put_set3(keyboard, stroke);
		return;
	}
	if (stroke->info & (KEYBOARD_E0 | KEYBOARD_E1))
		ps2_put(&keyboard->codes, stroke->info & KEYBOARD_E0 ? PREFIX_E0 : PREFIX_E1);
	if (keyboard->set == 1) {
		ps2_put(&keyboard->codes, code | (release ? BREAK_SET1 : 0));
		return;
	}
	if (release)
		ps2_put(&keyboard->codes, BREAK_SET2);
	ps2_put(&keyboard->codes, ps2_scan_set2(code));
}

void ps2_keyboard_save(const struct ps2_keyboard *keyboard, struct state_writer *writer)
{
	state_begin(writer, STATE_NAME, STATE_VERSION);
	ps2_save(&keyboard->replies, writer, "replies");
	ps2_save(&keyboard->codes, writer, "codes");
	state_put_u32(writer, "set", keyboard->set);
	state_put_u32(writer, "scanning", keyboard->scanning);
	state_put_u32(writer, "leds", keyboard->leds);
	state_put_u32(writer, "typematic", keyboard->typematic);
	state_put_u32(writer, "command", keyboard->command);
	state_put_u32(writer, "last", keyboard->last);
	state_end(writer);
}

int ps2_keyboard_restore(struct ps2_keyboard *keyboard, const struct state_node *parent)
{
	uint32_t set, scanning, leds, typematic, command, last;
	struct ps2_keyboard saved;
	struct state_node node;
	int r = state_child(parent, STATE_NAME, STATE_VERSION, &node);

	if (r == 0)
		r = state_get_u32(&node, "set", &set);
	if (r == 0)
		r = state_get_u32(&node, "scanning", &scanning);
	if (r == 0)
		r = state_get_u32(&node, "leds", &leds);
	if (r == 0)
		r = state_get_u32(&node, "typematic", &typematic);
	if (r == 0)
		r = state_get_u32(&node, "command", &command);
	if (r == 0)
		r = state_get_u32(&node, "last", &last);
	if (r < 0)
		return r;
	if (set < 1 || set > SETS || leds > LEDS_ALL || command > UINT8_MAX ||
	    !ps2_restore(&saved.replies, &node, "replies") ||
	    !ps2_restore(&saved.codes, &node, "codes"))
		return -EINVAL;
	saved.set = (uint8_t)set;
	saved.scanning = scanning;
	saved.leds = (uint8_t)leds;
	saved.typematic = (uint8_t)typematic;
	saved.command = (uint8_t)command;
	saved.last = (uint8_t)last;
	*keyboard = saved;
	return 0;
}
