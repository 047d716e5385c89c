#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "devices/chipset/fw_cfg.h"
#include "machine_fixture.h"
#include "suite.h"

#define RAM	   0x2000000u /* more than an item may have */
#define DESCRIPTOR 0x1000u
#define BUFFER	   0x2000u

#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u

static struct machine machine;
static struct gpa_space *gpa;
static struct fw_cfg *fw_cfg;

static void set_up(void)
{
	machine_init(&machine);
	ck_assert_int_eq(gpa_space_new(RAM, &gpa, NULL), 0);
	ck_assert_int_eq(fw_cfg_new(machine.env.ports, gpa, &fw_cfg), 0);
}

static void tear_down(void)
{
	fw_cfg_free(fw_cfg);
	gpa_space_free(gpa);
	machine_fini(&machine);
}

static void choose(uint16_t key)
{
	machine_out(&machine, FW_CFG_PORT_SELECTOR, 2, key);
}

static void read_bytes(void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1);
}

/* Asks for a transfer and returns what became of the control word. */
static uint32_t transfer(uint32_t control, uint32_t length, uint64_t address)
{
	uint8_t request[16];

	put_be32(request, control);
	put_be32(request + 4, length);
	put_be64(request + 8, address);
	ck_assert_int_eq(gpa_write(gpa, DESCRIPTOR, request, sizeof(request)), 0);
	machine_out(&machine, FW_CFG_PORT_DMA, 4, 0);
	machine_out(&machine, FW_CFG_PORT_DMA + 4, 4, htobe32(DESCRIPTOR));
	ck_assert_int_eq(gpa_read(gpa, DESCRIPTOR, request, sizeof(request)), 0);
	ck_assert_uint_eq(get_be32(request + 4), length);
	return get_be32(request);
}

START_TEST(signature_and_features)
{
	char signature[5] = "";
	uint8_t features[4];

	choose(FW_CFG_SIGNATURE);
	read_bytes(signature, 4);
	ck_assert_str_eq(signature, "QEMU");
	choose(FW_CFG_ID);
	read_bytes(features, sizeof(features));
	ck_assert_uint_eq(get_le32(features), 3);
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_DMA, 4), htole32(0x554d4551));
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_DMA + 4, 4), htole32(0x47464320));
}
END_TEST

START_TEST(what_is_absent_reads_as_zero)
{
	uint8_t bytes[8];

	memset(bytes, 0xff, sizeof(bytes));
	choose(FW_CFG_NUMA);
	read_bytes(bytes, sizeof(bytes));
	ck_assert_uint_eq(get_le64(bytes), 0);
	choose(0xffff);
	read_bytes(bytes, 1);
	ck_assert_uint_eq(bytes[0], 0);
	/* Beyond an item's end, and through the wrong door. */
	choose(FW_CFG_SIGNATURE);
	read_bytes(bytes, 5);
	ck_assert_uint_eq(bytes[4], 0);
	choose(FW_CFG_SIGNATURE);
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR, 2), 0);
	machine_out(&machine, FW_CFG_PORT_SELECTOR, 1, 9);
	read_bytes(bytes, 1);
	ck_assert_uint_eq(bytes[0], 'Q');
}
END_TEST

START_TEST(items_are_added_once)
{
	char name[FW_CFG_NAME_SIZE + 1] = "";
	const uint8_t data = 1;

	memset(name, 'a', FW_CFG_NAME_SIZE);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_CPUS, &data, 1), 0);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_CPUS, &data, 1), -EEXIST);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_IRQ0_OVERRIDE, &data, 1), 0);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_FIRST_FILE, &data, 1), -EINVAL);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_DIRECTORY, &data, 1), -EEXIST);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, 0x3fff, &data, 1), -EINVAL);
	ck_assert_int_eq(fw_cfg_add(fw_cfg, FW_CFG_UUID, &data, FW_CFG_ITEM_MAX + 1), -E2BIG);
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, "a", &data, 1), 0);
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, "a", &data, 1), -EEXIST);
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, "", &data, 1), -EINVAL);
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, name, &data, 1), -EINVAL);
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, name + 1, NULL, 0), 0);
}
END_TEST

