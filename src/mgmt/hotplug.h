#pragma once

#include "base/varlink.h"
#include "mgmt/controller.h"
#include "mgmt/nics.h"
#include "mgmt/remote_disks.h"

/*
 * Devices that come and go while a VM runs: NICs and storage controllers.  The methods' context is
 * the supervisor; what fails leaves nothing behind.
 */

struct hotplug {
	struct nics *nics;
	struct remote_disks *remotes;
	bool pause_when_full;		   /* what a new controller's disks do */
	bool controllers[CONTROLLERS_MAX]; /* but for the first: which there are */
};

void hotplug_attach_nic(void *context, struct varlink_call *call, const json_t *parameters);
void hotplug_detach_nic(void *context, struct varlink_call *call, const json_t *parameters);
void hotplug_attach_controller(void *context, struct varlink_call *call, const json_t *parameters);
void hotplug_detach_controller(void *context, struct varlink_call *call, const json_t *parameters);

/* The device that parameters mean by "controller": "scsi" where they name none, or NULL. */
const char *hotplug_controller(const json_t *parameters);
