#include "mgmt/vmms/chore_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json_link.h"
#include "base/text.h"
#include "mgmt/vmms/chore.h"

#define KEPT_FD		3
#define SEND_TIMEOUT_MS 10000

struct chore_child {
	struct json_link *link;
};

/* Takes over message.  A daemon that does not read it has gone. */
static void say(struct chore_child *child, json_t *message, const int *fds, unsigned int count)
{
	if (json_link_send(child->link, message, fds, count) == 0)
		json_link_drain(child->link, SEND_TIMEOUT_MS);
	json_decref(message);
}

/* The same of what belongs to the answer: the daemon reads it when the client took what was before
 * it, which is any time. */
static int say_answer(struct chore_child *child, json_t *message)
{
	int r = json_link_send(child->link, message, NULL, 0);

	if (!r)
		r = json_link_drain(child->link, -1);
	json_decref(message);
	return r;
}

void chore_started(struct chore_child *child, int pidfd)
{
	if (pidfd >= 0)
		say(child, json_pack("{s:b}", "started", 1), &pidfd, 1);
}

void chore_progress(struct chore_child *child, uint64_t done, uint64_t total)
{
	say(child, json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total),
	    NULL, 0);
}

int chore_part(struct chore_child *child, json_t *part)
{
	return say_answer(child, json_pack("{s:o}", "part", part));
}

int chore_asker(const struct chore_child *child)
{
	return json_link_fd(child->link);
}

/* Said first, then looked: the daemon first closes its end and then listens, so that one of the two
 * sees what the other did. */
int chore_begun(struct chore_child *child)
{
	struct pollfd asker = {.fd = chore_asker(child), .events = POLLRDHUP};

	say(child, json_pack("{s:b}", "begun", 1), NULL, 0);
	return poll(&asker, 1, 0) == 0 ? 0 : -ECANCELED;
}

/* Nothing of the daemon's stays open, and nothing at all in what this process starts. */
static int keep_only(int fd)
{
	if (fd != KEPT_FD && dup3(fd, KEPT_FD, O_CLOEXEC) < 0)
		return -1;
	return close_range(KEPT_FD + 1, ~0U, 0);
}

_Noreturn void chore_child_run(const struct chore_kind *kind, const struct request *request, int fd)
{
	static const struct json_link_limits limits = {.message_max = 4096};
	struct chore_child child = {NULL};
	json_t *reply = NULL;
	struct error err = {""};
	int r;

	if (keep_only(fd) || json_link_new(KEPT_FD, &limits, &child.link))
		_exit(EXIT_FAILURE);
	r = kind->work(request, &child, &reply, &err);
	say_answer(&child, r ? json_pack("{s:o, s:i}", "error", text_json(err.text), "errno", -r)
			     : json_pack("{s:o}", "reply", reply));
	_exit(EXIT_SUCCESS);
}
