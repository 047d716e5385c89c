#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/guid.h"
#include "base/list.h"
#include "mgmt/vmms/access.h"
#include "mgmt/vmms/caller.h"

struct settings;
struct varlink_call;
struct vm;
struct vmms;

/*
 * A call of io.bulkhead.VMMS, from the moment that it is read until its last reply.  Whoever calls
 * may do so, and the VM is there, before the method's handler sees it.
 *
 * Calls that change a VM take turns, in the order they came: the next is handled when the one
 * before it is answered.  So nothing that a handler looked at changes under it while it waits for
 * others. Stopping a VM takes no turn: it ends what others wait for.  Loop thread.
 */

#define REQUEST_TURNS_MAX 64 /* of one VM; then Conflict */

struct request;

struct vmms_method {
	const char *name;
	enum access_right right;
	bool no_vm;   /* it means no VM: there is no parameter vm */
	bool turn;    /* it changes the VM */
	bool mutates; /* it leaves a line in the audit log */
	/* With read_only true it mutates nothing, and ACCESS_CONNECT is enough. */
	bool may_only_read;
	/* Must answer, now or later; vm is NULL for no_vm.  What it keeps of the VM over time is
	 * request_vm. */
	void (*handle)(struct request *request, struct vm *vm);
	const void *data; /* the handler's own */
};

struct request {
	struct list link; /* among the turns of its VM, then among the answers */
	struct vmms *vmms;
	struct varlink_call *call;
	const struct vmms_method *method;
	json_t *parameters;
	struct caller caller;	   /* who called */
	char uuid[GUID_TEXT_SIZE]; /* of its VM, or "" */
	char *error;		   /* its answer, once it has one: an error's name, or NULL */
	json_t *answer;
	int fd;	    /* that goes along, or -1 */
	bool noted; /* it has left its line in the audit log */
};

/* Whether its caller has the right to it still, and its VM is there: for what goes on for long. */
bool request_allowed(const struct request *request);

/* The handler of every method in the Varlink server's table, whose data is a struct vmms_method. */
void request_begin(void *vmms, struct varlink_call *call, const json_t *parameters);
/* And what such a call leaves in the audit log that does not fit the interface. */
void request_refused(void *vmms, const struct varlink_call *call, const json_t *parameters,
		     const char *error);

/* Sends the answers that were given.  They wait for the loop to come to them, so that no client's
 * next call is handled within the handler of another's. */
void request_flush(struct vmms *vmms);

/* The VM that it means: NULL where it was removed meanwhile. */
struct vm *request_vm(const struct request *request);

/* Has the next that waits for its turn with the VM begin, where nobody has it. */
void request_next_turn(struct vm *vm);

/* Fails all that wait for their turn with a VM that is removed, or whose daemon ends. */
void request_fail_turns(struct vm *vm, const char *why);

/* Text of a parameter, or NULL. */
const char *request_text(const struct request *request, const char *key);

/* A parameter in seconds, up to a year: otherwise where it is missing; -EINVAL. */
int request_seconds(const struct request *request, const char *key, unsigned int otherwise,
		    unsigned int *seconds);

/* A parameter that is a path, if it is there, is an absolute one: -EINVAL with err. */
int request_check_path(const struct request *request, const char *key, struct error *err);

/* The last answer, after which the request is gone.  Takes over reply (NULL: nothing to say). */
void request_reply(struct request *request, json_t *reply);
void request_reply_vm(struct request *request, const struct vm *vm);
/* The same with a descriptor, as varlink_reply_fd has it. */
void request_reply_fd(struct request *request, json_t *reply, int fd);

/* An answer that is not the last, to a client that takes more than one. */
void request_progress(struct request *request, json_t *reply);

/*
 * Fails it with the error of that name in the interface ("NotFound") and a sentence; more, taken
 * over, has the error's other members (NULL: none).
 */
void request_fail(struct request *request, const char *error, json_t *more, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* With WrongState of vm; format says what cannot be and what to do. */
void request_fail_state(struct request *request, const struct vm *vm, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* An answer that another service gave in place of ours. */
void request_fail_as(struct request *request, const char *error, json_t *parameters);
/* For settings that settings.h refuses with r and err; name is the VM's, or "". */
void request_fail_settings(struct request *request, const char *name, int r,
			   const struct error *err);

/* Notes the caller as the one who gave what settings have and old (NULL: none) have not, in place
 * of *settings; -errno once the request is failed, with *settings gone. */
int request_attach(struct request *request, const struct settings *old, const char *name,
		   struct settings **settings);

/* The settings that the caller's change makes of those of vm, with the caller as the one who gave
 * it what is new; NULL once the request is failed. */
struct settings *request_changed(struct request *request, const struct vm *vm,
				 const json_t *change);

/* For a handler that answers the call itself from now on: the request is gone, the call is not. */
void request_forget(struct request *request);
/* A parameter that is missing or wrong. */
void request_fail_parameter(struct request *request, const char *parameter);
