#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/hv_internal.h"
#include "vmm/irq.h"

/*
 * The synthetic interrupt controller of a VP (TLFS 11).
 *
 * A message slot belongs to the host while its type is HV_MESSAGE_NONE, to the guest otherwise.
 *
 *	host				guest
 *	A fill the slot			D read the slot
 *	B type = the message's		E type = NONE
 *	C raise				F read flags; pending: write EOM
 *
 *	G flags |= pending		A before B (release), E before F and G before H (full
 *	H read type			barriers): one of F and H sees that more is to come.
 *
 * The guest may write the page at any time; that harms its own messages only.
 */

#define SINT_DEFAULT HV_SINT_MASKED

static struct hv_message *slot_of(const struct synic *synic, unsigned int sint)
{
	return synic->message_page ? &synic->message_page[sint] : NULL;
}

/* Whether the slot is ours to fill; if not, the guest now knows to write EOM. */
static bool slot_claim(struct hv_message *slot)
{
	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE)
		return true;
	__atomic_fetch_or(&slot->flags, HV_MESSAGE_FLAG_PENDING, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&slot->type, __ATOMIC_SEQ_CST) == HV_MESSAGE_NONE;
}

static void slot_fill(struct hv_message *slot, const struct synic_message *message)
{
	slot->payload_size = (uint8_t)message->size;
	/* The guest may still be looking at the flags of the message before. */
	__atomic_store_n(&slot->flags, 0, __ATOMIC_RELAXED);
	memset(slot->reserved, 0, sizeof(slot->reserved));
	slot->sender = message->sender;
	memcpy(slot->payload, message->payload, message->size);
	__atomic_store_n(&slot->type, message->type, __ATOMIC_RELEASE);
}

static void dequeue(struct synic_sint *sint, struct synic_message *message)
{
	list_remove(&message->node);
	sint->waiting--;
}

static void raise_sint(struct synic_sint *sint, uint64_t value)
{
	struct irq_msi *msi = atomic_load(&sint->msi);

	if (!(value & HV_SINT_POLLING) && msi)
		irq_msi_raise(msi);
}

static void deliver_one(struct synic_sint *sint, struct hv_message *slot)
{
	struct synic_message *message = list_entry(sint->queue.next, struct synic_message, node);

	if (message->timer)
		stimer_stamp(message->timer);
	slot_fill(slot, message);
	raise_sint(sint, atomic_load(&sint->value));
	dequeue(sint, message);
	if (message->timer)
		stimer_delivered(message->timer);
	else
		free(message);
}

/* Moves messages to the slot while it is free. */
static void deliver(struct synic *synic, unsigned int index)
{
	struct synic_sint *sint = &synic->sints[index];
	struct hv_message *slot = slot_of(synic, index);

	if (!slot || !(atomic_load(&synic->control) & HV_SCONTROL_ENABLE) ||
	    (atomic_load(&sint->value) & HV_SINT_MASKED))
		return;
	while (!list_empty(&sint->queue) && slot_claim(slot))
		deliver_one(sint, slot);
}

static void deliver_all(struct synic *synic)
{
	for (unsigned int i = 0; i < HV_SINT_COUNT; i++)
		deliver(synic, i);
}

void synic_enqueue(struct hv_vp *vp, unsigned int sint, struct synic_message *message)
{
	list_append(&vp->synic.sints[sint].queue, &message->node);
	vp->synic.sints[sint].waiting++;
	deliver(&vp->synic, sint);
}

void synic_withdraw(struct hv_vp *vp, unsigned int sint, struct synic_message *message)
{
	if (!list_empty(&message->node))
		dequeue(&vp->synic.sints[sint], message);
}

static int post_locked(struct hv_vp *vp, unsigned int sint, struct synic_message *message)
{
	if (vp->synic.sints[sint].waiting >= HV_SYNIC_QUEUE_MAX)
		return -ENOBUFS;
	synic_enqueue(vp, sint, message);
	return 0;
}

int hv_synic_post(struct hv_vp *vp, unsigned int sint, uint32_t message_type, uint64_t sender,
		  const void *payload, size_t size)
{
	struct synic_message *message;
	int r;

	if (sint >= HV_SINT_COUNT || size > HV_MESSAGE_PAYLOAD_MAX ||
	    message_type == HV_MESSAGE_NONE)
		return -EINVAL;
	message = calloc(1, sizeof(*message));
	if (!message)
		return -ENOMEM;
	list_init(&message->node);
	message->type = message_type;
	message->size = (uint32_t)size;
	message->sender = sender;
	if (size)
		memcpy(message->payload, payload, size);
	pthread_mutex_lock(&vp->lock);
	r = post_locked(vp, sint, message);
	pthread_mutex_unlock(&vp->lock);
	if (r < 0)
		free(message);
	return r;
}

