#include "mgmt/vmms/chore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event_loop.h"
#include "base/json_link.h"
#include "base/list.h"
#include "base/varlink.h"
#include "mgmt/vmms/chore_child.h"
#include "mgmt/vmms/request.h"

#define MESSAGE_MAX (256u << 10)
#define QUEUED_MAX  (256u << 10)   /* parts of an answer that may wait for a client */
#define PATIENCE_NS 10000000000ull /* for a child to end once its call is given up */

struct chore {
	struct list link;
	struct chores *chores;
	const struct chore_kind *kind;
	struct request *request;
	uid_t uid;
	pid_t pid;
	int pidfd;
	int started; /* the pidfd of what it started, or -1 */
	bool begun;  /* what goes on to its end */
	bool given_up;
	bool held; /* nothing is heard of it until the client has taken what waits */
	struct json_link *words;
	json_t *last; /* its last message */
	struct event_source *told;
	struct event_source *ended;
	struct event_source *patience;
};

struct chores {
	struct event_loop *loop;
	struct list list;
};

int chores_new(struct event_loop *loop, struct chores **out)
{
	struct chores *chores = calloc(1, sizeof(*chores));

	if (!chores)
		return -ENOMEM;
	chores->loop = loop;
	list_init(&chores->list);
	*out = chores;
	return 0;
}

static void chore_free(struct chore *chore)
{
	list_remove(&chore->link);
	event_source_remove(chore->told);
	event_source_remove(chore->ended);
	event_source_remove(chore->patience);
	json_link_free(chore->words);
	json_decref(chore->last);
	if (chore->pidfd >= 0)
		close(chore->pidfd);
	if (chore->started >= 0)
		close(chore->started);
	free(chore);
}

static void end_started(const struct chore *chore)
{
	if (chore->given_up && chore->started >= 0)
		pidfd_send_signal(chore->started, SIGKILL, NULL, 0);
}

static const char *error_name(int errnum)
{
	switch (errnum) {
	case EACCES:
	case EPERM:
	case EROFS:
		return "Denied";
	case ENOENT:
		return "NotFound";
	case EEXIST:
		return "Exists";
	default:
		return "Failed";
	}
}

static void answer(struct request *request, const struct chore_kind *kind, const json_t *last)
{
	const char *sentence = json_string_value(json_object_get(last, "error"));
	json_int_t errnum = json_integer_value(json_object_get(last, "errno"));
	json_t *reply = sentence ? NULL : kind->reply(json_object_get(last, "reply"));

	if (sentence)
		request_fail(request, error_name((int)errnum), NULL, "%s", sentence);
	else if (reply)
		request_reply(request, reply);
	else
		request_fail(request, "Failed", NULL,
			     "the process that was to do it ended early, or said nothing that "
			     "fits; try again, and see the daemon's log");
}

static void on_progress(struct chore *chore, const json_t *message)
{
	json_int_t done = json_integer_value(json_object_get(message, "done"));
	json_int_t total = json_integer_value(json_object_get(message, "total"));

	if (chore->kind->progress && done >= 0 && total >= done)
		request_progress(chore->request,
				 chore->kind->progress((uint64_t)done, (uint64_t)total));
}

static void listen_to(struct chore *chore, uint32_t events)
{
	if (chore->told)
		event_source_change(chore->told, events);
}

/* What does not fit comes from a child that is not what it was. */
static void distrust(struct chore *chore)
{
	kill(chore->pid, SIGKILL);
	json_decref(chore->last);
	chore->last = NULL;
	event_source_remove(chore->told);
	chore->told = NULL;
}

/* The child waits until it is heard, so no more than this is kept for a client that is slow. */
static void on_part(struct chore *chore, const json_t *part)
{
	json_t *reply = chore->kind->reply(part);

	if (!reply) {
		distrust(chore);
		return;
	}
	request_progress(chore->request, reply);
	chore->held = varlink_call_queued(chore->request->call) >= QUEUED_MAX;
}

/* Takes over message. */
static void hear(struct chore *chore, json_t *message)
{
	if (json_object_get(message, "started") && chore->started < 0) {
		chore->started = json_link_take_fd(chore->words);
		end_started(chore);
	} else if (json_object_get(message, "begun")) {
		chore->begun = true;
	} else if (json_object_get(message, "total")) {
		on_progress(chore, message);
	} else if (json_object_get(message, "part")) {
		on_part(chore, json_object_get(message, "part"));
	} else {
		json_decref(chore->last);
		chore->last = json_incref(message);
	}
	json_decref(message);
}

/* A message that cannot be read, or whose descriptor cannot be taken, is not the last. */
static bool may_say_more(int r)
{
	switch (r) {
	case -EPROTO:
	case -ERANGE:
	case -ELOOP:
	case -EOVERFLOW:
	case -EMFILE:
	case -ENOMEM:
		return true;
	default:
		return r >= 0;
	}
}

/* The next message, if there is one: whether there may be others by now. */
static bool hear_next(struct chore *chore)
{
	json_t *message;
	int r = json_link_receive(chore->words, &message);

	if (r > 0)
		hear(chore, message);
	if (may_say_more(r))
		return r != 0 && r != -ENOMEM;
	event_source_remove(chore->told);
	chore->told = NULL;
	return false;
}

/* One message, so that others on the loop get their turn.  What came along with it waits for no
 * event: to be writable is one that comes at once. */
