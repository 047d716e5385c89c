#include "mgmt/vmms/vmms.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/varlink.h"
#include "mgmt/vmms/access.h"
#include "mgmt/vmms/adopt.h"
#include "mgmt/vmms/audit.h"
#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/chore.h"
#include "mgmt/vmms/events.h"
#include "mgmt/vmms/figures.h"
#include "mgmt/vmms/interface.h"
#include "mgmt/vmms/metrics_socket.h"
#include "mgmt/vmms/notify.h"
#include "mgmt/vmms/opener.h"
#include "mgmt/vmms/paths.h"
#include "mgmt/vmms/public_socket.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/store.h"
#include "mgmt/vmms/switch.h"
#include "mgmt/vmms/vm.h"

#define BOOT_ID	    "/proc/sys/kernel/random/boot_id"
#define ADOPTION_NS 1000000000u /* how long VMs that run may take to say how they are */

json_int_t vmms_now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (json_int_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

void vmms_tell(const char *sentence)
{
	fprintf(stderr, "bulkhead-vmms: %s\n", sentence);
}

/* Who may see a VM hears of it; of the host everybody does, and of what is gone administrators. */
static bool may_hear(void *context, const struct varlink_call *call, const char *uuid)
{
	struct vmms *vmms = context;
	const struct vm *vm = uuid ? vm_table_find_uuid(&vmms->table, uuid) : NULL;

	return !access_check(vmms, call, vm, uuid && !vm ? ACCESS_ADMINISTER : ACCESS_CONNECT,
			     NULL);
}

/* What tells this boot of the host from the others; a host without it reboots unnoticed. */
static void read_boot_id(struct vmms *vmms)
{
	CLEANUP_CLOSE int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, vmms->boot_id, sizeof(vmms->boot_id) - 1);

	vmms->boot_id[size < 0 ? 0 : size] = 0;
	vmms->boot_id[strcspn(vmms->boot_id, "\n")] = 0;
}

/* A VM that runs takes a few descriptors; what it starts with stays what the daemon was given. */
static void raise_limits(struct vmms *vmms)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &vmms->files))
		vmms->files = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	limit = (struct rlimit){vmms->files.rlim_max, vmms->files.rlim_max};
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int find_paths(struct vmms *vmms, const struct vmms_options *options, struct error *err)
{
	int r = paths_socket(options->socket, vmms->socket_path, sizeof(vmms->socket_path), err);
	char *slash;

	if (!r)
		r = paths_state(options->state, vmms->state_path, sizeof(vmms->state_path), err);
	if (r)
		return r;
	strcpy(vmms->runtime_path, vmms->socket_path);
	slash = strrchr(vmms->runtime_path, '/');
	strcpy(slash + 1, "vms");
	return 0;
}

static int listen_at_path(struct vmms *vmms, struct error *err)
{
	/* Whoever can read a directory can hold the lock on it that all who listen there take. */
	int r = paths_make_parent(vmms->socket_path, vmms->rootless ? 0700 : 0711);

	if (!r)
		r = public_socket_listen(vmms->socket_path, vmms->rootless ? 0600 : 0660,
					 &vmms->listener);
	if (r == -EADDRINUSE)
		return error_set(err, -r,
				 "another daemon listens at %.200s; end that one, or choose "
				 "another socket by --socket",
				 vmms->socket_path);
	if (r)
		return error_set(err, -r, "cannot listen at %.200s: %s; %s", vmms->socket_path,
				 strerror(-r),
				 error_remedy(-r, "choose another socket by --socket"));
	access_give_socket(vmms->access, vmms->socket_path);
	return 0;
}

/* Who may do what, who did what, and who may open what. */
static int open_access(struct vmms *vmms, const struct vmms_options *options, struct error *err)
{
	char path[PATH_MAX + 16];
	struct audit_options audit = {
		.journal = options->no_journal ? NULL : AUDIT_JOURNAL,
		.file = path,
		.file_max = AUDIT_FILE_MAX,
	};
	int r = access_new(options->group ? options->group : ACCESS_GROUP, &vmms->access);

	snprintf(path, sizeof(path), "%s/audit.log", vmms->state_path);
	if (!r)
		r = audit_new(&audit, &vmms->audit);
	if (!r)
		r = opener_new(vmms->loop, &opener_default_limits, &vmms->opener);
	if (!r)
		r = chores_new(vmms->loop, &vmms->chores);
	return r ? error_memory(err, "the daemon") : 0;
}

