#include "base/wire.h"
#include "devices/chipset/fw_cfg.h"
#include "fuzz.h"

/*
 * A guest's way with the firmware configuration device: accesses of any size to all its ports, and
 * descriptors of any content, some of which say something sensible.
 */

#define RAM   0x40000u
#define STEPS 256

static struct gpa_space *gpa;
static struct io_bus *ports;
static struct fw_cfg *fw_cfg;

static void set_up(void)
{
	static const uint8_t data[300] = {1, 2, 3};

	require(gpa_space_new(RAM, &gpa, NULL) == 0);
	require(io_bus_new(IO_PORT, NULL, &ports) == 0);
	require(fw_cfg_new(ports, gpa, &fw_cfg) == 0);
	require(fw_cfg_add(fw_cfg, FW_CFG_CPUS, data, 2) == 0);
	require(fw_cfg_add_file(fw_cfg, "etc/short", data, sizeof(data)) == 0);
	require(fw_cfg_add_file(fw_cfg, "etc/empty", data, 0) == 0);
}

static void access_port(struct fuzz_input *input)
{
	uint8_t choice = fuzz_u8(input);
	struct io_access access = {
		.address = FW_CFG_PORT_SELECTOR + choice % 12,
		.size = 1u << (choice >> 4) % 4,
		.write = choice & 0x80,
	};

	if (access.write)
		access.value = fuzz_u64(input);
	if (access.size < 8)
		access.value &= (1ull << (8 * access.size)) - 1;
	io_bus_dispatch(ports, &access);
}

static void start_transfer(struct fuzz_input *input)
{
	struct io_access access = {.address = FW_CFG_PORT_DMA + 4, .size = 4, .write = true};
	uint32_t place = (uint32_t)fuzz_u64(input) % (RAM + 16);
	uint8_t request[16];

	fuzz_take(input, request, sizeof(request));
	if (fuzz_u8(input) & 1) { /* into RAM, and not much */
		put_be32(request + 4, get_be32(request + 4) % 1024);
		put_be64(request + 8, get_be64(request + 8) % RAM);
	}
	gpa_write(gpa, place, request, sizeof(request));
	access.value = htobe32(place);
	io_bus_dispatch(ports, &access);
}

static void save_and_restore(void)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	void *tree;
	size_t size;

	state_begin(writer, "fw_cfg", 1);
	fw_cfg_save(fw_cfg, writer);
	state_end(writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	require(state_child(&root, "fw_cfg", 1, &node) == 0);
	require(fw_cfg_restore(fw_cfg, &node) == 0);
	free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!fw_cfg)
		set_up();
	fw_cfg_reset(fw_cfg);
	for (unsigned int i = 0; i < STEPS && input.size; i++) {
		uint8_t step = fuzz_u8(&input);

		if (step == 0)
			save_and_restore();
		else if (step & 1)
			access_port(&input);
		else
			start_transfer(&input);
	}
	return 0;
}
