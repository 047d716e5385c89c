#pragma once

#include "devices/device.h"
#include "devices/net/net.h"

/*
 * Has the main loop tell the worker's parent that an adapter's link has gone, and why.
 *
 * env: the adapter's.
 * id: the adapter's name, copied; an adapter without one ("") is not spoken of.
 * port: it says why; nothing is told where it says nothing.
 *
 * Any thread. Best effort: who hears of nothing finds the link's state by inspect.
 */
void link_event_down(const struct device_env *env, const char *id, const struct net_port *port);
