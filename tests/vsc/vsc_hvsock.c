#include "vsc_hvsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/table.h"
#include "vsc_device.h"
#include "vsc_machine.h"

#define RING_ENTRIES	256
#define OPEN_TIMEOUT_MS 300
/* As much as Linux puts in a packet. */
#define SEND_MAX	4088u
#define PACKET_BYTES	(16u + sizeof(struct hvsock_header) + SEND_MAX + VMBUS_PACKET_TRAILER)

static int on_say(void *context, const char *id, json_t *event)
{
	struct vsc_hvsock *hvsock = context;

	if (!hvsock->deaf) {
		hvsock->asked_port =
			(uint32_t)json_integer_value(json_object_get(event, "connect"));
		hvsock->asked_token = (uint64_t)json_integer_value(json_object_get(event, "token"));
	}
	json_decref(event);
	return hvsock->deaf ? -ENOBUFS : 0;
}

static const struct device_events device_events = {.say = on_say};

void vsc_hvsock_create(struct vsc_hvsock *hvsock)
{
	const struct device_env env = {
		.io_threads = hvsock->io_threads,
		.io_thread_count = hvsock->io_thread_count,
		.vp_count = 1,
		.events = &device_events,
		.context = hvsock,
	};
	json_t *config = json_pack("{s:i}", "open_timeout_ms", OPEN_TIMEOUT_MS);
	struct error err;

	if (vsc_device_create(hvsock->vsc, hvsock->ops, &env, config, &hvsock->device, &err) < 0)
		vsc_fail(err.text);
}

void vsc_hvsock_do(struct vsc_hvsock *hvsock, void (*function)(void *device))
{
	vsc_device_do(hvsock->vsc, function, hvsock->device);
}

void vsc_hvsock_destroy(struct vsc_hvsock *hvsock)
{
	vsc_hvsock_do(hvsock, hvsock->ops->destroy);
}

void vsc_hvsock_start(struct vsc_hvsock *hvsock, unsigned int io_thread_count)
{
	memset(hvsock, 0, sizeof(*hvsock));
	hvsock->ops = &hvsock_device;
	hvsock->io_thread_count = io_thread_count;
	for (unsigned int i = 0; i < io_thread_count; i++)
		if (io_thread_new("hvsock", RING_ENTRIES, &hvsock->io_threads[i]) < 0 ||
		    io_thread_start(hvsock->io_threads[i], NULL, NULL) < 0)
			vsc_fail("no I/O thread");
	hvsock->vsc = vsc_new(NULL);
	vsc_hvsock_create(hvsock);
	vsc_connect(hvsock->vsc, VMBUS_VERSION_WIN10_V5_3);
}

void vsc_hvsock_stop(struct vsc_hvsock *hvsock)
{
	vsc_unload(hvsock->vsc);
	vsc_hvsock_destroy(hvsock);
	vsc_free(hvsock->vsc);
	for (unsigned int i = 0; i < hvsock->io_thread_count; i++)
		io_thread_free(hvsock->io_threads[i]);
}

struct verb_call {
	struct device_call call; /* the first */
	struct vsc_hvsock *hvsock;
	const char *verb;
	json_t *parameters;
	json_t *reply;
	bool answered;
};

static void on_reply(struct device_call *call, json_t *reply)
{
	struct verb_call *verb_call = (struct verb_call *)call;

	verb_call->reply = reply ? reply : json_object();
	verb_call->answered = true;
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	((struct verb_call *)call)->answered = true;
}

static void call_verb(void *context)
{
	struct verb_call *call = context;

	for (const struct device_verb *verb = call->hvsock->ops->verbs; verb->name; verb++)
		if (!strcmp(verb->name, call->verb))
			verb->handle(call->hvsock->device, call->parameters, &call->call);
}

json_t *vsc_hvsock_call(struct vsc_hvsock *hvsock, const char *verb, json_t *parameters)
{
	struct verb_call call = {
		.call = {on_reply, on_refuse},
		.hvsock = hvsock,
		.verb = verb,
		.parameters = parameters,
	};

	vsc_main(hvsock->vsc, call_verb, &call);
	json_decref(parameters);
	if (!call.answered)
		vsc_fail("a verb of hv_sock is not answered");
	return call.reply;
}

struct figure_call {
	struct vsc_hvsock *hvsock;
	const char *name;
	uint64_t value;
};

static void read_figure(void *context)
{
	struct figure_call *call = context;
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	uint32_t small;
	void *tree;
	size_t size;

	call->hvsock->ops->inspect(call->hvsock->device, writer);
	if (state_finish(writer, &tree, &size) || state_open(tree, size, &root))
		vsc_fail("hv_sock has no figures");
	if (!state_get_u32(&root, call->name, &small))
		call->value = small;
	else if (state_get_u64(&root, call->name, &call->value))
		vsc_fail("hv_sock lacks a figure");
	free(tree);
	state_writer_free(writer);
}

uint64_t vsc_hvsock_figure(struct vsc_hvsock *hvsock, const char *name)
{
	struct figure_call call = {hvsock, name, 0};

	vsc_main(hvsock->vsc, read_figure, &call);
	return call.value;
}

/* Gives one end of a new pair to a verb; the other, or -1. */
static int give_socket(struct vsc_hvsock *hvsock, const char *verb, json_t *parameters)
{
	int ends[2];
	json_t *reply;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		vsc_fail("no socket pair");

	json_object_set_new(parameters, "fd", json_integer(ends[1]));
	reply = vsc_hvsock_call(hvsock, verb, parameters);
	if (reply) {
		json_decref(reply);
		return ends[0];
	}
	close(ends[0]);
	return -1;
}

