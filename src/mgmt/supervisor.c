#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "mgmt/file_feed.h"
#include "mgmt/identity.h"
#include "mgmt/supervisor_internal.h"
#include "mgmt/vm_interface.h"

#define NS_A_SECOND  1000000000ull
#define STOP_SECONDS 10 /* that an orderly end may take before the worker is killed */
#define GONE_SECONDS                                                                               \
	5 /* that a killed worker may take to go; more only where the kernel holds it */
#define ONCE_NS	    NS_A_SECOND /* signals and keys this close together ask once */
#define SIGNAL_BASE 128

#define STRING_OF(token) #token
#define STRING(macro)	 STRING_OF(macro)

struct event_loop *supervisor_loop(const struct supervisor *supervisor)
{
	return supervisor->loop;
}

struct file_feeds *supervisor_feeds(const struct supervisor *supervisor)
{
	return supervisor->feeds;
}

const char *supervisor_name(const struct supervisor *supervisor)
{
	return supervisor->config->name;
}

void *supervisor_part_context(const struct supervisor *supervisor, const char *device)
{
	for (unsigned int i = 0; i < supervisor->config->part_count; i++) {
		if (!strcmp(supervisor->config->parts[i].device, device))
			return supervisor->config->parts[i].context;
	}
	return NULL;
}

struct hotplug *supervisor_hotplug(const struct supervisor *supervisor)
{
	return supervisor->config->hotplug;
}

void supervisor_tell(struct supervisor *supervisor, const char *sentence)
{
	if (!supervisor_may_tell(supervisor))
		return;
	console_message(supervisor->config->console, "%s: %s", supervisor->config->name, sentence);
	vm_watch_tell(supervisor->watch, "device", sentence, NULL);
}

void supervisor_announce(struct supervisor *supervisor, const char *event, const char *sentence)
{
	console_message(supervisor->config->console, "%s: %s", supervisor->config->name, sentence);
	vm_watch_tell(supervisor->watch, event, sentence, NULL);
}

struct console_ring *supervisor_console(const struct supervisor *supervisor)
{
	return console_ring(supervisor->config->console);
}

void supervisor_watch(struct supervisor *supervisor, struct varlink_call *call)
{
	vm_watch_add(supervisor->watch, call);
}

void supervisor_kill_worker(struct supervisor *supervisor, const char *why)
{
	identity_kill(supervisor->config->worker->pid);
	if (supervisor->killed)
		return;
	supervisor->killed = why;
	event_timer_arm(supervisor->kill_timer, GONE_SECONDS * NS_A_SECOND, 0);
}

void supervisor_expect_end(struct supervisor *supervisor)
{
	if (!supervisor->killed)
		event_timer_arm(supervisor->kill_timer, STOP_SECONDS * NS_A_SECOND, 0);
}

/* Turns the VM off in order; the worker is killed if it takes too long, or asked again.  False if
 * done will not be called. */
static bool stop(struct supervisor *supervisor, supervisor_reply done, void *context)
{
	if (supervisor->stopping || supervisor_ask(supervisor, PROTOCOL_STOP, done, context)) {
		supervisor_kill_worker(supervisor, "was killed before it had stopped, as asked");
		return false;
	}
	supervisor->stopping = true;
	vm_watch_enter(supervisor->watch, VM_STOPPING);
	vm_watch_tell(supervisor->watch, "stopping", NULL, NULL);
	supervisor_expect_end(supervisor);
	return true;
}

/* Whatever became of the worker, the VM is off, or soon will be. */
static void answer_kill(void *context, const json_t *reply, const char *error)
{
	json_t *nothing = json_object();

	vm_interface_answer(context, nothing, error);
	json_decref(nothing);
}

void supervisor_kill(struct supervisor *supervisor, struct varlink_call *call)
{
	if (!stop(supervisor, answer_kill, call))
		answer_kill(call, NULL, NULL);
}

/* A process that waits for a disk in the kernel cannot even be killed: it is left behind. */
static void on_kill_timer(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;

	if (supervisor->killed) {
		supervisor->stuck = true;
		event_loop_stop(supervisor->loop, 0);
		return;
	}
	supervisor_kill_worker(supervisor,
			       "did not stop within " STRING(STOP_SECONDS) " s and was killed");
}

/*
 * By a signal or the key.  timeout(1) sends its signal to the process and to the group, a key held
 * down repeats: the worker is killed for one that comes later, by somebody who saw it take long.
 */
