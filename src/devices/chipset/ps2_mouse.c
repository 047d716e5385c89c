#include "devices/chipset/ps2_mouse.h"

#include <errno.h>

#include "base/checked.h"

#define STATE_VERSION	   1
#define STATE_NAME	   "mouse"
#define RATE_DEFAULT	   100
#define RESOLUTION_DEFAULT 2 /* 4 counts a millimetre */
#define RESOLUTIONS	   4
#define ID_WHEEL	   3
#define ID_FIVE_BUTTONS	   4
#define BUTTONS_ALL	   0x1f
#define BUTTONS_THREE	   7
/* What a host that does not listen may miss, before the rest is forgotten. */
#define DISTANCE_MAX	   4096
#define COUNT_MAX	   255 /* a packet has nine bits */

enum {
	SCALE_1_1 = 0xe6,
	SCALE_2_1 = 0xe7,
	SET_RESOLUTION = 0xe8,
	ASK_STATUS = 0xe9,
	SET_STREAM = 0xea,
	READ_DATA = 0xeb,
	RESET_WRAP = 0xec,
	SET_WRAP = 0xee,
	SET_REMOTE = 0xf0,
	ASK_ID = 0xf2,
};

/* A packet's first byte, and the status's. */
#define PACKET_ALWAYS	 0x08
#define PACKET_DX_SIGN	 0x10
#define PACKET_DY_SIGN	 0x20
#define STATUS_SCALING	 0x10
#define STATUS_REPORTING 0x20
#define STATUS_REMOTE	 0x40

static void set_defaults(struct ps2_mouse *mouse)
{
	ps2_clear(&mouse->packets);
	mouse->rate = RATE_DEFAULT;
	mouse->resolution = RESOLUTION_DEFAULT;
	mouse->scaling = false;
	mouse->reporting = false;
	mouse->remote = false;
	mouse->wrap = false;
	mouse->command = 0;
	mouse->dx = mouse->dy = mouse->dz = 0;
	mouse->told = mouse->buttons;
}

void ps2_mouse_init(struct ps2_mouse *mouse)
{
	ps2_clear(&mouse->replies);
	set_defaults(mouse);
	mouse->id = 0;
	mouse->last = 0;
	memset(mouse->rates, 0, sizeof(mouse->rates));
	mouse->buttons = mouse->told = 0;
}

static void answer(struct ps2_mouse *mouse, uint8_t byte)
{
	ps2_put(&mouse->replies, byte);
}

static int32_t take_count(int32_t *distance, int32_t least, int32_t most)
{
	int32_t count = MIN(MAX(*distance, least), most);

	*distance -= count;
	return count;
}

/* The buttons are where the three-byte packet's are, in the first byte. */
static void put_packet(struct ps2_mouse *mouse, struct ps2_queue *queue)
{
	int32_t dx = take_count(&mouse->dx, -COUNT_MAX, COUNT_MAX);
	int32_t dy = take_count(&mouse->dy, -COUNT_MAX, COUNT_MAX);
	int32_t dz = take_count(&mouse->dz, -8, 7);

	mouse->told = mouse->buttons;
	ps2_put(queue, (uint8_t)(PACKET_ALWAYS | (mouse->buttons & BUTTONS_THREE) |
				 (dx < 0 ? PACKET_DX_SIGN : 0) | (dy < 0 ? PACKET_DY_SIGN : 0)));
	ps2_put(queue, (uint8_t)dx);
	ps2_put(queue, (uint8_t)dy);
	if (mouse->id == ID_WHEEL)
		ps2_put(queue, (uint8_t)dz);
	else if (mouse->id == ID_FIVE_BUTTONS)
		ps2_put(queue, (uint8_t)((dz & 0xf) | (mouse->buttons & 0x18) << 1));
}

/* One packet at a time: what happens until the host has taken it goes into the next. */
static void stream(struct ps2_mouse *mouse)
{
	bool news = mouse->dx || mouse->dy || mouse->dz || mouse->buttons != mouse->told;

	if (news && mouse->reporting && !mouse->remote && !mouse->wrap && mouse->packets.count == 0)
		put_packet(mouse, &mouse->packets);
}

