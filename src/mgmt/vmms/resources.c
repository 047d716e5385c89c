#include "mgmt/vmms/resources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "mgmt/vmms/cgroup.h"
#include "mgmt/vmms/scope.h"

#define UUID_SIZE   64
#define CPU_PERCENT 100u

/* One VM. */
struct place {
	struct list link;
	struct resources *resources;
	char uuid[UUID_SIZE];
	pid_t pid;		  /* of the supervisor; 0: not yet known */
	enum resources_kind kind; /* NONE: it has no place of its own */
	bool outside;		  /* its process has yet to be put into its cgroup */
	bool leaving;		  /* resources_end came; the cgroup has processes still */
	struct resource_limits limits;
	unsigned int weight; /* as it was last given; 0: never */

	struct error why; /* a limit that is not in force from the beginning, or "" */

	resources_done done; /* NULL: nothing is waited for */
	void *context;
	struct scope_start *start;

	int events; /* of a cgroup that is to go; -1: none */
	struct event_source *events_source;
};

struct resources {
	struct event_loop *loop;
	struct cgroup_tree *tree;
	struct scopes *scopes;
	struct list places;
	unsigned int processors;
	char tell[sizeof(((struct error *)NULL)->text)];
};

static void tell_cgroups(struct resources *resources)
{
	const char *lacks = cgroup_tree_lacks(resources->tree);

	snprintf(resources->tell, sizeof(resources->tell), "each VM has a cgroup in %.200s%s%s%s",
		 cgroup_tree_path(resources->tree),
		 lacks[0] ? ", where these controllers are missing: " : "", lacks,
		 lacks[0] ? "; delegate them for limits of that kind" : "");
}

static void look(struct resources *resources, const struct resources_options *options)
{
	struct error why = {"VMs have no cgroups, as was asked for"};

	if (options->none)
		;
	else if (!options->cgroup &&
		 !scopes_open(resources->loop, options->bus, &resources->scopes, &why))
		snprintf(why.text, sizeof(why.text), "each VM has a scope of systemd");
	else if (options->bus < 0 && !cgroup_tree_open(options->cgroup, &resources->tree, &why)) {
		tell_cgroups(resources);
		return;
	}
	snprintf(resources->tell, sizeof(resources->tell), "%s", why.text);
}

int resources_new(struct event_loop *loop, const struct resources_options *options,
		  struct resources **out)
{
	static const struct resources_options by_looking = {.bus = -1};
	struct resources *resources = calloc(1, sizeof(*resources));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (!resources)
		return -ENOMEM;
	resources->loop = loop;
	resources->processors = processors > 0 ? (unsigned int)processors : 1;
	list_init(&resources->places);
	look(resources, options ? options : &by_looking);
	*out = resources;
	return 0;
}

static void place_free(struct place *place)
{
	list_remove(&place->link);
	if (place->start)
		scope_start_forget(place->start);
	event_source_remove(place->events_source);
	if (place->events >= 0)
		close(place->events);
	free(place);
}

void resources_free(struct resources *resources)
{
	struct place *place;

	if (!resources)
		return;
	list_for_each(place, &resources->places, link) place_free(place);
	scopes_close(resources->scopes);
	cgroup_tree_close(resources->tree);
	free(resources);
}

enum resources_kind resources_kind(const struct resources *resources)
{
	if (resources->scopes)
		return RESOURCES_SCOPE;
	return resources->tree ? RESOURCES_CGROUP : RESOURCES_NONE;
}

const char *resources_tell(const struct resources *resources)
{
	return resources->tell;
}

static struct place *find(struct resources *resources, const char *uuid)
{
	struct place *place;

	list_for_each(place, &resources->places, link)
	{
		if (!strcmp(place->uuid, uuid))
			return place;
	}
	return NULL;
}

