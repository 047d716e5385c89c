#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/json_link.h"

/*
 * Tries out what this host's KVM and kernel can do for us.  `bulkhead doctor` starts the worker
 * program for it, since only that may speak to KVM.
 */

enum probe_verdict {
	PROBE_OK,
	PROBE_FAILED,
	PROBE_NOT_HERE, /* not tried: the processor does not have it, or there is no KVM */
};

/* What cannot be done on a host where the check fails. */
enum probe_need {
	PROBE_FOR_PAYLOADS, /* any VM at all */
	PROBE_FOR_LINUX,    /* an ordinary Linux userland in one */
	PROBE_FOR_DISKS,
	PROBE_OPTIONAL,
};

struct probe_finding {
	enum probe_verdict verdict;
	char detail[160]; /* what was seen */
};

struct probe_check {
	const char *name;
	const char *title; /* for people */
	enum probe_need need;
	const char *remedy; /* what to do where it fails; "" where nothing need be done */
	void (*run)(int kvm_fd, struct probe_finding *finding);
};

/* The checks of KVM, each in a VM and process of its own, and those of the host's kernel; ended by
 * a NULL name. */
extern const struct probe_check probe_kvm_checks[];
extern const struct probe_check probe_host_checks[];

/* Fills in a finding. */
void probe_say(struct probe_finding *finding, enum probe_verdict verdict, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Answers the one message of the control socket, {"kvm_fd": 0} or {} without a descriptor where
 * /dev/kvm could not be opened, with all findings:
 *
 *   {"payloads", "linux_userland", "disks": booleans,
 *    "kvm_error": why the descriptor is of no use, or "",
 *    "checks": [{"name", "title", "needed_for", "ok": true | false | null, "detail", "remedy"}]}
 *
 * Returns the process's exit code.
 */
int probe_serve(struct json_link *link);
