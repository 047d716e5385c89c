#include "mgmt/remote_disks.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/json_link.h"
#include "base/memfd.h"
#include "mgmt/worker_spawn.h"

/* As tools/nbd.h and block/remote_wire.h have them. */
#define MEMORY_BYTES (64ll << 20)
#define LANES_MAX    (REMOTE_FDS_MAX - 1)
#define VPS_PER_LANE 4 /* as worker/vm_threads.c makes threads for them */
#define MESSAGE_MAX  4096
#define ANSWER_MS    60000 /* for finding and reaching the server; the helper knows how long */

static void close_all(int *fds, unsigned int *count)
{
	while (*count)
		close(fds[--*count]);
}

/* One for each thread.  The IDE controller keeps the one it has, and the channel on which the bus
 * offers the disk wants another, of the same thread maybe. */
static unsigned int lanes_wanted(const struct remote_disk *disk)
{
	unsigned int threads = 1 + (disk->disks->cpus - 1) / VPS_PER_LANE;

	return MIN(threads + disk->ide, (unsigned int)LANES_MAX);
}

/* The shared file, and both ends of each lane. */
static int make_ends(struct remote_disk *disk, int *theirs, unsigned int *count)
{
	unsigned int lanes = lanes_wanted(disk);
	int memory = memfd_new("disk", MEMORY_BYTES);

	if (memory < 0)
		return memory;
	disk->fds[disk->fd_count++] = memory;
	for (unsigned int i = 0; i < lanes; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
			return -errno;
		disk->fds[disk->fd_count++] = pair[0];
		theirs[(*count)++] = pair[1];
	}
	return 0;
}

static int start_helper(struct remote_disk *disk, const struct run_disk *options, int control,
			const int *lanes, unsigned int count, struct error *err)
{
	int fds[HELPER_FDS_MAX] = {control, disk->fds[0]};
	char path[PATH_MAX], seconds[16], lane_count[16];
	const char *arguments[] = {path, options->path, seconds, lane_count, NULL};
	int r = nbd_tool_find(path, sizeof(path), err);

	if (r)
		return r;
	snprintf(seconds, sizeof(seconds), "%u", options->timeout);
	snprintf(lane_count, sizeof(lane_count), "%u", count);
	memcpy(fds + 2, lanes, count * sizeof(*lanes));
	r = helper_start_with(arguments, fds, 2 + count, &disk->helper);
	return r ? error_host(err, -r, "cannot start bulkhead-nbd") : 0;
}

/* What came over the link, or -errno of the wait for it. */
static int read_report(struct remote_disk *disk, int result, json_t *message, struct error *err)
{
	const char *error;

	json_link_free(disk->link);
	disk->link = NULL;
	if (result < 0)
		return error_set(err, EIO,
				 "%.200s: bulkhead-nbd gave no answer; check the server, and that "
				 "it and bulkhead are of one version",
				 disk->name);
	error = json_string_value(json_object_get(message, "error"));
	if (!error) {
		disk->report = message;
		return 0;
	}
	error_set(err, EIO, "%.200s: %.400s", disk->name, error);
	json_decref(message);
	return -EIO;
}

static int make_link(struct remote_disk *disk, int fd, struct error *err)
{
	static const struct json_link_limits limits = {.message_max = MESSAGE_MAX};

	if (!json_link_new(fd, &limits, &disk->link))
		return 0;
	close(fd);
	return error_memory(err, "a disk");
}

static int join_helper(struct remote_disk *disk, const struct run_disk *options, struct error *err)
{
	int lanes[LANES_MAX], pair[2], r;
	unsigned int count = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_host(err, errno, "a disk's helper cannot be joined");
	r = make_ends(disk, lanes, &count);
	if (r)
		error_host(err, -r, "a disk's helper cannot be joined");
	else
		r = start_helper(disk, options, pair[1], lanes, count, err);
	close_all(lanes, &count);
	close(pair[1]);
	if (!r)
		return make_link(disk, pair[0], err);
	close(pair[0]);
	return r;
}

/* A place with a helper that has yet to report. */
static int begin(struct remote_disks *disks, const struct run_disk *options, bool ide,
		 struct remote_disk **out, struct error *err)
{
	struct remote_disk *disk = disks->list;
	int r;

	while (disk < disks->list + PROTOCOL_DISKS_MAX && disk->disks)
		disk++;
	if (disk == disks->list + PROTOCOL_DISKS_MAX)
		return error_set(err, ENOSPC, "a VM has at most %d network block devices",
				 PROTOCOL_DISKS_MAX);
	*disk = (struct remote_disk){
		.disks = disks, .options = options, .read_only = options->read_only, .ide = ide};
	snprintf(disk->name, sizeof(disk->name), "--disk %.240s", options->path);
	r = join_helper(disk, options, err);
	if (r)
		remote_disk_close(disk);
	else
		*out = disk;
	return r;
}

int remote_disks_open(struct remote_disks *disks, const struct run_disk *options, bool ide,
		      struct remote_disk **out, struct error *err)
{
	struct remote_disk *disk;
	json_t *message = NULL;
	int r = begin(disks, options, ide, &disk, err);

	if (r)
		return r;
	r = json_link_wait(disk->link, ANSWER_MS, &message);
	r = read_report(disk, r, message, err);
	if (r)
		remote_disk_close(disk);
	else
		*out = disk;
	return r;
}

