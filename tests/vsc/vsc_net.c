#include "vsc_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/table.h"
#include "vsc_device.h"
#include "vsc_machine.h"

#define RING_ENTRIES  256
#define RECEIVE_PAGES 1024u /* 4 MiB */
#define SEND_PAGES    512u
/* Of a channel, used in turn; the first two are for messages made by hand. */
#define SECTIONS      64u
#define SECTIONS_ALL  340u
#define REQUEST_PAGES 32u
#define RECEIVE_ID    0xcafe
#define SEND_ID	      0
#define POLL_MAX      16u /* packets at a time */
#define RNDIS_BYTES   44u

static const struct guid net_class = NETVSP_CLASS;

void vsc_net_create(struct vsc_net *net, json_t *config)
{
	const struct device_env env = {
		.io_threads = net->io_threads,
		.io_thread_count = net->io_thread_count,
		.vp_count = net->vp_count,
	};
	struct error err;

	if (vsc_device_create(net->vsc, net->ops, &env, config, &net->device, &err) < 0)
		vsc_fail(err.text);
}

void vsc_net_destroy(struct vsc_net *net)
{
	vsc_net_call(net, net->ops->destroy);
}

void vsc_net_call(struct vsc_net *net, void (*function)(void *device))
{
	vsc_device_do(net->vsc, function, net->device);
}

struct verb_call {
	struct device_call call;
	void (*handle)(void *device, const json_t *parameters, struct device_call *call);
	void *device;
	json_t *parameters;
	bool done;
};

static void on_reply(struct device_call *device_call, json_t *reply)
{
	json_decref(reply);
	container_of(device_call, struct verb_call, call)->done = true;
}

static void on_refusal(struct device_call *device_call, const char *sentence)
{
	container_of(device_call, struct verb_call, call)->done = false;
}

static void call_verb(void *context)
{
	struct verb_call *call = context;

	call->handle(call->device, call->parameters, &call->call);
}

