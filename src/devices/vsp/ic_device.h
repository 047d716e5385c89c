#pragma once

#include "devices/vsp/ic.h"

/*
 * The device "integration": all components of a VM, in one.  Its configuration:
 *   {"components": [{"name": NAME, "max_version": "MAJOR.MINOR" (optional)}, ...]}
 * or all of them, where it has no list.
 */

#define IC_COMPONENTS 6u

struct integration {
	struct device_env env;
	struct ic *components[IC_COMPONENTS]; /* NULL: not offered */
	int wakeup;			      /* eventfd: an inbox is full */
	struct event_source *wakeup_source;
	bool paused; /* the I/O thread's */
	bool held;
	uint64_t held_since; /* ns */
};

/* The component of these ops, for a verb; NULL, with err, if it is not offered or the VM is paused.
 */
struct ic *integration_find(const struct integration *integration, const struct ic_ops *ops,
			    struct error *err);

/* The same, also while the VM is paused; NULL if it is not offered. */
struct ic *integration_component(const struct integration *integration, const struct ic_ops *ops);

/* Refuses the call with the sentence. */
void integration_refuse(struct device_call *call, const struct error *err);

/* The verbs, in the files of the components. */
void ic_shutdown_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_get_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_set_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_remove_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_list_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_get_ip_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_kvp_set_ip_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_vss_freeze_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_vss_release_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_vss_await_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_vss_thaw_verb(void *device, const json_t *parameters, struct device_call *call);
void ic_fcopy_verb(void *device, const json_t *parameters, struct device_call *call);