int vsc_hvsock_host_connect(struct vsc_hvsock *hvsock, uint32_t port)
{
	return give_socket(hvsock, "connect", json_pack("{s:I}", "port", (json_int_t)port));
}

int vsc_hvsock_accept(struct vsc_hvsock *hvsock)
{
	uint64_t token = hvsock->asked_token;

	hvsock->asked_token = 0;
	return give_socket(hvsock, "accept", json_pack("{s:I}", "token", (json_int_t)token));
}

static struct guid port_id(uint32_t port)
{
	struct guid id = HVSOCK_ID_TEMPLATE;

	put_le32(id.bytes, port);
	return id;
}

void vsc_hvsock_ask(struct vsc_hvsock *hvsock, uint32_t own_port, uint32_t port)
{
	const struct vmbus_tl_connect_request request = {
		.header.type = VMBUS_MESSAGE_TL_CONNECT_REQUEST,
		.endpoint_id = port_id(own_port),
		.service_id = port_id(port),
	};

	hvsock->asked_token = 0;
	vsc_send(hvsock->vsc, &request, sizeof(request));
	vsc_settle(hvsock->vsc);
}

void vsc_socket_open(struct vsc_hvsock *hvsock, uint32_t port, uint32_t ring_pages,
		     struct vsc_socket *socket)
{
	const struct vsc_open open = {.ring_pages = ring_pages};
	struct guid class_id = port_id(port);
	const struct vmbus_offer_channel *offer = vsc_find_offer(hvsock->vsc, &class_id, 0);

	*socket = (struct vsc_socket){.hvsock = hvsock};
	if (!(offer->flags & VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER))
		vsc_fail("an offer that is not hv_sock's");
	socket->mark = vsc_pages_mark(hvsock->vsc);
	socket->packet = malloc(VSC_PACKET_MAX);
	if (vsc_channel_open(hvsock->vsc, offer, &open, &socket->channel) != 0)
		vsc_fail("a connection does not open");
	vsc_ring_wait_room(&socket->channel.out, PACKET_BYTES);
}

static bool send_packet(struct vsc_socket *socket, const void *data, uint32_t bytes, bool wait)
{
	const struct {
		struct vmbus_packet_header packet;
		struct hvsock_header socket;
	} head = {
		.packet = {.type = PACKET_DATA_INBAND,
			   .offset8 = sizeof(head.packet) / 8,
			   .length8 = (uint16_t)((sizeof(head) + bytes + 7) / 8)},
		.socket = {HVSOCK_TYPE_DATA, bytes},
	};

	while (vsc_channel_send_with(&socket->channel, &head, sizeof(head), data, bytes) < 0) {
		if (!wait)
			return false;
		vsc_channel_sleep(&socket->channel);
	}
	return true;
}

bool vsc_socket_send(struct vsc_socket *socket, const void *data, size_t bytes, bool wait)
{
	const uint8_t *next = data;

	while (bytes > 0) {
		uint32_t part = (uint32_t)MIN(bytes, (size_t)SEND_MAX);

		if (!send_packet(socket, next, part, wait))
			return false;
		next += part;
		bytes -= part;
	}
	return true;
}

void vsc_socket_fin(struct vsc_socket *socket)
{
	send_packet(socket, "", 0, true);
}

/* The next packet's data. */
static void take_packet(struct vsc_socket *socket)
{
	int r = vsc_channel_wait(&socket->channel, socket->packet, VSC_PACKET_MAX);
	const struct hvsock_header *header;
	const uint8_t *payload;
	uint32_t size;

	if (r < 0)
		vsc_fail("the host's ring is broken");
	payload = vsc_packet_payload(socket->packet, &size);
	header = (const void *)payload;
	if (get_le16(socket->packet) != PACKET_DATA_INBAND || size < sizeof(*header) ||
	    header->type != HVSOCK_TYPE_DATA || header->data_size > HVSOCK_DATA_MAX ||
	    header->data_size > size - sizeof(*header))
		vsc_fail("a packet that is no hv_sock packet");
	socket->end = header->data_size == 0;
	socket->first = (uint32_t)(payload + sizeof(*header) - socket->packet);
	socket->left = header->data_size;
}

size_t vsc_socket_receive(struct vsc_socket *socket, void *data, size_t max)
{
	const uint8_t *place;
	size_t bytes = vsc_socket_look(socket, &place, max);

	if (bytes > 0)
		memcpy(data, place, bytes);
	return bytes;
}

size_t vsc_socket_look(struct vsc_socket *socket, const uint8_t **data, size_t max)
{
	size_t bytes;

	if (socket->left == 0 && !socket->end)
		take_packet(socket);
	bytes = MIN((size_t)socket->left, max);
	*data = socket->packet + socket->first;
	socket->first += (uint32_t)bytes;
	socket->left -= (uint32_t)bytes;
	return bytes;
}

void vsc_socket_forget(struct vsc_socket *socket)
{
	vsc_channel_forget(&socket->channel);
	vsc_pages_release(socket->hvsock->vsc, socket->mark);
	free(socket->packet);
}

void vsc_socket_release(struct vsc_socket *socket)
{
	struct vsc *vsc = socket->hvsock->vsc;
	const struct vmbus_relid_message close_message = {
		.header.type = VMBUS_MESSAGE_CLOSE_CHANNEL,
		.relid = socket->channel.relid,
	};

	vsc_wait_rescind(vsc, socket->channel.relid);
	vsc_send(vsc, &close_message, sizeof(close_message));
	vsc_gpadl_teardown(vsc, socket->channel.relid, socket->channel.gpadl);
	vsc_release(vsc, socket->channel.relid);
	vsc_socket_forget(socket);
}
