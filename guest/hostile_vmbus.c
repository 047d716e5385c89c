/*
 * A guest that breaks the VMBus's rules: forged GPADLs, rings whose indices lie, packets whose
 * lengths lie, channels that are not its own. Each time the host may refuse, ignore or close
 * that channel, and afterwards an honest driver must find everything in order.
 */
#include "lib/bootinfo.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define RING_PAGES	  4
/* More than a guest may share, which is 1 GiB, however often the same pages. */
#define GPADL_FLOOD	  70
#define GPADL_FLOOD_PAGES 4000
#define GPADL_FLOOD_START 0x400000UL

static struct vmbus *bus;

static uint64_t random(void)
{
	static uint64_t x = 0x2545f4914f6cdd1d;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Drop every message that waits. */
static void drain(void)
{
	uint32_t reply[2];

	vmbus_wait(bus, 0xffffffff, reply, sizeof(reply), 20);
}

/* The test after each attack: from contact to a command's answer, as an honest guest does. */
static void check_honest(const char *after)
{
	static const uint8_t cdb[6] = {0};
	struct vmbus_channel ch;
	struct stor_packet p;
	bool ok;

	drain();
	ok = vmbus_contact(bus, VMBUS_VERSION(5, 2)) && vmbus_request_offers(bus) &&
	     stor_open(bus, &ch, RING_PAGES);
	stor_fill(&p, 0, cdb, sizeof(cdb), 2, 0);
	ok = ok && stor_scsi(&ch, &p, NULL, 0);
	tap_ok(ok, "an honest driver works after %s", after);
	vmbus_unload(bus);
}

static const struct vmbus_offer *offered(void)
{
	const struct vmbus_offer *o = NULL;

	if (vmbus_contact(bus, VMBUS_VERSION(5, 2)) && vmbus_request_offers(bus))
		o = vmbus_find(bus, stor_class_id);
	if (!o)
		tap_bail("no SCSI controller is offered");
	return o;
}

/* Sharing more than a guest may: refused from some point on, and all is well after the unload. */
static void flood_gpadls(void)
{
	const struct vmbus_offer *o = offered();
	unsigned refused = 0;

	for (uint32_t i = 0; i < GPADL_FLOOD; i++)
		refused += vmbus_gpadl(bus, o->relid, 0x10000 + i, GPADL_FLOOD_START,
				       GPADL_FLOOD_PAGES) != 0;
	tap_ok(refused > 0 && refused < GPADL_FLOOD, "GPADLs without end are refused (%u of %u)",
	       refused, GPADL_FLOOD);
	check_honest("a flood of GPADLs");
}

/* Headers whose counts lie, bodies for nobody, bodies out of order, headers never finished. */
static void forge_gpadls(void)
{
	const struct vmbus_offer *o = offered();
	uint32_t m[60];

	for (unsigned i = 0; i < 300; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(m); k++)
			m[k] = (uint32_t)random();
		m[0] = i & 1 ? MSG_GPADL_HEADER : MSG_GPADL_BODY;
		m[1] = 0;
		m[2] = i & 2 ? o->relid : m[2];
		m[3] = 0x20000 + (i & 7);
		if (i & 4)
			m[4] = 1U << 16 | (8 + (m[4] & 0xff8)); /* one range of that many bytes */
		if (i & 8)
			m[5] = m[5] & 0xfffff;
		vmbus_post(bus, m, (uint32_t)(random() % (sizeof(m) + 1)));
		if (i % 16 == 0)
			drain();
	}
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t t[4] = {MSG_GPADL_TEARDOWN, 0, o->relid, 0x20000 + i};

		vmbus_post(bus, t, sizeof(t));
	}
	check_honest("forged GPADLs");
}

static void forge_opens(void)
{
	const struct vmbus_offer *o = offered();
	uint32_t m[37] = {MSG_OPEN};

	for (unsigned i = 0; i < 200; i++) {
		m[2] = i & 1 ? o->relid : (uint32_t)random();
		m[3] = (uint32_t)random();
		m[4] = (uint32_t)random();
		m[5] = (uint32_t)random();
		m[6] = (uint32_t)random();
		m[0] = i % 5 == 0 ? MSG_CLOSE : i % 5 == 1 ? MSG_MODIFY : MSG_OPEN;
		vmbus_post(bus, m, sizeof(m));
		if (i % 16 == 0)
			drain();
	}
	check_honest("forged opens, closes and modifications");
}

static bool open_channel(struct vmbus_channel *ch)
{
	offered();
	return stor_open(bus, ch, RING_PAGES);
}

