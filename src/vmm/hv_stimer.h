#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"

/* Synthetic timers (TLFS 12.3), four a VP. */

struct hv_vp;
struct stimer;

/* Periods below this are stretched to it: a guest must not keep the thread busy for nothing. */
#define STIMER_PERIOD_MIN 2000u /* 200 us, in reference time */

void stimer_init(struct hv_vp *vp);
void stimer_fini(struct hv_vp *vp);
/* VP's lock held. */
void stimer_reset(struct hv_vp *vp);

/* CONFIG (even index) and COUNT (odd) of the VP's timers.  VP thread. */
bool stimer_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value);
bool stimer_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value);

/* The timer's deadline has come; the timer thread, no lock held. */
void stimer_fire(struct stimer *timer);

/* The SynIC is about to deliver, or has delivered, the timer's message; VP's lock held. */
void stimer_stamp(struct stimer *timer);
void stimer_delivered(struct stimer *timer);

/* Paused, VP's lock held.  Restore wants the SynIC restored first: messages that wait are its. */
void stimer_save(struct hv_vp *vp, struct state_writer *writer);
int stimer_restore(struct hv_vp *vp, const struct state_node *node);
