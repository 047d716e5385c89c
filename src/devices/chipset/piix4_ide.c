#include <errno.h>
#include <stdlib.h>

#include "base/guid.h"
#include "devices/block/configured.h"
#include "devices/chipset/ide_internal.h"
#include "devices/chipset/pci.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * The IDE controller of the 82371AB (PIIX4): two channels at the places that PCs always had them,
 * and a bus master.  Its configuration:
 *   {"instance": GUID (optional), "on_full": "report" | "pause" (report), "disks": [{"lun": 0..3,
 *    "type": "disk" | "cdrom", "backend": "raw", "fd": N, "name": PATH, "read_only": false, "iops":
 *    N, "bandwidth": N}, ...]}
 * where the LUN, by default the disk's place in the list, is twice the channel and the device (0:
 * primary master), and on_full is for writes by either way, the VMBus's or the emulated one.  A
 * drive is empty where there is no descriptor.  Without a PCI bus (tests) there is no DMA, and the
 * ports are always there.
 */

#define SLOT	 7
#define FUNCTION 1

/* Where the configuration names no other: that of a VM's IDE controller. */
#define DEFAULT_INSTANCE                                                                           \
	GUID_INIT(0x32412632, 0x86cb, 0x44a2, 0x9b, 0x5c, 0x50, 0xd1, 0x41, 0x73, 0x54, 0xf5)

/* 82371AB data sheet, 5. */
enum {
	REG_TIMING = 0x40, /* two bytes a channel */
	REG_TIMING_DEVICE_1 = 0x44,
	REG_ULTRA_CONTROL = 0x48,
	REG_ULTRA_TIMING = 0x4a,
};

#define TIMING_DECODE 0x80 /* of its upper byte */
#define MASTER_BAR    4

static const struct {
	uint16_t command_block;
	uint16_t control_block;
	uint32_t gsi;
} places[IDE_CHANNELS] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};

bool ide_may_master(const struct ide *ide)
{
	return ide->function && pci_bus_master(ide->function);
}

void ide_configured(struct ide *ide)
{
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		uint8_t timing = TIMING_DECODE;

		if (ide->function)
			timing = pci_config_byte(ide->function, REG_TIMING + 2 * i + 1);
		atomic_store(&ide->decoded[i], timing & TIMING_DECODE);
	}
}

static void on_config(void *context, unsigned int offset, unsigned int size)
{
	struct ide *ide = context;

	(void)offset;
	(void)size;
	ide_configured(ide);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++)
		ide_master_kick(&ide->channels[i]);
}

static int make_function(struct ide *ide)
{
	const struct pci_description description = {
		.vendor = 0x8086,
		.device = 0x7111,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x010180, /* IDE, compatible mode, bus master */
		.revision = 1,
		.bars[MASTER_BAR] = {.size = IDE_MASTER_BYTES,
				     .space = IO_PORT,
				     .handler = ide_master_access},
		.config_written = on_config,
		.context = ide,
	};
	int r;

	if (!ide->env.pci)
		return 0;
	r = pci_function_new(ide->env.pci, SLOT, FUNCTION, &description, &ide->function);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		pci_config_default(ide->function, REG_TIMING + 2 * i, 0, 0xff);
		pci_config_default(ide->function, REG_TIMING + 2 * i + 1, 0, 0xf3);
		pci_config_default(ide->function, REG_ULTRA_TIMING + i, 0, 0x33);
	}
	pci_config_default(ide->function, REG_TIMING_DEVICE_1, 0, 0xff);
	pci_config_default(ide->function, REG_ULTRA_CONTROL, 0, 0x0f);
	return 0;
}

static int add_ports(struct ide *ide)
{
	int r = 0;

	for (unsigned int i = 0; i < IDE_CHANNELS && r == 0; i++) {
		struct ide_channel *channel = &ide->channels[i];

		r = io_bus_add(ide->env.ports, places[i].command_block, ATA_REGISTERS,
			       ide_command_block, channel);
		if (r == 0)
			ide->regions++;
		if (r == 0)
			r = io_bus_add(ide->env.ports, places[i].control_block, 1,
				       ide_control_block, channel);
		if (r == 0)
			ide->regions++;
	}
	return r;
}

