#include "mgmt/nics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "mgmt/nic_tap.h"

#define QUEUES_WANTED_MAX 8u
#define STRING_OF(token)  #token
#define STRING(macro)	  STRING_OF(macro)

static int open_tap(struct nic *nic, struct error *err)
{
	return nic_tap_open(nic->options, MIN(nic->nics->cpus, QUEUES_WANTED_MAX), nic->fds,
			    &nic->fd_count, &nic->mtu, err);
}

static int open_given(struct nic *nic, struct error *err)
{
	return nic_tap_take(nic->options, nic->fds, &nic->fd_count, &nic->mtu, err);
}

static int open_stream(struct nic *nic, struct error *err)
{
	int fd = unix_connect(nic->options->where);

	switch (fd) {
	case -ENOENT:
		return error_set(err, ENOENT,
				 "--nic %.200s: there is no such socket; start the program that "
				 "listens there first",
				 nic->options->text);
	case -ECONNREFUSED:
		return error_set(err, ECONNREFUSED,
				 "--nic %.200s: nobody listens at this socket; start the program "
				 "that does first",
				 nic->options->text);
	case -EPROTOTYPE:
		return error_set(err, EPROTOTYPE,
				 "--nic %.200s: it is no stream socket; give one that carries "
				 "frames with their length before them",
				 nic->options->text);
	case -EACCES:
	case -EPERM:
		return error_set(
			err, EACCES,
			"--nic %.200s: you may not connect to it; check its owner and mode",
			nic->options->text);
	default:
		break;
	}
	if (fd < 0)
		return error_set(err, -fd, "--nic %.200s: cannot connect: %s; check the path",
				 nic->options->text, strerror(-fd));
	nic->fds[nic->fd_count++] = fd;
	return 0;
}

/*
 * Frames as long as a guest's interface takes by default.  What listens on the host's loopback
 * interface is none of the guest's business.
 */
