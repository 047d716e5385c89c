#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/chipset/vga_device.h"
#include "machine_fixture.h"
#include "suite.h"

#define WINDOW 0xa0000u
#define LINEAR 0xe0000000u

static struct machine a, b;
static struct desktop desktop, other;
static struct vga *vga;
static unsigned int modes, dirts;
static struct video_area dirt;

static void on_mode(void *context)
{
	modes++;
}

static void on_dirt(void *context, const struct video_area *area)
{
	dirts++;
	dirt = *area;
}

static void *add_vga(struct machine *machine)
{
	char config[64];
	int vram = memfd_create("vram", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(vram, DISPLAY_FILE_BYTES), 0);
	machine->env.desktop = machine == &a ? &desktop : &other;
	machine_add_pci(machine);
	snprintf(config, sizeof(config), "{\"vram_fd\": %d}", vram);
	return machine_add(machine, "vga", config);
}

static void remove_vga(struct machine *machine, void *device)
{
	device_find("vga")->destroy(device);
}

static void set_up(void)
{
	machine_init(&a);
	machine_init(&b);
	desktop = (struct desktop){.viewer = {.on_mode = on_mode, .on_dirt = on_dirt}};
	modes = dirts = 0;
	vga = add_vga(&a);
}

static void tear_down(void)
{
	remove_vga(&a, vga);
	ck_assert_ptr_null(desktop.screen.draw);
	machine_fini(&b);
	machine_fini(&a);
}

static void out(uint16_t port, uint8_t value)
{
	machine_out(&a, port, 1, value);
}

static uint8_t in(uint16_t port)
{
	return (uint8_t)machine_in(&a, port, 1);
}

static void set(uint16_t port, uint8_t index, uint8_t value)
{
	out(port, index);
	out((uint16_t)(port + 1), value);
}

static uint8_t get(uint16_t port, uint8_t index)
{
	out(port, index);
	return in((uint16_t)(port + 1));
}

static void set_attribute(uint8_t index, uint8_t value)
{
	in(0x3da);
	out(0x3c0, index);
	out(0x3c0, value);
}

static void vbe(uint16_t index, uint16_t value)
{
	machine_out(&a, 0x1ce, 2, index);
	machine_out(&a, 0x1cf, 2, value);
}

static uint16_t ask_vbe(uint16_t index)
{
	machine_out(&a, 0x1ce, 2, index);
	return (uint16_t)machine_in(&a, 0x1cf, 2);
}

static void write_memory(uint32_t address, uint64_t value, uint32_t size)
{
	struct io_access access = {.address = address, .size = size, .write = true, .value = value};

	ck_assert(io_bus_dispatch(a.env.mmio, &access));
}

static uint64_t read_memory(uint32_t address, uint32_t size)
{
	struct io_access access = {.address = address, .size = size};

	ck_assert(io_bus_dispatch(a.env.mmio, &access));
	return access.value;
}

/* Registers of a mode: sequencer, CRTC and graphics from their first on, as IBM's BIOS sets them.
 */
struct mode {
	uint8_t miscellaneous;
	uint8_t sequencer[5];
	uint8_t crtc[25];
	uint8_t graphics[9];
	uint8_t attribute[5]; /* from 0x10 on */
};

