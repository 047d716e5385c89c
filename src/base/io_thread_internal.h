#pragma once

#include <pthread.h>

#include "base/io_thread.h"

/*
 * What the two files of an I/O thread share: io_thread.c (its life, and what others have it do) and
 * io_turn.c (what it does in each turn of its loop: events, batch work, polls).
 */

#define THREAD_NAME_SIZE 16

enum thread_state {
	THREAD_NEW,
	THREAD_STARTING,
	THREAD_RUNNING,
	THREAD_FAILED,
	THREAD_ENDED,
};

struct io_thread {
	struct uring *ring;
	pthread_t thread;
	char name[THREAD_NAME_SIZE];
	io_thread_hook hook;
	void *hook_context;
	int wake_fd;
	struct io_event *wake;
	bool stop; /* owner thread */
	int start_error;
	struct list events;	 /* whose memory is still there; owner thread */
	struct list unarmed;	 /* events that no read is queued for; owner thread */
	struct list polls;	 /* owner thread */
	struct list batch;	 /* io_batch_work; owner thread */
	unsigned int look_skip;	 /* answers until the next try at looking; owner thread */
	unsigned int look_skips; /* as many were skipped last; owner thread */
	bool in_vain;		 /* the last run found nothing done; owner thread */
	unsigned int deaf_polls; /* served since the events were armed; owner thread */

	/* A leaf: guards what follows. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum thread_state state;
	struct list calls;
	struct list posts;
};

struct io_event {
	struct io_thread *thread;
	struct list node;
	struct list unarmed;
	int slot;
	bool removed;
	uint64_t value;
	struct uring_request request;
	void (*handler)(void *context);
	void *context;
};

/* One turn: waits for work unless there is some, and does it.  Owner thread. */
void io_thread_turn(struct io_thread *thread);
