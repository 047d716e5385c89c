#include "mgmt/vmms/switch_make.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mgmt/vmms/switch_dead.h"
#include "mgmt/vmms/switch_forward.h"
#include "mgmt/vmms/switch_subnet.h"

#define BRIDGES_MAX 256u
#define BRIDGE_NAME "bulkhead"
#define STRAYS_MAX  64u /* at a time */

void switch_tell(struct switches *switches, const char *sentence)
{
	if (switches->notice)
		switches->notice(switches->context, SWITCH_DEFAULT, sentence);
}

/* A bridge has its alias a moment after it was made: until then its address tells. */
static bool is_ours(const struct switch_found *found, const struct switch_link *link)
{
	if (strcmp(link->kind, "bridge") != 0)
		return false;
	if (link->alias[0])
		return !strcmp(link->alias, found->mark);
	return !memcmp(link->mac, found->mac, SWITCH_MAC_BYTES);
}

static bool is_our_tap(const struct switch_found *found, const struct switch_link *link)
{
	size_t length = strlen(found->mark);

	return !strncmp(link->alias, found->mark, length) && link->alias[length] == ' ';
}

static void find_bridge(void *context, const struct switch_link *link)
{
	struct switch_found *found = context;

	if (is_ours(found, link))
		found->bridge = *link;
}

static void find_ports(void *context, const struct switch_link *link)
{
	struct switch_found *found = context;

	if (is_our_tap(found, link))
		found->taps++;
	else if (found->bridge.index && link->master == found->bridge.index)
		found->others++;
}

static int cannot_list(int errnum, struct error *err)
{
	return error_host(err, errnum, "cannot list the host's network interfaces");
}

int switch_find(struct switches *switches, struct switch_found *found, struct error *err)
{
	int r = 0;

	*found = (struct switch_found){.mark = switches->mark, .mac = switches->mac};
	if (!switches->netlink.socket)
		r = switch_netlink_open(&switches->netlink);
	if (!r)
		r = switch_link_list(&switches->netlink, find_bridge, found);
	if (!r)
		r = switch_link_list(&switches->netlink, find_ports, found);
	return r ? cannot_list(-r, err) : 0;
}

static int bridge_failed(int errnum, struct error *err)
{
	switch (errnum) {
	case EPERM:
		return error_set(
			err, errnum,
			"this daemon may make no bridge (CAP_NET_ADMIN); start it as root, "
			"or give the VM a NIC of the kind \"user\"");
	case EOPNOTSUPP:
		return error_set(err, errnum,
				 "the kernel makes no bridges; load its module bridge, or give the "
				 "VM a NIC of the kind \"user\"");
	case EEXIST:
		return error_set(err, errnum,
				 "the host has interfaces named " BRIDGE_NAME "0 to " BRIDGE_NAME
				 "255 that are not ours; rename one of them");
	default:
		return error_host(err, errnum, "cannot make a bridge");
	}
}

/* The first of our names that nobody has. */
static int make_bridge(struct switches *switches, struct switch_link *bridge, struct error *err)
{
	int r = -EEXIST;

	for (unsigned int i = 0; i < BRIDGES_MAX && r == -EEXIST; i++) {
		snprintf(bridge->name, sizeof(bridge->name), BRIDGE_NAME "%u", i);
		r = switch_link_make_bridge(&switches->netlink, bridge->name, switches->mac);
	}
	if (r)
		return bridge_failed(-r, err);
	bridge->index = (int)if_nametoindex(bridge->name);
	return bridge->index ? 0 : bridge_failed(ENODEV, err);
}

struct address_search {
	int index;
	uint32_t subnet; /* of the bridge's address; 0: it has none */
	struct switch_taken taken;
	bool no_memory;
};

static void look_at_prefix(void *context, const struct switch_prefix *prefix)
{
	struct address_search *search = context;
	uint32_t subnet = prefix->address & ~0xffu;

	if (prefix->index == search->index) {
		if (prefix->length == SWITCH_SUBNET_LENGTH && switch_subnet_possible(subnet))
			search->subnet = subnet;
	} else if (switch_taken_add(&search->taken, prefix->address, prefix->length)) {
		search->no_memory = true;
	}
}

/* One that was chosen before, if nobody else has it by now, or another that nobody has. */
static int choose_subnet(struct switches *switches, const struct address_search *search,
			 uint32_t *subnet, struct error *err)
{
	uint32_t before = switch_subnet_read(switches->subnet_path);

	if (switch_subnet_choose(&search->taken, before, subnet))
		return error_set(
			err, EADDRINUSE,
			"the host's routes leave no subnet for the switch \"" SWITCH_DEFAULT
			"\"; free one of 10.213.0.0/24 to 10.213.255.0/24");
	if (*subnet == before)
		return 0;
	mkdir(switches->subnet_directory, 0700);
	if (switch_subnet_write(switches->subnet_path, *subnet))
		switch_tell(switches, "the subnet of the switch cannot be remembered; make the "
				      "daemon's state directory writable, or it may be another "
				      "one next time");
	return 0;
}

