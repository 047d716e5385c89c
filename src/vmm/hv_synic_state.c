#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "vmm/hv_internal.h"

/* The SynIC in the state tree: registers, and for each SINT the messages that wait, in order. */

enum {
	RECORD_TYPE = 0,
	RECORD_SIZE = 4,
	RECORD_TIMER = 8, /* 1 + index of the timer it belongs to; 0: none */
	RECORD_SENDER = 12,
	RECORD_PAYLOAD = 20,
	RECORD_BYTES = RECORD_PAYLOAD + HV_MESSAGE_PAYLOAD_MAX,
};

#define RECORDS_MAX (HV_SYNIC_QUEUE_MAX + HV_STIMER_COUNT)
#define NAME_SIZE   16

static void put_record(uint8_t *record, const struct synic_message *message)
{
	put_le32(record + RECORD_TYPE, message->type);
	put_le32(record + RECORD_SIZE, message->size);
	put_le32(record + RECORD_TIMER, message->timer ? message->timer->index + 1 : 0);
	put_le64(record + RECORD_SENDER, message->sender);
	memcpy(record + RECORD_PAYLOAD, message->payload, HV_MESSAGE_PAYLOAD_MAX);
}

static void save_queue(struct synic_sint *sint, struct state_writer *writer)
{
	uint8_t *records = calloc(sint->waiting, RECORD_BYTES);
	struct synic_message *message;
	unsigned int count = 0;

	/* Without its messages the node does not restore: nothing is lost unseen. */
	if (!records)
		return;
	list_for_each(message, &sint->queue, node)
		put_record(records + (size_t)RECORD_BYTES * count++, message);
	state_put_bytes(writer, "messages", records, (size_t)RECORD_BYTES * count);
	free(records);
}

static void save_sint(struct synic_sint *sint, unsigned int index, struct state_writer *writer)
{
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "sint@%u", index);
	state_begin(writer, name, 1);
	state_put_u64(writer, "value", atomic_load(&sint->value));
	state_put_u32(writer, "waiting", sint->waiting);
	if (sint->waiting)
		save_queue(sint, writer);
	state_end(writer);
}

void synic_save(struct hv_vp *vp, struct state_writer *writer)
{
	state_begin(writer, "synic", 1);
	state_put_u64(writer, "scontrol", atomic_load(&vp->synic.control));
	state_put_u64(writer, "siefp", vp->synic.siefp);
	state_put_u64(writer, "simp", vp->synic.simp);
	for (unsigned int i = 0; i < HV_SINT_COUNT; i++)
		save_sint(&vp->synic.sints[i], i, writer);
	state_end(writer);
}

/* The timer's own message, or a new one. */
static struct synic_message *message_for(struct hv_vp *vp, uint32_t timer)
{
	struct synic_message *message;

	if (timer > HV_STIMER_COUNT)
		return NULL;
	if (timer) {
		message = &vp->stimers[timer - 1].message;
		return list_empty(&message->node) ? message : NULL;
	}
	message = calloc(1, sizeof(*message));
	if (message)
		list_init(&message->node);
	return message;
}

static int restore_record(struct hv_vp *vp, struct synic_sint *sint, const uint8_t *record)
{
	uint32_t type = get_le32(record + RECORD_TYPE);
	uint32_t size = get_le32(record + RECORD_SIZE);
	struct synic_message *message;

	if (type == HV_MESSAGE_NONE || size > HV_MESSAGE_PAYLOAD_MAX)
		return -EINVAL;
	message = message_for(vp, get_le32(record + RECORD_TIMER));
	if (!message)
		return -EINVAL;
	message->type = type;
	message->size = size;
	message->sender = get_le64(record + RECORD_SENDER);
	memcpy(message->payload, record + RECORD_PAYLOAD, HV_MESSAGE_PAYLOAD_MAX);
	list_append(&sint->queue, &message->node);
	sint->waiting++;
	return 0;
}

static int restore_queue(struct hv_vp *vp, struct synic_sint *sint, const struct state_node *node)
{
	const uint8_t *records;
	uint32_t waiting;
	size_t size;
	int r;

	r = state_get_u32(node, "waiting", &waiting);
	if (r < 0 || waiting == 0)
		return r;
	records = state_find_bytes(node, "messages", &size);
	if (!records || waiting > RECORDS_MAX || size != (size_t)waiting * RECORD_BYTES)
		return -EINVAL;
	for (uint32_t i = 0; i < waiting && r == 0; i++)
		r = restore_record(vp, sint, records + (size_t)i * RECORD_BYTES);
	return r;
}

static int restore_sint(struct hv_vp *vp, unsigned int index, const struct state_node *synic)
{
	struct state_node node;
	char name[NAME_SIZE];
	uint64_t value;
	int r;

	snprintf(name, sizeof(name), "sint@%u", index);
	r = state_child(synic, name, 1, &node);
	if (r == 0)
		r = state_get_u64(&node, "value", &value);
	if (r < 0)
		return r;
	if (!synic_set_sint(vp, index, value))
		return -EINVAL;
	return restore_queue(vp, &vp->synic.sints[index], &node);
}

int synic_restore(struct hv_vp *vp, const struct state_node *parent)
{
	struct state_node node;
	uint64_t control;
	uint64_t siefp;
	uint64_t simp;
	int r = state_child(parent, "synic", 1, &node);

	if (r < 0)
		return r;
	if (state_get_u64(&node, "scontrol", &control) < 0 ||
	    state_get_u64(&node, "siefp", &siefp) < 0 || state_get_u64(&node, "simp", &simp) < 0)
		return -EINVAL;
	synic_set(vp, control, siefp, simp);
	for (unsigned int i = 0; i < HV_SINT_COUNT && r == 0; i++)
		r = restore_sint(vp, i, &node);
	return r;
}
