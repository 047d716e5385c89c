#pragma once

/*
 * The sentence a user reads when something failed: what was wrong, and what to do.
 * Libraries fill one in and return a negative errno; only a program's main prints it.
 */
struct error {
	char text[512];
};

/*
 * Writes the sentence, formatted as by printf, and returns -errnum, so that a failure is one
 * statement: return error_set(err, ENOENT, "...").  err may be NULL (nothing is written).
 * What is too long is cut between characters.  Any thread; err belongs to the caller.
 */
int error_set(struct error *err, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The same for what the host refused with errnum: the sentence goes on with the errno's text and
 * what to do about it, so format says only what could not be done, and no remedy.
 */
int error_host(struct error *err, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What to do about errnum where the host is short of something (EMFILE, ENFILE, ENOMEM), whatever
 * was being done; otherwise for all else.  Any thread.
 */
const char *error_remedy(int errnum, const char *otherwise);

/* As error_host with ENOMEM: what, as "a serial port", names that for which there was no memory. */
int error_memory(struct error *err, const char *what);
