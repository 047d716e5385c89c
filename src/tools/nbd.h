#pragma once

/*
 * bulkhead-nbd, the client of a network block device for one disk of one VM.  Whoever started the
 * worker starts it:
 *
 *   bulkhead-nbd URI SECONDS LANES
 *
 * where a server that answers nothing for so many SECONDS is given up.  It connects as the user who
 * started it, then confines itself as a worker does, and only then reads what the server says.  On
 * NBD_CONTROL_FD it says one thing, as base/json_link.h has it: {"error": SENTENCE}, and ends; or
 *
 *   {"bytes", "block": 512 or 4096, "read_only", "flush", "fua", "trim", "zero"}
 *
 * and serves the lanes of block/remote_wire.h: the shared file is NBD_MEMORY_FD, their sockets
 * follow from NBD_LANES_FD on.  It ends when the last of them is closed, or when the server is
 * gone; the last line on standard error then says why.
 */

#define NBD_CONTROL_FD	3
#define NBD_MEMORY_FD	4
#define NBD_LANES_FD	5
#define NBD_MESSAGE_MAX 4096u
