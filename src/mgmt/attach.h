#pragma once

#include "base/varlink.h"

/*
 * The methods that bring files to a running VM: they open them here, with the rights of the VM's
 * user, and pass the descriptors on.  The context is the supervisor.
 */
void attach_disk(void *context, struct varlink_call *call, const json_t *parameters);
void set_nic(void *context, struct varlink_call *call, const json_t *parameters);
void set_disk(void *context, struct varlink_call *call, const json_t *parameters);
void detach_disk(void *context, struct varlink_call *call, const json_t *parameters);
void change_medium(void *context, struct varlink_call *call, const json_t *parameters);
