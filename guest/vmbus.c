/*
 * The VMBus from a guest's first contact to its last: every version, offers, GPADLs of many
 * messages, open, data through a SCSI controller, close, and second contacts. The host must give
 * one disk of at least 1 MiB.
 */
#include "lib/bootinfo.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define UNKNOWN_RELID	1999
#define BIG_GPADL_PAGES 200
#define BEYOND_RAM	0x7ffffff000UL
#define RING_PAGES	8
#define BLOCK		512
#define BLOCKS		150

static struct vmbus *bus;

static void check_versions(void)
{
	static const uint8_t versions[][2] = {{2, 4}, {3, 0}, {4, 0}, {4, 1},
					      {5, 0}, {5, 1}, {5, 2}, {5, 3}};

	tap_ok(!vmbus_contact(bus, VMBUS_VERSION(6, 0)), "version 6.0 is refused");
	tap_ok(!vmbus_contact(bus, VMBUS_VERSION(0, 13)), "version 0.13 is refused");
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		uint32_t v = VMBUS_VERSION(versions[i][0], versions[i][1]);

		tap_ok(vmbus_contact(bus, v), "version %u.%u is agreed to", v >> 16, v & 0xffff);
		tap_ok(vmbus_request_offers(bus) && bus->offer_count,
		       "its offers come, with an end");
		/* Every other time go on to the next version without an unload, as kexec does. */
		if (v >= VMBUS_VERSION(3, 0) && i % 2)
			tap_ok(vmbus_unload(bus), "unload is answered");
	}
}

static void check_gpadls(uint32_t relid)
{
	uint64_t pages = (uint64_t)page_alloc(BIG_GPADL_PAGES);

	tap_is(vmbus_gpadl(bus, relid, 7001, pages, 1), 0, "a GPADL of one page");
	tap_is(vmbus_gpadl(bus, relid, 7002, pages, BIG_GPADL_PAGES), 0,
	       "a GPADL of %u pages, in several messages", BIG_GPADL_PAGES);
	tap_ok(vmbus_gpadl(bus, relid, 7002, pages, 1) != 0, "a second GPADL of that number");
	tap_ok(vmbus_gpadl(bus, relid, 7003, BEYOND_RAM, 2) != 0, "a GPADL of what is not RAM");
	tap_ok(vmbus_gpadl_teardown(bus, relid, 7001), "one is torn down");
	tap_ok(vmbus_gpadl_teardown(bus, relid, 7002), "the other is torn down");
	tap_is(vmbus_gpadl(bus, relid, 7001, pages, 26), 0, "its number can be used again");
	tap_ok(vmbus_gpadl_teardown(bus, relid, 7001), "and torn down again");
}

static void check_bad_opens(const struct vmbus_offer *offer)
{
	struct {
		uint32_t type, padding, relid, open_id, gpadl, vp, page;
		uint8_t user_data[120];
	} m = {.type = MSG_OPEN, .relid = offer->relid, .open_id = 5, .gpadl = 4242, .page = 1};
	uint32_t r[5] = {0};

	vmbus_post(bus, &m, sizeof(m));
	tap_ok(vmbus_wait(bus, MSG_OPEN_RESULT, r, sizeof(r), VMBUS_WAIT_MS) && r[4] != 0,
	       "an open with a GPADL that is not there is refused");
	m.relid = UNKNOWN_RELID;
	vmbus_post(bus, &m, sizeof(m));
	if (vmbus_wait(bus, MSG_OPEN_RESULT, r, sizeof(r), 200))
		tap_ok(r[4] != 0, "an open of a channel that was not offered is refused");
	else
		tap_ok(true, "an open of a channel that was not offered is ignored");
}

