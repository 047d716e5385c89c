#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "base/checked.h"
#include "base/guid.h"
#include "devices/table.h"
#include "devices/vsp/netvsp_instance.h"
#include "devices/vsp/netvsp_internal.h"

/*
 * The network VSP: one NIC.  Its configuration:
 *   {"mac": "52:54:00:12:34:56", "backend": "tap" | "stream" | "null", "fds": [N, ...],
 *    "channels": at most so many (by default as many as there are VPs), "instance": GUID,
 *    "friendly_name": what the guest calls it, "link_speed": bits a second,
 *    "bandwidth": bits a second, each way, that it may use,
 *    "capture_fd": an empty file for a capture of all frames, ... as that backend has it}
 * of which mac and backend must be there.
 * Where it has an "id", it says {"link": false, "why": the end of a sentence} when its link goes.
 * It wants I/O threads of its own: with several, queues are spread over them.  Restore wants a
 * like backend, the bus restored before it, and quiesce called before that: no packet may be
 * looked at until the state is complete.
 */

#define DEFAULT_NAME	   "Network Adapter"
#define DEFAULT_LINK_SPEED 10000000000ull

static int hex_pair(const char *text)
{
	unsigned int value;
	int used = 0;

	return sscanf(text, "%2x%n", &value, &used) == 1 && used == 2 ? (int)value : -1;
}

static int read_mac(const json_t *config, uint8_t *mac, struct error *err)
{
	const char *text = json_string_value(json_object_get(config, "mac"));
	bool good = text && strlen(text) == 3 * NET_MAC_BYTES - 1;

	for (unsigned int i = 0; good && i < NET_MAC_BYTES; i++) {
		int byte = hex_pair(text + 3 * i);

		good = byte >= 0 && (i == NET_MAC_BYTES - 1 || text[3 * i + 2] == ':');
		mac[i] = (uint8_t)byte;
	}
	if (!good || mac[0] & 1)
		return error_set(err, EINVAL,
				 "a NIC needs a \"mac\" like 52:54:00:12:34:56, not a multicast "
				 "one");
	return 0;
}

static int read_identity(struct netvsp *netvsp, const json_t *config, struct error *err)
{
	static const struct guid instance = NETVSP_INSTANCE;
	const char *name = json_string_value(json_object_get(config, "friendly_name"));
	const char *id = json_string_value(json_object_get(config, "id"));
	const json_t *given = json_object_get(config, "instance");
	const json_t *speed = json_object_get(config, "link_speed");
	int r = read_mac(config, netvsp->permanent_mac, err);

	if (r < 0)
		return r;
	snprintf(netvsp->name, sizeof(netvsp->name), "%s", name ? name : DEFAULT_NAME);
	snprintf(netvsp->id, sizeof(netvsp->id), "%s", id ? id : "");
	netvsp->link_speed = speed ? (uint64_t)json_integer_value(speed) : DEFAULT_LINK_SPEED;
	netvsp->instance = instance;
	memcpy(netvsp->instance.bytes + 10, netvsp->permanent_mac, NET_MAC_BYTES);
	if (given &&
	    (!json_is_string(given) || guid_parse(json_string_value(given), &netvsp->instance) < 0))
		return error_set(err, EINVAL, "the NIC's instance is not a GUID");
	return 0;
}

static int read_limits(struct netvsp *netvsp, const json_t *config, struct error *err)
{
	uint64_t bandwidth = 0;
	int r = netvsp_read_limits(config, &bandwidth, err);

	if (r == 0)
		netvsp_set_limits(netvsp, bandwidth); /* no lane yet */
	return r;
}

static int open_port(struct netvsp *netvsp, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "backend"));
	const struct net_backend *backend = name ? net_backend_find(name) : NULL;
	int r;

	if (!backend)
		return error_set(err, EINVAL, "there is no NIC backend \"%s\"", name ? name : "");
	r = backend->open(config, &netvsp->port, err);
	if (r < 0)
		return r;
	netvsp->carrier = netvsp->port->link_up;
	netvsp->link_up = netvsp->carrier;
	netvsp->lane_count = MIN(netvsp->port->queue_count, NETVSP_CHANNELS_MAX);
	return 0;
}

static unsigned int channels_wanted(const struct netvsp *netvsp, const json_t *config)
{
	json_int_t given = json_integer_value(json_object_get(config, "channels"));
	unsigned int most = MIN(netvsp->env.vp_count, NETVSP_CHANNELS_MAX);

	return given > 0 && given < most ? (unsigned int)given : most;
}

