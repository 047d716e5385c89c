#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "devices/device.h"
#include "devices/vsp/ic_timer.h"
#include "devices/vsp/ic_wire.h"

/*
 * What the integration components share: an offer each, the agreement on versions, and one
 * transaction at a time.  The host asks, the guest answers.
 *
 * A component lives on the main loop, with all of its state and timers; the I/O thread only carries
 * its packets, between the rings and two boxes of one packet each.  An answer that was not asked
 * for, has another number or no sound header is counted and dropped.
 *
 * The one lock, per component, guards its boxes: a leaf.
 */

/* The largest answer that is looked at. */
#define IC_PACKET_MAX	8192u
#define IC_VERSIONS_MAX 8u

struct ic;

/* A guest's answer, in private memory, until the return of what is called with it. */
struct ic_answer {
	uint32_t status; /* IC_S_ or IC_E_ */
	const uint8_t *body;
	uint32_t size;
};

/*
 * The end of a transaction: result 0 with an answer, or, with NULL, -ETIMEDOUT; -ECONNRESET when
 * the guest closed the channel.  The next one may be begun at once.
 */
typedef void (*ic_done)(struct ic *ic, int result, const struct ic_answer *answer);

/* A component; all are called on the main loop, and all but init may be NULL. */
struct ic_ops {
	const char *name;
	struct guid class_id;
	struct guid instance_id;
	uint16_t message_type;
	const struct ic_version *versions; /* the highest first */
	unsigned int version_count;
	/* The guest's side looks only when it is interrupted, whatever its mask says (Linux
	 * tools/hv/hv_fcopy_uio_daemon.c). */
	bool interrupt_always;
	size_t size; /* of the component, which begins with struct ic */

	/* Makes what cleanup takes down; -errno. */
	int (*init)(struct ic *ic);
	void (*cleanup)(struct ic *ic);
	/* The versions are agreed. */
	void (*ready)(struct ic *ic);
	/* The eventfd was signalled, for an inbox or something of the component's own. */
	void (*woken)(struct ic *ic);
	/* The channel was closed; the transaction has failed. */
	void (*closed)(struct ic *ic);
	/* The VM goes on after so much time in which it stood still. */
	void (*resumed)(struct ic *ic, uint64_t paused_ns);
	/* A component's timers stop and go on. */
	void (*hold)(struct ic *ic, bool held);
	/* Its own part of the node. */
	void (*save)(struct ic *ic, struct state_writer *writer);
	int (*restore)(struct ic *ic, const struct state_node *node);
	/* Adds what it has to say to the service's status. */
	void (*report)(struct ic *ic, json_t *report);
};

enum ic_state {
	IC_CLOSED,
	IC_NEGOTIATING,
	IC_READY,
	IC_REFUSED, /* the guest's side knows none of the versions */
	IC_STATES,
};

struct ic_box {
	uint8_t *data; /* malloc'ed; NULL: empty */
	uint32_t size;
};

struct ic_counters {
	uint64_t requests;
	uint64_t answers;
	uint64_t timeouts;
	_Atomic uint64_t unexpected; /* answers that were dropped; the I/O thread counts too */
};

struct ic {
	const struct ic_ops *ops;
	const struct device_env *env;
	struct vmbus_offer *offer;
	struct channel *channel; /* NULL while closed */
	int wakeup;		 /* eventfd: there is something in an inbox */
	const bool *paused;	 /* of all components; the I/O thread's */
	enum ic_state state;
	struct ic_version framework, version; /* agreed */
	unsigned int version_first;	      /* of the ops' versions that are offered */

	/* The transaction under way. */
	ic_done done; /* NULL: none */
	uint16_t type;
	uint8_t transaction_id; /* of it, or the last one */
	struct ic_timer timeout;
	struct ic_counters counters;

	pthread_mutex_t lock;
	struct ic_box outbox, inbox;
};

/* Makes an offer of it to the guest; ops, env, wakeup and paused are set.  Unwound by ic_cleanup.
 */
int ic_init(struct ic *ic, struct error *err);
void ic_cleanup(struct ic *ic);

/*
 * Begins a transaction of the component's message type with a copy of the body; timeout_ns 0: it
 * may take any time.  done is called in any case, but where this fails: -ENOTCONN unless ready,
 * -EBUSY with another under way, -ENOMEM.
 */
int ic_request(struct ic *ic, const void *body, uint32_t size, uint64_t timeout_ns, ic_done done);
/* Has nobody wait for the answer any more; done is not called. */
void ic_forget(struct ic *ic);

/* Whether the agreed version is at least this. */
bool ic_version_at_least(const struct ic *ic, uint16_t major, uint16_t minor);

/* Takes what is in the inbox. */
void ic_receive(struct ic *ic);
/* As quiesce and unquiesce have it, timers only. */
void ic_hold(struct ic *ic, bool held);

#define IC_STATE_VERSION 1
void ic_save(struct ic *ic, struct state_writer *writer);
int ic_restore(struct ic *ic, const struct state_node *parent);
/* The service's status; NULL: no memory. */
json_t *ic_report(struct ic *ic);

/* Why a component that is not ready does not work: fills err, and returns its -errno. */
int ic_not_ready(const struct ic *ic, struct error *err);
/* One sentence for each end of a transaction, as done has it; 0 if it is none of failure.  what:
 * what the guest was asked for ("the freeze"). */
int ic_failure(int result, const struct ic_answer *answer, const char *what, struct error *err);

/* The components. */
extern const struct ic_ops ic_shutdown;
extern const struct ic_ops ic_timesync;
extern const struct ic_ops ic_heartbeat;
extern const struct ic_ops ic_kvp;
extern const struct ic_ops ic_vss;
extern const struct ic_ops ic_fcopy;