static int open_user(struct nic *nic, struct error *err)
{
	static const char *const passt[] = {"passt", "--foreground",	"--quiet",
					    "--fd",  STRING(HELPER_FD), "--mtu",
					    "1500",  "--no-map-gw",	NULL};
	CLEANUP_CLOSE int theirs = -1;
	int pair[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_host(err, errno, "--nic user: cannot make a socket");
	nic->fds[nic->fd_count++] = pair[0];
	theirs = pair[1];
	r = helper_start(passt, theirs, &nic->helper);
	if (r == -ENOENT)
		return error_set(err, ENOENT,
				 "--nic user needs passt, which is not installed; install the "
				 "package passt");
	if (r)
		return error_host(err, -r, "--nic user: cannot start passt");
	return 0;
}

static int open_switch(struct nic *nic, struct error *err)
{
	return error_set(err, EOPNOTSUPP,
			 "--nic %.200s: switches are the daemon's; use `bulkhead vm create`, or "
			 "--nic user",
			 nic->options->text);
}

static int open_nic(struct nic *nic, struct error *err)
{
	static int (*const open_kind[])(struct nic * nic, struct error * err) = {
		[RUN_NIC_TAP] = open_tap,	[RUN_NIC_USER] = open_user,
		[RUN_NIC_STREAM] = open_stream, [RUN_NIC_SWITCH] = open_switch,
		[RUN_NIC_FD] = open_given,
	};

	return open_kind[nic->options->kind](nic, err);
}

static struct nic *begin_nic(struct nics *nics, unsigned int place, const struct run_nic *options)
{
	struct nic *nic = &nics->list[place];

	*nic = (struct nic){.options = options, .nics = nics};
	snprintf(nic->id, sizeof(nic->id), "nic%u", place);
	nics->count = MAX(nics->count, place + 1);
	return nic;
}

int nics_open(const struct run_options *options, struct nics *nics, struct error *err)
{
	nics->cpus = options->cpus;
	for (unsigned int i = 0; i < options->nic_count; i++) {
		int r = open_nic(begin_nic(nics, i, &options->nics[i]), err);

		if (r) {
			nics_close(nics);
			return r;
		}
	}
	return 0;
}

static void close_worker_end(struct nic *nic)
{
	while (nic->fd_count)
		close(nic->fds[--nic->fd_count]);
}

void nics_close_worker_ends(struct nics *nics)
{
	for (unsigned int i = 0; i < nics->count; i++)
		close_worker_end(&nics->list[i]);
}

void nics_remove(struct nic *nic)
{
	event_source_remove(nic->ended);
	nic->ended = NULL;
	close_worker_end(nic);
	helper_stop(&nic->helper);
	if (nic->options == &nic->own)
		nic_options_clear(&nic->own);
	nic->options = NULL;
}

void nics_close(struct nics *nics)
{
	for (unsigned int i = 0; i < nics->count; i++)
		nics_remove(&nics->list[i]);
	nics->count = 0;
}

static void format_mac(const struct nic *nic, char text[18])
{
	const uint8_t *mac = nic->options->mac;

	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

struct nic *nics_find(struct nics *nics, const char *id)
{
	char mac[18];

	for (unsigned int i = 0; i < nics->count; i++) {
		struct nic *nic = &nics->list[i];

		if (!nic->options)
			continue;
		format_mac(nic, mac);
		if (!strcmp(nic->id, id) || !strcasecmp(mac, id))
			return nic;
	}
	return NULL;
}

/* An address as the NIC would have had from the start; those of the others stay. */
static int choose_address(struct nics *nics, struct nic *nic, struct error *err)
{
	struct run_nic all[PROTOCOL_NICS_MAX] = {{.kind = RUN_NIC_TAP}};
	size_t place = (size_t)(nic - nics->list);
	int r;

	for (unsigned int i = 0; i < nics->count; i++)
		if (nics->list[i].options)
			all[i] = *nics->list[i].options;
	/* The new one goes first where two are the same, so that the sentence is on it. */
	all[place] = nic->own;
	r = nic_options_addresses(all, PROTOCOL_NICS_MAX, supervisor_name(nics->supervisor), err);
	if (!r) {
		memcpy(nic->own.mac, all[place].mac, sizeof(nic->own.mac));
		nic->own.has_mac = true;
	}
	return r;
}

int nics_add(struct nics *nics, const char *text, bool given, struct nic **out, struct error *err)
{
	unsigned int place = 0;
	struct run_nic options;
	struct nic *nic;
	int r;

	while (place < nics->count && nics->list[place].options)
		place++;
	if (place == PROTOCOL_NICS_MAX)
		return error_set(err, ENOSPC, "a VM has at most %d NICs; detach one",
				 PROTOCOL_NICS_MAX);
	r = given ? nic_options_parse_given(text, &options, err)
		  : nic_options_parse(text, &options, err);
	if (!r && options.legacy) {
		r = error_set(err, EINVAL,
			      "%.200s: a legacy adapter is on PCI, and cannot come to a running "
			      "VM; leave out ,legacy",
			      text);
		nic_options_clear(&options);
	}
	if (r)
		return r;
	nic = begin_nic(nics, place, NULL);
	nic->own = options;
	nic->options = &nic->own;
	r = choose_address(nics, nic, err);
	if (!r)
		r = open_nic(nic, err);
	if (r)
		nics_remove(nic);
	else
		*out = nic;
	return r;
}

json_t *nic_config(const struct nic *nic)
{
	const struct run_nic *options = nic->options;
	char address[18];
	char name[300];
	json_t *config;

	format_mac(nic, address);
	snprintf(name, sizeof(name), "--nic %.280s", options->text);
	config = json_pack("{s:s, s:s, s:o, s:s, s:s}", "device", "netvsp", "id", nic->id, "name",
			   text_json(name), "backend",
			   options->kind == RUN_NIC_TAP || options->kind == RUN_NIC_FD ? "tap"
										       : "stream",
			   "mac", address);
	/* Who says how many queues there are means the guest's, too. */
	if (options->queues)
		json_object_set_new(config, "channels", json_integer(options->queues));
	if (options->bandwidth)
		json_object_set_new(config, "bandwidth",
				    json_integer((json_int_t)options->bandwidth));
	if (nic->mtu)
		json_object_set_new(config, "mtu", json_integer(nic->mtu));
	return config;
}

static void on_helper_ended(void *context, uint32_t events)
{
	struct nic *nic = context;
	char sentence[400];
	char why[256];

	event_source_remove(nic->ended);
	nic->ended = NULL;
	/* It ends by itself when the worker, and so the VM, has. */
	if (!helper_failed(&nic->helper, why, sizeof(why)))
		return;
	snprintf(
		sentence, sizeof(sentence),
		"--nic %.40s: passt has ended (%s), so the guest has no network there until the VM "
		"is started anew",
		nic->options->text, why);
	supervisor_tell(nic->nics->supervisor, sentence);
}

static int watch_helper(struct nic *nic)
{
	if (!nic->helper.pid || nic->helper.pidfd < 0)
		return 0;
	return event_loop_watch(nic->nics->loop, nic->helper.pidfd, EPOLLIN, on_helper_ended, nic,
				&nic->ended);
}

void nics_added(struct nic *nic)
{
	close_worker_end(nic);
	/* Without a watch only the word that it has ended is missing. */
	watch_helper(nic);
}

static int part_start(void *context, struct supervisor *supervisor, struct event_loop *loop)
{
	struct nics *nics = context;
	int r = 0;

	nics->supervisor = supervisor;
	nics->loop = loop;
	for (unsigned int i = 0; !r && i < nics->count; i++)
		r = watch_helper(&nics->list[i]);
	return r;
}

/* {"device", "link": up or not, "why": a sentence's end} */
static void part_event(void *context, const json_t *event)
{
	const char *id = json_string_value(json_object_get(event, "device"));
	const char *why = json_string_value(json_object_get(event, "why"));
	struct nics *nics = context;
	const struct nic *nic = id ? nics_find(nics, id) : NULL;
	char sentence[400];

	if (!nic || json_is_true(json_object_get(event, "link")) || !why)
		return;
	snprintf(sentence, sizeof(sentence), "--nic %.200s: the link is down: %.120s",
		 nic->options->text, why);
	supervisor_tell(nics->supervisor, sentence);
}

static void part_stop(void *context)
{
	struct nics *nics = context;

	for (unsigned int i = 0; i < nics->count; i++) {
		event_source_remove(nics->list[i].ended);
		nics->list[i].ended = NULL;
	}
}

void nics_part(struct nics *nics, struct supervisor_part *part)
{
	*part = (struct supervisor_part){.device = "nic",
					 .family = true,
					 .start = part_start,
					 .event = part_event,
					 .stop = part_stop,
					 .context = nics};
}
