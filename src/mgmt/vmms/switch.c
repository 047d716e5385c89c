#include "mgmt/vmms/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mgmt/vmms/switch_make.h"
#include "mgmt/vmms/switch_subnet.h"
#include "mgmt/vmms/switch_tap.h"

#define GONE_TRIES	50u
#define GONE_PAUSE_NS	20000000 /* between two looks for taps that are going */
#define ADDRESS_SIZE	16
#define LOCAL_MAC_FIRST 0x02 /* an address of nobody's make, of one station */

/* FNV-1a: two state directories have two switches. */
static uint64_t hash_path(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *path; path++)
		hash = (hash ^ (uint8_t)*path) * 0x100000001b3;
	return hash;
}

static int set_paths(struct switches *switches, const char *state, const char *runtime)
{
	const struct {
		char *path;
		const char *directory;
		const char *name;
	} paths[] = {
		{switches->directory, runtime, "switch"},
		{switches->record_path, runtime, "switch/" SWITCH_DEFAULT ".json"},
		{switches->leases_path, runtime, "switch/" SWITCH_DEFAULT ".leases"},
		{switches->subnet_directory, state, "switches"},
		{switches->subnet_path, state, "switches/" SWITCH_DEFAULT ".json"},
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (snprintf(paths[i].path, PATH_MAX, "%s/%s", paths[i].directory, paths[i].name) >=
		    PATH_MAX)
			return -ENAMETOOLONG;
	return 0;
}

static void set_mark(struct switches *switches, const char *state)
{
	CLEANUP_FREE char *real = realpath(state, NULL);
	uint64_t hash = hash_path(real ? real : state);

	snprintf(switches->mark, sizeof(switches->mark), SWITCH_MARK "%016llx",
		 (unsigned long long)hash);
	switches->mac[0] = LOCAL_MAC_FIRST;
	for (int i = 1; i < SWITCH_MAC_BYTES; i++)
		switches->mac[i] = (uint8_t)(hash >> 8 * i);
}

int switches_new(struct event_loop *loop, const char *state, const char *runtime,
		 switch_notice notice, void *context, struct switches **out, struct error *err)
{
	struct switches *switches = calloc(1, sizeof(*switches));
	int r;

	if (!switches)
		return error_memory(err, "the virtual switches");
	switches->loop = loop;
	switches->name = -1;
	switches->notice = notice;
	switches->context = context;
	set_mark(switches, state);
	r = set_paths(switches, state, runtime);
	if (!r)
		r = switch_make_parts(switches);
	if (r) {
		switches_free(switches, true);
		return error_host(err, -r, "cannot prepare the virtual switches");
	}
	switch_record_read(AT_FDCWD, switches->record_path, &switches->record);
	*out = switches;
	return 0;
}

int switches_adopt(struct switches *switches, struct error *err)
{
	struct switch_found found;
	int r = switch_find(switches, &found, err);

	if (r)
		return r;
	if (found.bridge.index || found.taps)
		return switch_make(switches, err);
	/* A bridge that is gone, without guests: its dnsmasq and sysctls need not stay. */
	if (switches->record.bridge[0])
		switch_undo(switches);
	return 0;
}

/* Whether nobody is on it; descriptors of a worker that has ended may take a moment to close. */
static bool is_left(struct switches *switches)
{
	struct switch_found found;

	for (unsigned int i = 0; i < GONE_TRIES; i++) {
		struct timespec pause = {.tv_nsec = GONE_PAUSE_NS};

		if (switch_find(switches, &found, NULL) || found.others)
			return false;
		if (!found.taps)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

void switches_free(struct switches *switches, bool keep)
{
	if (!switches)
		return;
	if (!keep && switches->index && is_left(switches))
		switch_undo(switches);
	switch_watch_free(switches->watch);
	switch_dhcp_free(switches->dhcp);
	switch_nat_free(switches->nat);
	switch_netlink_close(&switches->netlink);
	if (switches->name >= 0)
		close(switches->name);
	free(switches);
}

static bool may_change_network(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return !syscall(SYS_capget, &header, data) && data[0].effective & 1u << CAP_NET_ADMIN;
}

const char *switch_default_nic_kind(void)
{
	return may_change_network() ? "switch" : "user";
}

/* Made before, and nobody took it away since. */
static bool is_ready(struct switches *switches)
{
	struct switch_link bridge;

	return switches->index && !switch_link_get(&switches->netlink, switches->index, &bridge) &&
	       !strcmp(bridge.alias, switches->mark) && switch_dhcp_process(switches->dhcp).pid;
}

/* Says whose it is, and joins it to the bridge. */
static int join_bridge(struct switches *switches, const struct switch_port *port,
		       const char *interface, struct error *err)
{
	char alias[SWITCH_ALIAS_SIZE];
	struct switch_link_change change = {alias, switches->index, .up = true};
	unsigned int index = if_nametoindex(interface);
	int r = -ENODEV;

	snprintf(alias, sizeof(alias), "%s vm %.36s nic %.100s", switches->mark, port->vm,
		 port->nic);
	if (index)
		r = switch_link_set(&switches->netlink, (int)index, &change);
	return r ? error_host(err, -r, "cannot put the tap %s on the bridge %s", interface,
			      switches->record.bridge)
		 : 0;
}

static int check_request(const char *switch_name, const struct switch_port *port, struct error *err)
{
	if (strcmp(switch_name, SWITCH_DEFAULT) != 0)
		return error_set(err, ENOENT,
				 "there is no switch \"%.40s\"; the one there is is called "
				 "\"" SWITCH_DEFAULT "\"",
				 switch_name);
	if (!port->queues || port->queues > SWITCH_QUEUES_MAX)
		return error_set(err, EINVAL,
				 "a NIC has 1 to %u queues, not %u; give another number",
				 SWITCH_QUEUES_MAX, port->queues);
	if (!may_change_network())
		return error_set(err, EPERM,
				 "a NIC on a switch needs a daemon that may change the host's "
				 "network (CAP_NET_ADMIN); start it as root, or give the VM a NIC "
				 "of the kind \"user\"");
	return 0;
}

int switch_open_tap(struct switches *switches, const char *switch_name,
		    const struct switch_port *port, int *fds, char *interface, struct error *err)
{
	int opened[SWITCH_QUEUES_MAX];
	char name[IFNAMSIZ];
	int r = check_request(switch_name, port, err);

	if (!r && !is_ready(switches))
		r = switch_make(switches, err);
	if (!r)
		r = switch_tap_make(port->queues, opened, name, err);
	if (r)
		return r;
	r = join_bridge(switches, port, name, err);
	if (r) {
		for (unsigned int i = 0; i < port->queues; i++)
			close(opened[i]);
		return r;
	}
	memcpy(fds, opened, port->queues * sizeof(*fds));
	if (interface)
		memcpy(interface, name, IFNAMSIZ);
	return 0;
}

static json_t *show_bridge(const struct switches *switches)
{
	const struct switch_record *record = &switches->record;
	const char *trouble = switches->nat_trouble.text;
	char subnet[SWITCH_SUBNET_TEXT_SIZE];
	char address[SWITCH_SUBNET_TEXT_SIZE];

	if (!trouble[0])
		trouble = switches->dhcp_trouble.text;
	switch_subnet_format(record->subnet, subnet);
	switch_subnet_format(record->subnet + 1, address);
	address[strcspn(address, "/")] = '\0';
	return json_pack("[{s:s, s:s, s:s, s:s, s:s, s:s*}]", "name", SWITCH_DEFAULT, "state",
			 trouble[0] ? "faulty" : "ready", "bridge", record->bridge, "subnet",
			 subnet, "address", address, "message", trouble[0] ? trouble : NULL);
}

json_t *switches_show(const struct switches *switches)
{
	if (!switches->index)
		return json_pack("[{s:s, s:s}]", "name", SWITCH_DEFAULT, "state", "absent");
	return show_bridge(switches);
}
