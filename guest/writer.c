/*
 * A guest that fills its disk when it is told to: "f" writes 8 MiB from the disk's beginning and
 * flushes, "c" reads them back. Each says how it went.
 */
#include "lib/bootinfo.h"
#include "lib/console.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define PIECE  (32 * 4096U)
#define BLOCK  512U
#define PIECES 64U

static uint8_t buffer[PIECE] __attribute__((aligned(4096)));

static bool run(struct vmbus_channel *ch, uint8_t operation, uint32_t piece, uint8_t data_in)
{
	uint32_t block = piece * (PIECE / BLOCK), blocks = data_in == 2 ? 0 : PIECE / BLOCK;
	uint8_t cdb[10] = {operation,
			   0,
			   (uint8_t)(block >> 24),
			   (uint8_t)(block >> 16),
			   (uint8_t)(block >> 8),
			   (uint8_t)block,
			   0,
			   (uint8_t)(blocks >> 8),
			   (uint8_t)blocks,
			   0};
	struct stor_packet p;

	/* A unit that was attached, or reset, says so once. */
	for (unsigned i = 0; i < 3; i++) {
		stor_fill(&p, 0, cdb, sizeof(cdb), data_in, data_in == 2 ? 0 : PIECE);
		if (!stor_scsi(ch, &p, data_in == 2 ? NULL : buffer, PIECE))
			return false;
		if (p.srb.srb_status == SRB_SUCCESS)
			return true;
	}
	return false;
}

static uint64_t word(uint32_t piece, uint32_t i)
{
	return ((uint64_t)piece << 32 | i) * 0x9e3779b97f4a7c15UL;
}

static void fill(struct vmbus_channel *ch)
{
	for (uint32_t piece = 0; piece < PIECES; piece++) {
		for (uint32_t i = 0; i < PIECE; i += BLOCK)
			*(uint64_t *)(buffer + i) = word(piece, i);
		if (!run(ch, 0x2a, piece, 0)) {
			print("piece %u cannot be written\n", piece);
			return;
		}
	}
	print(run(ch, 0x35, 0, 2) ? "filled\n" : "the disk cannot be flushed\n");
}

static void check(struct vmbus_channel *ch)
{
	for (uint32_t piece = 0; piece < PIECES; piece++) {
		memset(buffer, 0, PIECE);
		if (!run(ch, 0x28, piece, 1)) {
			print("piece %u cannot be read\n", piece);
			return;
		}
		for (uint32_t i = 0; i < PIECE; i += BLOCK)
			if (*(uint64_t *)(buffer + i) != word(piece, i)) {
				print("piece %u is not what was written\n", piece);
				return;
			}
	}
	print("whole\n");
}

static char read_char(void)
{
	while (!(inb(COM1 + UART_LSR) & UART_LSR_DR))
		delay_us(100);
	return (char)inb(COM1 + UART_DATA);
}

void payload_main(void)
{
	struct vmbus_channel ch = {0};
	struct vmbus *bus = vmbus_init();

	if (!vmbus_contact(bus, VMBUS_VERSION(5, 2)) || !vmbus_request_offers(bus) ||
	    !stor_open(bus, &ch, 8))
		tap_bail("the controller does not open: give this payload a disk");
	print("writer\n");
	for (;;) {
		char c = read_char();

		if (c == 'f')
			fill(&ch);
		else if (c == 'c')
			check(&ch);
	}
}
