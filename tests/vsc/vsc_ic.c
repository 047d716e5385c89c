#include "vsc_ic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/table.h"
#include "devices/vsp/ic.h"
#include "vsc_device.h"
#include "vsc_machine.h"

#define RING_ENTRIES 64
#define RING_PAGES   4u /* as hv_utils has them */

static const struct ic_ops *const components[] = {
	&ic_shutdown, &ic_timesync, &ic_heartbeat, &ic_kvp, &ic_vss, &ic_fcopy,
};

void vsc_ic_start(struct vsc_ic *ic, json_t *config)
{
	const struct device_env env = {
		.io_threads = &ic->io_thread,
		.io_thread_count = 1,
		.vp_count = 1,
	};
	struct error err;

	memset(ic, 0, sizeof(*ic));
	ic->packet = malloc(VSC_PACKET_MAX);
	if (io_thread_new("ic", RING_ENTRIES, &ic->io_thread) < 0 ||
	    io_thread_start(ic->io_thread, NULL, NULL) < 0)
		vsc_fail("no I/O thread");
	ic->vsc = vsc_new(NULL);
	if (vsc_device_create(ic->vsc, &integration_device, &env, config, &ic->device, &err) < 0)
		vsc_fail(err.text);
	vsc_connect(ic->vsc, VMBUS_VERSION_WIN10_V5_3);
}

void vsc_ic_run(struct vsc_ic *ic, void (*function)(void *device))
{
	vsc_device_do(ic->vsc, function, ic->device);
}

void vsc_ic_stop(struct vsc_ic *ic)
{
	vsc_ic_run(ic, integration_device.destroy);
	vsc_free(ic->vsc);
	io_thread_free(ic->io_thread);
	free(ic->packet);
}

void vsc_ic_open(struct vsc_ic *ic, const char *name, struct vsc_channel *channel)
{
	const struct vsc_open open = {.ring_pages = RING_PAGES};
	const struct vmbus_offer_channel *offer = NULL;

	for (size_t i = 0; i < ARRAY_LENGTH(components); i++) {
		if (strcmp(components[i]->name, name) == 0)
			offer = vsc_find_offer(ic->vsc, &components[i]->class_id, 0);
	}
	if (!offer || vsc_channel_open(ic->vsc, offer, &open, channel) != 0)
		vsc_fail("the channel of an integration service does not open");
}

bool vsc_ic_receive(struct vsc_ic *ic, struct vsc_channel *channel, bool wait,
		    struct vsc_ic_request *request)
{
	int r = wait ? vsc_channel_wait(channel, ic->packet, VSC_PACKET_MAX)
		     : vsc_channel_receive(channel, ic->packet, VSC_PACKET_MAX);
	const uint8_t *payload;
	uint32_t size;

	if (r == 0)
		return false;
	if (r < 0)
		vsc_fail("the host's ring is broken");
	payload = vsc_packet_payload(ic->packet, &size);
	if (size < sizeof(request->header) ||
	    size > sizeof(request->header) + sizeof(request->body))
		vsc_fail("a request of a size that no driver takes");
	memcpy(&request->header, payload, sizeof(request->header));
	request->size = size - (uint32_t)sizeof(request->header);
	memcpy(request->body, payload + sizeof(request->header), request->size);
	return true;
}

void vsc_ic_send(struct vsc_ic *ic, struct vsc_channel *channel, const void *payload, uint32_t size)
{
	if (vsc_channel_send(channel, ic->packet,
			     vsc_packet_inband(ic->packet, PACKET_DATA_INBAND, ~0ull, false,
					       payload, size)) < 0)
		vsc_fail("no room for an answer");
}

void vsc_ic_answer(struct vsc_ic *ic, struct vsc_channel *channel,
		   const struct vsc_ic_request *request, uint32_t status)
{
	uint8_t payload[sizeof(request->header) + sizeof(request->body)];
	struct ic_header header = request->header;

	header.status = status;
	header.flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	memcpy(payload, &header, sizeof(header));
	memcpy(payload + sizeof(header), request->body, request->size);
	vsc_ic_send(ic, channel, payload, (uint32_t)sizeof(header) + request->size);
}

static bool offered(const struct ic_version *versions, unsigned int count,
		    struct ic_version version)
{
	for (unsigned int i = 0; i < count; i++) {
		if (versions[i].major == version.major && versions[i].minor == version.minor)
			return true;
	}
	return false;
}

