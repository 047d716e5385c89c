#include "mgmt/vmms/vm_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/text.h"
#include "mgmt/vmms/change.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/run_note.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_end.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vmms.h"

#define NS_A_SECOND 1000000000ull
/* How long a VM that is turned off may take, and then a worker whose supervisor is gone. */
#define PATIENCE_S  30

/* A number of /proc/PID/stat, counted from 1 as in proc(5). */
static int read_stat(pid_t pid, int number, uint64_t *out)
{
	char path[64], text[1024];
	const char *field;
	ssize_t size;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	size = (ssize_t)fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size < 0 ? 0 : size] = 0;
	/* The name of the program, in parentheses, may hold anything; field 3 follows it. */
	field = strrchr(text, ')');
	for (int i = 2; field && i < number; i++)
		field = strchr(field + 1, ' ');
	if (!field || sscanf(field, " %lu", out) != 1)
		return -ESRCH;
	return 0;
}

int vm_run_start_time(pid_t pid, uint64_t *start)
{
	return read_stat(pid, 22, start);
}

/* Of one that was found: what the daemon has to know before it serves. */
static void set_known(struct vm_run *run)
{
	if (run->adopted && !run->known)
		vmms_vm_known(run->vm->vmms);
	run->known = true;
}

/* The run is over: both processes are gone. */
static void conclude(struct vm_run *run)
{
	struct vm *vm = run->vm;
	bool killed = run->killed;

	set_known(run);
	if (run->unfinished) {
		vm->turn_held = false;
		request_next_turn(vm);
	}
	vm->run = NULL;
	vm_run_free(run);
	vm_ended(vm, killed ? "it did not turn off in time and was killed" : NULL);
}

