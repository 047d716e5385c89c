#include "mgmt/vmms/switch_dhcp.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "mgmt/helper.h"
#include "mgmt/vmms/switch_dhcp_find.h"
#include "mgmt/vmms/switch_subnet.h"

#define SECOND_NS     1000000000ull
#define DELAY_MAX     (60 * SECOND_NS) /* before it is started again */
#define LONG_ENOUGH   60	       /* seconds after which it began well */
#define TERM_MS	      1000
#define LEASE_TIME    "1h"
#define ARGUMENT_SIZE (4096 + 64) /* the longest is a path */

struct switch_dhcp {
	struct event_loop *loop;
	switch_dhcp_changed changed;
	void *context;
	char bridge[IFNAMSIZ];
	uint32_t subnet;
	char *leases;
	struct helper helper; /* pid 0: none */
	uint64_t start;
	bool ours; /* our child, not one that was adopted */
	time_t since;
	struct event_source *ended;
	struct event_source *again; /* timer */
	uint64_t delay;
};

static void restart(void *context, uint32_t events);

int switch_dhcp_new(struct event_loop *loop, const char *leases, switch_dhcp_changed changed,
		    void *context, struct switch_dhcp **out)
{
	struct switch_dhcp *dhcp = calloc(1, sizeof(*dhcp));
	int r;

	if (!dhcp)
		return -ENOMEM;
	dhcp->loop = loop;
	dhcp->changed = changed;
	dhcp->context = context;
	dhcp->delay = SECOND_NS;
	dhcp->leases = strdup(leases);
	r = dhcp->leases ? event_loop_timer(loop, restart, dhcp, &dhcp->again) : -ENOMEM;
	if (r) {
		free(dhcp->leases);
		free(dhcp);
		return r;
	}
	*out = dhcp;
	return 0;
}

void switch_dhcp_configure(struct switch_dhcp *dhcp, const char *bridge, uint32_t subnet)
{
	snprintf(dhcp->bridge, sizeof(dhcp->bridge), "%s", bridge);
	dhcp->subnet = subnet;
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

/* When the process started, in ticks since the host did; 0: there is none. */
static uint64_t start_of(pid_t pid)
{
	char path[48];
	char text[1024];
	CLEANUP_CLOSE int fd = -1;
	ssize_t length;
	char *field;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	field = strrchr(text, ')'); /* its name, field 2, may have anything in it */
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field, NULL, 10) : 0;
}

/* Of no group that may anything. */
static const char *group_of_dnsmasq(void)
{
	if (!*switch_dhcp_user())
		return "";
	return getgrnam("nogroup") ? "nogroup" : "nobody";
}

enum {
	ARGUMENT_INTERFACE,
	ARGUMENT_RANGE,
	ARGUMENT_LEASES,
	ARGUMENT_USER,
	ARGUMENT_GROUP,
	ARGUMENTS
};

static void format_arguments(const struct switch_dhcp *dhcp, char text[ARGUMENTS][ARGUMENT_SIZE])
{
	uint32_t subnet = dhcp->subnet;
	unsigned int first = subnet >> 24;
	unsigned int second = subnet >> 16 & 255;
	unsigned int third = subnet >> 8 & 255;

	snprintf(text[ARGUMENT_INTERFACE], ARGUMENT_SIZE, SWITCH_INTERFACE_OPTION "%s",
		 dhcp->bridge);
	snprintf(text[ARGUMENT_RANGE], ARGUMENT_SIZE,
		 "--dhcp-range=%u.%u.%u.2,%u.%u.%u.254,255.255.255.0," LEASE_TIME, first, second,
		 third, first, second, third);
	snprintf(text[ARGUMENT_LEASES], ARGUMENT_SIZE, SWITCH_LEASES_OPTION "%s", dhcp->leases);
	snprintf(text[ARGUMENT_USER], ARGUMENT_SIZE, "--user=%s", switch_dhcp_user());
	snprintf(text[ARGUMENT_GROUP], ARGUMENT_SIZE, "--group=%s", group_of_dnsmasq());
}

/* Which guest has which address is nobody else's to read.  dnsmasq would make it for all to read,
 * and opens it while it is root. */
