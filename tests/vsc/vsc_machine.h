#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "vmm/hv.h"
#include "vmm/hv_ports.h"
#include "vsc_bus.h"

/* What the files of this library share. */

struct vsc {
	struct vsc_config config;
	struct gpa_space *gpa;
	struct io_bus *ports;
	struct irq_controller *irq;
	struct hv_partition *hv;
	struct event_loop *loop;
	pthread_t loop_thread;
	struct vmbus *bus;

	/* The guest. */
	uint64_t next_page;
	uint64_t input_page; /* for hypercalls */
	uint64_t *simp;	     /* per VP */
	uint64_t *siefp;
	uint32_t version;
	uint32_t connection_id;
	unsigned int message_vp;
	unsigned int sint;
	uint32_t next_gpadl;
	uint32_t next_open_id;
	struct vmbus_offer_channel offers[VMBUS_CHANNELS_MAX + 1]; /* by relid; type 0: none */
	bool rescinded[VMBUS_CHANNELS_MAX + 1];
};

/* Ends the program: the host, or the test, did what it must not. */
_Noreturn void vsc_fail(const char *sentence);

/* A wait that sleeps a little longer each time and fails at the time-out. */
struct vsc_wait {
	unsigned int turns;
	struct timespec start;
};
void vsc_pause(struct vsc_wait *wait, const char *sentence);
