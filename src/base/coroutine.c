#include "base/coroutine.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define STACK_BYTES (256u << 10)
#define GUARD_BYTES 4096u /* below the stack: running out of it is a fault, not a corruption */

/* Sanitizers follow the stack in use, and must be told when it is exchanged. */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define BEGIN_SWITCH(save, base, size) __sanitizer_start_switch_fiber(save, base, size)
#define END_SWITCH(save, base, size)   __sanitizer_finish_switch_fiber(save, base, size)
#else
#define BEGIN_SWITCH(save, base, size) ((void)0)
#define END_SWITCH(save, base, size)   ((void)0)
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define CREATE_FIBER()	     __tsan_create_fiber(0)
#define DESTROY_FIBER(fiber) __tsan_destroy_fiber(fiber)
#define CURRENT_FIBER()	     __tsan_get_current_fiber()
#define SWITCH_FIBER(fiber)  __tsan_switch_to_fiber(fiber, 0)
#else
#define CREATE_FIBER()	     NULL
#define DESTROY_FIBER(fiber) ((void)(fiber))
#define CURRENT_FIBER()	     NULL
#define SWITCH_FIBER(fiber)  ((void)(fiber))
#endif

struct coroutine {
	void (*function)(void *context);
	void *context;
	uint8_t *memory;
	ucontext_t own;
	ucontext_t resumer;
	bool begun; /* own is the place of a yield, or of the last return */
	/* For sanitizers. */
	void *own_save;
	void *resumer_save;
	const void *resumer_base;
	size_t resumer_size;
	void *own_fiber;
	void *resumer_fiber;
};

static void leave(struct coroutine *coroutine)
{
	BEGIN_SWITCH(&coroutine->own_save, coroutine->resumer_base, coroutine->resumer_size);
	SWITCH_FIBER(coroutine->resumer_fiber);
	swapcontext(&coroutine->own, &coroutine->resumer);
	END_SWITCH(coroutine->own_save, &coroutine->resumer_base, &coroutine->resumer_size);
}

/* makecontext passes integers only: a pointer is two of them. */
static void enter(unsigned int high, unsigned int low)
{
	struct coroutine *coroutine = (struct coroutine *)((uintptr_t)high << 32 | (uintptr_t)low);

	END_SWITCH(NULL, &coroutine->resumer_base, &coroutine->resumer_size);
	for (;;) {
		coroutine->function(coroutine->context);
		leave(coroutine);
	}
}

int coroutine_new(void (*function)(void *context), void *context, struct coroutine **out)
{
	struct coroutine *coroutine = calloc(1, sizeof(*coroutine));

	if (!coroutine)
		return -ENOMEM;
	coroutine->memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (coroutine->memory == MAP_FAILED ||
	    mprotect(coroutine->memory, GUARD_BYTES, PROT_NONE) < 0) {
		if (coroutine->memory != MAP_FAILED)
			munmap(coroutine->memory, GUARD_BYTES + STACK_BYTES);
		free(coroutine);
		return -ENOMEM;
	}
	coroutine->function = function;
	coroutine->context = context;
	coroutine->own_fiber = CREATE_FIBER();
	*out = coroutine;
	return 0;
}

void coroutine_free(struct coroutine *coroutine)
{
	if (!coroutine)
		return;
	DESTROY_FIBER(coroutine->own_fiber);
	munmap(coroutine->memory, GUARD_BYTES + STACK_BYTES);
	free(coroutine);
}

static void begin(struct coroutine *coroutine)
{
	uintptr_t address = (uintptr_t)coroutine;

	getcontext(&coroutine->own);
	coroutine->own.uc_stack.ss_sp = coroutine->memory + GUARD_BYTES;
	coroutine->own.uc_stack.ss_size = STACK_BYTES;
	coroutine->own.uc_link = NULL;
	makecontext(&coroutine->own, (void (*)(void))enter, 2, (unsigned int)(address >> 32),
		    (unsigned int)address);
	coroutine->begun = true;
}

void coroutine_resume(struct coroutine *coroutine)
{
	if (!coroutine->begun)
		begin(coroutine);
	coroutine->resumer_fiber = CURRENT_FIBER();
	BEGIN_SWITCH(&coroutine->resumer_save, coroutine->memory + GUARD_BYTES, STACK_BYTES);
	SWITCH_FIBER(coroutine->own_fiber);
	swapcontext(&coroutine->resumer, &coroutine->own);
	END_SWITCH(coroutine->resumer_save, NULL, NULL);
}

void coroutine_yield(struct coroutine *coroutine)
{
	leave(coroutine);
}