unsigned int hv_synic_waiting(struct hv_vp *vp, unsigned int sint)
{
	unsigned int waiting;

	pthread_mutex_lock(&vp->lock);
	waiting = vp->synic.sints[sint].waiting;
	pthread_mutex_unlock(&vp->lock);
	return waiting;
}

void hv_synic_discard(struct hv_vp *vp, unsigned int index)
{
	struct synic_sint *sint = &vp->synic.sints[index];
	struct synic_message *message;

	pthread_mutex_lock(&vp->lock);
	list_for_each(message, &sint->queue, node)
	{
		if (message->timer)
			continue;
		dequeue(sint, message);
		free(message);
	}
	pthread_mutex_unlock(&vp->lock);
}

/* signallers counts us: the event page stays in place. */
static int signal_counted(struct synic *synic, unsigned int index, unsigned int flag)
{
	struct synic_sint *sint = &synic->sints[index];
	uint32_t *page = atomic_load(&synic->event_page);
	uint64_t value = atomic_load(&sint->value);
	uint32_t bit = 1u << flag % 32;
	uint32_t *word;

	if (!page || !(atomic_load(&synic->control) & HV_SCONTROL_ENABLE) ||
	    (value & HV_SINT_MASKED))
		return -ENXIO;
	word = &page[index * (HV_EVENT_FLAGS_BYTES / 4) + flag / 32];
	if (!(__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST) & bit))
		raise_sint(sint, value);
	return 0;
}

int hv_synic_signal(struct hv_vp *vp, unsigned int sint, unsigned int flag)
{
	struct synic *synic = &vp->synic;
	int r;

	if (sint >= HV_SINT_COUNT || flag >= HV_EVENT_FLAGS_COUNT)
		return -EINVAL;
	atomic_fetch_add(&synic->signallers, 1);
	r = signal_counted(synic, sint, flag);
	atomic_fetch_sub(&synic->signallers, 1);
	return r;
}

/* Once it returns, no thread writes to the old page any more: it is the guest's again. */
static void set_event_page(struct synic *synic, void *page)
{
	if (atomic_exchange(&synic->event_page, page) == page)
		return;
	while (atomic_load(&synic->signallers))
		sched_yield();
}

/*
 * The TLFS overlays guest memory with a page of the hypervisor's, zero at first.  We use the
 * guest's memory itself, and zero it when it is put to this use.
 */
static void *overlay_zeroed(struct hv_vp *vp, uint64_t msr, const void *old)
{
	void *page = hv_overlay(vp->hv, msr);

	if (page && page != old)
		memset(page, 0, HV_PAGE_SIZE);
	return page;
}

static void set_simp(struct hv_vp *vp, uint64_t value)
{
	struct synic *synic = &vp->synic;

	synic->simp = value;
	synic->message_page = overlay_zeroed(vp, value, synic->message_page);
	deliver_all(synic);
}

static void set_siefp(struct hv_vp *vp, uint64_t value)
{
	struct synic *synic = &vp->synic;

	synic->siefp = value;
	set_event_page(synic, overlay_zeroed(vp, value, atomic_load(&synic->event_page)));
}

enum {
	SCONTROL = HV_MSR_SCONTROL - HV_MSR_SCONTROL,
	SVERSION = HV_MSR_SVERSION - HV_MSR_SCONTROL,
	SIEFP = HV_MSR_SIEFP - HV_MSR_SCONTROL,
	SIMP = HV_MSR_SIMP - HV_MSR_SCONTROL,
	EOM = HV_MSR_EOM - HV_MSR_SCONTROL,
};

bool synic_msr_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	const struct synic *synic = &vp->synic;
	uint64_t values[] = {
		[SCONTROL] = atomic_load(&synic->control),
		[SVERSION] = HV_SVERSION_1,
		[SIEFP] = synic->siefp,
		[SIMP] = synic->simp,
		[EOM] = 0,
	};

	*value = values[index];
	return true;
}

