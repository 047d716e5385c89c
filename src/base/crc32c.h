#pragma once

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, reflected), as iSCSI and VHDX use it: of data alone when crc is 0, or of
 * what crc was computed from and then data. */
uint32_t crc32c(uint32_t crc, const void *data, size_t length);
