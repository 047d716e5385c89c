#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/capture.h"
#include "base/checked.h"
#include "base/wire.h"
#include "devices/vsp/netvsp_internal.h"

/*
 * What is saved: the protocol's state, which sections the guest has, and what waits to be sent to
 * it but frames: those are lost, as frames may be.
 */

/* As a waiting answer is saved: transaction, size, message. */
#define SAVED_ANSWER_SIZE (8 + 4 + sizeof(struct nvsp_message))

static void put_block(struct state_writer *writer, const char *name, uint8_t *data, size_t size)
{
	/* Without data it is the writer that reports the lack of memory. */
	state_put_bytes(writer, name, data, data ? size : SIZE_MAX);
	free(data);
}

static void save_answers(const struct netvsp_channel *channel, struct state_writer *writer)
{
	const struct netvsp_packet *packet;
	uint8_t *data, *next;
	size_t count = 0;

	for (packet = channel->answers; packet; packet = packet->next)
		count++;
	data = next = calloc(count + 1, SAVED_ANSWER_SIZE);
	for (packet = channel->answers; data && packet; packet = packet->next) {
		put_le64(next, packet->transaction_id);
		put_le32(next + 8, packet->answer_bytes);
		memcpy(next + 12, &packet->answer, sizeof(packet->answer));
		next += SAVED_ANSWER_SIZE;
	}
	put_block(writer, "answers", data, count * SAVED_ANSWER_SIZE);
}

/* Chains of sections that the guest has, each after its length and channel. */
static void save_sections(const struct netvsp_receive *receive, struct state_writer *writer)
{
	uint8_t *data = calloc(3 * (size_t)receive->section_count + 1, 4), *next = data;

	for (uint32_t i = 0; data && i < receive->section_count; i++) {
		uint8_t *count = next;
		uint32_t sections = 0;

		if (!receive->sections[i].sent_on)
			continue;
		next += 8;
		for (uint32_t s = i; s != NETVSP_SECTION_NONE; s = receive->sections[s].next) {
			put_le32(next, s);
			next += 4;
			sections++;
		}
		put_le32(count, sections);
		put_le32(count + 4, receive->sections[i].sent_on - 1u);
	}
	put_block(writer, "sections", data, data ? (size_t)(next - data) : 0);
}

static void save_area(const struct netvsp_area *area, bool revoked, struct state_writer *writer)
{
	state_put_u32(writer, "gpadl", area->gpadl);
	state_put_u32(writer, "id", area->id);
	state_put_u32(writer, "revoked", revoked);
}

static void save_settings(const struct netvsp_settings *settings, struct state_writer *writer)
{
	state_put_u32(writer, "filter", settings->filter);
	state_put_bytes(writer, "mac", settings->mac, sizeof(settings->mac));
	state_put_bytes(writer, "multicast", settings->multicast,
			(size_t)settings->multicast_count * NET_MAC_BYTES);
	state_put_u32(writer, "strip-vlan", settings->strip_vlan);
	state_put_u32(writer, "rsc-ip4", settings->rsc_ip4);
	state_put_u32(writer, "rsc-ip6", settings->rsc_ip6);
	state_put_u32(writer, "hash-types", settings->hash_types);
	state_put_bytes(writer, "table", settings->table, settings->table_entries);
	state_put_bytes(writer, "key", settings->key, sizeof(settings->key));
}

static void save_responses(const struct netvsp *netvsp, struct state_writer *writer)
{
	char name[32];

	for (uint32_t i = 0; i < netvsp->response_count; i++) {
		snprintf(name, sizeof(name), "response-%u", i);
		state_put_bytes(writer, name, netvsp->responses[i].data,
				netvsp->responses[i].bytes);
	}
}

void netvsp_save(void *device, struct state_writer *writer)
{
	const struct netvsp *netvsp = device;
	char name[32];

	state_put_u32(writer, "phase", netvsp->phase);
	state_put_u32(writer, "protocol-version", netvsp->version);
	state_put_u32(writer, "ndis-version", netvsp->ndis_version);
	state_put_u64(writer, "capabilities", netvsp->capabilities);
	state_put_u32(writer, "mtu", netvsp->mtu);
	state_put_u32(writer, "rndis-initialized", netvsp->rndis_initialized);
	state_put_u32(writer, "sub-channels", netvsp->subchannels);
	state_put_u32(writer, "table-due", netvsp->table_due);
	state_put_u32(writer, "link-told", netvsp->link_told);
	state_put_u64(writer, "bandwidth", atomic_load(&netvsp->bandwidth));
	save_responses(netvsp, writer);
	save_settings(&netvsp->settings, writer);
	if (netvsp->receive_area) {
		state_begin(writer, "receive-buffer", NETVSP_STATE_VERSION);
		save_area(&netvsp->receive_area->area, !netvsp->receive, writer);
		state_put_u32(writer, "section-bytes", netvsp->receive_area->section_bytes);
		save_sections(netvsp->receive_area, writer);
		state_end(writer);
	}
	if (netvsp->send_area) {
		state_begin(writer, "send-buffer", NETVSP_STATE_VERSION);
		save_area(netvsp->send_area, !netvsp->send, writer);
		state_end(writer);
	}
	for (unsigned int i = 0; i < netvsp->channel_count; i++) {
		if (!netvsp->channels[i].channel)
			continue;
		snprintf(name, sizeof(name), "channel@%x", i);
		state_begin(writer, name, NETVSP_STATE_VERSION);
		save_answers(&netvsp->channels[i], writer);
		state_end(writer);
	}
}