static void put_status(struct ps2_mouse *mouse)
{
	/* Here left is the highest of three. */
	uint8_t b = mouse->buttons;
	uint8_t status = (uint8_t)((b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1);

	status |= (mouse->scaling ? STATUS_SCALING : 0) |
		  (mouse->reporting ? STATUS_REPORTING : 0) | (mouse->remote ? STATUS_REMOTE : 0);
	answer(mouse, status);
	answer(mouse, mouse->resolution);
	answer(mouse, mouse->rate);
}

static void set_rate(struct ps2_mouse *mouse, uint8_t rate)
{
	const uint8_t *before = mouse->rates;

	if (rate == 80 && before[0] == 100 && before[1] == 200)
		mouse->id = ID_WHEEL;
	else if (rate == 80 && before[0] == 200 && before[1] == 200)
		mouse->id = ID_FIVE_BUTTONS;
	mouse->rates[1] = mouse->rates[0];
	mouse->rates[0] = rate;
	mouse->rate = rate;
}

static void take_parameter(struct ps2_mouse *mouse, uint8_t byte)
{
	uint8_t command = mouse->command;

	mouse->command = 0;
	if (command == SET_RESOLUTION && byte >= RESOLUTIONS) {
		answer(mouse, PS2_RESEND);
		return;
	}
	answer(mouse, PS2_ACK);
	if (command == SET_RESOLUTION)
		mouse->resolution = byte;
	else
		set_rate(mouse, byte);
}

static void set_mode(struct ps2_mouse *mouse, uint8_t command)
{
	switch (command) {
	case SCALE_1_1:
	case SCALE_2_1:
		mouse->scaling = command == SCALE_2_1;
		break;
	case SET_STREAM:
	case SET_REMOTE:
		mouse->remote = command == SET_REMOTE;
		break;
	case SET_WRAP:
	case RESET_WRAP:
		mouse->wrap = command == SET_WRAP;
		break;
	case PS2_ENABLE:
	case PS2_DISABLE:
		mouse->reporting = command == PS2_ENABLE;
		break;
	default:
		set_defaults(mouse);
	}
	ps2_clear(&mouse->packets);
}

static void take_command(struct ps2_mouse *mouse, uint8_t byte)
{
	answer(mouse, PS2_ACK);
	switch (byte) {
	case SET_RESOLUTION:
	case PS2_SET_RATE:
		mouse->command = byte;
		break;
	case ASK_STATUS:
		put_status(mouse);
		break;
	case READ_DATA:
		put_packet(mouse, &mouse->replies);
		break;
	case ASK_ID:
		answer(mouse, mouse->id);
		break;
	case PS2_RESET:
		ps2_mouse_init(mouse);
		answer(mouse, PS2_ACK);
		answer(mouse, PS2_SELF_TEST_OK);
		answer(mouse, mouse->id);
		break;
	default:
		set_mode(mouse, byte);
	}
}

static bool is_command(uint8_t byte)
{
	return (byte >= SCALE_1_1 && byte <= RESET_WRAP) || byte == SET_WRAP ||
	       byte == SET_REMOTE || (byte >= ASK_ID && byte <= PS2_SET_DEFAULTS) ||
	       byte == PS2_RESET;
}

void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte)
{
	if (mouse->wrap && byte != PS2_RESET && byte != RESET_WRAP) {
		answer(mouse, byte);
		return;
	}
	if (byte == PS2_RESEND) {
		answer(mouse, mouse->last);
		return;
	}
	ps2_clear(&mouse->replies);
	if (mouse->command) {
		take_parameter(mouse, byte);
	} else if (is_command(byte)) {
		take_command(mouse, byte);
		stream(mouse);
	} else {
		answer(mouse, PS2_RESEND);
	}
}

bool ps2_mouse_read(struct ps2_mouse *mouse, uint8_t *byte)
{
	if (!ps2_take(&mouse->replies, byte)) {
		if (!ps2_take(&mouse->packets, byte))
			return false;
		stream(mouse);
	}
	mouse->last = *byte;
	return true;
}

