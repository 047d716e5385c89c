#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/table.h"

/*
 * The PIIX4's first function, the bridge to ISA (Intel 82371AB data sheet, 4.1).  Of what it has
 * only the routes of PCI interrupts do something; other registers keep what is written, for those
 * who look whether it is a PIIX4.
 */

#define SLOT	      7u
#define FUNCTION      0u
#define PIRQS	      4u
#define PIRQ_ROUTE    0x60u
#define ROUTE_NONE    0x80u
#define ROUTE_IRQ     0x0fu
/* Interrupts of the machine itself, to which no PIRQ can lead: 0, 1, 2, 8 and 13. */
#define IRQS_RESERVED 0x2107u

struct isa_bridge {
	struct pci_bus *bus;
	struct pci_function *function;
};

/* Registers as at power-on, and what of them a guest may write. */
static const struct {
	uint8_t offset, value, writable;
} registers[] = {
	{PCI_COMMAND, 0x07, 0x00},     /* always decodes, always may be master */
	{PCI_COMMAND + 1, 0x00, 0x01}, /* SERR# */
	{PCI_STATUS, 0x80, 0x00},
	{PCI_STATUS + 1, 0x02, 0x00},
	{0x4c, 0x4d, 0xff}, /* ISA I/O recovery timer */
	{0x4e, 0x03, 0xff}, /* X-bus chip selects */
	{0x4f, 0x00, 0x07},
	{0x60, ROUTE_NONE, 0x8f},
	{0x61, ROUTE_NONE, 0x8f},
	{0x62, ROUTE_NONE, 0x8f},
	{0x63, ROUTE_NONE, 0x8f},
	{0x64, 0x10, 0xff}, /* serial interrupts */
	{0x69, 0x02, 0xfe}, /* top of memory */
	{0x6a, 0x00, 0x80},
	{0x76, 0x0c, 0x8f}, /* motherboard DMA */
	{0x77, 0x0c, 0x8f},
	{0x80, 0x00, 0x7f}, /* APIC base relocation */
	{0x82, 0x00, 0x0f}, /* deterministic latency */
	{0xb0, 0x00, 0xff}, /* general configuration */
	{0xb1, 0x00, 0xff},
	{0xb2, 0x00, 0xff},
	{0xb3, 0x00, 0xff},
	{0xcb, 0x21, 0x3d}, /* the real-time clock's second bank */
};

/* As struct isa_bridge's bus asks; a route is the guest's to write. */
static int isa_route(void *context, unsigned int pirq)
{
	const struct isa_bridge *bridge = context;
	uint8_t route = pci_config_byte(bridge->function, PIRQ_ROUTE + pirq);

	if (route & ROUTE_NONE || IRQS_RESERVED >> (route & ROUTE_IRQ) & 1)
		return -1;
	return route & ROUTE_IRQ;
}

static void isa_config_written(void *context, unsigned int offset, unsigned int size)
{
	struct isa_bridge *bridge = context;

	if (offset < PIRQ_ROUTE + PIRQS && offset + size > PIRQ_ROUTE)
		pci_routes_changed(bridge->bus);
}

static int add_function(struct isa_bridge *bridge)
{
	const struct pci_description description = {
		.vendor = 0x8086,
		.device = 0x7110,
		.class_code = 0x060100,
		.revision = 2,
		.multifunction = true,
		.config_written = isa_config_written,
		.context = bridge,
	};
	int r = pci_function_new(bridge->bus, SLOT, FUNCTION, &description, &bridge->function);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LENGTH(registers); i++)
		pci_config_default(bridge->function, registers[i].offset, registers[i].value,
				   registers[i].writable);
	pci_route_set(bridge->bus, isa_route, bridge);
	return 0;
}

static int isa_create(const struct device_env *env, const json_t *config, void **device,
		      struct error *err)
{
	struct isa_bridge *bridge;
	int r;

	(void)config;
	if (!env->pci)
		return error_set(err, EINVAL,
				 "the ISA bridge is for a Generation 1 VM; make it one");
	bridge = calloc(1, sizeof(*bridge));
	if (!bridge)
		return error_memory(err, "the ISA bridge");
	bridge->bus = env->pci;
	r = add_function(bridge);
	if (r < 0) {
		free(bridge);
		return error_host(err, -r, "cannot place the ISA bridge");
	}
	*device = bridge;
	return 0;
}

static void isa_destroy(void *device)
{
	struct isa_bridge *bridge = device;

	pci_route_set(bridge->bus, NULL, NULL);
	pci_function_free(bridge->function);
	free(bridge);
}

static void isa_reset(void *device)
{
	struct isa_bridge *bridge = device;

	pci_function_reset(bridge->function);
	pci_routes_changed(bridge->bus);
}

static void isa_save(void *device, struct state_writer *writer)
{
	struct isa_bridge *bridge = device;

	pci_function_save(bridge->function, writer);
}

static int isa_restore(void *device, const struct state_node *node)
{
	struct isa_bridge *bridge = device;
	int r = pci_function_restore(bridge->function, node);

	if (r == 0)
		pci_routes_changed(bridge->bus);
	return r;
}

const struct device_ops piix4_isa_device = {
	.name = "piix4_isa",
	.state_version = 1,
	.create = isa_create,
	.destroy = isa_destroy,
	.reset = isa_reset,
	.save = isa_save,
	.restore = isa_restore,
};
