#include "worker/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/io_thread.h"
#include "devices/desktop.h"
#include "devices/device.h"
#include "devices/vsp/fault_edit.h"
#include "vmbus/bus.h"
#include "worker/descriptors.h"
#include "worker/vm_devices.h"
#include "worker/vm_generation1.h"
#include "worker/vm_internal.h"
#include "worker/vm_threads.h"
#include "worker/vm_trace.h"

static void on_reset(void *context)
{
	struct vm *vm = context;

	vm->events->reset(vm->context);
}

static void on_crash(void *context, const struct hv_crash *crash)
{
	struct vm *vm = context;

	vm->events->crash(vm->context, crash);
}

static void on_failed(void *context, const char *sentence)
{
	struct vm *vm = context;

	vm->events->failed(vm->context, sentence);
}

static void on_power_off(void *context)
{
	struct vm *vm = context;

	vm->events->power_off(vm->context);
}

static void on_debug_exit(void *context, uint8_t code)
{
	struct vm *vm = context;

	vm->events->debug_exit(vm->context, code);
}

static void on_output_lost(void *context, uint64_t bytes, int errnum)
{
	struct vm *vm = context;

	vm->events->output_lost(vm->context, bytes, errnum);
}

static int on_say(void *context, const char *id, json_t *event)
{
	struct vm *vm = context;

	return vm->events->say(vm->context, id, event);
}

static int on_plug_memory(void *context, uint64_t bytes)
{
	struct vm *vm = context;

	return partition_plug(vm->partition, bytes);
}

static int on_show_memory(void *context, enum partition_shown kind, uint64_t gpa, uint64_t size,
			  void *host)
{
	struct vm *vm = context;

	return partition_show_memory(vm->partition, kind, gpa, size, host);
}

static void on_shadow(void *context, uint64_t gpa, uint64_t size, enum partition_shadow shadow)
{
	struct vm *vm = context;

	if (partition_shadow(vm->partition, gpa, size, shadow) < 0)
		vm->events->failed(vm->context,
				   "KVM does not show the guest its memory below 1 MiB; "
				   "the kernel's log (dmesg) may tell why");
}

static const struct partition_events partition_events = {
	.reset = on_reset,
	.crash = on_crash,
	.failed = on_failed,
};

static const struct device_events device_events = {
	.power_off = on_power_off,
	.reset = on_reset,
	.debug_exit = on_debug_exit,
	.say = on_say,
	.plug_memory = on_plug_memory,
	.show_memory = on_show_memory,
	.shadow = on_shadow,
	.output_lost = on_output_lost,
};

static int make_partition(struct vm *vm, struct error *err)
{
	const struct partition_config config = {
		.kvm_fd = vm->config->kvm_fd,
		.generation1 = vm->config->generation == 1,
		.vp_count = vm->config->cpus,
		.ram_bytes = vm->config->memory,
		.ram_room = vm->config->memory_room,
		.cold_discard = vm->config->cold_discard,
		.stimer = vm->config->stimer,
		.events = &partition_events,
		.context = vm,
	};

	int r = partition_new(&config, &vm->partition, err);

	if (!r && config.generation1)
		r = vm_generation1_new(vm->config, vm->partition, &vm->generation, &vm->generation1,
				       err);
	return r;
}

static int make_bus(struct vm *vm, struct event_loop *loop, struct error *err)
{
	const struct vmbus_config config = {
		.gpa = partition_gpa(vm->partition),
		.hv = partition_hv(vm->partition),
		.loop = loop,
		.vp_count = vm->config->cpus,
		.max_version = vm->config->vmbus_max_version,
	};
	int r = vmbus_new(&config, &vm->bus);

	return r ? error_host(err, -r, "cannot make the VMBus") : 0;
}

static int make_device(struct vm *vm, const struct device_env *shared, const json_t *config,
		       struct error *err)
{
	struct device_env env = *shared;