static int restore_answers(struct netvsp_channel *channel, const struct state_node *node)
{
	size_t size;
	const uint8_t *data = state_find_bytes(node, "answers", &size);

	if (!data || size % SAVED_ANSWER_SIZE != 0)
		return -EINVAL;
	for (; size > 0; size -= SAVED_ANSWER_SIZE, data += SAVED_ANSWER_SIZE) {
		struct netvsp_packet *packet = netvsp_packet_take(channel);

		if (!packet || get_le32(data + 8) > sizeof(packet->answer))
			return -EINVAL;
		packet->transaction_id = get_le64(data);
		packet->answer_bytes = (uint8_t)get_le32(data + 8);
		memcpy(&packet->answer, data + 12, sizeof(packet->answer));
		netvsp_packet_wait(channel, packet);
	}
	return 0;
}

/* The chain of count sections at data. */
static int restore_chain(struct netvsp *netvsp, const uint8_t *data, uint32_t count,
			 uint32_t channel)
{
	struct netvsp_receive *receive = netvsp->receive_area;
	uint32_t last = NETVSP_SECTION_NONE;

	if (channel >= netvsp->channel_count || count == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t section = get_le32(data + 4 * (size_t)i);

		if (section >= receive->section_count || receive->sections[section].held)
			return -EINVAL;
		receive->sections[section].held = true;
		receive->sections[section].next = NETVSP_SECTION_NONE;
		if (i == 0)
			receive->sections[section].sent_on = (uint8_t)(channel + 1);
		else
			receive->sections[last].next = section;
		last = section;
	}
	return 0;
}

static int restore_sections(struct netvsp *netvsp, const struct state_node *node)
{
	size_t size;
	const uint8_t *data = state_find_bytes(node, "sections", &size);

	if (!data || size % 4 != 0)
		return -EINVAL;
	while (size > 0) {
		uint64_t bytes = size >= 8 ? 8 + 4 * (uint64_t)get_le32(data) : UINT64_MAX;
		int r = bytes <= size ? restore_chain(netvsp, data + 8, get_le32(data),
						      get_le32(data + 4))
				      : -EINVAL;

		if (r < 0)
			return r;
		data += bytes;
		size -= bytes;
	}
	return 0;
}

/* Maps the buffer as the guest gave it; 1: it was revoked.  -ENOENT: the guest has taken the pages
 * back without a word to the NIC, and is given nothing there any more. */
static int restore_area(const struct netvsp *netvsp, const struct state_node *node,
			struct netvsp_area *area)
{
	uint32_t gpadl, id, revoked;
	int r = state_get_u32(node, "gpadl", &gpadl);

	if (r == 0)
		r = state_get_u32(node, "id", &id);
	if (r == 0)
		r = state_get_u32(node, "revoked", &revoked);
	if (r < 0)
		return -EINVAL;
	if (!netvsp->channels[0].channel || id > UINT16_MAX)
		return -EINVAL;
	r = netvsp_area_map(area, netvsp->channels[0].channel, gpadl, (uint16_t)id);
	return r < 0 ? r : revoked != 0;
}

static int restore_receive(struct netvsp *netvsp, const struct state_node *parent)
{
	struct netvsp_area area;
	struct state_node node;
	uint32_t section_bytes;
	int revoked, r = state_child(parent, "receive-buffer", NETVSP_STATE_VERSION, &node);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = state_get_u32(&node, "section-bytes", &section_bytes);
	if (r < 0)
		return r;
	revoked = restore_area(netvsp, &node, &area);
	if (revoked < 0)
		return revoked == -ENOENT ? 0 : revoked;
	r = netvsp_receive_new(&area, netvsp->mtu, &netvsp->receive_area);
	if (r < 0) {
		netvsp_area_unmap(&area);
		return r;
	}
	if (netvsp->receive_area->section_bytes != section_bytes)
		return -EINVAL;
	r = restore_sections(netvsp, &node);
	if (r < 0)
		return r;
	netvsp_sections_deal(netvsp);
	netvsp->receive = revoked ? NULL : netvsp->receive_area;
	return 0;
}

