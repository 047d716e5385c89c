#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "base/json_link.h"

/* A worker's configuration, as worker/protocol.h has it, with its descriptors in place. */

struct worker_image {
	const char *name; /* as the user wrote it */
	int fd;		  /* -1 for none */
};

/* Of a saved VM. */
struct saved_files {
	int state_fd; /* -1 for none */
	int memory_fd;
};

/* Strings and devices belong to root. */
struct worker_config {
	json_t *root;
	const char *name;
	unsigned int cpus;
	uint64_t memory;
	uint64_t memory_room;	 /* bytes that may be added while it runs */
	bool cold_discard;	 /* the guest may report pages that it does not need */
	unsigned int generation; /* 1 or 2 */
	const char *command_line;
	bool stimer;
	bool device_tree;
	bool restart_on_reset;
	bool paused; /* at first, until a resume */
	uint32_t vmbus_max_version;
	int kvm_fd;
	int trace_fd;		      /* of the bus; -1 for none */
	const char *faults;	      /* what the fault mode is to do; NULL: there is none */
	struct worker_image firmware; /* of Generation 1 alone, as the kernel is of 2 */
	struct worker_image kernel;
	struct worker_image initrd;
	struct saved_files saved;  /* what it goes on from */
	const json_t *boot_order;  /* of Generation 1; NULL: the firmware's own */
	unsigned int boot_menu_ms; /* the same; 0: no menu */
	const json_t *devices;
};

/*
 * Reads the first message of the control socket: each index of a descriptor becomes the descriptor
 * itself.  Waits for it.  -EINVAL with err for a message that is not a sound configuration.
 */
int worker_config_receive(struct json_link *link, struct worker_config *config, struct error *err);

/* Frees the JSON; descriptors stay open. */
void worker_config_clear(struct worker_config *config);
