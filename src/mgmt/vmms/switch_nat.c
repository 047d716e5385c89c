#include "mgmt/vmms/switch_nat.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "mgmt/helper.h"
#include "mgmt/worker_spawn.h"

#define PATH_SIZE     4096
#define PATIENCE_MS   2000
#define FINDINGS_SIZE 1024

struct switch_nat {
	struct event_loop *loop;
	switch_nat_done done;
	void *context;
	struct helper helper; /* bulkhead-nat, while it runs */
	struct event_source *ended;
	int findings; /* what it writes of other firewalls */
	char *next;   /* rules that came while it ran */
	bool next_only_absent;
	char bridge[IFNAMSIZ];
	char mark[64];
};

int switch_nat_new(struct event_loop *loop, switch_nat_done done, void *context,
		   struct switch_nat **out)
{
	struct switch_nat *nat = calloc(1, sizeof(*nat));

	if (!nat)
		return -ENOMEM;
	nat->loop = loop;
	nat->done = done;
	nat->context = context;
	nat->findings = -1;
	*out = nat;
	return 0;
}

static void close_helper(struct switch_nat *nat)
{
	event_source_remove(nat->ended);
	nat->ended = NULL;
	helper_stop(&nat->helper);
	if (nat->findings >= 0)
		close(nat->findings);
	nat->findings = -1;
}

/* The text in memory, to be read from its start. */
static int text_file(const char *text)
{
	size_t length = strlen(text);
	CLEANUP_CLOSE int fd = memfd_new("rules", 0);

	if (fd < 0)
		return fd;
	if (pwrite(fd, text, length, 0) != (ssize_t)length)
		return -ENOMEM;
	return TAKE_FD(fd);
}

static int start_helper(struct switch_nat *nat, const char *verb, const char *text,
			struct error *err)
{
	char path[PATH_SIZE];
	const char *arguments[] = {path, verb, nat->bridge, nat->mark, NULL};
	CLEANUP_CLOSE int rules = text_file(text);
	CLEANUP_CLOSE int findings = memfd_new("findings", 0);
	int fds[] = {rules, findings};
	int r = nat_tool_find(path, sizeof(path), err);

	if (r)
		return r;
	r = rules < 0 ? rules : findings < 0 ? findings : 0;
	if (!r)
		r = helper_start_with(arguments, fds, 2, &nat->helper);
	if (r)
		return error_host(err, -r, "cannot start bulkhead-nat");
	nat->findings = TAKE_FD(findings);
	return 0;
}

static void ended(void *context, uint32_t events);

static int begin(struct switch_nat *nat, const char *verb, const char *text, struct error *err)
{
	int r = start_helper(nat, verb, text, err);

	if (r)
		return r;
	r = event_loop_watch(nat->loop, nat->helper.pidfd, EPOLLIN, ended, nat, &nat->ended);
	if (r) {
		close_helper(nat);
		return error_host(err, -r, "cannot watch bulkhead-nat");
	}
	return 0;
}

/* The first line of what it found, or "". */
static void read_findings(const struct switch_nat *nat, char *text)
{
	ssize_t length = pread(nat->findings, text, FINDINGS_SIZE - 1, 0);

	text[length < 0 ? 0 : length] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static const char *verb_of(bool only_absent)
{
	return only_absent ? "keep" : "make";
}

static void ended(void *context, uint32_t events)
{
	struct switch_nat *nat = context;
	char findings[FINDINGS_SIZE];
	char failure[512];
	struct error err;
	bool failed;

	event_source_remove(nat->ended);
	nat->ended = NULL;
	read_findings(nat, findings);
	failed = helper_failed(&nat->helper, failure, sizeof(failure));
	close_helper(nat);
	if (nat->next) {
		CLEANUP_FREE char *text = TAKE_POINTER(nat->next);

		if (begin(nat, verb_of(nat->next_only_absent), text, &err))
			nat->done(nat->context, err.text, NULL);
		return;
	}
	nat->done(nat->context, failed ? failure : NULL, *findings ? findings : NULL);
}

int switch_nat_apply(struct switch_nat *nat, const struct switch_nat_rules *rules, bool only_absent,
		     struct error *err)
{
	CLEANUP_FREE char *text = switch_nat_text(rules);

	if (!text)
		return error_memory(err, "the rules of a switch");
	snprintf(nat->bridge, sizeof(nat->bridge), "%s", rules->bridge);
	snprintf(nat->mark, sizeof(nat->mark), "%s", rules->mark);
	if (nat->ended) {
		/* To make is told to whoever watches the tables, and so to us, who then want to
		 * keep: only that it stays so brings this to an end where nft is slow. */
		nat->next_only_absent = only_absent && (!nat->next || nat->next_only_absent);
		free(nat->next);
		nat->next = TAKE_POINTER(text);
		return 0;
	}
	return begin(nat, verb_of(only_absent), text, err);
}

/* Waits until what runs has ended, then ends it. */
static void settle(struct switch_nat *nat)
{
	struct pollfd pollfd = {.fd = nat->helper.pidfd, .events = POLLIN};

	if (nat->helper.pid)
		poll(&pollfd, 1, PATIENCE_MS);
	close_helper(nat);
	free(nat->next);
	nat->next = NULL;
}

void switch_nat_remove(struct switch_nat *nat, const char *bridge, const char *mark)
{
	settle(nat);
	snprintf(nat->bridge, sizeof(nat->bridge), "%s", bridge);
	snprintf(nat->mark, sizeof(nat->mark), "%s", mark);
	if (!start_helper(nat, "remove", "", NULL))
		settle(nat);
}

void switch_nat_free(struct switch_nat *nat)
{
	if (!nat)
		return;
	settle(nat);
	free(nat);
}
