#include "base/wire.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/table.h"
#include "fuzz.h"
#include "vmm/machine.h"

/*
 * A guest's way with the PCI bus: configuration by its ports, accesses of any size in the windows,
 * interrupts and routes meanwhile; with the host bridge and the reset registers.  Whatever it
 * writes, functions stay who they are, and a BAR is only where it may be.
 */

#define STEPS	  512
#define FUNCTIONS 3u

static const struct pci_bar bars[FUNCTIONS][2] = {
	{{.size = 16, .space = IO_PORT}, {.size = 4096, .space = IO_MMIO}},
	{{.size = 16 << 20, .space = IO_MMIO, .prefetchable = true}, {.size = 0}},
	{{.size = 128, .space = IO_PORT}, {.size = 128, .space = IO_MMIO}},
};

struct probe {
	struct pci_function *function;
	unsigned int number;
	uint64_t moved[2];
};

static struct device_env env;
static struct probe probes[FUNCTIONS];
static void *bridge, *control;

static void on_reset(void *context)
{
}

static void on_shadow(void *context, uint64_t gpa, uint64_t size, enum partition_shadow shadow)
{
	require(gpa >= MACHINE_SHADOW_BASE && size <= MACHINE_SHADOW_END - gpa);
	require((gpa | size) % MACHINE_SHADOW_UNIT == 0 && shadow <= SHADOW_RAM);
}

static const struct device_events events = {.reset = on_reset, .shadow = on_shadow};

static void check_access(struct probe *probe, unsigned int bar, struct io_access *access)
{
	require(access->offset + access->size <= bars[probe->number][bar].size);
	require(access->address == probe->moved[bar] + access->offset);
	pci_interrupt(probe->function, access->offset & 1);
}

static void on_first(void *context, struct io_access *access)
{
	check_access(context, 0, access);
}

static void on_second(void *context, struct io_access *access)
{
	check_access(context, 1, access);
}

static void check_moved(struct probe *probe, unsigned int bar, uint64_t address)
{
	const struct pci_bar *of = &bars[probe->number][bar];
	uint64_t end = address + of->size;

	probe->moved[bar] = address;
	require(address % of->size == 0);
	if (address == 0)
		return;
	if (of->space == IO_PORT)
		require(address >= 0x1000 && end <= 0x10000);
	else
		require((address >= 0xe0000000 && end <= 0xf8000000) ||
			(address >= 0xfc000000 && end <= 0xfec00000));
}

static void on_first_moved(void *context, uint64_t address)
{
	check_moved(context, 0, address);
}

static void on_second_moved(void *context, uint64_t address)
{
	check_moved(context, 1, address);
}

static void on_config(void *context, unsigned int offset, unsigned int size)
{
	struct probe *probe = context;

	require(offset + size <= PCI_CONFIG_BYTES);
	pci_config_put(probe->function, 0xff, (uint8_t)offset);
	pci_routes_changed(env.pci);
}

static int on_route(void *context, unsigned int pirq)
{
	return (int)pci_config_byte(probes[0].function, 0x60 + pirq) - 1;
}

static void add(unsigned int number)
{
	struct probe *probe = &probes[number];
	struct pci_description description = {
		.vendor = 0x1000,
		.device = (uint16_t)number,
		.interrupt_pin = (uint8_t)(number + 1),
		.bars = {bars[number][0], bars[number][1]},
		.config_written = on_config,
		.context = probe,
	};

	probe->number = number;
	description.bars[0].handler = on_first;
	description.bars[0].moved = on_first_moved;
	description.bars[1].handler = on_second;
	description.bars[1].moved = on_second_moved;
	require(pci_function_new(env.pci, 7 + number / 2, number % 2, &description,
				 &probe->function) == 0);
	for (unsigned int offset = 0x60; offset < 0x64; offset++)
		pci_config_default(probe->function, offset, 0x80, 0xff);
}

static void set_up(void)
{
	env.events = &events;
	require(io_bus_new(IO_PORT, NULL, &env.ports) == 0);
	require(io_bus_new(IO_MMIO, NULL, &env.mmio) == 0);
	require(irq_controller_new(NULL, &env.irq) == 0);
	require(pci_bus_new(env.ports, env.mmio, env.irq, &env.pci) == 0);
	require(device_find("host_bridge")->create(&env, NULL, &bridge, NULL) == 0);
	require(device_find("reset_control")->create(&env, NULL, &control, NULL) == 0);
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		add(i);
	pci_route_set(env.pci, on_route, NULL);
}

static void reset(void)
{
	device_find("host_bridge")->reset(bridge);
	device_find("reset_control")->reset(control);
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		pci_function_reset(probes[i].function);
}

static void dispatch(struct io_bus *bus, struct fuzz_input *input, uint64_t address, uint8_t how)
{
	struct io_access access = {
		.address = address,
		.size = 1u << how % 3,
		.write = how & 0x80,
	};

	if (access.write)
		fuzz_take(input, &access.value, access.size);
	io_bus_dispatch(bus, &access);
}

/* A register of one of the functions, mostly. */
static void access_config(struct fuzz_input *input, uint8_t how)
{
	static const uint8_t slots[] = {0x00, 0x38, 0x39, 0x40};
	uint8_t offset = fuzz_u8(input);
	struct io_access select = {
		.address = MACHINE_PORT_PCI_ADDRESS,
		.size = 4,
		.write = true,
		.value = 0x80000000u | slots[how >> 3 & 3] << 8 | (offset & 0xfc),
	};

	io_bus_dispatch(env.ports, &select);
	dispatch(env.ports, input, MACHINE_PORT_PCI_DATA + (offset & 3), how);
}

static void access_bar(struct fuzz_input *input, uint8_t how)
{
	const struct probe *probe = &probes[how >> 3 & 3 ? (how >> 3 & 3) - 1u : 0];
	unsigned int bar = how >> 5 & 1;
	bool port = bars[probe->number][bar].space == IO_PORT;

	dispatch(port ? env.ports : env.mmio, input, probe->moved[bar] + fuzz_u8(input), how);
}

static void save_and_restore(struct probe *probe)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	void *tree;
	size_t size;

	pci_function_save(probe->function, writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	pci_function_reset(probe->function);
	require(pci_function_restore(probe->function, &root) == 0);
	free(tree);
}

static void check(void)
{
	for (unsigned int i = 0; i < FUNCTIONS; i++) {
		require(pci_config_byte(probes[i].function, PCI_DEVICE_ID) == i);
		require(pci_config_byte(probes[i].function, PCI_VENDOR_ID + 1) == 0x10);
		for (unsigned int bar = 0; bar < 2; bar++)
			require(pci_bar_address(probes[i].function, bar) == probes[i].moved[bar]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!env.pci)
		set_up();
	reset();
	for (unsigned int i = 0; i < STEPS && input.size; i++) {
		uint8_t step = fuzz_u8(&input), how = fuzz_u8(&input);

		if (step < 0x80)
			access_config(&input, how);
		else if (step < 0xc0)
			access_bar(&input, how);
		else if (step < 0xf8)
			dispatch(env.ports, &input, 0xcf8 + (step & 7), how);
		else
			save_and_restore(&probes[step % FUNCTIONS]);
	}
	check();
	return 0;
}
