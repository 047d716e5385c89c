#pragma once

#include "base/error.h"
#include "mgmt/run_options.h"
#include "mgmt/vm_files.h"

struct varlink_call;

/* The files that a VM's bus, NICs and firmware are recorded in: made with the caller's rights,
 * written by the worker. */
struct trace_files {
	int vmbus;		      /* -1 for none */
	int pcaps[PROTOCOL_NICS_MAX]; /* the same */
	int firmware;		      /* the same */
};

#define TRACE_FILES_NONE                                                                           \
	{                                                                                          \
		-1, {-1, -1, -1, -1, -1, -1, -1, -1}, -1                                           \
	}

/* Opens them, locked; those that are there lose what they had, but only if all can be opened.
 * -errno with a sentence that names the option; nothing then stays open. */
int trace_files_open(const struct run_options *options, const struct vm_files *files,
		     struct trace_files *traces, struct error *err);
void trace_files_close(struct trace_files *traces);

/* The Varlink method StartTrace. */
void start_trace(void *context, struct varlink_call *call, const json_t *parameters);
