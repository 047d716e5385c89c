#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "devices/chipset/chip.h"
#include "devices/chipset/fw_cfg.h"
#include "devices/chipset/vga_device.h"
#include "devices/table.h"

#define PCI_SLOT   8
#define PCI_VENDOR 0x1414
#define PCI_DEVICE 0x5353 /* as Hyper-V's, which Linux's drivers look for */
#define PCI_CLASS  0x030000
#define ROM_NAME   "pci1414,5353.rom" /* as SeaBIOS asks for it */
#define ROM_MAX	   0x10000u
#define VBE_PORT   0x1ce
#define VBE_PORTS  3u
#define VBE_DATA   1u

static void note_change(struct vga *vga)
{
	atomic_store_explicit(&vga->changed, true, memory_order_release);
}

static uint8_t read_register(void *context, unsigned int offset)
{
	struct vga *vga = context;

	return vga_register_read(&vga->regs, offset);
}

static void write_register(void *context, unsigned int offset, uint8_t value)
{
	struct vga *vga = context;

	if (vga_register_write(&vga->regs, offset, value))
		note_change(vga);
}

static void access_registers(void *context, struct io_access *access)
{
	struct vga *vga = context;

	pthread_mutex_lock(&vga->lock);
	chip_access_bytes(vga, access, read_register, write_register);
	pthread_mutex_unlock(&vga->lock);
}

/* Two registers of 16 bits, at ports that overlap: other sizes do nothing. */
static void access_vbe(void *context, struct io_access *access)
{
	struct vga *vga = context;
	uint16_t value = (uint16_t)access->value;

	if (access->size != 2 || access->offset > VBE_DATA)
		return;
	pthread_mutex_lock(&vga->lock);
	if (access->offset < VBE_DATA) {
		if (access->write)
			vga->regs.vbe_index = value;
		else
			access->value = vga->regs.vbe_index;
	} else if (!access->write) {
		access->value = vga_vbe_read(&vga->regs);
	} else if (vga_vbe_write(&vga->regs, vga->memory, value)) {
		note_change(vga);
	}
	pthread_mutex_unlock(&vga->lock);
}

static uint8_t read_window(void *context, unsigned int offset)
{
	struct vga *vga = context;

	return vga_memory_read(&vga->regs, vga->memory, offset);
}

static void write_window(void *context, unsigned int offset, uint8_t value)
{
	struct vga *vga = context;

	vga_memory_write(&vga->regs, vga->memory, offset, value);
}

static void access_window(void *context, struct io_access *access)
{
	struct vga *vga = context;

	pthread_mutex_lock(&vga->lock);
	chip_access_bytes(vga, access, read_window, write_window);
	pthread_mutex_unlock(&vga->lock);
	if (access->write)
		note_change(vga);
}

/* While it is not shown to the guest as memory. */
static void access_linear(void *context, struct io_access *access)
{
	struct vga *vga = context;

	if (!range_within(access->offset, access->size, VGA_MEMORY_BYTES))
		return;
	if (access->write) {
		memcpy(vga->memory + access->offset, &access->value, access->size);
		note_change(vga);
	} else {
		access->value = 0;
		memcpy(&access->value, vga->memory + access->offset, access->size);
	}
}

static void moved(void *context, uint64_t address)
{
	vga_screen_moved(context, address);
}