/* The socket that we were started with has a path that is not ours to remove. */
static int take_or_listen(struct vmms *vmms, struct error *err)
{
	int fd = notify_take_socket(err);

	if (fd == -ENOENT)
		return listen_at_path(vmms, err);
	if (fd < 0)
		return fd;
	vmms->listener.fd = fd;
	vmms->activated = true;
	return 0;
}

/* A VM as the store has it; takes over settings. */
static void add_vm(void *context, struct settings *settings)
{
	struct vmms *vmms = context;
	struct vm *vm;

	if (vm_new(vmms, settings, &vm)) {
		settings_free(settings);
		vmms_tell("there is not enough memory for all VMs; free some and start again");
		return;
	}
	vm_table_add(&vmms->table, vm);
}

/* What could not be read stops nobody else. */
static void tell_set_aside(void *context, const char *sentence)
{
	struct vmms *vmms = context;

	vmms_tell(sentence);
	if (vmms->unread_count++ < VMMS_UNREAD_MAX)
		json_array_append_new(vmms->unread, json_string(sentence));
	events_emit(vmms->events, NULL, NULL, "set-aside", json_pack("{s:s}", "message", sentence));
}

static void on_signal(void *context, uint32_t events)
{
	struct vmms *vmms = context;
	struct signalfd_siginfo info;

	if (read(vmms->signal_fd, &info, sizeof(info)) == sizeof(info))
		event_loop_stop(vmms->loop, 0);
}

static int watch_signals(struct vmms *vmms)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	vmms->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vmms->signal_fd < 0)
		return -errno;
	return event_loop_watch(vmms->loop, vmms->signal_fd, EPOLLIN, on_signal, vmms,
				&vmms->signal_source);
}

static int open_loop(struct vmms *vmms, struct error *err)
{
	int r = event_loop_new(&vmms->loop);

	if (!r)
		r = watch_signals(vmms);
	if (!r)
		r = events_new(may_hear, vmms, &vmms->events);
	if (!r)
		r = figures_new(vmms->loop, &vmms->table, &vmms->figures);
	if (!r)
		r = resources_new(vmms->loop, NULL, &vmms->resources);
	return r ? error_host(err, -r, "cannot set the daemon up") : 0;
}

/* What an administrator should know of a switch. */
static void tell_of_switch(void *context, const char *name, const char *sentence)
{
	struct vmms *vmms = context;
	char text[640];

	snprintf(text, sizeof(text), "switch %.60s: %s", name, sentence);
	vmms_tell(text);
	events_emit(vmms->events, NULL, NULL, "switch",
		    json_pack("{s:s, s:s}", "switch", name, "message", sentence));
}

static int open_switches(struct vmms *vmms, struct error *err)
{
	char runtime[PATH_MAX];
	struct error why;
	int r;

	strcpy(runtime, vmms->runtime_path);
	*strrchr(runtime, '/') = 0;
	r = switches_new(vmms->loop, vmms->state_path, runtime, tell_of_switch, vmms,
			 &vmms->switches, err);
	if (!r && switches_adopt(vmms->switches, &why))
		tell_of_switch(vmms, SWITCH_DEFAULT, why.text);
	return r;
}

static int open_all(struct vmms *vmms, const struct vmms_options *options, struct error *err)
{
	int r = find_paths(vmms, options, err);

	if (!r)
		r = open_loop(vmms, err);
	if (!r)
		r = open_access(vmms, options, err);
	if (!r)
		r = store_open(vmms->state_path, &vmms->store, err);
	if (!r)
		r = take_or_listen(vmms, err);
	if (!r && options->metrics)
		r = metrics_socket_open(vmms, options->metrics, &vmms->metrics, err);
	if (!r)
		r = open_switches(vmms, err);
	if (!r)
		r = store_load(vmms->store, add_vm, tell_set_aside, vmms, err);
	return r;
}

