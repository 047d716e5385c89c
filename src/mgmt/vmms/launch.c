#include "mgmt/vmms/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "mgmt/exit_record.h"
#include "mgmt/vmms/launch_child.h"
#include "mgmt/vmms/paths.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/run_note.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/settings_arguments.h"
#include "mgmt/vmms/switch.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vm_saved.h"
#include "mgmt/vmms/vmms.h"
#include "mgmt/worker_spawn.h"

/* What a supervisor is started with. */
struct launch {
	struct vm *vm;
	struct launch_child child;
	struct unix_listener listener;
	char socket_path[VM_PATH_MAX];
	int gate[2]; /* the child begins when it gets a byte, and ends when it gets none */
};

static int open_directory(struct launch *launch, struct error *err)
{
	char path[VM_PATH_MAX];
	int r;

	vm_path_directory(launch->vm, path);
	r = paths_make(path, 0700);
	return r ? error_set(err, -r, "%.200s cannot be made: %s; %s", path, strerror(-r),
			     error_remedy(-r, "free some space there"))
		 : 0;
}

static int open_listener(struct launch *launch, struct error *err)
{
	int r;

	vm_path_socket(launch->vm, launch->socket_path);
	unlink(launch->socket_path); /* of a run before this one: nobody else listens there */
	r = unix_listen(launch->socket_path, 0600, &launch->listener);
	if (r)
		return error_set(err, -r, "cannot listen at %.200s: %s; %s", launch->socket_path,
				 strerror(-r), error_remedy(-r, "free some space there"));
	launch->child.listen_fd = launch->listener.fd;
	return 0;
}

static int open_record(struct launch *launch, struct error *err)
{
	char path[VM_PATH_MAX];
	int r;

	vm_path_record(launch->vm, path);
	r = paths_make_parent(path, 0700);
	if (!r) {
		launch->child.record_fd =
			open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = launch->child.record_fd < 0 ? -errno
						: exit_record_prepare(launch->child.record_fd);
	}
	return r ? error_set(err, -r, "%.200s cannot be made: %s; %s", path, strerror(-r),
			     error_remedy(-r, "free some space there"))
		 : 0;
}

static int open_saved(struct launch *launch, struct error *err)
{
	launch->child.saved_fd = vm_saved_open(launch->vm, err);
	return launch->child.saved_fd < 0 ? launch->child.saved_fd : 0;
}

static int open_kvm(struct launch *launch, struct error *err)
{
	launch->child.kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (launch->child.kvm_fd < 0)
		return error_set(err, errno,
				 "/dev/kvm cannot be opened: %s; `bulkhead doctor` tells why",
				 strerror(errno));
	return 0;
}

static int open_gate(struct launch *launch, struct error *err)
{
	if (pipe2(launch->gate, O_CLOEXEC))
		return error_host(err, errno, "no pipe to the VM's supervisor");
	launch->child.gate_fd = launch->gate[0];
	return 0;
}

/* A port of its switch for a NIC. */
static int open_port(struct launch *launch, size_t index, const json_t *nic, struct error *err)
{
	const json_int_t queues = json_integer_value(json_object_get(nic, "queues"));
	const struct switch_port port = {
		.vm = vm_uuid(launch->vm),
		.nic = json_string_value(json_object_get(nic, "name")),
		.queues = queues > 0 ? (unsigned int)queues : 1,
	};
	int r = switch_open_tap(launch->vm->vmms->switches,
				json_string_value(json_object_get(nic, "switch")), &port,
				launch->child.files.nics[index].fds, NULL, err);

	if (!r)
		launch->child.files.nics[index].count = port.queues;
	return r;
}

static int open_ports(struct launch *launch, struct error *err)
{
	const json_t *nics = settings_nics(launch->vm->settings);
	const json_t *nic;
	size_t i;
	int r = 0;

	json_array_foreach(nics, i, nic)
	{
		const char *kind = json_string_value(json_object_get(nic, "kind"));

		if (!r && i < PROTOCOL_NICS_MAX && kind && !strcmp(kind, "switch"))
			r = open_port(launch, i, nic, err);
	}
	return r;
}

static void close_ports(struct launch_files *files)
{
	for (size_t i = 0; i < PROTOCOL_NICS_MAX; i++) {
		for (unsigned int j = 0; j < files->nics[i].count; j++)
			close(files->nics[i].fds[j]);
	}
}

