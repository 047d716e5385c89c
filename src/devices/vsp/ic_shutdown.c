#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf16.h"
#include "devices/vsp/ic_device.h"

/*
 * Guest shutdown: the host asks for a power-off, a restart or a hibernation; the guest says at once
 * whether it will, and then does it in its own time (Linux drivers/hv/hv_util.c).
 */

#define ANSWER_NS	 (30ull * 1000000000)
#define DEFAULT_DURATION 300u /* seconds, as the guest is told */
#define DURATION_MAX	 3600u

struct shutdown {
	struct ic ic;
	struct device_call *call; /* NULL: none */
};

static const struct ic_version versions[] = {{3, 2}, {3, 1}, {3, 0}, {1, 0}};

struct action {
	const char *name;
	uint32_t flag;
	struct ic_version since;
	const char *what;
};

static const struct action actions[] = {
	{"power-off", 0, {1, 0}, "the shutdown"},
	{"restart", IC_SHUTDOWN_RESTART, {3, 1}, "the restart"},
	{"hibernate", IC_SHUTDOWN_HIBERNATE, {3, 2}, "the hibernation"},
};

static const struct action *find_action(const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "action"));

	for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
		if (!strcmp(actions[i].name, name ? name : "power-off"))
			return &actions[i];
	}
	return NULL;
}

static void on_answer(struct ic *ic, int result, const struct ic_answer *answer)
{
	struct shutdown *shutdown = container_of(ic, struct shutdown, ic);
	struct device_call *call = shutdown->call;
	struct error err;

	shutdown->call = NULL;
	if (ic_failure(result, answer, "the request to shut down", &err))
		integration_refuse(call, &err);
	else
		call->reply(call, NULL);
}

static int fill(struct ic_shutdown *message, const struct action *action, const json_t *parameters,
		struct error *err)
{
	const json_t *seconds = json_object_get(parameters, "timeout");
	const char *text = json_string_value(json_object_get(parameters, "message"));
	json_int_t duration = seconds ? json_integer_value(seconds) : DEFAULT_DURATION;

	if (duration < 1 || duration > DURATION_MAX)
		return error_set(err, EINVAL, "the time to shut down in must be 1 to %u seconds",
				 DURATION_MAX);
	message->reason = IC_SHUTDOWN_PLANNED;
	message->timeout_seconds = (uint32_t)duration;
	message->flags = action->flag;
	if (json_is_true(json_object_get(parameters, "force")))
		message->flags |= IC_SHUTDOWN_FORCE;
	if (utf16_encode(text ? text : "", message->message, sizeof(message->message)) < 0)
		return error_set(err, EINVAL,
				 "the message is too long, or not UTF-8: at most "
				 "1023 characters");
	return 0;
}

static int ask(struct shutdown *shutdown, const json_t *parameters, struct error *err)
{
	const struct action *action = find_action(parameters);
	struct ic_shutdown message = {0};
	struct ic *ic = &shutdown->ic;
	int r;

	if (!action)
		return error_set(err, EINVAL, "the action must be power-off, restart or hibernate");
	if (ic->state != IC_READY || shutdown->call)
		return ic_not_ready(ic, err);
	if (!ic_version_at_least(ic, action->since.major, action->since.minor))
		return error_set(
			err, ENOTSUP,
			"%s needs version %u.%u of the service, and the guest speaks %u.%u",
			action->what, action->since.major, action->since.minor, ic->version.major,
			ic->version.minor);
	r = fill(&message, action, parameters, err);
	if (r < 0)
		return r;
	r = ic_request(ic, &message, sizeof(message), ANSWER_NS, on_answer);
	return r < 0 ? ic_failure(r, NULL, action->what, err) : 0;
}

void ic_shutdown_verb(void *device, const json_t *parameters, struct device_call *call)
{
	struct error err;
	struct ic *ic = integration_find(device, &ic_shutdown, &err);
	struct shutdown *shutdown = ic ? container_of(ic, struct shutdown, ic) : NULL;

	if (!shutdown || ask(shutdown, parameters, &err) < 0)
		integration_refuse(call, &err);
	else
		shutdown->call = call;
}

const struct ic_ops ic_shutdown = {
	.name = "shutdown",
	.class_id = GUID_INIT(0x0e0b6031, 0x5213, 0x4934, 0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39,
			      0xdb),
	.instance_id = GUID_INIT(0xb6650ff7, 0x33bc, 0x4840, 0x80, 0x48, 0xe0, 0x67, 0x67, 0x86,
				 0xf3, 0x93),
	.message_type = IC_SHUTDOWN,
	.versions = versions,
	.version_count = ARRAY_LENGTH(versions),
	.size = sizeof(struct shutdown),
};
