#pragma once

#include <stdint.h>

#include "base/list.h"
#include "base/uring.h"

/*
 * A thread that owns one uring and does nothing but run it.  Doorbells reach it as eventfds,
 * other threads by io_thread_call.
 */

struct io_thread;
struct io_event;

/* What a program wants done on each I/O thread before it does anything else (seccomp, say);
 * a negative errno ends the thread and fails io_thread_start. */
typedef int (*io_thread_hook)(void *context);

/* Makes the thread's ring; nothing runs yet.  name: at most 15 characters.  entries as uring_new.
 */
int io_thread_new(const char *name, unsigned int entries, struct io_thread **out);

/* Starts the thread and waits until it runs; hook may be NULL. */
int io_thread_start(struct io_thread *thread, io_thread_hook hook, void *context);

/* The two halves of it.  In between, calls wait for the start. */
int io_thread_launch(struct io_thread *thread, io_thread_hook hook, void *context);
int io_thread_await(struct io_thread *thread);

/* Stops and joins it, then frees.  All events and requests must be gone. */
void io_thread_free(struct io_thread *thread);

/* The ring, for requests on the owner thread. */
struct uring *io_thread_uring(struct io_thread *thread);

/* Runs function(context) on the thread and waits for its end; directly when already there or
 * not yet started, or its start has failed.  Otherwise what was posted before has run before.  Any
 * thread. */
void io_thread_call(struct io_thread *thread, void (*function)(void *context), void *context);

/* A call that nobody waits for.  The caller embeds it, and keeps it until it is run. */
struct io_post {
	struct list node;
	void (*run)(struct io_post *post);
};

/* Has run called on the thread soon; not again before that.  Any thread, while the I/O thread is
 * sure to run. */
void io_thread_post(struct io_thread *thread, struct io_post *post);

/* Calls handler(context) on the thread each time the eventfd is signalled.  Owner thread
 * (through io_thread_call), or before it starts.  The descriptor stays the caller's, but its
 * O_NONBLOCK is cleared, since a ring takes that for a read which shall not wait.  -ENOSPC
 * when the ring's fixed files are used up. */
int io_thread_watch(struct io_thread *thread, int eventfd, void (*handler)(void *context),
		    void *context, struct io_event **out);

/* No handler call comes after it returns; memory goes when the pending read has ended.  Owner
 * thread (its own handler too), or before it starts. */
void io_event_remove(struct io_event *event);

/*
 * A source of work that shows in memory, a ring say, and has a doorbell for when nobody looks
 * there. Whoever serves it and finds no more leaves the doorbell switched off and asks for a poll
 * instead.  The thread looks at it for a short while where it is awake anyway and answers have
 * lately been followed by work.  The caller embeds it.
 */
struct io_poll {
	struct list node;
	/* Whether there is work; asked over and over, so a load or two. */
	bool (*ready)(const struct io_poll *poll);
	/* Serves it. */
	void (*serve)(struct io_poll *poll);
	/* The thread is about to sleep: switches the doorbell on, looks again and serves what came
	 * before it was. */
	void (*rest)(struct io_poll *poll);
};

void io_poll_init(struct io_poll *poll, bool (*ready)(const struct io_poll *poll),
		  void (*serve)(struct io_poll *poll), void (*rest)(struct io_poll *poll));

/* Has serve called if it gets ready, or else rest before the thread sleeps; one of them, once.
 * Asking again before that changes nothing.  Owner thread. */
void io_thread_poll(struct io_thread *thread, struct io_poll *poll);

/* Neither will be called; false if that was so already.  Owner thread. */
bool io_poll_cancel(struct io_poll *poll);

/*
 * Work to be done once at the end of the batch of completions in hand, before what was queued
 * is submitted: signalling the guest, say, once for all of them.  The caller embeds it.
 */
struct io_batch_work {
	struct list node;
	void (*run)(struct io_batch_work *work);
};

void io_batch_work_init(struct io_batch_work *work, void (*run)(struct io_batch_work *work));

/* Has it run once; asking again before it ran changes nothing.  Owner thread. */
void io_thread_batch_end(struct io_thread *thread, struct io_batch_work *work);

/* Takes back what has not run yet.  Owner thread. */
void io_batch_work_cancel(struct io_batch_work *work);
