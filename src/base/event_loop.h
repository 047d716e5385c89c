#pragma once

#include <stdint.h>

/*
 * A loop over epoll: one thread runs it, and everything it calls runs on that thread.
 * event_loop_call is the one way in from other threads.
 */

struct event_loop;
struct event_source;

typedef void (*event_handler)(void *context, uint32_t epoll_events);

/* -errno where the kernel refuses a descriptor. */
int event_loop_new(struct event_loop **out);

/* Removes what is still watched (descriptors stay open); never while it runs. */
void event_loop_free(struct event_loop *loop);

/*
 * Watches fd (level-triggered) for events (EPOLLIN, EPOLLOUT ...).  The descriptor stays the
 * caller's.  Loop thread, or before it runs.
 */
int event_loop_watch(struct event_loop *loop, int fd, uint32_t events, event_handler handler,
		     void *context, struct event_source **out);
int event_source_change(struct event_source *source, uint32_t events);

/* Stops watching; safe inside any handler, its own too.  NULL is allowed. */
void event_source_remove(struct event_source *source);

/*
 * A timer on CLOCK_MONOTONIC, unarmed at first.  event_timer_arm with 0 ns disarms; period 0 is
 * one-shot.  Remove with event_source_remove.  Loop thread.
 */
int event_loop_timer(struct event_loop *loop, event_handler handler, void *context,
		     struct event_source **out);
int event_timer_arm(struct event_source *timer, uint64_t first_ns, uint64_t period_ns);

/*
 * Runs function(context) on the loop's thread and waits for it to end; calls it directly when
 * already there or while the loop does not run.  Any thread that holds no lock the loop's
 * handlers take.
 */
void event_loop_call(struct event_loop *loop, void (*function)(void *context), void *context);

/* The same without waiting; -ENOMEM.  Calls run in the order they were posted. */
int event_loop_post(struct event_loop *loop, void (*function)(void *context), void *context);

/* Dispatches until event_loop_stop; returns the code given there, or a negative errno. */
int event_loop_run(struct event_loop *loop);

/* Ends the run after the handler in hand.  Any thread. */
void event_loop_stop(struct event_loop *loop, int code);
