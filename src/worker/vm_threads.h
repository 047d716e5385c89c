#pragma once

#include <jansson.h>

#include "base/error.h"
#include "devices/device.h"
#include "worker/config.h"

/*
 * The I/O threads of a VM: one pool that its devices share, and one for each NIC that it is
 * configured with.  Once sealed (worker/sandbox.h) it can make no more, so there is a spare one for
 * a NIC that comes later, and what a NIC leaves behind is for the next.  Main loop.
 */

struct vm_threads;

/* NULL: no memory. */
struct vm_threads *vm_threads_new(const struct worker_config *config);

/* Makes what the configured devices need; nothing runs yet. */
int vm_threads_add(struct vm_threads *threads, struct error *err);

/* As io_thread_launch and io_thread_await, for all of them. */
int vm_threads_launch(struct vm_threads *threads, io_thread_hook hook, struct error *err);
int vm_threads_await(struct vm_threads *threads, struct error *err);

/* Stops them; no device may be left.  NULL is fine. */
void vm_threads_free(struct vm_threads *threads);

/* One of those that devices share, for what has little to do; NULL if there is none. */
struct io_thread *vm_threads_any(const struct vm_threads *threads);

/* Puts into env the threads that the device of that configuration is to use. */
void vm_threads_choose(struct vm_threads *threads, const json_t *config, struct device_env *env);
/* The device of that id is gone, or was never made: its threads are for others. */
void vm_threads_release(struct vm_threads *threads, const char *id);
