#include "mgmt/vmms/scope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "mgmt/vmms/cgroup_place.h"

#define SERVICE	      "org.freedesktop.systemd1"
#define OBJECT	      "/org/freedesktop/systemd1"
#define INTERFACE     "org.freedesktop.systemd1.Manager"
#define SLICE	      "bulkhead.slice"
#define DAEMON_UNIT   "bulkhead-vmms.service"
#define NAME_SIZE     128
#define JOB_SIZE      256
#define ANSWER_US     30000000u
#define NS_A_US	      1000u
#define US_A_SECOND   1000000ull
#define CPU_PERCENT   100u
#define NO_LIMIT      UINT64_MAX
#define RUN_UNLIMITED "it runs without limits, since systemd makes no scope for it: "

struct scopes {
	struct event_loop *loop;
	sd_bus *bus; /* NULL: the connection broke */
	struct event_source *source;
	struct event_source *timer;
	struct list starts;
};

struct scope_start {
	struct list link;
	struct scopes *scopes;
	sd_bus_slot *slot;
	char unit[NAME_SIZE];
	char job[JOB_SIZE]; /* "" until systemd has answered */
	scope_done done;
	void *context;
};

static void unit_name(char name[NAME_SIZE], const char *uuid, pid_t pid)
{
	snprintf(name, NAME_SIZE, "bulkhead-%.64s-%d.scope", uuid, (int)pid);
}

void scope_start_forget(struct scope_start *start)
{
	list_remove(&start->link);
	sd_bus_slot_unref(start->slot);
	free(start);
}

static void finish(struct scope_start *start, const char *why)
{
	scope_done done = start->done;
	void *context = start->context;

	scope_start_forget(start);
	done(context, why);
}

static void fail(struct scope_start *start, const char *why)
{
	char sentence[512];

	snprintf(sentence, sizeof(sentence), RUN_UNLIMITED "%s", why);
	finish(start, sentence);
}

/* One of them at a time, since each answer may make or forget others. */
static void hang_up(struct scopes *scopes)
{
	event_source_remove(scopes->source);
	scopes->source = NULL;
	event_timer_arm(scopes->timer, 0, 0);
	scopes->bus = sd_bus_close_unref(scopes->bus);
	while (!list_empty(&scopes->starts))
		fail(list_entry(scopes->starts.next, struct scope_start, link), "its bus hung up");
}

/* What the bus waits for next.  sd-bus's time is that of CLOCK_MONOTONIC, in microseconds. */
static void update(struct scopes *scopes)
{
	uint64_t until_us = UINT64_MAX;
	uint64_t now_us;
	struct timespec now;
	int events = sd_bus_get_events(scopes->bus);

	/* A bus that broke is seen by the next turn of the loop, where its callers are ready for
	 * it. */
	if (events < 0 || event_source_change(scopes->source, (uint32_t)events))
		until_us = 0;
	else
		sd_bus_get_timeout(scopes->bus, &until_us);
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_us = (uint64_t)now.tv_sec * US_A_SECOND + (uint64_t)now.tv_nsec / NS_A_US;
	if (until_us == UINT64_MAX)
		event_timer_arm(scopes->timer, 0, 0);
	else
		event_timer_arm(scopes->timer,
				until_us > now_us ? (until_us - now_us) * NS_A_US : 1, 0);
}

static void on_bus(void *context, uint32_t events)
{
	struct scopes *scopes = context;
	int r;

	if (!scopes->bus)
		return;
	do
		r = sd_bus_process(scopes->bus, NULL);
	while (r > 0);
	if (r < 0 || !sd_bus_is_open(scopes->bus))
		hang_up(scopes);
	else
		update(scopes);
}

