#include "ide_rig.h"

/* Disks: registers, PIO, errors and resets. */

static uint8_t data[1 << 17];

/* A block of PIO for the host, with the interrupt that announces it. */
static void read_block(unsigned int base, uint8_t *to, unsigned int bytes)
{
	await_interrupt(base);
	ck_assert_uint_eq(in(base + ATA_REG_STATUS), ATA_DRDY | ATA_DSC | ATA_DRQ);
	ck_assert(!asserted(base));
	take_words(base, to, bytes);
}

static void write_blocks(unsigned int count, unsigned int bytes)
{
	for (unsigned int i = 0; i < count; i++) {
		if (i > 0)
			await_interrupt(PRIMARY);
		ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_DRQ);
		give_words(PRIMARY, data + i * bytes, bytes);
	}
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), ATA_DRDY | ATA_DSC);
}

static void fill_data(void)
{
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + i / 256);
}

static uint16_t word(const uint8_t *identity, unsigned int index)
{
	return get_le16(identity + 2 * index);
}

START_TEST(devices_show_what_they_are)
{
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), 1);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_MID), 0);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_STATUS), 0);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_MID), 0x14);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_HIGH), 0xeb);
	/* Device 0 answers for a device 1 that is not there. */
	out(PRIMARY + ATA_REG_DEVICE, 0xb0);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), 0);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_DEVICE), 0xb0);
	out(PRIMARY + ATA_REG_COUNT, 0x55);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_COUNT), 0x55);
	out(PRIMARY + ATA_REG_STATUS, ATA_IDENTIFY);
	ck_assert(!asserted(PRIMARY));
}
END_TEST

START_TEST(ports_are_decoded_as_configured)
{
	machine_pci_write(&machine, 7, 1, 0x40, 4, 0x80000000);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), 0xff);
	ck_assert_uint_eq(in(SECONDARY + ATA_REG_MID), 0x14);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 0, 4), 0x71118086);
	ck_assert_uint_eq(machine_pci_read(&machine, 7, 1, 8, 4) >> 8, 0x010180);
}
END_TEST

START_TEST(previous_contents_are_read_by_hob)
{
	out(PRIMARY + ATA_REG_LOW, 0x12);
	out(PRIMARY + ATA_REG_LOW, 0x34);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_LOW), 0x34);
	out(PRIMARY + 0x206, ATA_CONTROL_HOB);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_LOW), 0x12);
	out(PRIMARY + ATA_REG_COUNT, 1); /* ends it */
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_LOW), 0x34);
}
END_TEST