static void on_told(void *context, uint32_t events)
{
	struct chore *chore = context;
	bool more;

	if (chore->held) /* it has ended, as on_ended will see */
		return;
	more = hear_next(chore);
	listen_to(chore, chore->held ? 0 : more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void unhold(void *context)
{
	struct chore *chore = context;

	if (!chore->held)
		return;
	chore->held = false;
	listen_to(chore, EPOLLIN | EPOLLOUT);
}

static void hear_all(struct chore *chore)
{
	while (chore->told && hear_next(chore))
		;
}

/* The child has a way to undo what it did, which it takes when it sees that nobody waits.  One that
 * goes on, but has not said by then that it has begun, sees that before it begins. */
static void give_up(struct chore *chore)
{
	shutdown(json_link_fd(chore->words), SHUT_WR);
	if (chore->kind->goes_on)
		hear_all(chore);
	if (chore->begun)
		return;
	chore->given_up = true;
	end_started(chore);
}

/* Nothing of what becomes of the call is its any more. */
static void let_go(const struct chore *chore)
{
	varlink_call_watch(chore->request->call, NULL, NULL);
	varlink_call_on_drained(chore->request->call, NULL, NULL);
}

void chores_free(struct chores *chores)
{
	struct chore *chore;

	if (!chores)
		return;
	list_for_each(chore, &chores->list, link)
	{
		give_up(chore);
		let_go(chore);
		request_fail(chore->request, "Failed", NULL, "%s",
			     chore->begun ? chore->kind->left
					  : "the daemon ends; call it again when it is back");
		chore_free(chore);
	}
	free(chores);
}

static void on_ended(void *context, uint32_t events)
{
	struct chore *chore = context;
	struct request *request = chore->request;
	const struct chore_kind *kind = chore->kind;
	json_t *last;

	waitpid(chore->pid, NULL, WNOHANG);
	hear_all(chore);
	let_go(chore);
	last = json_incref(chore->last);
	chore_free(chore);
	answer(request, kind, last);
	json_decref(last);
}

/* It waits for a file system, say, that does not answer. */
static void on_patience(void *context, uint32_t events)
{
	struct chore *chore = context;

	kill(chore->pid, SIGKILL);
}

static void client_left(void *context)
{
	struct chore *chore = context;

	unhold(chore);
	give_up(chore);
	if (chore->given_up)
		event_timer_arm(chore->patience, PATIENCE_NS, 0);
}

static int check_room(const struct chores *chores, uid_t uid, struct error *err)
{
	const struct chore *chore;
	unsigned int all = 0, own = 0;

	list_for_each(chore, &chores->list, link)
	{
		all++;
		own += chore->uid == uid;
	}
	if (all >= CHORES_MAX || own >= CHORES_OF_USER_MAX)
		return error_set(err, EAGAIN,
				 "there are %u such calls in hand, %u of them this user's; wait "
				 "until one of them has ended",
				 all, own);
	return 0;
}

static int start_child(struct chore *chore)
{
	static const struct json_link_limits limits = {.message_max = MESSAGE_MAX, .fds_max = 1};
	int pair[2];
	CLEANUP_CLOSE int ours = -1;
	CLEANUP_CLOSE int theirs = -1;
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = json_link_new(ours, &limits, &chore->words);
	if (r)
		return r;
	ours = -1;
	chore->pid = fork();
	if (!chore->pid)
		chore_child_run(chore->kind, chore->request, theirs);
	if (chore->pid < 0)
		return -errno;
	chore->pidfd = pidfd_open(chore->pid, 0);
	return chore->pidfd < 0 ? -errno : 0;
}

static int watch_child(struct chore *chore)
{
	struct event_loop *loop = chore->chores->loop;
	int r = event_loop_timer(loop, on_patience, chore, &chore->patience);

	if (!r)
		r = event_loop_watch(loop, chore->pidfd, EPOLLIN, on_ended, chore, &chore->ended);
	if (!r)
		r = event_loop_watch(loop, json_link_fd(chore->words), EPOLLIN, on_told, chore,
				     &chore->told);
	return r;
}

static int start(struct chore *chore)
{
	int r = start_child(chore);

	if (!r)
		r = watch_child(chore);
	if (r && chore->pid > 0) {
		kill(chore->pid, SIGKILL);
		waitpid(chore->pid, NULL, 0); /* it has hardly begun */
	}
	return r;
}

static int begin(struct chores *chores, struct request *request, const struct chore_kind *kind,
		 struct error *err)
{
	struct chore *chore;
	int r = check_room(chores, request->caller.uid, err);

	if (r)
		return r;
	chore = calloc(1, sizeof(*chore));
	if (!chore)
		return error_memory(err, "the call");
	chore->chores = chores;
	chore->kind = kind;
	chore->request = request;
	chore->uid = request->caller.uid;
	chore->pidfd = chore->started = -1;
	list_append(&chores->list, &chore->link);
	r = start(chore);
	if (r) {
		chore_free(chore);
		return error_host(err, -r, "no process can be started for the call");
	}
	varlink_call_watch(request->call, client_left, chore);
	varlink_call_on_drained(request->call, unhold, chore);
	return 0;
}

void chore_begin(struct chores *chores, struct request *request, const struct chore_kind *kind)
{
	struct error err;

	if (begin(chores, request, kind, &err))
		request_fail(request, "Failed", NULL, "%s", err.text);
}
