/* The serial ROM and the PHY of the 21140A, by the bits that drivers send. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "devices/chipset/tulip_serial.h"
#include "suite.h"

#define ENABLE (TULIP_ROM_ENABLE | 0x4000u)

static const uint8_t mac[TULIP_MAC_BYTES] = {0x00, 0x15, 0x5d, 0x01, 0x02, 0x03};
static struct tulip_rom rom;
static struct tulip_phy phy;

static void set_up(void)
{
	memset(&phy, 0, sizeof(phy));
	phy.link = true;
	tulip_phy_reset(&phy);
	tulip_rom_init(&rom, mac, 0x0a00, 0x2114);
}

/* A bit to the ROM; what it says when the clock is high. */
static unsigned int rom_bit(unsigned int bit)
{
	uint32_t value = ENABLE | TULIP_ROM_SELECT | (bit ? TULIP_ROM_IN : 0);

	tulip_rom_write(&rom, value);
	tulip_rom_write(&rom, value | TULIP_ROM_CLOCK);
	return tulip_rom_read(&rom) ? 1 : 0;
}

/* All the bits that are seen for a read, as Linux's driver counts them. */
static uint32_t rom_bits(unsigned int address, unsigned int address_bits)
{
	uint32_t command = 6u << address_bits | address, seen = 0;

	tulip_rom_write(&rom, ENABLE);
	for (unsigned int i = 5 + address_bits; i-- > 0;)
		seen = seen << 1 | rom_bit(command >> i & 1);
	for (unsigned int i = 0; i < 16; i++)
		seen = seen << 1 | rom_bit(0);
	tulip_rom_write(&rom, ENABLE);
	return seen;
}

static void read_rom(uint8_t *bytes)
{
	for (unsigned int i = 0; i < TULIP_ROM_WORDS; i++)
		put_le16(bytes + 2 * i, (uint16_t)rom_bits(i, 6));
}

START_TEST(rom_holds_the_adapters_description)
{
	uint8_t bytes[2 * TULIP_ROM_WORDS];
	const uint8_t *leaf;

	read_rom(bytes);
	ck_assert_mem_eq(bytes + 20, mac, sizeof(mac));
	ck_assert_uint_eq(get_le16(bytes), 0x0a00);
	ck_assert_uint_eq(get_le16(bytes + 2), 0x2114);
	ck_assert_uint_eq(bytes[18], 3);
	ck_assert_uint_eq(bytes[19], 1);
	ck_assert_uint_eq(get_le16(bytes + 126), (uint16_t)~tulip_crc(bytes, 126));
	leaf = bytes + bytes[27];
	ck_assert_uint_eq(get_le16(leaf), 0x0800);
	ck_assert_uint_eq(leaf[3], 1);
	/* One extended block of type 1, which fills its length. */
	ck_assert_uint_eq(leaf[4], 0x80 | 12);
	ck_assert_uint_eq(leaf[5], 1);
	ck_assert_uint_eq(get_le16(leaf + 4 + 7), 0x01e0);
	ck_assert_uint_eq(get_le16(leaf + 4 + 11), 0x1800);
	ck_assert_uint_eq(leaf[4 + 13], 0);
}
END_TEST

START_TEST(rom_tells_how_long_its_addresses_are)
{
	/* A driver asks for word 0xff with 8 bits: low after the sixth, so there are 6. */
	ck_assert_uint_eq(rom_bits(0xff, 8) & 0x40000, 0);
	ck_assert_uint_eq(rom_bits(10, 6) & 0xffff, get_le16(mac));
}
END_TEST

START_TEST(rom_reads_on_and_on)
{
	uint32_t word = 0;

	rom_bits(0, 6);
	for (unsigned int i = 9; i-- > 0;)
		rom_bit((6u << 6 | 10) >> i & 1);
	for (unsigned int i = 0; i < 32; i++)
		word = word << 1 | rom_bit(0);
	ck_assert_uint_eq(word, (uint32_t)get_le16(mac) << 16 | get_le16(mac + 2));
}
END_TEST

START_TEST(rom_is_deaf_without_its_select_and_not_written)
{
	/* Writing enabled, and word 10 written. */
	for (unsigned int i = 9; i-- > 0;)
		rom_bit((4u << 6 | 0x30) >> i & 1);
	tulip_rom_write(&rom, ENABLE);
	for (unsigned int i = 25; i-- > 0;)
		rom_bit((5u << 22 | 10u << 16 | 0x5555) >> i & 1);
	tulip_rom_write(&rom, ENABLE);
	ck_assert_uint_eq(rom_bits(10, 6) & 0xffff, get_le16(mac));
	tulip_rom_write(&rom, TULIP_ROM_SELECT | TULIP_ROM_CLOCK);
	ck_assert_uint_eq(tulip_rom_read(&rom), TULIP_ROM_OUT);
}
END_TEST

static void mdio_bit(unsigned int bit)
{
	uint32_t value = bit ? TULIP_MDIO_OUT : 0;

	tulip_phy_write(&phy, value);
	tulip_phy_write(&phy, value | TULIP_MDIO_CLOCK);
}

static void mdio_bits(uint32_t bits, unsigned int count)
{
	for (unsigned int i = 0; i < 33; i++)
		mdio_bit(1);
	for (unsigned int i = count; i-- > 0;)
		mdio_bit(bits >> i & 1);
}