static int make_arguments(struct launch *launch, struct error *err)
{
	struct launch_child *child = &launch->child;
	const struct settings_owner *owner = settings_owner(launch->vm->settings);
	int r = open_ports(launch, err);

	child->owner = geteuid() == 0 && owner->uid != 0 ? owner : NULL;
	return r ? r
		 : settings_arguments(launch->vm->settings, &child->files, &child->arguments, err);
}

static int prepare(struct launch *launch, struct error *err)
{
	struct launch_child *child = &launch->child;
	int r = supervisor_find(child->program, sizeof(child->program), err);

	if (!r)
		r = open_kvm(launch, err);
	if (!r)
		r = make_arguments(launch, err);
	if (!r)
		r = open_directory(launch, err);
	if (!r)
		r = open_listener(launch, err);
	if (!r)
		r = open_record(launch, err);
	if (!r)
		r = open_saved(launch, err);
	if (!r)
		r = open_gate(launch, err);
	return r;
}

/* What the child has copies of, or nobody needs where there is none. */
static void release(struct launch *launch)
{
	int fds[] = {launch->child.listen_fd, launch->child.record_fd, launch->child.kvm_fd,
		     launch->child.saved_fd,  launch->gate[0],	       launch->gate[1]};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	close_ports(&launch->child.files);
	settings_arguments_free(launch->child.arguments);
}

static int limits_of(const struct vm *vm, struct resource_limits *limits, struct error *err)
{
	return resource_limits_parse(settings_get(vm->settings, "resources"),
				     settings_memory_maximum(vm->settings),
				     settings_processors(vm->settings), limits, err);
}

static int start_child(struct launch *launch, pid_t *pid, struct error *err)
{
	struct vm *vm = launch->vm;
	struct resource_limits limits;
	int r = limits_of(vm, &limits, err);

	if (r)
		return r;
	*pid = resources_fork(vm->vmms->resources, vm_uuid(vm), &limits, err);
	if (*pid == 0)
		launch_child_run(&launch->child);
	return *pid < 0 ? (int)*pid : 0;
}

/* Without a descriptor for it a process cannot be looked after. */
static int watch_child(struct launch *launch, pid_t pid, struct error *err)
{
	struct vm *vm = launch->vm;
	int pidfd = pidfd_open(pid, 0);
	uint64_t start = 0;
	int r = pidfd < 0 ? -errno : vm_run_start_time(pid, &start);

	if (!r)
		r = vm_run_new(vm, pid, start, pidfd, &vm->run);
	if (!r) {
		vm->run->gate_fd = TAKE_FD(launch->gate[1]);
		return 0;
	}
	if (pidfd >= 0)
		close(pidfd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	resources_end(vm->vmms->resources, vm_uuid(vm));
	return error_host(err, -r, "cannot look after the VM's supervisor");
}

/* The supervisor is in its place among the host's processes, or there is none for it. */
static void on_placed(void *context, const char *why)
{
	struct vm *vm = context;
	struct error err;

	if (why)
		vm_event(vm, "unlimited", json_pack("{s:s}", "message", why));
	if (!vm->run || vm->run->gate_fd < 0)
		return;
	if (run_note_write(vm, vm->run, NULL, &err)) {
		vm_event(vm, "unnoted", json_pack("{s:s}", "message", err.text));
		vm_run_turn_off(vm->run, err.text);
	} else {
		vm_run_begin(vm->run);
	}
}

static int start(struct launch *launch, struct error *err)
{
	struct vm *vm = launch->vm;
	int r = prepare(launch, err);
	pid_t pid;

	if (!r)
		r = start_child(launch, &pid, err);
	if (!r)
		r = watch_child(launch, pid, err);
	if (r)
		return r;
	vm->launched = settings_ref(vm->settings);
	vm->ran = false;
	vm_set_state(vm, VM_STARTING, "");
	resources_begin(vm->vmms->resources, vm_uuid(vm), pid, on_placed, vm);
	return 0;
}

int launch_vm(struct vm *vm, struct error *err)
{
	struct launch *launch = calloc(1, sizeof(*launch));
	int r;

	if (!launch)
		return error_memory(err, "the VM's supervisor");
	launch->vm = vm;
	launch->child.open_files = vm->vmms->files;
	launch->listener.fd = launch->gate[0] = launch->gate[1] = -1;
	launch->child.listen_fd = launch->child.record_fd = launch->child.kvm_fd = -1;
	launch->child.saved_fd = -1;
	r = start(launch, err);
	release(launch);
	free(launch);
	return r;
}