bool vsc_net_verb(struct vsc_net *net, const char *name, json_t *parameters)
{
	struct verb_call call = {
		.call = {.reply = on_reply, .refuse = on_refusal},
		.device = net->device,
		.parameters = parameters,
	};

	for (const struct device_verb *verb = net->ops->verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			call.handle = verb->handle;
	vsc_main(net->vsc, call_verb, &call);
	json_decref(parameters);
	return call.done;
}

void vsc_net_start(struct vsc_net *net, unsigned int vp_count, unsigned int io_thread_count,
		   json_t *config)
{
	const struct vsc_config machine = {.vp_count = vp_count};

	memset(net, 0, sizeof(*net));
	net->ops = &netvsp_device;
	net->vp_count = vp_count;
	net->io_thread_count = io_thread_count;
	for (unsigned int i = 0; i < io_thread_count; i++)
		if (io_thread_new("nic", RING_ENTRIES, &net->io_threads[i]) < 0 ||
		    io_thread_start(net->io_threads[i], NULL, NULL) < 0)
			vsc_fail("no I/O thread");
	net->vsc = vsc_new(&machine);
	vsc_net_create(net, config);
	vsc_connect(net->vsc, VMBUS_VERSION_WIN10_V5_3);
	net->receive_buffer = vsc_pages(net->vsc, RECEIVE_PAGES);
	net->send_buffer = vsc_pages(net->vsc, SEND_PAGES);
	net->request = vsc_pages(net->vsc, 2);
}

static void free_frames(struct vsc_net_channel *channel)
{
	while (channel->frames) {
		struct vsc_net_frame *next = channel->frames->next;

		free(channel->frames);
		channel->frames = next;
	}
	free(channel->last);
	free(channel->partial);
	channel->last = channel->partial = NULL;
}

void vsc_net_stop(struct vsc_net *net)
{
	vsc_net_destroy(net);
	vsc_free(net->vsc);
	for (unsigned int i = 0; i < net->io_thread_count; i++)
		io_thread_free(net->io_threads[i]);
	for (unsigned int i = 0; i < VSC_NET_CHANNELS_MAX; i++) {
		free_frames(&net->channels[i]);
		free(net->channels[i].packet);
	}
}

void vsc_net_open(struct vsc_net *net, unsigned int index)
{
	const struct vmbus_offer_channel *offer = vsc_find_offer(net->vsc, &net_class, index);
	const struct vsc_open open = {.ring_pages = 32, .target_vp = index % net->vp_count};
	struct vsc_net_channel *channel = &net->channels[index];

	if (!channel->packet) {
		channel->packet = malloc(VSC_PACKET_MAX);
		if (!channel->packet)
			vsc_fail("no memory");
		channel->request = vsc_pages(net->vsc, REQUEST_PAGES);
	}
	if (!offer || vsc_channel_open(net->vsc, offer, &open, &channel->channel) != 0)
		vsc_fail("a channel of the NIC does not open");
}

static uint32_t info_value(const uint8_t *info)
{
	return get_le32(info + get_le32(info + 8));
}

/* Notes per-packet information; the flags of a fragment, or 0. */
static uint8_t read_infos(const uint8_t *infos, uint32_t bytes, struct vsc_net_frame *frame)
{
	uint8_t fragment = 0;

	while (bytes > 0) {
		uint32_t size = get_le32(infos), type = get_le32(infos + 4);

		if (size < 12 || size > bytes)
			vsc_fail("per-packet information of a wrong size");
		if (type == RNDIS_INFO_CHECKSUM) {
			frame->has_checksum = true;
			frame->checksum = info_value(infos);
		} else if (type == RNDIS_INFO_HASH) {
			frame->has_hash = true;
			frame->hash = info_value(infos);
		} else if (type == RNDIS_INFO_VLAN) {
			frame->has_vlan = true;
			frame->vlan = info_value(infos);
		} else if (type == RNDIS_INFO_FRAGMENT) {
			fragment = (uint8_t)(info_value(infos) >> 8);
		}
		infos += size;
		bytes -= size;
	}
	return fragment;
}

static void add_frame(struct vsc_net_channel *channel, struct vsc_net_frame *frame)
{
	struct vsc_net_frame **end = &channel->frames;

	while (*end)
		end = &(*end)->next;
	*end = frame;
}

/* As Linux judges it: an RNDIS message with one frame, or a part of one, in a range. */
static void take_message(struct vsc_net_channel *channel, const uint8_t *data, uint32_t bytes)
{
	const struct rndis_packet *packet = (const void *)(data + 8);
	struct vsc_net_frame *frame = channel->partial;
	uint32_t body = bytes - 8;
	uint8_t fragment;

	if (get_le32(data + 4) != bytes || packet->data_offset > body ||
	    packet->data_length > body - packet->data_offset)
		vsc_fail("a received RNDIS packet is malformed");
	if (!frame) {
		frame = malloc(sizeof(*frame));
		if (!frame)
			vsc_fail("no memory");
		memset(frame, 0, offsetof(struct vsc_net_frame, data));
	}
	fragment = read_infos(data + 8 + packet->info_offset, packet->info_length, frame);
	if (!!channel->partial == !!(fragment & RNDIS_FRAGMENT_FIRST) && fragment)
		vsc_fail("a fragment is missing");
	if (packet->data_length > sizeof(frame->data) - frame->bytes)
		vsc_fail("a frame longer than any");
	memcpy(frame->data + frame->bytes, data + 8 + packet->data_offset, packet->data_length);
	frame->bytes += packet->data_length;
	frame->parts++;
	channel->partial = frame;
	if (fragment && !(fragment & RNDIS_FRAGMENT_LAST))
		return;
	channel->partial = NULL;
	add_frame(channel, frame);
}

static void complete(struct vsc_net_channel *channel, uint64_t transaction_id)
{
	const uint32_t message[2] = {NVSP_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS};
	uint8_t packet[64];
	uint32_t bytes = vsc_packet_inband(packet, PACKET_COMPLETION, transaction_id, false,
					   message, sizeof(message));

	while (vsc_channel_send(&channel->channel, packet, bytes) < 0)
		;
}

static void take_transfer(struct vsc_net *net, unsigned int index)
{
	struct vsc_net_channel *channel = &net->channels[index];
	const uint8_t *packet = channel->packet;
	struct vmbus_transfer_header header;
	uint32_t size;
	const uint8_t *payload = vsc_packet_payload(packet, &size);
	bool control = get_le32(payload + 4) == NVSP_CHANNEL_CONTROL;

	memcpy(&header, packet + 16, sizeof(header));
	if (header.page_set != RECEIVE_ID || get_le32(payload) != NVSP_RNDIS ||
	    packet + 24 + header.range_count * 8 > payload)
		vsc_fail("a transfer-page packet is malformed");
	for (uint32_t i = 0; i < header.range_count; i++) {
		uint32_t bytes = get_le32(packet + 24 + 8 * i);
		uint32_t offset = get_le32(packet + 28 + 8 * i);
		const uint8_t *data;

		if (bytes > net->section_bytes || offset > RECEIVE_PAGES * 4096 - bytes)
			vsc_fail("a range lies outside of the receive buffer");
		data = vsc_pointer(net->vsc, net->receive_buffer + offset, bytes);
		if (!control) {
			take_message(channel, data, bytes);
			continue;
		}
		memcpy(net->control, data, MIN(bytes, (uint32_t)sizeof(net->control)));
		net->control_bytes = bytes;
	}
	if (channel->partial)
		vsc_fail("fragments are spread over packets");
	if (channel->hold && !control)
		channel->held[channel->held_count++] = get_le64(packet + 8);
	else
		complete(channel, get_le64(packet + 8));
}

void vsc_net_release(struct vsc_net *net, unsigned int index)
{
	struct vsc_net_channel *channel = &net->channels[index];

	for (unsigned int i = 0; i < channel->held_count; i++)
		complete(channel, channel->held[i]);
	channel->held_count = 0;
}

static void take_completion(struct vsc_net *net, struct vsc_net_channel *channel)
{
	uint32_t size;
	const uint8_t *payload = vsc_packet_payload(channel->packet, &size);

	if (size >= 8 && get_le32(payload) == NVSP_RNDIS_COMPLETE) {
		channel->completed++;
		channel->status = get_le32(payload + 4);
		channel->refused += channel->status != NVSP_STATUS_SUCCESS;
		return;
	}
	memset(&net->answer, 0, sizeof(net->answer));
	memcpy(&net->answer, payload, MIN(size, (uint32_t)sizeof(net->answer)));
	net->answered = true;
}

static void take_inband(struct vsc_net *net, struct vsc_net_channel *channel)
{
	uint32_t size;
	const uint8_t *payload = vsc_packet_payload(channel->packet, &size);
	uint32_t offset = get_le32(payload + 8);

	if (get_le32(payload) != NVSP_INDIRECTION_TABLE)
		vsc_fail("an unknown message of NVSP");
	if (get_le32(payload + 4) != NVSP_TABLE_ENTRIES || offset > size - sizeof(net->table))
		vsc_fail("a send indirection table that Linux refuses");
	memcpy(net->table, payload + offset, sizeof(net->table));
	net->tables++;
}

void vsc_net_poll(struct vsc_net *net, unsigned int index, bool wait)
{
	struct vsc_net_channel *channel = &net->channels[index];

	for (unsigned int i = 0; i < POLL_MAX; i++, wait = false) {
		int r = wait ? vsc_channel_wait(&channel->channel, channel->packet, VSC_PACKET_MAX)
			     : vsc_channel_receive(&channel->channel, channel->packet,
						   VSC_PACKET_MAX);

		if (r == 0)
			return;
		if (r < 0)
			vsc_fail("the host's ring is broken");
		switch (get_le16(channel->packet)) {
		case PACKET_COMPLETION:
			take_completion(net, channel);
			break;
		case PACKET_TRANSFER_PAGES:
			take_transfer(net, index);
			break;
		default:
			take_inband(net, channel);
		}
	}
}

const struct vsc_net_frame *vsc_net_receive(struct vsc_net *net, unsigned int index, bool wait)
{
	struct vsc_net_channel *channel = &net->channels[index];

	free(channel->last);
	channel->last = NULL;
	if (!channel->frames)
		vsc_net_poll(net, index, false);
	while (!channel->frames && wait)
		vsc_net_poll(net, index, true);
	channel->last = channel->frames;
	if (channel->last)
		channel->frames = channel->last->next;
	return channel->last;
}

void vsc_net_wait_sent(struct vsc_net *net, unsigned int index, unsigned int completed)
{
	while (net->channels[index].completed < completed)
		vsc_net_poll(net, index, true);
}

static void send_nvsp(struct vsc_net *net, const struct nvsp_message *message, uint32_t bytes,
		      bool completion)
{
	struct vsc_net_channel *primary = &net->channels[0];

	if (vsc_channel_send(&primary->channel, primary->packet,
			     vsc_packet_inband(primary->packet, PACKET_DATA_INBAND,
					       ++primary->transaction, completion, message,
					       bytes)) < 0)
		vsc_fail("no room for a message of NVSP");
}

void vsc_net_tell(struct vsc_net *net, const struct nvsp_message *message, uint32_t bytes)
{
	send_nvsp(net, message, bytes, false);
}

struct nvsp_message vsc_net_nvsp(struct vsc_net *net, const struct nvsp_message *message,
				 uint32_t bytes)
{
	net->answered = false;
	send_nvsp(net, message, bytes, true);
	while (!net->answered)
		vsc_net_poll(net, 0, true);
	return net->answer;
}

uint32_t vsc_net_version(struct vsc_net *net, uint32_t version)
{
	const struct nvsp_message message = {.type = NVSP_INIT, .init = {version, version}};
	struct nvsp_message answer = vsc_net_nvsp(net, &message, sizeof(message));

	if (answer.type != NVSP_INIT_COMPLETE)
		vsc_fail("no proper answer to INIT");
	return answer.init_complete.status;
}

static uint32_t share(struct vsc_net *net, uint64_t gpa, uint32_t pages)
{
	uint64_t *frames = calloc(pages, sizeof(frames[0]));
	uint32_t gpadl;

	if (!frames)
		vsc_fail("no memory");
	for (uint32_t i = 0; i < pages; i++)
		frames[i] = gpa / 4096 + i;
	if (vsc_gpadl_create(net->vsc, net->channels[0].channel.relid, frames, pages, &gpadl))
		vsc_fail("a buffer's GPADL is refused");
	free(frames);
	return gpadl;
}

static void make_buffers(struct vsc_net *net)
{
	struct nvsp_message message = {.type = NVSP_RECEIVE_BUFFER, .buffer.id = RECEIVE_ID};
	struct nvsp_message answer;

	net->receive_gpadl = share(net, net->receive_buffer, RECEIVE_PAGES);
	net->send_gpadl = share(net, net->send_buffer, SEND_PAGES);
	message.buffer.gpadl = net->receive_gpadl;
	answer = vsc_net_nvsp(net, &message, sizeof(message));
	if (answer.type != NVSP_RECEIVE_BUFFER_COMPLETE ||
	    answer.receive_buffer_complete.status != NVSP_STATUS_SUCCESS ||
	    answer.receive_buffer_complete.part_count != 1)
		vsc_fail("the receive buffer is refused");
	net->section_bytes = answer.receive_buffer_complete.part.section_size;
	net->section_count = answer.receive_buffer_complete.part.section_count;
	message = (struct nvsp_message){.type = NVSP_SEND_BUFFER,
					.buffer = {net->send_gpadl, SEND_ID}};
	answer = vsc_net_nvsp(net, &message, sizeof(message));
	if (answer.type != NVSP_SEND_BUFFER_COMPLETE ||
	    answer.send_buffer_complete.status != NVSP_STATUS_SUCCESS)
		vsc_fail("the send buffer is refused");
	net->send_section_bytes = answer.send_buffer_complete.section_size;
}

static void rndis_initialize(struct vsc_net *net)
{
	struct {
		struct rndis_header header;
		struct rndis_initialize body;
	} message = {{RNDIS_INITIALIZE, sizeof(message)}, {++net->request_id, 1, 0, 0x4000}};
	const struct rndis_initialize_complete *complete = (const void *)(net->control + 8);

	if (vsc_net_control(net, &message, sizeof(message)) != NVSP_STATUS_SUCCESS)
		vsc_fail("RNDIS is refused");
	vsc_net_wait_control(net);
	if (get_le32(net->control) != (RNDIS_INITIALIZE | RNDIS_COMPLETION) ||
	    complete->request_id != net->request_id || complete->status != 0)
		vsc_fail("RNDIS does not initialize");
}

void vsc_net_initialize(struct vsc_net *net, uint32_t version, uint32_t mtu)
{
	struct nvsp_message message = {
		.type = NVSP_NDIS_CONFIG,
		.ndis_config = {.mtu = mtu + 14, .capabilities = NVSP_CAPABILITY_VLAN},
	};

	if (vsc_net_version(net, version) != NVSP_STATUS_SUCCESS)
		vsc_fail("the version is refused");
	if (version >= NVSP_VERSION_61)
		message.ndis_config.capabilities |= NVSP_CAPABILITY_RSC;
	if (version >= NVSP_VERSION_2)
		vsc_net_tell(net, &message, sizeof(message));
	message = (struct nvsp_message){.type = NVSP_NDIS_VERSION, .ndis_version = {6, 30}};
	vsc_net_tell(net, &message, sizeof(message));
	make_buffers(net);
	rndis_initialize(net);
}

uint32_t vsc_net_control(struct vsc_net *net, const void *message, uint32_t bytes)
{
	const struct nvsp_message rndis = {
		.type = NVSP_RNDIS,
		.rndis = {.channel_type = NVSP_CHANNEL_CONTROL, .section = NVSP_NO_SECTION},
	};
	struct vsc_net_channel *primary = &net->channels[0];
	const struct vsc_range range = {net->request, bytes};
	unsigned int completed = primary->completed;

	net->control_bytes = 0;
	memcpy(vsc_pointer(net->vsc, net->request, bytes), message, bytes);
	if (vsc_channel_send(&primary->channel, primary->packet,
			     vsc_packet_gpa_direct(primary->packet, ++primary->transaction, &range,
						   1, &rndis, sizeof(rndis))) < 0)
		vsc_fail("no room for a control message");
	vsc_net_wait_sent(net, 0, completed + 1);
	return primary->status;
}

void vsc_net_wait_control(struct vsc_net *net)
{
	while (net->control_bytes == 0)
		vsc_net_poll(net, 0, true);
}

static void request(struct vsc_net *net, uint32_t type, uint32_t oid, const void *info,
		    uint32_t info_bytes)
{
	uint8_t message[4096] = {0};
	const struct rndis_request body = {++net->request_id, oid, info_bytes, sizeof(body), 0};
	const struct rndis_header header = {type, (uint32_t)sizeof(header) +
							  (uint32_t)sizeof(body) + info_bytes};

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), &body, sizeof(body));
	if (info_bytes)
		memcpy(message + sizeof(header) + sizeof(body), info, info_bytes);
	if (vsc_net_control(net, message, header.length) != NVSP_STATUS_SUCCESS)
		vsc_fail("a request is refused");
	vsc_net_wait_control(net);
	if (get_le32(net->control) != (type | RNDIS_COMPLETION) ||
	    get_le32(net->control + 8) != net->request_id)
		vsc_fail("the answer to another request");
}