/* What is on the line before each of the next clocks. */
static uint32_t mdio_listen(unsigned int count)
{
	uint32_t seen = 0;

	while (count-- > 0) {
		tulip_phy_write(&phy, TULIP_MDIO_READ);
		seen = seen << 1 | (tulip_phy_read(&phy) ? 1 : 0);
		tulip_phy_write(&phy, TULIP_MDIO_READ | TULIP_MDIO_CLOCK);
	}
	return seen;
}

static uint16_t mdio_read(unsigned int address, unsigned int reg)
{
	mdio_bits(0x36u << 10 | address << 5 | reg, 16);
	return (uint16_t)(mdio_listen(19) >> 1);
}

static void mdio_write(unsigned int address, unsigned int reg, uint16_t value)
{
	mdio_bits(0x5002u << 16 | address << 23 | reg << 18 | value, 32);
	mdio_listen(2);
}

START_TEST(phy_answers_at_its_address_alone)
{
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 0), 0x3000);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1), 0x782d);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 2), 0x2000);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 4), 0x01e1);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 5), 0x41e1);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 31), 0);
	for (unsigned int i = 0; i < 32; i++)
		if (i != TULIP_PHY_ADDRESS)
			ck_assert_uint_eq(mdio_read(i, 1), 0xffff);
}
END_TEST

START_TEST(phy_is_written)
{
	mdio_write(TULIP_PHY_ADDRESS, 4, 0x0061);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 4), 0x0061);
	mdio_write(TULIP_PHY_ADDRESS + 1, 4, 0x0021);
	mdio_write(TULIP_PHY_ADDRESS, 2, 0x0021);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 4), 0x0061);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 2), 0x2000);
	/* Restarting the negotiation is over at once. */
	mdio_write(TULIP_PHY_ADDRESS, 0, 0x1200);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 0), 0x1000);
	mdio_write(TULIP_PHY_ADDRESS, 0, 0x0400);
	ck_assert(!tulip_phy_up(&phy));
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 5), 0);
	mdio_write(TULIP_PHY_ADDRESS, 0, 0x8000);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 0), 0x3000);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 4), 0x01e1);
}
END_TEST

START_TEST(a_lost_link_shows_until_it_is_read)
{
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1) & 4, 4);
	tulip_phy_set_link(&phy, false);
	tulip_phy_set_link(&phy, true);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1) & 4, 0);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1) & 4, 4);
	tulip_phy_set_link(&phy, false);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1), 0x7809);
	ck_assert_uint_eq(mdio_read(TULIP_PHY_ADDRESS, 1), 0x7809);
}
END_TEST

static void *save(const struct tulip_rom *from, const struct tulip_phy *line, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	tulip_serial_save(from, line, writer);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

START_TEST(halfway_through_a_frame_it_is_saved)
{
	struct tulip_rom other_rom;
	struct tulip_phy other_phy = {.link = true};
	struct state_node root;
	size_t size, again_size;
	void *tree, *again;
	uint32_t word = 0;

	tulip_rom_init(&other_rom, mac, 0x0a00, 0x2114);
	tulip_phy_reset(&other_phy);
	mdio_bits(0x36u << 10 | TULIP_PHY_ADDRESS << 5 | 4, 16);
	mdio_listen(10);
	for (unsigned int i = 9; i-- > 0;)
		rom_bit((6u << 6 | 10) >> i & 1);
	rom_bit(0);
	tree = save(&rom, &phy, &size);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(tulip_serial_restore(&other_rom, &other_phy, &root), 0);
	again = save(&other_rom, &other_phy, &again_size);
	ck_assert_uint_eq(size, again_size);
	ck_assert_mem_eq(tree, again, size);
	free(tree);
	free(again);
	phy = other_phy;
	rom = other_rom;
	ck_assert_uint_eq(mdio_listen(9) >> 1 & 0xff, 0x01e1 & 0xff);
	for (unsigned int i = 0; i < 15; i++)
		word = word << 1 | rom_bit(0);
	ck_assert_uint_eq(word, get_le16(mac) & 0x7fff);
}
END_TEST

START_TEST(nonsense_is_not_restored)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	size_t size;
	void *tree;

	rom.sent = 17;
	tulip_serial_save(&rom, &phy, writer);
	ck_assert_int_eq(state_finish(writer, &tree, &size), 0);
	state_writer_free(writer);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(tulip_serial_restore(&rom, &phy, &root), -EINVAL);
	free(tree);
}
END_TEST

int main(void)
{
	TCase *tcase;
	Suite *suite = suite_of("tulip_serial", &tcase);

	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_add_test(tcase, rom_holds_the_adapters_description);
	tcase_add_test(tcase, rom_tells_how_long_its_addresses_are);
	tcase_add_test(tcase, rom_reads_on_and_on);
	tcase_add_test(tcase, rom_is_deaf_without_its_select_and_not_written);
	tcase_add_test(tcase, phy_answers_at_its_address_alone);
	tcase_add_test(tcase, phy_is_written);
	tcase_add_test(tcase, a_lost_link_shows_until_it_is_read);
	tcase_add_test(tcase, halfway_through_a_frame_it_is_saved);
	tcase_add_test(tcase, nonsense_is_not_restored);
	return suite_run(suite);
}
