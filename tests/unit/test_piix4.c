#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "machine_fixture.h"
#include "suite.h"
#include "vmm/machine.h"

#define SLOT	   7u
#define ISA	   0u
#define PM	   3u
#define PM_STATUS  (MACHINE_PORT_PM + 0)
#define PM_ENABLE  (MACHINE_PORT_PM + 2)
#define PM_CONTROL (MACHINE_PORT_PM + 4)
#define PM_TIMER   (MACHINE_PORT_PM + 8)
#define GPE_STATUS (MACHINE_PORT_PM + 12)

#define POWER_BUTTON 0x100u
#define OVERFLOW     0x1u

static struct machine a, b;
static void *isa, *pm;

static void set_up(void)
{
	machine_init(&a);
	machine_add_pci(&a);
	isa = machine_add(&a, "piix4_isa", "{}");
	pm = machine_add(&a, "piix4_pm", "{}");
}

static void tear_down(void)
{
	device_find("piix4_pm")->destroy(pm);
	device_find("piix4_isa")->destroy(isa);
	machine_fini(&a);
}

/* As the firmware sets it up. */
static void place_pm(struct machine *machine)
{
	machine_pci_write(machine, SLOT, PM, PCI_INTERRUPT_LINE, 1, 9);
	machine_pci_write(machine, SLOT, PM, 0x40, 4, MACHINE_PORT_PM | 1);
	machine_pci_write(machine, SLOT, PM, 0x80, 1, 1);
	machine_pci_write(machine, SLOT, PM, 0x90, 4, MACHINE_PORT_SMBUS | 1);
	machine_pci_write(machine, SLOT, PM, 0xd2, 1, 9);
}

static bool sci(struct machine *machine)
{
	return irq_gsi_asserted(machine->env.irq, MACHINE_GSI_SCI);
}

static void ignore_reply(struct device_call *call, json_t *reply)
{
	ck_assert_ptr_nonnull(call);
	json_decref(reply);
}

static void press_power_button(void *device)
{
	const struct device_verb *verb = device_find("piix4_pm")->verbs;
	struct device_call call = {.reply = ignore_reply};

	ck_assert_str_eq(verb->name, "press-power-button");
	verb->handle(device, NULL, &call);
}

START_TEST(the_functions_say_what_they_are)
{
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, ISA, 0, 4), 0x71108086);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, ISA, PCI_CLASS_CODE, 2), 0x0100);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, ISA, PCI_HEADER_TYPE, 1), 0x80);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, ISA, PCI_COMMAND, 2), 7);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, PM, 0, 4), 0x71138086);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, PM, PCI_INTERRUPT_PIN, 1), 1);
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, PM, 0x40, 4), 1);
	/* System management mode counts as set up. */
	ck_assert_uint_eq(machine_pci_read(&a, SLOT, PM, 0x58, 4), 1u << 25);
}
END_TEST

/* An interrupting function of its own, in slot 8: its INTA# is PIRQD#. */
START_TEST(routes_lead_interrupts)
{
	const struct pci_description description = {.vendor = 1, .device = 2, .interrupt_pin = 1};
	struct pci_function *function;

	ck_assert_int_eq(pci_function_new(a.env.pci, 8, 0, &description, &function), 0);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_uint_eq(machine_pci_read(&a, SLOT, ISA, 0x60 + i, 1), 0x80);
	pci_interrupt(function, true);
	ck_assert(!irq_gsi_asserted(a.env.irq, 11));
	machine_pci_write(&a, SLOT, ISA, 0x63, 1, 11);
	ck_assert(irq_gsi_asserted(a.env.irq, 11));
	machine_pci_write(&a, SLOT, ISA, 0x60, 4, 0x0a0b0b0b);
	ck_assert(!irq_gsi_asserted(a.env.irq, 11));
	ck_assert(irq_gsi_asserted(a.env.irq, 10));
	/* The timer's, the keyboard's and the clock's are not to be had. */
	for (unsigned int irq = 0; irq < 16; irq++) {
		bool reserved = irq < 3 || irq == 8 || irq == 13;

		machine_pci_write(&a, SLOT, ISA, 0x63, 1, irq);
		ck_assert(irq_gsi_asserted(a.env.irq, irq) == !reserved);
	}
	machine_pci_write(&a, SLOT, ISA, 0x63, 1, 0x8a);
	ck_assert(!irq_gsi_asserted(a.env.irq, 10));
	machine_pci_write(&a, SLOT, ISA, 0x63, 1, 10);
	device_find("piix4_isa")->reset(isa);
	ck_assert(!irq_gsi_asserted(a.env.irq, 10));
	pci_function_free(function);
}
END_TEST

