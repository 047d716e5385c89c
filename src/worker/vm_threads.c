#include "worker/vm_threads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/io_thread.h"
#include "worker/vm_devices.h"

#define POOL_THREADS_MAX  8u
#define POOLS_MAX	  (2 + VM_DEVICES_MAX) /* the shared and the spare one */
#define ID_SIZE		  32
#define VPS_PER_IO_THREAD 4 /* as storvsc asks for one sub-channel for so many */
#define RING_ENTRIES	  256

/* The threads of one NIC. */
struct pool {
	unsigned int first;
	unsigned int count;
	bool used;
	char id[ID_SIZE]; /* of the NIC that has it; "" where it has none */
};

struct vm_threads {
	const struct worker_config *config;
	/* The pool that devices share, then those of NICs. */
	struct io_thread *threads[POOLS_MAX * POOL_THREADS_MAX];
	unsigned int count;
	unsigned int shared;
	struct pool pools[POOLS_MAX];
	unsigned int pool_count;
};

struct io_thread *vm_threads_any(const struct vm_threads *threads)
{
	return threads->count ? threads->threads[0] : NULL;
}

struct vm_threads *vm_threads_new(const struct worker_config *config)
{
	struct vm_threads *threads = calloc(1, sizeof(*threads));

	if (threads)
		threads->config = config;
	return threads;
}

static bool is_device(const json_t *device, const char *wanted)
{
	const char *name = json_string_value(json_object_get(device, "device"));

	return name && !strcmp(name, wanted);
}

/* Only devices with I/O of their own need a thread. */
static bool has_io(const json_t *device)
{
	return json_object_get(device, "disks") || is_device(device, "hvsock");
}

static bool is_nic(const json_t *device)
{
	return is_device(device, "netvsp") || is_device(device, "tulip");
}

/* The integration services and dynamic memory make do with any one of the threads. */
static unsigned int io_threads_wanted(const struct worker_config *config)
{
	unsigned int wanted = 0;
	const json_t *device;
	size_t index;

	json_array_foreach((json_t *)config->devices, index, device)
	{
		if (has_io(device))
			return MIN(1 + (config->cpus - 1) / VPS_PER_IO_THREAD, POOL_THREADS_MAX);
		if (is_device(device, "integration") || is_device(device, "memory") ||
		    is_device(device, "display") || is_device(device, "floppy"))
			wanted = 1;
	}
	return wanted;
}

/* One for each queue that the NIC's backend has. */
static unsigned int nic_threads_wanted(const struct worker_config *config, const json_t *device)
{
	unsigned int queues = (unsigned int)json_array_size(json_object_get(device, "fds"));

	queues = MIN(queues, config->cpus);
	queues = MIN(queues, POOL_THREADS_MAX);
	return MAX(queues, 1u);
}

/* The memory of rings counts as locked. */
static const char *ring_remedy(int errnum)
{
	if (errnum == ENOMEM)
		return "raise `ulimit -l`, or free some memory of the host";
	return error_remedy(errnum, "the kernel must have it and allow it to all users");
}

static int make_pool(struct vm_threads *threads, const char *pool, unsigned int wanted,
		     struct error *err)
{
	for (unsigned int i = 0; i < wanted; i++) {
		char name[24];
		int r;

		snprintf(name, sizeof(name), "%s-%u", pool, i);
		r = io_thread_new(name, RING_ENTRIES, &threads->threads[threads->count]);
		if (r)
			return error_set(err, -r, "cannot make an io_uring (%s); %s", strerror(-r),
					 ring_remedy(-r));
		threads->count++;
	}
	return 0;
}

static int make_nic_pool(struct vm_threads *threads, unsigned int wanted, struct error *err)
{
	struct pool *pool = &threads->pools[threads->pool_count];

	*pool = (struct pool){.first = threads->count, .count = wanted};
	threads->pool_count++;
	return make_pool(threads, "nic", wanted, err);
}

int vm_threads_add(struct vm_threads *threads, struct error *err)
{
	const struct worker_config *config = threads->config;
	const json_t *device;
	size_t index;
	int r = make_pool(threads, "io", io_threads_wanted(config), err);

	threads->shared = threads->count;
	json_array_foreach((json_t *)config->devices, index, device)
	{
		if (!r && index < VM_DEVICES_MAX && is_nic(device))
			r = make_nic_pool(threads, nic_threads_wanted(config, device), err);
	}
	return r ? r : make_nic_pool(threads, 1, err);
}

int vm_threads_launch(struct vm_threads *threads, io_thread_hook hook, struct error *err)
{
	for (unsigned int i = 0; i < threads->count; i++) {
		int r = io_thread_launch(threads->threads[i], hook, NULL);

		if (r)
			return error_host(err, -r, "cannot start an I/O thread");
	}
	return 0;
}

int vm_threads_await(struct vm_threads *threads, struct error *err)
{
	for (unsigned int i = 0; i < threads->count; i++) {
		int r = io_thread_await(threads->threads[i]);

		if (r)
			return error_host(err, -r, "cannot start an I/O thread");
	}
	return 0;
}

void vm_threads_free(struct vm_threads *threads)
{
	while (threads && threads->count)
		io_thread_free(threads->threads[--threads->count]);
	free(threads);
}

/* The smallest unused one that has as many, or the largest. */
static struct pool *find_pool(struct vm_threads *threads, unsigned int wanted)
{
	struct pool *best = NULL;

	for (unsigned int i = 0; i < threads->pool_count; i++) {
		struct pool *pool = &threads->pools[i];

		if (pool->used)
			continue;
		if (!best || (best->count < wanted && pool->count > best->count) ||
		    (pool->count >= wanted && pool->count < best->count))
			best = pool;
	}
	return best;
}

/* A NIC for which there are none left shares those of the others. */
void vm_threads_choose(struct vm_threads *threads, const json_t *config, struct device_env *env)
{
	const char *id = json_string_value(json_object_get(config, "id"));
	unsigned int wanted = nic_threads_wanted(threads->config, config);
	struct pool *pool = is_nic(config) ? find_pool(threads, wanted) : NULL;

	env->io_threads = threads->threads;
	env->io_thread_count = threads->shared;
	if (!pool)
		return;
	pool->used = true;
	snprintf(pool->id, sizeof(pool->id), "%s", id ? id : "");
	env->io_threads = &threads->threads[pool->first];
	env->io_thread_count = MIN(pool->count, wanted);
}

void vm_threads_release(struct vm_threads *threads, const char *id)
{
	for (unsigned int i = 0; i < threads->pool_count; i++) {
		if (threads->pools[i].used && !strcmp(threads->pools[i].id, id))
			threads->pools[i].used = false;
	}
}
