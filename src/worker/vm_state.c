#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmbus/fault.h"
#include "worker/vm_internal.h"

#define STATE_VERSION 1

static void put_count(void *writer, const char *name, uint64_t value)
{
	state_put_u64(writer, name, value);
}

static void inspect_exits(struct vm *vm, struct state_writer *writer)
{
	state_begin(writer, "exits", STATE_VERSION);
	for (unsigned int vp = 0; vp < vm->config->cpus; vp++) {
		char name[16];

		snprintf(name, sizeof(name), "vp@%x", vp);
		state_begin(writer, name, STATE_VERSION);
		state_put_u64(writer, "runtime-ns", partition_runtime_ns(vm->partition, vp));
		for (int kind = 0; kind < VP_EXIT_KINDS; kind++)
			state_put_u64(writer, vp_exit_name(kind),
				      partition_exits(vm->partition, vp, kind));
		/* Those that the kernel handled by itself, too; on older ones the node is empty. */
		state_begin(writer, "kvm", STATE_VERSION);
		partition_kvm_stats(vm->partition, vp, put_count, writer);
		state_end(writer);
		state_end(writer);
	}
	state_end(writer);
}

static void inspect_channels(struct vm *vm, struct state_writer *writer)
{
	state_begin(writer, "channels", STATE_VERSION);
	vmbus_inspect(vm->bus, writer);
	vm_trace_inspect(&vm->trace, writer);
	vmbus_inspect_faults(vm->bus, writer);
	state_end(writer);
}

void vm_counters(struct vm *vm, struct state_writer *writer)
{
	inspect_exits(vm, writer);
	state_begin(writer, "devices", STATE_VERSION);
	vm_devices_inspect(vm->devices, writer);
	state_end(writer);
	inspect_channels(vm, writer);
}

static int save_parts(struct vm *vm, struct state_writer *writer)
{
	vmbus_settle(vm->bus);
	state_begin(writer, "devices", STATE_VERSION);
	vm_devices_save(vm->devices, writer);
	vm_generation1_save(vm->generation1, writer);
	state_end(writer);
	vmbus_save(vm->bus, writer);
	return partition_save(vm->partition, writer);
}

void vm_inspect(struct vm *vm, struct state_writer *writer)
{
	bool was_running = vm->running;

	inspect_exits(vm, writer);
	inspect_channels(vm, writer);
	vm_pause(vm);
	save_parts(vm, writer);
	if (was_running)
		vm_resume(vm);
}

unsigned int vm_memory_files(const struct vm *vm, struct vm_memory_file files[VM_MEMORY_FILES_MAX])
{
	const struct gpa_space *gpa = partition_gpa(vm->partition);
	int device = vm_devices_memory_file(vm->devices);
	struct stat status;

	files[0] =
		(struct vm_memory_file){gpa_memfd(gpa), gpa_ram_bytes(gpa) + gpa_room_bytes(gpa)};
	if (device < 0 || fstat(device, &status))
		return 1;
	files[1] = (struct vm_memory_file){device, (uint64_t)status.st_size};
	return 2;
}

void vm_begin_save(struct vm *vm)
{
	vmbus_settle(vm->bus);
	vmbus_hold(vm->bus, true);
}

void vm_end_save(struct vm *vm)
{
	vmbus_hold(vm->bus, false);
}

int vm_save(struct vm *vm, struct state_writer *writer)
{
	state_begin(writer, "machine", STATE_VERSION);
	state_put_u32(writer, "generation", vm->config->generation);
	state_put_u32(writer, "device-count", vm_devices_count(vm->devices));
	state_put_u64(writer, "room-bytes", vm->config->memory_room);
	state_end(writer);
	return save_parts(vm, writer);
}

/* What its parts do not look at by themselves. */
static int check_machine(const struct vm *vm, const struct state_node *root, struct error *err)
{
	struct state_node node;
	uint32_t generation, count;
	uint64_t room;

	if (state_child(root, "machine", STATE_VERSION, &node) ||
	    state_get_u32(&node, "generation", &generation) ||
	    state_get_u32(&node, "device-count", &count) ||
	    state_get_u64(&node, "room-bytes", &room))
		return error_set(err, EINVAL, "it was written by another version of Bulkhead");
	if (generation != vm->config->generation)
		return error_set(err, EINVAL, "the VM that was saved is of Generation %u",
				 generation);
	if (count != vm_devices_count(vm->devices))
		return error_set(err, EINVAL,
				 "the VM that was saved had %u devices, and this one has %u", count,
				 vm_devices_count(vm->devices));
	if (room != vm->config->memory_room)
		return error_set(err, EINVAL,
				 "the VM that was saved had another maximum of memory");
	return 0;
}

static int restore_bus_and_devices(struct vm *vm, const struct state_node *root, struct error *err)
{
	struct state_node node;
	int r = vmbus_restore(vm->bus, root);

	if (!r)
		r = state_child(root, "devices", STATE_VERSION, &node);
	if (!r)
		r = vm_generation1_restore(vm->generation1, &node);
	return r ? error_set(err, -r, "its VMBus does not take what was saved of it (%s)",
			     strerror(-r))
		 : vm_devices_restore(vm->devices, &node, err);
}

int vm_restore(struct vm *vm, const struct state_node *root,
	       int (*restore_memory)(void *context, struct error *err), void *context,
	       struct error *err)
{
	int r = check_machine(vm, root, err);

	if (r)
		return r;
	vm_devices_quiesce(vm->devices);
	vm->quiesced = true;
	r = partition_restore(vm->partition, root);
	if (r)
		return error_set(err, -r,
				 "its processors do not take what was saved of them (%s): another "
				 "number, or amount of memory, or another host",
				 strerror(-r));
	/* What is plugged in has its place now, and the bus's rings are in there. */
	r = restore_memory(context, err);
	return r ? r : restore_bus_and_devices(vm, root, err);
}
