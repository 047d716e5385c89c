#pragma once

#include "base/event_loop.h"

/*
 * Tells when others change what a switch stands on: the host's addresses, its forwarding, or our
 * table of the packet filter.  Everything here runs on the loop's thread.
 */

struct switch_watch;

/* Something did, a moment ago; several changes are told as one. */
typedef void (*switch_watch_changed)(void *context);

/* table is that of the packet filter.  -errno. */
int switch_watch_new(struct event_loop *loop, const char *table, switch_watch_changed changed,
		     void *context, struct switch_watch **out);

/* NULL is allowed. */
void switch_watch_free(struct switch_watch *watch);