START_TEST(directory_lists_the_files)
{
	uint8_t entry[64];
	char name[16];
	uint8_t count[4];

	for (unsigned int i = 0; i < FW_CFG_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "etc/%u", i);
		ck_assert_int_eq(fw_cfg_add_file(fw_cfg, name, "datum", i % 6), 0);
	}
	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, "more", "", 0), -ENOSPC);
	choose(FW_CFG_DIRECTORY);
	read_bytes(count, sizeof(count));
	ck_assert_uint_eq(get_be32(count), FW_CFG_FILES_MAX);
	for (unsigned int i = 0; i < FW_CFG_FILES_MAX; i++) {
		read_bytes(entry, sizeof(entry));
		snprintf(name, sizeof(name), "etc/%u", i);
		ck_assert_uint_eq(get_be32(entry), i % 6);
		ck_assert_uint_eq(get_be16(entry + 4), FW_CFG_FIRST_FILE + i);
		ck_assert_str_eq((char *)entry + 8, name);
	}
	choose(FW_CFG_FIRST_FILE + 5);
	read_bytes(name, 5);
	ck_assert_mem_eq(name, "datum", 5);
}
END_TEST

START_TEST(dma_reads_and_skips)
{
	char bytes[8];
	const uint32_t select = FW_CFG_FIRST_FILE << 16 | DMA_SELECT;

	ck_assert_int_eq(fw_cfg_add_file(fw_cfg, "f", "0123456789", 10), 0);
	ck_assert_int_eq(gpa_fill(gpa, BUFFER, 0xee, 32), 0);
	ck_assert_uint_eq(transfer(select | DMA_READ, 4, BUFFER), 0);
	ck_assert_uint_eq(transfer(DMA_SKIP, 3, 0), 0);
	ck_assert_uint_eq(transfer(DMA_READ, 7, BUFFER + 4), 0);
	ck_assert_int_eq(gpa_read(gpa, BUFFER, bytes, 8), 0);
	ck_assert_mem_eq(bytes, "0123789", 8);
	/* Zeroes as far as it asked for more, and not a byte further. */
	ck_assert_int_eq(gpa_read(gpa, BUFFER + 10, bytes, 2), 0);
	ck_assert_mem_eq(bytes, "\0\xee", 2);
	ck_assert_uint_eq(transfer(select, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(transfer(DMA_SKIP, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1), 0);
	ck_assert_uint_eq(transfer(DMA_READ, 0, UINT64_MAX), 0);
}
END_TEST

START_TEST(dma_outside_ram)
{
	static const struct {
		uint64_t address;
		uint32_t length;
	} bad[] = {
		{RAM - 3, 4},	     {RAM, 1},	      {UINT64_MAX, 1},
		{UINT64_MAX - 1, 4}, {0, UINT32_MAX}, {BUFFER, FW_CFG_ITEM_MAX + 1},
		{1ull << 63, 4096},
	};
	const uint32_t control = FW_CFG_SIGNATURE << 16 | DMA_SELECT | DMA_READ;
	uint8_t byte;

	ck_assert_int_eq(gpa_fill(gpa, RAM - 3, 0xee, 3), 0);
	ck_assert_uint_eq(transfer(control, bad[_i].length, bad[_i].address), DMA_ERROR);
	ck_assert_int_eq(gpa_read(gpa, RAM - 3, &byte, 1), 0);
	ck_assert_uint_eq(byte, 0xee);
	/* Nothing was taken. */
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1), 'Q');
}
END_TEST

