#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "machine_fixture.h"
#include "suite.h"

/* The host bridge, and what is at the ports around it. */

#define CONTROL_A     0x92
#define RESET_CONTROL (MACHINE_PORT_PCI_ADDRESS + 1)
#define PAM0	      0x59
#define UNITS	      16

static struct machine a, b;
static struct device_events events;
static enum partition_shadow shadows[UNITS];
static unsigned int shadow_calls;

static void on_shadow(void *context, uint64_t gpa, uint64_t size, enum partition_shadow shadow)
{
	uint64_t first = (gpa - MACHINE_SHADOW_BASE) / MACHINE_SHADOW_UNIT;

	ck_assert_uint_ge(gpa, MACHINE_SHADOW_BASE);
	ck_assert_uint_le(gpa + size, MACHINE_SHADOW_END);
	ck_assert(is_aligned(gpa | size, MACHINE_SHADOW_UNIT));
	for (uint64_t i = 0; i < size / MACHINE_SHADOW_UNIT; i++)
		shadows[first + i] = shadow;
	shadow_calls++;
}

static void init(struct machine *machine)
{
	machine_init(machine);
	machine_add_pci(machine);
	machine->env.events = &events;
}

static void set_up(void)
{
	events = machine_events;
	events.shadow = on_shadow;
	memset(shadows, 0, sizeof(shadows));
	init(&a);
	init(&b);
}

static void tear_down(void)
{
	machine_fini(&b);
	machine_fini(&a);
}

static void destroy(const char *name, void *device)
{
	device_find(name)->destroy(device);
}

/* SeaBIOS knows the machine by these (src/fw/paravirt.c, src/fw/shadow.c). */
START_TEST(the_bridge_is_known)
{
	void *bridge = machine_add(&a, "host_bridge", "{}");

	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 0, 4), 0x12378086);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 0x2c, 4), 0x11001af4);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 8, 4), 0x06000002);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 4, 4), 0x02800006);
	machine_pci_write(&a, 0, 0, 4, 2, 0);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 4, 2), 6);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 0x72, 1), 2);
	destroy("host_bridge", bridge);
}
END_TEST

START_TEST(pam_shows_ram)
{
	void *bridge = machine_add(&a, "host_bridge", "{}");

	machine_pci_write(&a, 0, 0, PAM0, 1, 0xff);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, PAM0, 1), 0x30);
	for (unsigned int i = 0; i < UNITS; i++)
		ck_assert_uint_eq(shadows[i], i < 12 ? SHADOW_FIRMWARE : SHADOW_RAM);
	/* One write to four of them. */
	machine_pci_write(&a, 0, 0, 0x5c, 4, 0x00123321);
	ck_assert_uint_eq(machine_pci_read(&a, 0, 0, 0x5c, 4), 0x00123321);
	ck_assert_uint_eq(shadows[4], SHADOW_READ_ONLY);
	ck_assert_uint_eq(shadows[5], SHADOW_WRITE_ONLY);
	ck_assert_uint_eq(shadows[6], SHADOW_RAM);
	ck_assert_uint_eq(shadows[7], SHADOW_RAM);
	ck_assert_uint_eq(shadows[8], SHADOW_WRITE_ONLY);
	ck_assert_uint_eq(shadows[9], SHADOW_READ_ONLY);
	ck_assert_uint_eq(shadows[10], SHADOW_FIRMWARE);
	shadow_calls = 0;
	machine_pci_write(&a, 0, 0, 0x58, 1, 0xff);
	machine_pci_write(&a, 0, 0, 0x60, 4, 0xff);
	ck_assert_uint_eq(shadow_calls, 0);
	device_find("host_bridge")->reset(bridge);
	for (unsigned int i = 0; i < UNITS; i++)
		ck_assert_uint_eq(shadows[i], SHADOW_FIRMWARE);
	destroy("host_bridge", bridge);
}
END_TEST

START_TEST(the_bridge_is_saved)
{
	void *from = machine_add(&a, "host_bridge", "{}");
	void *to = machine_add(&b, "host_bridge", "{}");

	machine_pci_write(&a, 0, 0, 0x5a, 1, 0x31);
	memset(shadows, 0, sizeof(shadows));
	machine_copy_state("host_bridge", from, to);
	ck_assert_uint_eq(shadows[0], SHADOW_READ_ONLY);
	ck_assert_uint_eq(shadows[1], SHADOW_RAM);
	/* The address register goes with it. */
	ck_assert_uint_eq(machine_in(&b, MACHINE_PORT_PCI_ADDRESS, 4), 0x80000058);
	machine_refuses("host_bridge", to, "pci-address", 0);
	destroy("host_bridge", from);
	destroy("host_bridge", to);
}
END_TEST

START_TEST(control_a_resets_once)
{
	void *control = machine_add(&a, "reset_control", "{}");

	machine_out(&a, CONTROL_A, 1, 0xfe);
	ck_assert_uint_eq(machine_in(&a, CONTROL_A, 1), 2);
	ck_assert_uint_eq(a.resets, 0);
	machine_out(&a, CONTROL_A, 1, 3);
	machine_out(&a, CONTROL_A, 1, 3);
	ck_assert_uint_eq(a.resets, 1);
	machine_out(&a, CONTROL_A, 1, 2);
	machine_out(&a, CONTROL_A, 1, 1);
	ck_assert_uint_eq(a.resets, 2);
	destroy("reset_control", control);
}
END_TEST