/* JobRemoved(u id, o job, s unit, s result): the process is in its scope by now. */
static int on_job_removed(sd_bus_message *message, void *context, sd_bus_error *error)
{
	struct scopes *scopes = context;
	const char *job, *unit, *result;
	struct scope_start *start;

	if (sd_bus_message_read(message, "uoss", NULL, &job, &unit, &result) < 0)
		return 0;
	list_for_each(start, &scopes->starts, link)
	{
		if (strcmp(start->job, job) != 0)
			continue;
		if (strcmp(result, "done") != 0)
			fail(start, result);
		else
			finish(start, NULL);
		break;
	}
	return 0;
}

static int on_answer(sd_bus_message *message, void *context, sd_bus_error *error)
{
	const sd_bus_error *refusal = sd_bus_message_get_error(message);
	struct scope_start *start = context;
	const char *job;

	if (refusal)
		fail(start, refusal->message ? refusal->message : refusal->name);
	else if (sd_bus_message_read(message, "o", &job) < 0)
		fail(start, "its answer is none");
	else
		snprintf(start->job, sizeof(start->job), "%s", job);
	return 0;
}

static int open_bus(int fd, sd_bus **out)
{
	sd_bus *bus;
	int r;

	if (fd < 0 && sd_booted() <= 0)
		return -ENOENT;
	if (fd < 0)
		return geteuid() == 0 ? sd_bus_open_system(out) : sd_bus_open_user(out);
	r = sd_bus_new(&bus);
	if (r < 0)
		return r;
	r = sd_bus_set_fd(bus, fd, fd);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, 1);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*out = bus;
	return r;
}

static int connect_bus(struct scopes *scopes, int fd)
{
	int r = open_bus(fd, &scopes->bus);

	if (r < 0)
		return r;
	r = sd_bus_match_signal_async(scopes->bus, NULL, SERVICE, OBJECT, INTERFACE, "JobRemoved",
				      on_job_removed, NULL, scopes);
	if (r >= 0)
		r = event_loop_watch(scopes->loop, sd_bus_get_fd(scopes->bus), EPOLLIN, on_bus,
				     scopes, &scopes->source);
	if (r < 0)
		scopes->bus = sd_bus_close_unref(scopes->bus);
	else
		update(scopes);
	return r < 0 ? r : 0;
}

int scopes_open(struct event_loop *loop, int bus, struct scopes **out, struct error *why)
{
	struct scopes *scopes = calloc(1, sizeof(*scopes));
	int r;

	if (!scopes)
		return error_memory(why, "the scopes");
	scopes->loop = loop;
	list_init(&scopes->starts);
	r = event_loop_timer(loop, on_bus, scopes, &scopes->timer);
	if (!r)
		r = connect_bus(scopes, bus);
	if (r) {
		scopes_close(scopes);
		return error_set(why, -r,
				 "VMs have no scopes, since systemd is out of reach (%s); start "
				 "the system's, or the user's, message bus",
				 strerror(-r));
	}
	*out = scopes;
	return 0;
}

void scopes_close(struct scopes *scopes)
{
	struct scope_start *start;

	if (!scopes)
		return;
	list_for_each(start, &scopes->starts, link) scope_start_forget(start);
	event_source_remove(scopes->source);
	event_source_remove(scopes->timer);
	sd_bus_close_unref(scopes->bus);
	free(scopes);
}

static int append_limits(sd_bus_message *message, const struct resource_limits *limits,
			 unsigned int weight)
{
	uint64_t quota_us =
		limits->cpu_cap ? limits->cpu_cap * US_A_SECOND / CPU_PERCENT : NO_LIMIT;
	uint64_t memory = limits->memory_max ? limits->memory_max : NO_LIMIT;
	unsigned int io = limits->io_weight ? limits->io_weight : RESOURCE_WEIGHT_DEFAULT;

	return sd_bus_message_append(message, "(sv)(sv)(sv)(sv)", "CPUWeight", "t",
				     (uint64_t)weight, "CPUQuotaPerSecUSec", "t", quota_us,
				     "MemoryMax", "t", memory, "IOWeight", "t", (uint64_t)io);
}

