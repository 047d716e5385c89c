#include "ide_rig.h"

/* Disks by the bus master, and what comes of tables that are wrong. */

#define ACTIVE	  1
#define ERROR	  2
#define INTERRUPT 4
#define READY	  (ATA_DRDY | ATA_DSC)

static uint8_t data[1 << 21];

static void fetch(uint32_t address, uint8_t *to, size_t bytes)
{
	ck_assert_int_eq(gpa_read(machine.env.gpa, address, to, bytes), 0);
}

/* A table that scatters count bytes from DATA on in pieces, each a page behind the one before. */
static void scatter(uint32_t piece, uint32_t count)
{
	unsigned int n = count / piece;

	for (unsigned int i = 0; i < n; i++)
		descriptor(i, DATA + i * (piece + 4096), (uint16_t)piece, i == n - 1);
}

static void expect_scattered(const uint8_t *expected, uint32_t piece, uint32_t count)
{
	for (uint32_t i = 0; i < count / piece; i++) {
		fetch(DATA + i * (piece + 4096), data, piece);
		ck_assert_mem_eq(data, expected + i * piece, piece);
	}
}

static uint8_t finish(void)
{
	uint8_t status;

	await_interrupt(PRIMARY);
	status = in(MASTER + 2);
	stop_master(PRIMARY);
	return status;
}

/* Pieces that are whole sectors, that are not, and the smallest that there are. */
static const uint32_t pieces[] = {65536, 4096, 512, 768, 130, 2};

START_TEST(reads_scatter)
{
	uint32_t piece = pieces[_i], sectors = piece == 2 ? 2 : piece == 65536 ? 256 : 195;
	uint32_t count = sectors * 512 / piece * piece;

	sectors = count / 512;
	if (count % 512 != 0) /* the last piece is larger than what is left of the command */
		sectors++;
	scatter(piece, piece * ((sectors * 512 + piece - 1) / piece));
	lba48(ATA_READ_DMA_EXT, 33, (uint16_t)sectors);
	ck_assert_uint_eq(alternate(PRIMARY), READY | ATA_DRQ);
	start_master(PRIMARY, true);
	finish();
	ck_assert_uint_eq(settle(PRIMARY), READY);
	expect_scattered(store.bytes + 33 * 512, piece, count);
	ck_assert_uint_eq(sector_of(PRIMARY, true), 33 + sectors - 1);
}
END_TEST

START_TEST(writes_gather)
{
	for (size_t i = 0; i < 4 * 65536; i++)
		data[i] = (uint8_t)(i * 3 + i / 512);
	ck_assert_int_eq(gpa_write(machine.env.gpa, DATA, data, 4 * 65536), 0);
	for (unsigned int i = 0; i < 4; i++)
		descriptor(i, DATA + i * 65536, 0, i == 3);
	start_master(PRIMARY, false); /* before the command */
	ck_assert_uint_eq(in(MASTER + 2) & 7, ACTIVE);
	lba48(ATA_WRITE_DMA_EXT, 100, 512);
	ck_assert_uint_eq(finish() & 7, INTERRUPT);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_mem_eq(data, store.bytes + 100 * 512, 4 * 65536);
	ck_assert_uint_eq(store.forced, 0);
	start_master(PRIMARY, false);
	lba48(ATA_WRITE_DMA_FUA_EXT, 100, 8);
	finish();
	ck_assert_uint_eq(store.forced, 1);
}
END_TEST

/* More than a request to a backend moves. */
START_TEST(large_reads)
{
	for (unsigned int i = 0; i < 48; i++)
		descriptor(i, DATA + i * 65536, 0, i == 47);
	lba28(ATA_READ_DMA, 0, 0);
	start_master(PRIMARY, true);
	ck_assert_uint_eq(finish() & 7, ACTIVE | INTERRUPT); /* the table is longer */
	ck_assert_uint_eq(settle(PRIMARY), READY);
	lba48(ATA_READ_DMA_EXT, 7, 6144);
	start_master(PRIMARY, true);
	ck_assert_uint_eq(finish() & 7, INTERRUPT);
	for (unsigned int i = 0; i < 3; i++) {
		fetch(DATA + (i << 20), data, 1 << 20);
		ck_assert_mem_eq(data, store.bytes + 7 * 512 + (i << 20), 1 << 20);
	}
}
END_TEST

