#include "vsc_bus.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/hv_synic.h"
#include "vmm/hv_tlfs.h"
#include "vsc_machine.h"

#define HEADER_FRAMES 26u
#define BODY_FRAMES   28u

uint16_t vsc_try_post(struct vsc *vsc, uint32_t connection_id, const void *message, size_t size)
{
	struct hv_input_post_message input = {
		.connection_id = connection_id,
		.message_type = VMBUS_MESSAGE_TYPE,
		.payload_size = (uint32_t)size,
	};
	struct hv_hypercall_regs regs = {
		.long_mode = true,
		.rcx = HV_CALL_POST_MESSAGE,
		.rdx = vsc->input_page,
	};

	if (size > sizeof(input.payload))
		vsc_fail("the message is too large");
	memcpy(input.payload, message, size);
	memcpy(vsc_pointer(vsc, vsc->input_page, sizeof(input)), &input, sizeof(input));
	hv_hypercall(hv_partition_vp(vsc->hv, 0), &regs);
	return (uint16_t)regs.rax;
}

uint16_t vsc_post(struct vsc *vsc, uint32_t connection_id, const void *message, size_t size)
{
	struct vsc_wait wait = {0};
	uint16_t status;

	while ((status = vsc_try_post(vsc, connection_id, message, size)) ==
	       HV_STATUS_INSUFFICIENT_BUFFERS)
		vsc_pause(&wait, "the host takes no message");
	return status;
}

void vsc_send(struct vsc *vsc, const void *message, size_t size)
{
	if (vsc_post(vsc, vsc->connection_id, message, size) != HV_STATUS_SUCCESS)
		vsc_fail("the host refused a message");
}

size_t vsc_poll_message(struct vsc *vsc, unsigned int vp, unsigned int sint, void *message)
{
	struct hv_message *page = vsc_pointer(vsc, vsc->simp[vp], VMBUS_PAGE_SIZE);
	struct hv_message *slot = &page[sint];
	size_t size;

	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE)
		return 0;
	size = slot->payload_size;
	memcpy(message, slot->payload, size);
	__atomic_store_n(&slot->type, HV_MESSAGE_NONE, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&slot->flags, __ATOMIC_SEQ_CST) & HV_MESSAGE_FLAG_PENDING)
		hv_msr_write(hv_partition_vp(vsc->hv, vp), HV_MSR_EOM, 0);
	return size;
}

static void keep_offer(struct vsc *vsc, const struct vmbus_offer_channel *offer)
{
	if (offer->relid == 0 || offer->relid > VMBUS_CHANNELS_MAX ||
	    vsc->offers[offer->relid].header.type)
		vsc_fail("the host offered a relid that is in use or out of range");
	vsc->offers[offer->relid] = *offer;
	vsc->rescinded[offer->relid] = false;
}

static void keep_rescind(struct vsc *vsc, const struct vmbus_relid_message *rescind)
{
	if (rescind->relid > VMBUS_CHANNELS_MAX || !vsc->offers[rescind->relid].header.type)
		vsc_fail("the host rescinded what it had not offered");
	vsc->rescinded[rescind->relid] = true;
}

/* Takes one message, if there is one, and its type; 0 if there is none. */
static uint32_t take_message(struct vsc *vsc, void *message, size_t *size)
{
	struct vmbus_message_header header;

	*size = vsc_poll_message(vsc, vsc->message_vp, vsc->sint, message);
	if (*size == 0)
		return 0;
	if (*size < sizeof(header))
		vsc_fail("the host sent less than a header");
	memcpy(&header, message, sizeof(header));
	if (header.type == VMBUS_MESSAGE_OFFER_CHANNEL)
		keep_offer(vsc, message);
	if (header.type == VMBUS_MESSAGE_RESCIND_OFFER)
		keep_rescind(vsc, message);
	return header.type;
}