/* besides: the VM whose reserve is about to be this one. */
static int check_reserves(struct resources *resources, const char *besides, unsigned int reserve,
			  struct error *err)
{
	unsigned int host = resources->processors * CPU_PERCENT;
	uint64_t others = 0;
	struct place *place;

	if (!reserve)
		return 0;
	list_for_each(place, &resources->places, link)
	{
		if (!place->leaving && strcmp(place->uuid, besides) != 0)
			others += place->limits.cpu_reserve;
	}
	if (others + reserve <= host)
		return 0;
	return error_set(err, EBUSY,
			 "resources.cpu_reserve: %u%% of a processor cannot be reserved, since "
			 "this host has %u%% and running VMs have reserved %u%%; reserve less, or "
			 "stop one of them",
			 reserve, host, (unsigned int)others);
}

static int apply(struct place *place, unsigned int weight, struct error *err)
{
	struct resources *resources = place->resources;
	int r = 0;

	if (place->kind == RESOURCES_CGROUP)
		r = cgroup_limit(resources->tree, place->uuid, &place->limits, weight, err);
	else if (place->kind == RESOURCES_SCOPE && !place->start)
		r = scope_limit(resources->scopes, place->uuid, place->pid, &place->limits, weight);
	if (!r)
		place->weight = weight;
	return r;
}

/*
 * Gives every VM the weight that is its own among those that run.  The others' are told where they
 * change; changed, if any, always.
 */
static int share_out(struct resources *resources, struct place *changed, struct error *err)
{
	CLEANUP_FREE struct resource_share *shares = NULL;
	struct place *place;
	size_t count = 0;
	size_t i = 0;
	int result = 0;

	list_for_each(place, &resources->places, link) count++;
	shares = calloc(count + 1, sizeof(*shares));
	if (!shares)
		return error_memory(err, "the shares of the VMs");
	list_for_each(place, &resources->places, link)
	{
		unsigned int weight = place->limits.cpu_weight;

		shares[i++] = (struct resource_share){
			.weight = weight ? weight : RESOURCE_WEIGHT_DEFAULT,
			.reserve = place->leaving ? 0 : place->limits.cpu_reserve,
		};
	}
	resource_shares(shares, count, resources->processors);
	i = 0;
	list_for_each(place, &resources->places, link)
	{
		unsigned int weight = shares[i++].given;

		if (place == changed)
			result = apply(place, weight, err);
		else if (place->weight != weight && !place->leaving)
			apply(place, weight, NULL);
	}
	return result;
}

static struct place *place_new(struct resources *resources, const char *uuid,
			       const struct resource_limits *limits)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return NULL;
	place->resources = resources;
	place->events = -1;
	place->limits = *limits;
	snprintf(place->uuid, sizeof(place->uuid), "%s", uuid);
	list_append(&resources->places, &place->link);
	return place;
}

/* What is left of the VM's last run is of no more interest. */
static void forget(struct resources *resources, const char *uuid)
{
	struct place *place = find(resources, uuid);

	if (place)
		place_free(place);
}

/* What cannot be had of it is no reason not to run: resources_begin says so. */
static pid_t fork_into(struct place *place)
{
	struct resources *resources = place->resources;
	pid_t pid = -1;

	if (resources->tree && !cgroup_make(resources->tree, place->uuid, &place->why)) {
		place->kind = RESOURCES_CGROUP;
		share_out(resources, place, &place->why);
		pid = cgroup_fork(resources->tree, place->uuid);
		place->outside = pid < 0;
	}
	return pid < 0 ? fork() : pid;
}

pid_t resources_fork(struct resources *resources, const char *uuid,
		     const struct resource_limits *limits, struct error *err)
{
	int r = check_reserves(resources, uuid, limits->cpu_reserve, err);
	struct place *place;
	pid_t pid;

	if (r)
		return r;
	forget(resources, uuid);
	place = place_new(resources, uuid, limits);
	if (!place)
		return error_memory(err, "the VM's place");
	pid = fork_into(place);
	if (pid < 0) {
		r = error_host(err, errno, "cannot start a process");
		resources_end(resources, uuid);
		return r;
	}
	return pid;
}

