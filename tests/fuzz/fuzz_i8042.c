#include "devices/chipset/i8042_internal.h"
#include "devices/table.h"
#include "fuzz.h"

/*
 * A guest that does anything to the keyboard controller, while somebody types and points: nothing
 * leaves its bounds, and interrupts are those of a byte that is there.
 */

#define STEPS_MAX 512

static void reset(void *context)
{
}

static const struct device_events events = {.reset = reset};

static struct device_env *environment(void)
{
	static struct device_env env = {.events = &events};
	static struct desktop desktop;

	if (!env.loop) {
		require(io_bus_new(IO_PORT, NULL, &env.ports) == 0);
		require(irq_controller_new(NULL, &env.irq) == 0);
		require(event_loop_new(&env.loop) == 0);
		env.desktop = &desktop;
	}
	return &env;
}

static void access_port(const struct device_env *env, struct fuzz_input *input, bool write)
{
	struct io_access access = {
		.address = fuzz_u8(input) & 1 ? 0x64 : 0x60,
		.size = 1,
		.write = write,
		.value = write ? fuzz_u8(input) : 0,
	};

	io_bus_dispatch(env->ports, &access);
}

static void step(const struct device_env *env, struct i8042 *chip, struct fuzz_input *input)
{
	struct desktop_input *in = &env->desktop->input;
	struct keyboard_stroke stroke;
	struct mouse_report report;

	switch (fuzz_u8(input) % 6) {
	case 0:
	case 1:
		access_port(env, input, true);
		break;
	case 2:
		access_port(env, input, false);
		break;
	case 3:
		fuzz_take(input, &stroke, sizeof(stroke));
		in->type(in->context, &stroke, 1);
		break;
	case 4:
		fuzz_take(input, &report, sizeof(report));
		in->move(in->context, &report, 4096, 4096);
		break;
	default:
		i8042_host_feed(chip);
	}
}

static void check(const struct device_env *env, const struct i8042 *chip)
{
	require(chip->keyboard.replies.count <= PS2_QUEUE);
	require(chip->keyboard.codes.count <= PS2_QUEUE);
	require(chip->mouse.replies.count <= PS2_QUEUE);
	require(chip->mouse.packets.count <= PS2_QUEUE);
	require(chip->strokes.count + chip->strokes.held <= STROKES_MAX);
	require(chip->regs.full ||
		(!irq_gsi_asserted(env->irq, 1) && !irq_gsi_asserted(env->irq, 12)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	const struct device_env *env = environment();
	struct error err;
	void *chip = NULL;

	require(i8042_device.create(env, NULL, &chip, &err) == 0);
	for (unsigned int steps = 0; steps < STEPS_MAX && input.size > 0; steps++) {
		step(env, chip, &input);
		check(env, chip);
	}
	i8042_device.destroy(chip);
	return 0;
}