static const struct mode text_80x25 = {
	0x67,
	{0x03, 0x00, 0x03, 0x00, 0x02},
	{0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
	{0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff},
	{0x0c, 0x00, 0x0f, 0x08, 0x00},
};

static const struct mode planar_640x480 = {
	0xe3,
	{0x03, 0x01, 0x0f, 0x00, 0x06},
	{0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
	 0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
	{0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
	{0x01, 0x00, 0x0f, 0x00, 0x00},
};

static const struct mode bytes_320x200 = {
	0x63,
	{0x03, 0x01, 0x0f, 0x00, 0x0e},
	{0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
	 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
	{0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff},
	{0x41, 0x00, 0x0f, 0x00, 0x00},
};

static const struct mode cga_320x200 = {
	0x63,
	{0x03, 0x09, 0x03, 0x00, 0x02},
	{0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
	 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
	{0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff},
	{0x01, 0x00, 0x03, 0x00, 0x00},
};

/* Colours: the first 64 of the DAC are red, by their number; the palette leads to itself. */
static void set_mode(const struct mode *mode)
{
	out(0x3c2, mode->miscellaneous);
	for (uint8_t i = 0; i < 5; i++)
		set(0x3c4, i, mode->sequencer[i]);
	set(0x3d4, 0x11, 0);
	for (uint8_t i = 0; i < 25; i++)
		set(0x3d4, i, mode->crtc[i]);
	for (uint8_t i = 0; i < 9; i++)
		set(0x3ce, i, mode->graphics[i]);
	for (uint8_t i = 0; i < 16; i++)
		set_attribute(i, i);
	for (uint8_t i = 0; i < 5; i++)
		set_attribute((uint8_t)(0x10 + i), mode->attribute[i]);
	out(0x3c0, 0x20);
	out(0x3c8, 0);
	for (unsigned int i = 0; i < 256; i++) {
		out(0x3c9, (uint8_t)(i & 63));
		out(0x3c9, 0);
		out(0x3c9, i > 63 ? 63 : 0);
	}
}

static uint32_t red(uint32_t index)
{
	return (index << 2 | index >> 4) << 16;
}

/* A pixel of what is shown. */
static uint32_t pixel(uint32_t x, uint32_t y)
{
	const struct video_mode *mode = &desktop.screen.mode;
	uint32_t value;

	desktop.screen.draw(desktop.screen.context);
	ck_assert_uint_lt(x, mode->width);
	ck_assert_uint_lt(y, mode->height);
	memcpy(&value, vga->memory + mode->offset + y * mode->pitch + x * 4, sizeof(value));
	return value & 0xffffff;
}

static void expect_size(uint32_t width, uint32_t height)
{
	desktop.screen.draw(desktop.screen.context);
	ck_assert_uint_eq(desktop.screen.mode.width, width);
	ck_assert_uint_eq(desktop.screen.mode.height, height);
}

START_TEST(registers)
{
	expect_size(0, 0);
	set(0x3c4, 2, 0xff);
	ck_assert_uint_eq(get(0x3c4, 2), 0x0f);
	set(0x3ce, 8, 0xa5);
	ck_assert_uint_eq(get(0x3ce, 8), 0xa5);
	set(0x3d4, 0x0c, 0x12);
	ck_assert_uint_eq(get(0x3d4, 0x0c), 0x12);
	/* In monochrome the same is elsewhere. */
	out(0x3c2, 0x66);
	ck_assert_uint_eq(in(0x3cc), 0x66);
	ck_assert_uint_eq(get(0x3d4, 0x0c), 0xff);
	ck_assert_uint_eq(get(0x3b4, 0x0c), 0x12);
	out(0x3c2, 0x67);
	/* The first of the CRTC's are protected, but for one bit. */
	set(0x3d4, 0x11, 0x80);
	set(0x3d4, 0x01, 0x33);
	set(0x3d4, 0x07, 0xff);
	ck_assert_uint_eq(get(0x3d4, 0x01), 0);
	ck_assert_uint_eq(get(0x3d4, 0x07), 0x10);
	/* Index and value in one. */
	machine_out(&a, 0x3c4, 2, 0x0502);
	ck_assert_uint_eq(get(0x3c4, 2), 0x05);
	set_attribute(3, 0x7f);
	ck_assert_uint_eq(in(0x3c1), 0x3f);
	ck_assert_uint_ne(in(0x3da), in(0x3da));
}
END_TEST

START_TEST(colours)
{
	out(0x3c8, 5);
	for (uint8_t i = 0; i < 6; i++)
		out(0x3c9, (uint8_t)(10 + i));
	ck_assert_uint_eq(in(0x3c8), 7);
	out(0x3c7, 6);
	ck_assert_uint_eq(in(0x3c7), 3);
	ck_assert_uint_eq(in(0x3c9), 13);
	ck_assert_uint_eq(in(0x3c9), 14);
	ck_assert_uint_eq(in(0x3c9), 15);
	out(0x3c6, 0x0f);
	ck_assert_uint_eq(in(0x3c6), 0x0f);
}
END_TEST

START_TEST(text)
{
	set_mode(&text_80x25);
	expect_size(720, 400);
	ck_assert_uint_eq(modes, 1);
	ck_assert_uint_eq(pixel(0, 0), 0);
	/* A glyph whose line 3 is 0x81, into plane 2. */
	set(0x3c4, 2, 0x04);
	set(0x3c4, 4, 0x06);
	set(0x3ce, 5, 0x00);
	set(0x3ce, 6, 0x04);
	write_memory(WINDOW + 0xc4 * 32 + 3, 0x81, 1);
	ck_assert_uint_eq(vga->memory[(0xc4 * 32 + 3) * 4 + 2], 0x81);
	set(0x3c4, 2, 0x03);
	set(0x3c4, 4, 0x02);
	set(0x3ce, 5, 0x10);
	set(0x3ce, 6, 0x0e);
	write_memory(WINDOW + 0x18000 + 160 + 2, 0x1ec4, 2);
	ck_assert_uint_eq(read_memory(WINDOW + 0x18000 + 160 + 2, 2), 0x1ec4);
	/* The window is only there. */
	ck_assert_uint_eq(read_memory(WINDOW + 160, 1), 0xff);
	ck_assert_uint_eq(pixel(9, 19), red(14));
	ck_assert_uint_eq(pixel(10, 19), red(1));
	ck_assert_uint_eq(pixel(16, 19), red(14));
	/* The ninth dot of a line goes on. */
	ck_assert_uint_eq(pixel(17, 19), red(14));
	ck_assert_uint_eq(dirts, 1);
	ck_assert_uint_eq(dirt.y1, 16);
	ck_assert_uint_eq(dirt.y2, 32);
	/* The cursor's lines are 13 and 14. */
	set(0x3d4, 0x0e, 0);
	set(0x3d4, 0x0f, 81);
	ck_assert_uint_eq(pixel(12, 29), red(14));
	ck_assert_uint_eq(pixel(12, 28), red(1));
	set(0x3d4, 0x0a, 0x2d);
	ck_assert_uint_eq(pixel(12, 29), red(1));
	/* Off. */
	set(0x3c4, 1, 0x20);
	ck_assert_uint_eq(pixel(9, 19), 0);
	/* Nothing has changed: nothing is drawn. */
	dirts = 0;
	desktop.screen.draw(desktop.screen.context);
	ck_assert_uint_eq(dirts, 0);
}
END_TEST

static json_t *answered;
static char refused[256];

static void on_reply(struct device_call *call, json_t *reply)
{
	answered = reply;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	snprintf(refused, sizeof(refused), "%s", sentence);
}

static void ask_text(void)
{
	struct device_call call = {.reply = on_reply, .refuse = on_refuse};

	answered = NULL;
	refused[0] = 0;
	desktop.screen.text(desktop.screen.context, &call);
}

START_TEST(text_is_read)
{
	static const char line[] = "A \xc4\x01!";
	json_t *lines;

	ask_text();
	ck_assert_ptr_nonnull(strstr(refused, "nothing yet"));
	set_mode(&text_80x25);
	for (uint32_t i = 0; i < 5; i++)
		write_memory(WINDOW + 0x18000 + 2 * (80 + i), 0x0700u | (uint8_t)line[i], 2);
	set(0x3d4, 0x0f, 85);
	ask_text();
	lines = json_object_get(answered, "lines");
	ck_assert_uint_eq(json_array_size(lines), 25);
	ck_assert_str_eq(json_string_value(json_array_get(lines, 0)), "");
	ck_assert_str_eq(json_string_value(json_array_get(lines, 1)), "A \u2500\u263a!");
	ck_assert_int_eq(json_integer_value(json_object_get(answered, "columns")), 80);
	ck_assert_int_eq(json_integer_value(json_object_get(answered, "cursor_column")), 5);
	ck_assert_int_eq(json_integer_value(json_object_get(answered, "cursor_row")), 1);
	json_decref(answered);
	/* From another place on, round the end of the memory. */
	set(0x3d4, 0x0c, 0xff);
	set(0x3d4, 0x0d, 0xb0);
	ask_text();
	lines = json_object_get(answered, "lines");
	ck_assert_str_eq(json_string_value(json_array_get(lines, 2)), "A \u2500\u263a!");
	json_decref(answered);
	set_mode(&planar_640x480);
	ask_text();
	ck_assert_ptr_nonnull(strstr(refused, "picture"));
}
END_TEST

START_TEST(write_modes)
{
	set_mode(&planar_640x480);
	/* 0: rotated, or set and reset, by the map mask and the bit mask. */
	write_memory(WINDOW, 0xff, 1);
	ck_assert_mem_eq(vga->memory, "\xff\xff\xff\xff", 4);
	set(0x3ce, 3, 0x01);
	set(0x3c4, 2, 0x03);
	write_memory(WINDOW, 0x01, 1);
	ck_assert_mem_eq(vga->memory, "\x80\x80\xff\xff", 4);
	set(0x3ce, 3, 0);
	set(0x3c4, 2, 0x0f);
	set(0x3ce, 0, 0x05);
	set(0x3ce, 1, 0x0f);
	write_memory(WINDOW, 0, 1);
	ck_assert_mem_eq(vga->memory, "\xff\x00\xff\x00", 4);
	set(0x3ce, 1, 0);
	/* The latches come from the last read. */
	set(0x3ce, 8, 0x0f);
	ck_assert_uint_eq(read_memory(WINDOW, 1), 0xff);
	write_memory(WINDOW, 0, 1);
	ck_assert_mem_eq(vga->memory, "\xf0\x00\xf0\x00", 4);
	set(0x3ce, 8, 0xff);
	/* XOR with them. */
	set(0x3ce, 3, 0x18);
	write_memory(WINDOW, 0x0f, 1);
	ck_assert_mem_eq(vga->memory, "\xf0\x0f\xf0\x0f", 4);
	set(0x3ce, 3, 0);
	/* 1: the latches. */
	set(0x3ce, 5, 1);
	read_memory(WINDOW, 1);
	write_memory(WINDOW + 9, 0x55, 1);
	ck_assert_mem_eq(vga->memory + 36, "\xf0\x0f\xf0\x0f", 4);
	/* 2: a colour. */
	set(0x3ce, 5, 2);
	set(0x3ce, 8, 0x80);
	write_memory(WINDOW + 9, 0x06, 1);
	ck_assert_mem_eq(vga->memory + 36, "\x70\x8f\xf0\x0f", 4);
	/* 3: set and reset through a mask. */
	set(0x3ce, 5, 3);
	set(0x3ce, 8, 0x3f);
	read_memory(WINDOW + 9, 1);
	write_memory(WINDOW + 9, 0xf0, 1);
	ck_assert_mem_eq(vga->memory + 36, "\x70\x8f\xf0\x0f", 4);
	set(0x3ce, 0, 0x0f);
	write_memory(WINDOW + 9, 0xf0, 1);
	ck_assert_mem_eq(vga->memory + 36, "\x70\xbf\xf0\x3f", 4);
}
END_TEST

START_TEST(read_modes)
{
	set_mode(&planar_640x480);
	memcpy(vga->memory + 8, "\x0f\x33\x55\x00", 4);
	for (uint8_t plane = 0; plane < 4; plane++) {
		set(0x3ce, 4, plane);
		ck_assert_uint_eq(read_memory(WINDOW + 2, 1), vga->memory[8 + plane]);
	}
	set(0x3ce, 5, 8);
	set(0x3ce, 2, 0x03);
	set(0x3ce, 7, 0x0f);
	ck_assert_uint_eq(read_memory(WINDOW + 2, 1), 0x02);
	set(0x3ce, 7, 0x03);
	ck_assert_uint_eq(read_memory(WINDOW + 2, 1), 0x03);
	set(0x3ce, 7, 0);
	ck_assert_uint_eq(read_memory(WINDOW + 2, 1), 0xff);
}
END_TEST

START_TEST(planar_picture)
{
	set_mode(&planar_640x480);
	expect_size(640, 480);
	set(0x3c4, 2, 0x05);
	write_memory(WINDOW + 80 * 479 + 79, 0x01, 1);
	ck_assert_uint_eq(pixel(639, 479), red(5));
	ck_assert_uint_eq(pixel(638, 479), 0);
	/* Starting a row later. */
	set(0x3d4, 0x0d, 80);
	ck_assert_uint_eq(pixel(639, 478), red(5));
	set(0x3d4, 0x0d, 0);
	/* What follows the split is from the start of the memory. */
	write_memory(WINDOW, 0x80, 1);
	set(0x3d4, 0x0d, 40);
	set(0x3d4, 0x18, 99);
	set(0x3d4, 0x07, 0x2e);
	set(0x3d4, 0x09, 0x00);
	ck_assert_uint_eq(pixel(0, 100), red(5));
	ck_assert_uint_eq(pixel(0, 99), 0);
	/* Colours of another page. */
	set_attribute(0x10, 0x81);
	set_attribute(0x14, 0x02);
	out(0x3c0, 0x20);
	ck_assert_uint_eq(pixel(0, 100), red(0x25));
}
END_TEST

START_TEST(chained_picture)
{
	set_mode(&bytes_320x200);
	expect_size(320, 200);
	write_memory(WINDOW + 320 * 199 + 316, 0x04030201, 4);
	ck_assert_uint_eq(read_memory(WINDOW + 320 * 199 + 317, 2), 0x0302);
	ck_assert_uint_eq(pixel(319, 199), red(4));
	ck_assert_uint_eq(pixel(316, 199), red(1));
	/* Unchained, the same place is one of four planes. */
	set(0x3c4, 4, 0x06);
	set(0x3c4, 2, 0x02);
	write_memory(WINDOW, 9, 1);
	ck_assert_uint_eq(pixel(1, 0), red(9));
}
END_TEST

START_TEST(cga_picture)
{
	set_mode(&cga_320x200);
	expect_size(320, 200);
	write_memory(WINDOW + 0x18000, 0x1b, 1);
	write_memory(WINDOW + 0x18000 + 79, 0x03, 1);
	write_memory(WINDOW + 0x18000 + 0x2000 + 80, 0xc0, 1);
	for (uint32_t x = 0; x < 4; x++)
		ck_assert_uint_eq(pixel(x, 0), red(x));
	ck_assert_uint_eq(pixel(319, 0), red(3));
	ck_assert_uint_eq(pixel(0, 3), red(3));
	ck_assert_uint_eq(pixel(0, 1), 0);
}
END_TEST

START_TEST(vbe_registers)
{
	ck_assert_uint_eq(ask_vbe(0), 0xb0c5);
	vbe(0, 0xb0c0);
	ck_assert_uint_eq(ask_vbe(0), 0xb0c0);
	vbe(0, 0x1234);
	ck_assert_uint_eq(ask_vbe(0), 0xb0c0);
	ck_assert_uint_eq(ask_vbe(10), 256);
	vbe(4, 2);
	ck_assert_uint_eq(ask_vbe(1), 2560);
	ck_assert_uint_eq(ask_vbe(2), 1600);
	ck_assert_uint_eq(ask_vbe(3), 32);
	vbe(4, 0);
	ck_assert_uint_eq(ask_vbe(1), 0);
	/* No mode, none on. */
	vbe(4, 1);
	ck_assert_uint_eq(ask_vbe(4), 0);
	vbe(1, 1024);
	vbe(2, 768);
	vbe(3, 7);
	vbe(4, 1);
	ck_assert_uint_eq(ask_vbe(4), 0);
	vbe(3, 16);
	vbe(4, 0x41);
	ck_assert_uint_eq(ask_vbe(6), 1024);
	ck_assert_uint_eq(ask_vbe(7), 8192);
	/* The size is that of the mode, while it is on. */
	vbe(1, 640);
	ck_assert_uint_eq(ask_vbe(1), 1024);
	vbe(8, 1);
	ck_assert_uint_eq(ask_vbe(8), 0);
	vbe(6, 2048);
	vbe(8, 1024);
	vbe(9, 4096 - 768);
	ck_assert_uint_eq(ask_vbe(8), 1024);
	ck_assert_uint_eq(ask_vbe(9), 4096 - 768);
	vbe(9, 4096 - 767);
	ck_assert_uint_eq(ask_vbe(9), 4096 - 768);
	/* A place in the old picture is none in the new. */
	vbe(6, 4096);
	ck_assert_uint_eq(ask_vbe(9), 0);
	vbe(6, 65535);
	ck_assert_uint_eq(ask_vbe(6), 4096);
	vbe(5, 255);
	vbe(5, 256);
	ck_assert_uint_eq(ask_vbe(5), 255);
}
END_TEST

static void set_vbe(uint16_t width, uint16_t height, uint16_t depth, uint16_t flags)
{
	vbe(4, 0);
	vbe(1, width);
	vbe(2, height);
	vbe(3, depth);
	vbe(4, (uint16_t)(flags | 0x41));
	in(0x3da);
	out(0x3c0, 0x20);
}

START_TEST(vbe_pictures)
{
	static const struct {
		uint16_t depth;
		uint32_t value, shown;
	} cases[] = {{15, 0x7c1f, 0xff00ff},
		     {16, 0x07e0, 0x00ff00},
		     {24, 0x123456, 0x123456},
		     {32, 0x89abcdef, 0xabcdef}};

	for (unsigned int i = 0; i < 4; i++) {
		uint32_t bytes = (cases[i].depth + 7u) / 8;

		set_vbe(800, 600, cases[i].depth, 0);
		expect_size(800, 600);
		memcpy(vga->memory + (599 * 800 + 799) * bytes, &cases[i].value, bytes);
		atomic_store(&vga->changed, true);
		ck_assert_uint_eq(pixel(799, 599), cases[i].shown);
		ck_assert_uint_eq(pixel(798, 599), 0);
	}
	/* Cleared, unless it is kept. */
	set_vbe(800, 600, 32, 0x80);
	ck_assert_uint_eq(pixel(799, 599), 0xabcdef);
	set_vbe(800, 600, 32, 0);
	ck_assert_uint_eq(pixel(799, 599), 0);
	/* By the window, a bank at a time. */
	set_mode(&bytes_320x200);
	set_vbe(800, 600, 8, 0);
	vbe(5, 7);
	write_memory(WINDOW + 800 * 599 + 799 - 7 * 65536, 0x2a, 1);
	ck_assert_uint_eq(pixel(799, 599), red(0x2a));
	/* With eight bits of each colour. */
	vbe(4, 0x61);
	ck_assert_uint_eq(pixel(799, 599), 0x2a0000);
	/* Four planes. */
	set_mode(&planar_640x480);
	set_vbe(800, 600, 4, 0);
	expect_size(800, 600);
	set(0x3c4, 2, 0x08);
	write_memory(WINDOW + 100 * 599 + 99, 1, 1);
	ck_assert_uint_eq(pixel(799, 599), red(8));
	vbe(4, 0);
	expect_size(640, 480);
}
END_TEST

static void pci_write(unsigned int offset, uint32_t value)
{
	machine_out(&a, 0xcf8, 4, 0x80000000u | 8 << 11 | offset);
	machine_out(&a, 0xcfc, 4, value);
}

static uint32_t pci_read(unsigned int offset)
{
	machine_out(&a, 0xcf8, 4, 0x80000000u | 8 << 11 | offset);
	return (uint32_t)machine_in(&a, 0xcfc, 4);
}

START_TEST(linear_framebuffer)
{
	ck_assert_uint_eq(pci_read(PCI_VENDOR_ID), 0x53531414);
	ck_assert_uint_eq(pci_read(PCI_REVISION) >> 8, 0x030000);
	pci_write(PCI_BAR0, UINT32_MAX);
	ck_assert_uint_eq(pci_read(PCI_BAR0), 0xff000008);
	pci_write(PCI_BAR0, LINEAR);
	pci_write(PCI_COMMAND, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(atomic_load(&vga->linear_at), LINEAR);
	set_vbe(640, 480, 32, 0);
	expect_size(640, 480);
	write_memory(LINEAR + 640 * 4 * 100 + 40, 0x00345678, 4);
	ck_assert_uint_eq(read_memory(LINEAR + 640 * 4 * 100 + 40, 8), 0x00345678);
	ck_assert_uint_eq(pixel(10, 100), 0x345678);
	pci_write(PCI_COMMAND, PCI_COMMAND_IO);
	ck_assert_uint_eq(pci_read(PCI_COMMAND) & 0xff, PCI_COMMAND_IO);
	ck_assert_uint_eq(atomic_load(&vga->linear_at), 0);
}
END_TEST

/* The picture comes by itself while it is watched. */
static void stop(void *context)
{
	event_loop_stop(a.env.loop, 0);
}

static void stop_at_dirt(void *context, const struct video_area *area)
{
	stop(context);
}

START_TEST(watched)
{
	set_mode(&text_80x25);
	desktop.viewer.on_mode = stop;
	desktop.watched = true;
	desktop.screen.on_watched(desktop.screen.context);
	ck_assert_int_eq(event_loop_run(a.env.loop), 0);
	ck_assert_uint_eq(desktop.screen.mode.width, 720);
	/* And again. */
	desktop.viewer = (struct desktop_viewer){.on_dirt = stop_at_dirt};
	write_memory(0xb8000, 0x4f41, 2);
	ck_assert_int_eq(event_loop_run(a.env.loop), 0);
}
END_TEST

START_TEST(state)
{
	struct vga *to;

	set_mode(&planar_640x480);
	set_vbe(800, 600, 16, 0);
	pci_write(PCI_BAR0, LINEAR);
	pci_write(PCI_COMMAND, PCI_COMMAND_MEMORY);
	out(0x3c0, 3);
	out(0x3c8, 9);
	out(0x3c9, 1);
	to = add_vga(&b);
	machine_copy_state("vga", vga, to);
	ck_assert_mem_eq(&vga->regs, &to->regs, sizeof(vga->regs));
	ck_assert_uint_eq(atomic_load(&to->linear_at), LINEAR);
	vga_screen_draw(to);
	ck_assert_uint_eq(other.screen.mode.width, 800);
	device_find("vga")->reset(to);
	ck_assert_uint_eq(atomic_load(&to->linear_at), 0);
	vga_screen_draw(to);
	ck_assert_uint_eq(other.screen.mode.width, 0);
	machine_refuses("vga", to, "dac-part", 3);
	/* What cannot have been written. */
	vga->regs.vbe[VGA_VBE_Y] = 16000;
	ck_assert(!vga_registers_valid(&vga->regs));
	vga->regs.vbe[VGA_VBE_Y] = 0;
	ck_assert(vga_registers_valid(&vga->regs));
	vga->regs.graphics[VGA_GFX_READ_MAP] = 4;
	ck_assert(!vga_registers_valid(&vga->regs));
	remove_vga(&b, to);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("vga", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, registers);
	tcase_add_test(tests, colours);
	tcase_add_test(tests, text);
	tcase_add_test(tests, text_is_read);
	tcase_add_test(tests, write_modes);
	tcase_add_test(tests, read_modes);
	tcase_add_test(tests, planar_picture);
	tcase_add_test(tests, chained_picture);
	tcase_add_test(tests, cga_picture);
	tcase_add_test(tests, vbe_registers);
	tcase_add_test(tests, vbe_pictures);
	tcase_add_test(tests, linear_framebuffer);
	tcase_add_test(tests, watched);
	tcase_add_test(tests, state);
	return suite_run(suite);
}
