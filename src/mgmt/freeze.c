#include "mgmt/freeze.h"

#include <stdlib.h>

#include "mgmt/supervisor.h"
#include "mgmt/vm_interface.h"

/* A freeze that its client holds. */
struct hold {
	struct supervisor *supervisor;
	struct varlink_call *call;
	json_int_t number; /* by which the worker knows it; 0 until the guest is frozen */
	bool gone;	   /* the client */
};

static int call_worker(struct hold *hold, const char *verb, supervisor_reply done)
{
	return supervisor_call_device(hold->supervisor, "integration", verb,
				      json_pack("{s:I}", "hold", hold->number), NULL, 0, done,
				      done ? hold : NULL);
}

static void on_gone(void *context)
{
	struct hold *hold = context;

	hold->gone = true;
	if (hold->number)
		call_worker(hold, "vss-release", NULL);
}

static void end(struct hold *hold, const json_t *reply, const char *error)
{
	vm_interface_answer(hold->call, reply, error);
	free(hold);
}

static void on_over(void *context, const json_t *reply, const char *error)
{
	json_t *last =
		json_pack("{s:i, s:O*}", "timeout", 0, "over", json_object_get(reply, "over"));

	end(context, reply ? last : NULL, error);
	json_decref(last);
}

static void on_frozen(void *context, const json_t *reply, const char *error)
{
	struct hold *hold = context;

	if (!reply) {
		end(hold, NULL, error);
		return;
	}
	hold->number = json_integer_value(json_object_get(reply, "hold"));
	if (hold->gone)
		on_gone(hold);
	else
		varlink_reply_continues(hold->call, json_pack("{s:O*}", "timeout",
							      json_object_get(reply, "timeout")));
	if (call_worker(hold, "vss-await", on_over))
		end(hold, NULL, "the VM is ending");
}

static void begin_hold(struct supervisor *supervisor, struct varlink_call *call,
		       const json_t *parameters)
{
	struct hold *hold = calloc(1, sizeof(*hold));
	json_t *asked = json_copy((json_t *)parameters);

	if (!hold || !asked || json_object_set_new(asked, "hold", json_true())) {
		json_decref(asked);
		free(hold);
		vm_interface_answer(call, NULL, "no memory for it; end some programs");
		return;
	}
	*hold = (struct hold){.supervisor = supervisor, .call = call};
	varlink_call_watch(call, on_gone, hold);
	if (supervisor_call_device(supervisor, "integration", "vss-freeze", asked, NULL, 0,
				   on_frozen, hold))
		end(hold, NULL, "the VM is ending");
}

void freeze_guest(void *context, struct varlink_call *call, const json_t *parameters)
{
	if (varlink_call_wants_more(call))
		begin_hold(context, call, parameters);
	else
		supervisor_forward_verb(context, call, "integration", "vss-freeze", parameters);
}
