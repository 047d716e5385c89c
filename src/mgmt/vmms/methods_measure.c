#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/varlink.h"
#include "base/varlink_peer.h"
#include "mgmt/vmms/measure.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"

/* A call that waits for what a VM has counted. */
struct measuring {
	struct request *request;
	struct vm_call *call;
	bool reset; /* the meter's span has begun anew: what is counted until now is kept */
};

static void client_left(void *context)
{
	struct measuring *measuring = context;
	struct request *request = measuring->request;

	vm_call_forget(measuring->call);
	free(measuring);
	request_reply(request, NULL);
}

static void fail(struct request *request, const char *error, const json_t *parameters)
{
	const struct vm *vm = request_vm(request);

	if (!strcmp(error, VARLINK_PEER_GONE) && vm)
		request_fail_state(request, vm, "%s: the VM ended meanwhile, or its supervisor did",
				   vm_name(vm));
	else
		request_fail(request, "Failed", NULL, "%s: %s", vm ? vm_name(vm) : "the VM",
			     vm_call_message(error, parameters));
}

/* Since the start, and, where there was one, since the last reset. */
static json_t *describe(const struct vm *vm, const struct measure *now)
{
	const struct measure start = {.time_us = vm->run->started_us};
	json_t *object = json_pack("{s:o}", "since_start", measure_usage(&start, now, false));
	struct measure kept;

	/* One from before the start is of another run. */
	if (measure_find(vm, &kept) || kept.time_us < start.time_us)
		return object;
	json_object_set_new(object, "reset", json_integer(kept.time_us));
	json_object_set_new(object, "since_reset", measure_usage(&kept, now, true));
	return object;
}

static void answer(struct request *request, const struct vm *vm, const json_t *tree, bool reset)
{
	struct measure now;
	struct error err;

	measure_take(vm, tree, &now);
	if (!reset)
		request_reply(request, json_pack("{s:o}", "measure", describe(vm, &now)));
	else if (measure_keep(vm, &now, &err))
		request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm), err.text);
	else
		request_reply(request, NULL);
}

static void counted(void *context, const json_t *reply, const char *error, const json_t *parameters,
		    bool continues)
{
	struct measuring *measuring = context;
	struct request *request = measuring->request;
	const struct vm *vm = request_vm(request);
	bool reset = measuring->reset;

	varlink_call_watch(request->call, NULL, NULL);
	free(measuring);
	if (error || !vm || !vm->run)
		fail(request, error ? error : VARLINK_PEER_GONE, parameters);
	else
		answer(request, vm, json_object_get(reply, "tree"), reset);
}

static int count(struct measuring *measuring, const struct vm *vm)
{
	return vm_link_call(vm->run->link, "Counters", NULL, false, counted, measuring,
			    &measuring->call);
}

static void span_begun(void *context, const json_t *reply, const char *error,
		       const json_t *parameters, bool continues)
{
	struct measuring *measuring = context;
	struct request *request = measuring->request;
	const struct vm *vm = request_vm(request);

	if (!error && (!vm || !vm->run || count(measuring, vm)))
		error = VARLINK_PEER_GONE;
	if (!error)
		return;
	varlink_call_watch(request->call, NULL, NULL);
	free(measuring);
	fail(request, error, parameters);
}

static void begin(struct request *request, const struct vm *vm, bool reset)
{
	struct measuring *measuring;
	int r = -ENOMEM;

	if (!vm->run || vm->state == VM_STARTING) {
		request_fail_state(request, vm, "%s: it is %s; start it, or wait until it runs",
				   vm_name(vm), vm_state_name(vm->state));
		return;
	}
	measuring = calloc(1, sizeof(*measuring));
	if (measuring) {
		measuring->request = request;
		measuring->reset = reset;
		r = reset ? vm_link_call(vm->run->link, "ResetMeter", NULL, false, span_begun,
					 measuring, &measuring->call)
			  : count(measuring, vm);
	}
	if (!r) {
		varlink_call_watch(request->call, client_left, measuring);
		return;
	}
	free(measuring);
	request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm),
		     r == -EBUSY ? "too many calls are in hand; try again later"
				 : "its supervisor cannot be reached; try again");
}

void method_measure(struct request *request, struct vm *vm)
{
	begin(request, vm, false);
}

void method_reset_measure(struct request *request, struct vm *vm)
{
	begin(request, vm, true);
}