START_TEST(the_block_is_where_it_was_put)
{
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0xffff);
	machine_out(&a, PM_CONTROL, 2, 0x2000);
	ck_assert_uint_eq(a.power_offs, 0);
	place_pm(&a);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS, 1), 0);
	machine_pci_write(&a, SLOT, PM, 0x40, 4, 0xb001);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0xffff);
	machine_pci_write(&a, SLOT, PM, 0x40, 4, MACHINE_PORT_PM | 1);
	machine_pci_write(&a, SLOT, PM, 0x80, 1, 0);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0xffff);
	machine_pci_write(&a, SLOT, PM, 0xd2, 1, 0);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS, 1), 0xff);
	place_pm(&a);
	device_find("piix4_pm")->reset(pm);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0xffff);
}
END_TEST

START_TEST(acpi_is_asked_for)
{
	place_pm(&a);
	machine_out(&a, MACHINE_PORT_APM_CONTROL, 1, MACHINE_APM_ACPI_ENABLE);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 1);
	machine_out(&a, MACHINE_PORT_APM_CONTROL + 1, 1, MACHINE_APM_ACPI_DISABLE);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 1);
	machine_out(&a, MACHINE_PORT_APM_CONTROL, 1, MACHINE_APM_ACPI_DISABLE);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 0);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_APM_CONTROL, 2),
			  MACHINE_APM_ACPI_DISABLE * 0x101);
}
END_TEST

START_TEST(the_power_button_raises_the_sci)
{
	place_pm(&a);
	press_power_button(pm);
	ck_assert_uint_eq(machine_in(&a, PM_STATUS, 2) & POWER_BUTTON, POWER_BUTTON);
	ck_assert(!sci(&a));
	machine_out(&a, PM_CONTROL, 2, 1);
	ck_assert(!sci(&a));
	machine_out(&a, PM_ENABLE, 2, POWER_BUTTON);
	ck_assert(sci(&a));
	/* Ones clear, zeroes do not. */
	machine_out(&a, PM_STATUS, 2, 0x7eff & ~POWER_BUTTON);
	ck_assert(sci(&a));
	machine_out(&a, PM_STATUS, 2, POWER_BUTTON);
	ck_assert(!sci(&a));
	press_power_button(pm);
	ck_assert(sci(&a));
	machine_out(&a, PM_ENABLE, 2, 0);
	ck_assert(!sci(&a));
	machine_out(&a, PM_ENABLE, 2, POWER_BUTTON);
	device_find("piix4_pm")->reset(pm);
	ck_assert(!sci(&a));
}
END_TEST

START_TEST(s5_powers_off)
{
	place_pm(&a);
	machine_out(&a, PM_CONTROL, 2, 5u << 10 | 0x2000);
	machine_out(&a, PM_CONTROL, 2, 0);
	ck_assert_uint_eq(a.power_offs, 0);
	/* The type stays, the bit that acts on it does not. */
	machine_out(&a, PM_CONTROL, 2, 5u << 10 | 0x2001);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 5u << 10 | 1);
	machine_out(&a, PM_CONTROL, 2, 0x2001);
	ck_assert_uint_eq(a.power_offs, 1);
	machine_out(&a, PM_CONTROL + 1, 1, 0x20);
	ck_assert_uint_eq(a.power_offs, 2);
}
END_TEST

