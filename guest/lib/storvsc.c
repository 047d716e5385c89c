#include "lib/storvsc.h"
#include "lib/rt.h"

#define OP_COMPLETE	    1
#define OP_EXECUTE_SRB	    3
#define OP_BEGIN_INIT	    7
#define OP_END_INIT	    8
#define OP_QUERY_VERSION    9
#define OP_QUERY_PROPERTIES 10
#define REQUEST_COMPLETION  1
#define ANSWER_MS	    5000

_Static_assert(sizeof(struct stor_packet) == STOR_PACKET_SIZE, "Win8's and later packet");

/* {ba6163d9-04a1-4d29-b605-72e2ffb1dc7f} as it lies in memory. */
const uint8_t stor_class_id[16] = {0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
				   0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f};

static bool transact(struct vmbus_channel *ch, struct stor_packet *p,
		     const struct vmbus_range *range)
{
	static uint64_t transaction = 1;
	uint64_t mine = ++transaction;
	struct vmbus_packet answer = {0};
	bool signal;
	int size = -1;

	p->flags = REQUEST_COMPLETION;
	if (!vmbus_send(ch, 1, mine, p, sizeof(*p), range, &signal))
		return false;
	if (signal)
		vmbus_signal(ch);
	if (!WAIT_FOR((size = vmbus_receive(ch, &answer, p, sizeof(*p))) >= 0, ANSWER_MS))
		return false;
	return answer.type == PACKET_COMPLETION && answer.transaction == mine &&
	       size >= STOR_PACKET_SIZE - 4;
}

static bool step(struct vmbus_channel *ch, uint32_t operation, uint16_t value)
{
	struct stor_packet p = {.operation = operation};

	memcpy(p.bytes, &value, sizeof(value));
	return transact(ch, &p, NULL) && p.operation == OP_COMPLETE && p.status == 0;
}

bool stor_open(struct vmbus *bus, struct vmbus_channel *ch, uint32_t ring_pages)
{
	const struct vmbus_offer *offer = vmbus_find(bus, stor_class_id);

	return offer && !vmbus_open(bus, offer, ring_pages, ch) && step(ch, OP_BEGIN_INIT, 0) &&
	       step(ch, OP_QUERY_VERSION, STOR_VERSION_WIN10) && step(ch, OP_QUERY_PROPERTIES, 0) &&
	       step(ch, OP_END_INIT, 0);
}

void stor_fill(struct stor_packet *p, uint8_t lun, const uint8_t *cdb, uint8_t cdb_length,
	       uint8_t data_in, uint32_t length)
{
	*p = (struct stor_packet){
		.operation = OP_EXECUTE_SRB,
		.srb = {.length = sizeof(struct stor_srb),
			.lun = lun,
			.cdb_length = cdb_length,
			.sense_length = 20,
			.data_in = data_in,
			.transfer_length = length,
			.flags = data_in == 1	? 0x40
				 : data_in == 0 ? 0x80
						: 0},
	};
	memcpy(p->srb.cdb_or_sense, cdb, cdb_length);
}

bool stor_scsi(struct vmbus_channel *ch, struct stor_packet *p, void *buf, uint32_t length)
{
	struct vmbus_range range = {.length = length, .offset = (uint32_t)((uint64_t)buf & 4095)};

	range.pfn_count = (range.offset + length + 4095) / 4096;
	for (uint32_t i = 0; i < range.pfn_count && i < ARRAY_SIZE(range.pfns); i++)
		range.pfns[i] = ((uint64_t)buf >> 12) + i;
	return transact(ch, p, buf ? &range : NULL);
}
