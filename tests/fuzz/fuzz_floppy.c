#include "chip_fuzz.h"

/* Any driver of the floppy controller and the DMA controllers, with a medium that comes and goes.
 */

#define PORTS 0x3f0

enum step { WRITE, READ, FIFO, DMA, SETTLE, SAVE, MEDIUM, RESET, STEPS };

static struct chip_fuzz fuzz;

static json_t *medium(uint8_t kind)
{
	static const int sizes[] = {1440, 720, 160, 2880};

	return json_pack("{s:s,s:i,s:b}", "backend", "null", "bytes", sizes[kind % 4] << 10,
			 "read_only", kind & 4);
}

static void on_reply(struct device_call *call, json_t *reply)
{
	json_decref(reply);
}

static void on_refuse(struct device_call *call, const char *sentence)
{
	abort();
}

static void change_medium(uint8_t kind)
{
	struct device_call call = {on_reply, on_refuse};
	json_t *config = kind & 8 ? json_object() : medium(kind);

	fuzz.ops->verbs[0].handle(fuzz.device, config, &call);
	json_decref(config);
}

static void run_step(struct fuzz_input *input)
{
	static const uint16_t dma_ports[] = {0x00, 0x80, 0xc0};
	enum step step = fuzz_u8(input) % STEPS;
	uint8_t where = fuzz_u8(input), value = fuzz_u8(input);

	switch (step) {
	case WRITE:
		chip_fuzz_access(&fuzz, PORTS + where % 8, 1u << value % 3, true, fuzz_u64(input));
		break;
	case READ:
		chip_fuzz_access(&fuzz, PORTS + where % 8, 1u << value % 3, false, 0);
		break;
	case FIFO:
		for (unsigned int i = 0; i < where; i++)
			chip_fuzz_access(&fuzz, PORTS + 5, 1, value & 1, fuzz_u8(input));
		break;
	case DMA:
		chip_fuzz_access(&fuzz, dma_ports[where % 3] + (where >> 3) % 16, 1, where & 4,
				 value);
		break;
	case SETTLE:
		chip_fuzz_settle(&fuzz);
		break;
	case SAVE:
		chip_fuzz_save(&fuzz);
		break;
	case MEDIUM:
		change_medium(value);
		break;
	case RESET:
		fuzz.ops->reset(fuzz.device);
		break;
	case STEPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	chip_fuzz_new(&fuzz, "floppy", medium(0));
	while (input.size)
		run_step(&input);
	chip_fuzz_settle(&fuzz);
	chip_fuzz_free(&fuzz);
	return 0;
}