START_TEST(dma_does_not_write_items)
{
	ck_assert_uint_eq(transfer(DMA_SELECT | DMA_WRITE, 1, BUFFER), DMA_ERROR);
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1), 'Q');
}
END_TEST

START_TEST(descriptor_outside_ram)
{
	machine_out(&machine, FW_CFG_PORT_DMA, 4, UINT32_MAX);
	machine_out(&machine, FW_CFG_PORT_DMA + 4, 4, htobe32(0xfffffff8));
	machine_out(&machine, FW_CFG_PORT_DMA + 4, 4, htobe32(RAM - 8));
	machine_out(&machine, FW_CFG_PORT_DMA + 4, 4, htobe32(RAM));
	/* The upper half holds for one request. */
	ck_assert_uint_eq(transfer(DMA_SELECT, 0, 0), 0);
}
END_TEST

static struct state_writer *writer_in(struct fw_cfg *from)
{
	struct state_writer *writer = state_writer_new();

	state_begin(writer, "fw_cfg", 1);
	fw_cfg_save(from, writer);
	state_end(writer);
	return writer;
}

static void finish(struct state_writer *writer, void **tree, size_t *size, struct state_node *node)
{
	struct state_node root;

	ck_assert_int_eq(state_finish(writer, tree, size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(*tree, *size, &root), 0);
	ck_assert_int_eq(state_child(&root, "fw_cfg", 1, node), 0);
}

START_TEST(state_is_restored)
{
	void *tree, *again;
	size_t size, again_size;
	struct state_node node;

	choose(FW_CFG_SIGNATURE);
	machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1);
	machine_out(&machine, FW_CFG_PORT_DMA, 4, htobe32(1));
	finish(writer_in(fw_cfg), &tree, &size, &node);
	fw_cfg_reset(fw_cfg);
	ck_assert_int_eq(fw_cfg_restore(fw_cfg, &node), 0);
	finish(writer_in(fw_cfg), &again, &again_size, &node);
	ck_assert_uint_eq(size, again_size);
	ck_assert_mem_eq(tree, again, size);
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1), 'E');
	free(tree);
	free(again);
}
END_TEST

START_TEST(hostile_state)
{
	struct state_writer *writer = state_writer_new();
	struct state_node node;
	void *tree;
	size_t size;

	state_begin(writer, "fw_cfg", 1);
	state_put_u32(writer, "key", (uint32_t)_i);
	state_put_u32(writer, "offset", UINT32_MAX);
	state_put_u32(writer, "dma-high", 0);
	state_end(writer);
	finish(writer, &tree, &size, &node);
	ck_assert_int_eq(fw_cfg_restore(fw_cfg, &node), _i > UINT16_MAX ? -EINVAL : 0);
	/* Past the end of an item that is not there; or as it was. */
	ck_assert_uint_eq(machine_in(&machine, FW_CFG_PORT_SELECTOR + 1, 1),
			  _i > UINT16_MAX ? 'Q' : 0);
	free(tree);
}
END_TEST

START_TEST(ports_are_taken)
{
	struct fw_cfg *second = NULL;

	ck_assert_int_eq(fw_cfg_new(machine.env.ports, gpa, &second), -EEXIST);
	ck_assert_ptr_null(second);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("fw_cfg", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, signature_and_features);
	tcase_add_test(tests, what_is_absent_reads_as_zero);
	tcase_add_test(tests, items_are_added_once);
	tcase_add_test(tests, directory_lists_the_files);
	tcase_add_test(tests, dma_reads_and_skips);
	tcase_add_loop_test(tests, dma_outside_ram, 0, 7);
	tcase_add_test(tests, dma_does_not_write_items);
	tcase_add_test(tests, descriptor_outside_ram);
	tcase_add_test(tests, state_is_restored);
	tcase_add_loop_test(tests, hostile_state, UINT16_MAX - 1, UINT16_MAX + 3);
	tcase_add_test(tests, ports_are_taken);
	return suite_run(suite);
}
