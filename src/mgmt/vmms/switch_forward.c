#include "mgmt/vmms/switch_forward.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define CONF "/proc/sys/net/"

static void sysctl_path(const char *family, const char *interface, const char *name, char path[128])
{
	snprintf(path, 128, CONF "%s/conf/%s/%s", family, interface, name);
}

/* '0', '1' ...; '\0' where it cannot be read. */
static char sysctl_read(const char *family, const char *interface, const char *name)
{
	char path[128];
	char value = '\0';
	CLEANUP_CLOSE int fd = -1;

	sysctl_path(family, interface, name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &value, 1) != 1)
		return '\0';
	return value;
}

/* What has the value already is not written: /proc/sys may be read-only. */
static int sysctl_write(const char *family, const char *interface, const char *name, char value)
{
	char path[128];
	CLEANUP_CLOSE int fd = -1;

	if (sysctl_read(family, interface, name) == value)
		return 0;
	sysctl_path(family, interface, name, path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, &value, 1) == 1 ? 0 : -errno;
}

static bool host_forwards(void)
{
	return sysctl_read("ipv4", "all", "forwarding") == '1';
}

static int cannot_forward(int errnum, const char *interface, struct error *err)
{
	return error_set(err, errnum,
			 "cannot let %s forward packets (%s); make /proc/sys/net writable for the "
			 "daemon, or set the sysctl net.ipv4.ip_forward to 1 yourself",
			 interface, strerror(errnum));
}

int switch_forward_bridge(const char *bridge, struct error *err)
{
	int r = sysctl_write("ipv4", bridge, "forwarding", '1');

	if (r)
		return cannot_forward(-r, bridge, err);
	/* A guest is no router of ours.  Where there is no IPv6, there is nothing to refuse. */
	r = sysctl_write("ipv4", bridge, "accept_redirects", '0');
	if (!r && sysctl_read("ipv6", bridge, "accept_ra"))
		r = sysctl_write("ipv6", bridge, "accept_ra", '0');
	if (!r && sysctl_read("ipv6", bridge, "accept_redirects"))
		r = sysctl_write("ipv6", bridge, "accept_redirects", '0');
	if (!r)
		return 0;
	return error_set(err, -r,
			 "cannot keep guests from changing the host's routes by %s (%s); make "
			 "/proc/sys/net writable for the daemon",
			 bridge, strerror(-r));
}

/* One that the packet filter's rules can name: theirs has an end and wildcards. */
static bool plain_name(const char *name)
{
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("-_.@", *name))
			return false;
	return true;
}

struct uplinks {
	const char *bridge;
	char names[SWITCH_GUARDED_MAX][IFNAMSIZ];
	unsigned int count;
};

static bool listed(const char (*names)[IFNAMSIZ], unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static void add_uplink(void *context, const struct switch_prefix *prefix)
{
	struct uplinks *uplinks = context;
	char name[IFNAMSIZ];

	if (prefix->address >> 24 == 127 || !if_indextoname((unsigned int)prefix->index, name) ||
	    !strcmp(name, uplinks->bridge) || !plain_name(name) ||
	    uplinks->count == SWITCH_GUARDED_MAX ||
	    listed((const char(*)[IFNAMSIZ])uplinks->names, uplinks->count, name))
		return;
	memcpy(uplinks->names[uplinks->count++], name, IFNAMSIZ);
}

/* Those that forward because of us, and those that have yet to. */
static void list_guarded(const struct uplinks *uplinks, const struct switch_record *record,
			 struct switch_record *next)
{
	const char(*old)[IFNAMSIZ] = (const char(*)[IFNAMSIZ])record->guarded;

	next->guarded_count = 0;
	for (unsigned int i = 0; i < record->guarded_count; i++)
		if (if_nametoindex(old[i]))
			memcpy(next->guarded[next->guarded_count++], old[i], IFNAMSIZ);
	for (unsigned int i = 0; i < uplinks->count; i++) {
		const char *name = uplinks->names[i];

		if (next->guarded_count < SWITCH_GUARDED_MAX &&
		    !listed(old, record->guarded_count, name) &&
		    sysctl_read("ipv4", name, "forwarding") == '0')
			memcpy(next->guarded[next->guarded_count++], name, IFNAMSIZ);
	}
}

static bool same_guarded(const struct switch_record *a, const struct switch_record *b)
{
	if (a->guarded_count != b->guarded_count)
		return false;
	for (unsigned int i = 0; i < a->guarded_count; i++)
		if (strcmp(a->guarded[i], b->guarded[i]) != 0)
			return false;
	return true;
}

int switch_forward_list(struct switch_netlink *netlink, const char *bridge,
			struct switch_record *record, bool *changed, struct error *err)
{
	struct uplinks uplinks = {.bridge = bridge};
	struct switch_record next = *record;
	int r = switch_address_list(netlink, add_uplink, &uplinks);

	if (r)
		return error_host(err, -r, "cannot list the host's addresses");
	if (host_forwards())
		next.guarded_count = 0;
	else
		list_guarded(&uplinks, record, &next);
	*changed = !same_guarded(record, &next);
	*record = next;
	return 0;
}

int switch_forward_turn_on(const struct switch_record *record, struct error *err)
{
	for (unsigned int i = 0; i < record->guarded_count; i++) {
		int r = sysctl_write("ipv4", record->guarded[i], "forwarding", '1');

		if (r && r != -ENOENT)
			return cannot_forward(-r, record->guarded[i], err);
	}
	return 0;
}

void switch_forward_restore(const struct switch_record *record)
{
	if (host_forwards())
		return;
	for (unsigned int i = 0; i < record->guarded_count; i++)
		sysctl_write("ipv4", record->guarded[i], "forwarding", '0');
}
