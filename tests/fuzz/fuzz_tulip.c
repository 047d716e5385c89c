#include "base/wire.h"
#include "chip_fuzz.h"

/* Any driver, with any descriptors, of the 21140A. */

#define PORTS	0xc000
#define SLOT	0x0a
#define ADDRESS 0xcf8
#define DATA	0xcfc

enum step { WRITE, READ, MEMORY, DESCRIPTOR, SETTLE, SAVE, CONFIG, RESET, STEPS };

static struct chip_fuzz fuzz;

static void config_write(uint8_t offset, uint32_t value)
{
	chip_fuzz_access(&fuzz, ADDRESS, 4, true, 0x80000000u | SLOT << 11 | (offset & 0xfc));
	chip_fuzz_access(&fuzz, DATA, 4, true, value);
}

static void put_memory(uint32_t address, const void *data, size_t size)
{
	/* What lies outside is the chip's to find out. */
	(void)gpa_write(fuzz.env.gpa, address, data, size);
}

static void run_step(struct fuzz_input *input)
{
	enum step step = fuzz_u8(input) % STEPS;
	uint8_t where = fuzz_u8(input);
	uint8_t data[16];

	switch (step) {
	case WRITE:
		chip_fuzz_access(&fuzz, PORTS + where % 128, 4, true, fuzz_u64(input));
		break;
	case READ:
		chip_fuzz_access(&fuzz, PORTS + where % 128, 1u << fuzz_u8(input) % 4, false, 0);
		break;
	case MEMORY:
		fuzz_take(input, data, sizeof(data));
		put_memory(0x1000u + 16u * where, data, sizeof(data));
		break;
	case DESCRIPTOR:
		/* Owned, in a ring at 0x1000, with buffers that may be in RAM. */
		fuzz_take(input, data, sizeof(data));
		data[3] |= 0x80;
		data[10] &= 0x1f;
		data[11] = 0;
		put_memory(0x1000u + 16u * (where % 16), data, sizeof(data));
		break;
	case SETTLE:
		chip_fuzz_settle(&fuzz);
		break;
	case SAVE:
		chip_fuzz_save(&fuzz);
		break;
	case CONFIG:
		/* The base address of its ports stays. */
		if (where / 4 != PCI_BAR0 / 4)
			config_write(where, (uint32_t)fuzz_u64(input));
		break;
	case RESET:
		fuzz.ops->quiesce(fuzz.device);
		fuzz.ops->reset(fuzz.device);
		fuzz.ops->unquiesce(fuzz.device);
		config_write(PCI_BAR0, PORTS);
		config_write(PCI_COMMAND, 7);
		break;
	case STEPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	chip_fuzz_new(&fuzz, "tulip",
		      json_pack("{s:s,s:s,s:b}", "mac", "52:54:00:12:34:56", "backend", "null",
				"echo", 1));
	config_write(PCI_BAR0, PORTS);
	config_write(PCI_COMMAND, 7);
	while (input.size)
		run_step(&input);
	chip_fuzz_settle(&fuzz);
	require(gpa_fill(fuzz.env.gpa, 0, 0, CHIP_FUZZ_RAM) == 0);
	chip_fuzz_free(&fuzz);
	return 0;
}
