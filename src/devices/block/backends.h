#pragma once

#include "devices/block/block.h"

/* The backends that table.c lists; everyone else asks block_backend_find. */

/* A regular file or a host block device, byte for byte (raw.c). */
extern const struct block_backend block_raw;
/* No storage at all: reads as zeroes, forgets what is written (null.c). */
extern const struct block_backend block_null;
/* What a helper reaches over the network (remote.c). */
extern const struct block_backend block_remote;
/* The image formats (image_open.c). */
extern const struct block_backend block_vhd;
extern const struct block_backend block_vhdx;
