#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/i8042_internal.h"
#include "devices/chipset/ps2_scan.h"
#include "devices/table.h"

#define PORT_DATA    0x60
#define PORT_COMMAND 0x64
#define GSI_KEYBOARD 1
#define GSI_MOUSE    12

/* The status register. */
#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM	   0x04
#define STATUS_COMMAND	   0x08 /* the last write was one */
#define STATUS_UNLOCKED	   0x10
#define STATUS_AUX	   0x20

/* The command byte. */
#define CONTROL_KEYBOARD_IRQ 0x01
#define CONTROL_AUX_IRQ	     0x02
#define CONTROL_SYSTEM	     0x04 /* the self test was passed */
#define CONTROL_NO_KEYBOARD  0x10
#define CONTROL_NO_AUX	     0x20
#define CONTROL_TRANSLATE    0x40

/* The output port.  Nothing is behind the A20 gate: addresses never wrap. */
#define OUTPUT_NOT_RESET    0x01
#define OUTPUT_A20	    0x02
#define OUTPUT_KEYBOARD_IRQ 0x10
#define OUTPUT_AUX_IRQ	    0x20

enum {
	READ_RAM = 0x20,
	READ_RAM_LAST = 0x3f,
	WRITE_RAM = 0x60,
	WRITE_RAM_LAST = 0x7f,
	TEST_PASSWORD = 0xa4,
	DISABLE_AUX = 0xa7,
	ENABLE_AUX = 0xa8,
	TEST_AUX = 0xa9,
	SELF_TEST = 0xaa,
	TEST_KEYBOARD = 0xab,
	DISABLE_KEYBOARD = 0xad,
	ENABLE_KEYBOARD = 0xae,
	READ_INPUT_PORT = 0xc0,
	READ_OUTPUT_PORT = 0xd0,
	WRITE_OUTPUT_PORT = 0xd1,
	WRITE_KEYBOARD_BUFFER = 0xd2,
	WRITE_AUX_BUFFER = 0xd3,
	WRITE_AUX = 0xd4,
	READ_TEST_INPUTS = 0xe0,
	PULSE_FIRST = 0xf0,
};

#define SELF_TEST_OK 0x55
#define PORT_OK	     0x00
#define NO_PASSWORD  0xf1
#define INPUT_PORT   0x80 /* the keyboard is not locked */
#define BREAK_PREFIX 0xf0
#define BREAK_BIT    0x80

static uint8_t *control_of(struct i8042 *chip)
{
	return &chip->regs.ram[0];
}

/* False for the byte that only begins the release of a key. */
static bool translate(struct i8042 *chip, uint8_t byte, uint8_t *out)
{
	bool release = chip->regs.release;

	*out = byte;
	if (!(*control_of(chip) & CONTROL_TRANSLATE))
		return true;
	chip->regs.release = byte == BREAK_PREFIX;
	if (chip->regs.release)
		return false;
	*out = ps2_scan_translate(byte) | (release ? BREAK_BIT : 0);
	return true;
}

static bool take_keyboard(struct i8042 *chip)
{
	uint8_t byte;

	while (ps2_keyboard_read(&chip->keyboard, &byte)) {
		if (translate(chip, byte, &chip->regs.output))
			return true;
	}
	return false;
}

static void fill(struct i8042 *chip)
{
	uint8_t control = *control_of(chip);

	if (chip->regs.reply_due) {
		chip->regs.output = chip->regs.reply.byte;
		chip->regs.aux = chip->regs.reply.aux;
		chip->regs.reply_due = false;
		chip->regs.full = true;
	} else if (!(control & CONTROL_NO_KEYBOARD) && take_keyboard(chip)) {
		chip->regs.aux = false;
		chip->regs.full = true;
	} else if (!(control & CONTROL_NO_AUX) &&
		   ps2_mouse_read(&chip->mouse, &chip->regs.output)) {
		chip->regs.aux = true;
		chip->regs.full = true;
	}
}

bool i8042_takes_stroke(const struct i8042 *chip)
{
	return ps2_keyboard_ready(&chip->keyboard) && (!chip->regs.full || chip->regs.aux);
}

void i8042_update(struct i8042 *chip)
{
	uint8_t control = *control_of(chip);

	if (!chip->regs.full)
		fill(chip);
	irq_level_set(chip->keyboard_irq,
		      chip->regs.full && !chip->regs.aux && control & CONTROL_KEYBOARD_IRQ);
	irq_level_set(chip->mouse_irq,
		      chip->regs.full && chip->regs.aux && control & CONTROL_AUX_IRQ);
	if (chip->strokes_wait && i8042_takes_stroke(chip)) {
		chip->strokes_wait = false;
		i8042_host_wake(chip);
	}
}

