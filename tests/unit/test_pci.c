#include <errno.h>
#include <string.h>

#include "machine_fixture.h"
#include "suite.h"

/* Configuration, base addresses and interrupts of functions that do nothing else. */

struct probe {
	struct pci_function *function;
	uint64_t moved[PCI_BARS];
	unsigned int moves;
	unsigned int accesses;
	uint64_t offset, written;
	unsigned int config_offset, config_size;
};

static struct machine machine;
static struct probe first, second;
static int routes[4];

static void on_access(void *context, struct io_access *access)
{
	struct probe *probe = context;

	probe->accesses++;
	probe->offset = access->offset;
	if (access->write)
		probe->written = access->value;
	else
		access->value = 0x5a;
}

static void on_moved_io(void *context, uint64_t address)
{
	struct probe *probe = context;

	probe->moved[0] = address;
	probe->moves++;
}

static void on_moved_memory(void *context, uint64_t address)
{
	struct probe *probe = context;

	probe->moved[1] = address;
	probe->moves++;
}

static void on_config(void *context, unsigned int offset, unsigned int size)
{
	struct probe *probe = context;

	probe->config_offset = offset;
	probe->config_size = size;
}

static int on_route(void *context, unsigned int pirq)
{
	ck_assert_ptr_eq(context, routes);
	return routes[pirq];
}

static struct pci_description describe(struct probe *probe)
{
	return (struct pci_description){
		.vendor = 0x8086,
		.device = 0x7111,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x010180,
		.revision = 3,
		.interrupt_pin = 1,
		.bars = {{.size = 16, .space = IO_PORT, .handler = on_access, .moved = on_moved_io},
			 {.size = 4096,
			  .space = IO_MMIO,
			  .prefetchable = true,
			  .handler = on_access,
			  .moved = on_moved_memory}},
		.config_written = on_config,
		.context = probe,
	};
}

static void add(struct probe *probe, unsigned int slot, unsigned int number)
{
	struct pci_description description = describe(probe);

	memset(probe, 0, sizeof(*probe));
	ck_assert_int_eq(
		pci_function_new(machine.env.pci, slot, number, &description, &probe->function), 0);
}

static void set_up(void)
{
	machine_init(&machine);
	machine_add_pci(&machine);
	add(&second, 8, 0);
	add(&first, 7, 1);
}

static void tear_down(void)
{
	pci_function_free(first.function);
	pci_function_free(second.function);
	machine_fini(&machine);
}

START_TEST(the_header_is_as_described)
{
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0, 4), 0x71118086);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 8, 4), 0x01018003);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x2c, 4), 0x11001af4);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x0e, 1), 0);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x3d, 1), 1);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 2, 2), 0x7111);
	machine_pci_write(&machine, 7, 1, 0, 4, 0);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0, 4), 0x71118086);
	machine_pci_write(&machine, 7, 1, 0x3c, 1, 11);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x3c, 2), 0x10b);
	ck_assert_uint_eq(first.config_offset, 0x3c);
	ck_assert_uint_eq(first.config_size, 1);
}
END_TEST

START_TEST(nobody_answers_all_ones)
{
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 0, 0, 4), 0xffffffff);
	ck_assert_uint_eq(machine_pci_read(&machine, 9, 0, 0, 2), 0xffff);
	machine_pci_write(&machine, 9, 0, 4, 4, 7);
	/* Not enabled; another bus. */
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS, 4, 7 << 11 | 1 << 8);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_DATA, 4), 0xffffffff);
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS, 4, 0x80010000 | 7 << 11 | 1 << 8);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_DATA, 4), 0xffffffff);
	/* Over the end of the data register. */
	machine_pci_select(&machine, 7, 1, 0);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_DATA + 2, 4), 0xffffffff);
}
END_TEST

START_TEST(the_address_register_is_whole)
{
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS, 4, 0xffffffff);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_ADDRESS, 4), 0x80fffffc);
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS, 2, 0);
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS + 1, 1, 0);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_ADDRESS, 4), 0x80fffffc);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_ADDRESS + 1, 1), 0xff);
	pci_reset_control_set(machine.env.pci, on_access, &first);
	machine_out(&machine, MACHINE_PORT_PCI_ADDRESS + 1, 1, 6);
	ck_assert_uint_eq(first.written, 6);
	ck_assert_uint_eq(machine_in(&machine, MACHINE_PORT_PCI_ADDRESS + 1, 1), 0x5a);
}
END_TEST

