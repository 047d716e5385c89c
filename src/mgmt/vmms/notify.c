#include "mgmt/vmms/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

struct notify {
	struct event_source *watchdog; /* NULL: nobody watches */
};

int notify_take_socket(struct error *err)
{
	int count = sd_listen_fds(1);
	int fd = SD_LISTEN_FDS_START;

	if (count == 0)
		return -ENOENT;
	if (count != 1 || sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0)
		return error_set(
			err, EINVAL,
			"the daemon was started with %d sockets, or one that is no local "
			"stream socket; give its .socket unit one ListenStream= with a path",
			count);
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		return error_host(err, errno, "the socket that was passed cannot be used");
	return fd;
}

static void feed(void *context, uint32_t events)
{
	sd_notify(0, "WATCHDOG=1");
}

/* Twice in the time that the manager gives. */
static int watch(struct notify *notify, struct event_loop *loop, uint64_t usec)
{
	int r = event_loop_timer(loop, feed, notify, &notify->watchdog);

	return r ? r : event_timer_arm(notify->watchdog, 1, usec * 1000 / 2);
}

int notify_ready(struct event_loop *loop, struct notify **out)
{
	struct notify *notify = calloc(1, sizeof(*notify));
	uint64_t usec;
	int r = notify ? 0 : -ENOMEM;

	if (!r && sd_watchdog_enabled(1, &usec) > 0)
		r = watch(notify, loop, usec);
	if (r) {
		notify_ending(notify);
		return r;
	}
	sd_notify(0, "READY=1");
	*out = notify;
	return 0;
}

void notify_ending(struct notify *notify)
{
	if (!notify)
		return;
	sd_notify(0, "STOPPING=1");
	event_source_remove(notify->watchdog);
	free(notify);
}
