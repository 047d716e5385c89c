#pragma once

#include <jansson.h>

#include "base/error.h"
#include "mgmt/helper.h"
#include "mgmt/nic_options.h"
#include "mgmt/run_options.h"
#include "mgmt/supervisor.h"

/* The host's side of a VM's NICs: what each is joined to, opened with the caller's rights. */

struct nic {
	const struct run_nic *options; /* NULL: there is no such NIC */
	struct run_nic own;	       /* options of one that came later */
	char id[16];		       /* of the worker's device: "nic0" */
	int fds[NIC_QUEUES_MAX];
	unsigned int fd_count;
	uint32_t mtu; /* payload of a frame; 0: as the worker thinks best */
	struct helper helper;
	struct nics *nics;
	struct event_source *ended; /* the helper has */
};

struct nics {
	struct nic list[PROTOCOL_NICS_MAX];
	unsigned int count;
	unsigned int cpus;
	struct supervisor *supervisor;
	struct event_loop *loop;
};

/* Opens taps, connects to sockets, starts passt; options must stay.  -errno with a sentence that
 * quotes the option; nothing then stays open, or runs. */
int nics_open(const struct run_options *options, struct nics *nics, struct error *err);

/* Closes what is passed to the worker and not needed here. */
void nics_close_worker_ends(struct nics *nics);

/* Closes all and ends the helpers.  Harmless for what was zeroed. */
void nics_close(struct nics *nics);

/* The configuration of the worker's device (devices/vsp/netvsp.c), without its descriptors. */
json_t *nic_config(const struct nic *nic);

/* Fills the part that tells the user what becomes of their links. */
void nics_part(struct nics *nics, struct supervisor_part *part);

/*
 * One more, for a VM that runs: parses what --nic would have had, chooses its id and address, and
 * opens it.  given: text may name descriptors, which are taken over.  -errno with a sentence, and
 * nothing else is open then.
 */
int nics_add(struct nics *nics, const char *text, bool given, struct nic **out, struct error *err);
/* The worker has it: its end is closed here, and its helper is watched. */
void nics_added(struct nic *nic);
/* Closes it, wherever it was left, and frees its place. */
void nics_remove(struct nic *nic);
/* By its id, or its address with colons.  NULL: there is none. */
struct nic *nics_find(struct nics *nics, const char *id);