static void on_report(void *context, uint32_t events)
{
	struct remote_disk *disk = context;
	struct error err = {""};
	json_t *message = NULL;
	int r = json_link_receive(disk->link, &message);

	if (r == 0)
		return;
	event_source_remove(disk->heard);
	disk->heard = NULL;
	if (!read_report(disk, r, message, &err)) {
		disk->opened(disk->context, disk, NULL);
		return;
	}
	remote_disk_close(disk);
	disk->opened(disk->context, NULL, err.text);
}

int remote_disks_begin(struct remote_disks *disks, const struct run_disk *options,
		       void (*opened)(void *context, struct remote_disk *disk, const char *error),
		       void *context, struct error *err)
{
	struct remote_disk *disk;
	int r = begin(disks, options, false, &disk, err);

	if (r)
		return r;
	disk->options = NULL; /* the caller's, who does not wait */
	disk->opened = opened;
	disk->context = context;
	r = event_loop_watch(disks->loop, json_link_fd(disk->link), EPOLLIN, on_report, disk,
			     &disk->heard);
	if (r) {
		remote_disk_close(disk);
		return error_host(err, -r, "a disk's helper cannot be heard");
	}
	return 0;
}

const struct remote_disk *remote_disks_find(const struct remote_disks *disks,
					    const struct run_disk *options)
{
	for (unsigned int i = 0; i < PROTOCOL_DISKS_MAX; i++)
		if (disks->list[i].disks && disks->list[i].options == options)
			return &disks->list[i];
	return NULL;
}

unsigned int remote_disk_fds(const struct remote_disk *disk, int *fds)
{
	memcpy(fds, disk->fds, disk->fd_count * sizeof(*fds));
	return disk->fd_count;
}

void remote_disk_config(const struct remote_disk *disk, int first, json_t *config)
{
	json_t *lanes = json_array();

	json_object_update(config, disk->report);
	if (disk->read_only)
		json_object_set_new(config, "read_only", json_true());
	for (unsigned int i = 1; i < disk->fd_count; i++)
		json_array_append_new(lanes, json_integer(first + (int)i));
	json_object_set_new(config, "fds", lanes);
	json_object_set_new(config, "fd", json_integer(first));
}

void remote_disk_close(struct remote_disk *disk)
{
	event_source_remove(disk->ended);
	event_source_remove(disk->heard);
	disk->ended = disk->heard = NULL;
	json_link_free(disk->link);
	disk->link = NULL;
	close_all(disk->fds, &disk->fd_count);
	helper_stop(&disk->helper);
	json_decref(disk->report);
	disk->report = NULL;
	disk->disks = NULL;
}

/* It ends by itself when the worker lets go of the disk. */
static void on_ended(void *context, uint32_t events)
{
	struct remote_disk *disk = context;
	struct supervisor *supervisor = disk->disks->supervisor;
	char sentence[800], why[256];

	event_source_remove(disk->ended);
	disk->ended = NULL;
	if (helper_failed(&disk->helper, why, sizeof(why))) {
		snprintf(sentence, sizeof(sentence),
			 "%s: %s, so what the guest asks of this disk fails; detach it, and attach "
			 "it anew",
			 disk->name, why);
		supervisor_tell(supervisor, sentence);
	}
	remote_disk_close(disk);
}

static int watch(struct remote_disk *disk)
{
	if (!disk->helper.pid || disk->helper.pidfd < 0)
		return 0;
	return event_loop_watch(disk->disks->loop, disk->helper.pidfd, EPOLLIN, on_ended, disk,
				&disk->ended);
}

void remote_disk_given(struct remote_disk *disk)
{
	close_all(disk->fds, &disk->fd_count);
	disk->options = NULL;
	/* Without a watch only the word that it has ended is missing. */
	watch(disk);
}

void remote_disks_close_worker_ends(struct remote_disks *disks)
{
	for (unsigned int i = 0; i < PROTOCOL_DISKS_MAX; i++)
		if (disks->list[i].disks)
			close_all(disks->list[i].fds, &disks->list[i].fd_count);
}

void remote_disks_close(struct remote_disks *disks)
{
	for (unsigned int i = 0; i < PROTOCOL_DISKS_MAX; i++)
		if (disks->list[i].disks)
			remote_disk_close(&disks->list[i]);
}

static int part_start(void *context, struct supervisor *supervisor, struct event_loop *loop)
{
	struct remote_disks *disks = context;
	int r = 0;

	disks->supervisor = supervisor;
	disks->loop = loop;
	for (unsigned int i = 0; !r && i < PROTOCOL_DISKS_MAX; i++)
		if (disks->list[i].disks)
			r = watch(&disks->list[i]);
	return r;
}

static void part_stop(void *context)
{
	struct remote_disks *disks = context;

	for (unsigned int i = 0; i < PROTOCOL_DISKS_MAX; i++) {
		struct remote_disk *disk = &disks->list[i];

		if (disk->heard) { /* its call gets an answer while there is a server for it */
			disk->opened(disk->context, NULL, "the VM ended");
			remote_disk_close(disk);
		}
		event_source_remove(disk->ended);
		disk->ended = NULL;
	}
}

void remote_disks_part(struct remote_disks *disks, struct supervisor_part *part)
{
	*part = (struct supervisor_part){
		.device = "remote-disks", .start = part_start, .stop = part_stop, .context = disks};
}
