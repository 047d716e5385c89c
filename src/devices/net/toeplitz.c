#include "devices/net/toeplitz.h"

#include <assert.h>

#include "base/wire.h"

void toeplitz_init(struct toeplitz *toeplitz, const uint8_t *key)
{
	for (size_t byte = 0; byte < TOEPLITZ_INPUT_BYTES; byte++) {
		/* The key's bits from this byte on; the last 32 + 8 of them are all there. */
		uint64_t window = (uint64_t)get_be32(key + byte) << 32 | (uint64_t)key[byte + 4]
										 << 24;

		for (unsigned int value = 0; value < 256; value++) {
			uint32_t hash = 0;

			for (unsigned int bit = 0; bit < 8; bit++)
				if (value & 0x80u >> bit)
					hash ^= (uint32_t)(window << bit >> 32);
			toeplitz->table[byte][value] = hash;
		}
	}
}

uint32_t toeplitz_hash(const struct toeplitz *toeplitz, const uint8_t *data, size_t size)
{
	uint32_t hash = 0;

	assert(size <= TOEPLITZ_INPUT_BYTES);
	for (size_t i = 0; i < size; i++)
		hash ^= toeplitz->table[i][data[i]];
	return hash;
}