uint32_t vsc_net_query(struct vsc_net *net, uint32_t oid, const void *info, uint32_t info_bytes,
		       void *answer, uint32_t *bytes)
{
	const struct rndis_query_complete *complete = (const void *)(net->control + 8);

	request(net, RNDIS_QUERY, oid, info, info_bytes);
	if (complete->info_offset + complete->info_length + 8 > net->control_bytes)
		vsc_fail("an answer longer than its message");
	memcpy(answer, net->control + 8 + complete->info_offset,
	       MIN(complete->info_length, *bytes));
	*bytes = complete->info_length;
	return complete->status;
}

uint32_t vsc_net_set(struct vsc_net *net, uint32_t oid, const void *info, uint32_t info_bytes)
{
	request(net, RNDIS_SET, oid, info, info_bytes);
	return get_le32(net->control + 12);
}

uint32_t vsc_net_rss(struct vsc_net *net, const uint8_t *key, const uint32_t *table, uint32_t count,
		     uint32_t flags)
{
	uint8_t data[sizeof(struct ndis_rss_parameters) + 4 * 128 + 40] = {0};
	const struct ndis_rss_parameters rss = {
		.header = {NDIS_TYPE_RSS_PARAMETERS, 2, sizeof(rss)},
		.flags = (uint16_t)flags,
		.hash = NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4 | NDIS_HASH_IPV6 |
			NDIS_HASH_TCP_IPV6,
		.table_bytes = (uint16_t)(4 * count),
		.table_offset = sizeof(rss),
		.key_bytes = 40,
		.key_offset = (uint32_t)sizeof(rss) + 4 * count,
	};

	memcpy(data, &rss, sizeof(rss));
	memcpy(data + rss.table_offset, table, rss.table_bytes);
	memcpy(data + rss.key_offset, key, 40);
	return vsc_net_set(net, OID_GEN_RECEIVE_SCALE_PARAMETERS, data, rss.key_offset + 40);
}