size_t vsc_wait_message(struct vsc *vsc, uint32_t type, void *message)
{
	struct vsc_wait wait = {0};
	size_t size;

	for (;;) {
		uint32_t found = take_message(vsc, message, &size);

		if (found == type)
			return size;
		if (!found)
			vsc_pause(&wait, "the host does not answer");
	}
}

/* An open of relid 0 is always refused, in its turn. */
void vsc_settle(struct vsc *vsc)
{
	struct vmbus_open_channel request = {
		.header.type = VMBUS_MESSAGE_OPEN_CHANNEL,
		.open_id = ++vsc->next_open_id,
	};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	struct vmbus_open_result *result = (void *)message;

	vsc_send(vsc, &request, sizeof(request));
	do
		vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, message);
	while (result->relid != 0 || result->open_id != request.open_id);
}

static void forget_offers(struct vsc *vsc)
{
	memset(vsc->offers, 0, sizeof(vsc->offers));
	memset(vsc->rescinded, 0, sizeof(vsc->rescinded));
}

bool vsc_contact(struct vsc *vsc, uint32_t version, unsigned int message_vp,
		 struct vmbus_version_response *response)
{
	bool new = version >= VMBUS_VERSION(5, 0);
	struct vmbus_initiate_contact contact = {
		.header.type = VMBUS_MESSAGE_INITIATE_CONTACT,
		.version = version,
		.target_vp = message_vp,
	};
	_Alignas(8) uint8_t message[VMBUS_MESSAGE_MAX];
	const struct vmbus_version_response *answer = (void *)message;

	if (new)
		contact.message_sint = VMBUS_SINT;
	else
		contact.interrupt_page = vsc->input_page;
	vsc->message_vp = message_vp;
	vsc->sint = VMBUS_SINT;
	vsc->connection_id = new ? VMBUS_CONNECTION_MESSAGE_4 : VMBUS_CONNECTION_MESSAGE;
	vsc_send(vsc, &contact, sizeof(contact));
	vsc_wait_message(vsc, VMBUS_MESSAGE_VERSION_RESPONSE, message);
	forget_offers(vsc);
	if (answer->version_supported) {
		vsc->version = version;
		if (new)
			vsc->connection_id = answer->message_connection_id;
	}
	if (response)
		*response = *answer;
	return answer->version_supported;
}

void vsc_request_offers(struct vsc *vsc)
{
	const struct vmbus_message_header request = {.type = VMBUS_MESSAGE_REQUEST_OFFERS};
	uint8_t message[VMBUS_MESSAGE_MAX];

	vsc_send(vsc, &request, sizeof(request));
	vsc_wait_message(vsc, VMBUS_MESSAGE_ALL_OFFERS_DELIVERED, message);
}

void vsc_connect(struct vsc *vsc, uint32_t version)
{
	if (!vsc_contact(vsc, version, 0, NULL))
		vsc_fail("the host refused the version");
	vsc_request_offers(vsc);
}

void vsc_unload(struct vsc *vsc)
{
	const struct vmbus_message_header request = {.type = VMBUS_MESSAGE_UNLOAD};
	uint8_t message[VMBUS_MESSAGE_MAX];

	vsc_send(vsc, &request, sizeof(request));
	vsc_wait_message(vsc, VMBUS_MESSAGE_UNLOAD_RESPONSE, message);
	forget_offers(vsc);
}

const struct vmbus_offer_channel *vsc_offer_at(const struct vsc *vsc, uint32_t relid)
{
	return vsc->offers[relid].header.type && !vsc->rescinded[relid] ? &vsc->offers[relid]
									: NULL;
}

unsigned int vsc_offer_count(const struct vsc *vsc)
{
	unsigned int count = 0;

	for (uint32_t relid = 1; relid <= VMBUS_CHANNELS_MAX; relid++)
		count += vsc_offer_at(vsc, relid) != NULL;
	return count;
}

