/* A disk on IDE that the bus offers as well: one disk, whichever way the guest takes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/chipset/ata_codes.h"
#include "devices/table.h"
#include "suite.h"
#include "vsc_machine.h"
#include "vsc_state.h"
#include "vsc_stor.h"

#define DISK_BYTES   (4u << 20)
#define SECTOR	     512u
#define COMMAND_PORT 0x170 /* the secondary channel */

static const struct guid ide_class = STORVSP_CLASS_IDE;
static struct vsc_stor stor;
static uint64_t buffer;

static int image(void)
{
	char path[] = "/tmp/test_ide_handover.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	return fd;
}

/* A disk as secondary slave, and a drive beside it. */
static json_t *config(void)
{
	return json_pack("{s:[{s:i, s:i}, {s:i, s:s}]}", "disks", "lun", 3, "fd", image(), "lun", 2,
			 "type", "cdrom");
}

static void setup(void)
{
	vsc_stor_start_device(&stor, &ide_device, &ide_class, 4, 2, config());
	vsc_stor_open(&stor, 0, 32, &stor.channel);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	buffer = vsc_pages(stor.vsc, 1);
}

static void teardown(void)
{
	vsc_stor_stop(&stor);
}

static uint8_t *data(void)
{
	return vsc_pointer(stor.vsc, buffer, SECTOR);
}

static struct vmscsi_request by_bus(bool write, uint8_t target, uint64_t sector)
{
	struct vsc_stor_command command =
		vsc_stor_transfer(write, sector * SECTOR, buffer, SECTOR, 7);

	command.target = target;
	return vsc_stor_execute(&stor, &command);
}

static void put(unsigned int reg, uint32_t size, uint16_t value)
{
	struct io_access access = {
		.address = COMMAND_PORT + reg, .size = size, .write = true, .value = value};

	ck_assert(io_bus_dispatch(stor.vsc->ports, &access));
}

static void out(unsigned int reg, uint8_t value)
{
	put(reg, 1, value);
}

static uint64_t in(unsigned int reg, uint32_t size)
{
	struct io_access access = {.address = COMMAND_PORT + reg, .size = size};

	ck_assert(io_bus_dispatch(stor.vsc->ports, &access));
	return access.value;
}

static void begin_ata(uint8_t command, uint8_t sector)
{
	out(ATA_REG_DEVICE, ATA_DEVICE_LBA | ATA_DEVICE_1);
	out(ATA_REG_COUNT, 1);
	out(ATA_REG_LOW, sector);
	out(ATA_REG_MID, 0);
	out(ATA_REG_HIGH, 0);
	out(ATA_REG_STATUS, command);
	while (in(ATA_REG_STATUS, 1) & ATA_BSY)
		usleep(100);
}

static void read_ata(uint8_t sector, uint8_t *bytes)
{
	begin_ata(ATA_READ_SECTORS, sector);
	ck_assert_uint_eq(in(ATA_REG_STATUS, 1) & (ATA_DRQ | ATA_ERR), ATA_DRQ);
	for (unsigned int i = 0; i < SECTOR; i += 2) {
		uint16_t word = (uint16_t)in(ATA_REG_DATA, 2);

		memcpy(bytes + i, &word, 2);
	}
}

static void write_ata(uint8_t sector, uint8_t value)
{
	begin_ata(ATA_WRITE_SECTORS, sector);
	for (unsigned int i = 0; i < SECTOR / 2; i++)
		put(ATA_REG_DATA, 2, (uint16_t)(value << 8 | value));
	while (in(ATA_REG_STATUS, 1) & ATA_BSY)
		usleep(100);
	ck_assert_uint_eq(in(ATA_REG_STATUS, 1) & ATA_ERR, 0);
}

START_TEST(it_is_one_disk)
{
	uint8_t found[SECTOR];

	memset(data(), 'b', SECTOR);
	ck_assert_uint_eq(by_bus(true, 1, 9).srb_status, SRB_STATUS_SUCCESS);
	read_ata(9, found);
	ck_assert_mem_eq(found, data(), SECTOR);
	write_ata(10, 'a');
	ck_assert_uint_eq(by_bus(false, 1, 10).srb_status, SRB_STATUS_SUCCESS);
	memset(found, 'a', SECTOR);
	ck_assert_mem_eq(data(), found, SECTOR);
}
END_TEST

/* Where its number on the channel is, and nowhere else; the drive is not offered. */
START_TEST(it_is_at_its_place)
{
	static const struct guid instance = GUID_INIT(1, 1, 0x8899, 0, 0, 0, 0, 0, 0, 0, 0);
	const struct vmbus_offer_channel *offer = vsc_find_offer(stor.vsc, &ide_class, 0);

	ck_assert_mem_eq(&offer->instance_id, &instance, sizeof(instance));
	ck_assert_uint_eq(by_bus(false, 0, 0).srb_status & 0x3f, SRB_STATUS_INVALID_LUN);
	ck_assert_uint_eq(vsc_offer_count(stor.vsc), 1);
	ck_assert_uint_eq(vsc_stor_control(&stor, VSTOR_CREATE_SUB_CHANNELS, 1).status,
			  VSTOR_STATUS_INVALID_PARAMETER);
}
END_TEST

START_TEST(a_pause_stills_both_ways)
{
	vsc_stor_call(&stor, stor.ops->quiesce);
	vsc_stor_call(&stor, stor.ops->unquiesce);
	ck_assert_uint_eq(by_bus(false, 1, 0).srb_status, SRB_STATUS_SUCCESS);
	vsc_stor_call(&stor, stor.ops->quiesce);
	vsc_stor_call(&stor, stor.ops->reset);
	vsc_stor_call(&stor, stor.ops->unquiesce);
	/* The protocol begins anew. */
	ck_assert_uint_ne(by_bus(false, 1, 0).srb_status, SRB_STATUS_SUCCESS);
	vsc_stor_initialize(&stor, VSTOR_VERSION_WIN10);
	ck_assert_uint_eq(by_bus(false, 1, 0).srb_status, SRB_STATUS_SUCCESS);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("ide_handover", &tests);

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, it_is_one_disk);
	tcase_add_test(tests, it_is_at_its_place);
	tcase_add_test(tests, a_pause_stills_both_ways);
	return suite_run(suite);
}
