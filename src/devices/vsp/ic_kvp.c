#include "devices/vsp/ic_kvp.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"

/*
 * Key-value exchange (Linux drivers/hv/hv_kvp.c): the service itself.  Calls wait in a queue, as
 * the guest takes one message at a time; its driver gives its daemon 30 seconds for each.
 */

#define ANSWER_NS (40ull * 1000000000)

struct kvp {
	struct ic ic;
	struct list calls;
	unsigned int count;
};

static const struct ic_version versions[] = {{4, 0}, {3, 0}, {1, 0}};

static struct kvp *from_ic(struct ic *ic)
{
	return container_of(ic, struct kvp, ic);
}

struct kvp_call *kvp_call_new(struct device_call *call, const char *what, uint32_t size)
{
	struct kvp_call *made = calloc(1, sizeof(*made));
	void *body = calloc(1, size);
	struct error err;

	if (!made || !body) {
		free(made);
		free(body);
		error_memory(&err, "an exchange with the guest");
		integration_refuse(call, &err);
		return NULL;
	}
	*made = (struct kvp_call){.call = call, .what = what, .body = body, .size = size};
	return made;
}

void kvp_call_free(struct kvp_call *call)
{
	json_decref(call->items);
	free(call->key);
	free(call->body);
	free(call);
}

void kvp_call_refuse(struct kvp_call *call, const struct error *err)
{
	integration_refuse(call->call, err);
	kvp_call_free(call);
}

static struct kvp_call *first_call(struct kvp *kvp)
{
	return list_empty(&kvp->calls) ? NULL : list_entry(kvp->calls.next, struct kvp_call, node);
}

static void drop(struct kvp *kvp, struct kvp_call *call)
{
	list_remove(&call->node);
	kvp->count--;
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer);

static void send_first(struct kvp *kvp)
{
	struct kvp_call *call;
	struct error err;

	while (!kvp->ic.done && (call = first_call(kvp))) {
		int r = ic_request(&kvp->ic, call->body, call->size, ANSWER_NS, on_answer);

		if (r == 0)
			return;
		drop(kvp, call);
		ic_failure(r == -ENOTCONN ? -ECONNRESET : r, NULL, call->what, &err);
		kvp_call_refuse(call, &err);
	}
}

/* Whether the first call has come to its end, one way or the other; its sentence if it failed. */
static bool take_answer(struct kvp_call *call, int result, const struct ic_answer *answer,
			struct error *err)
{
	if (result == 0 && answer->status == IC_S_CONT && call->exhausted) {
		call->exhausted(call);
		return true;
	}
	if (ic_failure(result, answer, call->what, err) < 0) {
		integration_refuse(call->call, err);
		return true;
	}
	if (call->answered)
		return call->answered(call, answer);
	call->call->reply(call->call, NULL);
	return true;
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct kvp *kvp = from_ic(ic);
	struct kvp_call *call = first_call(kvp);
	struct error err;

	if (take_answer(call, result, answer, &err)) {
		drop(kvp, call);
		kvp_call_free(call);
	}
	send_first(kvp);
}

static int admit(struct kvp *kvp, const struct kvp_call *call, const struct ic_version *since,
		 struct error *err)
{
	if (kvp->ic.state != IC_READY)
		return ic_not_ready(&kvp->ic, err);
	if (kvp->count == KVP_CALLS_MAX)
		return ic_not_ready(&kvp->ic, err);
	if (since && !ic_version_at_least(&kvp->ic, since->major, since->minor))
		return error_set(
			err, ENOTSUP,
			"%s needs version %u.%u of the service, and the guest speaks %u.%u",
			call->what, since->major, since->minor, kvp->ic.version.major,
			kvp->ic.version.minor);
	return 0;
}

void kvp_submit(void *device, struct kvp_call *call, const struct ic_version *since)
{
	struct error err;
	struct ic *ic = integration_find(device, &ic_kvp, &err);
	struct kvp *kvp = ic ? from_ic(ic) : NULL;

	if (!kvp || admit(kvp, call, since, &err) < 0) {
		kvp_call_refuse(call, &err);
		return;
	}
	list_append(&kvp->calls, &call->node);
	kvp->count++;
	send_first(kvp);
}

static int kvp_init(struct ic *ic)
{
	list_init(&from_ic(ic)->calls);
	return 0;
}

/* Those that had not had their turn yet. */
static void kvp_closed(struct ic *ic)
{
	struct kvp *kvp = from_ic(ic);
	struct kvp_call *call;
	struct error err;

	while ((call = first_call(kvp))) {
		drop(kvp, call);
		ic_failure(-ECONNRESET, NULL, call->what, &err);
		kvp_call_refuse(call, &err);
	}
}

static void kvp_report(struct ic *ic, json_t *report)
{
	json_object_set_new(report, "waiting", json_integer(from_ic(ic)->count));
}

const struct ic_ops ic_kvp = {
	.name = "kvp",
	.class_id = GUID_INIT(0xa9a0f4e7, 0x5a45, 0x4d96, 0xb8, 0x27, 0x8a, 0x84, 0x1e, 0x8c, 0x03,
			      0xe6),
	.instance_id = GUID_INIT(0x242ff919, 0x07db, 0x4180, 0x9c, 0x2e, 0xb8, 0x6c, 0xb6, 0x8c,
				 0x8c, 0x55),
	.message_type = IC_KVP,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.size = sizeof(struct kvp),
	.init = kvp_init,
	.closed = kvp_closed,
	.report = kvp_report,
};
