#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "mgmt/run_options.h"

/*
 * What a VM is to be, as `vm create` and `vm set` are told: with the options of `bulkhead run`, and
 * some for what only the daemon does.
 */
struct vm_options {
	struct run_options
		run;	  /* what is not given is 0; first: its options' target is this, too */
	json_t *settings; /* owned: the members that the other options gave */
	const char *name;
	const char *file; /* of `vm create` */
	json_t *change;	  /* owned: of `vm set`, what KEY=VALUE gave; else NULL */
	json_t *revision; /* owned: of `vm set`; NULL: not given */
	bool no_nic;	  /* of `vm create`: without --nic there is none */
	bool json;
};

/* The daemon's own and those of `bulkhead run`. */
extern const struct option_set vm_settings_options;

int vm_options_init(struct vm_options *options, struct error *err);
void vm_options_clear(struct vm_options *options);

/*
 * The members of Settings that were given, a new object: paths are made absolute.  -EINVAL for what
 * the daemon does not do, -ENOENT without a present directory.
 */
int vm_options_settings(const struct vm_options *options, json_t **settings, struct error *err);

/* A disk or a NIC as the daemon's interface has it, without a name; a new object. */
int vm_options_disk(const struct run_disk *disk, json_t **out, struct error *err);
int vm_options_nic(const struct run_nic *nic, json_t **out, struct error *err);

/* The path from the root on; a new string.  Links stay. */
int vm_options_path(const char *path, json_t **out, struct error *err);
