#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/event_loop.h"

/*
 * The daemon's end of one supervisor (which looks after its worker's pulse itself): watches the VM,
 * and calls methods of io.bulkhead.VM, each on a connection of its own, so that a slow one holds up
 * no other.  Nothing waits.  Loop thread.
 */

#define VM_LINK_CALLS_MAX 32 /* in hand at a time; a supervisor serves 64 connections */

struct vm_link;
struct vm_call;

struct vm_link_handlers {
	/* What Watch says, the VM's state first; borrowed. */
	void (*event)(void *context, const json_t *event);
	/* The supervisor has not answered for VM_LINK_SILENCE_S; later false: it does again. */
	void (*hung)(void *context, bool hung);
};

#define VM_LINK_SILENCE_S 10

/*
 * Begins to watch the VM whose socket is at path, again and again where that breaks, until the link
 * is freed.  -ENOMEM and the like; a supervisor that cannot be reached is no error.
 */
int vm_link_new(struct event_loop *loop, const char *path, const struct vm_link_handlers *handlers,
		void *context, struct vm_link **out);

/* Answers all calls in hand with an error.  NULL is allowed. */
void vm_link_free(struct vm_link *link);

/*
 * One answer, borrowed: reply, or an error with its parameters in place of it, which is
 * VARLINK_PEER_GONE where the supervisor ended or could not be reached.  continues: more follow.
 */
typedef void (*vm_call_done)(void *context, const json_t *reply, const char *error,
			     const json_t *parameters, bool continues);

/*
 * Calls a method ("Pause"); takes over parameters (NULL: none).  done is called later, never from
 * within.  -EBUSY with too many calls in hand, -errno where the supervisor cannot be reached,
 * -ENOMEM: done is not called then.  out may be NULL.
 */
int vm_link_call(struct vm_link *link, const char *method, json_t *parameters, bool more,
		 vm_call_done done, void *context, struct vm_call **out);

/* The same with count descriptors (duplicated). */
int vm_link_call_fds(struct vm_link *link, const char *method, json_t *parameters, const int *fds,
		     unsigned int count, vm_call_done done, void *context);

/* Hangs up: done is not called any more. */
void vm_call_forget(struct vm_call *call);

/* Takes no more replies until it is called with false. */
void vm_call_hold(struct vm_call *call, bool hold);

/* A descriptor that came with the reply in hand, now the caller's, or -1; within done only. */
int vm_call_take_fd(struct vm_call *call);

/* The sentence of an error's parameters, or of the error itself; borrowed. */
const char *vm_call_message(const char *error, const json_t *parameters);