	vm_threads_choose(vm->threads, config, &env);
	return vm_devices_add(vm->devices, &env, config, err);
}

static struct device_env env_of(struct vm *vm, struct event_loop *loop)
{
	struct device_env env = {
		.gpa = partition_gpa(vm->partition),
		.ports = partition_ports(vm->partition),
		.mmio = partition_mmio(vm->partition),
		.irq = partition_irq(vm->partition),
		.loop = loop,
		.bus = vm->bus,
		.hv = partition_hv(vm->partition),
		.vp_count = vm->config->cpus,
		.desktop = &vm->desktop,
		.events = &device_events,
		.context = vm,
	};

	vm_generation1_offer(vm->generation1, &env);
	return env;
}

static int make_devices(struct vm *vm, struct event_loop *loop, struct error *err)
{
	const struct device_env env = env_of(vm, loop);
	const json_t *config;
	size_t index;

	json_array_foreach((json_t *)vm->config->devices, index, config)
	{
		int r = make_device(vm, &env, config, err);

		if (r)
			return r;
	}
	return 0;
}

int vm_new(const struct worker_config *config, struct event_loop *loop,
	   const struct vm_events *events, void *context, struct vm **out, struct error *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return error_memory(err, "the machine");
	vm->config = config;
	vm->events = events;
	vm->context = context;
	vm->threads = vm_threads_new(config);
	vm->devices = vm_devices_new();
	if (!vm->threads || !vm->devices) {
		vm_free(vm);
		return error_memory(err, "the machine");
	}
	r = guid_random(&vm->generation);
	if (r)
		error_host(err, -r, "the kernel gives no random numbers");
	if (!r)
		r = make_partition(vm, err);
	if (!r)
		r = make_bus(vm, loop, err);
	if (r) {
		vm_free(vm);
		return r;
	}
	*out = vm;
	return 0;
}

int vm_add_io_threads(struct vm *vm, struct error *err)
{
	return vm_threads_add(vm->threads, err);
}

static int begin_faults(struct vm *vm, struct error *err)
{
	struct fault_plan plan;
	int r = fault_plan_parse(vm->config->faults, &plan, err);

	if (r)
		return r;
	r = vmbus_set_faults(vm->bus, &plan, device_fault_editors);
	return r ? error_host(err, -r, "cannot begin the fault mode") : 0;
}

int vm_add_devices(struct vm *vm, struct event_loop *loop, struct error *err)
{
	int r = 0;

	vm->trace = (struct vm_trace){
		.bus = vm->bus,
		.loop = loop,
		.thread = vm_threads_any(vm->threads),
	};
	if (vm->config->faults)
		r = begin_faults(vm, err);
	if (!r && vm->config->trace_fd >= 0)
		r = vm_trace_start(&vm->trace, vm->config->trace_fd, err);
	return r ? r : make_devices(vm, loop, err);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_pause(vm);
	if (vm->bus) /* no channel outlives its device */
		vmbus_reset(vm->bus);
	vm_devices_free(vm->devices);
	vm_generation1_free(vm->generation1);
	vm_trace_stop(&vm->trace);
	if (vm->bus)
		vmbus_free(vm->bus);
	vm_threads_free(vm->threads);
	if (vm->partition)
		partition_free(vm->partition);
	free(vm);
}

static int load_kernel(struct vm *vm, struct error *err)
{
	const struct worker_config *config = vm->config;
	const struct boot_request request = {
		.gpa = partition_gpa(vm->partition),
		.kernel_fd = config->kernel.fd,
		.kernel_name = config->kernel.name,
		.initrd_fd = config->initrd.fd,
		.initrd_name = config->initrd.name,
		.command_line = config->command_line,
		.vp_count = config->cpus,
		.device_tree = config->device_tree,
		.vm_generation = vm->generation,
	};
	struct boot_result result;
	int r = boot_load(&request, &result, err);

	if (r)
		return r;
	r = partition_set_boot(vm->partition, &result.registers);
	return r ? error_host(err, -r, "KVM refuses the kernel's start") : 0;
}