START_TEST(identify_tells_capacity_and_modes)
{
	uint8_t identity[512], sum = 0;

	lba28(ATA_SET_FEATURES, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	command(PRIMARY, &(struct taskfile){ATA_SET_FEATURES, 3, 0x45, 0, 0xa0});
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	command(PRIMARY, &(struct taskfile){ATA_SET_FEATURES, 3, 0x46, 0, 0xa0});
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	lba28(ATA_IDENTIFY, 0, 0);
	read_block(PRIMARY, identity, 512);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(word(identity, 60), DISK_SECTORS);
	ck_assert_uint_eq(word(identity, 100), DISK_SECTORS);
	ck_assert_uint_eq(word(identity, 1) * word(identity, 3) * word(identity, 6),
			  DISK_SECTORS / 68 * 68);
	ck_assert_uint_eq(word(identity, 88), 0x203f);
	ck_assert_mem_eq(identity + 54, "iVtrau lDH", 10);
	/* No device 1 need be looked for. */
	ck_assert_uint_eq(word(identity, 93) & 0xdf61, 0x4041);
	for (unsigned int i = 0; i < 512; i++)
		sum = (uint8_t)(sum + identity[i]);
	ck_assert_uint_eq(sum, 0);
}
END_TEST

START_TEST(large_disks_have_the_largest_geometry)
{
	struct ata_geometry g = ata_default_geometry(1ull << 32);

	ck_assert_uint_eq(g.cylinders, 16383);
	ck_assert_uint_eq(g.heads, 16);
	ck_assert_uint_eq(g.sectors, 63);
	g = ata_default_geometry(2ull << 21); /* 2 GiB */
	ck_assert_uint_eq(g.cylinders, 4161);
	ck_assert_uint_eq(g.heads, 16);
	ck_assert_uint_eq(g.sectors, 63);
	ck_assert_uint_gt(ata_default_geometry(1).heads, 0);
}
END_TEST

/* 250 sectors are more than the buffer holds. */
START_TEST(pio_reads_sector_by_sector)
{
	lba48(ATA_READ_SECTORS_EXT, 17, 250);
	for (unsigned int i = 0; i < 250; i++)
		read_block(PRIMARY, data + 512 * i, 512);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_mem_eq(data, store.bytes + 17 * 512, 250 * 512);
	ck_assert_uint_eq(sector_of(PRIMARY, true), 17 + 249);
	/* The end of a read is not announced. */
	ck_assert(!asserted(PRIMARY));
}
END_TEST

START_TEST(pio_multiple_moves_several_a_block)
{
	lba28(ATA_READ_MULTIPLE, 5, 20);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(ATA_SET_MULTIPLE, 0, 3);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(ATA_SET_MULTIPLE, 0, 8);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	lba28(ATA_READ_MULTIPLE, 5, 20);
	read_block(PRIMARY, data, 8 * 512);
	read_block(PRIMARY, data + 8 * 512, 8 * 512);
	read_block(PRIMARY, data + 16 * 512, 4 * 512);
	ck_assert_mem_eq(data, store.bytes + 5 * 512, 20 * 512);
	fill_data();
	lba28(ATA_WRITE_MULTIPLE, 100, 16);
	write_blocks(2, 8 * 512);
	ck_assert_mem_eq(data, store.bytes + 100 * 512, 16 * 512);
}
END_TEST

START_TEST(pio_writes_are_on_the_disk_when_it_says_so)
{
	fill_data();
	lba48(ATA_WRITE_SECTORS_EXT, 300, 200);
	ck_assert(!asserted(PRIMARY)); /* the first block is asked for without one */
	write_blocks(200, 512);
	ck_assert_mem_eq(data, store.bytes + 300 * 512, 200 * 512);
	ck_assert_uint_eq(sector_of(PRIMARY, true), 300 + 199);
}
END_TEST

START_TEST(words_of_32_bits)
{
	lba28(ATA_READ_SECTORS, 3, 1);
	await_interrupt(PRIMARY);
	for (unsigned int i = 0; i < 512; i += 4)
		put_le32(data + i, (uint32_t)machine_in(&machine, PRIMARY, 4));
	ck_assert_mem_eq(data, store.bytes + 3 * 512, 512);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(machine_in(&machine, PRIMARY, 2), 0);
}
END_TEST

/* As REP INSW and OUTSW come: what is more than the DRQ block is left to later accesses. */
static uint32_t string_io(bool write, uint8_t *string, uint32_t count)
{
	struct io_access access = {
		.address = PRIMARY, .size = 2, .write = write, .string = string, .count = count};

	io_bus_dispatch(machine.env.ports, &access);
	return access.done;
}

START_TEST(strings_move_at_once)
{
	uint8_t tail[4];

	lba28(ATA_READ_SECTORS, 3, 2);
	await_interrupt(PRIMARY);
	in(PRIMARY + ATA_REG_STATUS);
	ck_assert_uint_eq(string_io(false, data, 200), 200);
	ck_assert_uint_eq(string_io(false, data + 400, 300), 56);
	ck_assert_uint_eq(string_io(false, data + 512, 512), 256);
	ck_assert_mem_eq(data, store.bytes + 3 * 512, 1024);
	ck_assert_uint_eq(string_io(false, tail, 2), 0); /* no data */
	fill_data();
	lba28(ATA_WRITE_SECTORS, 3, 1);
	ck_assert_uint_eq(string_io(true, data, 256), 256);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_mem_eq(data, store.bytes + 3 * 512, 512);
}
END_TEST

static uint8_t read_chs(uint16_t cylinder, uint8_t head, uint8_t sector)
{
	out(PRIMARY + ATA_REG_DEVICE, 0xa0 | head);
	out(PRIMARY + ATA_REG_COUNT, 1);
	out(PRIMARY + ATA_REG_LOW, sector);
	out(PRIMARY + ATA_REG_MID, (uint8_t)cylinder);
	out(PRIMARY + ATA_REG_HIGH, cylinder >> 8);
	out(PRIMARY + ATA_REG_STATUS, ATA_READ_SECTORS);
	return settle(PRIMARY);
}

START_TEST(cylinders_heads_and_sectors)
{
	/* Four heads of 17 sectors, at first. */
	ck_assert_uint_eq(read_chs(2, 3, 5) & ATA_DRQ, ATA_DRQ);
	take_words(PRIMARY, data, 512);
	ck_assert_mem_eq(data, store.bytes + ((2 * 4 + 3) * 17 + 4) * 512, 512);
	/* Another translation. */
	command(PRIMARY, &(struct taskfile){ATA_INITIALIZE_PARAMETERS, 0, 63, 0, 0xaf});
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(read_chs(1, 15, 63) & ATA_DRQ, ATA_DRQ);
	take_words(PRIMARY, data, 512);
	ck_assert_mem_eq(data, store.bytes + ((16 + 15) * 63 + 62) * 512, 512);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_LOW), 63);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_MID), 1);
	/* No such place. */
	ck_assert_uint_eq(read_chs(0, 0, 0) & ATA_ERR, ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_IDNF);
	ck_assert_uint_eq(read_chs(0, 0, 64) & ATA_ERR, ATA_ERR);
	ck_assert_uint_eq(read_chs(0xffff, 15, 1) & ATA_ERR, ATA_ERR);
	command(PRIMARY, &(struct taskfile){ATA_INITIALIZE_PARAMETERS, 0, 0, 0, 0xaf});
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
}
END_TEST