static int restore_send(struct netvsp *netvsp, const struct state_node *parent)
{
	struct netvsp_area area;
	struct state_node node;
	int revoked, r = state_child(parent, "send-buffer", NETVSP_STATE_VERSION, &node);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	revoked = restore_area(netvsp, &node, &area);
	if (revoked < 0)
		return revoked == -ENOENT ? 0 : revoked;
	netvsp->send_area = malloc(sizeof(area));
	if (!netvsp->send_area) {
		netvsp_area_unmap(&area);
		return -ENOMEM;
	}
	*netvsp->send_area = area;
	netvsp->send = revoked ? NULL : netvsp->send_area;
	return 0;
}

static int get_flag(const struct state_node *node, const char *name, bool *flag)
{
	uint32_t value;
	int r = state_get_u32(node, name, &value);

	if (r == 0)
		*flag = value != 0;
	return r;
}

/* An array of entries of size bytes each, max of them at most. */
static int get_array(const struct state_node *node, const char *name, void *data, size_t size,
		     uint32_t max, uint32_t *count)
{
	size_t bytes;
	const void *found = state_find_bytes(node, name, &bytes);

	if (!found || bytes % size != 0 || bytes / size > max)
		return -EINVAL;
	memcpy(data, found, bytes);
	*count = (uint32_t)(bytes / size);
	return 0;
}

static int restore_settings(struct netvsp *netvsp, const struct state_node *node)
{
	struct netvsp_settings new = {0};
	int r = state_get_u32(node, "filter", &new.filter);

	if (r == 0)
		r = state_get_bytes(node, "mac", new.mac, sizeof(new.mac));
	if (r == 0)
		r = get_array(node, "multicast", new.multicast, NET_MAC_BYTES, NETVSP_MULTICAST_MAX,
			      &new.multicast_count);
	if (r == 0)
		r = get_flag(node, "strip-vlan", &new.strip_vlan);
	if (r == 0)
		r = get_flag(node, "rsc-ip4", &new.rsc_ip4);
	if (r == 0)
		r = get_flag(node, "rsc-ip6", &new.rsc_ip6);
	if (r == 0)
		r = state_get_u32(node, "hash-types", &new.hash_types);
	if (r == 0)
		r = get_array(node, "table", new.table, 1, NETVSP_TABLE_ENTRIES,
			      &new.table_entries);
	if (r == 0)
		r = state_get_bytes(node, "key", new.key, sizeof(new.key));
	for (uint32_t i = 0; r == 0 && i < new.table_entries; i++)
		if (new.table[i] >= netvsp->channel_count)
			r = -EINVAL;
	if (r < 0)
		return r;
	new.rsc = new.rsc_ip4 || new.rsc_ip6;
	netvsp->settings = new;
	netvsp_offloads_changed(netvsp);
	return 0;
}

static int restore_responses(struct netvsp *netvsp, const struct state_node *node)
{
	char name[32];

	for (netvsp->response_count = 0; netvsp->response_count < NETVSP_RESPONSES;
	     netvsp->response_count++) {
		struct netvsp_response *response = &netvsp->responses[netvsp->response_count];
		const void *data;
		size_t size;

		snprintf(name, sizeof(name), "response-%u", netvsp->response_count);
		data = state_find_bytes(node, name, &size);
		if (!data)
			return 0;
		if (size > sizeof(response->data))
			return -EINVAL;
		memcpy(response->data, data, size);
		response->bytes = (uint32_t)size;
	}
	return 0;
}

static int restore_protocol(struct netvsp *netvsp, const struct state_node *node)
{
	uint32_t phase, subchannels;
	uint64_t bandwidth;
	int r = state_get_u32(node, "phase", &phase);

	if (r == 0)
		r = state_get_u32(node, "protocol-version", &netvsp->version);
	if (r == 0)
		r = state_get_u32(node, "ndis-version", &netvsp->ndis_version);
	if (r == 0)
		r = state_get_u64(node, "capabilities", &netvsp->capabilities);
	if (r == 0)
		r = state_get_u32(node, "mtu", &netvsp->mtu);
	if (r == 0)
		r = get_flag(node, "rndis-initialized", &netvsp->rndis_initialized);
	if (r == 0)
		r = state_get_u32(node, "sub-channels", &subchannels);
	if (r == 0)
		r = get_flag(node, "table-due", &netvsp->table_due);
	if (r == 0)
		r = get_flag(node, "link-told", &netvsp->link_told);
	if (r == 0)
		r = state_get_u64(node, "bandwidth", &bandwidth);
	if (r < 0)
		return r;
	if (phase >= NETVSP_PHASES || netvsp->mtu > NET_MTU_MAX ||
	    subchannels >= netvsp->channel_count ||
	    (phase == NETVSP_READY) != netvsp_version_known(netvsp->version))
		return -EINVAL;
	netvsp->phase = phase;
	netvsp->subchannels = subchannels;
	return netvsp_set_limits(netvsp, bandwidth);
}

