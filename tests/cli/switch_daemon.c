/*
 * switch_daemon STATE RUNTIME: what the management daemon does with its switches, on request. Takes
 * JSON objects on a stream socket, its standard input, and answers each: {do: "open", switch,
 * queues, vm} (the descriptors of the tap come along), {do: "adopt"}, "show", "keep" and "undo",
 * which end it.  Notices come in between.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json_link.h"
#include "mgmt/vmms/switch.h"

struct daemon {
	struct event_loop *loop;
	struct switches *switches;
	struct json_link *link;
};

static void say(struct daemon *daemon, json_t *answer, const int *fds, unsigned int count)
{
	json_link_send(daemon->link, answer, fds, count);
	json_link_drain(daemon->link, -1);
	json_decref(answer);
}

static void notice(void *context, const char *name, const char *sentence)
{
	say(context, json_pack("{s:s, s:s}", "switch", name, "notice", sentence), NULL, 0);
}

static json_t *result(int r, const struct error *err)
{
	return r ? json_pack("{s:i, s:s}", "errno", -r, "error", err->text) : json_object();
}

static void open_tap(struct daemon *daemon, const json_t *request)
{
	struct switch_port port = {.nic = "nic0"};
	int fds[SWITCH_QUEUES_MAX];
	const char *name = "";
	char interface[16] = "";
	struct error err;
	json_t *answer;
	int queues = 0;
	int r;

	json_unpack((json_t *)request, "{s:s, s:i, s:s}", "switch", &name, "queues", &queues, "vm",
		    &port.vm);
	port.queues = (unsigned int)queues;
	r = switch_open_tap(daemon->switches, name, &port, fds, interface, &err);
	answer = result(r, &err);
	if (!r)
		json_object_set_new(answer, "interface", json_string(interface));
	say(daemon, answer, fds, r ? 0 : port.queues);
	for (unsigned int i = 0; !r && i < port.queues; i++)
		close(fds[i]);
}

static void end(struct daemon *daemon, bool keep)
{
	switches_free(daemon->switches, keep);
	daemon->switches = NULL;
	say(daemon, json_object(), NULL, 0);
	event_loop_stop(daemon->loop, 0);
}

static void obey(struct daemon *daemon, const json_t *request)
{
	const char *verb = json_string_value(json_object_get(request, "do"));
	struct error err;

	if (!strcmp(verb, "open"))
		open_tap(daemon, request);
	else if (!strcmp(verb, "adopt"))
		say(daemon, result(switches_adopt(daemon->switches, &err), &err), NULL, 0);
	else if (!strcmp(verb, "show"))
		say(daemon,
		    json_pack("{s:o, s:s}", "switches", switches_show(daemon->switches),
			      "default_nic", switch_default_nic_kind()),
		    NULL, 0);
	else
		end(daemon, !strcmp(verb, "keep"));
}

static void readable(void *context, uint32_t events)
{
	struct daemon *daemon = context;
	json_t *request;
	int r;

	while (daemon->switches && (r = json_link_receive(daemon->link, &request)) != 0) {
		if (r < 0) {
			event_loop_stop(daemon->loop, 1);
			return;
		}
		obey(daemon, request);
		json_decref(request);
	}
}

int main(int argc, char **argv)
{
	struct json_link_limits limits = {.message_max = 4096};
	struct daemon daemon = {.loop = NULL};
	struct event_source *source;
	struct error err = {""};
	int code;

	if (argc != 3 || event_loop_new(&daemon.loop) ||
	    json_link_new(STDIN_FILENO, &limits, &daemon.link) ||
	    switches_new(daemon.loop, argv[1], argv[2], notice, &daemon, &daemon.switches, &err) ||
	    event_loop_watch(daemon.loop, STDIN_FILENO, EPOLLIN, readable, &daemon, &source)) {
		fprintf(stderr, "switch_daemon: %s\n", err.text);
		return 2;
	}
	code = event_loop_run(daemon.loop);
	event_source_remove(source);
	if (daemon.switches)
		switches_free(daemon.switches, true);
	json_link_free(daemon.link);
	event_loop_free(daemon.loop);
	return code;
}