/* The bridge's own subnet, or a new one for it. */
static int find_subnet(struct switches *switches, int index, uint32_t *subnet, struct error *err)
{
	struct address_search search = {.index = index};
	int r = switch_address_list(&switches->netlink, look_at_prefix, &search);

	if (!r && !search.subnet)
		r = switch_route_list(&switches->netlink, look_at_prefix, &search);
	if (r)
		r = error_host(err, -r, "cannot list the host's addresses");
	else if (search.no_memory)
		r = error_memory(err, "the host's routes");
	else if (search.subnet)
		*subnet = search.subnet;
	else
		r = choose_subnet(switches, &search, subnet, err);
	switch_taken_clear(&search.taken);
	return r;
}

/* Marks it first of all, so that whoever comes next knows it. */
static int set_up_bridge(struct switches *switches, const struct switch_link *bridge,
			 uint32_t *subnet, struct error *err)
{
	struct switch_link_change mark = {.alias = switches->mark};
	struct switch_link_change up = {.up = true};
	struct switch_prefix address = {.length = SWITCH_SUBNET_LENGTH, .index = bridge->index};
	int r = switch_link_set(&switches->netlink, bridge->index, &mark);

	if (r)
		return bridge_failed(-r, err);
	r = switch_forward_bridge(bridge->name, err);
	if (!r)
		r = find_subnet(switches, bridge->index, subnet, err);
	if (r)
		return r;
	address.address = *subnet + 1;
	r = switch_address_add(&switches->netlink, &address);
	if (!r)
		r = switch_link_set(&switches->netlink, bridge->index, &up);
	return r ? error_host(err, -r, "cannot set up the bridge %s", bridge->name) : 0;
}

static int write_record(struct switches *switches, struct error *err)
{
	switches->record.dhcp = switch_dhcp_process(switches->dhcp);
	mkdir(switches->directory, 0711);
	return switch_record_write(switches->record_path, &switches->record, err);
}

/* anew: a dnsmasq that there is serves another bridge, and so nobody. */
static int serve(struct switches *switches, bool anew, struct error *err)
{
	int r;

	switch_dhcp_configure(switches->dhcp, switches->record.bridge, switches->record.subnet);
	if (!switch_dhcp_process(switches->dhcp).pid)
		switch_dhcp_adopt(switches->dhcp, &switches->record.dhcp);
	if (!anew && switch_dhcp_process(switches->dhcp).pid)
		return 0;
	switch_dhcp_stop(switches->dhcp);
	/* Without the file the next daemon would not find the process. */
	r = write_record(switches, err);
	if (!r)
		r = switch_dhcp_start(switches->dhcp, err);
	return r ? r : write_record(switches, err);
}

static void dhcp_changed(void *context, const char *trouble)
{
	struct switches *switches = context;
	struct error err;

	error_set(&switches->dhcp_trouble, 0, "%s", trouble ? trouble : "");
	if (trouble)
		switch_tell(switches, trouble);
	else if (write_record(switches, &err))
		switch_tell(switches, err.text);
}

static int send_rules(struct switches *switches, bool only_absent, struct error *err)
{
	struct switch_nat_rules rules = {
		.bridge = switches->record.bridge,
		.mark = switches->mark,
		.subnet = switches->record.subnet,
		.guarded = (const char(*)[IFNAMSIZ])switches->record.guarded,
		.guarded_count = switches->record.guarded_count,
	};

	return switch_nat_apply(switches->nat, &rules, only_absent, err);
}

/* With the rules in force that guard it, the host's interfaces may forward. */
static void nat_done(void *context, const char *failure, const char *finding)
{
	struct switches *switches = context;
	struct error before = switches->nat_trouble;
	struct error *err = &switches->nat_trouble;

	error_set(err, 0, "%s", failure ? failure : finding ? finding : "");
	if (!failure)
		switch_forward_turn_on(&switches->record, err);
	if (err->text[0] && strcmp(err->text, before.text) != 0)
		switch_tell(switches, err->text);
}

/* Looks again at what others may have changed; new rules only where it needs them. */
static int refresh(struct switches *switches, bool only_absent, struct error *err)
{
	bool changed = false;
	int r = switch_forward_bridge(switches->record.bridge, err);

	if (!r)
		r = switch_forward_list(&switches->netlink, switches->record.bridge,
					&switches->record, &changed, err);
	if (!r && changed)
		r = write_record(switches, err);
	return r ? r : send_rules(switches, only_absent && !changed, err);
}

