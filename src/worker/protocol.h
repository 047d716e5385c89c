#pragma once

/*
 * What the control socket carries between a worker and whoever started it: the one header that
 * both sides include.  JSON objects in the framing of base/json_link.h.
 *
 * The parent's first message is the configuration, and carries the descriptors:
 *
 *   {"name", "cpus", "memory" (bytes), "memory_room" (bytes that may be added), "cold_discard"
 * (free pages may be reported), "command_line", "stimer", "device_tree", "on_reset": "restart" |
 * "exit", "paused" (the guest waits for a resume), "vmbus_max_version", "kvm_fd", "kernel":
 * {"name", "fd"}, "initrd": {"name", "fd"} (optional), "trace_fd" (optional: an empty file for a
 * trace of the bus), "saved": {"state_fd", "memory_fd"} (optional: what the VM goes on from, paused
 * in any case), "faults" (optional: what base/fault_plan.h reads), "devices": [{"device":
 * NAME, ... as that device has it}, ...]}
 *
 * The names of kernel and initrd are for sentences: flag and path.
 *
 * A Generation 1 VM has "generation": 1, no kernel and no initrd, but "firmware": {"name", "fd"},
 * "boot_order" (optional), a list of what to boot from: "floppy", "network", and units of the IDE
 * controller, "ide0:0" to "ide1:1"; and "boot_menu_ms", for so long the firmware offers a menu (0
 * or missing: it does not).  Of a Generation 2 VM "generation" may be missing.
 *
 * Every integer under a key "fd" or "..._fd", or in a list under "fds", is an index into those
 * descriptors.  Where there are several devices of one kind, each has an "id".
 *
 * Afterwards the parent sends requests, {"request": NAME, "id": NUMBER, ...}, and the worker
 * answers each, once and in any order, with {"id": NUMBER, "reply": {...}} or {"id": NUMBER,
 * "error": SENTENCE}.  A management verb of a device (devices/device.h) is
 *
 *   {"request": "device", "id", "device": its id, or its name, "verb", "parameters": {...},
 *    "descriptors": how many come along (optional)}
 *
 * where descriptors stand in the parameters as above; the bus itself is the device "vmbus", and
 * PROTOCOL_MACHINE is whichever device has the verb.  Devices come and go by
 *
 *   {"request": "attach", "id", "config": {"device": NAME, "id", ...}, "descriptors"}
 *   {"request": "detach", "id", "device": its id}
 *
 * A VM is saved by
 *
 *   {"request": "save", "state_fd", "memory_fd", "descriptors": 2}
 *   {"request": "end-save", "keep": BOOLEAN}
 *
 * the first of which pauses it and is answered when both files, empty before, are on the disk; the
 * VM then rests until the second, which ends it where the files are kept, and else has it be as it
 * was.
 *
 * "nmi" has a "vp", 0 where it is missing.  "ping" has nothing to say but that the main loop runs.
 *
 * In between the worker sends events:
 *
 *   {"event": "ready"}                        the guest runs; nothing is opened from here on
 *   {"event": "crash", "message"}             the guest reported its crash, and goes on
 *   {"event": "device", "device", ...}        a device has something to say to its counterpart
 *   {"event": "end", "reason", "code", "message"}  the last word on the guest; the worker then
 * exits
 *   {"event": "output-lost", "bytes", "errno"}  after it: console output that nobody took
 *
 * A parent that closes the socket turns the VM off.
 */

#define PROTOCOL_CONTROL_FD  3
#define PROTOCOL_MESSAGE_MAX (16u << 20) /* an inspect tree of 64 VPs has one or two */
#define PROTOCOL_FDS_MAX     250	 /* fewer than the kernel passes at once */

/* What one VM may have. */
#define PROTOCOL_CPUS_MAX     64
#define PROTOCOL_MEMORY_MIN   (2ull << 20)
#define PROTOCOL_MEMORY_MAX   (1ull << 38)
#define PROTOCOL_MEMORY_ALIGN 4096
#define PROTOCOL_DISKS_MAX    64
#define PROTOCOL_NICS_MAX     8

/* Requests. */
#define PROTOCOL_PAUSE	  "pause"
#define PROTOCOL_RESUME	  "resume"
#define PROTOCOL_NMI	  "nmi"
#define PROTOCOL_DEVICE	  "device"
#define PROTOCOL_ATTACH	  "attach"
#define PROTOCOL_DETACH	  "detach"
#define PROTOCOL_STOP	  "stop"
#define PROTOCOL_INSPECT  "inspect"
#define PROTOCOL_COUNTERS "counters"
#define PROTOCOL_PING	  "ping"
#define PROTOCOL_SAVE	  "save"
#define PROTOCOL_END_SAVE "end-save"

/* Instead of a device's id. */
#define PROTOCOL_MACHINE "machine"

/* Why a VM ended: the "reason" of the last event, and of the CLI's JSON. */
#define PROTOCOL_END_POWER_OFF	"power-off"
#define PROTOCOL_END_RESET	"reset"
#define PROTOCOL_END_CRASH	"crash"
#define PROTOCOL_END_DEBUG_EXIT "debug-exit"
#define PROTOCOL_END_STOPPED	"stopped"
#define PROTOCOL_END_FAILED	"failed"
#define PROTOCOL_END_SAVED	"saved"
#define PROTOCOL_END_USAGE	"usage" /* the CLI's alone */

/* Exit codes of the worker and of `bulkhead run`. */
enum protocol_exit {
	EXIT_POWERED_OFF = 0,
	EXIT_VMM_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_GUEST_RESET = 3,
	EXIT_GUEST_CRASH = 4,
};
