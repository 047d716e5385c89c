#pragma once

#include <jansson.h>

#include "base/error.h"
#include "mgmt/nic_options.h"
#include "worker/protocol.h"

/* Settings in the words of `bulkhead run`, for the VM's supervisor. */

struct settings;

/* Descriptors that the supervisor inherits, by their numbers there: of each NIC on a switch, in the
 * order of settings_nics, a queue each. */
struct launch_files {
	struct {
		int fds[NIC_QUEUES_MAX];
		unsigned int count;
	} nics[PROTOCOL_NICS_MAX];
};

/*
 * The words, without a program's name, and NULL after the last; free them by
 * settings_arguments_free.  -EINVAL where a NIC on a switch has no descriptor, -ENOMEM; with err.
 */
int settings_arguments(const struct settings *settings, const struct launch_files *files,
		       char ***arguments, struct error *err);
/* NULL is allowed. */
void settings_arguments_free(char **arguments);

/*
 * What --nic, or AttachNic of io.bulkhead.VM, takes for one of settings_nics; fds are those of its
 * switch.  NULL: no memory.
 */
char *settings_nic_spec(const json_t *nic, const int *fds, unsigned int count);
