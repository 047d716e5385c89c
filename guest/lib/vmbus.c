#include "lib/vmbus.h"
#include "lib/rt.h"

#define GPADL_HEADER_PFNS 26 /* what fits a 240-byte message */
#define GPADL_BODY_PFNS	  28
#define POST_RETRIES	  1000

struct msg_header {
	uint32_t type, padding;
};

struct __attribute__((packed)) msg_offer {
	struct msg_header header;
	uint8_t class_id[16], instance_id[16];
	uint64_t reserved[2];
	uint16_t flags, mmio_megabytes;
	uint8_t user_defined[120];
	uint16_t sub_index, reserved3;
	uint32_t relid;
	uint8_t monitor_id, monitor_allocated;
	uint16_t dedicated;
	uint32_t connection;
};

struct __attribute__((packed)) msg_contact {
	struct msg_header header;
	uint32_t version, target_vp;
	uint64_t interrupt_page, monitor_pages[2];
};

struct __attribute__((packed)) msg_version_response {
	struct msg_header header;
	uint8_t supported, state;
	uint16_t padding;
	uint32_t connection;
};

struct __attribute__((packed)) msg_gpadl_header {
	struct msg_header header;
	uint32_t relid, gpadl;
	uint16_t range_bytes, range_count;
	uint32_t byte_count, byte_offset;
	uint64_t pfns[GPADL_HEADER_PFNS];
};

struct __attribute__((packed)) msg_gpadl_body {
	struct msg_header header;
	uint32_t number, gpadl;
	uint64_t pfns[GPADL_BODY_PFNS];
};

struct __attribute__((packed)) msg_gpadl_reply {
	struct msg_header header;
	uint32_t relid, gpadl, status;
};

struct __attribute__((packed)) msg_open {
	struct msg_header header;
	uint32_t relid, open_id, gpadl, target_vp, downstream_page;
	uint8_t user_data[120];
};

struct __attribute__((packed)) msg_open_result {
	struct msg_header header;
	uint32_t relid, open_id, status;
};

_Static_assert(sizeof(struct msg_offer) == 196, "an offer is 196 bytes");

static struct vmbus the_bus;

static void on_interrupt(struct trap_frame *f)
{
	uint64_t *flags = (uint64_t *)the_bus.synic.events->sint[VMBUS_SINT];

	the_bus.interrupt_tsc = rdtsc();
	the_bus.interrupts++;
	/* Relids are small here; all of them are in the first words. */
	for (unsigned i = 0; i < 4; i++)
		if (flags[i])
			__atomic_exchange_n(&flags[i], 0, __ATOMIC_ACQ_REL);
	apic_eoi();
}

struct vmbus *vmbus_init(void)
{
	hv_enable();
	irq_install(VMBUS_VECTOR, on_interrupt);
	synic_enable(&the_bus.synic);
	synic_sint(VMBUS_SINT, VMBUS_VECTOR);
	the_bus.connection = VMBUS_CONNECTION_OLD;
	the_bus.next_gpadl = 0xe1e10;
	irq_enable();
	return &the_bus;
}

uint16_t vmbus_post(struct vmbus *bus, const void *message, uint32_t size)
{
	uint16_t status = 0;

	for (unsigned i = 0; i < POST_RETRIES; i++) {
		status = hv_post(bus->connection, VMBUS_MESSAGE_TYPE, message, size);
		if (status != HV_STATUS_INSUFFICIENT_BUFFERS)
			break;
		delay_us(100);
	}
	return status;
}

static void keep_offer(struct vmbus *bus, const struct msg_offer *m)
{
	struct vmbus_offer *o = &bus->offers[bus->offer_count];

	if (bus->offer_count == VMBUS_OFFERS_MAX)
		return;
	bus->offer_count++;
	memcpy(o->class_id, m->class_id, 16);
	memcpy(o->instance_id, m->instance_id, 16);
	o->relid = m->relid;
	o->connection = m->connection;
	o->flags = m->flags;
	o->sub_index = m->sub_index;
}

bool vmbus_wait(struct vmbus *bus, uint32_t type, void *reply, size_t size, unsigned ms)
{
	uint64_t end = clock_us() + ms * 1000UL;
	struct hv_message m;

	do {
		uint32_t got;

		if (!synic_take(&bus->synic, VMBUS_SINT, &m)) {
			cpu_relax();
			continue;
		}
		memcpy(&got, m.bytes, sizeof(got));
		if (got == MSG_OFFER)
			keep_offer(bus, (const struct msg_offer *)m.bytes);
		if (got == type) {
			memcpy(reply, m.bytes, size);
			return true;
		}
	} while (clock_us() < end);
	return false;
}