static void lying_indices(void)
{
	static const uint32_t lies[] = {1,	4,	    7,		0x2fff,	   0x3000,
					0x3001, 0x7fffffff, 0xfffffff8, 0xffffffff};
	struct vmbus_channel ch;

	for (size_t i = 0; i < ARRAY_SIZE(lies) * 2; i++) {
		if (!open_channel(&ch)) {
			tap_ok(false, "the channel opens for the next lie");
			return;
		}
		if (i & 1)
			ch.out->write_index = lies[i / 2];
		else
			ch.in->read_index = lies[i / 2];
		vmbus_signal(&ch);
		delay_us(2000);
		vmbus_signal(&ch);
		vmbus_unload(bus);
	}
	check_honest("rings whose indices lie");
}

/* A packet of random header fields: lengths and offsets past the packet, past the ring. */
static void lying_packets(void)
{
	struct vmbus_channel ch;
	bool signal;

	for (unsigned i = 0; i < 60; i++) {
		uint8_t junk[64];
		uint16_t *header;

		if (!open_channel(&ch)) {
			tap_ok(false, "the channel opens for the next packet");
			return;
		}
		header = (uint16_t *)(ch.out->data + ch.out->write_index);
		for (size_t k = 0; k < sizeof(junk); k += 8)
			*(uint64_t *)(junk + k) = random();
		vmbus_send(&ch, 1, random(), junk, sizeof(junk), NULL, &signal);
		/* Type, offset, length: honest ones first, so that each lie is reached. */
		if (i % 4 == 0)
			header[0] = (uint16_t)(random() & 15);
		if (i % 4 == 1)
			header[1] = (uint16_t)random();
		if (i % 4 >= 1)
			header[2] = i % 4 == 2 ? (uint16_t)(random() & 15) : (uint16_t)random();
		vmbus_signal(&ch);
		delay_us(1000);
		vmbus_unload(bus);
	}
	check_honest("packets whose lengths lie");
}

/* Requests of random operations, CDBs, and memory that is not there. */
static void garbage_requests(void)
{
	struct vmbus_range range = {0};
	struct vmbus_packet answer;
	struct vmbus_channel ch;
	struct stor_packet p;
	bool signal;

	if (!open_channel(&ch)) {
		tap_ok(false, "the channel opens for requests");
		return;
	}
	for (unsigned i = 0; i < 300; i++) {
		for (size_t k = 0; k < sizeof(p.bytes); k++)
			p.bytes[k] = (uint8_t)random();
		p.operation = i & 1 ? 3 : (uint32_t)(random() & 31);
		p.flags = (uint32_t)random();
		if (i & 2)
			p.srb.lun = 0;
		if (i & 4)
			p.srb.cdb_length = 10;
		range.length = (uint32_t)random() & (i & 8 ? 0xffff : 0xffffffff);
		range.offset = (uint32_t)random() & (i & 16 ? 0xfff : 0xffffffff);
		range.pfn_count = (uint32_t)random() % 32;
		for (uint32_t k = 0; k < range.pfn_count; k++)
			range.pfns[k] = i & 32 ? random() : 0x2000 + k;
		vmbus_send(&ch, 1, i, &p, (uint32_t)(random() % (sizeof(p) + 1)),
			   i & 64 ? NULL : &range, &signal);
		vmbus_signal(&ch);
		while (vmbus_receive(&ch, &answer, &p, sizeof(p)) >= 0)
			continue;
	}
	check_honest("garbage requests");
}

/* Requests without end, and never an answer taken: the host's ring to us stays full. */
static void never_read(void)
{
	static const uint8_t cdb[6] = {0};
	struct vmbus_channel ch;
	struct stor_packet p;
	unsigned sent = 0;
	bool signal;

	if (!open_channel(&ch)) {
		tap_ok(false, "the channel opens to be filled");
		return;
	}
	for (unsigned i = 0; i < 3000; i++) {
		stor_fill(&p, 0, cdb, sizeof(cdb), 2, 0);
		p.flags = 1;
		sent += vmbus_send(&ch, 1, i, &p, sizeof(p), NULL, &signal);
		if (i % 16 == 0)
			vmbus_signal(&ch);
	}
	tap_diag("%u requests sent, none of their answers read", sent);
	check_honest("a ring that is never read");
}

void payload_main(void)
{
	bus = vmbus_init();
	check_honest("nothing at all");
	forge_gpadls();
	forge_opens();
	lying_indices();
	lying_packets();
	garbage_requests();
	never_read();
	flood_gpadls();
}
