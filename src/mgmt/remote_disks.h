#pragma once

#include <jansson.h>

#include "base/error.h"
#include "mgmt/helper.h"
#include "mgmt/run_disk.h"
#include "mgmt/supervisor.h"

/* Network block devices as disks: for each a helper, bulkhead-nbd (tools/nbd.h), with the shared
 * file and sockets that join it to the worker. */

#define REMOTE_FDS_MAX 9 /* of a disk: the file, and a socket for each of the worker's queues */

struct remote_disks;

struct remote_disk {
	struct remote_disks *disks;	/* NULL: there is none here */
	const struct run_disk *options; /* compared only; NULL for one that came later */
	char name[256];			/* "--disk URI", for sentences */
	struct helper helper;
	int fds[REMOTE_FDS_MAX]; /* the worker's */
	unsigned int fd_count;
	json_t *report; /* what the helper said of the server */
	bool read_only;
	bool ide;
	struct event_source *ended;
	/* While one that comes later is being opened. */
	struct json_link *link;
	struct event_source *heard;
	void (*opened)(void *context, struct remote_disk *disk, const char *error);
	void *context;
};

struct remote_disks {
	struct remote_disk list[PROTOCOL_DISKS_MAX];
	unsigned int cpus; /* of the VM, which decide on the worker's threads */
	struct supervisor *supervisor;
	struct event_loop *loop;
};

/* Starts a helper, and waits until its server has shaken hands, or has not.  -errno with a sentence
 * that names the disk, and nothing is left.  ide: it is for a place on the IDE controller. */
int remote_disks_open(struct remote_disks *disks, const struct run_disk *options, bool ide,
		      struct remote_disk **out, struct error *err);

/*
 * The same without the wait: opened is called with the disk, or with NULL and a sentence, but not
 * from within.  While the supervisor runs.
 */
int remote_disks_begin(struct remote_disks *disks, const struct run_disk *options,
		       void (*opened)(void *context, struct remote_disk *disk, const char *error),
		       void *context, struct error *err);

/* The disk that was opened for these options, or NULL. */
const struct remote_disk *remote_disks_find(const struct remote_disks *disks,
					    const struct run_disk *options);

/* Copies its descriptors to fds (REMOTE_FDS_MAX); how many.  Adds to config what the worker's
 * backend wants, where they are numbered from first on. */
unsigned int remote_disk_fds(const struct remote_disk *disk, int *fds);
void remote_disk_config(const struct remote_disk *disk, int first, json_t *config);

/* The worker has it: its ends are closed here, and what becomes of the helper is told.  The place
 * is free again when the helper has ended, as it does when the worker lets go. */
void remote_disk_given(struct remote_disk *disk);
void remote_disk_close(struct remote_disk *disk);

/* The same for all of them. */
void remote_disks_close_worker_ends(struct remote_disks *disks);
void remote_disks_close(struct remote_disks *disks);

/* Fills the part that watches the helpers. */
void remote_disks_part(struct remote_disks *disks, struct supervisor_part *part);
