#include "base/checked.h"
#include "base/keys.h"
#include "devices/vsp/input_wire.h"
#include "tools/vnc.h"

#define PLACE_MAX 32767 /* as the mouse has it */
#define E0_KEYS	  128u	/* where they begin in struct vnc_input */

/* RFB's buttons. */
#define RFB_LEFT	0x01
#define RFB_MIDDLE	0x02
#define RFB_RIGHT	0x04
#define RFB_WHEEL_UP	0x08
#define RFB_WHEEL_DOWN	0x10
#define RFB_WHEEL_LEFT	0x20
#define RFB_WHEEL_RIGHT 0x40

static struct display_message key_message(unsigned int key, bool down)
{
	uint32_t info = (key >= E0_KEYS ? KEYBOARD_E0 : 0) | (down ? 0 : KEYBOARD_BREAK);

	return (struct display_message){DISPLAY_KEY, {key % E0_KEYS, info}};
}

bool vnc_key(struct vnc_input *input, uint32_t keysym, bool down, struct display_message *message)
{
	uint32_t stroke = keys_of_keysym(keysym);
	unsigned int key = stroke % E0_KEYS + (stroke & KEYS_E0 ? E0_KEYS : 0);

	/* What was never pressed needs no release; a press again is a repetition. */
	if (!stroke || (!down && !input->keys[key]))
		return false;
	input->keys[key] = down;
	*message = key_message(key, down);
	return true;
}

bool vnc_release(struct vnc_input *input, struct display_message *message)
{
	for (unsigned int key = 0; key < ARRAY_LENGTH(input->keys); key++) {
		if (!input->keys[key])
			continue;
		input->keys[key] = false;
		*message = key_message(key, false);
		return true;
	}
	return false;
}

static uint32_t scale(int place, uint32_t size)
{
	if (place <= 0 || size < 2)
		return 0;
	return (uint32_t)MIN((int64_t)place, (int64_t)size - 1) * PLACE_MAX / (size - 1);
}

struct display_message vnc_pointer(struct vnc_input *input, const struct vnc_screen *screen, int x,
				   int y, uint8_t buttons)
{
	uint8_t pressed = (uint8_t)(buttons & ~input->buttons);
	uint32_t hid = (buttons & RFB_LEFT ? 1u : 0) | (buttons & RFB_RIGHT ? 2u : 0) |
		       (buttons & RFB_MIDDLE ? 4u : 0);
	int wheel = !!(pressed & RFB_WHEEL_UP) - !!(pressed & RFB_WHEEL_DOWN);
	int pan = !!(pressed & RFB_WHEEL_RIGHT) - !!(pressed & RFB_WHEEL_LEFT);

	input->buttons = buttons;
	input->x = scale(x, screen->width);
	input->y = scale(y, screen->height);
	return (struct display_message){DISPLAY_POINTER,
					{input->x, input->y, hid, (uint32_t)wheel, (uint32_t)pan}};
}

bool vnc_release_buttons(struct vnc_input *input, struct display_message *message)
{
	if (!input->buttons)
		return false;
	input->buttons = 0;
	*message = (struct display_message){DISPLAY_POINTER, {input->x, input->y}};
	return true;
}

static unsigned int key_of(const struct display_message *message)
{
	return message->values[0] % E0_KEYS + (message->values[1] & KEYBOARD_E0 ? E0_KEYS : 0);
}

static void owe_release(struct vnc_debts *debts, unsigned int key)
{
	debts->key_count += !debts->keys[key];
	debts->keys[key] = true;
}

void vnc_owe(struct vnc_debts *debts, const struct display_message *message)
{
	if (message->type == DISPLAY_POINTER) {
		debts->pointer = *message;
		/* A wheel that was turned meanwhile stays where it is. */
		debts->pointer.values[3] = debts->pointer.values[4] = 0;
		debts->pointer_due = true;
	} else if (message->values[1] & KEYBOARD_BREAK) {
		owe_release(debts, key_of(message));
	}
}

bool vnc_debt(const struct vnc_debts *debts, struct display_message *message)
{
	for (unsigned int key = 0; debts->key_count && key < ARRAY_LENGTH(debts->keys); key++) {
		if (!debts->keys[key])
			continue;
		*message = key_message(key, false);
		return true;
	}
	if (debts->pointer_due)
		*message = debts->pointer;
	return debts->pointer_due;
}

void vnc_paid(struct vnc_debts *debts, const struct display_message *message)
{
	if (message->type == DISPLAY_POINTER) {
		debts->pointer_due = false;
		return;
	}
	debts->keys[key_of(message)] = false;
	debts->key_count--;
}
