#pragma once

struct request;
struct vm;

/*
 * The verbs of a guest: methods of io.bulkhead.VM that the daemon offers with one parameter more,
 * the VM.  Calls, their replies (all of them, and a descriptor that comes along) and errors are
 * passed on; a client that leaves hangs up on the supervisor too, and one that reads slowly slows
 * it down.
 */

/* Of a method whose data is NULL, or a const char *: what it is called in io.bulkhead.VM. */
void forward_call(struct request *request, struct vm *vm);
