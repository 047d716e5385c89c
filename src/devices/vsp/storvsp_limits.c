#include <errno.h>
#include <stdio.h>

#include "devices/block/configured.h"
#include "devices/vsp/storvsp_internal.h"

/* How fast the disks of a storage controller may be (devices/block/limit.h). */

int storvsp_attach_limits(struct storvsp *storvsp, struct storvsp_thread *thread)
{
	int r = 0;

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX && r == 0; i++) {
		struct block_limiter *limiter = storvsp->luns[i].limiter;

		if (storvsp->lun_mask >> i & 1 && block_limited(&limiter->limits) &&
		    !thread->limits[i])
			r = block_limit_attach(limiter, thread->thread, &thread->limits[i]);
	}
	return r;
}

void storvsp_release_limits(struct storvsp_thread *thread)
{
	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++)
		if (thread->limits[i])
			block_limit_release(thread->limits[i]);
}

struct change {
	struct storvsp *storvsp;
	struct storvsp_thread *thread;
	unsigned int lun;
	int result;
};

static void attach_here(void *context)
{
	struct change *change = context;

	change->result = storvsp_attach_limits(change->storvsp, change->thread);
}

static void detach_here(void *context)
{
	struct change *change = context;
	struct block_limit_queue **queue = &change->thread->limits[change->lun];

	if (*queue)
		block_limit_detach(*queue);
	*queue = NULL;
}

void storvsp_detach_limits(struct storvsp *storvsp, unsigned int lun)
{
	for (unsigned int i = 0; storvsp->threads && i < storvsp->env.io_thread_count; i++) {
		struct change change = {storvsp, &storvsp->threads[i], lun};

		if (change.thread->limits[lun])
			io_thread_call(change.thread->thread, detach_here, &change);
	}
}

int storvsp_set_limits(struct storvsp *storvsp, unsigned int lun, const struct block_limits *limits)
{
	struct block_limiter *limiter = storvsp->luns[lun].limiter;

	storvsp_detach_limits(storvsp, lun);
	block_limiter_set(limiter, limits);
	for (unsigned int i = 0; i < storvsp->env.io_thread_count; i++) {
		struct change change = {storvsp, &storvsp->threads[i], lun};

		/* The others are given theirs when they serve a channel. */
		if (!change.thread->attached)
			continue;
		io_thread_call(change.thread->thread, attach_here, &change);
		if (change.result < 0) {
			storvsp_detach_limits(storvsp, lun);
			block_limiter_set(limiter, &(struct block_limits){0});
			return change.result;
		}
	}
	return 0;
}

static json_t *limits_json(unsigned int lun, const struct block_limits *limits)
{
	return json_pack("{s:i, s:I, s:I}", "lun", (int)lun, "iops", (json_int_t)limits->iops,
			 "bandwidth", (json_int_t)limits->bandwidth);
}

void storvsp_verb_set_limits(void *device, const json_t *parameters, struct device_call *call)
{
	struct storvsp *storvsp = device;
	struct block_limits limits = {0};
	struct error err;
	bool was_quiesced;
	int lun = storvsp_find_disk(storvsp, parameters, &err);
	int r = lun;

	if (r >= 0) {
		limits = storvsp->luns[lun].limiter->limits;
		r = block_read_limits(parameters, &limits, &err);
	}
	if (r >= 0) {
		was_quiesced = storvsp_begin_change(storvsp);
		r = storvsp_set_limits(storvsp, (unsigned int)lun, &limits);
		storvsp_end_change(storvsp, was_quiesced);
		if (r < 0)
			error_host(&err, -r, "the disk cannot be limited, and has no limits now");
	}
	if (r < 0)
		call->refuse(call, err.text);
	else
		call->reply(call, limits_json((unsigned int)lun, &limits));
}

void storvsp_save_limits(const struct storvsp *storvsp, struct state_writer *writer)
{
	char name[32];

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX; i++) {
		const struct block_limiter *limiter = storvsp->luns[i].limiter;
		const struct block_limits *limits;

		if (!(storvsp->lun_mask >> i & 1) || !block_limited(&limiter->limits))
			continue;
		limits = &limiter->limits;
		snprintf(name, sizeof(name), "limits@%u", i);
		state_begin(writer, name, STORVSP_STATE_VERSION);
		state_put_u64(writer, "iops", limits->iops);
		state_put_u64(writer, "bandwidth", limits->bandwidth);
		state_end(writer);
	}
}

/* None where there are none in the state. */
static int restore_limit(struct storvsp *storvsp, unsigned int lun, const struct state_node *node)
{
	struct block_limits limits = {0};
	struct state_node child;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "limits@%u", lun);
	r = state_child(node, name, STORVSP_STATE_VERSION, &child);
	if (r == 0) {
		r = state_get_u64(&child, "iops", &limits.iops);
		if (r == 0)
			r = state_get_u64(&child, "bandwidth", &limits.bandwidth);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	return storvsp_set_limits(storvsp, lun, &limits);
}

int storvsp_restore_limits(struct storvsp *storvsp, const struct state_node *node)
{
	int r = 0;

	for (unsigned int i = 0; i < STORVSP_LUNS_MAX && r == 0; i++)
		if (storvsp->lun_mask >> i & 1)
			r = restore_limit(storvsp, i, node);
	return r;
}
