#include "worker/vm_generation1.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "devices/chipset/firmware.h"
#include "devices/chipset/pci.h"
#include "vmm/boot_file.h"
#include "vmm/machine.h"

#define STATE_VERSION  1
#define BOOT_ORDER_MAX 8u

struct vm_generation1 {
	const struct worker_config *config;
	struct partition *partition;
	struct pci_bus *pci;
	struct fw_cfg *fw_cfg;
};

static int make(struct vm_generation1 *g, struct error *err)
{
	struct io_bus *ports = partition_ports(g->partition);
	int r = pci_bus_new(ports, partition_mmio(g->partition), partition_irq(g->partition),
			    &g->pci);

	if (!r)
		r = fw_cfg_new(ports, partition_gpa(g->partition), &g->fw_cfg);
	return r ? error_host(err, -r, "cannot make the PCI bus") : 0;
}

/* Everything but a word is refused as no word of the boot order is: with a sentence. */
static int describe(struct vm_generation1 *g, const struct guid *vm_generation, struct error *err)
{
	const json_t *order = g->config->boot_order, *word;
	const char *words[BOOT_ORDER_MAX];
	const struct firmware_machine machine = {
		.gpa = partition_gpa(g->partition),
		.vp_count = g->config->cpus,
		.vm_generation = *vm_generation,
		.boot_order = order ? words : NULL,
		.boot_count = json_array_size(order),
		.boot_menu_ms = g->config->boot_menu_ms,
	};
	size_t i;

	if (machine.boot_count > BOOT_ORDER_MAX)
		return error_set(err, EINVAL, "the boot order has more than %u devices",
				 BOOT_ORDER_MAX);
	json_array_foreach((json_t *)order, i, word)
	{
		words[i] = json_is_string(word) ? json_string_value(word) : "";
	}
	return firmware_describe(g->fw_cfg, &machine, err);
}

int vm_generation1_new(const struct worker_config *config, struct partition *partition,
		       const struct guid *vm_generation, struct vm_generation1 **out,
		       struct error *err)
{
	struct vm_generation1 *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return error_memory(err, "the machine");
	g->config = config;
	g->partition = partition;
	r = make(g, err);
	if (!r)
		r = describe(g, vm_generation, err);
	if (r) {
		vm_generation1_free(g);
		return r;
	}
	*out = g;
	return 0;
}

void vm_generation1_free(struct vm_generation1 *generation1)
{
	if (!generation1)
		return;
	fw_cfg_free(generation1->fw_cfg);
	pci_bus_free(generation1->pci);
	free(generation1);
}

void vm_generation1_offer(const struct vm_generation1 *generation1, struct device_env *env)
{
	if (!generation1)
		return;
	env->pci = generation1->pci;
	env->fw_cfg = generation1->fw_cfg;
}

int vm_generation1_load(struct vm_generation1 *generation1, struct error *err)
{
	const struct worker_image *image = &generation1->config->firmware;
	struct boot_file file;
	void *bytes CLEANUP_FREE = NULL;
	struct error why;
	int r = boot_file_init(&file, image->fd, image->name, "firmware", "--firmware", err);

	if (r)
		return r;
	if (file.size > MACHINE_FIRMWARE_MAX)
		return error_set(err, EINVAL,
				 "%s is larger than 256 KiB; give SeaBIOS's bios-256k.bin to "
				 "--firmware",
				 image->name);
	bytes = malloc(file.size);
	if (!bytes)
		return error_memory(err, "the firmware");
	r = boot_file_read(&file, 0, bytes, file.size, err);
	if (r)
		return r;
	r = partition_set_firmware(generation1->partition, bytes, file.size, &why);
	return r ? error_set(err, -r, "%s: %s", image->name, why.text) : 0;
}

void vm_generation1_reset(struct vm_generation1 *generation1)
{
	if (generation1)
		fw_cfg_reset(generation1->fw_cfg);
}

void vm_generation1_save(struct vm_generation1 *generation1, struct state_writer *writer)
{
	if (!generation1)
		return;
	state_begin(writer, "fw_cfg", STATE_VERSION);
	fw_cfg_save(generation1->fw_cfg, writer);
	state_end(writer);
}

int vm_generation1_restore(struct vm_generation1 *generation1, const struct state_node *parent)
{
	struct state_node node;
	int r;

	if (!generation1)
		return 0;
	r = state_child(parent, "fw_cfg", STATE_VERSION, &node);
	return r ? r : fw_cfg_restore(generation1->fw_cfg, &node);
}
