#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/chipset/vga_device.h"
#include "devices/table.h"
#include "fuzz.h"

/*
 * A guest that does anything to the VGA's registers, window and framebuffer, while somebody looks:
 * no picture leaves the video memory, and the registers stay such as a state may hold.
 */

#define STEPS_MAX 256
#define DRAWS_MAX 8

static struct device_env *environment(void)
{
	static struct device_env env;
	static struct desktop desktop;

	if (!env.loop) {
		require(io_bus_new(IO_PORT, NULL, &env.ports) == 0);
		require(io_bus_new(IO_MMIO, NULL, &env.mmio) == 0);
		require(irq_controller_new(NULL, &env.irq) == 0);
		require(event_loop_new(&env.loop) == 0);
		env.desktop = &desktop;
	}
	return &env;
}

static struct vga *make(const struct device_env *env)
{
	static int vram = -1;
	struct error err;
	void *vga = NULL;
	json_t *config;

	if (vram < 0) {
		vram = memfd_create("vram", MFD_CLOEXEC);
		require(vram >= 0 && ftruncate(vram, DISPLAY_FILE_BYTES) == 0);
	}
	config = json_pack("{s:i}", "vram_fd", dup(vram));
	require(vga_device.create(env, config, &vga, &err) == 0);
	json_decref(config);
	return vga;
}

/* Ports and sizes that somebody answers, mostly. */
static void access_port(const struct device_env *env, struct fuzz_input *input, uint8_t how)
{
	uint16_t value = 0;
	struct io_access access = {.address = 0x3c0 + how % 0x20, .size = 1, .write = true};

	fuzz_take(input, &value, sizeof(value));
	access.value = value;
	access.write = !(how & 0x20);
	if (how & 0x40)
		access.size = 2;
	if (how & 0x80) {
		access.address = 0x1ce;
		access.size = 2;
		access.write = true;
		access.value = how % 16;
		io_bus_dispatch(env->ports, &access);
		access.address = 0x1cf;
		access.value = value;
	}
	io_bus_dispatch(env->ports, &access);
}

static void access_window(const struct device_env *env, struct fuzz_input *input, bool write)
{
	uint64_t value = fuzz_u64(input);
	struct io_access access = {
		.address = VGA_WINDOW_BASE + (value & (VGA_WINDOW_BYTES - 1)),
		.size = 1u << (value >> 17 & 3),
		.write = write,
		.value = value >> 24,
	};

	io_bus_dispatch(env->mmio, &access);
}

/* The bytes of a row, as vga_draw.c reads them; those of other kinds go round. */
static uint64_t row_bytes(const struct vga_shape *shape)
{
	return shape->kind == VGA_LINEAR ? (uint64_t)shape->width * ((shape->depth + 7) / 8) : 1;
}

static void check(const struct vga *vga)
{
	const struct video_mode *mode = &vga->env.desktop->screen.mode;
	struct vga_shape shape;

	require(vga_registers_valid(&vga->regs));
	vga_shape_of(&vga->regs, &shape);
	require(shape.kind == VGA_OFF || (shape.width > 0 && shape.height > 0));
	require(shape.kind == VGA_OFF ||
		(shape.width <= VGA_VBE_WIDTH_MAX && shape.height <= VGA_VBE_HEIGHT_MAX));
	for (uint32_t y = 0; shape.kind != VGA_OFF && y < shape.height; y += shape.height / 8 + 1)
		require(vga_shape_row(&shape, shape.kind == VGA_TEXT ? y / shape.lines : y) +
				row_bytes(&shape) <=
			VGA_MEMORY_BYTES);
	require((uint64_t)mode->offset + (uint64_t)mode->pitch * mode->height <=
		DISPLAY_FILE_BYTES);
}

static void draw(struct vga *vga)
{
	struct vga_shape shape;

	vga_screen_draw(vga);
	vga_shape_of(&vga->regs, &shape);
	for (uint32_t row = 0; row < shape.rows; row += 7)
		free(vga_text_row(&shape, vga->memory, row));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	const struct device_env *env = environment();
	struct vga *vga = make(env);
	unsigned int draws = 0;

	for (unsigned int steps = 0; steps < STEPS_MAX && input.size > 0; steps++) {
		uint8_t what = fuzz_u8(&input);

		if (what % 8 < 5)
			access_port(env, &input, fuzz_u8(&input));
		else if (what % 8 < 7)
			access_window(env, &input, what & 8);
		else if (draws++ < DRAWS_MAX)
			draw(vga);
		check(vga);
	}
	vga_device.destroy(vga);
	return 0;
}