static void others_changed(void *context)
{
	struct switches *switches = context;
	struct switch_found found;
	struct error err;
	int r = switch_find(switches, &found, &err);

	if (!r && found.bridge.index)
		r = refresh(switches, true, &err);
	else if (!r && found.taps) /* without guests it can wait for one */
		r = switch_make(switches, &err);
	if (r)
		switch_tell(switches, err.text);
}

/* Our taps that are not on the bridge. */
struct strays {
	struct switch_found found;
	int bridge;
	int indexes[STRAYS_MAX];
	unsigned int count;
};

static void find_stray(void *context, const struct switch_link *link)
{
	struct strays *strays = context;

	if (is_our_tap(&strays->found, link) && link->master != strays->bridge &&
	    strays->count < STRAYS_MAX)
		strays->indexes[strays->count++] = link->index;
}

/* VMs that were on a bridge which is no more come onto the new one; a tap that is gone by now needs
 * none. */
static int retake_taps(struct switches *switches, struct error *err)
{
	struct switch_link_change change = {.master = switches->index, .up = true};
	struct strays strays = {.found = {.mark = switches->mark}, .bridge = switches->index};
	int r;

	do {
		strays.count = 0;
		r = switch_link_list(&switches->netlink, find_stray, &strays);
		for (unsigned int i = 0; i < strays.count && !r; i++)
			r = switch_link_set(&switches->netlink, strays.indexes[i], &change);
	} while (r == -ENODEV || (!r && strays.count == STRAYS_MAX));
	return r ? cannot_list(-r, err) : 0;
}

static int watch_host(struct switches *switches, struct error *err)
{
	int r;

	switch_watch_free(switches->watch);
	switches->watch = NULL;
	r = switch_watch_new(switches->loop, switches->record.bridge, others_changed, switches,
			     &switches->watch);
	return r ? error_host(err, -r, "cannot watch the host's network") : 0;
}

/* With the bridge there: addresses, dnsmasq, rules, and the taps of VMs. */
static int make_rest(struct switches *switches, const struct switch_link *bridge, bool anew,
		     struct error *err)
{
	struct switch_record *record = &switches->record;
	uint32_t subnet;
	int r = set_up_bridge(switches, bridge, &subnet, err);

	if (r)
		return r;
	if (record->bridge[0] && strcmp(record->bridge, bridge->name) != 0)
		switch_nat_remove(switches->nat, record->bridge, switches->mark);
	anew |= strcmp(record->bridge, bridge->name) != 0 || record->subnet != subnet;
	memcpy(record->bridge, bridge->name, IFNAMSIZ);
	record->subnet = subnet;
	r = serve(switches, anew, err);
	if (!r)
		r = retake_taps(switches, err);
	if (!r)
		r = watch_host(switches, err);
	return r ? r : refresh(switches, false, err);
}

int switch_make(struct switches *switches, struct error *err)
{
	struct switch_found found;
	int r = switch_find(switches, &found, err);
	bool anew;

	if (r)
		return r;
	/* Where somebody else holds the name, a guess keeps the dead from being removed: no harm.
	 */
	if (switches->name < 0)
		switches->name = switch_name_hold(switches->mark);
	anew = !found.bridge.index;
	if (anew) {
		switch_dead_remove(switches);
		r = make_bridge(switches, &found.bridge, err);
	}
	if (r)
		return r;
	switches->index = found.bridge.index;
	r = make_rest(switches, &found.bridge, anew, err);
	if (r && !found.taps && !found.others)
		switch_undo(switches);
	return r;
}

void switch_undo(struct switches *switches)
{
	struct switch_found found;

	switch_watch_free(switches->watch);
	switches->watch = NULL;
	switch_dhcp_adopt(switches->dhcp, &switches->record.dhcp);
	switch_dhcp_stop(switches->dhcp);
	switch_forward_restore(&switches->record);
	if (switches->record.bridge[0])
		switch_nat_remove(switches->nat, switches->record.bridge, switches->mark);
	if (!switch_find(switches, &found, NULL) && found.bridge.index)
		switch_link_remove(&switches->netlink, found.bridge.index);
	unlink(switches->leases_path);
	unlink(switches->record_path);
	rmdir(switches->directory);
	switches->record = (struct switch_record){.subnet = 0};
	switches->index = 0;
	switches->nat_trouble.text[0] = '\0';
	switches->dhcp_trouble.text[0] = '\0';
}

int switch_make_parts(struct switches *switches)
{
	int r = switch_nat_new(switches->loop, nat_done, switches, &switches->nat);

	return r ? r
		 : switch_dhcp_new(switches->loop, switches->leases_path, dhcp_changed, switches,
				   &switches->dhcp);
}
