#include "vmm/machine_fdt.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/guid.h"
#include "vmm/machine.h"

#define TREE_MAX	    32768u /* 64 VPs and the longest command line take a third of it */
#define CELLS_MAX	    8
#define PHANDLE_IOAPIC	    1
#define UART_CLOCK_HZ	    1843200
#define TRIGGER_EDGE_RISING 0 /* the I/O APIC binding's second cell */

/* Remembers the first error, so that the nodes read as a list. */
struct tree {
	void *blob;
	int rc;
};

static void note(struct tree *tree, int rc)
{
	if (tree->rc == 0)
		tree->rc = rc;
}

static void __attribute__((format(printf, 2, 3))) begin(struct tree *tree, const char *format, ...)
{
	char name[48];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	note(tree, fdt_begin_node(tree->blob, name));
}

static void end(struct tree *tree)
{
	note(tree, fdt_end_node(tree->blob));
}

static void put_string(struct tree *tree, const char *name, const char *value)
{
	note(tree, fdt_property_string(tree->blob, name, value));
}

static void put_u32(struct tree *tree, const char *name, uint32_t value)
{
	note(tree, fdt_property_u32(tree->blob, name, value));
}

static void put_flag(struct tree *tree, const char *name)
{
	note(tree, fdt_property(tree->blob, name, NULL, 0));
}

static void put_cells(struct tree *tree, const char *name, const uint32_t *cells, size_t count)
{
	fdt32_t wire[CELLS_MAX];

	for (size_t i = 0; i < count && i < CELLS_MAX; i++)
		wire[i] = cpu_to_fdt32(cells[i]);
	note(tree, fdt_property(tree->blob, name, wire, (int)(count * sizeof(wire[0]))));
}

#define HIGH_CELL(v) ((uint32_t)((v) >> 32))
#define LOW_CELL(v)  ((uint32_t)(v))

/* reg of one region, two cells of address and two of size. */
static void put_region(struct tree *tree, uint64_t address, uint64_t size)
{
	const uint32_t cells[] = {HIGH_CELL(address), LOW_CELL(address), HIGH_CELL(size),
				  LOW_CELL(size)};

	put_cells(tree, "reg", cells, ARRAY_LENGTH(cells));
}

/* reg of ports, in the ISA binding: cell 0 is 1 for I/O. */
static void put_ports(struct tree *tree, uint32_t port, uint32_t count)
{
	const uint32_t cells[] = {1, port, count};

	put_cells(tree, "reg", cells, ARRAY_LENGTH(cells));
}

static void put_interrupt(struct tree *tree, uint32_t gsi)
{
	const uint32_t cells[] = {gsi, TRIGGER_EDGE_RISING};

	put_cells(tree, "interrupts", cells, ARRAY_LENGTH(cells));
}

static void put_sizes(struct tree *tree, uint32_t address_cells, uint32_t size_cells)
{
	put_u32(tree, "#address-cells", address_cells);
	put_u32(tree, "#size-cells", size_cells);
}

static void add_chosen(struct tree *tree, const struct machine_fdt_config *config)
{
	begin(tree, "chosen");
	put_string(tree, "bootargs", config->command_line);
	put_string(tree, "stdout-path", "/isa/serial@i3f8");
	if (config->initrd_size) {
		note(tree, fdt_property_u64(tree->blob, "linux,initrd-start", config->initrd));
		note(tree, fdt_property_u64(tree->blob, "linux,initrd-end",
					    config->initrd + config->initrd_size));
	}
	end(tree);
}

static void add_memory(struct tree *tree, const struct gpa_space *gpa)
{
	for (unsigned int i = 0; i < gpa_slot_count(gpa); i++) {
		const struct gpa_slot *slot = gpa_slot(gpa, i);

		begin(tree, "memory@%" PRIx64, slot->gpa);
		put_string(tree, "device_type", "memory");
		put_region(tree, slot->gpa, slot->size);
		end(tree);
	}
}

static void add_processors(struct tree *tree, unsigned int vp_count)
{
	begin(tree, "cpus");
	put_sizes(tree, 1, 0);
	for (unsigned int i = 0; i < vp_count; i++) {
		begin(tree, "cpu@%x", i);
		put_string(tree, "device_type", "cpu");
		put_string(tree, "compatible", "intel,x86");
		put_u32(tree, "reg", i);
		end(tree);
	}
	end(tree);
}

