#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "suite.h"
#include "vmm/irq.h"
#include "vmm/machine.h"

static struct irq_controller *controller;

static void set_up(void)
{
	ck_assert_int_eq(irq_controller_new(NULL, &controller), 0);
}

static void tear_down(void)
{
	irq_controller_free(controller);
}

static unsigned int raised(const struct irq_msi *msi)
{
	eventfd_t count;

	return eventfd_read(irq_msi_fd(msi), &count) == 0 ? (unsigned int)count : 0;
}

START_TEST(lines)
{
	struct irq_line *line = NULL;

	ck_assert_int_eq(irq_line_new(controller, MACHINE_GSI_COUNT, &line), -EINVAL);
	ck_assert_ptr_null(line);
	ck_assert_int_eq(irq_line_new(controller, MACHINE_GSI_COM1, &line), 0);
	irq_line_raise(line);
	irq_line_free(line);
}
END_TEST

START_TEST(levels_at_one_gsi_are_ored)
{
	struct irq_level *first, *second, *none = NULL;

	ck_assert_int_eq(irq_level_new(controller, MACHINE_GSI_COUNT, &none), -EINVAL);
	ck_assert_ptr_null(none);
	ck_assert_int_eq(irq_level_new(controller, 11, &first), 0);
	ck_assert_int_eq(irq_level_new(controller, 11, &second), 0);
	irq_level_set(first, true);
	irq_level_set(first, true);
	irq_level_set(second, true);
	irq_level_set(first, false);
	ck_assert(!irq_level_asserted(first));
	ck_assert(irq_level_asserted(second));
	ck_assert(irq_gsi_asserted(controller, 11));
	ck_assert(!irq_gsi_asserted(controller, 10));
	irq_level_free(second);
	ck_assert(!irq_gsi_asserted(controller, 11));
	irq_level_free(first);
}
END_TEST

START_TEST(raising_needs_a_route)
{
	struct irq_msi *msi;

	ck_assert_int_eq(irq_msi_new(controller, &msi), 0);
	irq_msi_raise(msi);
	ck_assert_int_eq(irq_msi_fd(msi), -1);
	ck_assert_int_eq(irq_msi_set(msi, 256, 0x50), -EINVAL);
	ck_assert_int_eq(irq_msi_set(msi, 1, 0x50), 0);
	ck_assert_uint_eq(raised(msi), 0);
	irq_msi_raise(msi);
	irq_msi_raise(msi);
	ck_assert_uint_eq(raised(msi), 2);
	ck_assert_int_eq(irq_msi_set(msi, 2, 0x51), 0);
	irq_msi_raise(msi);
	irq_msi_clear(msi);
	irq_msi_raise(msi);
	ck_assert_uint_eq(raised(msi), 0);
	irq_msi_clear(msi);
	irq_msi_free(msi);
}
END_TEST

/* More interrupts than KVM has GSIs exist at once, but only so many have a route. */
START_TEST(routes_are_shared_out)
{
	enum { COUNT = 4096 };
	static struct irq_msi *msis[COUNT];
	struct rlimit files;
	unsigned int set = 0;
	int rc;

	/* Each route takes a descriptor. */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < COUNT)
		return;
	for (unsigned int i = 0; i < COUNT; i++)
		ck_assert_int_eq(irq_msi_new(controller, &msis[i]), 0);
	do {
		rc = irq_msi_set(msis[set], 0, 0x40);
		set += rc == 0;
	} while (rc == 0 && set < COUNT);
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_ge(set, MACHINE_MAX_VPS * 20);

	irq_msi_clear(msis[3]);
	ck_assert_int_eq(irq_msi_set(msis[set], 0, 0x40), 0);
	ck_assert_int_eq(irq_msi_set(msis[3], 0, 0x40), -ENOSPC);
	irq_msi_free(msis[set]);
	ck_assert_int_eq(irq_msi_set(msis[3], 0, 0x40), 0);
	irq_msi_raise(msis[3]);
	ck_assert_uint_eq(raised(msis[3]), 1);

	for (unsigned int i = 0; i < COUNT; i++) {
		if (i != set)
			irq_msi_free(msis[i]);
	}
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("irq", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, lines);
	tcase_add_test(tests, levels_at_one_gsi_are_ored);
	tcase_add_test(tests, raising_needs_a_route);
	tcase_add_test(tests, routes_are_shared_out);
	return suite_run(suite);
}