int vm_load(struct vm *vm, struct error *err)
{
	return vm->generation1 ? vm_generation1_load(vm->generation1, err) : load_kernel(vm, err);
}

int vm_start(struct vm *vm, const struct vm_hooks *hooks, struct error *err)
{
	int r = vm_threads_launch(vm->threads, hooks->io, err);

	return r ? r : partition_start(vm->partition, hooks->vp, NULL, err);
}

int vm_await(struct vm *vm, struct error *err)
{
	int r = vm_threads_await(vm->threads, err);

	return r ? r : partition_await(vm->partition, err);
}

void vm_pause(struct vm *vm)
{
	if (!vm->running)
		return;
	partition_pause(vm->partition);
	vm_devices_quiesce(vm->devices);
	vm->quiesced = true;
	vm->running = false;
}

void vm_resume(struct vm *vm)
{
	if (vm->running)
		return;
	if (vm->quiesced)
		vm_devices_unquiesce(vm->devices);
	vm->quiesced = false;
	vm->running = true;
	partition_resume(vm->partition);
}

int vm_reset(struct vm *vm, struct error *err)
{
	int r;

	vmbus_reset(vm->bus);
	vm_devices_reset(vm->devices);
	vm_generation1_reset(vm->generation1);
	r = partition_reset(vm->partition, err);
	/* Firmware stays. */
	return r || vm->generation1 ? r : load_kernel(vm, err);
}

int vm_nmi(struct vm *vm, unsigned int vp)
{
	return vp < vm->config->cpus ? partition_nmi(vm->partition, vp) : -EINVAL;
}

static const char *id_of(const json_t *config)
{
	return json_string_value(json_object_get(config, "id"));
}

int vm_attach(struct vm *vm, struct event_loop *loop, json_t *config, struct error *err)
{
	const struct device_env env = env_of(vm, loop);
	bool was_running = vm->running;
	int r = vm_devices_check_new(vm->devices, config, err);

	if (!r) {
		vm_pause(vm);
		r = make_device(vm, &env, config, err);
		if (r)
			vm_threads_release(vm->threads, id_of(config));
		if (was_running)
			vm_resume(vm);
	}
	if (r)
		descriptors_close(config);
	return r;
}

int vm_retire(struct vm *vm, const char *id, struct error *err)
{
	int r = vm_devices_retire(vm->devices, id, err);

	if (r == 0 && !vm->running)
		r = error_set(err, EBUSY,
			      "%.40s is in use by a guest that is paused; resume the VM first", id);
	return r;
}

int vm_detach(struct vm *vm, const char *id, struct error *err)
{
	int r = vm_devices_remove(vm->devices, id, err);

	if (!r)
		vm_threads_release(vm->threads, id);
	return r;
}

void vm_call_device(struct vm *vm, const char *id, const char *verb, json_t *parameters,
		    struct device_call *call)
{
	if (!strcmp(id, "vmbus"))
		vm_trace_call(&vm->trace, verb, parameters, call);
	else
		vm_devices_call(vm->devices, id, verb, parameters, call);
}

void vm_signs_of_life(struct vm *vm, struct crash_signs *signs)
{
	static const enum vp_exit kinds[] = {VP_EXIT_PORT, VP_EXIT_MMIO, VP_EXIT_HYPERCALL};

	signs->activity = vmbus_services(vm->bus);
	for (unsigned int vp = 0; vp < vm->config->cpus; vp++) {
		for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
			signs->activity += partition_exits(vm->partition, vp, kinds[i]);
	}
	signs->farewells = hv_partition_farewells(partition_hv(vm->partition));
	signs->bus_connected = vmbus_negotiated_version(vm->bus) != 0;
}
