/* The DMA controllers, with a device that is a few calls. */
#include <string.h>

#include "devices/chipset/isa_dma.h"
#include "machine_fixture.h"
#include "suite.h"

#define RAM	  (1u << 20)
#define TO_MEMORY 0x44 /* single mode, and the direction's bits */
#define TO_DEVICE 0x48
#define AUTOINIT  0x10
#define DOWN	  0x20

static struct machine machine;
static struct gpa_space *gpa;
static struct isa_dma *dma;
static uint8_t data[65536];

static void set_up(void)
{
	machine_init(&machine);
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(isa_dma_new(machine.env.ports, gpa, &dma), 0);
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
}

static void tear_down(void)
{
	isa_dma_free(dma);
	gpa_space_free(gpa);
	machine_fini(&machine);
}

static uint8_t in(uint16_t port)
{
	return (uint8_t)machine_in(&machine, port, 1);
}

static void out(uint16_t port, uint8_t value)
{
	machine_out(&machine, port, 1, value);
}

/* Channel 2 for count bytes at an address. */
static void program(uint8_t mode, uint32_t address, uint32_t count)
{
	out(0x0a, 4 | 2);
	out(0x0c, 0);
	out(0x0b, mode | 2);
	out(0x04, (uint8_t)address);
	out(0x04, (uint8_t)(address >> 8));
	out(0x81, (uint8_t)(address >> 16));
	out(0x05, (uint8_t)(count - 1));
	out(0x05, (uint8_t)((count - 1) >> 8));
	out(0x0a, 2);
}

static void expect(uint32_t address, const uint8_t *bytes, size_t size)
{
	uint8_t *there = gpa_pointer(gpa, address, size, GPA_READ);

	ck_assert_mem_eq(there, bytes, size);
}

START_TEST(moves_as_programmed)
{
	bool terminal;

	ck_assert_uint_eq(isa_dma_ready(dma, 2, ISA_DMA_TO_MEMORY), 0);
	program(TO_MEMORY, 0x12340, 1024);
	ck_assert_uint_eq(isa_dma_ready(dma, 2, ISA_DMA_TO_MEMORY), 1024);
	ck_assert_uint_eq(isa_dma_ready(dma, 2, ISA_DMA_FROM_MEMORY), 0);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 512, &terminal), 512);
	ck_assert(!terminal);
	ck_assert_uint_eq(in(0x08), 0);
	/* What is left shows. */
	out(0x0c, 0);
	ck_assert_uint_eq(in(0x04), 0x40);
	ck_assert_uint_eq(in(0x04), 0x25);
	ck_assert_uint_eq(in(0x05), 0xff);
	ck_assert_uint_eq(in(0x05), 0x01);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data + 512, 4096, &terminal),
			  512);
	ck_assert(terminal);
	ck_assert_uint_eq(in(0x08), 4);
	ck_assert_uint_eq(in(0x08), 0);
	/* The channel is masked then. */
	ck_assert_uint_eq(in(0x0f), 0xff);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 1, &terminal), 0);
	ck_assert(!terminal);
	expect(0x12340, data, 1024);
}
END_TEST

START_TEST(reads_memory_and_starts_anew)
{
	uint8_t got[64];
	bool terminal;

	ck_assert_int_eq(gpa_write(gpa, 0x5000, data, 64), 0);
	program(TO_DEVICE | AUTOINIT, 0x5000, 64);
	for (unsigned int i = 0; i < 2; i++) {
		memset(got, 0, sizeof(got));
		ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_FROM_MEMORY, got, 64, &terminal),
				  64);
		ck_assert(terminal);
		ck_assert_mem_eq(got, data, 64);
	}
}
END_TEST

START_TEST(stays_in_its_page)
{
	bool terminal;

	program(TO_MEMORY, 0x2fff0, 32);
	isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 32, &terminal);
	expect(0x2fff0, data, 16);
	expect(0x20000, data + 16, 16);
	program(TO_MEMORY | DOWN, 0x30001, 4);
	isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 4, &terminal);
	expect(0x30000, (uint8_t[]){data[1], data[0]}, 2);
	expect(0x3fffe, (uint8_t[]){data[3], data[2]}, 2);
}
END_TEST

START_TEST(words)
{
	bool terminal;

	/* Channel 5: words, and a page of 128 KiB. */
	out(0xd8, 0);
	out(0xd6, TO_MEMORY | 1);
	out(0xc4, 0x00);
	out(0xc4, 0x80);
	out(0x8b, 0x05);
	out(0xc6, 7);
	out(0xc6, 0);
	out(0xd4, 1);
	ck_assert_uint_eq(isa_dma_ready(dma, 5, ISA_DMA_TO_MEMORY), 16);
	ck_assert_uint_eq(isa_dma_transfer(dma, 5, ISA_DMA_TO_MEMORY, data, 16, &terminal), 16);
	ck_assert(terminal);
	expect(0x50000, data, 16);
	/* The cascade is nobody's. */
	out(0xd4, 0);
	ck_assert_uint_eq(isa_dma_ready(dma, 4, ISA_DMA_VERIFY), 0);
}
END_TEST

START_TEST(switched_off)
{
	bool terminal;

	program(TO_MEMORY, 0x1000, 16);
	out(0x08, 4);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 16, &terminal), 0);
	out(0x08, 0);
	ck_assert_uint_eq(isa_dma_ready(dma, 2, ISA_DMA_TO_MEMORY), 16);
	out(0x0d, 0);
	ck_assert_uint_eq(in(0x0f), 0xff);
	out(0x0e, 0);
	ck_assert_uint_eq(in(0x0f), 0xf0);
	out(0x09, 4 | 1);
	ck_assert_uint_eq(in(0x08), 0x20);
	out(0x84, 0x5a);
	ck_assert_uint_eq(in(0x84), 0x5a);
}
END_TEST

/* Nobody answers. */
START_TEST(outside_of_ram)
{
	uint8_t got[16] = {0};
	bool terminal;

	program(TO_DEVICE, 0xff0000, 16);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_FROM_MEMORY, got, 16, &terminal), 16);
	for (unsigned int i = 0; i < 16; i++)
		ck_assert_uint_eq(got[i], 0xff);
	program(TO_MEMORY, 0xff0000, 16);
	ck_assert_uint_eq(isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 16, &terminal), 16);
}
END_TEST

static void *save(struct isa_dma *from, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	isa_dma_save(from, writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

START_TEST(saved_and_restored)
{
	struct state_node root;
	size_t size, again_size;
	void *tree, *again;
	bool terminal;

	program(TO_MEMORY, 0x12340, 1024);
	isa_dma_transfer(dma, 2, ISA_DMA_TO_MEMORY, data, 100, &terminal);
	out(0x04, 1);
	tree = save(dma, &size);
	isa_dma_reset(dma);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(isa_dma_restore(dma, &root), 0);
	again = save(dma, &again_size);
	ck_assert_uint_eq(size, again_size);
	ck_assert_mem_eq(tree, again, size);
	ck_assert_uint_eq(isa_dma_ready(dma, 2, ISA_DMA_TO_MEMORY), 924);
	free(tree);
	free(again);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("isa_dma", &tcase);

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, moves_as_programmed);
	tcase_add_test(tcase, reads_memory_and_starts_anew);
	tcase_add_test(tcase, stays_in_its_page);
	tcase_add_test(tcase, words);
	tcase_add_test(tcase, switched_off);
	tcase_add_test(tcase, outside_of_ram);
	tcase_add_test(tcase, saved_and_restored);
	return suite_run(suite);
}
