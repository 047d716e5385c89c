#pragma once

#include "base/event_loop.h"
#include "base/io_thread.h"
#include "devices/device.h"
#include "hv_fuzz.h"

/*
 * What a synthetic device is made with, for fuzz targets.  Neither loop nor thread is ever run:
 * everything happens in the target's own calls.
 */

struct device_fuzz {
	struct hv_fuzz machine;
	struct event_loop *loop;
	struct io_thread *thread;
};

/* What it is made with; the first call of all makes that. */
static inline struct device_env device_fuzz_env(struct device_fuzz *fuzz, const char *thread_name)
{
	if (!fuzz->thread) {
		hv_fuzz_new(&fuzz->machine);
		require(event_loop_new(&fuzz->loop) == 0);
		require(io_thread_new(thread_name, 8, &fuzz->thread) == 0);
	}
	return (struct device_env){
		.gpa = fuzz->machine.gpa,
		.loop = fuzz->loop,
		.hv = fuzz->machine.hv,
		.io_threads = &fuzz->thread,
		.io_thread_count = 1,
		.vp_count = 1,
	};
}

/* Consumes config. */
static inline void *device_fuzz_make(const struct device_ops *ops, const struct device_env *env,
				     json_t *config)
{
	void *device = NULL;

	require(ops->create(env, config, &device, NULL) == 0);
	json_decref(config);
	return device;
}
