#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/hv.h"

/* The synthetic interrupt controller (TLFS): messages and event flags from the host to a VP. */

#define HV_SINT_COUNT	   16
#define HV_SYNIC_QUEUE_MAX 1024 /* messages waiting a SINT */

/*
 * Queues a message for the SINT's slot and delivers it when the slot is free; order is kept a
 * SINT, and none is lost: retried at EOM.  -ENOBUFS when HV_SYNIC_QUEUE_MAX wait already, -EINVAL
 * for a bad size.  A SynIC or SIMP that is disabled keeps the message waiting.  Any thread.
 */
int hv_synic_post(struct hv_vp *vp, unsigned int sint, uint32_t message_type, uint64_t sender,
		  const void *payload, size_t size);
/* How many messages wait (not yet in the slot). */
unsigned int hv_synic_waiting(struct hv_vp *vp, unsigned int sint);
/* Drops the messages that wait, those of synthetic timers aside: nobody is left who would
 * understand them.  Any thread. */
void hv_synic_discard(struct hv_vp *vp, unsigned int sint);

/*
 * Sets a bit (0-2047) in the SINT's event flags and interrupts the VP if it was clear.
 * -ENXIO while the SynIC, SIEFP or SINT cannot take it.  Lock-free, any thread.
 */
int hv_synic_signal(struct hv_vp *vp, unsigned int sint, unsigned int flag);

/* The eventfd that the SINT's interrupts are raised by, or -1 before it has a vector; for tests,
 * which wait on it where there is no KVM to. */
int hv_synic_interrupt_fd(struct hv_vp *vp, unsigned int sint);