/* The next byte is another interrupt: the line falls before it. */
static uint8_t read_output(struct i8042 *chip)
{
	uint8_t byte = chip->regs.output;

	chip->regs.full = false;
	irq_level_set(chip->keyboard_irq, false);
	irq_level_set(chip->mouse_irq, false);
	i8042_update(chip);
	return byte;
}

static uint8_t read_status(struct i8042 *chip)
{
	return (uint8_t)(STATUS_UNLOCKED | (chip->regs.full ? STATUS_OUTPUT_FULL : 0) |
			 (chip->regs.full && chip->regs.aux ? STATUS_AUX : 0) |
			 (chip->regs.wrote_command ? STATUS_COMMAND : 0) |
			 (*control_of(chip) & CONTROL_SYSTEM ? STATUS_SYSTEM : 0));
}

static void reply(struct i8042 *chip, uint8_t byte, bool aux)
{
	chip->regs.reply = (struct i8042_reply){byte, aux};
	chip->regs.reply_due = true;
}

static void set_control(struct i8042 *chip, uint8_t value)
{
	*control_of(chip) = value;
	if (!(value & CONTROL_TRANSLATE))
		chip->regs.release = false;
}

static uint8_t read_output_port(const struct i8042 *chip)
{
	return (uint8_t)(chip->regs.output_port |
			 (chip->regs.full && !chip->regs.aux ? OUTPUT_KEYBOARD_IRQ : 0) |
			 (chip->regs.full && chip->regs.aux ? OUTPUT_AUX_IRQ : 0));
}

static void write_output_port(struct i8042 *chip, uint8_t value)
{
	chip->regs.output_port =
		(value & (uint8_t) ~(OUTPUT_KEYBOARD_IRQ | OUTPUT_AUX_IRQ)) | OUTPUT_NOT_RESET;
	if (!(value & OUTPUT_NOT_RESET))
		chip->env.events->reset(chip->env.context);
}

/* Commands with a parameter wait for it; the rest is done at once. */
static void take_command(struct i8042 *chip, uint8_t byte)
{
	chip->regs.command = 0;
	switch (byte) {
	case READ_RAM ... READ_RAM_LAST:
		reply(chip, chip->regs.ram[byte - READ_RAM], false);
		break;
	case WRITE_RAM ... WRITE_RAM_LAST:
	case WRITE_OUTPUT_PORT:
	case WRITE_KEYBOARD_BUFFER:
	case WRITE_AUX_BUFFER:
	case WRITE_AUX:
		chip->regs.command = byte;
		break;
	case TEST_PASSWORD:
		reply(chip, NO_PASSWORD, false);
		break;
	case DISABLE_AUX:
		set_control(chip, *control_of(chip) | CONTROL_NO_AUX);
		break;
	case ENABLE_AUX:
		set_control(chip, *control_of(chip) & (uint8_t)~CONTROL_NO_AUX);
		break;
	case SELF_TEST:
		set_control(chip, *control_of(chip) | CONTROL_SYSTEM);
		reply(chip, SELF_TEST_OK, false);
		break;
	case TEST_AUX:
	case TEST_KEYBOARD:
		reply(chip, PORT_OK, false);
		break;
	case DISABLE_KEYBOARD:
		set_control(chip, *control_of(chip) | CONTROL_NO_KEYBOARD);
		break;
	case ENABLE_KEYBOARD:
		set_control(chip, *control_of(chip) & (uint8_t)~CONTROL_NO_KEYBOARD);
		break;
	case READ_INPUT_PORT:
		reply(chip, INPUT_PORT, false);
		break;
	case READ_OUTPUT_PORT:
		reply(chip, read_output_port(chip), false);
		break;
	case READ_TEST_INPUTS:
		reply(chip, 0, false);
		break;
	default:
		/* Pulses of the output port's lower bits, low: the lowest is the reset. */
		if (byte >= PULSE_FIRST && !(byte & OUTPUT_NOT_RESET))
			chip->env.events->reset(chip->env.context);
	}
}

