#pragma once

#include <semaphore.h>

#include <jansson.h>

#include "base/io_thread.h"
#include "devices/device.h"
#include "devices/vsp/ic_wire.h"
#include "vsc_bus.h"

/*
 * The drivers of the integration components in the software guest, and the management that calls
 * the host's side.  What must not fail ends the program by a sentence.
 */

struct vsc_ic {
	struct vsc *vsc;
	void *device;
	struct io_thread *io_thread;
	uint8_t *packet; /* being built or received */
};

/* Makes the machine and the device that config (JSON, taken over; NULL: all of it) describes, and
 * connects to the bus. */
void vsc_ic_start(struct vsc_ic *ic, json_t *config);
void vsc_ic_stop(struct vsc_ic *ic);
/* Runs one of device_ops' functions on the main loop. */
void vsc_ic_run(struct vsc_ic *ic, void (*function)(void *device));

/* Opens the channel of a component: "shutdown", "timesync" ... */
void vsc_ic_open(struct vsc_ic *ic, const char *name, struct vsc_channel *channel);

/* A request as it came. */
struct vsc_ic_request {
	struct ic_header header;
	uint32_t size; /* of the body */
	uint8_t body[8192];
};

/* Waits for the host's next request; with wait false, false if there is none. */
bool vsc_ic_receive(struct vsc_ic *ic, struct vsc_channel *channel, bool wait,
		    struct vsc_ic_request *request);
/* Answers it, with the body as it is in request by then. */
void vsc_ic_answer(struct vsc_ic *ic, struct vsc_channel *channel,
		   const struct vsc_ic_request *request, uint32_t status);
/* The same with nothing filled in: any header, any size. */
void vsc_ic_send(struct vsc_ic *ic, struct vsc_channel *channel, const void *payload,
		 uint32_t size);

/* Takes the host's offer of versions and agrees to these two; returns whether they were on offer.
 */
bool vsc_ic_negotiate(struct vsc_ic *ic, struct vsc_channel *channel, struct ic_version framework,
		      struct ic_version version);
/* Both: opens it, and agrees to a version. */
void vsc_ic_connect(struct vsc_ic *ic, const char *name, struct ic_version version,
		    struct vsc_channel *channel);

/* A management call. */
struct vsc_ic_call {
	struct device_call call;
	struct vsc_ic *ic;
	sem_t answered;
	json_t *reply; /* NULL: refused */
	char sentence[512];
};

/* Begins one; parameters are taken over. */
void vsc_ic_call(struct vsc_ic *ic, struct vsc_ic_call *call, const char *verb, json_t *parameters);
/* Whether it is answered already. */
bool vsc_ic_answered(struct vsc_ic_call *call);
/* Waits for its end; whether it was not refused.  The reply is then the caller's. */
bool vsc_ic_wait(struct vsc_ic_call *call);

/* What the host says of a component. */
json_t *vsc_ic_report(struct vsc_ic *ic, const char *name);
/* Waits until the number of that name in it is at least this. */
void vsc_ic_wait_count(struct vsc_ic *ic, const char *name, const char *key, json_int_t count);