START_TEST(places_are_taken_once)
{
	struct pci_description description = describe(&first);
	struct pci_function *none = NULL;
	struct pci_bus *bus = NULL;

	ck_assert_int_eq(pci_function_new(machine.env.pci, 7, 1, &description, &none), -EEXIST);
	ck_assert_int_eq(pci_function_new(machine.env.pci, 32, 0, &description, &none), -EINVAL);
	ck_assert_int_eq(pci_function_new(machine.env.pci, 0, 8, &description, &none), -EINVAL);
	ck_assert_ptr_null(none);
	ck_assert_int_eq(pci_bus_new(machine.env.ports, machine.env.mmio, machine.env.irq, &bus),
			 -EEXIST);
	ck_assert_ptr_null(bus);
}
END_TEST

START_TEST(bars_tell_their_size)
{
	machine_pci_write(&machine, 7, 1, 0x10, 4, 0xffffffff);
	machine_pci_write(&machine, 7, 1, 0x14, 4, 0xffffffff);
	machine_pci_write(&machine, 7, 1, 0x18, 4, 0xffffffff);
	machine_pci_write(&machine, 7, 1, 0x30, 4, 0xffffffff);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x10, 4), 0xfffffff1);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x14, 4), 0xfffff008);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x18, 4), 0);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x30, 4), 0);
	ck_assert_uint_eq(first.moves, 0);
}
END_TEST

START_TEST(bars_follow_base_and_command)
{
	machine_pci_write(&machine, 7, 1, 0x10, 4, 0xc000);
	machine_pci_write(&machine, 7, 1, 0x14, 4, 0xe0001000);
	ck_assert_uint_eq(first.moves, 0);
	ck_assert_uint_eq(machine_in(&machine, 0xc003, 1), 0xff);
	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 3);
	ck_assert_uint_eq(first.moves, 2);
	ck_assert_uint_eq(first.moved[0], 0xc000);
	ck_assert_uint_eq(first.moved[1], 0xe0001000);
	ck_assert_uint_eq(machine_in(&machine, 0xc003, 1), 0x5a);
	ck_assert_uint_eq(first.offset, 3);
	machine_store(&machine, 0xe0001ffc, 4, 77);
	ck_assert_uint_eq(first.offset, 0xffc);
	ck_assert_uint_eq(first.written, 77);
	/* Over its end: nobody. */
	ck_assert_uint_eq(machine_in(&machine, 0xc00e, 4), 0xffffffff);
	machine_pci_write(&machine, 7, 1, 0x10, 4, 0xd000);
	ck_assert_uint_eq(first.moved[0], 0xd000);
	ck_assert_uint_eq(machine_in(&machine, 0xc000, 1), 0xff);
	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 1);
	ck_assert_uint_eq(first.moved[1], 0);
	ck_assert_uint_eq(pci_bar_address(first.function, 1), 0);
	ck_assert_uint_eq(pci_bar_address(first.function, 0), 0xd000);
	ck_assert_uint_eq(machine_load(&machine, 0xe0001000, 4), 0xffffffff);
}
END_TEST

/* Sizing with decoding on, and places where other things are. */
START_TEST(bars_stay_in_their_windows)
{
	static const uint32_t memory[] = {0xffffffff, 0xfec00000, 0xdffff000, 0xf8000000, 0x1000};
	static const uint32_t ports[] = {0xffffffff, 0x10000, 0xff0, 0, 0xfff0000};

	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 3);
	for (unsigned int i = 0; i < 5; i++) {
		machine_pci_write(&machine, 7, 1, 0x14, 4, memory[i]);
		machine_pci_write(&machine, 7, 1, 0x10, 4, ports[i]);
	}
	ck_assert_uint_eq(first.moves, 0);
	machine_pci_write(&machine, 7, 1, 0x14, 4, 0xfebff000);
	machine_pci_write(&machine, 7, 1, 0x10, 4, 0xfff0);
	ck_assert_uint_eq(first.moves, 2);
}
END_TEST

START_TEST(overlapping_bars_have_one_answer)
{
	for (unsigned int slot = 7; slot <= 8; slot++) {
		machine_pci_write(&machine, slot, slot == 7, 0x10, 4, 0xc000);
		machine_pci_write(&machine, slot, slot == 7, PCI_COMMAND, 2, 1);
	}
	machine_out(&machine, 0xc000, 4, 1);
	ck_assert_uint_eq(first.accesses, 1);
	ck_assert_uint_eq(second.accesses, 0);
	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 0);
	machine_out(&machine, 0xc000, 4, 1);
	ck_assert_uint_eq(first.accesses, 1);
	ck_assert_uint_eq(second.accesses, 1);
}
END_TEST