START_TEST(reset_control_resets)
{
	void *control = machine_add(&a, "reset_control", "{}");

	machine_out(&a, RESET_CONTROL, 1, 2);
	ck_assert_uint_eq(a.resets, 0);
	machine_out(&a, RESET_CONTROL, 1, 6);
	ck_assert_uint_eq(a.resets, 1);
	ck_assert_uint_eq(machine_in(&a, RESET_CONTROL, 1), 6);
	/* PCI's address register is what it was. */
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_PCI_ADDRESS, 4), 0);
	machine_out(&a, MACHINE_PORT_PCI_ADDRESS, 4, 0x80000600);
	ck_assert_uint_eq(a.resets, 1);
	device_find("reset_control")->reset(control);
	ck_assert_uint_eq(machine_in(&a, RESET_CONTROL, 1), 0);
	destroy("reset_control", control);
	ck_assert_uint_eq(machine_in(&a, RESET_CONTROL, 1), 0xff);
}
END_TEST

START_TEST(reset_registers_are_saved)
{
	void *from = machine_add(&a, "reset_control", "{}");
	void *to = machine_add(&b, "reset_control", "{}");

	machine_out(&a, CONTROL_A, 1, 2);
	machine_out(&a, RESET_CONTROL, 1, 2);
	machine_copy_state("reset_control", from, to);
	ck_assert_uint_eq(machine_in(&b, CONTROL_A, 1), 2);
	ck_assert_uint_eq(machine_in(&b, RESET_CONTROL, 1), 2);
	machine_refuses("reset_control", to, "control-a", 4);
	destroy("reset_control", from);
	destroy("reset_control", to);
}
END_TEST

START_TEST(firmware_writes_its_log)
{
	static const char text[] = "SeaBIOS (version 1)\n";
	char config[32], read_back[64] = "";
	int fds[2];
	void *log;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	snprintf(config, sizeof(config), "{\"fd\": %d}", fds[1]);
	log = machine_add(&a, "firmware_log", config);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_FIRMWARE_LOG, 1), 0xe9);
	for (const char *c = text; *c; c++)
		machine_out(&a, MACHINE_PORT_FIRMWARE_LOG, 1, (uint8_t)*c);
	destroy("firmware_log", log);
	ck_assert_uint_eq(machine_in(&a, MACHINE_PORT_FIRMWARE_LOG, 1), 0xff);
	ck_assert_int_eq(read(fds[0], read_back, sizeof(read_back)), sizeof(text) - 1);
	ck_assert_str_eq(read_back, text);
	ck_assert_int_eq(read(fds[0], read_back, 1), 0);
	close(fds[0]);
}
END_TEST

static void expect_log(void *log, uint64_t bytes_written, uint64_t bytes_lost)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	uint64_t written, lost;
	size_t size;
	void *tree;

	device_find("firmware_log")->inspect(log, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_get_u64(&root, "bytes-written", &written), 0);
	ck_assert_int_eq(state_get_u64(&root, "bytes-lost", &lost), 0);
	ck_assert_uint_eq(written, bytes_written);
	ck_assert_uint_eq(lost, bytes_lost);
	state_writer_free(writer);
	free(tree);
}

/* More than there is room for, and nobody who takes it: the rest is lost, and counted. */
START_TEST(a_flood_of_messages_is_cut)
{
	char config[32];
	void *log;

	snprintf(config, sizeof(config), "{\"fd\": %d}", open("/dev/null", O_WRONLY | O_CLOEXEC));
	log = machine_add(&a, "firmware_log", config);
	for (unsigned int i = 0; i < 65536 + 100; i++)
		machine_out(&a, MACHINE_PORT_FIRMWARE_LOG, 1, 'x');
	expect_log(log, 0, 100);
	destroy("firmware_log", log);
}
END_TEST

/* Nor does it fill the host's disk, however often it is emptied. */
START_TEST(an_endless_log_ends)
{
	const uint64_t most = 16u << 20;
	int fd = memfd_create("log", MFD_CLOEXEC);
	char config[32];
	void *log;

	snprintf(config, sizeof(config), "{\"fd\": %d}", dup(fd));
	log = machine_add(&a, "firmware_log", config);
	for (uint64_t i = 0; i < most + 100; i++) {
		machine_out(&a, MACHINE_PORT_FIRMWARE_LOG, 1, 'x');
		if (i % 65536 == 65535)
			device_find("firmware_log")->save(log, NULL);
	}
	device_find("firmware_log")->save(log, NULL);
	expect_log(log, most, 100);
	/* A restart of the guest does not begin it anew. */
	device_find("firmware_log")->reset(log);
	machine_out(&a, MACHINE_PORT_FIRMWARE_LOG, 1, 'x');
	device_find("firmware_log")->save(log, NULL);
	expect_log(log, most, 101);
	destroy("firmware_log", log);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), (off_t)most);
	close(fd);
}
END_TEST

/* A Generation 2 VM has no bus for them. */
START_TEST(they_need_a_bus)
{
	static const char *const names[] = {"host_bridge", "reset_control"};
	struct device_env env = a.env;
	struct error err = {.text = ""};
	void *device;

	env.pci = NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		ck_assert_int_eq(device_find(names[i])->create(&env, NULL, &device, &err), -ENODEV);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("host_bridge", &tests);

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, the_bridge_is_known);
	tcase_add_test(tests, pam_shows_ram);
	tcase_add_test(tests, the_bridge_is_saved);
	tcase_add_test(tests, control_a_resets_once);
	tcase_add_test(tests, reset_control_resets);
	tcase_add_test(tests, reset_registers_are_saved);
	tcase_add_test(tests, firmware_writes_its_log);
	tcase_add_test(tests, a_flood_of_messages_is_cut);
	tcase_add_test(tests, an_endless_log_ends);
	tcase_add_test(tests, they_need_a_bus);
	return suite_run(suite);
}