START_TEST(registers_keep_what_is_theirs)
{
	place_pm(&a);
	for (unsigned int offset = 0; offset < 64; offset++) {
		if (offset != 5) /* which would power off */
			machine_out(&a, (uint16_t)(MACHINE_PORT_PM + offset), 1, 0xff);
	}
	ck_assert_uint_eq(machine_in(&a, PM_ENABLE, 2), 0x521);
	ck_assert_uint_eq(machine_in(&a, PM_CONTROL, 2), 3);
	ck_assert_uint_eq(machine_in(&a, GPE_STATUS, 4), 0x0f010000);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_PM + 0x28, 4), 0x07ffffff);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_PM + 0x34, 4), 0xffffffff);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_PM + 0x30, 4), 0);
	ck_assert(!sci(&a));
}
END_TEST

START_TEST(nobody_is_on_the_smbus)
{
	place_pm(&a);
	machine_out(&a, MACHINE_PORT_SMBUS + 4, 1, 0xa1);
	machine_out(&a, MACHINE_PORT_SMBUS + 2, 1, 0x48);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS, 1), 0x04);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS + 2, 1), 0x08);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS + 4, 1), 0xa1);
	machine_out(&a, MACHINE_PORT_SMBUS, 1, 0x04);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_SMBUS, 1), 0);
}
END_TEST

/* A state in which the machine has run for so long, with interrupts of an overflow on. */
static void restore_at(uint64_t ns, uint64_t overflows, int expected)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root, node;
	uint8_t config[PCI_CONFIG_BYTES], registers[64], zeroes[16] = {0};
	size_t size;
	void *tree;

	memset(registers, 0xff, sizeof(registers));
	put_le16(registers, 0);
	put_le16(registers + 2, OVERFLOW);
	put_le32(registers + 12, 0);
	for (unsigned int i = 0; i < sizeof(config); i++)
		config[i] = (uint8_t)machine_pci_read(&a, SLOT, PM, i, 1);
	state_begin(writer, "piix4_pm", 1);
	state_put_bytes(writer, "pci-config", config, sizeof(config));
	state_put_u32(writer, "pci-interrupt", 0);
	state_put_bytes(writer, "registers", registers, sizeof(registers));
	state_put_u64(writer, "time-ns", ns);
	state_put_u64(writer, "overflows", overflows);
	state_put_bytes(writer, "apm", zeroes, 2);
	state_put_bytes(writer, "smbus", zeroes, 16);
	state_end(writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "piix4_pm", 1, &node), 0);
	ck_assert_int_eq(device_find("piix4_pm")->restore(pm, &node), expected);
	free(tree);
}

START_TEST(the_timer_counts_at_its_rate)
{
	uint64_t first;

	place_pm(&a);
	device_find("piix4_pm")->quiesce(pm);
	restore_at(0, 0, 0);
	ck_assert_uint_eq(machine_in(&a, PM_TIMER, 4), 0);
	restore_at(1000000000, 0, 0);
	ck_assert_uint_eq(machine_in(&a, PM_TIMER, 4), 3579545);
	ck_assert_uint_eq(machine_in(&a, PM_TIMER + 1, 2), 3579545 >> 8);
	ck_assert_uint_eq(machine_in(&a, PM_STATUS, 2), 0);
	/* 24 bits of it, also after a year. */
	restore_at(365ull * 86400 * 1000000000, 0, 0);
	ck_assert_uint_eq(machine_in(&a, PM_TIMER, 4), 365ull * 86400 * 3579545 % 0x1000000);
	ck_assert_uint_eq(machine_in(&a, PM_STATUS, 2), OVERFLOW);
	restore_at(UINT64_MAX, 0, -EINVAL);
	restore_at(0, UINT64_MAX, 0);
	ck_assert_uint_eq(machine_in(&a, PM_STATUS, 2), 0);
	first = machine_in(&a, PM_TIMER, 4);
	device_find("piix4_pm")->unquiesce(pm);
	while (machine_in(&a, PM_TIMER, 4) == first)
		;
}
END_TEST

/* Stops the loop once the SCI is there. */
static void look(void *context, uint32_t events)
{
	(void)context;
	(void)events;
	if (sci(&a))
		event_loop_stop(a.env.loop, 1);
}

