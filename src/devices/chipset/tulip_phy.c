#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"
#include "devices/chipset/tulip_serial.h"

/* Registers and bits as IEEE 802.3 clause 22 has them; no vendor's own. */
enum {
	REG_CONTROL,
	REG_STATUS,
	REG_ID_HIGH,
	REG_ID_LOW,
	REG_ADVERTISE,
	REG_PARTNER,
	REG_EXPANSION,
};

#define CONTROL_RESET	   0x8000
#define CONTROL_LOOPBACK   0x4000
#define CONTROL_SPEED_100  0x2000
#define CONTROL_NEGOTIATE  0x1000
#define CONTROL_POWER_DOWN 0x0800
#define CONTROL_ISOLATE	   0x0400
#define CONTROL_RESTART	   0x0200
#define CONTROL_KEPT	   0x7d80

#define STATUS_ABILITIES  0x7809 /* 100 and 10 Mb/s, both duplexes, negotiation, more registers */
#define STATUS_NEGOTIATED 0x0020
#define STATUS_LINK	  0x0004

#define ID_HIGH 0x2000 /* National DP83840A */
#define ID_LOW	0x5c01

#define ADVERTISE_ALL	   0x01e1
#define ADVERTISE_WRITABLE 0xbfff
#define PARTNER_ALL	   0x41e1 /* and it has seen what we can */
#define EXPANSION_PARTNER  0x0001 /* negotiates */

/* A frame: start 01, two bits that say what, PHY, register, two bits to turn the line around, 16 of
 * data. */
#define FRAME_COMMAND_BITS 14u
#define FRAME_BITS	   32u
#define COMMAND_READ	   6u /* with the start */
#define COMMAND_WRITE	   5u

void tulip_phy_reset(struct tulip_phy *phy)
{
	memset(phy->registers, 0, sizeof(phy->registers));
	phy->registers[REG_CONTROL] = CONTROL_SPEED_100 | CONTROL_NEGOTIATE;
	phy->registers[REG_ADVERTISE] = ADVERTISE_ALL;
	phy->link_lost = !phy->link;
	phy->lines = phy->frame = phy->bits = 0;
	phy->data = 0;
	phy->out = true;
}

bool tulip_phy_up(const struct tulip_phy *phy)
{
	return phy->link && !(phy->registers[REG_CONTROL] & (CONTROL_POWER_DOWN | CONTROL_ISOLATE));
}

void tulip_phy_set_link(struct tulip_phy *phy, bool up)
{
	phy->link_lost = phy->link_lost || !up;
	phy->link = up;
}

/* That the link was lost shows until it was read once. */
static uint16_t read_status(struct tulip_phy *phy)
{
	bool up = tulip_phy_up(phy);
	uint16_t value = STATUS_ABILITIES;

	if (up && phy->registers[REG_CONTROL] & CONTROL_NEGOTIATE)
		value |= STATUS_NEGOTIATED;
	if (up && !phy->link_lost)
		value |= STATUS_LINK;
	phy->link_lost = !up;
	return value;
}

static uint16_t read_register(struct tulip_phy *phy, unsigned int reg)
{
	bool negotiated = tulip_phy_up(phy) && phy->registers[REG_CONTROL] & CONTROL_NEGOTIATE;

	switch (reg) {
	case REG_STATUS:
		return read_status(phy);
	case REG_ID_HIGH:
		return ID_HIGH;
	case REG_ID_LOW:
		return ID_LOW;
	case REG_PARTNER:
		return negotiated ? PARTNER_ALL : 0;
	case REG_EXPANSION:
		return negotiated ? EXPANSION_PARTNER : 0;
	default:
		return phy->registers[reg];
	}
}

static void write_register(struct tulip_phy *phy, unsigned int reg, uint16_t value)
{
	if (reg == REG_ADVERTISE) {
		phy->registers[reg] = value & ADVERTISE_WRITABLE;
	} else if (reg == REG_CONTROL && value & CONTROL_RESET) {
		phy->registers[REG_CONTROL] = CONTROL_SPEED_100 | CONTROL_NEGOTIATE;
		phy->registers[REG_ADVERTISE] = ADVERTISE_ALL;
	} else if (reg == REG_CONTROL) {
		phy->registers[reg] = value & CONTROL_KEPT;
	}
}

static unsigned int field(const struct tulip_phy *phy, unsigned int behind)
{
	return phy->frame >> (phy->bits - behind) & 0x1f;
}

static bool addressed(const struct tulip_phy *phy)
{
	return field(phy, 9) == TULIP_PHY_ADDRESS;
}

/* The line turns around a bit later, then the data comes, and then nobody drives it. */
static void give_bit(struct tulip_phy *phy)
{
	unsigned int sent = phy->bits - FRAME_COMMAND_BITS;

	if (sent < 2 || sent >= 18)
		phy->out = sent != 1;
	else
		phy->out = phy->data >> (17 - sent) & 1;
}