static int make_parts(struct netvsp *netvsp, const json_t *config)
{
	netvsp->channel_count = channels_wanted(netvsp, config);
	netvsp->lanes = calloc(netvsp->lane_count, sizeof(*netvsp->lanes));
	netvsp->channels = calloc(netvsp->channel_count, sizeof(*netvsp->channels));
	if (!netvsp->lanes || !netvsp->channels)
		return -ENOMEM;
	for (unsigned int i = 0; i < netvsp->lane_count; i++) {
		int r = netvsp_lane_init(netvsp, i);

		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < netvsp->channel_count; i++)
		netvsp_channel_init(netvsp, i);
	netvsp_protocol_reset(netvsp);
	return 0;
}

static int make_offer(struct netvsp *netvsp, struct error *err)
{
	struct vmbus_offer_config offer = {
		.class_id = NETVSP_CLASS,
		.instance_id = netvsp->instance,
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE,
		.label = netvsp->id,
		.max_subchannels = netvsp->channel_count - 1,
		.ops = &netvsp_vsp,
		.context = netvsp,
	};
	int r = vmbus_offer_new(netvsp->env.bus, &offer, &netvsp->offer);

	return r < 0 ? error_host(err, -r, "the NIC cannot be offered") : 0;
}

/* All of the device but its offer. */
static void free_device(struct netvsp *netvsp)
{
	if (netvsp->lanes && netvsp->lanes[0].netvsp)
		netvsp_protocol_reset(netvsp);
	for (unsigned int i = 0; netvsp->lanes && i < netvsp->lane_count; i++)
		netvsp_lane_cleanup(&netvsp->lanes[i]);
	for (unsigned int i = 0; netvsp->channels && i < netvsp->channel_count; i++)
		pthread_mutex_destroy(&netvsp->channels[i].inbox_lock);
	if (netvsp->port)
		netvsp->port->backend->close(netvsp->port);
	capture_free(netvsp->capture);
	pthread_mutex_destroy(&netvsp->lock);
	free(netvsp->lanes);
	free(netvsp->channels);
	free(netvsp);
}

static int netvsp_create(const struct device_env *env, const json_t *config, void **device,
			 struct error *err)
{
	struct netvsp *netvsp = calloc(1, sizeof(*netvsp));
	int r;

	if (!netvsp)
		return error_memory(err, "a NIC");
	netvsp->env = *env;
	pthread_mutex_init(&netvsp->lock, NULL);
	r = read_identity(netvsp, config, err);
	if (r == 0)
		r = read_limits(netvsp, config, err);
	if (r == 0)
		r = open_port(netvsp, config, err);
	if (r == 0)
		r = netvsp_capture_open(netvsp, config, err);
	if (r == 0 && make_parts(netvsp, config) < 0)
		r = error_memory(err, "a NIC");
	if (r == 0)
		r = make_offer(netvsp, err);
	if (r < 0) {
		free_device(netvsp);
		return r;
	}
	if (netvsp->capture)
		close((int)json_integer_value(json_object_get(config, "capture_fd")));
	*device = netvsp;
	return 0;
}

static void netvsp_destroy(void *device)
{
	struct netvsp *netvsp = device;

	vmbus_offer_rescind(netvsp->offer);
	free_device(netvsp);
}

/* The bus has closed the channels, and with the primary went all state of the protocol. */
static void netvsp_reset(void *device)
{
	netvsp_protocol_reset(device);
}

static void nothing(void *context)
{
}

void netvsp_update_lanes(struct netvsp *netvsp)
{
	bool run = netvsp->primary_open && !netvsp->quiesced;

	for (unsigned int i = 0; i < netvsp->lane_count; i++) {
		if (run)
			netvsp_lane_start(&netvsp->lanes[i]);
		else
			netvsp_lane_stop(&netvsp->lanes[i]);
	}
	/* What one had handed to another before it stopped has arrived. */
	for (unsigned int i = 0; !run && i < netvsp->lane_count; i++)
		io_thread_call(netvsp->lanes[i].thread, nothing, NULL);
}

static void netvsp_quiesce(void *device)
{
	struct netvsp *netvsp = device;

	netvsp->quiesced = true;
	netvsp_update_lanes(netvsp);
}

static void netvsp_unquiesce(void *device)
{
	struct netvsp *netvsp = device;

	netvsp->quiesced = false;
	netvsp_update_lanes(netvsp);
}

const struct device_ops netvsp_device = {
	.name = "netvsp",
	.state_version = NETVSP_STATE_VERSION,
	.hot_pluggable = true,
	.create = netvsp_create,
	.destroy = netvsp_destroy,
	.retire = netvsp_retire,
	.reset = netvsp_reset,
	.save = netvsp_save,
	.restore = netvsp_restore,
	.inspect = netvsp_inspect,
	.quiesce = netvsp_quiesce,
	.unquiesce = netvsp_unquiesce,
	.verbs = netvsp_verbs,
};
