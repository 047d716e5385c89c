#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * After a guest has reported its crash: has it come to rest, or does a crash kernel run?
 *
 * The guest goes on after its report, so that it can write a dump, and ends the VM by a reset
 * or power-off.  One that only spins (Linux with panic=0) never does, so a guest also counts as at
 * rest when for CRASH_QUIET_SECONDS it did nothing that a VMM sees.
 *
 * What is left between a report and a kexec takes no seconds without a port or a hypercall: Linux
 * says its last words and stops its processors.  Then it takes back its GUEST_OS_ID, to make way
 * for the next kernel (arch/x86/kernel/cpu/mshyperv.c, hv_machine_crash_shutdown; hyperv_cleanup).
 * That one checks its image, unpacks itself and starts without a word: it has until
 * CRASH_KERNEL_QUIET_SECONDS, and once it has connected to the VMBus, it ends by itself.
 * One tick a second, of a VM that runs.
 */

#define CRASH_QUIET_SECONDS	   10
#define CRASH_KERNEL_QUIET_SECONDS 60

/* What a VMM sees of a guest. */
struct crash_signs {
	uint64_t activity;  /* ports, MMIO, hypercalls and doorbells: it only changes */
	uint64_t farewells; /* how often GUEST_OS_ID was taken back */
	bool bus_connected;
};

struct crash_watch {
	bool reported;
	bool handed_over;  /* to a new kernel */
	bool bus_was_down; /* the crashed kernel has let go of the VMBus, or never had it */
	bool taken_over;   /* the new kernel has the VMBus */
	unsigned int quiet_seconds;
	struct crash_signs signs; /* at the last tick */
};

/*
 * The guest reported a crash.  True when the wait starts (anew: a kernel that had taken over
 * crashed too); a report repeated by the kernel that crashed is no sign of life.
 */
bool crash_watch_report(struct crash_watch *watch, const struct crash_signs *signs);

/* One second later; true when the guest is at rest. */
bool crash_watch_tick(struct crash_watch *watch, const struct crash_signs *signs);

/*
 * How many reports the owner is told of: enough for a kernel that dies over its own death (Linux
 * reports once or twice), and no more than one a second for a guest that never ends reporting.
 */
#define CRASH_REPORTS_AT_ONCE 8

struct crash_reports {
	unsigned int told; /* that count against the limit */
	uint64_t since_ns; /* from when on one a second is forgotten */
};

/* Whether to tell of a report that comes now, on any clock that does not go back. */
bool crash_reports_tell(struct crash_reports *reports, uint64_t now_ns);