START_TEST(sectors_behind_the_end_are_not_found)
{
	lba28(ATA_READ_SECTORS, DISK_SECTORS, 1);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_IDNF);
	lba28(ATA_WRITE_SECTORS, DISK_SECTORS - 2, 3);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	ck_assert_uint_eq(sector_of(PRIMARY, false), DISK_SECTORS);
	lba48(ATA_READ_DMA_EXT, 0xffffffffffff, 0);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(ATA_SEEK, DISK_SECTORS, 1);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(ATA_SEEK, DISK_SECTORS - 1, 1);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(store.requests, 0);
}
END_TEST

START_TEST(a_read_ends_at_the_sector_that_fails)
{
	store.bad = 45;
	lba28(ATA_READ_SECTORS, 40, 20);
	for (unsigned int i = 0; i < 5; i++)
		read_block(PRIMARY, data + 512 * i, 512);
	ck_assert_mem_eq(data, store.bytes + 40 * 512, 5 * 512);
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_UNC);
	ck_assert_uint_eq(sector_of(PRIMARY, false), 45);
	lba28(ATA_READ_VERIFY, 40, 20);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	ck_assert_uint_eq(sector_of(PRIMARY, false), 45);
	lba28(ATA_READ_VERIFY, 46, 200);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
}
END_TEST

START_TEST(a_write_ends_at_the_sector_that_fails)
{
	fill_data();
	store.bad = 45;
	lba28(ATA_WRITE_SECTORS, 40, 20);
	for (unsigned int i = 0; i < 20; i++) {
		settle(PRIMARY);
		give_words(PRIMARY, data + 512 * i, 512);
	}
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	ck_assert_uint_eq(sector_of(PRIMARY, false), 45);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_COUNT), 15);
	ck_assert_mem_eq(data, store.bytes + 40 * 512, 5 * 512);
}
END_TEST

