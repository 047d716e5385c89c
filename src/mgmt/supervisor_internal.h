#pragma once

#include "base/list.h"
#include "base/varlink.h"
#include "mgmt/supervisor.h"
#include "mgmt/vm_watch.h"

/*
 * What the parts of the supervisor share: supervisor.c (the worker's life), supervisor_events.c
 * (what it says), supervisor_request.c (what it is asked), supervisor_pulse.c (whether it answers
 * at all).
 */

struct supervisor {
	const struct supervisor_config *config;
	struct supervisor_outcome *outcome;
	struct event_loop *loop;
	struct event_source *worker_source;
	struct event_source *pid_source;
	struct event_source *signal_source;
	struct event_source *kill_timer;
	struct varlink_server *varlink;
	struct vm_watch *watch;
	struct file_feeds *feeds;
	int signal_fd;
	struct list requests;
	json_int_t last_id;
	bool stopping;
	bool saving;
	uint64_t asked_ns;  /* when a signal or the key first asked for the end; 0: none did */
	int signal;	    /* that ended the VM, 0 for none */
	const char *killed; /* why we killed the worker; NULL if we did not */
	bool stuck;	    /* it was killed and is still there */
	bool ready;	    /* the worker has said so */
	bool more;	    /* of what it said waits for its turn */
	unsigned int told;  /* events not paid for yet, and since when */
	uint64_t told_since;
	struct event_source *pulse_timer;
	bool pinged;	    /* and it has yet to answer */
	unsigned int beats; /* of the pulse that it has been silent for */
	char why[64];	    /* room for the reason above */
};

/* supervisor_request.c */
extern const char supervisor_is_ending[]; /* the answer to who asks too late */
static inline struct json_link *supervisor_link(struct supervisor *supervisor)
{
	return supervisor->config->worker->link;
}

/* Waits for what the worker's socket is ready for now. */
void supervisor_rewatch(struct supervisor *supervisor);
/* A request that is no more than its name. */
int supervisor_ask(struct supervisor *supervisor, const char *name, supervisor_reply done,
		   void *context);
/* The worker's message that is no event. */
void supervisor_take_reply(struct supervisor *supervisor, json_t *message);
/* There will be no more answers. */
void supervisor_answer_rest(struct supervisor *supervisor);

/* supervisor_pulse.c: begins once the guest runs; -errno. */
int supervisor_begin_pulse(struct supervisor *supervisor);

/* supervisor_told.c: whether one more event of the worker's may be told to everybody.  What guests
 * and workers have to say fills no log, and drives no other VM's events out of the daemon. */
bool supervisor_may_tell(struct supervisor *supervisor);

/* supervisor_events.c: what the worker says. */
/* Handles what it has said; 0, or why nothing more will come. */
int supervisor_read_worker(struct supervisor *supervisor);
/* The same, all of it: the worker has ended. */
void supervisor_read_rest(struct supervisor *supervisor);
/* Its socket is ready. */
void supervisor_on_worker(void *context, uint32_t events);
/* Output of the guest's could not be written: so many bytes, for that errno or 0. */
void supervisor_lose_output(struct supervisor_outcome *outcome, uint64_t bytes, int errnum);

/* supervisor_save.c: the guest is back from where it was saved, and goes on once nobody else can
 * start from there. */
void supervisor_restored(struct supervisor *supervisor);

/* supervisor.c */
/* The VM is in another phase, of which those who watch are told by that event, unless it stops. */
void supervisor_enter(struct supervisor *supervisor, enum vm_phase phase, const char *event);
/* The worker has so long to end by itself. */
void supervisor_expect_end(struct supervisor *supervisor);
/* Tells an event, with a sentence, to those who watch and on standard error. */
void supervisor_announce(struct supervisor *supervisor, const char *event, const char *sentence);
/* The first reason is the one that is told: "the worker WHY". */
void supervisor_kill_worker(struct supervisor *supervisor, const char *why);
