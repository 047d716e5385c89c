#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "suite.h"
#include "vmm/io_bus.h"

static struct io_bus *bus;

static void set_up(void)
{
	ck_assert_int_eq(io_bus_new(IO_PORT, NULL, &bus), 0);
}

static void tear_down(void)
{
	io_bus_free(bus);
}

struct chip {
	uint64_t stored;
	uint64_t offset;
	unsigned int calls;
};

static void chip_access(void *context, struct io_access *access)
{
	struct chip *chip = context;

	chip->calls++;
	chip->offset = access->offset;
	if (access->write)
		chip->stored = access->value;
	else
		access->value = chip->stored;
}

static bool dispatch(uint64_t address, uint32_t size, bool write, uint64_t *value)
{
	struct io_access access = {
		.address = address, .size = size, .write = write, .value = *value};
	bool found = io_bus_dispatch(bus, &access);

	*value = access.value;
	return found;
}

START_TEST(reaches_the_region)
{
	struct chip a = {0}, b = {0};
	uint64_t value = 0x1234;

	ck_assert_int_eq(io_bus_add(bus, 0x20, 4, chip_access, &a), 0);
	ck_assert_int_eq(io_bus_add(bus, 0x10, 16, chip_access, &b), 0);
	ck_assert(dispatch(0x22, 2, true, &value));
	ck_assert_uint_eq(a.stored, 0x1234);
	ck_assert_uint_eq(a.offset, 2);
	ck_assert_uint_eq(b.calls, 0);
	value = 0;
	ck_assert(dispatch(0x20, 1, false, &value));
	ck_assert_uint_eq(value, 0x34);
	ck_assert(dispatch(0x1f, 1, false, &value));
	ck_assert_uint_eq(b.offset, 15);
}
END_TEST

START_TEST(nobody_there)
{
	static const struct {
		uint32_t size;
		uint64_t ones;
	} reads[] = {{1, 0xff}, {2, 0xffff}, {4, 0xffffffff}, {8, UINT64_MAX}};
	struct chip chip = {0};
	uint64_t value = 0;

	io_bus_add(bus, 0x20, 4, chip_access, &chip);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert(!dispatch(0x10, reads[i].size, false, &value));
		ck_assert_uint_eq(value, reads[i].ones);
	}
	/* Across the region's end, and after it. */
	ck_assert(!dispatch(0x23, 2, false, &value));
	ck_assert(!dispatch(0x24, 1, true, &value));
	ck_assert_uint_eq(chip.calls, 0);
	io_bus_remove(bus, 0x20);
	ck_assert(!dispatch(0x20, 1, false, &value));
}
END_TEST

START_TEST(ranges_refused)
{
	struct chip chip = {0};
	int rc = 0;

	ck_assert_int_eq(io_bus_add(bus, 0x20, 4, chip_access, &chip), 0);
	ck_assert_int_eq(io_bus_add(bus, 0x20, 1, chip_access, &chip), -EEXIST);
	ck_assert_int_eq(io_bus_add(bus, 0x23, 1, chip_access, &chip), -EEXIST);
	ck_assert_int_eq(io_bus_add(bus, 0x1f, 2, chip_access, &chip), -EEXIST);
	ck_assert_int_eq(io_bus_add(bus, 0x10, 0x100, chip_access, &chip), -EEXIST);
	ck_assert_int_eq(io_bus_add(bus, 0x30, 0, chip_access, &chip), -EINVAL);
	ck_assert_int_eq(io_bus_add(bus, 0xffff, 2, chip_access, &chip), -EINVAL);
	ck_assert_int_eq(io_bus_add(bus, UINT64_MAX, 2, chip_access, &chip), -EINVAL);
	ck_assert_int_eq(io_bus_add(bus, 0xffff, 1, chip_access, &chip), 0);
	for (uint64_t port = 0x100; rc == 0; port++)
		rc = io_bus_add(bus, port, 1, chip_access, &chip);
	ck_assert_int_eq(rc, -ENOSPC);
}
END_TEST

START_TEST(doorbells_match_exactly)
{
	struct chip chip = {0};
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t value = 7;
	eventfd_t count;

	io_bus_add(bus, 0xe0, 4, chip_access, &chip);
	ck_assert_int_eq(io_bus_add_eventfd(bus, 0xe0, 4, 7, fd), 0);
	ck_assert_int_eq(io_bus_add_eventfd(bus, 0xe0, 4, 7, fd), -EEXIST);
	ck_assert(dispatch(0xe0, 4, true, &value));
	ck_assert_uint_eq(chip.calls, 0);
	ck_assert_int_eq(eventfd_read(fd, &count), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert(dispatch(0xe0, 2, true, &value));
	value = 8;
	ck_assert(dispatch(0xe0, 4, true, &value));
	ck_assert_uint_eq(chip.calls, 2);
	io_bus_remove_eventfd(bus, 0xe0, 4, 7, fd);
	value = 7;
	ck_assert(dispatch(0xe0, 4, true, &value));
	ck_assert_uint_eq(chip.calls, 3);
	ck_assert_int_ne(eventfd_read(fd, &count), 0);
	close(fd);
}
END_TEST

START_TEST(doorbells_end)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	int rc = 0;
	uint64_t id = 0;

	while (rc == 0)
		rc = io_bus_add_eventfd(bus, 0xe0, 4, id++, fd);
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_lt(id, 1000);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("io_bus", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, reaches_the_region);
	tcase_add_test(tests, nobody_there);
	tcase_add_test(tests, ranges_refused);
	tcase_add_test(tests, doorbells_match_exactly);
	tcase_add_test(tests, doorbells_end);
	return suite_run(suite);
}