bool vmbus_contact(struct vmbus *bus, uint32_t version)
{
	struct msg_contact m = {.header.type = MSG_CONTACT, .version = version};
	struct msg_version_response r = {0};

	bus->connection = version >= VMBUS_VERSION_5_0 ? VMBUS_CONNECTION_V5 : VMBUS_CONNECTION_OLD;
	if (version >= VMBUS_VERSION_5_0)
		m.interrupt_page = VMBUS_SINT;
	else
		m.interrupt_page = (uint64_t)page_alloc(1);
	m.monitor_pages[0] = (uint64_t)page_alloc(1);
	m.monitor_pages[1] = (uint64_t)page_alloc(1);
	if (vmbus_post(bus, &m, sizeof(m)) ||
	    !vmbus_wait(bus, MSG_VERSION_RESPONSE, &r, sizeof(r), VMBUS_WAIT_MS))
		return false;
	if (!r.supported)
		return false;
	if (version >= VMBUS_VERSION_5_0)
		bus->connection = r.connection;
	bus->version = version;
	bus->offer_count = 0;
	return true;
}

bool vmbus_unload(struct vmbus *bus)
{
	struct msg_header m = {.type = MSG_UNLOAD}, r;

	return !vmbus_post(bus, &m, sizeof(m)) &&
	       vmbus_wait(bus, MSG_UNLOAD_RESPONSE, &r, sizeof(r), VMBUS_WAIT_MS);
}

bool vmbus_request_offers(struct vmbus *bus)
{
	struct msg_header m = {.type = MSG_REQUEST_OFFERS}, r;

	return !vmbus_post(bus, &m, sizeof(m)) &&
	       vmbus_wait(bus, MSG_ALL_OFFERS, &r, sizeof(r), VMBUS_WAIT_MS);
}

const struct vmbus_offer *vmbus_find(const struct vmbus *bus, const uint8_t class_id[16])
{
	for (unsigned i = 0; i < bus->offer_count; i++)
		if (!memcmp(bus->offers[i].class_id, class_id, 16) && !bus->offers[i].sub_index)
			return &bus->offers[i];
	return NULL;
}

static bool post_bodies(struct vmbus *bus, uint32_t gpadl, uint64_t pfn, uint32_t pages)
{
	struct msg_gpadl_body b = {.header.type = MSG_GPADL_BODY, .gpadl = gpadl};

	for (b.number = 0; pages; b.number++) {
		uint32_t n = pages < GPADL_BODY_PFNS ? pages : GPADL_BODY_PFNS;

		for (uint32_t i = 0; i < n; i++)
			b.pfns[i] = pfn++;
		if (vmbus_post(bus, &b, 16 + n * 8))
			return false;
		pages -= n;
	}
	return true;
}

uint32_t vmbus_gpadl(struct vmbus *bus, uint32_t relid, uint32_t gpadl, uint64_t addr,
		     uint32_t pages)
{
	uint32_t n = pages < GPADL_HEADER_PFNS ? pages : GPADL_HEADER_PFNS;
	struct msg_gpadl_header m = {
		.header.type = MSG_GPADL_HEADER,
		.relid = relid,
		.gpadl = gpadl,
		.range_bytes = (uint16_t)(8 + pages * 8),
		.range_count = 1,
		.byte_count = pages * 4096,
	};
	struct msg_gpadl_reply r;

	for (uint32_t i = 0; i < n; i++)
		m.pfns[i] = (addr >> 12) + i;
	if (vmbus_post(bus, &m, 28 + n * 8) ||
	    !post_bodies(bus, gpadl, (addr >> 12) + n, pages - n))
		return ~0U;
	if (!vmbus_wait(bus, MSG_GPADL_CREATED, &r, sizeof(r), VMBUS_WAIT_MS))
		return ~0U;
	return r.gpadl == gpadl && r.relid == relid ? r.status : ~0U;
}

bool vmbus_gpadl_teardown(struct vmbus *bus, uint32_t relid, uint32_t gpadl)
{
	struct msg_gpadl_reply m = {
		.header.type = MSG_GPADL_TEARDOWN, .relid = relid, .gpadl = gpadl};
	uint32_t r[3];

	if (vmbus_post(bus, &m, 16) ||
	    !vmbus_wait(bus, MSG_GPADL_TORNDOWN, r, sizeof(r), VMBUS_WAIT_MS))
		return false;
	return r[2] == gpadl;
}

uint32_t vmbus_open(struct vmbus *bus, const struct vmbus_offer *offer, uint32_t ring_pages,
		    struct vmbus_channel *ch)
{
	struct msg_open m = {.header.type = MSG_OPEN,
			     .relid = offer->relid,
			     .open_id = offer->relid + 1000,
			     .downstream_page = ring_pages};
	struct msg_open_result r;
	uint64_t rings = (uint64_t)page_alloc(2 * ring_pages);
	uint32_t status;