START_TEST(an_overflow_raises_the_sci)
{
	struct event_source *source;

	place_pm(&a);
	device_find("piix4_pm")->quiesce(pm);
	/* Bit 23 is about to change: 2^23 ticks are 2.3434875 s. */
	restore_at(2343000000, 0, 0);
	ck_assert(!sci(&a));
	ck_assert_int_eq(event_loop_timer(a.env.loop, look, NULL, &source), 0);
	event_timer_arm(source, 1000000, 1000000);
	device_find("piix4_pm")->unquiesce(pm);
	ck_assert_int_eq(event_loop_run(a.env.loop), 1);
	ck_assert_uint_eq(machine_in(&a, PM_STATUS, 2), OVERFLOW);
	machine_out(&a, PM_STATUS, 2, OVERFLOW);
	ck_assert(!sci(&a));
	event_source_remove(source);
}
END_TEST

START_TEST(states_are_the_same)
{
	void *other_isa, *other_pm;

	machine_init(&b);
	machine_add_pci(&b);
	other_isa = machine_add(&b, "piix4_isa", "{}");
	other_pm = machine_add(&b, "piix4_pm", "{}");
	place_pm(&a);
	machine_pci_write(&a, SLOT, ISA, 0x60, 4, 0x0a0b0b0a);
	machine_out(&a, PM_CONTROL, 2, 1);
	machine_out(&a, PM_ENABLE, 2, POWER_BUTTON | OVERFLOW);
	machine_out(&a, MACHINE_PORT_SMBUS + 3, 1, 0x55);
	machine_out(&a, MACHINE_PORT_APM_CONTROL + 1, 1, 0x77);
	press_power_button(pm);
	device_find("piix4_pm")->quiesce(pm);
	device_find("piix4_pm")->quiesce(other_pm);
	machine_copy_state("piix4_isa", isa, other_isa);
	machine_copy_state("piix4_pm", pm, other_pm);
	ck_assert(sci(&b));
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_SMBUS + 3, 1), 0x55);
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_APM_CONTROL + 1, 1), 0x77);
	ck_assert_uint_eq(machine_in(&b, PM_TIMER, 4), machine_in(&a, PM_TIMER, 4));
	ck_assert_uint_eq(machine_pci_read(&b, SLOT, ISA, 0x60, 4), 0x0a0b0b0a);
	machine_refuses("piix4_pm", other_pm, "time-ns", 1);
	machine_refuses("piix4_isa", other_isa, "pci-interrupt", 0);
	device_find("piix4_pm")->destroy(other_pm);
	device_find("piix4_isa")->destroy(other_isa);
	machine_fini(&b);
}
END_TEST

START_TEST(without_a_bus_they_are_refused)
{
	static const char *const names[] = {"piix4_isa", "piix4_pm"};
	struct error err = {.text = ""};
	json_t *config = json_object();
	void *device = NULL;

	machine_init(&b);
	ck_assert_int_eq(device_find(names[_i])->create(&b.env, config, &device, &err), -EINVAL);
	ck_assert_ptr_null(device);
	ck_assert_uint_gt(strlen(err.text), 0);
	json_decref(config);
	machine_fini(&b);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("piix4", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_functions_say_what_they_are);
	tcase_add_test(tests, routes_lead_interrupts);
	tcase_add_test(tests, the_block_is_where_it_was_put);
	tcase_add_test(tests, acpi_is_asked_for);
	tcase_add_test(tests, the_power_button_raises_the_sci);
	tcase_add_test(tests, s5_powers_off);
	tcase_add_test(tests, registers_keep_what_is_theirs);
	tcase_add_test(tests, nobody_is_on_the_smbus);
	tcase_add_test(tests, the_timer_counts_at_its_rate);
	tcase_add_test(tests, an_overflow_raises_the_sci);
	tcase_add_test(tests, states_are_the_same);
	tcase_add_loop_test(tests, without_a_bus_they_are_refused, 0, 2);
	return suite_run(suite);
}