static void add(int32_t *distance, int32_t more)
{
	int64_t sum = (int64_t)*distance + more;

	*distance = (int32_t)MIN(MAX(sum, (int64_t)-DISTANCE_MAX), (int64_t)DISTANCE_MAX);
}

void ps2_mouse_move(struct ps2_mouse *mouse, int32_t dx, int32_t dy, int32_t dz, uint8_t buttons)
{
	add(&mouse->dx, dx);
	add(&mouse->dy, dy);
	/* Without a wheel, nobody turns it. */
	add(&mouse->dz, mouse->id ? dz : 0);
	mouse->buttons = buttons & (mouse->id == ID_FIVE_BUTTONS ? BUTTONS_ALL : BUTTONS_THREE);
	if (!mouse->reporting && !mouse->remote)
		mouse->dx = mouse->dy = mouse->dz = 0;
	stream(mouse);
}

/* In the order of the structure. */
static void put_flags(const struct ps2_mouse *mouse, struct state_writer *writer)
{
	const uint8_t flags[] = {mouse->id,	   mouse->rate,	      mouse->rates[0],
				 mouse->rates[1],  mouse->resolution, mouse->scaling,
				 mouse->reporting, mouse->remote,     mouse->wrap,
				 mouse->command,   mouse->last,	      mouse->buttons,
				 mouse->told};

	state_put_bytes(writer, "registers", flags, sizeof(flags));
}

static int get_flags(struct ps2_mouse *mouse, const struct state_node *node)
{
	uint8_t flags[13];
	int r = state_get_bytes(node, "registers", flags, sizeof(flags));

	if (r < 0)
		return r;
	if ((flags[0] && flags[0] != ID_WHEEL && flags[0] != ID_FIVE_BUTTONS) ||
	    flags[4] >= RESOLUTIONS ||
	    (flags[9] && flags[9] != SET_RESOLUTION && flags[9] != PS2_SET_RATE))
		return -EINVAL;
	mouse->id = flags[0];
	mouse->rate = flags[1];
	mouse->rates[0] = flags[2];
	mouse->rates[1] = flags[3];
	mouse->resolution = flags[4];
	mouse->scaling = flags[5];
	mouse->reporting = flags[6];
	mouse->remote = flags[7];
	mouse->wrap = flags[8];
	mouse->command = flags[9];
	mouse->last = flags[10];
	mouse->buttons = flags[11] & BUTTONS_ALL;
	mouse->told = flags[12] & BUTTONS_ALL;
	return 0;
}

void ps2_mouse_save(const struct ps2_mouse *mouse, struct state_writer *writer)
{
	state_begin(writer, STATE_NAME, STATE_VERSION);
	ps2_save(&mouse->replies, writer, "replies");
	ps2_save(&mouse->packets, writer, "packets");
	put_flags(mouse, writer);
	state_put_u32(writer, "dx", (uint32_t)mouse->dx);
	state_put_u32(writer, "dy", (uint32_t)mouse->dy);
	state_put_u32(writer, "dz", (uint32_t)mouse->dz);
	state_end(writer);
}

static int get_distance(const struct state_node *node, const char *name, int32_t *distance)
{
	uint32_t value;
	int r = state_get_u32(node, name, &value);

	if (r < 0)
		return r;
	*distance = (int32_t)value;
	return *distance > DISTANCE_MAX || *distance < -DISTANCE_MAX ? -EINVAL : 0;
}

int ps2_mouse_restore(struct ps2_mouse *mouse, const struct state_node *parent)
{
	struct ps2_mouse saved = {.id = 0};
	struct state_node node;
	int r = state_child(parent, STATE_NAME, STATE_VERSION, &node);

	if (r == 0)
		r = get_flags(&saved, &node);
	if (r == 0)
		r = get_distance(&node, "dx", &saved.dx);
	if (r == 0)
		r = get_distance(&node, "dy", &saved.dy);
	if (r == 0)
		r = get_distance(&node, "dz", &saved.dz);
	if (r < 0)
		return r;
	if (!ps2_restore(&saved.replies, &node, "replies") ||
	    !ps2_restore(&saved.packets, &node, "packets"))
		return -EINVAL;
	*mouse = saved;
	return 0;
}
