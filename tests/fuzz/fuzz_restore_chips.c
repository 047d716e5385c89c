#include <libfdt.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "chip_fuzz.h"
#include "devices/desktop.h"
#include "devices/vsp/display.h"

/*
 * The saved state of a chip of a Generation 1 VM that somebody has changed, byte by byte, after the
 * guest did anything to the chip: it is refused, or the chip goes on with it and can be saved
 * again.
 */

#define STEPS_MAX      64
#define EDITS_MAX      32
#define PROPERTIES_MAX 255

static const struct kind {
	const char *name;
	uint16_t ports[3]; /* where its registers are */
	const char *config;
} kinds[] = {
	{"ide",
	 {0x1f0, 0x170, 0x3f0},
	 "{\"disks\":[{\"backend\":\"null\",\"bytes\":2560000},{\"type\":\"cdrom\","
	 "\"backend\":\"null\",\"bytes\":204800}]}"},
	{"floppy", {0x3f0, 0x3f4, 0x00}, "{\"backend\":\"null\",\"bytes\":1474560}"},
	{"tulip",
	 {0xc000, 0xc040, 0xcf8},
	 "{\"mac\":\"52:54:00:12:34:56\",\"backend\":\"null\",\"echo\":true}"},
	{"i8042", {0x60, 0x60, 0x60}, "{}"},
	{"cmos", {0x70, 0x70, 0x70}, "{}"},
	{"piix4_isa", {0xcf8, 0x4d0, 0xcf8}, "{}"},
	{"piix4_pm", {0x600, 0xb2, 0xcf8}, "{}"},
	{"vga", {0x3c0, 0x3d0, 0x1ce}, NULL},
	{"host_bridge", {0xcf8, 0xcf8, 0xcf8}, "{}"},
	{"uart", {0x3f8, 0x2f8, 0x3f8}, "{\"output_fd\":-1}"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct chip_fuzz fuzz;

static void nothing(void *context)
{
}

static int show(void *context, enum partition_shown shown, uint64_t gpa, uint64_t size, void *host)
{
	return 0;
}

static void shadow(void *context, uint64_t gpa, uint64_t size, enum partition_shadow kind)
{
}

static const struct device_events events = {
	.power_off = nothing, .reset = nothing, .show_memory = show, .shadow = shadow};

static json_t *video_memory(void)
{
	int fd = memfd_create("vram", MFD_CLOEXEC);

	require(fd >= 0 && ftruncate(fd, DISPLAY_FILE_BYTES) == 0);
	return json_pack("{s:i}", "vram_fd", fd);
}

static void make(const struct kind *kind)
{
	static struct desktop desktop;

	desktop = (struct desktop){0};
	if (!fuzz.env.loop)
		require(event_loop_new(&fuzz.env.loop) == 0);
	fuzz.env.events = &events;
	fuzz.env.desktop = &desktop;
	chip_fuzz_new(&fuzz, kind->name,
		      kind->config ? json_loads(kind->config, 0, NULL) : video_memory());
}

static void work(const struct kind *kind, struct fuzz_input *input)
{
	unsigned int steps = fuzz_u8(input) % STEPS_MAX;

	while (steps-- && input->size) {
		uint8_t what = fuzz_u8(input);

		chip_fuzz_access(&fuzz, (uint16_t)(kind->ports[(what & 3) % 3] + (what >> 2 & 15)),
				 1u << (what >> 6) % 3, fuzz_u8(input) & 1,
				 fuzz_u8(input) * 0x01010101u);
		io_thread_call(fuzz.thread, nothing, NULL);
	}
}

static void rest(void)
{
	if (fuzz.ops->quiesce)
		fuzz.ops->quiesce(fuzz.device);
}

static void go_on(void)
{
	if (fuzz.ops->unquiesce)
		fuzz.ops->unquiesce(fuzz.device);
}

static void *save(size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	fuzz.ops->save(fuzz.device, writer);
	require(state_finish(writer, &tree, size) == 0);
	state_writer_free(writer);
	return tree;
}

/* A byte of some property's value. */
static uint8_t *choose(uint8_t *tree, struct fuzz_input *input)
{
	uint8_t *values[PROPERTIES_MAX];
	unsigned int lengths[PROPERTIES_MAX], count = 0, which;
	int offset = 0, next;

	for (uint32_t tag = FDT_BEGIN_NODE; tag != FDT_END && count < PROPERTIES_MAX;
	     offset = next) {
		const struct fdt_property *property;
		int length;

		tag = fdt_next_tag(tree, offset, &next);
		if (tag != FDT_PROP)
			continue;
		property = fdt_get_property_by_offset(tree, offset, &length);
		values[count] = (uint8_t *)property->data;
		lengths[count] = (unsigned int)length;
		count += length > 0;
	}
	require(count > 0);
	which = fuzz_u8(input) % count;
	return values[which] + fuzz_u8(input) % lengths[which];
}

static void edit(uint8_t *tree, struct fuzz_input *input)
{
	unsigned int edits = fuzz_u8(input) % EDITS_MAX;

	while (edits-- && input->size)
		*choose(tree, input) = fuzz_u8(input);
}

/* One that was refused is only good for its end. */
static bool restore(const void *tree, size_t size)
{
	struct state_node root;

	return state_open(tree, size, &root) == 0 && fuzz.ops->restore(fuzz.device, &root) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	const struct kind *kind = &kinds[fuzz_u8(&input) % KINDS];
	void *tree;

	make(kind);
	work(kind, &input);
	rest();
	tree = save(&size);
	chip_fuzz_free(&fuzz);
	edit(tree, &input);
	make(kind);
	rest();
	if (restore(tree, size)) {
		go_on();
		work(kind, &input);
		rest();
		free(tree);
		tree = save(&size);
	}
	free(tree);
	chip_fuzz_free(&fuzz);
	return 0;
}