/* To the keyboard, whose clock that starts. */
static void write_keyboard(struct i8042 *chip, uint8_t byte)
{
	uint8_t leds = chip->keyboard.leds;

	set_control(chip, *control_of(chip) & (uint8_t)~CONTROL_NO_KEYBOARD);
	chip->regs.release = false;
	ps2_keyboard_write(&chip->keyboard, byte);
	if (chip->keyboard.leds != leds)
		i8042_host_wake(chip);
}

static void write_data(struct i8042 *chip, uint8_t byte)
{
	uint8_t command = chip->regs.command;

	chip->regs.command = 0;
	switch (command) {
	case 0:
		write_keyboard(chip, byte);
		break;
	case WRITE_RAM:
		set_control(chip, byte);
		break;
	case WRITE_OUTPUT_PORT:
		write_output_port(chip, byte);
		break;
	case WRITE_KEYBOARD_BUFFER:
	case WRITE_AUX_BUFFER:
		reply(chip, byte, command == WRITE_AUX_BUFFER);
		break;
	case WRITE_AUX:
		set_control(chip, *control_of(chip) & (uint8_t)~CONTROL_NO_AUX);
		ps2_mouse_write(&chip->mouse, byte);
		break;
	default:
		chip->regs.ram[command - WRITE_RAM] = byte;
	}
}

static uint8_t data_in(void *context, unsigned int offset)
{
	struct i8042 *chip = context;
	uint8_t value;

	if (offset > 0)
		return UINT8_MAX;
	pthread_mutex_lock(&chip->lock);
	value = read_output(chip);
	pthread_mutex_unlock(&chip->lock);
	return value;
}

static void data_out(void *context, unsigned int offset, uint8_t value)
{
	struct i8042 *chip = context;

	if (offset > 0)
		return;
	pthread_mutex_lock(&chip->lock);
	chip->regs.wrote_command = false;
	write_data(chip, value);
	i8042_update(chip);
	pthread_mutex_unlock(&chip->lock);
}

static uint8_t command_in(void *context, unsigned int offset)
{
	struct i8042 *chip = context;
	uint8_t value;

	if (offset > 0)
		return UINT8_MAX;
	pthread_mutex_lock(&chip->lock);
	value = read_status(chip);
	pthread_mutex_unlock(&chip->lock);
	return value;
}

static void command_out(void *context, unsigned int offset, uint8_t value)
{
	struct i8042 *chip = context;

	if (offset > 0)
		return;
	pthread_mutex_lock(&chip->lock);
	chip->regs.wrote_command = true;
	take_command(chip, value);
	i8042_update(chip);
	pthread_mutex_unlock(&chip->lock);
}

static void access_data(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, data_in, data_out);
}

static void access_command(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, command_in, command_out);
}

/* Both ports open, as a loader that asks nothing expects them; no interrupts, no translation. */
void i8042_init(struct i8042 *chip)
{
	chip->regs = (struct i8042_registers){.output_port = OUTPUT_NOT_RESET | OUTPUT_A20};
	ps2_keyboard_init(&chip->keyboard);
	ps2_mouse_init(&chip->mouse);
}

static void i8042_reset(void *device)
{
	struct i8042 *chip = device;

	pthread_mutex_lock(&chip->lock);
	i8042_init(chip);
	i8042_update(chip);
	pthread_mutex_unlock(&chip->lock);
	i8042_host_reset(chip);
}

static int place(struct i8042 *chip)
{
	struct io_bus *ports = chip->env.ports;
	int r = io_bus_add(ports, PORT_DATA, 1, access_data, chip);

	if (r < 0)
		return r;
	r = io_bus_add(ports, PORT_COMMAND, 1, access_command, chip);
	if (r < 0)
		io_bus_remove(ports, PORT_DATA);
	return r;
}

static void take_down(struct i8042 *chip)
{
	i8042_host_close(chip);
	irq_level_free(chip->keyboard_irq);
	irq_level_free(chip->mouse_irq);
	pthread_mutex_destroy(&chip->lock);
	free(chip);
}

static int i8042_create(const struct device_env *env, const json_t *config, void **device,
			struct error *err)
{
	struct i8042 *chip = calloc(1, sizeof(*chip));
	int r;

	if (!chip)
		return error_memory(err, "the keyboard controller");
	chip->env = *env;
	chip->wake_fd = -1;
	pthread_mutex_init(&chip->lock, NULL);
	i8042_init(chip);
	r = irq_level_new(env->irq, GSI_KEYBOARD, &chip->keyboard_irq);
	if (r == 0)
		r = irq_level_new(env->irq, GSI_MOUSE, &chip->mouse_irq);
	if (r == 0)
		r = i8042_host_open(chip);
	if (r == 0)
		r = place(chip);
	if (r < 0) {
		take_down(chip);
		return error_host(err, -r, "cannot make the keyboard controller");
	}
	*device = chip;
	return 0;
}