START_TEST(device_registers)
{
	pci_config_default(first.function, 0x41, 0x80, 0x0f);
	pci_config_default(first.function, PCI_STATUS, 0x80, 0);
	pci_config_default(first.function, PCI_STATUS + 1, 0x02, 0);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x40, 2), 0x8000);
	machine_pci_write(&machine, 7, 1, 0x40, 4, 0x33333333);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x40, 4), 0x8300);
	ck_assert_uint_eq(pci_config_byte(first.function, 0x41), 0x83);
	pci_config_put(first.function, 0x50, 9);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x50, 1), 9);
	/* Status: ones clear what may be set, and no more. */
	pci_config_put(first.function, PCI_STATUS + 1, 0x22);
	machine_pci_write(&machine, 7, 1, PCI_STATUS, 2, 0xffff);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, PCI_STATUS, 2), 0x0280);
	ck_assert(!pci_bus_master(first.function));
	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 4);
	ck_assert(pci_bus_master(first.function));
	pci_function_reset(first.function);
	ck_assert(!pci_bus_master(first.function));
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0x40, 4), 0x8000);
}
END_TEST

START_TEST(interrupts_take_the_route)
{
	struct irq_controller *irq = machine.env.irq;

	routes[3] = -1;
	routes[0] = 10;
	routes[1] = routes[2] = 11;
	/* Slot 7 leads to PIRQ 2, slot 8 to PIRQ 3. */
	pci_interrupt(first.function, true);
	ck_assert(!irq_gsi_asserted(irq, 11));
	pci_route_set(machine.env.pci, on_route, routes);
	ck_assert(irq_gsi_asserted(irq, 11));
	pci_interrupt(second.function, true);
	ck_assert(!irq_gsi_asserted(irq, 10));
	routes[3] = 11;
	routes[2] = 10;
	pci_routes_changed(machine.env.pci);
	ck_assert(irq_gsi_asserted(irq, 10));
	ck_assert(irq_gsi_asserted(irq, 11));
	routes[3] = 10;
	pci_routes_changed(machine.env.pci);
	ck_assert(!irq_gsi_asserted(irq, 11));
	pci_interrupt(first.function, false);
	ck_assert(irq_gsi_asserted(irq, 10));
	pci_function_reset(second.function);
	ck_assert(!irq_gsi_asserted(irq, 10));
	pci_interrupt(second.function, true);
	pci_route_set(machine.env.pci, NULL, NULL);
	ck_assert(!irq_gsi_asserted(irq, 10));
}
END_TEST

static void *save(const struct probe *probe, struct state_node *node)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	size_t size;
	void *tree;

	state_begin(writer, "device", 1);
	pci_function_save(probe->function, writer);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "device", 1, node), 0);
	return tree;
}

START_TEST(a_function_is_saved_and_restored)
{
	struct state_node node, again;
	void *tree, *restored;

	routes[3] = routes[2] = 11;
	pci_route_set(machine.env.pci, on_route, routes);
	machine_pci_write(&machine, 7, 1, 0x10, 4, 0xc000);
	machine_pci_write(&machine, 7, 1, PCI_COMMAND, 2, 7);
	pci_interrupt(first.function, true);
	tree = save(&first, &node);
	pci_function_reset(first.function);
	ck_assert_int_eq(pci_function_restore(second.function, &node), 0);
	ck_assert_uint_eq(second.moved[0], 0xc000);
	ck_assert(irq_gsi_asserted(machine.env.irq, 11));
	restored = save(&second, &again);
	ck_assert_mem_eq(state_find_bytes(&node, "pci-config", &(size_t){0}),
			 state_find_bytes(&again, "pci-config", &(size_t){0}), PCI_CONFIG_BYTES);
	free(restored);
	free(tree);
	pci_route_set(machine.env.pci, NULL, NULL);
}
END_TEST

START_TEST(another_devices_state_is_refused)
{
	struct state_writer *writer = state_writer_new();
	uint8_t config[PCI_CONFIG_BYTES];
	struct state_node root;
	size_t size;
	void *tree;

	memset(config, 0xff, sizeof(config));
	state_put_bytes(writer, "pci-config", config, sizeof(config));
	state_put_u32(writer, "pci-interrupt", 0);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(pci_function_restore(first.function, &root), -EINVAL);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0, 4), 0x71118086);
	free(tree);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("pci", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_header_is_as_described);
	tcase_add_test(tests, nobody_answers_all_ones);
	tcase_add_test(tests, the_address_register_is_whole);
	tcase_add_test(tests, places_are_taken_once);
	tcase_add_test(tests, bars_tell_their_size);
	tcase_add_test(tests, bars_follow_base_and_command);
	tcase_add_test(tests, bars_stay_in_their_windows);
	tcase_add_test(tests, overlapping_bars_have_one_answer);
	tcase_add_test(tests, device_registers);
	tcase_add_test(tests, interrupts_take_the_route);
	tcase_add_test(tests, a_function_is_saved_and_restored);
	tcase_add_test(tests, another_devices_state_is_refused);
	return suite_run(suite);
}