const struct vmbus_offer_channel *vsc_find_offer(struct vsc *vsc, const struct guid *class_id,
						 unsigned int subchannel_index)
{
	struct vsc_wait wait = {0};
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t size;

	for (;;) {
		for (uint32_t relid = 1; relid <= VMBUS_CHANNELS_MAX; relid++) {
			const struct vmbus_offer_channel *offer = vsc_offer_at(vsc, relid);

			if (offer && guid_equal(&offer->class_id, class_id) &&
			    offer->subchannel_index == subchannel_index)
				return offer;
		}
		if (!take_message(vsc, message, &size))
			vsc_pause(&wait, "the host does not offer the channel");
	}
}

void vsc_wait_rescind(struct vsc *vsc, uint32_t relid)
{
	struct vsc_wait wait = {0};
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t size;

	while (!vsc->rescinded[relid]) {
		if (!take_message(vsc, message, &size))
			vsc_pause(&wait, "the host does not rescind the channel");
	}
}

void vsc_release(struct vsc *vsc, uint32_t relid)
{
	const struct vmbus_relid_message message = {
		.header.type = VMBUS_MESSAGE_RELID_RELEASED,
		.relid = relid,
	};

	vsc->offers[relid].header.type = 0;
	vsc->rescinded[relid] = false;
	vsc_send(vsc, &message, sizeof(message));
}

static void send_bodies(struct vsc *vsc, uint32_t gpadl, const uint64_t *frames, uint32_t count)
{
	struct {
		struct vmbus_gpadl_body body;
		uint64_t frames[BODY_FRAMES];
	} __attribute__((packed)) message = {
		.body.header.type = VMBUS_MESSAGE_GPADL_BODY,
		.body.gpadl = gpadl,
	};

	for (uint32_t done = 0; done < count;) {
		uint32_t part = count - done < BODY_FRAMES ? count - done : BODY_FRAMES;

		memcpy(message.frames, frames + done, part * sizeof(frames[0]));
		vsc_send(vsc, &message, sizeof(message.body) + part * sizeof(frames[0]));
		done += part;
	}
}

uint32_t vsc_gpadl_create(struct vsc *vsc, uint32_t relid, const uint64_t *frames, uint32_t count,
			  uint32_t *gpadl)
{
	struct {
		struct vmbus_gpadl_header header;
		struct vmbus_gpa_range range;
		uint64_t frames[HEADER_FRAMES];
	} __attribute__((packed)) message = {
		.header.header.type = VMBUS_MESSAGE_GPADL_HEADER,
		.header.relid = relid,
		.header.gpadl = vsc->next_gpadl++,
		.header.range_bytes = (uint16_t)(8 + count * 8),
		.header.range_count = 1,
		.range.byte_count = count * VMBUS_PAGE_SIZE,
	};
	uint32_t first = count < HEADER_FRAMES ? count : HEADER_FRAMES;
	_Alignas(8) uint8_t answer[VMBUS_MESSAGE_MAX];
	const struct vmbus_gpadl_created *created = (void *)answer;

	memcpy(message.frames, frames, first * sizeof(frames[0]));
	vsc_send(vsc, &message,
		 sizeof(message.header) + sizeof(message.range) + first * sizeof(frames[0]));
	send_bodies(vsc, message.header.gpadl, frames + first, count - first);
	do
		vsc_wait_message(vsc, VMBUS_MESSAGE_GPADL_CREATED, answer);
	while (created->gpadl != message.header.gpadl || created->relid != relid);
	*gpadl = message.header.gpadl;
	return created->status;
}

void vsc_gpadl_teardown(struct vsc *vsc, uint32_t relid, uint32_t gpadl)
{
	const struct vmbus_gpadl_teardown message = {
		.header.type = VMBUS_MESSAGE_GPADL_TEARDOWN,
		.relid = relid,
		.gpadl = gpadl,
	};
	_Alignas(8) uint8_t answer[VMBUS_MESSAGE_MAX];
	const struct vmbus_gpadl_torndown *torndown = (void *)answer;

	vsc_send(vsc, &message, sizeof(message));
	do
		vsc_wait_message(vsc, VMBUS_MESSAGE_GPADL_TORNDOWN, answer);
	while (torndown->gpadl != gpadl);
}