START_TEST(a_table_that_is_too_short_stalls)
{
	descriptor(0, DATA, 1024, true);
	lba28(ATA_READ_DMA, 9, 4);
	start_master(PRIMARY, true);
	while (in(MASTER + 2) & ACTIVE || alternate(PRIMARY) & ATA_BSY)
		usleep(50);
	ck_assert_uint_eq(in(MASTER + 2) & 7, 0);
	ck_assert_uint_eq(alternate(PRIMARY), READY | ATA_DRQ);
	ck_assert(!asserted(PRIMARY));
	fetch(DATA, data, 1024);
	ck_assert_mem_eq(data, store.bytes + 9 * 512, 1024);
	/* Another table goes on where that one ended. */
	stop_master(PRIMARY);
	start_master(PRIMARY, true);
	ck_assert_uint_eq(finish() & 7, INTERRUPT);
	fetch(DATA, data, 1024);
	ck_assert_mem_eq(data, store.bytes + 11 * 512, 1024);
	ck_assert_uint_eq(settle(PRIMARY), READY);
}
END_TEST

START_TEST(memory_that_is_none)
{
	static const uint32_t places[] = {RAM_BYTES, 0xfee00000, RAM_BYTES - 512, 0xfffffffe};

	descriptor(0, places[_i], 4096, true);
	lba28(_i & 1 ? ATA_READ_DMA : ATA_WRITE_DMA, 9, 8);
	start_master(PRIMARY, _i & 1);
	ck_assert_uint_eq(finish() & 7, ERROR | INTERRUPT);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	out(MASTER + 2, 0x66);
	ck_assert_uint_eq(in(MASTER + 2), 0x60);
}
END_TEST

START_TEST(a_table_outside_of_memory)
{
	lba28(ATA_READ_DMA, 9, 8);
	machine_out(&machine, MASTER + 4, 4, 0xf0000003);
	ck_assert_uint_eq(machine_in(&machine, MASTER + 4, 4), 0xf0000000);
	out(MASTER, 9);
	ck_assert_uint_eq(finish() & 7, ERROR | INTERRUPT);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
}
END_TEST

START_TEST(a_failure_names_its_sector)
{
	uint8_t code = _i ? ATA_WRITE_DMA_EXT : ATA_READ_DMA_EXT;

	store.bad = 1234;
	scatter(768, 96 * 512);
	lba48(code, 1200, 96);
	start_master(PRIMARY, !_i);
	ck_assert_uint_eq(finish() & ERROR, 0);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), _i ? ATA_ABRT : ATA_UNC);
	ck_assert_uint_eq(sector_of(PRIMARY, true), 1234);
	/* What lies before it was moved. */
	if (!_i)
		expect_scattered(store.bytes + 1200 * 512, 768, 33 * 512);
}
END_TEST

START_TEST(no_dma_before_the_guest_allows_it)
{
	machine_pci_write(&machine, 7, 1, 0x04, 2, 1);
	descriptor(0, DATA, 512, true);
	lba28(ATA_READ_DMA, 9, 1);
	start_master(PRIMARY, true);
	ck_assert_uint_eq(alternate(PRIMARY), READY | ATA_DRQ);
	ck_assert_uint_eq(store.requests, 0);
	machine_pci_write(&machine, 7, 1, 0x04, 2, 5);
	ck_assert_uint_eq(finish() & 7, INTERRUPT);
	ck_assert_uint_eq(settle(PRIMARY), READY);
}
END_TEST

