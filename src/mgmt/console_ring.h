#pragma once

#include <stdbool.h>
#include <stddef.h>

struct varlink_call;

/*
 * --console ring: a guest's console for any number of clients of the VM's socket.  The last 64 KiB
 * are kept, and are what each client gets first.  Whoever reads too slowly loses what was kept
 * longest, and is told how much; the guest never waits.  What clients write comes from one of them
 * at a time: the first that asked, until it leaves, and then the next.  All on the loop's thread.
 */

#define CONSOLE_RING_SIZE      (64u << 10)
#define CONSOLE_RING_WRITE_MAX (64u << 10) /* that one call may bring */

struct console_ring;

/* input(context) is called when there is something for console_ring_take; -ENOMEM. */
int console_ring_new(void (*input)(void *context), void *context, struct console_ring **out);
/* Nothing more comes: every reader gets its last reply.  Others may still read what there is. */
void console_ring_end(struct console_ring *ring);
/* It has ended, and nobody calls any more; NULL is allowed. */
void console_ring_free(struct console_ring *ring);

/* What the guest has written. */
void console_ring_put(struct console_ring *ring, const char *data, size_t length);

/* Takes up to size bytes of what was written for the guest; their writer is answered with the last
 * of them. */
size_t console_ring_take(struct console_ring *ring, char *data, size_t size);
bool console_ring_has_input(const struct console_ring *ring);

/* Answer OpenConsole and WriteConsole; the strings stay the caller's. */
void console_ring_open(struct console_ring *ring, struct varlink_call *call, bool read_only);
void console_ring_write(struct console_ring *ring, struct varlink_call *call, const char *session,
			const char *data);