static void i8042_destroy(void *device)
{
	struct i8042 *chip = device;

	io_bus_remove(chip->env.ports, PORT_DATA);
	io_bus_remove(chip->env.ports, PORT_COMMAND);
	take_down(chip);
}

static void i8042_save(void *device, struct state_writer *writer)
{
	const struct i8042 *chip = device;

	state_put_bytes(writer, "ram", chip->regs.ram, sizeof(chip->regs.ram));
	state_put_u32(writer, "output-port", chip->regs.output_port);
	state_put_u32(writer, "command", chip->regs.command);
	state_put_u32(writer, "wrote-command", chip->regs.wrote_command);
	state_put_u32(writer, "full", chip->regs.full);
	state_put_u32(writer, "aux", chip->regs.aux);
	state_put_u32(writer, "output", chip->regs.output);
	state_put_u32(writer, "release", chip->regs.release);
	state_put_u32(writer, "reply-due", chip->regs.reply_due);
	state_put_u32(writer, "reply", chip->regs.reply.byte | (uint32_t)chip->regs.reply.aux << 8);
	strokes_save(&chip->strokes, writer);
	ps2_keyboard_save(&chip->keyboard, writer);
	ps2_mouse_save(&chip->mouse, writer);
}

static int get_flag(const struct state_node *node, const char *name, bool *flag)
{
	uint32_t value;
	int r = state_get_u32(node, name, &value);

	if (r == 0)
		*flag = value;
	return r;
}

static int get_byte(const struct state_node *node, const char *name, uint8_t *byte)
{
	uint32_t value;
	int r = state_get_u32(node, name, &value);

	if (r == 0 && value > UINT8_MAX)
		r = -EINVAL;
	if (r == 0)
		*byte = (uint8_t)value;
	return r;
}

/* Whether it is a command that may wait for a parameter. */
static bool command_valid(uint8_t command)
{
	return command == 0 || (command >= WRITE_RAM && command <= WRITE_RAM_LAST) ||
	       (command >= WRITE_OUTPUT_PORT && command <= WRITE_AUX);
}

static int get_registers(struct i8042_registers *regs, const struct state_node *node)
{
	uint32_t reply;
	int r = state_get_bytes(node, "ram", regs->ram, sizeof(regs->ram));

	if (r == 0)
		r = get_byte(node, "output-port", &regs->output_port);
	if (r == 0)
		r = get_byte(node, "command", &regs->command);
	if (r == 0)
		r = get_byte(node, "output", &regs->output);
	if (r == 0)
		r = get_flag(node, "wrote-command", &regs->wrote_command);
	if (r == 0)
		r = get_flag(node, "full", &regs->full);
	if (r == 0)
		r = get_flag(node, "aux", &regs->aux);
	if (r == 0)
		r = get_flag(node, "release", &regs->release);
	if (r == 0)
		r = get_flag(node, "reply-due", &regs->reply_due);
	if (r == 0)
		r = state_get_u32(node, "reply", &reply);
	if (r < 0)
		return r;
	regs->reply = (struct i8042_reply){(uint8_t)reply, reply >> 8 & 1};
	return command_valid(regs->command) ? 0 : -EINVAL;
}

static int i8042_restore(void *device, const struct state_node *node)
{
	struct i8042 *chip = device;
	struct i8042_registers regs;
	int r = get_registers(&regs, node);

	if (r == 0)
		r = ps2_keyboard_restore(&chip->keyboard, node);
	if (r == 0)
		r = ps2_mouse_restore(&chip->mouse, node);
	if (r == 0)
		r = strokes_restore(&chip->strokes, node);
	if (r < 0)
		return r;
	pthread_mutex_lock(&chip->lock);
	chip->regs = regs;
	i8042_update(chip);
	pthread_mutex_unlock(&chip->lock);
	i8042_host_restored(chip);
	return 0;
}

const struct device_ops i8042_device = {
	.name = "i8042",
	.state_version = 1,
	.create = i8042_create,
	.destroy = i8042_destroy,
	.reset = i8042_reset,
	.save = i8042_save,
	.restore = i8042_restore,
};
