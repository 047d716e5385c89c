#include "base/checked.h"
#include "devices/chipset/ide_internal.h"
#include "devices/chipset/pci.h"
#include "devices/table.h"
#include "fuzz.h"
#include "vmm/gpa.h"

/*
 * Any accesses to the ports of the IDE controller, with any table in memory: no data leaves the
 * buffer, no request the disk.  The backend is the null one, which answers at once.
 */

#define RAM_BYTES  (1u << 20)
#define ACCESSES   4000u
#define MASTER	   0xc000
#define PCI_SELECT 0x80003900u /* slot 7, function 1 */

static struct {
	struct device_env env;
	struct io_thread *thread;
	struct ide *ide;
} rig;

static void access_port(uint16_t port, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = {.address = port, .size = size, .write = write, .value = value};

	io_bus_dispatch(rig.env.ports, &access);
}

static void configure(uint8_t reg, uint32_t value)
{
	access_port(0xcf8, 4, true, PCI_SELECT | reg);
	access_port(0xcfc, 4, true, value);
}

static void make_rig(void)
{
	json_t *config =
		json_pack("{s:[{s:s, s:i}, {s:s, s:s, s:i}, {s:i, s:s}]}", "disks", "backend",
			  "null", "bytes", 512 * 5000, "type", "cdrom", "backend", "null", "bytes",
			  2048 * 100, "lun", 3, "type", "cdrom");
	void *device;

	require(io_bus_new(IO_PORT, NULL, &rig.env.ports) == 0);
	require(io_bus_new(IO_MMIO, NULL, &rig.env.mmio) == 0);
	require(irq_controller_new(NULL, &rig.env.irq) == 0);
	require(pci_bus_new(rig.env.ports, rig.env.mmio, rig.env.irq, &rig.env.pci) == 0);
	require(gpa_space_new(RAM_BYTES, &rig.env.gpa, NULL) == 0);
	require(io_thread_new("disk", 8, &rig.thread) == 0);
	require(io_thread_start(rig.thread, NULL, NULL) == 0);
	rig.env.io_threads = &rig.thread;
	rig.env.io_thread_count = rig.env.vp_count = 1;
	require(ide_device.create(&rig.env, config, &device, NULL) == 0);
	json_decref(config);
	rig.ide = device;
}

/* The two channels, the bus master, and what the fuzzer likes best: commands. */
static void one_access(struct fuzz_input *input)
{
	static const uint16_t bases[] = {0x1f0, 0x170, MASTER, 0x1f0};
	static const uint32_t sizes[] = {1, 2, 4, 1};
	uint8_t what = fuzz_u8(input), value = fuzz_u8(input);
	uint16_t base = bases[what & 3];
	uint16_t port = (uint16_t)(base + (what >> 2 & (base == MASTER ? 15 : 7)));
	uint32_t size = sizes[what >> 6];

	if (what == 0xff)
		port = (uint16_t)(bases[value & 1] + 0x206);
	if ((port & 7) == 0 && base != MASTER) {
		/* The data register, for a whole block at a time. */
		for (unsigned int i = 0; i < 256; i++)
			access_port(port, 2, value & 1, value * 0x101u * i);
		return;
	}
	access_port(port, size, !(what & 0x20) || (port & 7) == 7, value * 0x01010101u);
}

static void nothing(void *context)
{
	(void)context;
}

static void check(void)
{
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *channel = &rig.ide->channels[i];

		pthread_mutex_lock(&channel->lock);
		require(channel->command.at <= IDE_BUFFER_BYTES);
		require(channel->command.end <= IDE_BUFFER_BYTES);
		require(channel->command.filled <= IDE_BUFFER_BYTES);
		require(channel->command.moved <= IDE_BUFFER_BYTES);
		pthread_mutex_unlock(&channel->lock);
	}
}

/* What it is in now can be saved, and is what a restore takes. */
static void save_and_restore(void)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	size_t size;
	void *tree;

	ide_device.quiesce(rig.ide);
	ide_device.save(rig.ide, writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	require(ide_device.restore(rig.ide, &root) == 0);
	free(tree);
	ide_device.unquiesce(rig.ide);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t table[64];

	if (!rig.ide)
		make_rig();
	ide_device.reset(rig.ide);
	configure(0x40, 0x80008000);
	configure(0x20, MASTER);
	configure(0x04, 5);
	fuzz_take(&input, table, sizeof(table));
	require(gpa_write(rig.env.gpa, 0, table, sizeof(table)) == 0);
	for (unsigned int i = 0; i < ACCESSES && input.size > 0; i++) {
		one_access(&input);
		/* What is due is done before the next access, so that a run can be repeated. */
		io_thread_call(rig.thread, nothing, NULL);
		check();
	}
	save_and_restore();
	return 0;
}
