#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/hv.h"

/*
 * What the guest asked for, on its way from VP threads to the main loop: each kind is remembered
 * until it is taken, and an eventfd wakes the loop.  Nothing is allocated, so nothing is lost.
 */

enum guest_event {
	GUEST_FAILED,	  /* KVM cannot go on */
	GUEST_CRASH,	  /* a crash report; the guest goes on */
	GUEST_DEBUG_EXIT, /* the test payload's code */
	GUEST_POWER_OFF,
	GUEST_RESET,
	GUEST_EVENTS,
};

struct guest_events {
	int eventfd;
	pthread_mutex_t lock; /* a leaf: guards all below */
	unsigned int pending; /* bits of enum guest_event */
	uint8_t debug_code;
	char sentence[256];
	struct hv_crash crash;
	uint64_t crashes; /* reports, taken or not */
};

/* -errno. */
int guest_events_init(struct guest_events *events);
void guest_events_destroy(struct guest_events *events);

/* Any thread; the first sentence, crash and code that were not taken yet count. */
void guest_events_raise(struct guest_events *events, enum guest_event event);
void guest_events_raise_failed(struct guest_events *events, const char *sentence);
void guest_events_raise_crash(struct guest_events *events, const struct hv_crash *crash);
void guest_events_raise_debug_exit(struct guest_events *events, uint8_t code);

/* Takes the most important event that waits; false when none does.  What came with it may be read
 * until the next raise of its kind.  Main loop. */
bool guest_events_take(struct guest_events *events, enum guest_event *event);

/* The last crash, which the guest may report anew meanwhile, and how many reports came.  Any
 * thread. */
void guest_events_read_crash(struct guest_events *events, struct hv_crash *crash);
uint64_t guest_events_crashes(struct guest_events *events);

/* Forgets what waits: it was said by a guest that has been reset since. */
void guest_events_clear(struct guest_events *events);
