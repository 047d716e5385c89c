#pragma once

#include <jansson.h>

#include "base/io_thread.h"
#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "devices/table.h"
#include "fuzz.h"

/* What a chip of a Generation 1 VM is made in, for fuzz targets: buses, a little RAM, and an I/O
 * thread that runs. */

#define CHIP_FUZZ_RAM (1u << 20)

struct chip_fuzz {
	struct device_env env;
	struct io_thread *thread;
	const struct device_ops *ops;
	void *device;
};

static inline int chip_fuzz_route(void *context, unsigned int pirq)
{
	return 10;
}

/* Consumes config. */
static inline void chip_fuzz_new(struct chip_fuzz *fuzz, const char *name, json_t *config)
{
	struct device_env *env = &fuzz->env;

	if (!fuzz->thread) {
		require(gpa_space_new(CHIP_FUZZ_RAM, &env->gpa, NULL) == 0);
		require(io_thread_new("chip", 16, &fuzz->thread) == 0);
		require(io_thread_start(fuzz->thread, NULL, NULL) == 0);
		env->io_threads = &fuzz->thread;
		env->io_thread_count = 1;
		env->vp_count = 1;
	}
	require(io_bus_new(IO_PORT, NULL, &env->ports) == 0);
	require(io_bus_new(IO_MMIO, NULL, &env->mmio) == 0);
	require(irq_controller_new(NULL, &env->irq) == 0);
	require(pci_bus_new(env->ports, env->mmio, env->irq, &env->pci) == 0);
	pci_route_set(env->pci, chip_fuzz_route, NULL);
	fuzz->ops = device_find(name);
	require(fuzz->ops->create(env, config, &fuzz->device, NULL) == 0);
	json_decref(config);
}

static inline void chip_fuzz_free(struct chip_fuzz *fuzz)
{
	fuzz->ops->destroy(fuzz->device);
	pci_bus_free(fuzz->env.pci);
	irq_controller_free(fuzz->env.irq);
	io_bus_free(fuzz->env.mmio);
	io_bus_free(fuzz->env.ports);
}

static inline uint64_t chip_fuzz_access(struct chip_fuzz *fuzz, uint16_t port, uint32_t size,
					bool write, uint64_t value)
{
	struct io_access access = {.address = port, .size = size, .write = write, .value = value};

	io_bus_dispatch(fuzz->env.ports, &access);
	return access.value;
}

static inline void chip_fuzz_nothing(void *context)
{
}

/* What was asked of its thread is done. */
static inline void chip_fuzz_settle(struct chip_fuzz *fuzz)
{
	for (unsigned int i = 0; i < 3; i++)
		io_thread_call(fuzz->thread, chip_fuzz_nothing, NULL);
}

/* At rest, it is saved and takes itself back. */
static inline void chip_fuzz_save(struct chip_fuzz *fuzz)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	size_t size;
	void *tree;

	fuzz->ops->quiesce(fuzz->device);
	fuzz->ops->save(fuzz->device, writer);
	require(state_finish(writer, &tree, &size) == 0);
	state_writer_free(writer);
	require(state_open(tree, size, &root) == 0);
	require(fuzz->ops->restore(fuzz->device, &root) == 0);
	free(tree);
	if (fuzz->ops->unquiesce)
		fuzz->ops->unquiesce(fuzz->device);
}