START_TEST(a_reset_ends_dma)
{
	store.hold = true;
	descriptor(0, DATA, 512, true);
	lba28(ATA_READ_DMA, 9, 1);
	start_master(PRIMARY, true);
	await_held();
	stop_master(PRIMARY);
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	ck_assert_uint_eq(alternate(PRIMARY), ATA_BSY);
	release_held();
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert(!asserted(PRIMARY));
	/* One that waits for the master is over at once. */
	lba28(ATA_READ_DMA, 9, 1);
	out(PRIMARY + 0x206, ATA_CONTROL_SRST);
	out(PRIMARY + 0x206, 0);
	ck_assert_uint_eq(alternate(PRIMARY), READY);
	start_master(PRIMARY, true);
	ck_assert_uint_eq(store.requests, 1);
}
END_TEST

static void setup_discard(void)
{
	setup();
	free_ide(&machine, ide);
	store.discard = true;
	make_ide(&machine, &ide);
}

START_TEST(trim_discards_ranges)
{
	uint8_t ranges[512] = {0};

	put_le64(ranges, 100 | 8ull << 48);
	put_le64(ranges + 16, 5000 | 1ull << 48);
	ck_assert_int_eq(gpa_write(machine.env.gpa, DATA, ranges, 512), 0);
	descriptor(0, DATA, 512, true);
	command(PRIMARY, &(struct taskfile){ATA_DATA_SET_MANAGEMENT, 1, 1, 0, 0xe0});
	start_master(PRIMARY, false);
	ck_assert_uint_eq(finish() & 7, INTERRUPT);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_uint_eq(store.discards, 2);
	ck_assert_uint_eq(store.bytes[100 * 512 + 1], 0);
	ck_assert_uint_eq(store.bytes[5000 * 512 + 1], 0);
	put_le64(ranges, (DISK_SECTORS - 1) | 2ull << 48);
	ck_assert_int_eq(gpa_write(machine.env.gpa, DATA, ranges, 512), 0);
	command(PRIMARY, &(struct taskfile){ATA_DATA_SET_MANAGEMENT, 1, 1, 0, 0xe0});
	start_master(PRIMARY, false);
	finish();
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(store.discards, 2);
	command(PRIMARY, &(struct taskfile){ATA_DATA_SET_MANAGEMENT, 1, 9, 0, 0xe0});
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
}
END_TEST

static void setup_read_only(void)
{
	setup();
	free_ide(&machine, ide);
	store.read_only = true;
	make_ide(&machine, &ide);
}

START_TEST(a_disk_for_reading_takes_no_writes)
{
	lba28(ATA_WRITE_DMA, 1, 1);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	lba28(ATA_WRITE_SECTORS, 1, 1);
	ck_assert_uint_eq(settle(PRIMARY), READY | ATA_ERR);
	ck_assert_uint_eq(in(PRIMARY + ATA_REG_ERROR), ATA_ABRT);
	lba28(ATA_FLUSH_CACHE, 0, 0);
	ck_assert_uint_eq(settle(PRIMARY), READY);
	ck_assert_uint_eq(store.requests, 0);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, SFun set_up)
{
	TCase *test_case = tcase_create(name);

	tcase_add_checked_fixture(test_case, set_up, teardown);
	suite_add_tcase(suite, test_case);
	return test_case;
}

int main(void)
{
	Suite *suite = suite_create("ide_dma");
	TCase *test_case = add_case(suite, "dma", setup);

	tcase_add_loop_test(test_case, reads_scatter, 0, ARRAY_LENGTH(pieces));
	tcase_add_test(test_case, writes_gather);
	tcase_add_test(test_case, large_reads);
	tcase_add_test(test_case, a_table_that_is_too_short_stalls);
	tcase_add_loop_test(test_case, memory_that_is_none, 0, 4);
	tcase_add_test(test_case, a_table_outside_of_memory);
	tcase_add_loop_test(test_case, a_failure_names_its_sector, 0, 2);
	tcase_add_test(test_case, no_dma_before_the_guest_allows_it);
	tcase_add_test(test_case, a_reset_ends_dma);
	tcase_add_test(add_case(suite, "trim", setup_discard), trim_discards_ranges);
	tcase_add_test(add_case(suite, "read-only", setup_read_only),
		       a_disk_for_reading_takes_no_writes);
	return suite_run(suite);
}