/*
 * What is started later is stopped earlier when the host shuts down, so the scope's place is before
 * the daemon: that then stops the guests as their settings say.
 */
static int append_unit(sd_bus_message *message, const char *uuid, pid_t pid)
{
	char description[NAME_SIZE];
	int r;

	snprintf(description, sizeof(description), "Virtual machine %.64s", uuid);
	r = sd_bus_message_append(message, "(sv)(sv)(sv)(sv)", "Description", "s", description,
				  "Slice", "s", SLICE, "CollectMode", "s", "inactive-or-failed",
				  "PIDs", "au", 1, (uint32_t)pid);
	if (r >= 0 && geteuid() == 0)
		r = sd_bus_message_append(message, "(sv)", "Before", "as", 1, DAEMON_UNIT);
	return r;
}

static int new_call(struct scopes *scopes, const char *method, sd_bus_message **out)
{
	int r = scopes->bus ? 0 : connect_bus(scopes, -1);

	return r < 0 ? r
		     : sd_bus_message_new_method_call(scopes->bus, out, SERVICE, OBJECT, INTERFACE,
						      method);
}

static int call_start(struct scope_start *start, sd_bus_message *message, const char *uuid,
		      pid_t pid, const struct resource_limits *limits, unsigned int weight)
{
	int r = sd_bus_message_append(message, "ss", start->unit, "fail");

	if (r >= 0)
		r = sd_bus_message_open_container(message, 'a', "(sv)");
	if (r >= 0)
		r = append_unit(message, uuid, pid);
	if (r >= 0)
		r = append_limits(message, limits, weight);
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	if (r >= 0)
		r = sd_bus_message_append(message, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call_async(start->scopes->bus, &start->slot, message, on_answer, start,
				      ANSWER_US);
	return r < 0 ? r : 0;
}

int scope_start(struct scopes *scopes, const char *uuid, pid_t pid,
		const struct resource_limits *limits, unsigned int weight, scope_done done,
		void *context, struct scope_start **out)
{
	struct scope_start *start = calloc(1, sizeof(*start));
	sd_bus_message *message = NULL;
	int r;

	if (!start)
		return -ENOMEM;
	*start = (struct scope_start){.scopes = scopes, .done = done, .context = context};
	unit_name(start->unit, uuid, pid);
	r = new_call(scopes, "StartTransientUnit", &message);
	if (r >= 0)
		r = call_start(start, message, uuid, pid, limits, weight);
	sd_bus_message_unref(message);
	if (r) {
		free(start);
		return r;
	}
	list_append(&scopes->starts, &start->link);
	*out = start;
	update(scopes);
	return 0;
}

static int call_limit(struct scopes *scopes, sd_bus_message *message, const char *unit,
		      const struct resource_limits *limits, unsigned int weight)
{
	int r = sd_bus_message_append(message, "sb", unit, 1);

	if (r >= 0)
		r = sd_bus_message_open_container(message, 'a', "(sv)");
	if (r >= 0)
		r = append_limits(message, limits, weight);
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	if (r >= 0)
		r = sd_bus_send(scopes->bus, message, NULL);
	return r;
}

int scope_limit(struct scopes *scopes, const char *uuid, pid_t pid,
		const struct resource_limits *limits, unsigned int weight)
{
	sd_bus_message *message = NULL;
	char unit[NAME_SIZE];
	int r = new_call(scopes, "SetUnitProperties", &message);

	unit_name(unit, uuid, pid);
	if (r >= 0)
		r = call_limit(scopes, message, unit, limits, weight);
	sd_bus_message_unref(message);
	if (r < 0)
		return r;
	update(scopes);
	return 0;
}

bool scope_holds(const char *uuid, pid_t pid)
{
	char path[4096];
	char unit[NAME_SIZE];
	const char *last;

	if (cgroup_of_process(pid, path, sizeof(path)))
		return false;
	unit_name(unit, uuid, pid);
	last = strrchr(path, '/');
	return last && !strcmp(last + 1, unit);
}
