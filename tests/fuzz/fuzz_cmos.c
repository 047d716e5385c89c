#include "devices/chipset/pci.h"
#include "devices/table.h"
#include "fuzz.h"
#include "vmm/machine.h"

/*
 * A guest that does anything to the clock's two ports, while the VM is paused, and its state saved
 * and restored: no form of date and alarm leads astray, and the interrupt is one that C tells of.
 */

#define RAM	  0x40000u
#define STEPS_MAX 512

static struct device_env env;
static void *cmos;

static void set_up(void)
{
	json_t *config = json_object();

	env.vp_count = 1;
	require(gpa_space_new(RAM, &env.gpa, NULL) == 0);
	require(io_bus_new(IO_PORT, NULL, &env.ports) == 0);
	require(io_bus_new(IO_MMIO, NULL, &env.mmio) == 0);
	require(irq_controller_new(NULL, &env.irq) == 0);
	require(event_loop_new(&env.loop) == 0);
	require(pci_bus_new(env.ports, env.mmio, env.irq, &env.pci) == 0);
	require(cmos_device.create(&env, config, &cmos, NULL) == 0);
	json_decref(config);
}

static uint8_t access_port(bool write, unsigned int port, uint32_t size, uint64_t value)
{
	struct io_access access = {.address = MACHINE_PORT_CMOS_INDEX + port,
				   .size = size,
				   .write = write,
				   .value = value};

	io_bus_dispatch(env.ports, &access);
	return (uint8_t)access.value;
}

static void save_and_restore(void)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	void *tree;
	size_t size;

	state_begin(writer, "cmos", 1);
	cmos_device.save(cmos, writer);
	state_end(writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	require(state_child(&root, "cmos", 1, &node) == 0);
	require(cmos_device.restore(cmos, &node) == 0);
	free(tree);
}

static void step(struct fuzz_input *input)
{
	uint8_t choice = fuzz_u8(input);

	switch (choice % 8) {
	case 0:
		save_and_restore();
		break;
	case 1:
		cmos_device.quiesce(cmos);
		if (choice & 8)
			cmos_device.unquiesce(cmos);
		break;
	case 2:
		access_port(choice & 8, choice >> 4 & 1, 1u << (choice >> 5) % 3, fuzz_u64(input));
		break;
	case 3:
		access_port(false, 1, 1, 0);
		break;
	default:
		access_port(true, 0, 1, fuzz_u8(input));
		access_port(true, 1, 1, fuzz_u8(input));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!cmos)
		set_up();
	cmos_device.unquiesce(cmos);
	for (unsigned int i = 0; i < STEPS_MAX && input.size; i++)
		step(&input);
	/* After C is read, nothing is due; what came up since interrupts only with its flag. */
	access_port(true, 0, 1, 0x0b);
	access_port(true, 1, 1, 0x02);
	access_port(true, 0, 1, 0x0c);
	access_port(false, 1, 1, 0);
	require(!irq_gsi_asserted(env.irq, MACHINE_GSI_RTC));
	cmos_device.reset(cmos);
	return 0;
}
