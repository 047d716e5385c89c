#include "vsc_stor.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/table.h"
#include "vsc_device.h"
#include "vsc_machine.h"

#define RING_ENTRIES 256

static const struct guid stor_class = STORVSP_CLASS_SCSI;

void vsc_stor_create(struct vsc_stor *stor, json_t *config)
{
	const struct device_env env = {
		.ports = stor->vsc->ports,
		.irq = stor->vsc->irq,
		.io_threads = stor->io_threads,
		.io_thread_count = stor->io_thread_count,
		.vp_count = stor->vp_count,
	};
	struct error err;

	if (vsc_device_create(stor->vsc, stor->ops, &env, config, &stor->device, &err) < 0)
		vsc_fail(err.text);
}

void vsc_stor_destroy(struct vsc_stor *stor)
{
	vsc_stor_call(stor, stor->ops->destroy);
}

void vsc_stor_call(struct vsc_stor *stor, void (*function)(void *device))
{
	vsc_device_do(stor->vsc, function, stor->device);
}

void vsc_stor_start(struct vsc_stor *stor, unsigned int vp_count, unsigned int io_thread_count,
		    json_t *config)
{
	vsc_stor_start_device(stor, &storvsp_device, &stor_class, vp_count, io_thread_count,
			      config);
}

void vsc_stor_start_device(struct vsc_stor *stor, const struct device_ops *ops,
			   const struct guid *class_id, unsigned int vp_count,
			   unsigned int io_thread_count, json_t *config)
{
	const struct vsc_config machine = {.vp_count = vp_count};

	memset(stor, 0, sizeof(*stor));
	stor->ops = ops;
	stor->class_id = *class_id;
	stor->vp_count = vp_count;
	stor->io_thread_count = io_thread_count;
	stor->packet = malloc(VSC_PACKET_MAX);
	for (unsigned int i = 0; i < io_thread_count; i++)
		if (io_thread_new("disk", RING_ENTRIES, &stor->io_threads[i]) < 0 ||
		    io_thread_start(stor->io_threads[i], NULL, NULL) < 0)
			vsc_fail("no I/O thread");
	stor->vsc = vsc_new(&machine);
	vsc_stor_create(stor, config);
	vsc_connect(stor->vsc, VMBUS_VERSION_WIN10_V5_3);
}

void vsc_stor_stop(struct vsc_stor *stor)
{
	vsc_stor_destroy(stor);
	vsc_free(stor->vsc);
	for (unsigned int i = 0; i < stor->io_thread_count; i++)
		io_thread_free(stor->io_threads[i]);
	free(stor->packet);
}

struct verb_call {
	struct device_call call;
	const struct device_verb *verb;
	void *device;
	json_t *parameters;
	json_t *reply;
	struct error *err;
};

static void keep_reply(struct device_call *device_call, json_t *reply)
{
	struct verb_call *call = container_of(device_call, struct verb_call, call);

	call->reply = reply ? reply : json_object();
}

static void keep_refusal(struct device_call *device_call, const char *sentence)
{
	struct verb_call *call = container_of(device_call, struct verb_call, call);

	error_set(call->err, 0, "%s", sentence);
}

static void call_verb(void *context)
{
	struct verb_call *call = context;

	call->verb->handle(call->device, call->parameters, &call->call);
}

json_t *vsc_stor_verb(struct vsc_stor *stor, const char *name, json_t *parameters,
		      struct error *err)
{
	struct verb_call call = {
		.call = {keep_reply, keep_refusal},
		.verb = stor->ops->verbs,
		.device = stor->device,
		.parameters = parameters,
		.err = err,
	};

	while (strcmp(call.verb->name, name) != 0)
		call.verb++;
	vsc_main(stor->vsc, call_verb, &call);
	json_decref(parameters);
	return call.reply;
}

void vsc_stor_open(struct vsc_stor *stor, unsigned int index, uint32_t ring_pages,
		   struct vsc_channel *channel)
{
	const struct vmbus_offer_channel *offer = vsc_find_offer(stor->vsc, &stor->class_id, index);
	const struct vsc_open open = {.ring_pages = ring_pages,
				      .target_vp = index % stor->vp_count};

	if (!offer || vsc_channel_open(stor->vsc, offer, &open, channel) != 0)
		vsc_fail("a channel of the controller does not open");
}