static bool is_read(const struct tulip_phy *phy)
{
	return phy->bits >= FRAME_COMMAND_BITS && phy->frame >> (phy->bits - 4) == COMMAND_READ &&
	       addressed(phy);
}

static void take_bit(struct tulip_phy *phy, bool bit)
{
	/* Ones stand before a frame, and its start is 01. */
	if ((phy->bits == 0 && bit) || (phy->bits == 1 && !bit)) {
		phy->bits = 0;
		return;
	}
	phy->frame = (phy->bits ? phy->frame << 1 : 0) | bit;
	phy->bits++;
	if (phy->bits == FRAME_COMMAND_BITS && is_read(phy))
		phy->data = read_register(phy, field(phy, FRAME_COMMAND_BITS));
	if (is_read(phy))
		give_bit(phy);
	if (phy->bits < FRAME_BITS)
		return;
	if (phy->frame >> (FRAME_BITS - 4) == COMMAND_WRITE && addressed(phy))
		write_register(phy, field(phy, FRAME_COMMAND_BITS), (uint16_t)phy->frame);
	phy->bits = phy->frame = 0;
	phy->out = true;
}

void tulip_phy_write(struct tulip_phy *phy, uint32_t csr9)
{
	uint32_t lines = csr9 & (TULIP_MDIO_CLOCK | TULIP_MDIO_OUT | TULIP_MDIO_READ);

	/* A line that nobody drives is pulled up. */
	if (lines & ~phy->lines & TULIP_MDIO_CLOCK)
		take_bit(phy, lines & (TULIP_MDIO_OUT | TULIP_MDIO_READ));
	phy->lines = lines;
}

uint32_t tulip_phy_read(const struct tulip_phy *phy)
{
	return phy->out ? TULIP_MDIO_IN : 0;
}

void tulip_serial_save(const struct tulip_rom *rom, const struct tulip_phy *phy,
		       struct state_writer *writer)
{
	state_put_u32(writer, "rom-lines", rom->lines);
	state_put_u32(writer, "rom-command", rom->command);
	state_put_u32(writer, "rom-sent", rom->sent);
	state_put_u32(writer, "rom-address", rom->address);
	state_put_u32(writer, "rom-reading", rom->reading);
	state_put_u32(writer, "rom-out", rom->out);
	state_put_u32(writer, "phy-control", phy->registers[REG_CONTROL]);
	state_put_u32(writer, "phy-advertise", phy->registers[REG_ADVERTISE]);
	state_put_u32(writer, "phy-link-lost", phy->link_lost);
	state_put_u32(writer, "mdio-lines", phy->lines);
	state_put_u32(writer, "mdio-frame", phy->frame);
	state_put_u32(writer, "mdio-bits", phy->bits);
	state_put_u32(writer, "mdio-data", phy->data);
	state_put_u32(writer, "mdio-out", phy->out);
}

int tulip_serial_restore(struct tulip_rom *rom, struct tulip_phy *phy,
			 const struct state_node *node)
{
	uint32_t lines, command, sent, address, reading, rom_out;
	uint32_t control, advertise, lost, mdio, frame, bits, data, mdio_out;
	const struct {
		const char *name;
		uint32_t *value;
		uint32_t max;
	} fields[] = {
		{"rom-lines", &lines, TULIP_ROM_SELECT | TULIP_ROM_CLOCK | TULIP_ROM_IN},
		{"rom-command", &command, (1u << 9) - 1},
		{"rom-sent", &sent, 16},
		{"rom-address", &address, TULIP_ROM_WORDS - 1},
		{"rom-reading", &reading, 1},
		{"rom-out", &rom_out, 1},
		{"phy-control", &control, UINT16_MAX},
		{"phy-advertise", &advertise, UINT16_MAX},
		{"phy-link-lost", &lost, 1},
		{"mdio-lines", &mdio, TULIP_MDIO_CLOCK | TULIP_MDIO_OUT | TULIP_MDIO_READ},
		{"mdio-frame", &frame, UINT32_MAX},
		{"mdio-bits", &bits, FRAME_BITS - 1},
		{"mdio-data", &data, UINT16_MAX},
		{"mdio-out", &mdio_out, 1},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		int r = state_get_u32(node, fields[i].name, fields[i].value);

		if (r < 0)
			return r;
		if (*fields[i].value > fields[i].max)
			return -EINVAL;
	}
	rom->lines = lines;
	rom->command = command;
	rom->sent = sent;
	rom->address = address;
	rom->reading = reading;
	rom->out = rom_out;
	phy->registers[REG_CONTROL] = (uint16_t)control & CONTROL_KEPT;
	phy->registers[REG_ADVERTISE] = (uint16_t)advertise & ADVERTISE_WRITABLE;
	/* Of two hosts, the one it wakes up on may have no link. */
	phy->link_lost = lost || !phy->link;
	phy->lines = mdio;
	phy->frame = frame;
	phy->bits = bits;
	phy->data = (uint16_t)data;
	phy->out = mdio_out;
	return 0;
}