static bool is_alive(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

	return pidfd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

static void kill_all(struct vm_run *run)
{
	run->killed = true;
	if (is_alive(run->pidfd))
		pidfd_send_signal(run->pidfd, SIGKILL, NULL, 0);
	if (is_alive(run->worker_pidfd))
		pidfd_send_signal(run->worker_pidfd, SIGKILL, NULL, 0);
	event_timer_arm(run->patience, PATIENCE_S * NS_A_SECOND, 0);
}

static void on_patience(void *context, uint32_t events)
{
	kill_all(context);
}

static void on_worker_exited(void *context, uint32_t events)
{
	struct vm_run *run = context;

	event_source_remove(run->worker_exited);
	run->worker_exited = NULL;
	if (!run->exited)
		conclude(run);
}

void vm_run_await_worker(struct vm_run *run)
{
	/* Nobody who stopped it will wake it. */
	pidfd_send_signal(run->worker_pidfd, SIGCONT, NULL, 0);
	if (vm_state_allows(run->vm->state, VM_STOPPING))
		vm_set_state(run->vm, VM_STOPPING, "its supervisor was killed; its worker ends");
	event_timer_arm(run->patience, PATIENCE_S * NS_A_SECOND, 0);
}

/* One that we started ourselves is ours to reap. */
static void reap(const struct vm_run *run)
{
	siginfo_t info;

	waitid(P_PIDFD, (id_t)run->pidfd, &info, WEXITED | WNOHANG);
}

/* A supervisor that was taken over from within has us kill nobody else's process. */
static bool is_child(const struct vm_run *run, pid_t pid)
{
	uint64_t parent;

	return !read_stat(pid, 4, &parent) && parent == (uint64_t)run->pid;
}

/* For a daemon that finds no supervisor any more.  One that took the VM over changes no file. */
static void note_worker(const struct vm_run *run)
{
	struct run_process worker = {.pid = run->worker};
	struct error err = {""};

	if (run->adopted || vm_run_start_time(run->worker, &worker.start))
		return;
	/* Else the time may be of another process, which has its number by now. */
	if (!is_alive(run->worker_pidfd))
		return;
	snprintf(worker.boot_id, sizeof(worker.boot_id), "%s", run->vm->vmms->boot_id);
	if (run_note_write_worker(run->vm, &worker, &err))
		vm_event(run->vm, "unnoted", json_pack("{s:s}", "message", err.text));
}

static int watch_worker(struct vm_run *run)
{
	return event_loop_watch(run->vm->vmms->loop, run->worker_pidfd, EPOLLIN, on_worker_exited,
				run, &run->worker_exited);
}

/* Learnt from the supervisor, whose child it is: so the number means it still. */
static void learn_worker(struct vm_run *run, pid_t worker)
{
	int pidfd;

	if (run->worker || worker <= 0)
		return;
	pidfd = pidfd_open(worker, 0);
	if (pidfd < 0)
		return;
	if (!is_child(run, worker)) {
		close(pidfd);
		return;
	}
	run->worker_pidfd = pidfd;
	run->worker = worker;
	watch_worker(run);
	note_worker(run);
}

/* Of a supervisor that did not live to say it. */
static void find_worker(struct vm_run *run)
{
	struct run_process worker;
	int pidfd = run_note_find_worker(run->vm->vmms, vm_uuid(run->vm), &worker);

	if (pidfd < 0)
		return;
	run->worker = worker.pid;
	run->worker_pidfd = pidfd;
	watch_worker(run);
}

static void on_exited(void *context, uint32_t events)
{
	struct vm_run *run = context;

	reap(run);
	event_source_remove(run->exited);
	run->exited = NULL;
	if (!run->worker)
		find_worker(run);
	if (run->worker_exited && is_alive(run->worker_pidfd))
		vm_run_await_worker(run);
	else
		conclude(run);
}

/* The supervisor's word for a state; how the VM ended is learnt when it has. */
static void apply_state(struct vm *vm, const char *word, const char *reason)
{
	int state = word ? vm_state_find(word) : -EINVAL;

	if (state < 0 || !vm_state_is_live((enum vm_state)state) || state == VM_STARTING)
		return;
	/* It runs, but was asked to shut down. */
	if (vm->state == VM_STOPPING && state == VM_RUNNING)
		return;
	if (vm_state_allows(vm->state, (enum vm_state)state))
		vm_set_state(vm, (enum vm_state)state, reason);
	if (state == VM_RUNNING || state == VM_PAUSED)
		vm->ran = true;
}

/* What the VM shows as long as it is so, whatever its state: a worker that hangs, a full disk. */
static void apply_condition(struct vm_run *run, const char *event, const json_t *object)
{
	const char *message = json_string_value(json_object_get(object, "message"));

	if (!strcmp(event, "answering") || !strcmp(event, "resumed"))
		message = "";
	else if (strcmp(event, "hung") != 0 && strcmp(event, "disk-full") != 0 &&
		 strcmp(event, "state") != 0)
		return;
	snprintf(run->condition, sizeof(run->condition), "%s", message ? message : "");
	text_trim(run->condition);
	if (run->vm->state == VM_RUNNING || run->vm->state == VM_PAUSED)
		snprintf(run->vm->reason, sizeof(run->vm->reason), "%s", run->condition);
}

/* What the VM's own state does not tell. */
static void pass_on(struct vm *vm, const char *event, const json_t *object)
{
	static const char *const told_by_state[] = {"state",   "ready",	   "paused",
						    "resumed", "stopping", "end"};
	json_t *details;

	for (size_t i = 0; i < sizeof(told_by_state) / sizeof(told_by_state[0]); i++) {
		if (!strcmp(event, told_by_state[i]))
			return;
	}
	details = json_copy((json_t *)object);
	json_object_del(details, "event");
	json_object_del(details, "time");
	vm_event(vm, event, details);
}

/* Once the VM can be asked. */
static void resume_change(struct vm_run *run)
{
	json_t *note = run->unfinished;

	if (!note || (run->vm->state != VM_RUNNING && run->vm->state != VM_PAUSED))
		return;
	run->unfinished = NULL;
	change_resume(run->vm, note);
	json_decref(note);
}

static void on_event(void *context, const json_t *object)
{
	struct vm_run *run = context;
	struct vm *vm = run->vm;
	const char *event = json_string_value(json_object_get(object, "event"));
	const char *word = json_string_value(json_object_get(object, "state"));
	json_int_t since = json_integer_value(json_object_get(object, "since"));

	learn_worker(run, (pid_t)json_integer_value(json_object_get(object, "worker_pid")));
	apply_condition(run, event, object);
	apply_state(vm, word, run->condition);
	/* The same for each daemon that looks after it. */
	if (since > 0 && word && vm_state_find(word) == (int)vm->state)
		vm->since_us = since;
	pass_on(vm, event, object);
	set_known(run);
	resume_change(run);
}

static void on_hung(void *context, bool hung)
{
	static const char sentence[] = "its supervisor does not answer; wait, or turn it off";
	struct vm_run *run = context;

	run->hung = hung;
	snprintf(run->vm->reason, sizeof(run->vm->reason), "%s", hung ? sentence : "");
	vm_event(run->vm, hung ? "hung" : "answering",
		 hung ? json_pack("{s:s}", "message", sentence) : NULL);
}

static int watch_vm(struct vm_run *run, struct event_loop *loop)
{
	static const struct vm_link_handlers handlers = {.event = on_event, .hung = on_hung};
	char path[VM_PATH_MAX];
	int r = event_loop_timer(loop, on_patience, run, &run->patience);

	vm_path_socket(run->vm, path);
	if (!r)
		r = vm_link_new(loop, path, &handlers, run, &run->link);
	return r;
}

static struct vm_run *run_of(struct vm *vm, pid_t pid)
{
	struct vm_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->vm = vm;
	run->pid = pid;
	run->started_us = vmms_now_us();
	run->pidfd = run->worker_pidfd = run->gate_fd = -1;
	return run;
}

int vm_run_new_orphan(struct vm *vm, pid_t supervisor, pid_t worker, int pidfd, struct vm_run **out)
{
	struct vm_run *run = run_of(vm, supervisor);
	int r;

	if (!run)
		return -ENOMEM;
	run->worker = worker;
	run->worker_pidfd = pidfd;
	run->known = true;
	r = watch_worker(run);
	if (!r)
		r = watch_vm(run, vm->vmms->loop);
	if (r) {
		run->worker_pidfd = -1;
		vm_run_free(run);
		return r;
	}
	*out = run;
	return 0;
}

int vm_run_new(struct vm *vm, pid_t pid, uint64_t start, int pidfd, struct vm_run **out)
{
	struct vm_run *run = run_of(vm, pid);
	int r;

	if (!run)
		return -ENOMEM;
	run->start = start;
	run->pidfd = pidfd;
	r = event_loop_watch(vm->vmms->loop, pidfd, EPOLLIN, on_exited, run, &run->exited);
	if (!r)
		r = watch_vm(run, vm->vmms->loop);
	if (r) {
		run->pidfd = -1;
		vm_run_free(run);
		return r;
	}
	*out = run;
	return 0;
}

void vm_run_free(struct vm_run *run)
{
	if (!run)
		return;
	vm_link_free(run->link);
	vm_figures_clear(&run->figures);
	json_decref(run->unfinished);
	event_source_remove(run->exited);
	event_source_remove(run->worker_exited);
	event_source_remove(run->patience);
	if (run->worker_pidfd >= 0)
		close(run->worker_pidfd);
	if (run->pidfd >= 0)
		close(run->pidfd);
	if (run->gate_fd >= 0)
		close(run->gate_fd);
	free(run);
}

void vm_run_begin(struct vm_run *run)
{
	if (write(run->gate_fd, "", 1) != 1)
		kill_all(run);
	close(run->gate_fd);
	run->gate_fd = -1;
}

static void on_killed(void *context, const json_t *reply, const char *error,
		      const json_t *parameters, bool continues)
{
}

void vm_run_turn_off(struct vm_run *run, const char *reason)
{
	bool asked = run->turning_off;

	run->turning_off = true;
	if (vm_state_allows(run->vm->state, VM_STOPPING))
		vm_set_state(run->vm, VM_STOPPING, reason);
	if (run->gate_fd >= 0 || vm_link_call(run->link, "Kill", NULL, false, on_killed, run, NULL))
		kill_all(run);
	else if (!asked)
		event_timer_arm(run->patience, PATIENCE_S * NS_A_SECOND, 0);
}
