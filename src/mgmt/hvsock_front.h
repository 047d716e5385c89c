#pragma once

#include "base/error.h"
#include "base/unix_socket.h"
#include "mgmt/supervisor.h"

/*
 * The host's side of hv_sock (devices/vsp/hvsock.c).  Who connects to PATH and says "CONNECT PORT"
 * is connected to the guest's port, and hears "OK" with a port of ours when the guest has accepted;
 * a socket that is closed instead was refused.  When the guest connects to a port, PATH_PORT is
 * connected to, with the rights of the user that runs the VM.
 */

struct hvsock_front;

/* Listens at path, which must stay; nobody is answered before supervisor_run.  -errno with a
 * sentence that quotes the option. */
int hvsock_front_open(const char *path, struct hvsock_front **out, struct error *err);
/* NULL is allowed. */
void hvsock_front_close(struct hvsock_front *front);

/* Fills the part that serves it. */
void hvsock_front_part(struct hvsock_front *front, struct supervisor_part *part);
