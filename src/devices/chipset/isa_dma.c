#include "devices/chipset/isa_dma.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "devices/chipset/chip.h"

#define CONTROLLERS 2u
#define PER_CHIP    4u
#define CASCADE	    4u /* the channel that the first controller hangs on */

#define PORT_FIRST  0x00
#define PORT_SECOND 0xc0 /* registers two bytes apart */
#define PORT_PAGES  0x81
#define PAGE_COUNT  15u

/* Registers of a controller behind those of its channels. */
enum {
	REG_STATUS = 8, /* command when written */
	REG_REQUEST,
	REG_MASK_ONE,
	REG_MODE,
	REG_CLEAR_FLIP_FLOP,
	REG_MASTER_CLEAR, /* a temporary register when read */
	REG_CLEAR_MASK,
	REG_MASK_ALL,
};

#define COMMAND_DISABLE 0x04
#define SELECT_CHANNEL	0x03
#define SELECT_SET	0x04
#define MODE_TYPE_SHIFT 2
#define MODE_AUTOINIT	0x10
#define MODE_DECREMENT	0x20
#define MODE_CASCADE	0xc0 /* both bits */
#define MODE_KEPT	0xfc
#define MASK_NIBBLE	0x0f

struct channel {
	uint16_t base_address, base_count;
	uint16_t address, count; /* bytes or words; one less than there are */
	uint8_t mode;
};

struct controller {
	struct isa_dma *dma;
	struct channel channels[PER_CHIP];
	uint8_t command;
	uint8_t terminal; /* counts that have ended, until the status is read */
	uint8_t requests; /* by software */
	uint8_t mask;
	bool high;	    /* the flip-flop: the next byte is a high one */
	unsigned int shift; /* of addresses and counts: 1 for words */
};

struct isa_dma {
	struct io_bus *ports;
	struct gpa_space *gpa;
	pthread_mutex_t lock;
	struct controller controllers[CONTROLLERS];
	uint8_t pages[PAGE_COUNT]; /* by port */
};

static uint8_t take_half(struct controller *chip, uint16_t value)
{
	uint8_t half = (uint8_t)(chip->high ? value >> 8 : value);

	chip->high = !chip->high;
	return half;
}

static void put_half(struct controller *chip, uint16_t *base, uint16_t *current, uint8_t half)
{
	*base = (uint16_t)(chip->high ? (*base & 0x00ff) | half << 8 : (*base & 0xff00) | half);
	*current = *base;
	chip->high = !chip->high;
}

static void master_clear(struct controller *chip)
{
	chip->command = chip->terminal = chip->requests = 0;
	chip->high = false;
	chip->mask = MASK_NIBBLE;
}

static void set_bit(uint8_t *bits, uint8_t value)
{
	uint8_t bit = (uint8_t)(1u << (value & SELECT_CHANNEL));

	*bits = value & SELECT_SET ? *bits | bit : *bits & (uint8_t)~bit;
}

static void write_control(struct controller *chip, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case REG_STATUS:
		chip->command = value;
		break;
	case REG_REQUEST:
		set_bit(&chip->requests, value);
		break;
	case REG_MASK_ONE:
		set_bit(&chip->mask, value);
		break;
	case REG_MODE:
		chip->channels[value & SELECT_CHANNEL].mode = value & MODE_KEPT;
		break;
	case REG_CLEAR_FLIP_FLOP:
		chip->high = false;
		break;
	case REG_MASTER_CLEAR:
		master_clear(chip);
		break;
	case REG_CLEAR_MASK:
		chip->mask = 0;
		break;
	case REG_MASK_ALL:
		chip->mask = value & MASK_NIBBLE;
		break;
	}
}

static uint8_t read_control(struct controller *chip, unsigned int reg)
{
	uint8_t value = 0;

	if (reg == REG_STATUS) {
		value = (uint8_t)(chip->requests << 4) | chip->terminal;
		chip->terminal = 0;
	} else if (reg == REG_MASK_ALL) {
		value = (uint8_t)~MASK_NIBBLE | chip->mask;
	}
	return value;
}

static uint8_t chip_get(void *context, unsigned int offset)
{
	struct controller *chip = context;
	unsigned int reg = offset >> chip->shift;
	const struct channel *channel = &chip->channels[reg / 2 % PER_CHIP];
	uint8_t value;

	pthread_mutex_lock(&chip->dma->lock);
	if (reg >= REG_STATUS)
		value = read_control(chip, reg);
	else
		value = take_half(chip, reg % 2 ? channel->count : channel->address);
	pthread_mutex_unlock(&chip->dma->lock);
	return value;
}

static void chip_put(void *context, unsigned int offset, uint8_t value)
{
	struct controller *chip = context;
	unsigned int reg = offset >> chip->shift;
	struct channel *channel = &chip->channels[reg / 2 % PER_CHIP];

	pthread_mutex_lock(&chip->dma->lock);
	if (reg >= REG_STATUS)
		write_control(chip, reg, value);
	else if (reg % 2)
		put_half(chip, &channel->base_count, &channel->count, value);
	else
		put_half(chip, &channel->base_address, &channel->address, value);
	pthread_mutex_unlock(&chip->dma->lock);
}

