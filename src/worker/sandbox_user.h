#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* For sandbox_drop.c alone: who a confined process is. */

/*
 * Of confined processes that root started, each is a user of its own: this number and its process
 * id in the PID namespace that /proc shows, which is at most 2^22.  systemd gives no meaning to
 * numbers from here on, and leaves them to nobody else.
 */
#define SANDBOX_UID_FIRST 0x70000000u

/* Whether we may make namespaces as we are. */
bool sandbox_may_make_namespaces(void);

/*
 * Becomes the user and the group of that number, or, for 0, of one's own, and keeps its
 * capabilities.  False, with nothing changed that matters, where we may not.
 */
bool sandbox_become_user(uid_t uid);

/* Becomes nobody, for want of better.  The capabilities may be gone. */
bool sandbox_become_nobody(void);