static void put_info(uint8_t *message, uint32_t type, uint32_t value)
{
	struct rndis_packet *packet = (void *)(message + 8);
	uint8_t *info = message + RNDIS_BYTES + packet->info_length;

	put_le32(info, 16);
	put_le32(info + 4, type);
	put_le32(info + 8, 12);
	put_le32(info + 12, value);
	packet->info_offset = sizeof(*packet);
	packet->info_length += 16;
}

/* The RNDIS header of a frame, with its information; returns its bytes. */
static uint32_t build_header(uint8_t *message, uint32_t bytes, const struct vsc_net_send *how)
{
	struct rndis_packet *packet = (void *)(message + 8);
	uint32_t header;

	memset(message, 0, RNDIS_BYTES);
	if (how->has_vlan)
		put_info(message, RNDIS_INFO_VLAN, how->vlan);
	if (how->large_send)
		put_info(message, RNDIS_INFO_LARGE_SEND, how->large_send);
	else if (how->checksum)
		put_info(message, RNDIS_INFO_CHECKSUM, how->checksum);
	header = RNDIS_BYTES + packet->info_length;
	packet->data_offset = header - 8;
	packet->data_length = bytes;
	put_le32(message, RNDIS_PACKET);
	put_le32(message + 4, header + bytes);
	return header;
}

