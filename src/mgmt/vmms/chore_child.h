#pragma once

struct chore_kind;
struct request;

/*
 * The child of a chore: keeps the socket fd alone of what the daemon has open, does the work and
 * says over it
 *
 *   {"started"}            with the pidfd of a process that is to end with the chore
 *   {"begun"}              where it goes on from there, whoever leaves
 *   {"done", "total"}      how far it is
 *   {"part"}               of the answer
 *   {"reply"}              or {"error": SENTENCE, "errno"}, last
 *
 * Does not return.
 */
_Noreturn void chore_child_run(const struct chore_kind *kind, const struct request *request,
			       int fd);