static void chip_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, chip_get, chip_put);
}

/* Page registers that no channel uses are memory, too. */
static uint8_t page_get(void *context, unsigned int offset)
{
	struct isa_dma *dma = context;

	return __atomic_load_n(&dma->pages[offset], __ATOMIC_RELAXED);
}

static void page_put(void *context, unsigned int offset, uint8_t value)
{
	struct isa_dma *dma = context;

	__atomic_store_n(&dma->pages[offset], value, __ATOMIC_RELAXED);
}

static void page_access(void *context, struct io_access *access)
{
	chip_access_bytes(context, access, page_get, page_put);
}

static uint8_t page_of(const struct isa_dma *dma, unsigned int channel)
{
	static const uint8_t ports[ISA_DMA_CHANNELS] = {0x87, 0x83, 0x81, 0x82,
							0x8f, 0x8b, 0x89, 0x8a};

	return page_get((void *)dma, ports[channel] - PORT_PAGES);
}

static bool is_ready(const struct controller *chip, unsigned int index,
		     enum isa_dma_direction direction)
{
	const struct channel *channel = &chip->channels[index];

	return !(chip->command & COMMAND_DISABLE) && !(chip->mask >> index & 1) &&
	       (channel->mode & MODE_CASCADE) != MODE_CASCADE &&
	       (channel->mode >> MODE_TYPE_SHIFT & 3) == direction;
}

uint32_t isa_dma_ready(struct isa_dma *dma, unsigned int channel, enum isa_dma_direction direction)
{
	struct controller *chip = &dma->controllers[channel / PER_CHIP];
	unsigned int index = channel % PER_CHIP;
	uint32_t bytes = 0;

	pthread_mutex_lock(&dma->lock);
	if (channel != CASCADE && is_ready(chip, index, direction))
		bytes = (chip->channels[index].count + 1u) << chip->shift;
	pthread_mutex_unlock(&dma->lock);
	return bytes;
}

/* Addresses stay in their page of 64 KiB, or of 128 where words are counted. */
static uint64_t place(const struct isa_dma *dma, unsigned int number, const struct controller *chip)
{
	const struct channel *channel = &chip->channels[number % PER_CHIP];
	uint64_t page = page_of(dma, number);

	if (chip->shift)
		return (page & 0xfe) << 16 | (uint32_t)channel->address << 1;
	return page << 16 | channel->address;
}

static void move(struct isa_dma *dma, uint64_t gpa, enum isa_dma_direction direction, uint8_t *data,
		 uint32_t bytes)
{
	if (direction == ISA_DMA_TO_MEMORY)
		(void)gpa_write(dma->gpa, gpa, data, bytes);
	else if (direction == ISA_DMA_FROM_MEMORY && gpa_read(dma->gpa, gpa, data, bytes) < 0)
		memset(data, 0xff, bytes);
}

/* As much as lies in one piece: up to the page's end, or one unit where it goes downwards. */
static uint32_t move_piece(struct isa_dma *dma, unsigned int number,
			   enum isa_dma_direction direction, uint8_t *data, uint32_t bytes)
{
	struct controller *chip = &dma->controllers[number / PER_CHIP];
	struct channel *channel = &chip->channels[number % PER_CHIP];
	bool down = channel->mode & MODE_DECREMENT;
	uint32_t units = bytes >> chip->shift, room = 0x10000u - channel->address;

	units = down ? 1 : MIN(units, room);
	move(dma, place(dma, number, chip), direction, data, units << chip->shift);
	channel->address = (uint16_t)(down ? channel->address - 1u : channel->address + units);
	channel->count = (uint16_t)(channel->count - units);
	return units << chip->shift;
}

static void end_count(struct controller *chip, unsigned int index)
{
	struct channel *channel = &chip->channels[index];

	chip->terminal |= (uint8_t)(1u << index);
	if (channel->mode & MODE_AUTOINIT) {
		channel->address = channel->base_address;
		channel->count = channel->base_count;
	} else {
		chip->mask |= (uint8_t)(1u << index);
	}
}

uint32_t isa_dma_transfer(struct isa_dma *dma, unsigned int number,
			  enum isa_dma_direction direction, void *data, uint32_t bytes,
			  bool *terminal)
{
	struct controller *chip = &dma->controllers[number / PER_CHIP];
	unsigned int index = number % PER_CHIP;
	uint32_t moved = 0, most = 0;

	*terminal = false;
	pthread_mutex_lock(&dma->lock);
	if (number != CASCADE && is_ready(chip, index, direction))
		most = (chip->channels[index].count + 1u) << chip->shift;
	*terminal = most > 0 && bytes >= most;
	bytes = (uint32_t)align_down(MIN(bytes, most), 1u << chip->shift);
	while (moved < bytes)
		moved += move_piece(dma, number, direction, (uint8_t *)data + moved, bytes - moved);
	if (*terminal)
		end_count(chip, index);
	pthread_mutex_unlock(&dma->lock);
	return moved;
}