static int place_function(struct vga *vga)
{
	const struct pci_description description = {
		.vendor = PCI_VENDOR,
		.device = PCI_DEVICE,
		.class_code = PCI_CLASS,
		.bars[0] = {.size = VGA_MEMORY_BYTES,
			    .space = IO_MMIO,
			    .prefetchable = true,
			    .handler = access_linear,
			    .moved = moved},
		.context = vga,
	};

	int r;

	if (!vga->env.pci)
		return 0;
	r = pci_function_new(vga->env.pci, PCI_SLOT, 0, &description, &vga->function);
	/* It has ports without a base address of its own: firmware takes one whose ports it cannot
	 * switch on for no VGA. */
	if (r == 0)
		pci_config_default(vga->function, PCI_COMMAND, 0,
				   PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return r;
}

static int place(struct vga *vga)
{
	struct io_bus *ports = vga->env.ports, *mmio = vga->env.mmio;
	int r = io_bus_add(ports, VGA_PORT_BASE, VGA_PORT_COUNT, access_registers, vga);

	if (r < 0)
		return r;
	r = io_bus_add(ports, VBE_PORT, VBE_PORTS, access_vbe, vga);
	if (r < 0)
		goto no_vbe;
	r = io_bus_add(mmio, VGA_WINDOW_BASE, VGA_WINDOW_BYTES, access_window, vga);
	if (r < 0)
		goto no_window;
	vga->placed = true;
	return place_function(vga);

no_window:
	io_bus_remove(ports, VBE_PORT);
no_vbe:
	io_bus_remove(ports, VGA_PORT_BASE);
	return r;
}

static int map_memory(struct vga *vga, struct error *err)
{
	struct stat status;
	void *memory;

	if (fstat(vga->vram, &status) < 0 || status.st_size != DISPLAY_FILE_BYTES)
		return error_set(err, EINVAL, "the file of video memory has not %u bytes",
				 DISPLAY_FILE_BYTES);
	memory = mmap(NULL, DISPLAY_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vga->vram, 0);
	if (memory == MAP_FAILED)
		return error_host(err, errno, "cannot map the video memory");
	madvise(memory, DISPLAY_FILE_BYTES, MADV_DONTDUMP);
	vga->memory = memory;
	return 0;
}

/* Hands the adapter's firmware to the machine's. */
static int add_rom(struct vga *vga, int fd, struct error *err)
{
	uint8_t *rom CLEANUP_FREE = malloc(ROM_MAX + 1);
	ssize_t size;
	int r;

	if (!rom)
		return error_memory(err, "the VGA's firmware");
	size = pread(fd, rom, ROM_MAX + 1, 0);
	if (size < 0)
		return error_host(err, errno, "cannot read the VGA's firmware");
	if (size == 0 || size > (ssize_t)ROM_MAX)
		return error_set(err, EINVAL,
				 "the VGA's firmware must have from 1 to %u bytes; give SeaBIOS's "
				 "vgabios-stdvga.bin",
				 ROM_MAX);
	vga_rom_adopt(rom, (size_t)size, PCI_VENDOR, PCI_DEVICE);
	r = vga->env.fw_cfg ? fw_cfg_add_file(vga->env.fw_cfg, ROM_NAME, rom, (size_t)size) : 0;
	return r ? error_host(err, -r, "cannot pass on the VGA's firmware") : 0;
}

/* Without the descriptors of the configuration, which stay the caller's. */
static void take_down(struct vga *vga)
{
	pci_function_free(vga->function);
	if (vga->placed) {
		io_bus_remove(vga->env.mmio, VGA_WINDOW_BASE);
		io_bus_remove(vga->env.ports, VBE_PORT);
		io_bus_remove(vga->env.ports, VGA_PORT_BASE);
	}
	vga_screen_close(vga);
	if (vga->memory)
		munmap(vga->memory, DISPLAY_FILE_BYTES);
	pthread_mutex_destroy(&vga->lock);
	free(vga);
}

static int make(struct vga *vga, const json_t *config, struct error *err)
{
	const json_t *rom = json_object_get(config, "rom_fd");
	int r = map_memory(vga, err);

	if (r == 0 && rom)
		r = add_rom(vga, (int)json_integer_value(rom), err);
	if (r < 0)
		return r;
	r = vga_screen_open(vga);
	if (r == 0)
		r = place(vga);
	return r ? error_host(err, -r, "cannot place the VGA") : 0;
}

static int vga_create(const struct device_env *env, const json_t *config, void **device,
		      struct error *err)
{
	const json_t *rom = json_object_get(config, "rom_fd");
	struct vga *vga = calloc(1, sizeof(*vga));
	int r;

	if (!vga)
		return error_memory(err, "the VGA");
	vga->env = *env;
	vga->wake_fd = -1;
	vga->vram = (int)json_integer_value(json_object_get(config, "vram_fd"));
	pthread_mutex_init(&vga->lock, NULL);
	vga_registers_init(&vga->regs);
	r = make(vga, config, err);
	if (r < 0) {
		take_down(vga);
		return r;
	}
	if (rom)
		close((int)json_integer_value(rom));
	*device = vga;
	return 0;
}

static void vga_destroy(void *device)
{
	struct vga *vga = device;
	int vram = vga->vram;

	take_down(vga);
	close(vram);
}

static void vga_reset(void *device)
{
	struct vga *vga = device;

	if (vga->function)
		pci_function_reset(vga->function);
	pthread_mutex_lock(&vga->lock);
	vga_registers_init(&vga->regs);
	pthread_mutex_unlock(&vga->lock);
	/* What is not there reads as zero. */
	madvise(vga->memory, DISPLAY_FILE_BYTES, MADV_REMOVE);
	vga_screen_renew(vga);
}

static void vga_save(void *device, struct state_writer *writer)
{
	const struct vga *vga = device;

	vga_registers_save(&vga->regs, writer);
	if (vga->function)
		pci_function_save(vga->function, writer);
}

static int vga_restore(void *device, const struct state_node *node)
{
	struct vga *vga = device;
	struct vga_registers regs;
	int r = vga_registers_restore(&regs, node);

	if (r == 0 && vga->function)
		r = pci_function_restore(vga->function, node);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vga->lock);
	vga->regs = regs;
	pthread_mutex_unlock(&vga->lock);
	vga_screen_renew(vga);
	return 0;
}

const struct device_ops vga_device = {
	.name = "vga",
	.state_version = 1,
	.create = vga_create,
	.destroy = vga_destroy,
	.reset = vga_reset,
	.save = vga_save,
	.restore = vga_restore,
};