bool vsc_ic_negotiate(struct vsc_ic *ic, struct vsc_channel *channel, struct ic_version framework,
		      struct ic_version version)
{
	struct vsc_ic_request request;
	struct ic_negotiate counts;
	struct ic_version versions[32];
	bool found;

	vsc_ic_receive(ic, channel, true, &request);
	memcpy(&counts, request.body, sizeof(counts));
	if (request.header.type != IC_NEGOTIATE ||
	    counts.framework_count + counts.version_count > ARRAY_LENGTH(versions))
		vsc_fail("no offer of versions");
	memcpy(versions, request.body + sizeof(counts), sizeof(versions));
	found = offered(versions, counts.framework_count, framework) &&
		offered(versions + counts.framework_count, counts.version_count, version);
	counts.framework_count = counts.version_count = 1;
	versions[0] = framework;
	versions[1] = version;
	memcpy(request.body, &counts, sizeof(counts));
	memcpy(request.body + sizeof(counts), versions, sizeof(versions));
	vsc_ic_answer(ic, channel, &request, IC_S_OK);
	return found;
}

void vsc_ic_connect(struct vsc_ic *ic, const char *name, struct ic_version version,
		    struct vsc_channel *channel)
{
	vsc_ic_open(ic, name, channel);
	if (!vsc_ic_negotiate(ic, channel, (struct ic_version){3, 0}, version))
		vsc_fail("the host does not offer a version that it must");
	vsc_ic_wait_count(ic, name, "answers", 1);
}

static void on_reply(struct device_call *call, json_t *reply)
{
	struct vsc_ic_call *ours = container_of(call, struct vsc_ic_call, call);

	ours->reply = reply ? reply : json_object();
	sem_post(&ours->answered);
}

static void on_refusal(struct device_call *call, const char *sentence)
{
	struct vsc_ic_call *ours = container_of(call, struct vsc_ic_call, call);

	snprintf(ours->sentence, sizeof(ours->sentence), "%s", sentence);
	sem_post(&ours->answered);
}

struct begin {
	struct vsc_ic_call *call;
	const char *verb;
	json_t *parameters;
};

static void begin(void *context)
{
	const struct begin *what = context;

	for (const struct device_verb *verb = integration_device.verbs; verb->name; verb++) {
		if (strcmp(verb->name, what->verb) == 0) {
			verb->handle(what->call->ic->device, what->parameters, &what->call->call);
			return;
		}
	}
	vsc_fail("no such verb");
}

void vsc_ic_call(struct vsc_ic *ic, struct vsc_ic_call *call, const char *verb, json_t *parameters)
{
	struct begin what = {call, verb, parameters};

	memset(call, 0, sizeof(*call));
	call->call = (struct device_call){.reply = on_reply, .refuse = on_refusal};
	call->ic = ic;
	sem_init(&call->answered, 0, 0);
	vsc_main(ic->vsc, begin, &what);
	json_decref(parameters);
}

bool vsc_ic_answered(struct vsc_ic_call *call)
{
	int value;

	sem_getvalue(&call->answered, &value);
	return value > 0;
}

bool vsc_ic_wait(struct vsc_ic_call *call)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += VSC_TIMEOUT_S;
	if (sem_timedwait(&call->answered, &end) < 0)
		vsc_fail("a management call is not answered");
	return call->reply != NULL;
}

json_t *vsc_ic_report(struct vsc_ic *ic, const char *name)
{
	struct vsc_ic_call call;
	json_t *report, *found = NULL;
	size_t index;

	vsc_ic_call(ic, &call, "service", json_object());
	if (!vsc_ic_wait(&call))
		vsc_fail(call.sentence);
	json_array_foreach(json_object_get(call.reply, "services"), index, report)
	{
		if (strcmp(json_string_value(json_object_get(report, "name")), name) == 0)
			found = json_incref(report);
	}
	json_decref(call.reply);
	if (!found)
		vsc_fail("a service does not report");
	return found;
}

void vsc_ic_wait_count(struct vsc_ic *ic, const char *name, const char *key, json_int_t count)
{
	struct vsc_wait wait = {0};
	json_int_t found;

	do {
		json_t *report = vsc_ic_report(ic, name);

		found = json_integer_value(json_object_get(report, key));
		json_decref(report);
		vsc_pause(&wait, "a service's count does not rise");
	} while (found < count);
}