START_TEST(flush_reaches_the_backend)
{
	lba28(ATA_FLUSH_CACHE, 0, 0);
	await_interrupt(PRIMARY);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(store.flushes, 1);
	store.flush_fails = true;
	lba28(ATA_FLUSH_CACHE_EXT, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	ck_assert_uint_eq(store.flushes, 2);
}
END_TEST

START_TEST(without_a_write_cache_writes_are_forced)
{
	command(PRIMARY, &(struct taskfile){ATA_SET_FEATURES, 0x82, 0, 0, 0xa0});
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(store.flushes, 1);
	lba28(ATA_WRITE_SECTORS, 1, 1);
	write_blocks(1, 512);
	ck_assert_uint_eq(store.forced, 1);
	command(PRIMARY, &(struct taskfile){ATA_SET_FEATURES, 0x02, 0, 0, 0xa0});
	lba28(ATA_WRITE_SECTORS, 1, 1);
	write_blocks(1, 512);
	ck_assert_uint_eq(store.forced, 1);
}
END_TEST

START_TEST(power_and_unknown_commands)
{
	lba28(ATA_CHECK_POWER, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_COUNT), 0xff);
	lba28(ATA_IDLE_IMMEDIATE, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	lba28(ATA_NOP, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(0xf7, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
	lba28(ATA_PACKET, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY) & ATA_ERR, ATA_ERR);
}
END_TEST

START_TEST(nien_keeps_the_interrupt_back)
{
	out(PRIMARY + 0x206, ATA_CONTROL_NIEN);
	lba28(ATA_IDLE_IMMEDIATE, 0, 0);
	ck_assert(!asserted(PRIMARY));
	ck_assert_uint_eq(in(MASTER + 2) & 4, 0);
	out(PRIMARY + 0x206, 0);
	ck_assert(asserted(PRIMARY));
	ck_assert_uint_eq(in(MASTER + 2) & 4, 4);
	alternate(PRIMARY);
	ck_assert(asserted(PRIMARY));
	in(PRIMARY + ATA_REG_STATUS);
	ck_assert(!asserted(PRIMARY));
}
END_TEST

START_TEST(a_reset_waits_for_what_is_in_flight)
{
	store.hold = true;
	lba28(ATA_READ_SECTORS, 40, 20);
	await_held();
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	out(PRIMARY + ATA_REG_STATUS, ATA_IDENTIFY); /* too soon */
	release_held();
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), 1);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_LOW), 1);
	ck_assert(!asserted(PRIMARY));
	lba28(ATA_READ_SECTORS, 40, 1);
	read_block(PRIMARY, data, 512);
	ck_assert_mem_eq(data, store.bytes + 40 * 512, 512);
}
END_TEST

START_TEST(a_reset_ends_a_transfer)
{
	lba28(ATA_READ_SECTORS, 40, 20);
	read_block(PRIMARY, data, 512);
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	out(PRIMARY + 0x206, 0);
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(machine_in(&machine, PRIMARY, 2), 0);
	lba28(ATA_EXECUTE_DIAGNOSTIC, 0, 0);
	ck_assert(asserted(PRIMARY));
	ck_assert_uint_eq(settle(PRIMARY), ATA_DRDY | ATA_DSC);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), 1);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_DEVICE), 0);
}
END_TEST

static void *let_go(void *unused)
{
	release_held();
	return unused;
}

START_TEST(the_machine_resets_with_a_request_in_flight)
{
	pthread_t helper;

	store.hold = true;
	lba28(ATA_READ_SECTORS, 40, 20);
	await_held();
	pthread_create(&helper, NULL, let_go, NULL);
	ide_device.reset(ide);
	pthread_join(helper, NULL);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), 0xff); /* not decoded at power-on */
	machine_pci_write(&machine, 7, 1, 0x40, 4, 0x80008000);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_STATUS), ATA_DRDY | ATA_DSC);
	ck_assert(!asserted(PRIMARY));
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("ide", &test_case);

	tcase_add_checked_fixture(test_case, setup, teardown);
	tcase_add_test(test_case, devices_show_what_they_are);
	tcase_add_test(test_case, ports_are_decoded_as_configured);
	tcase_add_test(test_case, previous_contents_are_read_by_hob);
	tcase_add_test(test_case, identify_tells_capacity_and_modes);
	tcase_add_test(test_case, large_disks_have_the_largest_geometry);
	tcase_add_test(test_case, pio_reads_sector_by_sector);
	tcase_add_test(test_case, pio_multiple_moves_several_a_block);
	tcase_add_test(test_case, pio_writes_are_on_the_disk_when_it_says_so);
	tcase_add_test(test_case, words_of_32_bits);
	tcase_add_test(test_case, strings_move_at_once);
	tcase_add_test(test_case, cylinders_heads_and_sectors);
	tcase_add_test(test_case, sectors_behind_the_end_are_not_found);
	tcase_add_test(test_case, a_read_ends_at_the_sector_that_fails);
	tcase_add_test(test_case, a_write_ends_at_the_sector_that_fails);
	tcase_add_test(test_case, flush_reaches_the_backend);
	tcase_add_test(test_case, without_a_write_cache_writes_are_forced);
	tcase_add_test(test_case, power_and_unknown_commands);
	tcase_add_test(test_case, nien_keeps_the_interrupt_back);
	tcase_add_test(test_case, a_reset_waits_for_what_is_in_flight);
	tcase_add_test(test_case, a_reset_ends_a_transfer);
	tcase_add_test(test_case, the_machine_resets_with_a_request_in_flight);
	return suite_run(suite);
}
