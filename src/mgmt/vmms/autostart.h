#pragma once

#include <stdbool.h>

struct vm;
struct vmms;

/*
 * What the daemon starts of itself: VMs with the host, and VMs that crashed.  Loop thread.
 */

/*
 * Once every VM that runs is known: schedules those whose start action says so, in the first daemon
 * of each boot of the host.  Which that was, and which VMs ran when the host was shut down, is kept
 * in autostart.json of the state: {"boot_id", "ran": [UUID...]}.
 */
void autostart_begin(struct vmms *vmms);

/* Before the VMs are stopped for the host's shutdown: notes which of them run. */
void autostart_note(struct vmms *vmms);

/* The VM has ended; crashed: not as its guest or a user wanted. */
void autostart_ended(struct vm *vm, bool crashed);

/* Starts it of itself no more, until it ends the next time. */
void autostart_cancel(struct vm *vm);