static void stop_for_user(struct supervisor *supervisor)
{
	uint64_t now = clock_now_ns();

	if (supervisor->asked_ns && now - supervisor->asked_ns < ONCE_NS)
		return;
	if (!supervisor->asked_ns)
		supervisor->asked_ns = now;
	stop(supervisor, NULL, NULL);
}

static void on_leave(void *context)
{
	struct supervisor *supervisor = context;

	if (!supervisor->stopping)
		console_message(supervisor->config->console, "Ctrl-]: turning %s off",
				supervisor->config->name);
	stop_for_user(supervisor);
}

static void on_signal(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;
	struct signalfd_siginfo info;

	if (read(supervisor->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	supervisor->signal = (int)info.ssi_signo;
	stop_for_user(supervisor);
}

void supervisor_enter(struct supervisor *supervisor, enum vm_phase phase, const char *event)
{
	if (vm_watch_phase(supervisor->watch) == VM_STOPPING)
		return;
	vm_watch_enter(supervisor->watch, phase);
	vm_watch_tell(supervisor->watch, event, NULL, NULL);
}

/* A call that changes whether the VM runs. */
struct change {
	struct supervisor *supervisor;
	struct varlink_call *call;
	enum vm_phase phase;
	const char *event;
};

static void on_changed(void *context, const json_t *reply, const char *error)
{
	struct change *change = context;

	if (reply)
		supervisor_enter(change->supervisor, change->phase, change->event);
	vm_interface_answer(change->call, reply, error);
	free(change);
}

static void change(struct supervisor *supervisor, struct varlink_call *call, const char *request,
		   enum vm_phase phase, const char *event)
{
	struct change *change = malloc(sizeof(*change));

	if (change)
		*change = (struct change){supervisor, call, phase, event};
	if (change && !supervisor_ask(supervisor, request, on_changed, change))
		return;
	vm_interface_answer(call, NULL,
			    change ? supervisor_is_ending : "out of memory; free some on the host");
	free(change);
}

void supervisor_pause(struct supervisor *supervisor, struct varlink_call *call)
{
	change(supervisor, call, PROTOCOL_PAUSE, VM_PAUSED, "paused");
}

void supervisor_resume(struct supervisor *supervisor, struct varlink_call *call)
{
	change(supervisor, call, PROTOCOL_RESUME, VM_RUNNING, "resumed");
}

/* The process has ended: its last words may still be in the socket. */
static void on_exit_of_worker(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;

	if (supervisor->worker_source)
		supervisor_read_rest(supervisor);
	event_loop_stop(supervisor->loop, 0);
}

static int watch_signals(struct supervisor *supervisor)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (!supervisor->config->managed) {
		sigaddset(&set, SIGINT);
		sigaddset(&set, SIGHUP);
		sigaddset(&set, SIGQUIT);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signal_fd < 0)
		return -errno;
	return event_loop_watch(supervisor->loop, supervisor->signal_fd, EPOLLIN, on_signal,
				supervisor, &supervisor->signal_source);
}

static int start_parts(struct supervisor *supervisor)
{
	const struct supervisor_config *config = supervisor->config;
	int r = 0;

	for (unsigned int i = 0; !r && i < config->part_count; i++)
		r = config->parts[i].start(config->parts[i].context, supervisor, supervisor->loop);
	return r;
}

static void stop_parts(struct supervisor *supervisor)
{
	for (unsigned int i = supervisor->config->part_count; i--;)
		supervisor->config->parts[i].stop(supervisor->config->parts[i].context);
}

static int watch_all(struct supervisor *supervisor)
{
	const struct supervisor_config *config = supervisor->config;
	int r = event_loop_new(&supervisor->loop);

	if (!r)
		r = vm_watch_new(config->worker->pid, &supervisor->watch);
	if (!r)
		r = file_feeds_new(supervisor->loop, &supervisor->feeds);
	if (!r)
		r = watch_signals(supervisor);
	if (!r)
		r = event_loop_timer(supervisor->loop, on_kill_timer, supervisor,
				     &supervisor->kill_timer);
	if (!r)
		r = event_loop_watch(supervisor->loop, json_link_fd(config->worker->link), EPOLLIN,
				     supervisor_on_worker, supervisor, &supervisor->worker_source);
	if (!r)
		r = event_loop_watch(supervisor->loop, config->worker->pidfd, EPOLLIN,
				     on_exit_of_worker, supervisor, &supervisor->pid_source);
	if (!r)
		r = varlink_server_new(supervisor->loop, config->listen_fd, vm_interface_service(),
				       supervisor, &supervisor->varlink);
	if (!r)
		varlink_server_take_fds(supervisor->varlink, NIC_QUEUES_MAX);
	if (!r)
		r = console_start(config->console, supervisor->loop, on_leave, supervisor);
	if (!r)
		r = start_parts(supervisor);
	return r;
}

/* Everything but the console, which may still have to drain, and those who watch. */
static void unwatch_all(struct supervisor *supervisor)
{
	event_source_remove(supervisor->worker_source);
	supervisor->worker_source = NULL; /* no new request */
	supervisor_answer_rest(supervisor);
	stop_parts(supervisor);
	event_source_remove(supervisor->pid_source);
	event_source_remove(supervisor->kill_timer);
	event_source_remove(supervisor->pulse_timer);
	event_source_remove(supervisor->signal_source);
	if (supervisor->signal_fd >= 0)
		close(supervisor->signal_fd);
}

/* How a worker that left no last word ended. */
static void tell_end(const struct supervisor *supervisor, int status, char *text, size_t size)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (supervisor->stuck)
		snprintf(text, size,
			 "the worker %s, but the host's kernel holds it for I/O that does not end; "
			 "its disks stay in use until that does: look at them",
			 supervisor->killed);
	else if (supervisor->killed && number == SIGKILL)
		snprintf(text, size, "the worker %s; its last writes may be missing",
			 supervisor->killed);
	else if (number)
		snprintf(text, size, "the worker was killed by signal %d (%s%s)", number,
			 strsignal(number),
			 number == SIGSYS ? ": a system call its sandbox forbids" : "");
	else
		snprintf(text, size, "the worker ended with code %d and without a word; %s",
			 WEXITSTATUS(status), worker_remedy());
}