int vmms_open(const struct vmms_options *options, struct vmms **out, struct error *err)
{
	struct vmms *vmms = calloc(1, sizeof(*vmms));
	int r;

	if (!vmms)
		return error_memory(err, "the daemon");
	vmms->listener.fd = vmms->signal_fd = -1;
	vmms->rootless = geteuid() != 0;
	vmms->started_us = vmms_now_us();
	vm_table_init(&vmms->table);
	list_init(&vmms->answers);
	read_boot_id(vmms);
	raise_limits(vmms);
	vmms->unread = json_array();
	r = vmms->unread ? open_all(vmms, options, err) : error_memory(err, "the daemon");
	if (r) {
		vmms_close(vmms);
		return r;
	}
	*out = vmms;
	return 0;
}

/* Without it administrators still have their VMs. */
static void open_public_socket(struct vmms *vmms)
{
	struct error err;

	if (public_socket_open(vmms, &vmms->public_socket, &err))
		vmms_tell(err.text);
}

/* Who has waited so far sees VMs that are known. */
static void serve(struct vmms *vmms)
{
	int r;

	if (vmms->varlink)
		return;
	r = varlink_server_new(vmms->loop, vmms->listener.fd, vmms_interface(), vmms,
			       &vmms->varlink);
	if (!r)
		r = notify_ready(vmms->loop, &vmms->notify);
	if (r) {
		event_loop_stop(vmms->loop, r);
		return;
	}
	varlink_server_limit(vmms->varlink, VMMS_CONNECTIONS_MAX, VMMS_CONNECTIONS_SHARE);
	autostart_begin(vmms);
	if (!vmms->rootless)
		open_public_socket(vmms);
}

static void on_late(void *context, uint32_t events)
{
	serve(context);
}

void vmms_vm_known(struct vmms *vmms)
{
	if (vmms->unknown && --vmms->unknown == 0)
		serve(vmms);
}

int vmms_run(struct vmms *vmms)
{
	int r = event_loop_timer(vmms->loop, on_late, vmms, &vmms->late);

	adopt_all(vmms);
	if (!r)
		r = event_timer_arm(vmms->late, vmms->unknown ? ADOPTION_NS : 1, 0);
	return r ? r : event_loop_run(vmms->loop);
}

/* A VM that runs on needs its switch. */
static bool any_live(const struct vmms *vmms)
{
	const struct vm *vm;

	vm_table_for_each(vm, &vmms->table)
	{
		if (vm_state_is_live(vm->state))
			return true;
	}
	return false;
}

void vmms_close(struct vmms *vmms)
{
	struct vm *vm;
	bool live;

	if (!vmms)
		return;
	live = any_live(vmms);
	notify_ending(vmms->notify);
	figures_free(vmms->figures);
	vmms->figures = NULL;
	metrics_socket_close(vmms->metrics);
	vm_table_for_each(vm, &vmms->table)
	{
		vm_table_remove(&vmms->table, vm);
		vm_abandon(vm, "the daemon ends");
	}
	chores_free(vmms->chores);
	request_flush(vmms);
	opener_free(vmms->opener);
	events_free(vmms->events);
	public_socket_close(vmms->public_socket);
	varlink_server_free(vmms->varlink);
	if (vmms->activated)
		close(vmms->listener.fd);
	else if (vmms->listener.fd >= 0)
		unix_listener_close(&vmms->listener, vmms->socket_path);
	store_close(vmms->store);
	json_decref(vmms->unread);
	switches_free(vmms->switches, live);
	resources_free(vmms->resources);
	event_source_remove(vmms->late);
	audit_free(vmms->audit);
	access_free(vmms->access);
	event_source_remove(vmms->signal_source);
	if (vmms->signal_fd >= 0)
		close(vmms->signal_fd);
	event_loop_free(vmms->loop);
	free(vmms);
}
