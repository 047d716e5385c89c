#include "devices/net/figures.h"

#include <stdio.h>

#define STATE_VERSION 1

void net_link_put(struct net_port *port, struct state_writer *writer)
{
	const char *down = atomic_load(&port->down);

	state_put_string(writer, "link", down ? down : "up");
}

void net_figures_put(struct net_figures *figures, unsigned int index, struct state_writer *writer)
{
	char name[32];

	snprintf(name, sizeof(name), "queue@%x", index);
	state_begin(writer, name, STATE_VERSION);
	state_put_u64(writer, "sent-frames", atomic_load(&figures->sent_frames));
	state_put_u64(writer, "sent-bytes", atomic_load(&figures->sent_bytes));
	state_put_u64(writer, "sent-dropped", atomic_load(&figures->sent_dropped));
	state_put_u64(writer, "received-frames", atomic_load(&figures->received_frames));
	state_put_u64(writer, "received-bytes", atomic_load(&figures->received_bytes));
	state_put_u64(writer, "received-dropped", atomic_load(&figures->received_dropped));
	state_end(writer);
}
