#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "devices/vsp/ic.h"

/* What of a component is saved, what is told of it, and the sentences for its failures. */

static const char *const state_names[IC_STATES] = {
	[IC_CLOSED] = "no driver",
	[IC_NEGOTIATING] = "negotiating",
	[IC_READY] = "ready",
	[IC_REFUSED] = "no common version",
};

static uint32_t pack_version(struct ic_version version)
{
	return (uint32_t)version.major << 16 | version.minor;
}

static struct ic_version unpack_version(uint32_t packed)
{
	return (struct ic_version){(uint16_t)(packed >> 16), (uint16_t)packed};
}

/*
 * A transaction is not saved: who waited for it is not there after a restore, and a late answer is
 * not asked for.  Only the agreement on versions is begun anew.
 */
void ic_save(struct ic *ic, struct state_writer *writer)
{
	state_begin(writer, ic->ops->name, IC_STATE_VERSION);
	state_put_u32(writer, "state", ic->state);
	state_put_u32(writer, "framework", pack_version(ic->framework));
	state_put_u32(writer, "version", pack_version(ic->version));
	state_put_u32(writer, "transaction", ic->transaction_id);
	if (ic->ops->save)
		ic->ops->save(ic, writer);
	state_end(writer);
}

static bool version_offered(const struct ic *ic, struct ic_version version)
{
	for (unsigned int i = 0; i < ic->ops->version_count; i++) {
		if (pack_version(ic->ops->versions[i]) == pack_version(version))
			return true;
	}
	return false;
}

static int restore_state(struct ic *ic, uint32_t state, struct ic_version framework,
			 struct ic_version version)
{
	bool open = ic->state != IC_CLOSED;

	if (state >= IC_STATES || open != (state != IC_CLOSED))
		return -EINVAL;
	if (state == IC_READY && !version_offered(ic, version))
		return -EINVAL;
	if (state != IC_NEGOTIATING)
		ic_forget(ic);
	ic->state = state;
	ic->framework = framework;
	ic->version = version;
	return 0;
}

int ic_restore(struct ic *ic, const struct state_node *parent)
{
	uint32_t state, framework, version, transaction;
	struct state_node node;
	int r = state_child(parent, ic->ops->name, IC_STATE_VERSION, &node);

	if (r == 0)
		r = state_get_u32(&node, "state", &state);
	if (r == 0)
		r = state_get_u32(&node, "framework", &framework);
	if (r == 0)
		r = state_get_u32(&node, "version", &version);
	if (r == 0)
		r = state_get_u32(&node, "transaction", &transaction);
	if (r == 0)
		r = restore_state(ic, state, unpack_version(framework), unpack_version(version));
	if (r < 0)
		return r;
	/* Answers to the old number are late ones; the offer of versions has the next one. */
	if (state != IC_NEGOTIATING)
		ic->transaction_id = (uint8_t)transaction;
	return ic->ops->restore ? ic->ops->restore(ic, &node) : 0;
}

static json_t *version_json(struct ic_version version)
{
	return json_sprintf("%u.%u", version.major, version.minor);
}

json_t *ic_report(struct ic *ic)
{
	json_t *report = json_pack(
		"{s:s,s:s,s:I,s:I,s:I,s:I}", "name", ic->ops->name, "state", state_names[ic->state],
		"requests", (json_int_t)ic->counters.requests, "answers",
		(json_int_t)ic->counters.answers, "timeouts", (json_int_t)ic->counters.timeouts,
		"unexpected", (json_int_t)ic->counters.unexpected);

	if (!report)
		return NULL;
	if (ic->state == IC_READY) {
		json_object_set_new(report, "framework", version_json(ic->framework));
		json_object_set_new(report, "version", version_json(ic->version));
	}
	if (ic->ops->report)
		ic->ops->report(ic, report);
	return report;
}

int ic_not_ready(const struct ic *ic, struct error *err)
{
	const char *name = ic->ops->name;

	switch (ic->state) {
	case IC_CLOSED:
		return error_set(err, ENOTCONN,
				 "the guest has no driver for the service %s, or has not loaded it "
				 "yet: Linux has it in hv_utils, or for file copy in "
				 "uio_hv_generic with its daemon",
				 name);
	case IC_NEGOTIATING:
		return error_set(err, ENOTCONN,
				 "the guest's driver of the service %s does not answer yet: its "
				 "daemon must run in the guest (package hyperv-daemons)",
				 name);
	case IC_REFUSED:
		return error_set(err, ENOTSUP,
				 "the guest's driver of the service %s knows no version of it "
				 "that is offered",
				 name);
	case IC_READY:
	case IC_STATES:
		break;
	}
	return error_set(err, EBUSY,
			 "the service %s is busy with another request: try again when it is done",
			 name);
}

static const struct {
	uint32_t status;
	int errnum;
	const char *reason;
} statuses[] = {
	{IC_S_CONT, ENOENT, "there is no such item"},
	{IC_E_FAIL, EIO, "it failed there; the guest's log may say why"},
	{IC_E_NOT_SUPPORTED, ENOTSUP, "the guest does not support it"},
	{IC_E_MACHINE_LOCKED, EBUSY, "somebody has locked the guest's desktop: unlock it"},
	{IC_E_DEVICE_NOT_CONNECTED, ENODEV, "the device is not connected there"},
	{IC_E_INVALID_ARGUMENT, EINVAL, "a value in it is not valid there"},
	{IC_E_GUID_NOT_FOUND, ENODEV, "it has no network adapter of that id"},
	{IC_E_ALREADY_EXISTS, EEXIST, "it exists there already"},
	{IC_E_DISK_FULL, ENOSPC, "its file system is full: make room there"},
	{IC_E_TIMEOUT, ETIMEDOUT, "it took too long there"},
};

static int refused(uint32_t status, const char *what, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LENGTH(statuses); i++) {
		if (statuses[i].status == status)
			return error_set(err, statuses[i].errnum, "the guest refuses %s: %s", what,
					 statuses[i].reason);
	}
	return error_set(err, EIO, "the guest refuses %s with status 0x%08x", what, status);
}

int ic_failure(int result, const struct ic_answer *answer, const char *what, struct error *err)
{
	if (result == -ETIMEDOUT)
		return error_set(err, ETIMEDOUT,
				 "the guest does not answer to %s: its daemon hangs, or is too "
				 "busy",
				 what);
	if (result == -ECONNRESET)
		return error_set(err, ECONNRESET,
				 "the guest restarted, or unloaded its driver, during %s", what);
	if (result < 0)
		return error_host(err, -result, "the guest cannot be asked for %s", what);
	return answer->status == IC_S_OK ? 0 : refused(answer->status, what, err);
}
