#pragma once

#include <rfb/rfb.h>
#include <sys/select.h>

#include "tools/vnc.h"

/* bulkhead-vnc's viewers, as libvncserver has them.  The library never has their sockets: what it
 * reads and writes is a file in memory. */

#define VNC_CLIENTS_MAX 8

struct vnc {
	struct vnc_screen screen;
	struct vnc_debts debts;
	rfbScreenInfoPtr rfb;
	unsigned int clients;
	int scratch; /* what the library takes for its clients' sockets */
};

/* Makes the library's side of a screen: 0 or -errno. */
int vnc_clients_init(struct vnc *vnc);
/* One comes, by a socket that does not block; the caller's still, on failure. */
int vnc_clients_add(struct vnc *vnc, int fd);
/* The screen has another picture, or has changed in a part of this one. */
void vnc_clients_new_picture(struct vnc *vnc);
void vnc_clients_changed(struct vnc *vnc, const struct vnc_area *area);
/* What they are waited for, and how many ns at most, UINT64_MAX for ever; returns the highest
 * descriptor, or -1. */
int vnc_clients_watch(const struct vnc *vnc, fd_set *reads, fd_set *writes, uint64_t *ns);
/* Hears each of those, and tells all what there is to tell. */
void vnc_clients_serve(struct vnc *vnc, const fd_set *reads);

/* For the worker, as soon as it takes it. */
void vnc_pay(struct vnc *vnc);