static int restore_channel(struct netvsp_channel *channel, const struct state_node *node)
{
	struct state_node child;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "channel@%x", channel->index);
	r = state_child(node, name, NETVSP_STATE_VERSION, &child);
	if (r == -ENOENT)
		return channel->channel ? -EINVAL : 0;
	if (r < 0)
		return r;
	return channel->channel ? restore_answers(channel, &child) : -EINVAL;
}

int netvsp_restore(void *device, const struct state_node *node)
{
	struct netvsp *netvsp = device;
	int r;

	netvsp_protocol_reset(netvsp);
	r = restore_protocol(netvsp, node);
	if (r == 0)
		r = restore_responses(netvsp, node);
	if (r == 0)
		r = restore_settings(netvsp, node);
	if (r == 0)
		r = restore_receive(netvsp, node);
	if (r == 0)
		r = restore_send(netvsp, node);
	for (unsigned int i = 0; r == 0 && i < netvsp->channel_count; i++)
		r = restore_channel(&netvsp->channels[i], node);
	if (r < 0)
		netvsp_protocol_reset(netvsp);
	return r;
}

static uint64_t figure(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void inspect_channel(const struct netvsp_channel *channel, struct state_writer *writer)
{
	char name[32];

	snprintf(name, sizeof(name), "channel@%x", channel->index);
	state_begin(writer, name, NETVSP_STATE_VERSION);
	state_put_u32(writer, "open", channel->channel != NULL);
	state_put_u64(writer, "frames-sent", figure(&channel->sent.frames));
	state_put_u64(writer, "bytes-sent", figure(&channel->sent.bytes));
	state_put_u64(writer, "frames-not-sent", figure(&channel->sent.dropped));
	state_put_u64(writer, "packets-invalid", figure(&channel->sent.invalid));
	state_put_u64(writer, "frames-received", figure(&channel->received.frames));
	state_put_u64(writer, "bytes-received", figure(&channel->received.bytes));
	state_put_u64(writer, "completions-invalid", figure(&channel->received.invalid));
	state_end(writer);
}

static void inspect_queue(const struct netvsp_lane *lane, struct state_writer *writer)
{
	char name[32];

	snprintf(name, sizeof(name), "queue@%x", lane->index);
	state_begin(writer, name, NETVSP_STATE_VERSION);
	state_put_u64(writer, "frames-filtered", figure(&lane->filtered));
	state_put_u64(writer, "frames-malformed", figure(&lane->malformed));
	state_put_u64(writer, "no-buffer", figure(&lane->no_buffer));
	state_put_u64(writer, "limit-waits", figure(&lane->limit_waits));
	state_end(writer);
}

static void inspect_latency(const struct netvsp *netvsp, struct state_writer *writer)
{
	struct latency sum = {0};

	for (unsigned int i = 0; i < netvsp->channel_count; i++)
		latency_merge(&sum, &netvsp->channels[i].send_latency);
	latency_put(&sum, "send-latency", writer);
}

void netvsp_inspect(void *device, struct state_writer *writer)
{
	const struct netvsp *netvsp = device;
	const uint8_t *address = netvsp->permanent_mac;
	struct net_port *port = netvsp->port;
	char mac[24];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", address[0], address[1],
		 address[2], address[3], address[4], address[5]);
	state_put_string(writer, "name", netvsp->name);
	state_put_string(writer, "mac", mac);
	state_put_string(writer, "backend", port->backend->name);
	state_put_u32(writer, "link-up", netvsp->link_up);
	state_put_u32(writer, "port-mtu", port->mtu);
	for (unsigned int i = 0; i < netvsp->channel_count; i++)
		inspect_channel(&netvsp->channels[i], writer);
	inspect_latency(netvsp, writer);
	for (unsigned int i = 0; i < netvsp->lane_count; i++)
		inspect_queue(&netvsp->lanes[i], writer);
	if (netvsp->capture) {
		state_begin(writer, "capture", NETVSP_STATE_VERSION);
		capture_inspect(netvsp->capture, writer);
		state_end(writer);
	}
	if (!port->backend->inspect)
		return;
	state_begin(writer, "port", NETVSP_STATE_VERSION);
	port->backend->inspect(port, writer);
	state_end(writer);
}
