#pragma once

struct switches;

/*
 * What daemons of other state directories left on this host when they were killed: bridges with
 * their mark, which nobody is on, with what belongs to them.  That their daemon is gone is known
 * for certain: as long as it lives it holds a name that the kernel takes back with it.
 */

/* The name, for the daemon whose switch has that mark: an abstract socket (unix(7)) of the host's
 * network, close-on-exec, to be kept open.  -EADDRINUSE: somebody holds it; another -errno. */
int switch_name_hold(const char *mark);

/* Takes off the host what is left of the dead: two bridges, and others when it is called again.
 * May wait for their dnsmasq and for bulkhead-nat, seven seconds at most for each, in which the
 * daemon serves nobody.  What cannot be taken away stays; nothing is reported. */
void switch_dead_remove(struct switches *switches);