static bool msr_write_locked(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct synic *synic = &vp->synic;

	switch (index) {
	case SCONTROL:
		atomic_store(&synic->control, value);
		deliver_all(synic);
		return true;
	case SIEFP:
		set_siefp(vp, value);
		return true;
	case SIMP:
		set_simp(vp, value);
		return true;
	case EOM:
		deliver_all(synic);
		return true;
	default:
		return false;
	}
}

bool synic_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	bool ok;

	pthread_mutex_lock(&vp->lock);
	ok = msr_write_locked(vp, index, value);
	pthread_mutex_unlock(&vp->lock);
	return ok;
}

int synic_route(struct hv_vp *vp, struct irq_msi **msi, uint8_t vector)
{
	int r = *msi ? 0 : irq_msi_new(vp->hv->config.irq, msi);

	return r < 0 ? r : irq_msi_set(*msi, vp->index, vector);
}

int hv_synic_interrupt_fd(struct hv_vp *vp, unsigned int sint)
{
	const struct irq_msi *msi = atomic_load(&vp->synic.sints[sint].msi);

	return msi ? irq_msi_fd(msi) : -1;
}

static int route_sint(struct hv_vp *vp, struct synic_sint *sint, uint8_t vector)
{
	struct irq_msi *msi = atomic_load(&sint->msi);
	int r;

	if (sint->routed_vector == vector)
		return 0;
	r = synic_route(vp, &msi, vector);
	atomic_store(&sint->msi, msi);
	if (r == 0)
		sint->routed_vector = vector;
	return r;
}

/*
 * A live SINT needs a legal vector and a route; without either the write fails.  AutoEOI is
 * accepted and has no effect: the in-kernel local APIC cannot do it, and the hints advise
 * against it, so the guest ends the interrupt itself.
 */
bool synic_set_sint(struct hv_vp *vp, unsigned int index, uint64_t value)
{
	struct synic_sint *sint = &vp->synic.sints[index];
	uint8_t vector = value & HV_SINT_VECTOR;

	if (!(value & HV_SINT_MASKED)) {
		if (vector < HV_SINT_LOWEST_VECTOR)
			return false;
		if (!(value & HV_SINT_POLLING) && route_sint(vp, sint, vector) < 0)
			return false;
	}
	atomic_store(&sint->value, value);
	return true;
}

bool synic_sint_read(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
	*value = atomic_load(&vp->synic.sints[index].value);
	return true;
}

bool synic_sint_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	bool ok;

	pthread_mutex_lock(&vp->lock);
	ok = synic_set_sint(vp, index, value);
	if (ok)
		deliver(&vp->synic, index);
	pthread_mutex_unlock(&vp->lock);
	return ok;
}

void synic_set(struct hv_vp *vp, uint64_t control, uint64_t siefp, uint64_t simp)
{
	struct synic *synic = &vp->synic;

	atomic_store(&synic->control, control);
	synic->siefp = siefp;
	synic->simp = simp;
	synic->message_page = hv_overlay(vp->hv, simp);
	set_event_page(synic, hv_overlay(vp->hv, siefp));
}

void synic_init(struct hv_vp *vp)
{
	for (unsigned int i = 0; i < HV_SINT_COUNT; i++) {
		list_init(&vp->synic.sints[i].queue);
		atomic_store(&vp->synic.sints[i].value, SINT_DEFAULT);
	}
}

static void drop_queue(struct synic_sint *sint)
{
	struct synic_message *message;

	list_for_each(message, &sint->queue, node)
	{
		dequeue(sint, message);
		if (!message->timer)
			free(message);
	}
}

static void sint_reset(struct synic_sint *sint)
{
	struct irq_msi *msi = atomic_load(&sint->msi);

	drop_queue(sint);
	atomic_store(&sint->value, SINT_DEFAULT);
	sint->routed_vector = 0;
	if (msi)
		irq_msi_clear(msi);
}

void synic_reset(struct hv_vp *vp)
{
	struct synic *synic = &vp->synic;

	atomic_store(&synic->control, 0);
	synic->simp = 0;
	synic->siefp = 0;
	synic->message_page = NULL;
	set_event_page(synic, NULL);
	for (unsigned int i = 0; i < HV_SINT_COUNT; i++)
		sint_reset(&synic->sints[i]);
}

void synic_fini(struct hv_vp *vp)
{
	for (unsigned int i = 0; i < HV_SINT_COUNT; i++) {
		struct synic_sint *sint = &vp->synic.sints[i];

		drop_queue(sint);
		if (atomic_load(&sint->msi))
			irq_msi_free(atomic_load(&sint->msi));
	}
}