static void on_scope(void *context, const char *why)
{
	struct place *place = context;
	resources_done done = place->done;

	place->start = NULL;
	place->done = NULL;
	if (why)
		place->kind = RESOURCES_NONE;
	done(place->context, why);
}

static int begin_scope(struct place *place, pid_t pid)
{
	struct resources *resources = place->resources;
	int r = 0;

	/* The others make room first; its own weight goes with the request. */
	place->kind = RESOURCES_NONE;
	share_out(resources, place, NULL);
	place->kind = RESOURCES_SCOPE;
	r = scope_start(resources->scopes, place->uuid, pid, &place->limits, place->weight,
			on_scope, place, &place->start);
	if (r)
		place->kind = RESOURCES_NONE;
	return r;
}

void resources_begin(struct resources *resources, const char *uuid, pid_t pid, resources_done done,
		     void *context)
{
	struct place *place = find(resources, uuid);

	if (!place) {
		done(context, NULL);
		return;
	}
	place->pid = pid;
	place->done = done;
	place->context = context;
	if (resources->scopes && !begin_scope(place, pid))
		return;
	place->done = NULL;
	if (place->outside && cgroup_put(resources->tree, uuid, pid, &place->why))
		place->kind = RESOURCES_NONE;
	if (resources->scopes)
		snprintf(place->why.text, sizeof(place->why.text),
			 "it runs without limits, since systemd is out of reach");
	done(context, place->why.text[0] ? place->why.text : NULL);
}

int resources_adopt(struct resources *resources, const char *uuid, pid_t pid,
		    const struct resource_limits *limits)
{
	struct place *place;

	forget(resources, uuid);
	place = place_new(resources, uuid, limits);
	if (!place)
		return -ENOMEM;
	place->pid = pid;
	if (resources->tree && cgroup_holds(resources->tree, uuid, pid))
		place->kind = RESOURCES_CGROUP;
	else if (resources->scopes && scope_holds(uuid, pid))
		place->kind = RESOURCES_SCOPE;
	return 0;
}

int resources_change(struct resources *resources, const char *uuid,
		     const struct resource_limits *limits, struct error *err)
{
	struct place *place = find(resources, uuid);
	struct resource_limits before;
	int r;

	if (!place || place->kind == RESOURCES_NONE)
		return error_set(err, ENOTSUP,
				 "the VM runs without limits, so they cannot be changed: %.300s",
				 resources->tell);
	r = check_reserves(resources, uuid, limits->cpu_reserve, err);
	if (r)
		return r;
	before = place->limits;
	place->limits = *limits;
	r = share_out(resources, place, err);
	if (r) {
		place->limits = before;
		share_out(resources, place, NULL);
	}
	return r;
}

static void leave(struct place *place);

static void on_events(void *context, uint32_t events)
{
	leave(context);
}

/* Its cgroup goes once it is empty, which the kernel tells. */
static void leave(struct place *place)
{
	struct resources *resources = place->resources;
	int events = -1;

	place->leaving = true;
	event_source_remove(place->events_source);
	place->events_source = NULL;
	if (place->events >= 0)
		close(place->events);
	place->events = -1;
	if (cgroup_remove(resources->tree, place->uuid, &events) == -EBUSY && events >= 0 &&
	    !event_loop_watch(resources->loop, events, EPOLLPRI, on_events, place,
			      &place->events_source)) {
		place->events = events;
		return;
	}
	if (events >= 0)
		close(events);
	place_free(place);
}

void resources_end(struct resources *resources, const char *uuid)
{
	struct place *place = find(resources, uuid);

	if (!place)
		return;
	if (place->kind == RESOURCES_CGROUP)
		leave(place);
	else
		place_free(place);
	share_out(resources, NULL, NULL);
}
