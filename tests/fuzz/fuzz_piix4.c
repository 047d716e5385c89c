#include "devices/chipset/pci.h"
#include "devices/table.h"
#include "fuzz.h"
#include "vmm/machine.h"

/*
 * A guest that does anything to the PIIX4's bridge and power management: their configuration, all
 * their ports with accesses of any size; while the power button is pressed, the VM paused, its
 * state saved and restored.
 */

#define STEPS_MAX 256

static void nothing(void *context)
{
}

static void drop_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
}

static const struct device_events events = {.reset = nothing, .power_off = nothing};
static const struct device_ops *const kinds[2] = {&piix4_isa_device, &piix4_pm_device};
static struct device_env env;
static void *devices[2];

static void out(uint64_t port, uint32_t size, uint64_t value)
{
	struct io_access access = {.address = port, .size = size, .write = true, .value = value};

	io_bus_dispatch(env.ports, &access);
}

static void set_up(void)
{
	json_t *config = json_object();

	env.events = &events;
	require(io_bus_new(IO_PORT, NULL, &env.ports) == 0);
	require(io_bus_new(IO_MMIO, NULL, &env.mmio) == 0);
	require(irq_controller_new(NULL, &env.irq) == 0);
	require(event_loop_new(&env.loop) == 0);
	require(pci_bus_new(env.ports, env.mmio, env.irq, &env.pci) == 0);
	for (unsigned int i = 0; i < 2; i++)
		require(kinds[i]->create(&env, config, &devices[i], NULL) == 0);
	json_decref(config);
}

static void configure(unsigned int function, unsigned int offset, uint32_t size, uint64_t value)
{
	out(MACHINE_PORT_PCI_ADDRESS, 4, 0x80000000u | 7u << 11 | function << 8 | (offset & ~3u));
	out(MACHINE_PORT_PCI_DATA + (offset & 3), size, value);
}

/* As the firmware leaves it. */
static void place(void)
{
	configure(3, 0x40, 4, MACHINE_PORT_PM | 1);
	configure(3, 0x80, 1, 1);
	configure(3, 0x90, 4, MACHINE_PORT_SMBUS | 1);
	configure(3, 0xd2, 1, 9);
}

static void access_port(struct fuzz_input *input)
{
	static const uint16_t bases[4] = {MACHINE_PORT_PM, MACHINE_PORT_PM, MACHINE_PORT_SMBUS,
					  MACHINE_PORT_APM_CONTROL};
	uint8_t choice = fuzz_u8(input);
	struct io_access access = {
		.address = bases[choice & 3] + fuzz_u8(input) % 66u,
		.size = 1u << (choice >> 2) % 4,
		.write = choice & 0x80,
	};

	if (access.write)
		access.value = fuzz_u64(input);
	io_bus_dispatch(env.ports, &access);
}

static void save_and_restore(unsigned int which)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	void *tree;
	size_t size;

	state_begin(writer, kinds[which]->name, 1);
	kinds[which]->save(devices[which], writer);
	state_end(writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	require(state_child(&root, kinds[which]->name, 1, &node) == 0);
	require(kinds[which]->restore(devices[which], &node) == 0);
	free(tree);
}

static void step(struct fuzz_input *input)
{
	struct device_call call = {.reply = drop_reply};
	uint8_t choice = fuzz_u8(input), offset;

	switch (choice % 8) {
	case 0:
		offset = fuzz_u8(input);
		configure(choice & 8 ? 3 : 0, offset, 1u << (choice >> 4) % 3, fuzz_u64(input));
		break;
	case 1:
		piix4_pm_device.verbs->handle(devices[1], NULL, &call);
		break;
	case 2:
		save_and_restore(choice >> 3 & 1);
		break;
	case 3:
		piix4_pm_device.quiesce(devices[1]);
		if (choice & 8)
			piix4_pm_device.unquiesce(devices[1]);
		break;
	case 4:
		place();
		break;
	default:
		access_port(input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!env.pci)
		set_up();
	for (unsigned int i = 0; i < 2; i++)
		kinds[i]->reset(devices[i]);
	piix4_pm_device.unquiesce(devices[1]);
	for (unsigned int i = 0; i < STEPS_MAX && input.size; i++)
		step(&input);
	return 0;
}