static void remove_ports(struct ide *ide)
{
	for (unsigned int i = 0; i < ide->regions; i++)
		io_bus_remove(ide->env.ports,
			      i % 2 ? places[i / 2].control_block : places[i / 2].command_block);
}

static int make_channels(struct ide *ide)
{
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *channel = &ide->channels[i];
		int r = irq_level_new(ide->env.irq, places[i].gsi, &channel->irq);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_instance(struct ide *ide, const json_t *config, struct error *err)
{
	static const struct guid default_instance = DEFAULT_INSTANCE;
	const json_t *text = json_object_get(config, "instance");

	ide->instance = default_instance;
	if (text &&
	    (!json_is_string(text) || guid_parse(json_string_value(text), &ide->instance) < 0))
		return error_set(err, EINVAL, "the IDE controller's instance is not a GUID");
	return 0;
}

static void destroy(struct ide *ide)
{
	remove_ports(ide);
	pci_function_free(ide->function);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++)
		ide_pause(&ide->channels[i]);
	ide_withdraw_disks(ide);
	ide_close_units(ide);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		irq_level_free(ide->channels[i].irq);
		ide_io_fini(&ide->channels[i]);
	}
	free(ide);
}

static void close_given(const json_t *config)
{
	size_t index;
	json_t *disk;

	json_array_foreach(json_object_get(config, "disks"), index, disk) block_close_given(disk);
}

/* As at power-on.  Channels paused. */
static void reset(struct ide *ide)
{
	if (ide->function)
		pci_function_reset(ide->function);
	ide_configured(ide);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *channel = &ide->channels[i];

		pthread_mutex_lock(&channel->lock);
		ide_channel_reset(channel);
		pthread_mutex_unlock(&channel->lock);
	}
}

static int place(struct ide *ide, struct error *err)
{
	int r = make_channels(ide);

	if (r == 0)
		r = make_function(ide);
	if (r == 0)
		r = add_ports(ide);
	return r < 0 ? error_host(err, -r, "the IDE controller cannot be placed") : 0;
}

static int ide_create(const struct device_env *env, const json_t *config, void **device,
		      struct error *err)
{
	struct ide *ide = calloc(1, sizeof(*ide));
	int r;

	if (!ide)
		return error_memory(err, "an IDE controller");
	ide->env = *env;
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		ide->channels[i].ide = ide;
		ide->channels[i].index = i;
		ide->channels[i].thread = env->io_threads[i % env->io_thread_count];
		ide_io_init(&ide->channels[i]);
	}
	r = read_instance(ide, config, err);
	if (r == 0)
		r = block_read_on_full(config, &ide->full.pause, err);
	if (r == 0)
		r = ide_open_units(ide, config, err);
	if (r == 0)
		r = place(ide, err);
	if (r == 0)
		r = ide_offer_disks(ide, err);
	if (r < 0) {
		destroy(ide);
		return r;
	}
	reset(ide);
	close_given(config);
	*device = ide;
	return 0;
}

static void ide_destroy(void *device)
{
	destroy(device);
}

void ide_quiesce(void *device)
{
	struct ide *ide = device;

	ide->quiesced = true;
	for (unsigned int i = 0; i < IDE_CHANNELS; i++)
		ide_pause(&ide->channels[i]);
	ide_each_offered(ide, storvsp_device.quiesce);
}

void ide_unquiesce(void *device)
{
	struct ide *ide = device;

	ide->quiesced = false;
	block_full_go_on(&ide->full);
	ide_each_offered(ide, storvsp_device.unquiesce);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++)
		ide_resume(&ide->channels[i]);
}

static void ide_reset(void *device)
{
	struct ide *ide = device;
	bool was_quiesced = ide->quiesced;

	if (!was_quiesced)
		ide_quiesce(ide);
	reset(ide);
	ide_each_offered(ide, storvsp_device.reset);
	if (!was_quiesced)
		ide_unquiesce(ide);
}

const struct device_ops ide_device = {
	.name = "ide",
	.state_version = IDE_STATE_VERSION,
	.create = ide_create,
	.destroy = ide_destroy,
	.reset = ide_reset,
	.save = ide_save,
	.restore = ide_restore,
	.inspect = ide_inspect,
	.quiesce = ide_quiesce,
	.unquiesce = ide_unquiesce,
	.verbs = ide_verbs,
};