/* By ranges of a page at most, as Linux does. */
static uint32_t split(uint64_t gpa, uint32_t bytes, struct vsc_range *ranges)
{
	uint32_t count = 0;

	while (bytes > 0) {
		uint32_t part = MIN(bytes, 4096u - (uint32_t)(gpa % 4096));

		ranges[count++] = (struct vsc_range){gpa, part};
		gpa += part;
		bytes -= part;
	}
	return count;
}

static int send_direct(struct vsc_net *net, struct vsc_net_channel *channel, const void *frame,
		       uint32_t bytes, const struct vsc_net_send *how)
{
	uint8_t *memory = vsc_pointer(net->vsc, channel->request, REQUEST_PAGES * 4096);
	struct nvsp_message message = {.type = NVSP_RNDIS, .rndis.section = NVSP_NO_SECTION};
	uint32_t header = build_header(memory, bytes, how), count = 0;
	struct vsc_range ranges[REQUEST_PAGES];

	if (frame)
		memcpy(memory + 4096, frame, bytes);
	if (how->half_direct) {
		uint64_t section = net->send_buffer + net->send_section_bytes;

		memcpy(vsc_pointer(net->vsc, section, header), memory, header);
		message.rndis.section = 1;
		message.rndis.section_bytes = header;
	} else {
		ranges[count++] = (struct vsc_range){channel->request, header};
	}
	count += split(channel->request + 4096, bytes, ranges + count);
	return vsc_channel_send(&channel->channel, channel->packet,
				vsc_packet_gpa_direct(channel->packet, ++channel->transaction,
						      ranges, count, &message, sizeof(message)));
}

