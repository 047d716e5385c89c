#pragma once

#include "base/error.h"
#include "base/unix_socket.h"

struct public_socket;
struct vmms;

/*
 * A second way in, for users who are no administrators: the socket of root's daemon lets in root
 * and its group alone, and so those to whom a VM was delegated, or who own one, would never come to
 * the rules.  This one, beside it, is open to everybody; who calls is looked at all the same.  It
 * has its own limit of connections, so that nobody there keeps administrators out.
 */

/* As unix_listen, whatever the process's umask is: it would shut out those whom mode lets in. */
int public_socket_listen(const char *path, mode_t mode, struct unix_listener *out);

/* Listens at public.sock in the directory of the daemon's socket.  -errno with err. */
int public_socket_open(struct vmms *vmms, struct public_socket **out, struct error *err);

/* NULL is allowed. */
void public_socket_close(struct public_socket *public_socket);