	ch->relid = offer->relid;
	ch->connection = offer->connection;
	ch->gpadl = m.gpadl = bus->next_gpadl++;
	ch->out = (struct vmbus_ring *)rings;
	ch->in = (struct vmbus_ring *)(rings + ring_pages * PAGE_SIZE);
	ch->size = (ring_pages - 1) * PAGE_SIZE;
	ch->out->features = 1;
	status = vmbus_gpadl(bus, ch->relid, ch->gpadl, rings, 2 * ring_pages);
	if (status)
		return status;
	if (vmbus_post(bus, &m, sizeof(m)) ||
	    !vmbus_wait(bus, MSG_OPEN_RESULT, &r, sizeof(r), VMBUS_WAIT_MS))
		return ~0U;
	return r.relid == m.relid && r.open_id == m.open_id ? r.status : ~0U;
}

void vmbus_close(struct vmbus *bus, struct vmbus_channel *ch)
{
	uint32_t m[3] = {MSG_CLOSE, 0, ch->relid};

	vmbus_post(bus, m, sizeof(m));
	vmbus_gpadl_teardown(bus, ch->relid, ch->gpadl);
}

static uint32_t copy_in(struct vmbus_channel *ch, uint32_t at, const void *data, uint32_t size)
{
	const uint8_t *from = data;

	while (size) {
		uint32_t n = ch->size - at < size ? ch->size - at : size;

		memcpy(ch->out->data + at, from, n);
		from += n;
		size -= n;
		at = at + n == ch->size ? 0 : at + n;
	}
	return at;
}

static uint32_t room(const struct vmbus_channel *ch)
{
	uint32_t r = ch->out->read_index, w = ch->out->write_index;

	return w >= r ? ch->size - (w - r) : r - w;
}

bool vmbus_send(struct vmbus_channel *ch, uint16_t flags, uint64_t transaction, const void *payload,
		uint32_t size, const struct vmbus_range *range, bool *signal)
{
	uint32_t ranges = range ? 16 + range->pfn_count * 8 : 0;
	uint32_t padded = (size + 7) & ~7U, old = ch->out->write_index, at = old;
	struct vmbus_packet p = {
		.type = range ? PACKET_GPA_DIRECT : PACKET_INBAND,
		.offset8 = (uint16_t)((sizeof(p) + ranges) / 8),
		.length8 = (uint16_t)((sizeof(p) + ranges + padded) / 8),
		.flags = flags,
		.transaction = transaction,
	};
	uint64_t trailer = (uint64_t)old << 32, zero = 0;
	uint32_t head[2] = {0, 1};

	if (room(ch) <= sizeof(p) + ranges + padded + 8)
		return false;
	at = copy_in(ch, at, &p, sizeof(p));
	if (range) {
		at = copy_in(ch, at, head, sizeof(head));
		at = copy_in(ch, at, &range->length, 8);
		at = copy_in(ch, at, range->pfns, range->pfn_count * 8);
	}
	at = copy_in(ch, at, payload, size);
	at = copy_in(ch, at, &zero, padded - size);
	at = copy_in(ch, at, &trailer, 8);
	full_fence();
	ch->out->write_index = at;
	full_fence();
	*signal = !ch->out->interrupt_mask && ch->out->read_index == old;
	return true;
}

void vmbus_signal(const struct vmbus_channel *ch)
{
	hv_signal(ch->connection, 0);
}

static uint32_t copy_out(const struct vmbus_channel *ch, uint32_t at, void *data, uint32_t size)
{
	uint8_t *to = data;

	while (size) {
		uint32_t n = ch->size - at < size ? ch->size - at : size;

		if (to) {
			memcpy(to, ch->in->data + at, n);
			to += n;
		}
		size -= n;
		at = at + n == ch->size ? 0 : at + n;
	}
	return at;
}

int vmbus_receive(struct vmbus_channel *ch, struct vmbus_packet *packet, void *payload,
		  uint32_t max)
{
	uint32_t at = ch->in->read_index, size;

	if (at == ch->in->write_index)
		return -1;
	barrier();
	at = copy_out(ch, at, packet, sizeof(*packet));
	at = copy_out(ch, at, NULL, packet->offset8 * 8U - sizeof(*packet));
	size = (packet->length8 - packet->offset8) * 8U;
	copy_out(ch, at, payload, size < max ? size : max);
	at = copy_out(ch, at, NULL, size + 8);
	full_fence();
	ch->in->read_index = at;
	return (int)size;
}
