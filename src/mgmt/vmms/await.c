#include "mgmt/vmms/await.h"

#include <errno.h>
#include <stdlib.h>

#include "base/event_loop.h"
#include "mgmt/vmms/vmms.h"

#define NS_A_SECOND 1000000000ull

struct await {
	struct vm_waiter waiter;
	struct vm *vm;
	unsigned int goals;
	unsigned int misses;
	struct event_source *timer;
	await_done done;
	void *context;
};

void await_cancel(struct await *await)
{
	if (!await)
		return;
	list_remove(&await->waiter.link);
	event_source_remove(await->timer);
	free(await);
}

static void finish(struct await *await, enum await_result result)
{
	struct vm *vm = result == AWAIT_REMOVED ? NULL : await->vm;
	await_done done = await->done;
	void *context = await->context;

	await_cancel(await);
	done(context, vm, result);
}

static void on_changed(struct vm_waiter *waiter, struct vm *vm)
{
	struct await *await = container_of(waiter, struct await, waiter);
	unsigned int state = 1u << vm->state;

	if (await->goals & state)
		finish(await, AWAIT_REACHED);
	else if (await->misses & state)
		finish(await, AWAIT_MISSED);
}

static void on_removed(struct vm_waiter *waiter, const char *why)
{
	finish(container_of(waiter, struct await, waiter), AWAIT_REMOVED);
}

static void on_timer(void *context, uint32_t events)
{
	finish(context, AWAIT_TIMEOUT);
}

int await_new(struct vm *vm, unsigned int goals, unsigned int misses, unsigned int seconds,
	      await_done done, void *context, struct await **out)
{
	struct await *await = calloc(1, sizeof(*await));
	int r = 0;

	if (!await)
		return -ENOMEM;
	await->waiter.changed = on_changed;
	await->waiter.removed = on_removed;
	await->vm = vm;
	await->goals = goals;
	await->misses = misses;
	await->done = done;
	await->context = context;
	if (seconds)
		r = event_loop_timer(vm->vmms->loop, on_timer, await, &await->timer);
	if (!r && seconds)
		r = event_timer_arm(await->timer, seconds * NS_A_SECOND, 0);
	if (r) {
		event_source_remove(await->timer);
		free(await);
		return r;
	}
	vm_wait(vm, &await->waiter);
	*out = await;
	return 0;
}
