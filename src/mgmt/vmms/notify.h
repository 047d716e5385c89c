#pragma once

#include "base/error.h"
#include "base/event_loop.h"

/* What the daemon and a service manager (systemd) say to each other, where there is one.  Loop
 * thread. */

struct notify;

/*
 * The listening socket that the daemon was started with (sd_listen_fds), the caller's; -ENOENT
 * where it was started with none, -EINVAL with a sentence for anything but one local stream
 * socket.
 */
int notify_take_socket(struct error *err);

/*
 * Says that the daemon serves, and from then on, as often as the manager's watchdog wants it, that
 * its loop still turns.  Nothing happens where nobody asked.  -ENOMEM or what the kernel refused.
 */
int notify_ready(struct event_loop *loop, struct notify **out);

/* Says that the daemon ends.  NULL is allowed. */
void notify_ending(struct notify *notify);
