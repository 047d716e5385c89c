#include <string.h>

#include "base/wire.h"
#include "devices/chipset/tulip_internal.h"

/*
 * A setup frame has 16 bits of use in each 32: 16 addresses, or 512 bits of a hash table and an
 * address behind them.  Broadcasts need their entry like any other address.
 */

#define HASH_ADDRESS 156u /* offset of the address behind a hash table */
#define HASH_MASK    511u

static void read_address(const uint8_t *setup, uint8_t *address)
{
	for (unsigned int i = 0; i < NET_MAC_BYTES; i += 2)
		memcpy(address + i, setup + 2 * i, 2);
}

void tulip_filter_set(struct tulip_filter *filter, const uint8_t *setup, uint32_t kind)
{
	*filter = (struct tulip_filter){.kind = kind};
	if (kind & TULIP_MODE_HASH_PERFECT) {
		for (unsigned int i = 0; i < TULIP_HASH_WORDS; i++)
			filter->hash[i] = get_le16(setup + 4 * i);
		read_address(setup + HASH_ADDRESS, filter->perfect[0]);
		filter->perfect_count = 1;
		return;
	}
	for (unsigned int i = 0; i < TULIP_PERFECT_ADDRESSES; i++)
		read_address(setup + 12 * i, filter->perfect[i]);
	filter->perfect_count = TULIP_PERFECT_ADDRESSES;
}

static bool in_hash(const struct tulip_filter *filter, const uint8_t *address)
{
	uint32_t bit = tulip_crc(address, NET_MAC_BYTES) & HASH_MASK;

	return filter->hash[bit / 16] >> (bit % 16) & 1;
}

static bool is_listed(const struct tulip_filter *filter, const uint8_t *address)
{
	for (uint32_t i = 0; i < filter->perfect_count; i++)
		if (!memcmp(filter->perfect[i], address, NET_MAC_BYTES))
			return true;
	return false;
}

bool tulip_filter_passes(const struct tulip_filter *filter, uint32_t mode, const uint8_t *address)
{
	bool multicast = address[0] & 1;

	if (mode & TULIP_MODE_PROMISCUOUS || (mode & TULIP_MODE_ALL_MULTICAST && multicast))
		return true;
	if (filter->kind & TULIP_MODE_HASH_PERFECT &&
	    (multicast || filter->kind & TULIP_MODE_HASH_ONLY))
		return in_hash(filter, address);
	return is_listed(filter, address) != !!(filter->kind & TULIP_MODE_INVERSE);
}
