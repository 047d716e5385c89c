#include "mgmt/vmms/forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/varlink.h"
#include "base/varlink_peer.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"

#define QUEUED_MAX	  (256u << 10) /* replies that may wait for a client */
#define INVALID_PARAMETER "org.varlink.service.InvalidParameter"

struct forward {
	struct request *request;
	struct vm_call *call;
	bool held;
};

/* Nobody hears of it any more. */
static void client_left(void *context)
{
	struct forward *forward = context;
	struct request *request = forward->request;

	vm_call_forget(forward->call);
	free(forward);
	request_reply(request, NULL);
}

static void drained(void *context)
{
	struct forward *forward = context;

	if (!forward->held)
		return;
	forward->held = false;
	vm_call_hold(forward->call, false);
}

/* Who could read a console yesterday may not be one to read it today. */
static void cut_short(struct forward *forward)
{
	struct request *request = forward->request;
	const struct vm *vm = request_vm(request);

	vm_call_forget(forward->call);
	varlink_call_watch(request->call, NULL, NULL);
	varlink_call_on_drained(request->call, NULL, NULL);
	free(forward);
	request_fail(request, "Denied", NULL, "%s: the right to it was taken away; ask its owner",
		     vm ? vm_name(vm) : "the VM");
}

static void pass_on(struct forward *forward, const json_t *reply)
{
	if (!request_allowed(forward->request)) {
		cut_short(forward);
		return;
	}
	varlink_reply_continues(forward->request->call, json_incref((json_t *)reply));
	if (varlink_call_queued(forward->request->call) < QUEUED_MAX)
		return;
	forward->held = true;
	vm_call_hold(forward->call, true);
}

static void fail(struct request *request, const char *error, const json_t *parameters)
{
	const struct vm *vm = request_vm(request);

	if (!strcmp(error, INVALID_PARAMETER))
		request_fail_as(request, error, json_incref((json_t *)parameters));
	else if (!strcmp(error, VARLINK_PEER_GONE) && vm)
		request_fail_state(request, vm, "%s: the VM ended meanwhile, or its supervisor did",
				   vm_name(vm));
	else
		request_fail(request, "Failed", NULL, "%s: %s", vm ? vm_name(vm) : "the VM",
			     vm_call_message(error, parameters));
}

static void answered(void *context, const json_t *reply, const char *error,
		     const json_t *parameters, bool continues)
{
	struct forward *forward = context;
	struct request *request = forward->request;
	int fd;

	if (continues) {
		pass_on(forward, reply);
		return;
	}
	fd = vm_call_take_fd(forward->call);
	varlink_call_watch(request->call, NULL, NULL);
	varlink_call_on_drained(request->call, NULL, NULL);
	free(forward);
	if (error)
		fail(request, error, parameters);
	else if (fd >= 0)
		request_reply_fd(request, json_incref((json_t *)reply), fd);
	else
		request_reply(request, json_incref((json_t *)reply));
	if (fd >= 0)
		close(fd);
}

static int begin(struct forward *forward, struct vm *vm)
{
	struct request *request = forward->request;
	const char *name = request->method->data ? request->method->data : request->method->name;
	json_t *parameters = json_copy(request->parameters);

	json_object_del(parameters, "vm");
	return vm_link_call(vm->run->link, name, parameters, varlink_call_wants_more(request->call),
			    answered, forward, &forward->call);
}

void forward_call(struct request *request, struct vm *vm)
{
	struct forward *forward;
	int r = -ENOMEM;

	if (!vm->run || vm->state == VM_STARTING) {
		request_fail_state(request, vm, "%s: it is %s; start it, or wait until it runs",
				   vm_name(vm), vm_state_name(vm->state));
		return;
	}
	forward = calloc(1, sizeof(*forward));
	if (forward) {
		forward->request = request;
		r = begin(forward, vm);
	}
	if (r) {
		free(forward);
		request_fail(request, "Failed", NULL, "%s: %s", vm_name(vm),
			     r == -EBUSY ? "too many calls are in hand; try again later"
					 : "its supervisor cannot be reached; try again");
		return;
	}
	varlink_call_watch(request->call, client_left, forward);
	varlink_call_on_drained(request->call, drained, forward);
}
