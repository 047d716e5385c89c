#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"

/*
 * What hangs on the serial lines of a 21140A's CSR9: a 93C46 with the adapter's address and media,
 * and the management interface (MDIO, IEEE 802.3 clause 22) of its one PHY, a DP83840A.  Neither
 * locks: the chip does.
 */

/* CSR9: the lines to the ROM ... */
#define TULIP_ROM_SELECT 0x00000001u
#define TULIP_ROM_CLOCK	 0x00000002u
#define TULIP_ROM_IN	 0x00000004u /* to the ROM */
#define TULIP_ROM_OUT	 0x00000008u
#define TULIP_ROM_ENABLE 0x00000800u /* the lines are the ROM's */
/* ... and to the PHY. */
#define TULIP_MDIO_CLOCK 0x00010000u
#define TULIP_MDIO_OUT	 0x00020000u /* to the PHY */
#define TULIP_MDIO_READ	 0x00040000u /* the PHY drives the line */
#define TULIP_MDIO_IN	 0x00080000u

#define TULIP_ROM_WORDS	    64u
#define TULIP_PHY_ADDRESS   1u
#define TULIP_PHY_REGISTERS 32u
#define TULIP_MAC_BYTES	    6u

struct tulip_rom {
	uint16_t words[TULIP_ROM_WORDS];
	uint32_t lines;	  /* as last written */
	uint32_t command; /* bits since the start bit, which is its highest */
	uint32_t sent;	  /* bits of data since the command; 0: none yet */
	uint32_t address; /* of the word that is read */
	bool reading;
	bool out; /* level of the ROM's output */
};

struct tulip_phy {
	uint16_t registers[TULIP_PHY_REGISTERS];
	bool link;	/* now */
	bool link_lost; /* since the status was read */
	uint32_t lines;
	uint32_t frame; /* bits since the start, the latest lowest */
	uint32_t bits;	/* how many; 0: between frames */
	uint16_t data;	/* what is read */
	bool out;
};

/* The ROM of an adapter with that address, in Digital's format 3.0: a controller with one MII PHY,
 * as Linux's drivers/net/ethernet/dec/tulip/eeprom.c parses it. */
void tulip_rom_init(struct tulip_rom *rom, const uint8_t *mac, uint16_t subsystem_vendor,
		    uint16_t subsystem);
/* Its lines as after power-on. */
void tulip_rom_reset(struct tulip_rom *rom);
/* CSR9 is written. */
void tulip_rom_write(struct tulip_rom *rom, uint32_t csr9);
/* What CSR9 shows of it. */
uint32_t tulip_rom_read(const struct tulip_rom *rom);

/* As after power-on; the link stays. */
void tulip_phy_reset(struct tulip_phy *phy);
void tulip_phy_write(struct tulip_phy *phy, uint32_t csr9);
uint32_t tulip_phy_read(const struct tulip_phy *phy);
void tulip_phy_set_link(struct tulip_phy *phy, bool up);
/* Whether frames pass: it has a link, and the guest has not cut it off. */
bool tulip_phy_up(const struct tulip_phy *phy);

/* The lines' state, into the open node; what the ROM contains is no part of it.  -ENOENT or
 * -EINVAL. */
void tulip_serial_save(const struct tulip_rom *rom, const struct tulip_phy *phy,
		       struct state_writer *writer);
int tulip_serial_restore(struct tulip_rom *rom, struct tulip_phy *phy,
			 const struct state_node *node);

/* Ethernet's CRC-32 of data before its last inversion. */
uint32_t tulip_crc(const uint8_t *data, size_t bytes);