static bool write_block(struct vmbus_channel *ch, uint32_t lba, void *buf)
{
	uint8_t cdb[10] = {0x2a};
	struct stor_packet p;

	cdb[4] = (uint8_t)(lba >> 8);
	cdb[5] = (uint8_t)lba;
	cdb[8] = 1;
	stor_fill(&p, 0, cdb, sizeof(cdb), 0, BLOCK);
	return stor_scsi(ch, &p, buf, BLOCK) && p.srb.srb_status == SRB_SUCCESS;
}

static bool read_block(struct vmbus_channel *ch, uint32_t lba, void *buf)
{
	uint8_t cdb[10] = {0x28};
	struct stor_packet p;

	cdb[4] = (uint8_t)(lba >> 8);
	cdb[5] = (uint8_t)lba;
	cdb[8] = 1;
	stor_fill(&p, 0, cdb, sizeof(cdb), 1, BLOCK);
	return stor_scsi(ch, &p, buf, BLOCK) && p.srb.srb_status == SRB_SUCCESS;
}

/* The first command after a power-on may end in a unit attention: ask until it is over. */
static bool unit_ready(struct vmbus_channel *ch)
{
	static const uint8_t cdb[6] = {0};
	struct stor_packet p;

	for (unsigned i = 0; i < 3; i++) {
		stor_fill(&p, 0, cdb, sizeof(cdb), 2, 0);
		if (!stor_scsi(ch, &p, NULL, 0))
			return false;
		if (p.srb.srb_status == SRB_SUCCESS)
			return true;
	}
	return false;
}

static void check_data(struct vmbus_channel *ch)
{
	uint64_t *out = page_alloc(1), *in = page_alloc(1);
	unsigned good = 0;

	tap_ok(unit_ready(ch), "LUN 0 is ready");
	/* Enough requests for the rings to wrap. */
	for (uint32_t i = 0; i < BLOCKS; i++) {
		out[0] = i * 0x9e3779b97f4a7c15;
		out[63] = ~out[0];
		in[0] = 0;
		good += write_block(ch, i, out) && read_block(ch, i, in) && in[0] == out[0] &&
			in[63] == out[63];
	}
	tap_is(good, BLOCKS, "what is written is read back");
	tap_ok(bus->interrupts > 0, "the channel interrupts");
}

static void check_modify(struct vmbus_channel *ch)
{
	uint32_t m[4] = {MSG_MODIFY, 0, ch->relid, 0}, r[4];

	tap_is(vmbus_post(bus, m, sizeof(m)), 0, "modify channel is accepted");
	if (bus->version >= VMBUS_VERSION(5, 3))
		tap_ok(vmbus_wait(bus, MSG_MODIFY_RESPONSE, r, sizeof(r), VMBUS_WAIT_MS) &&
			       r[3] == 0,
		       "and answered at 5.3");
}

void payload_main(void)
{
	const struct vmbus_offer *offer;
	struct vmbus_channel ch;

	bus = vmbus_init();
	check_versions();
	tap_ok(vmbus_contact(bus, VMBUS_VERSION(5, 3)), "contact again");
	tap_ok(vmbus_request_offers(bus), "offers again");
	offer = vmbus_find(bus, stor_class_id);
	if (!offer)
		tap_bail("no SCSI controller is offered: give this payload a disk");
	check_gpadls(offer->relid);
	check_bad_opens(offer);
	for (unsigned i = 0; i < 2; i++) {
		tap_ok(stor_open(bus, &ch, RING_PAGES), "the controller opens");
		check_data(&ch);
		check_modify(&ch);
		vmbus_close(bus, &ch);
	}
	/* Left open on purpose: a new contact must clean up. */
	tap_ok(stor_open(bus, &ch, RING_PAGES), "the controller opens again");
	tap_ok(vmbus_contact(bus, VMBUS_VERSION(5, 3)), "contact while a channel is open");
	tap_ok(vmbus_request_offers(bus), "its offers");
	tap_ok(stor_open(bus, &ch, RING_PAGES), "and the controller opens");
	check_data(&ch);
	tap_ok(vmbus_unload(bus), "unload with an open channel");
}
