#pragma once

#include "base/error.h"
#include "base/json_link.h"
#include "mgmt/console.h"
#include "mgmt/display.h"
#include "mgmt/nics.h"
#include "mgmt/remote_disks.h"
#include "mgmt/run_options.h"
#include "mgmt/saved_state.h"
#include "mgmt/trace_files.h"
#include "mgmt/vm_files.h"

/* Sends the worker its configuration and descriptors, as worker/protocol.h has it; all of ours
 * stay open.  -errno with err. */
int run_config_send(struct json_link *link, const struct run_options *options,
		    const struct vm_files *files, const struct nics *nics,
		    const struct remote_disks *remotes, const struct display *display,
		    const struct console *console, const struct trace_files *traces,
		    const struct saved_state_files *saved, struct error *err);
