#include <errno.h>
#include <stdlib.h>

#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/table.h"
#include "vmm/machine.h"

/*
 * The host bridge: PCI configuration as such, and the PAM registers, which say where between VGA's
 * memory and 1 MiB the guest sees firmware and where RAM.  Behaves as an Intel 82443BX does there
 * (data sheet 290633, 3.3.15) under the identity of the 82441FX, by which SeaBIOS knows it.
 */

#define VENDOR_INTEL	  0x8086
#define DEVICE_82441FX	  0x1237
#define SUBSYSTEM_VENDOR  0x1af4
#define SUBSYSTEM	  0x1100
#define CLASS_HOST_BRIDGE 0x060000
#define REVISION	  2

/* The bridge itself always answers memory and masters the bus. */
#define COMMAND_FIXED	    (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define COMMAND_HIGH_BITS   0x01 /* SERR# */
#define STATUS_BACK_TO_BACK 0x80
#define STATUS_MEDIUM	    0x02 /* DEVSEL#, in the upper byte */

/*
 * PAM0 has the last 64 KiB in its upper half; each half of the others has 16 KiB, from the start
 * on.  A half's two bits say whether reads, and whether writes, go to RAM, as enum partition_shadow
 * does.
 */
#define PAM0	  0x59
#define PAM1	  0x5a
#define PAM_LAST  0x5f
#define PAM_BITS  0x33
#define PAM0_BITS 0x30
#define PAM_MASK  3u
#define PAM_UNITS 12u /* halves of PAM1 to PAM6 */
#define PAM0_BASE 0xf0000ull
#define PAM0_SIZE 0x10000ull

#define SMRAM	       0x72 /* there is no system management mode: nothing to write */
#define SMRAM_POWER_ON 0x02

struct host_bridge {
	struct device_env env;
	struct pci_function *function;
};

static enum partition_shadow shadow_of(const struct host_bridge *bridge, unsigned int unit)
{
	uint8_t pam = pci_config_byte(bridge->function, PAM1 + unit / 2);

	return (pam >> (unit % 2 * 4)) & PAM_MASK;
}

/* Neighbours that are shown alike go in one. */
static void apply_pam(struct host_bridge *bridge)
{
	const struct device_env *env = &bridge->env;
	uint8_t pam0 = pci_config_byte(bridge->function, PAM0);
	unsigned int next;

	for (unsigned int unit = 0; unit < PAM_UNITS; unit = next) {
		enum partition_shadow shadow = shadow_of(bridge, unit);

		for (next = unit + 1; next < PAM_UNITS && shadow_of(bridge, next) == shadow;)
			next++;
		env->events->shadow(env->context, MACHINE_SHADOW_BASE + unit * MACHINE_SHADOW_UNIT,
				    (next - unit) * MACHINE_SHADOW_UNIT, shadow);
	}
	env->events->shadow(env->context, PAM0_BASE, PAM0_SIZE, pam0 >> 4 & PAM_MASK);
}

static void config_written(void *context, unsigned int offset, unsigned int size)
{
	if (offset <= PAM_LAST && offset + size > PAM0)
		apply_pam(context);
}

static int make_function(struct host_bridge *bridge)
{
	const struct pci_description description = {
		.vendor = VENDOR_INTEL,
		.device = DEVICE_82441FX,
		.subsystem_vendor = SUBSYSTEM_VENDOR,
		.subsystem = SUBSYSTEM,
		.class_code = CLASS_HOST_BRIDGE,
		.revision = REVISION,
		.config_written = config_written,
		.context = bridge,
	};
	struct pci_function *function;
	int rc = pci_function_new(bridge->env.pci, 0, 0, &description, &function);

	if (rc < 0)
		return rc;
	pci_config_default(function, PCI_COMMAND, COMMAND_FIXED, 0);
	pci_config_default(function, PCI_COMMAND + 1, 0, COMMAND_HIGH_BITS);
	pci_config_default(function, PCI_STATUS, STATUS_BACK_TO_BACK, 0);
	pci_config_default(function, PCI_STATUS + 1, STATUS_MEDIUM, 0);
	pci_config_default(function, PAM0, 0, PAM0_BITS);
	for (unsigned int offset = PAM1; offset <= PAM_LAST; offset++)
		pci_config_default(function, offset, 0, PAM_BITS);
	pci_config_default(function, SMRAM, SMRAM_POWER_ON, 0);
	bridge->function = function;
	return 0;
}

static int bridge_create(const struct device_env *env, const json_t *config, void **device,
			 struct error *err)
{
	struct host_bridge *bridge = calloc(1, sizeof(*bridge));
	int rc;

	if (!bridge)
		return error_memory(err, "the host bridge");
	bridge->env = *env;
	rc = env->pci ? make_function(bridge) : -ENODEV;
	if (rc < 0) {
		free(bridge);
		return error_host(err, -rc, "cannot make the host bridge");
	}
	*device = bridge;
	return 0;
}

static void bridge_destroy(void *device)
{
	struct host_bridge *bridge = device;

	pci_function_free(bridge->function);
	free(bridge);
}

static void bridge_reset(void *device)
{
	struct host_bridge *bridge = device;

	pci_bus_reset(bridge->env.pci);
	pci_function_reset(bridge->function);
	apply_pam(bridge);
}

static void bridge_save(void *device, struct state_writer *writer)
{
	struct host_bridge *bridge = device;

	pci_bus_save(bridge->env.pci, writer);
	pci_function_save(bridge->function, writer);
}

static int bridge_restore(void *device, const struct state_node *node)
{
	struct host_bridge *bridge = device;
	int rc = pci_bus_restore(bridge->env.pci, node);

	if (rc == 0)
		rc = pci_function_restore(bridge->function, node);
	if (rc == 0)
		apply_pam(bridge);
	return rc;
}

const struct device_ops host_bridge_device = {
	.name = "host_bridge",
	.state_version = 1,
	.create = bridge_create,
	.destroy = bridge_destroy,
	.reset = bridge_reset,
	.save = bridge_save,
	.restore = bridge_restore,
};
