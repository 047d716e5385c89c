#pragma once

#include <check.h>
#include <jansson.h>
#include <stdlib.h>

#include "devices/chipset/pci.h"
#include "devices/device.h"
#include "vmm/machine.h"

/* What a chip is made in: buses and interrupts without KVM, and what it asked of the worker. */
struct machine {
	struct device_env env;
	unsigned int power_offs;
	unsigned int resets;
	unsigned int exits;
	uint8_t exit_code;
	uint64_t lost;
	int lost_errno;
};

static inline void machine_power_off(void *context)
{
	((struct machine *)context)->power_offs++;
}

static inline void machine_reset(void *context)
{
	((struct machine *)context)->resets++;
}

static inline void machine_debug_exit(void *context, uint8_t code)
{
	struct machine *machine = context;

	machine->exits++;
	machine->exit_code = code;
}

static inline void machine_output_lost(void *context, uint64_t bytes, int errnum)
{
	struct machine *machine = context;

	machine->lost = bytes;
	machine->lost_errno = errnum;
}

static const struct device_events machine_events = {
	.power_off = machine_power_off,
	.reset = machine_reset,
	.debug_exit = machine_debug_exit,
	.output_lost = machine_output_lost,
};

static inline void machine_init(struct machine *machine)
{
	*machine = (struct machine){.env = {.vp_count = 1, .events = &machine_events}};
	machine->env.context = machine;
	ck_assert_int_eq(io_bus_new(IO_PORT, NULL, &machine->env.ports), 0);
	ck_assert_int_eq(io_bus_new(IO_MMIO, NULL, &machine->env.mmio), 0);
	ck_assert_int_eq(irq_controller_new(NULL, &machine->env.irq), 0);
	ck_assert_int_eq(event_loop_new(&machine->env.loop), 0);
}

/* Gives it a PCI bus, as a Generation 1 VM has. */
static inline void machine_add_pci(struct machine *machine)
{
	struct device_env *env = &machine->env;

	ck_assert_int_eq(pci_bus_new(env->ports, env->mmio, env->irq, &env->pci), 0);
}

static inline void machine_fini(struct machine *machine)
{
	pci_bus_free(machine->env.pci);
	event_loop_free(machine->env.loop);
	irq_controller_free(machine->env.irq);
	io_bus_free(machine->env.mmio);
	io_bus_free(machine->env.ports);
}

static inline uint64_t machine_in(struct machine *machine, uint16_t port, uint32_t size)
{
	struct io_access access = {.address = port, .size = size};

	io_bus_dispatch(machine->env.ports, &access);
	return access.value;
}

static inline void machine_out(struct machine *machine, uint16_t port, uint32_t size,
			       uint64_t value)
{
	struct io_access access = {.address = port, .size = size, .write = true, .value = value};

	io_bus_dispatch(machine->env.ports, &access);
}

static inline uint64_t machine_load(struct machine *machine, uint64_t gpa, uint32_t size)
{
	struct io_access access = {.address = gpa, .size = size};

	io_bus_dispatch(machine->env.mmio, &access);
	return access.value;
}

static inline void machine_store(struct machine *machine, uint64_t gpa, uint32_t size,
				 uint64_t value)
{
	struct io_access access = {.address = gpa, .size = size, .write = true, .value = value};

	io_bus_dispatch(machine->env.mmio, &access);
}

static inline uint16_t machine_pci_select(struct machine *machine, unsigned int slot,
					  unsigned int function, unsigned int offset)
{
	machine_out(machine, MACHINE_PORT_PCI_ADDRESS, 4,
		    0x80000000u | slot << 11 | function << 8 | (offset & ~3u));
	return (uint16_t)(MACHINE_PORT_PCI_DATA + (offset & 3));
}

static inline uint64_t machine_pci_read(struct machine *machine, unsigned int slot,
					unsigned int function, unsigned int offset, uint32_t size)
{
	uint16_t port = machine_pci_select(machine, slot, function, offset);

	return machine_in(machine, port, size);
}

static inline void machine_pci_write(struct machine *machine, unsigned int slot,
				     unsigned int function, unsigned int offset, uint32_t size,
				     uint64_t value)
{
	uint16_t port = machine_pci_select(machine, slot, function, offset);

	machine_out(machine, port, size, value);
}

static inline void *machine_add(struct machine *machine, const char *name, const char *config)
{
	json_t *json = json_loads(config, 0, NULL);
	struct error err = {.text = ""};
	void *device;

	ck_assert_ptr_nonnull(json);
	ck_assert_ptr_nonnull(device_find(name));
	ck_assert_msg(device_find(name)->create(&machine->env, json, &device, &err) == 0, "%s",
		      err.text);
	json_decref(json);
	return device;
}

/* The device's state as a tree, which the caller frees. */
static inline void *machine_save(const char *name, void *device, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	state_begin(writer, name, device_find(name)->state_version);
	device_find(name)->save(device, writer);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

/* Restores a copy of from's state into to, and checks that to then saves the same. */
static inline void machine_copy_state(const char *name, void *from, void *to)
{
	const struct device_ops *ops = device_find(name);
	struct state_node root, node;
	size_t size, again_size;
	void *tree = machine_save(name, from, &size), *again;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, name, ops->state_version, &node), 0);
	ck_assert_int_eq(ops->restore(to, &node), 0);
	again = machine_save(name, to, &again_size);
	ck_assert_uint_eq(size, again_size);
	ck_assert_mem_eq(tree, again, size);
	free(tree);
	free(again);
}

/* Restoring what a hostile file says, one number put into an otherwise empty node, fails. */
static inline void machine_refuses(const char *name, void *device, const char *key, uint32_t value)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	size_t size;
	void *tree;

	state_begin(writer, name, 1);
	state_put_u32(writer, key, value);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, name, 1, &node), 0);
	ck_assert_int_lt(device_find(name)->restore(device, &node), 0);
	free(tree);
}
