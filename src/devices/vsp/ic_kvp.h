#pragma once

#include "devices/vsp/ic_device.h"

/*
 * What the files of key-value exchange share: ic_kvp.c (the service, its queue), ic_kvp_items.c
 * (keys and values), ic_kvp_ip.c (the configuration of network adapters).  Main loop.
 */

#define KVP_CALLS_MAX 32u
/* What a list may bring back, however long the guest goes on. */
#define KVP_ITEMS_MAX 1024u

/* A management call, which takes one exchange with the guest, or many. */
struct kvp_call {
	struct list node; /* in the queue; the first one is under way */
	struct device_call *call;
	const char *what; /* for sentences */
	void *body;	  /* the message, malloc'ed */
	uint32_t size;
	/* Takes a good answer: true when the call is answered, false to send the body, which it
	 * may have changed, once more.  NULL: there is nothing to say but that it is done. */
	bool (*answered)(struct kvp_call *call, const struct ic_answer *answer);
	/* The guest has no more: answers the call.  NULL: that is a failure like others. */
	void (*exhausted)(struct kvp_call *call);
	json_t *items; /* of a list */
	uint8_t *key;  /* the one that is looked for, UTF-16, malloc'ed, or NULL */
};

/*
 * Queues a call, body and all: it takes over the struct, which is malloc'ed, and answers in any
 * case.
 */
void kvp_submit(void *device, struct kvp_call *call, const struct ic_version *since);
/* Makes one with an empty body of size bytes, NULL with call refused. */
struct kvp_call *kvp_call_new(struct device_call *call, const char *what, uint32_t size);
void kvp_call_free(struct kvp_call *call);
/* Refuses a call that was not submitted, and frees it. */
void kvp_call_refuse(struct kvp_call *call, const struct error *err);