static int make_leases(const struct switch_dhcp *dhcp)
{
	CLEANUP_CLOSE int fd =
		open(dhcp->leases, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 || fchmod(fd, 0600) ? -errno : 0;
}

/* Nothing of the host's own configuration is read but its name servers, and no other interface is
 * bound to, so that other resolvers are left alone. */
static int start_program(struct switch_dhcp *dhcp)
{
	char text[ARGUMENTS][ARGUMENT_SIZE];
	const char *arguments[] = {"dnsmasq",
				   "--keep-in-foreground",
				   "--conf-file=/dev/null",
				   "--pid-file=",
				   "--log-facility=-",
				   "--quiet-dhcp",
				   "--bind-interfaces",
				   "--except-interface=lo",
				   text[ARGUMENT_INTERFACE],
				   text[ARGUMENT_RANGE],
				   text[ARGUMENT_LEASES],
				   text[ARGUMENT_USER],
				   text[ARGUMENT_GROUP],
				   "--dhcp-authoritative",
				   "--no-ping",
				   "--no-hosts",
				   SWITCH_DOMAIN_OPTION SWITCH_DOMAIN,
				   "--local=/" SWITCH_DOMAIN "/",
				   "--domain-needed",
				   "--bogus-priv",
				   NULL};

	int r = make_leases(dhcp);

	if (r)
		return r;
	format_arguments(dhcp, text);
	return helper_start_with(arguments, NULL, 0, &dhcp->helper);
}

static void close_process(struct switch_dhcp *dhcp)
{
	event_source_remove(dhcp->ended);
	dhcp->ended = NULL;
	dhcp->start = 0;
}

/* Forgets a process that is not there any more; ours was reaped. */
static void forget(struct switch_dhcp *dhcp)
{
	close_process(dhcp);
	if (dhcp->helper.pidfd >= 0 && dhcp->helper.pid)
		close(dhcp->helper.pidfd);
	if (dhcp->ours)
		close(dhcp->helper.words);
	dhcp->helper = (struct helper){.pid = 0};
	dhcp->ours = false;
}

static void again_later(struct switch_dhcp *dhcp)
{
	if (now() - dhcp->since >= LONG_ENOUGH)
		dhcp->delay = SECOND_NS;
	event_timer_arm(dhcp->again, dhcp->delay, 0);
	dhcp->delay = MIN(2 * dhcp->delay, DELAY_MAX);
}

static void ended(void *context, uint32_t events)
{
	struct switch_dhcp *dhcp = context;
	char trouble[512];
	char how[256] = "killed";

	if (dhcp->ours && !helper_failed(&dhcp->helper, how, sizeof(how)))
		snprintf(how, sizeof(how), "ended by somebody");
	forget(dhcp);
	again_later(dhcp);
	snprintf(trouble, sizeof(trouble),
		 "dnsmasq, which gives the guests on %s their addresses, ended (%s); it is started "
		 "again%s",
		 dhcp->bridge, how,
		 strstr(how, "in use") ? ", but the host's other name server must serve fewer "
					 "addresses (bind-interfaces, if it is a dnsmasq)"
				       : "");
	dhcp->changed(dhcp->context, trouble);
}

static int watch_process(struct switch_dhcp *dhcp)
{
	dhcp->since = now();
	dhcp->start = start_of(dhcp->helper.pid);
	return event_loop_watch(dhcp->loop, dhcp->helper.pidfd, EPOLLIN, ended, dhcp, &dhcp->ended);
}

int switch_dhcp_start(struct switch_dhcp *dhcp, struct error *err)
{
	int r;

	event_timer_arm(dhcp->again, 0, 0);
	switch_dhcp_kill_unknown(dhcp->leases);
	r = start_program(dhcp);
	if (r == -ENOENT)
		return error_set(err, ENOENT,
				 "there is no dnsmasq to give the guests addresses; install the "
				 "package dnsmasq-base, or give the VM a NIC of the kind \"user\"");
	if (r)
		return error_host(err, -r, "cannot start dnsmasq");
	dhcp->ours = true;
	r = watch_process(dhcp);
	if (r) {
		switch_dhcp_stop(dhcp);
		return error_host(err, -r, "cannot watch dnsmasq");
	}
	return 0;
}

static void restart(void *context, uint32_t events)
{
	struct switch_dhcp *dhcp = context;
	struct error err;

	if (!switch_dhcp_start(dhcp, &err)) {
		dhcp->changed(dhcp->context, NULL);
		return;
	}
	again_later(dhcp);
	dhcp->changed(dhcp->context, err.text);
}

bool switch_dhcp_adopt(struct switch_dhcp *dhcp, const struct switch_dhcp_process *process)
{
	int pidfd;

	if (process->pid <= 0 || dhcp->helper.pid)
		return false;
	pidfd = pidfd_open(process->pid, 0);
	if (pidfd < 0)
		return false;
	/* Asked after the descriptor is ours, the answer is about that very process. */
	if (!process->start || start_of(process->pid) != process->start) {
		close(pidfd);
		return false;
	}
	dhcp->helper = (struct helper){.pid = process->pid, .pidfd = pidfd, .words = -1};
	dhcp->ours = false;
	if (watch_process(dhcp)) {
		forget(dhcp);
		return false;
	}
	return true;
}

struct switch_dhcp_process switch_dhcp_process(const struct switch_dhcp *dhcp)
{
	return (struct switch_dhcp_process){.pid = dhcp->helper.pid, .start = dhcp->start};
}

static void stop_known(struct switch_dhcp *dhcp)
{
	struct pollfd pollfd = {.fd = dhcp->helper.pidfd, .events = POLLIN};

	if (dhcp->ours) {
		close_process(dhcp);
		helper_stop(&dhcp->helper);
		dhcp->ours = false;
		return;
	}
	pidfd_send_signal(pollfd.fd, SIGTERM, NULL, 0);
	if (poll(&pollfd, 1, TERM_MS) != 1)
		pidfd_send_signal(pollfd.fd, SIGKILL, NULL, 0);
	forget(dhcp);
}

void switch_dhcp_stop(struct switch_dhcp *dhcp)
{
	event_timer_arm(dhcp->again, 0, 0);
	if (dhcp->helper.pid)
		stop_known(dhcp);
	switch_dhcp_kill_unknown(dhcp->leases);
}

void switch_dhcp_free(struct switch_dhcp *dhcp)
{
	if (!dhcp)
		return;
	forget(dhcp);
	event_source_remove(dhcp->again);
	free(dhcp->leases);
	free(dhcp);
}