static void add_interrupt_controllers(struct tree *tree)
{
	begin(tree, "interrupt-controller@%llx", MACHINE_IOAPIC_BASE);
	put_string(tree, "compatible", "intel,ce4100-ioapic");
	put_flag(tree, "interrupt-controller");
	put_u32(tree, "#interrupt-cells", 2);
	put_u32(tree, "#address-cells", 0);
	put_region(tree, MACHINE_IOAPIC_BASE, 0x1000);
	put_u32(tree, "phandle", PHANDLE_IOAPIC);
	end(tree);
	begin(tree, "lapic@%llx", MACHINE_LAPIC_BASE);
	put_string(tree, "compatible", "intel,ce4100-lapic");
	put_region(tree, MACHINE_LAPIC_BASE, 0x1000);
	end(tree);
}

static void add_ports(struct tree *tree)
{
	/* Port 0 and on, at port 0 and on, all of them. */
	const uint32_t ports[] = {1, 0, 0, 0, 0x10000};

	begin(tree, "isa");
	put_string(tree, "compatible", "isa");
	put_string(tree, "device_type", "isa");
	put_sizes(tree, 2, 1);
	put_cells(tree, "ranges", ports, ARRAY_LENGTH(ports));
	begin(tree, "serial@i%x", MACHINE_PORT_COM1);
	put_string(tree, "compatible", "ns16550a");
	put_ports(tree, MACHINE_PORT_COM1, 8);
	put_u32(tree, "clock-frequency", UART_CLOCK_HZ);
	put_interrupt(tree, MACHINE_GSI_COM1);
	end(tree);
	begin(tree, "rtc@i%x", MACHINE_PORT_CMOS_INDEX);
	put_string(tree, "compatible", "motorola,mc146818");
	put_ports(tree, MACHINE_PORT_CMOS_INDEX, 2);
	end(tree);
	end(tree);
}

/* ranges: windows as child address, parent address and size, two cells each. */
static void add_vmbus(struct tree *tree, uint64_t high_window)
{
	const uint64_t windows[][2] = {
		{MACHINE_VMBUS_MMIO_BASE, MACHINE_VMBUS_MMIO_SIZE},
		{high_window, MACHINE_VMBUS_HIGH_MMIO_SIZE},
	};
	fdt64_t ranges[ARRAY_LENGTH(windows)][3];

	for (size_t i = 0; i < ARRAY_LENGTH(windows); i++) {
		ranges[i][0] = cpu_to_fdt64(windows[i][0]);
		ranges[i][1] = cpu_to_fdt64(windows[i][0]);
		ranges[i][2] = cpu_to_fdt64(windows[i][1]);
	}
	begin(tree, "vmbus@%llx", MACHINE_VMBUS_MMIO_BASE);
	put_string(tree, "compatible", "microsoft,vmbus");
	put_sizes(tree, 2, 2);
	note(tree, fdt_property(tree->blob, "ranges", ranges, sizeof(ranges)));
	end(tree);
}

static void add_vm_generation(struct tree *tree)
{
	begin(tree, "vmgenid@%llx", MACHINE_VM_GENERATION);
	put_string(tree, "compatible", "microsoft,vmgenid");
	put_region(tree, MACHINE_VM_GENERATION, sizeof(struct guid));
	put_interrupt(tree, MACHINE_GSI_GED);
	end(tree);
}

static void build(struct tree *tree, const struct machine_fdt_config *config)
{
	note(tree, fdt_create(tree->blob, TREE_MAX));
	note(tree, fdt_finish_reservemap(tree->blob));
	begin(tree, "%s", "");
	put_string(tree, "model", "Bulkhead virtual machine");
	put_string(tree, "compatible", "bulkhead,vm");
	put_sizes(tree, 2, 2);
	put_u32(tree, "interrupt-parent", PHANDLE_IOAPIC);
	add_chosen(tree, config);
	add_memory(tree, config->gpa);
	add_processors(tree, config->vp_count);
	begin(tree, "soc");
	put_string(tree, "compatible", "simple-bus");
	put_sizes(tree, 2, 2);
	put_flag(tree, "ranges");
	add_interrupt_controllers(tree);
	add_vm_generation(tree);
	add_vmbus(tree, machine_high_window(gpa_ram_end(config->gpa)));
	end(tree);
	add_ports(tree);
	end(tree);
	note(tree, fdt_finish(tree->blob));
}

int machine_fdt_build(const struct machine_fdt_config *config, void **out, size_t *size)
{
	CLEANUP_FREE void *blob = calloc(1, TREE_MAX);
	struct tree tree = {.blob = blob};

	if (!blob)
		return -ENOMEM;
	build(&tree, config);
	if (tree.rc != 0)
		return -ENOMEM;
	*size = fdt_totalsize(blob);
	*out = TAKE_POINTER(blob);
	return 0;
}