int vsc_net_send(struct vsc_net *net, unsigned int index, const void *frame, uint32_t bytes,
		 const struct vsc_net_send *how)
{
	static const struct vsc_net_send plain;
	struct vsc_net_channel *channel = &net->channels[index];
	uint32_t section =
		(2 + (uint32_t)(channel->transaction % SECTIONS) + SECTIONS * index) % SECTIONS_ALL;
	uint8_t *memory =
		vsc_pointer(net->vsc, net->send_buffer + section * net->send_section_bytes,
			    net->send_section_bytes);
	struct nvsp_message message = {.type = NVSP_RNDIS, .rndis.section = section};

	how = how ? how : &plain;
	if (how->direct || how->half_direct)
		return send_direct(net, channel, frame, bytes, how);
	for (uint32_t i = 0; i < MAX(how->copies, 1u); i++) {
		uint8_t *at = memory + message.rndis.section_bytes;
		uint32_t header = build_header(at, bytes, how);
		uint32_t padding = -(header + bytes) % 8;

		memcpy(at + header, frame, bytes);
		put_le32(at + 4, header + bytes + padding);
		message.rndis.section_bytes += header + bytes + padding;
	}
	if (message.rndis.section_bytes > net->send_section_bytes)
		vsc_fail("more than a section holds");
	return vsc_channel_send(&channel->channel, channel->packet,
				vsc_packet_inband(channel->packet, PACKET_DATA_INBAND,
						  ++channel->transaction, true, &message,
						  sizeof(message)));
}