void isa_dma_reset(struct isa_dma *dma)
{
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		master_clear(&dma->controllers[i]);
		memset(dma->controllers[i].channels, 0, sizeof(dma->controllers[i].channels));
	}
	memset(dma->pages, 0, sizeof(dma->pages));
}

int isa_dma_new(struct io_bus *ports, struct gpa_space *gpa, struct isa_dma **out)
{
	struct isa_dma *dma = calloc(1, sizeof(*dma));
	int r;

	if (!dma)
		return -ENOMEM;
	dma->ports = ports;
	dma->gpa = gpa;
	dma->controllers[0].dma = dma->controllers[1].dma = dma;
	dma->controllers[1].shift = 1;
	isa_dma_reset(dma);
	r = io_bus_add(ports, PORT_FIRST, 16, chip_access, &dma->controllers[0]);
	if (r < 0)
		goto fail;
	r = io_bus_add(ports, PORT_SECOND, 32, chip_access, &dma->controllers[1]);
	if (r < 0)
		goto fail_first;
	r = io_bus_add(ports, PORT_PAGES, PAGE_COUNT, page_access, dma);
	if (r < 0)
		goto fail_second;
	pthread_mutex_init(&dma->lock, NULL);
	*out = dma;
	return 0;

fail_second:
	io_bus_remove(ports, PORT_SECOND);
fail_first:
	io_bus_remove(ports, PORT_FIRST);
fail:
	free(dma);
	return r;
}

void isa_dma_free(struct isa_dma *dma)
{
	if (!dma)
		return;
	io_bus_remove(dma->ports, PORT_PAGES);
	io_bus_remove(dma->ports, PORT_SECOND);
	io_bus_remove(dma->ports, PORT_FIRST);
	pthread_mutex_destroy(&dma->lock);
	free(dma);
}

/* A controller's state is a list of 32-bit numbers in one property. */
#define SAVED_NUMBERS (5 + 5 * PER_CHIP)

static void save_controller(const struct controller *chip, uint32_t *numbers)
{
	*numbers++ = chip->command;
	*numbers++ = chip->terminal;
	*numbers++ = chip->requests;
	*numbers++ = chip->mask;
	*numbers++ = chip->high;
	for (unsigned int i = 0; i < PER_CHIP; i++) {
		const struct channel *channel = &chip->channels[i];

		*numbers++ = channel->base_address;
		*numbers++ = channel->base_count;
		*numbers++ = channel->address;
		*numbers++ = channel->count;
		*numbers++ = channel->mode;
	}
}

static void restore_controller(struct controller *chip, const uint32_t *numbers)
{
	chip->command = (uint8_t)*numbers++;
	chip->terminal = *numbers++ & MASK_NIBBLE;
	chip->requests = *numbers++ & MASK_NIBBLE;
	chip->mask = *numbers++ & MASK_NIBBLE;
	chip->high = *numbers++ & 1;
	for (unsigned int i = 0; i < PER_CHIP; i++) {
		struct channel *channel = &chip->channels[i];

		channel->base_address = (uint16_t)*numbers++;
		channel->base_count = (uint16_t)*numbers++;
		channel->address = (uint16_t)*numbers++;
		channel->count = (uint16_t)*numbers++;
		channel->mode = *numbers++ & MODE_KEPT;
	}
}

static const char *const controller_names[CONTROLLERS] = {"dma-first", "dma-second"};

void isa_dma_save(struct isa_dma *dma, struct state_writer *writer)
{
	uint32_t numbers[SAVED_NUMBERS];

	pthread_mutex_lock(&dma->lock);
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		save_controller(&dma->controllers[i], numbers);
		for (unsigned int n = 0; n < SAVED_NUMBERS; n++)
			numbers[n] = htole32(numbers[n]);
		state_put_bytes(writer, controller_names[i], numbers, sizeof(numbers));
	}
	state_put_bytes(writer, "dma-pages", dma->pages, sizeof(dma->pages));
	pthread_mutex_unlock(&dma->lock);
}

/* Every number there is within a register is a state that the guest can make. */
int isa_dma_restore(struct isa_dma *dma, const struct state_node *node)
{
	uint32_t numbers[CONTROLLERS][SAVED_NUMBERS];
	uint8_t pages[PAGE_COUNT];
	int r = state_get_bytes(node, "dma-pages", pages, sizeof(pages));

	for (unsigned int i = 0; r == 0 && i < CONTROLLERS; i++)
		r = state_get_bytes(node, controller_names[i], numbers[i], sizeof(numbers[i]));
	if (r < 0)
		return r;
	pthread_mutex_lock(&dma->lock);
	for (unsigned int i = 0; i < CONTROLLERS; i++) {
		for (unsigned int n = 0; n < SAVED_NUMBERS; n++)
			numbers[i][n] = le32toh(numbers[i][n]);
		restore_controller(&dma->controllers[i], numbers[i]);
	}
	memcpy(dma->pages, pages, sizeof(pages));
	pthread_mutex_unlock(&dma->lock);
	return 0;
}