/* The worker's own last word counts; without one, how the process ended tells. */
static void conclude(struct supervisor *supervisor, int status)
{
	struct supervisor_outcome *outcome = supervisor->outcome;
	bool off_by_signal = !strcmp(outcome->reason, PROTOCOL_END_STOPPED);

	if (!outcome->reason[0]) {
		outcome->code = EXIT_VMM_ERROR;
		/* Who asked for its end has it, though not in order. */
		strcpy(outcome->reason, supervisor->stopping && supervisor->killed
						? PROTOCOL_END_STOPPED
						: PROTOCOL_END_FAILED);
		tell_end(supervisor, status, outcome->message, sizeof(outcome->message));
		off_by_signal = supervisor->killed;
	}
	if (supervisor->signal && off_by_signal)
		outcome->code = SIGNAL_BASE + supervisor->signal;
}

/* Whoever hears of the end finds the record of it. */
static void tell_outcome(struct supervisor *supervisor)
{
	const struct supervisor_outcome *outcome = supervisor->outcome;

	if (supervisor->config->ended)
		supervisor->config->ended(supervisor->config->context, outcome);
	vm_watch_enter(supervisor->watch, VM_OFF);
	vm_watch_tell(supervisor->watch, "end", outcome->message,
		      json_pack("{s:s, s:i, s:o}", "reason", outcome->reason, "code", outcome->code,
				"crash", text_json(outcome->crash)));
	vm_watch_end(supervisor->watch);
	console_end_clients(supervisor->config->console);
}

int supervisor_run(const struct supervisor_config *config, struct supervisor_outcome *outcome,
		   struct error *err)
{
	struct supervisor supervisor = {.config = config, .outcome = outcome, .signal_fd = -1};
	int status;
	int r;

	memset(outcome, 0, sizeof(*outcome));
	list_init(&supervisor.requests);
	r = watch_all(&supervisor);
	if (r)
		error_host(err, -r, "cannot supervise the worker");
	else
		event_loop_run(supervisor.loop);
	unwatch_all(&supervisor);
	status = supervisor.stuck ? spawned_worker_leave(config->worker)
				  : spawned_worker_wait(config->worker);
	if (!r) {
		uint64_t lost;
		int errnum = console_finish(config->console, &lost);

		supervisor_lose_output(outcome, lost, errnum);
		outcome->line_open = console_line_open(config->console);
	}
	conclude(&supervisor, status);
	if (!r)
		tell_outcome(&supervisor);
	varlink_server_free(supervisor.varlink);
	vm_watch_free(supervisor.watch);
	file_feeds_free(supervisor.feeds);
	console_free(config->console);
	event_loop_free(supervisor.loop);
	return r;
}
