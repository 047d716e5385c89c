#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "mgmt/console.h"
#include "mgmt/run_options.h"
#include "mgmt/worker_spawn.h"

struct varlink_call;
struct file_feeds;
struct hotplug;

/*
 * The parent of one worker: passes its configuration, hears its events, serves its Varlink socket
 * and the signals of its user, until the worker has ended.
 */

struct supervisor;

/* How it ended. */
struct supervisor_outcome {
	int code;	       /* exit code of the CLI */
	bool started;	       /* the guest ran */
	char reason[32];       /* PROTOCOL_END_... */
	char message[8192];    /* a sentence, or "" */
	char crash[8192];      /* the guest's crash reports, or "" */
	bool line_open;	       /* the console left an unfinished line on standard output */
	uint64_t console_lost; /* bytes that could not be written */
	int console_error;     /* errno of the write that failed; 0: the guest did not wait */
};

/*
 * The host's side of a device that needs one: opens sockets for it, say.  All on the loop's thread.
 */
struct supervisor_part {
	const char *device; /* its id, or name, as worker/protocol.h has it */
	bool family;	    /* it serves all whose id begins so */
	/* Before the loop runs. */
	int (*start)(void *context, struct supervisor *supervisor, struct event_loop *loop);
	/* The device said something; may be NULL. */
	void (*event)(void *context, const json_t *event);
	/* After the loop; also when start failed or never came. */
	void (*stop)(void *context);
	void *context;
};

struct supervisor_config {
	const char *name;
	struct spawned_worker *worker; /* configured already; waited for by supervisor_run */
	struct console *console;
	int listen_fd; /* the VM's socket */
	const struct supervisor_part *parts;
	unsigned int part_count;
	struct hotplug *hotplug; /* NULL: nothing can be attached but disks */
	int saved_directory;	 /* where the VM is saved, or was; -1: nowhere */
	bool restored;		 /* it was, and goes on from there */
	/* By a daemon: nobody is at a terminal, so of all signals only SIGTERM asks for the end. */
	bool managed;
	/* How often the worker is asked whether it is still there; told when it misses 5 answers,
	 * and killed when it misses 30.  0: never. */
	unsigned int pulse_ms;
	/* The outcome is known, and those who watch have yet to hear it; NULL: nobody waits. */
	void (*ended)(void *context, const struct supervisor_outcome *outcome);
	void *context;
};

/* Prints a sentence about the VM to standard error, as console_message does, and tells it to those
 * who watch. */
void supervisor_tell(struct supervisor *supervisor, const char *sentence);

/* Runs until the worker is gone; fills *outcome.  -errno with err when it could not start. */
int supervisor_run(const struct supervisor_config *config, struct supervisor_outcome *outcome,
		   struct error *err);

/*
 * Has a verb of a device called (devices/device.h).  Takes over parameters, where integers under
 * "fd" and the like are indices into the count descriptors in fds (duplicated; the caller keeps its
 * own).  done, which may be NULL, gets the reply, or NULL and a sentence; it is not called from
 * within.  -EPIPE when the VM is ending, -EBUSY while descriptors sent before wait for the worker
 * to take them, -ENOMEM: done is not called then.
 */
typedef void (*supervisor_reply)(void *context, const json_t *reply, const char *error);
int supervisor_call_device(struct supervisor *supervisor, const char *device, const char *verb,
			   json_t *parameters, const int *fds, unsigned int count,
			   supervisor_reply done, void *context);

/* A request of worker/protocol.h, with its descriptors; takes over message.  As above. */
int supervisor_request(struct supervisor *supervisor, json_t *message, const int *fds,
		       unsigned int count, supervisor_reply done, void *context);
struct hotplug *supervisor_hotplug(const struct supervisor *supervisor);

/* For the Varlink methods Pause, Resume and Watch. */
void supervisor_pause(struct supervisor *supervisor, struct varlink_call *call);
void supervisor_resume(struct supervisor *supervisor, struct varlink_call *call);
void supervisor_watch(struct supervisor *supervisor, struct varlink_call *call);

/* The Varlink method Save. */
void save_vm(void *context, struct varlink_call *call, const json_t *parameters);

/* NULL: the VM has no console for clients of its socket. */
struct console_ring *supervisor_console(const struct supervisor *supervisor);

/* For the Varlink method Kill: turns the VM off as SIGTERM does, and answers call. */
void supervisor_kill(struct supervisor *supervisor, struct varlink_call *call);

/* For the Varlink methods: answers call with what the worker replies to a request, or to a verb of
 * a device; parameters is borrowed. */
void supervisor_forward(struct supervisor *supervisor, struct varlink_call *call,
			const char *request);
/* A request with more than its name (worker/protocol.h); takes over message. */
void supervisor_forward_message(struct supervisor *supervisor, struct varlink_call *call,
				json_t *message);
void supervisor_forward_verb(struct supervisor *supervisor, struct varlink_call *call,
			     const char *device, const char *verb, const json_t *parameters);
/* The same with descriptors, as supervisor_call_device has them; takes over parameters. */
void supervisor_forward_files(struct supervisor *supervisor, struct varlink_call *call,
			      const char *device, const char *verb, json_t *parameters,
			      const int *fds, unsigned int count);
/* The context of the part of that device, or NULL. */
void *supervisor_part_context(const struct supervisor *supervisor, const char *device);
struct event_loop *supervisor_loop(const struct supervisor *supervisor);
/* The files of the user's that are being read. */
struct file_feeds *supervisor_feeds(const struct supervisor *supervisor);
const char *supervisor_name(const struct supervisor *supervisor);