struct vstor_packet vsc_stor_control(struct vsc_stor *stor, uint32_t operation, uint16_t value)
{
	struct vstor_packet packet = {.operation = operation, .flags = 1};
	struct vstor_packet answer;

	packet.sub_channel_count = value; /* or the version, which lies there too */
	if (vsc_channel_send(&stor->channel, stor->packet,
			     vsc_packet_inband(stor->packet, PACKET_DATA_INBAND, 1, true, &packet,
					       sizeof(packet))) < 0)
		vsc_fail("no room for a control packet");
	vsc_stor_receive(&stor->channel, stor->packet, true, &answer);
	if (answer.operation != VSTOR_COMPLETE_IO)
		vsc_fail("a control packet gets no proper answer");
	return answer;
}

void vsc_stor_initialize(struct vsc_stor *stor, uint16_t version)
{
	static const uint32_t steps[] = {VSTOR_BEGIN_INITIALIZATION, VSTOR_QUERY_PROTOCOL_VERSION,
					 VSTOR_QUERY_PROPERTIES, VSTOR_END_INITIALIZATION};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (vsc_stor_control(stor, steps[i], version).status != 0)
			vsc_fail("the controller refuses a step of the initialization");
}

struct vsc_stor_command vsc_stor_transfer(bool write, uint64_t offset, uint64_t gpa, uint32_t bytes,
					  uint64_t transaction_id)
{
	struct vsc_stor_command command = {
		.cdb_length = 16,
		.direction = write ? VMSCSI_WRITE : VMSCSI_READ,
		.gpa = gpa,
		.bytes = bytes,
		.transaction_id = transaction_id,
	};

	command.cdb[0] = write ? 0x8a : 0x88;
	put_be64(command.cdb + 2, offset / 512);
	put_be32(command.cdb + 10, bytes / 512);
	return command;
}

int vsc_stor_send(struct vsc_channel *channel, void *packet, const struct vsc_stor_command *command)
{
	const struct vsc_range range = {command->gpa, command->bytes};
	struct vstor_packet body = {
		.operation = VSTOR_EXECUTE_SRB,
		.flags = 1,
		.srb = {.length = sizeof(body.srb),
			.target_id = command->target,
			.lun = command->lun,
			.cdb_length = command->cdb_length,
			.sense_info_length = VMSCSI_SENSE_SIZE,
			.data_in = command->direction,
			.data_transfer_length = command->bytes,
			.srb_flags = 0x102,
			.time_out_value = 60},
	};
	uint32_t bytes;

	memcpy(body.srb.cdb, command->cdb, sizeof(command->cdb));
	if (command->bytes)
		bytes = vsc_packet_gpa_direct(packet, command->transaction_id, &range, 1, &body,
					      sizeof(body));
	else
		bytes = vsc_packet_inband(packet, PACKET_DATA_INBAND, command->transaction_id, true,
					  &body, sizeof(body));
	return vsc_channel_send(channel, packet, bytes);
}

int64_t vsc_stor_receive(struct vsc_channel *channel, void *packet, bool wait,
			 struct vstor_packet *answer)
{
	int r = wait ? vsc_channel_wait(channel, packet, VSC_PACKET_MAX)
		     : vsc_channel_receive(channel, packet, VSC_PACKET_MAX);
	const void *payload;
	uint32_t size;

	if (r == 0)
		return -1;
	if (r < 0)
		vsc_fail("the host's ring is broken");
	payload = vsc_packet_payload(packet, &size);
	if (size != sizeof(*answer))
		vsc_fail("a packet of another size than the protocol's");
	memcpy(answer, payload, sizeof(*answer));
	if (get_le16(packet) == PACKET_DATA_INBAND && answer->operation == VSTOR_ENUMERATE_BUS)
		return 0;
	if (get_le16(packet) != PACKET_COMPLETION)
		vsc_fail("a packet that is neither a completion nor a request of the host's");
	return (int64_t)get_le64((const uint8_t *)packet + 8);
}

struct vmscsi_request vsc_stor_execute(struct vsc_stor *stor,
				       const struct vsc_stor_command *command)
{
	struct vstor_packet answer;

	if (vsc_stor_send(&stor->channel, stor->packet, command) < 0)
		vsc_fail("no room for a command");
	if (vsc_stor_receive(&stor->channel, stor->packet, true, &answer) !=
	    (int64_t)command->transaction_id)
		vsc_fail("the answer to another command");
	return answer.srb;
}
